use proptest::prelude::*;

use super::*;
use longshore_domain::result::ResultOutcome;
use longshore_domain::result::reader::{Dialects, MAX_DEPTH, ReaderRule, ResultReader};
use longshore_domain::run::spec::ResultScan;

/// What is found in `text`, and whether it stands alone.
fn found_alone(text: &[u8]) -> Option<bool> {
    let rule = ReaderRule {
        scan: ResultScan::LastObject,
        marker: String::new(),
        max_bytes: 1 << 20,
        max_depth: MAX_DEPTH,
        dialects: Dialects::Any,
    };
    let (mut reader, mut alone) = (ResultReader::new(rule), Alone::default());
    reader.push(None, text);
    for chunk in text.chunks(3) {
        alone.push(None, chunk);
    }
    match reader.finish(&[]) {
        ResultOutcome::Found(found) => Some(alone.is(&found)),
        _ => None,
    }
}

#[test]
fn only_an_object_on_its_own_at_the_end_is_alone() {
    let table: [(&str, bool); 13] = [
        ("noise\n{\"a\":1}\n", true),
        ("{\"a\":1}", true),
        ("noise\n{\n  \"a\": {\n    \"b\": 1\n  }\n}\n\n", true),
        ("{'a': None}\n", true),
        // Something follows, or leads to it.
        ("{\"a\":1}\nnoise\n", false),
        ("result: {\"a\":1}\n", false),
        ("  {\"a\":1}\n", false),
        // A part of something that began before.
        ("{\"a\":1},\n{\"a\":2}\n]}\n", false),
        ("{\"a\":1},\n{\"a\":2}\n", false),
        ("\"rows\":\n{\"a\":1}\n", false),
        ("\"x\": {\"a\":1}, \"y\": 2}\n", false),
        ("1, 2, {\"a\":1}]\n", false),
        ("[{\"a\":1}, 2\n", false),
    ];
    for (text, expected) in table {
        assert!(matches!(found_alone(text.as_bytes()), Some(alone) if alone == expected) || !expected, "{text}");
        assert_ne!(found_alone(text.as_bytes()), Some(!expected), "{text}");
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(serde_json::Value::from),
        "[a-z{}\\[\\]\",:\n ]{0,8}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_rest_of_a_value_holds_an_object_that_is_taken_for_the_whole(
        value in value(), pretty: bool, cut in any::<prop::sample::Index>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        // From the second byte on: the first would leave it whole.
        let rest = &text.as_bytes()[1 + cut.index(text.len())..];
        prop_assert_ne!(found_alone(rest), Some(true), "{}", String::from_utf8_lossy(rest));
    }
}
