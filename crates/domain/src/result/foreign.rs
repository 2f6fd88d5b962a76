//! What somebody else wrote, read.

use serde::de::DeserializeOwned;

/// Reads compact JSON of the result reader, whose depth is bounded there.
pub(super) fn deep<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.disable_recursion_limit();
    T::deserialize(&mut deserializer)
}
