//! JSON Schemas that a profile gives: for the input that callers send, and for its results.

use std::fmt;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::Location;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use longshore_text::escaped;

/// Longest sentence of the validator that is reported, in bytes.
const SENTENCE_MAX_BYTES: usize = 512;
/// Longest path that is reported, in bytes.
const PATH_MAX_BYTES: usize = 256;
/// Longest value that is reported, in bytes.
const VALUE_MAX_BYTES: usize = 80;
/// Most alternatives of `anyOf` and `oneOf` that are reported.
const BRANCHES_MAX: usize = 4;
/// Most violations that are collected of one document.
const VIOLATIONS_MAX: usize = 64;
/// Of a document above this size, in bytes of JSON, only the first violation is looked for: the
/// validator would hold one for each of its values.
const COLLECT_MAX_BYTES: usize = 64 * 1024;

/// A JSON Schema, compiled. It names nothing outside itself: no other document is fetched or read.
/// Patterns are matched in linear time, so they have neither look-around nor back-references.
/// Cheap to clone; equal if their texts are.
#[derive(Clone)]
pub struct JsonSchema {
    text: Arc<str>,
    schema: Arc<Value>,
    validator: Arc<Validator>,
}

/// Why a text is not a schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not JSON.
    #[error("is not a JSON document: {0}")]
    Json(#[from] serde_json::Error),
    /// Not a schema that can be compiled; the sentence says where and why.
    #[error("is not a JSON Schema that can be enforced: {0}")]
    Schema(String),
}

impl JsonSchema {
    /// Compiles a schema of draft 4, 6, 7, 2019-09 or 2020-12, by its `$schema` (unset: 2020-12).
    ///
    /// # Errors
    /// If it is not a schema, names another document, or has a pattern that can't be matched in
    /// linear time.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        let schema: Value = serde_json::from_str(text)?;
        let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
        match options.build(&schema) {
            Ok(validator) => Ok(Self { text: text.into(), schema: Arc::new(schema), validator: Arc::new(validator) }),
            Err(error) => {
                let place = shown_path(error.instance_path());
                Err(SchemaError::Schema(format!("{place}: {}", escaped(&error.to_string(), SENTENCE_MAX_BYTES))))
            }
        }
    }

    /// The schema as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks a document. Numbers are compared as 64-bit integers or as doubles.
    ///
    /// # Errors
    /// The first thing that breaks the schema: where, what and by which rule; at most about 1 KiB.
    pub(crate) fn check(&self, document: &Value) -> Result<(), String> {
        self.validator.validate(document).map_err(|error| self.broken(&error))
    }

    /// All that breaks the schema, as by [`Self::check`], in a document whose JSON has `bytes` bytes;
    /// of a large one only the first. Empty: it matches.
    pub(crate) fn violations(&self, document: &Value, bytes: usize) -> Vec<String> {
        if bytes > COLLECT_MAX_BYTES {
            return self.check(document).err().into_iter().collect();
        }
        self.validator.iter_errors(document).take(VIOLATIONS_MAX).map(|error| self.broken(&error)).collect()
    }

    /// Where the schema is broken, what broke it, and by which rule.
    fn broken(&self, error: &ValidationError<'_>) -> String {
        let names = match error.kind() {
            ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::OneOfMultipleValid { .. } => {
                self.members_of_alternatives(error.schema_path())
            }
            _ => None,
        };
        // A person knows the members, and not the keyword.
        if let (Some(names), Value::Object(object)) = (names, error.instance().as_ref()) {
            let set = names.iter().filter(|name| object.contains_key(name.as_str())).count();
            let names = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            let (place, rule) = (shown_path(error.instance_path()), shown_path(error.schema_path()));
            let sentence =
                escaped(&format!("expected exactly one of {names}, found {set} of them"), SENTENCE_MAX_BYTES);
            return format!("{place}: {sentence} (rule {rule})");
        }
        broken(error)
    }

    /// The members that the alternatives at `path` want, if each of them wants one member and no more.
    fn members_of_alternatives(&self, path: &Location) -> Option<Vec<String>> {
        let member = |alternative: &Value| {
            let object = alternative.as_object().filter(|object| object.len() == 1)?;
            let [name] = object.get("required")?.as_array()?.as_slice() else { return None };
            name.as_str().map(str::to_owned)
        };
        self.schema.pointer(path.as_str())?.as_array()?.iter().map(member).collect()
    }
}

/// Where the schema is broken, what broke it, and by which rule.
fn broken(error: &ValidationError<'_>) -> String {
    let value = match error.instance().as_ref() {
        // These would be reported whole.
        Value::Object(_) => "the object".to_owned(),
        Value::Array(_) => "the list".to_owned(),
        scalar => escaped(&scalar.to_string(), VALUE_MAX_BYTES),
    };
    let (place, rule) = (shown_path(error.instance_path()), shown_path(error.schema_path()));
    let mut sentence = escaped(&error.masked_with(value).to_string(), SENTENCE_MAX_BYTES);
    if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } = error.kind() {
        // The keyword alone does not say what would do.
        let causes = context.iter().filter_map(|branch| branch.first()).take(BRANCHES_MAX).map(cause);
        sentence = escaped(&format!("{sentence}: {}", causes.collect::<Vec<_>>().join(", or ")), SENTENCE_MAX_BYTES);
    }
    format!("{place}: {sentence} (rule {rule})")
}

/// Why one of several alternatives does not hold.
fn cause(error: &ValidationError<'_>) -> String {
    let sentence = escaped(&error.masked().to_string(), VALUE_MAX_BYTES);
    match error.instance_path().as_str() {
        "" => sentence,
        _ => format!("{} {sentence}", shown_path(error.instance_path())),
    }
}

fn shown_path(path: &Location) -> String {
    match path.as_str() {
        "" => "at the top".to_owned(),
        path => format!("at `{}`", escaped(path, PATH_MAX_BYTES)),
    }
}

impl PartialEq for JsonSchema {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for JsonSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonSchema").field(&self.text).finish()
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

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_place_and_the_rule_are_reported() {
        let schema = JsonSchema::compile(ROWS).unwrap();
        let fine = r#"{"rows":[[1],[2,123456789012345678901234567890]],"name":"ok"}"#;
        assert_eq!(schema.check(&value(fine)), Ok(()));
        for (object, place, rule) in [
            (r#"{"rows":[[1],[2,"x"]]}"#, r#"at `/rows/1/1`: "x" is not of type "integer""#, "/items/items/type`"),
            (r#"{"rows":{"a":1}}"#, "at `/rows`: the object is not of type", "`/properties/rows/type`"),
            (r#"{}"#, r#"at the top: "rows" is a required property"#, "(rule at `/required`)"),
            (r#"{"rows":[],"x\u001b":1}"#, r"'x\u{1b}' was unexpected", "`/additionalProperties`"),
            (r#"{"rows":[],"name":"A"}"#, "does not match \"^[a-z]+$\"", "/pattern`"),
        ] {
            let error = schema.check(&value(object)).unwrap_err();
            assert!(error.contains(place) && error.contains(rule), "{object}: {error}");
        }
    }

    #[test]
    fn alternatives_say_what_each_lacks() {
        let schema = JsonSchema::compile(r#"{"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}"#).unwrap();
        for (document, set) in [("{}", 0), (r#"{"a":1,"b":2,"c":3}"#, 2)] {
            let error = schema.check(&value(document)).unwrap_err();
            let wanted = format!("at the top: expected exactly one of \"a\", \"b\", found {set} of them (rule");
            assert!(error.starts_with(&wanted), "{error}");
        }
        let typed = r#"{"oneOf": [{"required": ["a"], "type": "object"}, {"required": ["b"]}]}"#;
        let error = JsonSchema::compile(typed).unwrap().check(&value("{}")).unwrap_err();
        assert!(error.contains(r#": "a" is a required property, or "b" is a required property (rule"#), "{error}");
    }

    #[test]
    fn what_is_reported_is_bounded() {
        let schema = JsonSchema::compile(ROWS).unwrap();
        let long = "x".repeat(500_000);
        let unexpected: String = (0..20_000).map(|i| format!(r#","k{i}":0"#)).collect();
        for object in [
            format!(r#"{{"rows":[],"name":"{long}"}}"#),
            format!(r#"{{"rows":"{long}"}}"#),
            format!(r#"{{"rows":[],"{long}":1}}"#),
            format!(r#"{{"rows":[]{unexpected}}}"#),
        ] {
            let error = schema.check(&value(&object)).unwrap_err();
            assert!(error.len() < 1500, "{} bytes", error.len());
        }
    }

    #[test]
    fn all_violations_up_to_a_bound() {
        let schema = JsonSchema::compile(ROWS).unwrap();
        let all = |text: &str| schema.violations(&value(text), text.len());
        assert!(all(r#"{"rows":[[1]],"name":"ok"}"#).is_empty());
        let found = all(r#"{"rows":[["x"],[2,true]],"name":"A","more":1}"#);
        for place in ["at `/rows/0/0`", "at `/rows/1/1`", "at `/name`", "at the top: Additional properties"] {
            assert_eq!(found.iter().filter(|text| text.starts_with(place)).count(), 1, "{place}: {found:?}");
        }
        assert_eq!(found.len(), 4, "{found:?}");
        let wrong = |count: usize| format!(r#"{{"rows":[[{}"x"]]}}"#, "\"x\",".repeat(count));
        assert_eq!(all(&wrong(1000)).len(), VIOLATIONS_MAX);
        assert_eq!(all(&wrong(100_000)).len(), 1);
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_cause() {
        for (text, cause) in [
            ("{", "is not a JSON document: EOF"),
            ("7", "is not a JSON Schema"),
            (r#"{"type": "strng"}"#, "at `/type`: "),
            (r#"{"properties": {"a": {"minimum": "x"}}}"#, "at `/properties/a/minimum`: "),
            (r#"{"$ref": "https://example.com/other.json"}"#, "https://example.com/other.json"),
            (r#"{"$ref": "file:///etc/schema.json"}"#, "file:///etc/schema.json"),
            (r##"{"$ref": "#/$defs/nowhere"}"##, "nowhere"),
            (r#"{"pattern": "(a"}"#, "at `/pattern`: "),
            (r#"{"pattern": "(?=a)b"}"#, "at `/pattern`: "),
        ] {
            let error = JsonSchema::compile(text).unwrap_err().to_string();
            assert!(error.contains(cause) && error.len() < 900, "{text}: {error}");
        }
    }
}
