//! What the fuzz targets share with the tests of the reader.

#[allow(dead_code)]
#[path = "../../tests/reader/noise.rs"]
pub mod noise;
#[path = "../../tests/reader/reading.rs"]
pub mod reading;

use longshore::domain::result::ResultOutcome;
use serde_json::Value;

/// The object that `text` is, if `serde_json` reads it as one.
pub fn object(text: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Value>(text).ok().filter(Value::is_object)
}

/// What stands around `object` in noise: empty braces in a line of text are a placeholder, and no object.
pub fn line_of_its_own(object: &Value) -> &'static [u8] {
    if object.as_object().is_some_and(serde_json::Map::is_empty) { b"\n" } else { b"" }
}

/// Fails unless `outcome` is `expected`.
pub fn assert_found(outcome: &ResultOutcome, expected: &Value) {
    let ResultOutcome::Found(found) = outcome else { panic!("{outcome:?}, not {expected}") };
    let json = found.json.as_deref().unwrap_or_default();
    let value: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    assert_eq!(&value, expected);
    assert!(
        value.as_object().map(|o| o.keys().collect::<Vec<_>>()) == expected.as_object().map(|o| o.keys().collect())
    );
}
