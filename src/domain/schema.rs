//! The JSON Schema that a profile gives for its results.

use std::fmt;
use std::sync::Arc;

use jsonschema::paths::Location;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::contract::{deep, told};

/// Longest sentence of the validator that is told, in bytes.
const SENTENCE_MAX_BYTES: usize = 512;
/// Longest path that is told, in bytes.
const PATH_MAX_BYTES: usize = 256;
/// Longest value that is told, in bytes.
const VALUE_MAX_BYTES: usize = 80;

/// A JSON Schema, compiled. It names nothing outside itself: no other document is fetched or read.
/// Patterns are matched in linear time, so they have neither look-around nor back-references.
/// Cheap to clone; equal if their texts are.
#[derive(Clone)]
pub struct ResultSchema {
    text: Arc<str>,
    validator: Arc<Validator>,
}

/// Why a text is no schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not JSON.
    #[error("is no JSON document: {0}")]
    Json(#[from] serde_json::Error),
    /// Not a schema that can be compiled; the sentence says where and why.
    #[error("is no JSON Schema that can be enforced: {0}")]
    Schema(String),
}

impl ResultSchema {
    /// Compiles a schema of draft 4, 6, 7, 2019-09 or 2020-12, by its `$schema` (unset: 2020-12).
    ///
    /// # Errors
    /// If it is no schema, names another document, or has a pattern that can't be matched in linear
    /// time.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        let schema: Value = serde_json::from_str(text)?;
        let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
        match options.build(&schema) {
            Ok(validator) => Ok(Self { text: text.into(), validator: Arc::new(validator) }),
            Err(error) => {
                let place = shown_path(error.instance_path());
                Err(SchemaError::Schema(format!("{place}: {}", told(&error.to_string(), SENTENCE_MAX_BYTES))))
            }
        }
    }

    /// The schema as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks an object, compact JSON. Numbers are compared as 64-bit integers or as doubles.
    ///
    /// # Errors
    /// The first thing that breaks the schema: one sentence of at most about 1 KiB.
    pub(super) fn check(&self, object: &str) -> Result<(), String> {
        let object: Value = deep(object)
            .map_err(|error| format!("the result cannot be checked against its profile's result_schema: {error}"))?;
        self.validator.validate(&object).map_err(|error| broken(&error))
    }
}

/// What broke the schema, where, and by which rule.
fn broken(error: &ValidationError<'_>) -> String {
    let value = match error.instance().as_ref() {
        // These would be told whole.
        Value::Object(_) => "the object".to_owned(),
        Value::Array(_) => "the list".to_owned(),
        scalar => told(&scalar.to_string(), VALUE_MAX_BYTES),
    };
    let (place, rule) = (shown_path(error.instance_path()), shown_path(error.schema_path()));
    let sentence = told(&error.masked_with(value).to_string(), SENTENCE_MAX_BYTES);
    format!("the result breaks its profile's result_schema {place}: {sentence} (rule {rule})")
}

fn shown_path(path: &Location) -> String {
    match path.as_str() {
        "" => "at the top".to_owned(),
        path => format!("at `{}`", told(path, PATH_MAX_BYTES)),
    }
}

impl PartialEq for ResultSchema {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for ResultSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResultSchema").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = r#"{
        "type": "object",
        "properties": {
            "rows": { "type": "array", "items": { "type": "array", "items": { "type": "integer" } } },
            "name": { "type": "string", "pattern": "^[a-z]+$", "maxLength": 8 }
        },
        "required": ["rows"],
        "additionalProperties": false
    }"#;

    #[test]
    fn the_place_and_the_rule_are_told() {
        let schema = ResultSchema::compile(ROWS).unwrap();
        assert_eq!(schema.check(r#"{"rows":[[1],[2,123456789012345678901234567890]],"name":"ok"}"#), Ok(()));
        for (object, place, rule) in [
            (r#"{"rows":[[1],[2,"x"]]}"#, r#"at `/rows/1/1`: "x" is not of type "integer""#, "/items/items/type`"),
            (r#"{"rows":{"a":1}}"#, "at `/rows`: the object is not of type", "`/properties/rows/type`"),
            (r#"{}"#, r#"at the top: "rows" is a required property"#, "(rule at `/required`)"),
            (r#"{"rows":[],"x\u001b":1}"#, r"'x\u{1b}' was unexpected", "`/additionalProperties`"),
            (r#"{"rows":[],"name":"A"}"#, "does not match \"^[a-z]+$\"", "/pattern`"),
        ] {
            let error = schema.check(object).unwrap_err();
            assert!(error.contains(place) && error.contains(rule), "{object}: {error}");
        }
    }

    #[test]
    fn what_is_told_is_bounded() {
        let schema = ResultSchema::compile(ROWS).unwrap();
        let long = "x".repeat(500_000);
        let unexpected: String = (0..20_000).map(|i| format!(r#","k{i}":0"#)).collect();
        for object in [
            format!(r#"{{"rows":[],"name":"{long}"}}"#),
            format!(r#"{{"rows":"{long}"}}"#),
            format!(r#"{{"rows":[],"{long}":1}}"#),
            format!(r#"{{"rows":[]{unexpected}}}"#),
        ] {
            let error = schema.check(&object).unwrap_err();
            assert!(error.len() < 1500, "{} bytes", error.len());
        }
    }

    #[test]
    fn a_number_that_is_none_here_is_told() {
        let error = ResultSchema::compile("{}").unwrap().check(r#"{"n":1e999}"#).unwrap_err();
        assert!(error.contains("number out of range"), "{error}");
    }

    #[test]
    fn objects_as_deep_as_are_read_are_checked() {
        let tree = r##"{ "type": ["object", "integer"], "additionalProperties": { "$ref": "#" } }"##;
        let schema = ResultSchema::compile(tree).unwrap();
        let nested = |leaf: &str| format!("{}{leaf}{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        assert_eq!(schema.check(&nested("1")), Ok(()));
        assert!(schema.check(&nested("\"x\"")).unwrap_err().contains("/a/a/a"));
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_cause() {
        for (text, cause) in [
            ("{", "is no JSON document: EOF"),
            ("7", "is no JSON Schema"),
            (r#"{"type": "strng"}"#, "at `/type`: "),
            (r#"{"properties": {"a": {"minimum": "x"}}}"#, "at `/properties/a/minimum`: "),
            (r#"{"$ref": "https://example.com/other.json"}"#, "https://example.com/other.json"),
            (r#"{"$ref": "file:///etc/schema.json"}"#, "file:///etc/schema.json"),
            (r##"{"$ref": "#/$defs/nowhere"}"##, "nowhere"),
            (r#"{"pattern": "(a"}"#, "at `/pattern`: "),
            (r#"{"pattern": "(?=a)b"}"#, "at `/pattern`: "),
        ] {
            let error = ResultSchema::compile(text).unwrap_err().to_string();
            assert!(error.contains(cause) && error.len() < 900, "{text}: {error}");
        }
    }
}
