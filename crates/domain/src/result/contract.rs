//! What a profile says of its results, and what that makes of an object that was read.

use serde_json::Value;

use super::foreign::deep;
use super::report::{self, Reported};
use super::{ResultError, ResultErrorKind, ResultOutcome};
use crate::result::schema::JsonSchema;

/// What a profile says of its results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunnerContract {
    /// What an object must match to be a result.
    pub schema: Option<JsonSchema>,
    /// Whether the object says how the run went.
    pub reports_status: bool,
}

/// What was read as a run's result, with what its profile makes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The result.
    pub outcome: ResultOutcome,
    /// The error or timeout that the runner reported in it.
    pub reported: Option<Reported>,
}

impl From<ResultOutcome> for Checked {
    fn from(outcome: ResultOutcome) -> Self {
        Self { outcome, reported: None }
    }
}

impl RunnerContract {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.schema.is_none() && !self.reports_status
    }

    /// Checks what was read. An object that breaks the schema is none, of kind INVALID; what it
    /// reports counts all the same, since a runner that fails may be unable to give the rest.
    ///
    /// Linear in the object, as far as the schema is (`anyOf` in a schema that refers to itself may
    /// not be): not for a thread that others wait for.
    #[must_use]
    pub fn check(&self, outcome: ResultOutcome) -> Checked {
        let ResultOutcome::Found(mut found) = outcome else { return outcome.into() };
        let Some(json) = found.json.as_deref() else { return ResultOutcome::Found(found).into() };
        let (mut reported, mut warning) = (None, None);
        if self.reports_status {
            match report::read(json) {
                Ok(said) => reported = said,
                Err(odd) => warning = Some(odd),
            }
        }
        if let Some(Err(message)) = self.schema.as_ref().map(|schema| check(schema, json)) {
            let position = found.byte_range.map(|(start, _)| start);
            let error = ResultError { kind: ResultErrorKind::Invalid, message, position };
            return Checked { outcome: ResultOutcome::None(error), reported };
        }
        found.warnings.extend(warning);
        Checked { outcome: ResultOutcome::Found(found), reported }
    }
}

/// Checks an object, compact JSON, against the schema of its profile.
fn check(schema: &JsonSchema, object: &str) -> Result<(), String> {
    let object: Value = deep(object)
        .map_err(|error| format!("the result cannot be checked against its profile's result_schema: {error}"))?;
    schema.check(&object).map_err(|broken| format!("the result breaks its profile's result_schema {broken}"))
}

#[cfg(test)]
mod tests {
    use super::super::{FoundResult, ResultDialect, ResultSource, ResultState};
    use super::*;

    fn found(json: &str) -> ResultOutcome {
        ResultOutcome::Found(FoundResult {
            json: Some(json.to_owned()),
            size_bytes: json.len() as u64,
            sha256: String::new(),
            source: ResultSource::Scan,
            dialect: ResultDialect::Json,
            byte_range: Some((7, 9)),
            warnings: vec!["first".to_owned()],
        })
    }

    #[test]
    fn without_a_contract_nothing_changes() {
        let object = found(r#"{"status":"error"}"#);
        assert!(RunnerContract::default().is_empty());
        assert_eq!(RunnerContract::default().check(object.clone()), object.into());
    }

    #[test]
    fn an_object_that_breaks_the_schema_is_invalid_and_what_it_reports_counts() {
        let schema = JsonSchema::compile(r#"{"required":["rows"]}"#).unwrap();
        let contract = RunnerContract { schema: Some(schema), reports_status: true };
        let checked = contract.check(found(r#"{"status":"error","error":{"type":"T","message":"m"}}"#));
        let info = checked.outcome.to_info();
        let error = info.error.unwrap();
        assert_eq!((info.state, info.found, error.kind), (ResultState::Invalid, None, ResultErrorKind::Invalid));
        assert!(error.message.contains("\"rows\" is a required property"), "{}", error.message);
        assert_eq!(error.position, Some(7));
        assert_eq!(checked.reported.unwrap().to_string(), "the runner reported an error: T: m");

        let fine = found(r#"{"status":"success","rows":[]}"#);
        assert_eq!(contract.check(fine.clone()), fine.into());
    }

    #[test]
    fn a_number_that_is_none_here_is_reported() {
        let error = check(&JsonSchema::compile("{}").unwrap(), r#"{"n":1e999}"#).unwrap_err();
        assert!(error.contains("number out of range"), "{error}");
    }

    #[test]
    fn objects_as_deep_as_are_read_are_checked() {
        let tree = r##"{ "type": ["object", "integer"], "additionalProperties": { "$ref": "#" } }"##;
        let schema = JsonSchema::compile(tree).unwrap();
        let nested = |leaf: &str| format!("{}{leaf}{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        assert_eq!(check(&schema, &nested("1")), Ok(()));
        let error = check(&schema, &nested("\"x\"")).unwrap_err();
        assert!(error.starts_with("the result breaks its profile's result_schema at `/a/a/a"), "{error}");
    }

    #[test]
    fn an_odd_status_is_a_warning_beside_the_others() {
        let contract = RunnerContract { schema: None, reports_status: true };
        let ResultOutcome::Found(found) = contract.check(found(r#"{"status":"fine"}"#)).outcome else {
            panic!("found")
        };
        let [first, odd] = found.warnings.as_slice() else { panic!("{:?}", found.warnings) };
        assert_eq!(first, "first");
        assert!(odd.contains("the status `fine`"), "{odd}");
    }
}
