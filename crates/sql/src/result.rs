//! The object a SQL run prints.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::error::RunError;
use super::warning::Warning;

/// The rows a query gave.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
    /// Whether there were more rows than `rows`.
    pub(super) truncated: bool,
    pub(super) warnings: Vec<Warning>,
}

/// The result object; its fields are described in `sql_result.schema.json`.
#[derive(Debug, Serialize)]
pub(super) struct SqlResult {
    status: AnswerStatus,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    row_count: usize,
    truncated: bool,
    exec_time_ms: u64,
    warnings: Vec<Warning>,
    error: Option<ErrorBody>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum AnswerStatus {
    Success,
    Error,
    Timeout,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    r#type: &'static str,
    message: String,
}

impl SqlResult {
    /// The result of a request that took `spent`.
    pub(super) fn new(outcome: Result<Answer, RunError>, spent: Duration) -> Self {
        let (status, answer, error) = match outcome {
            Ok(answer) => (AnswerStatus::Success, answer, None),
            Err(error) => {
                let status =
                    if matches!(error, RunError::Timeout { .. }) { AnswerStatus::Timeout } else { AnswerStatus::Error };
                let body = ErrorBody { r#type: error.kind(), message: error.message() };
                (status, Answer::default(), Some(body))
            }
        };
        Self {
            status,
            row_count: answer.rows.len(),
            columns: answer.columns,
            rows: answer.rows,
            truncated: answer.truncated,
            exec_time_ms: u64::try_from(spent.as_millis()).unwrap_or(u64::MAX),
            warnings: answer.warnings,
            error,
        }
    }

    pub(super) fn is_success(&self) -> bool {
        self.status == AnswerStatus::Success
    }

    /// One line of JSON.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            // Strings, numbers, lists and nulls always serialise; this keeps the contract if that ever changes.
            let message = Value::from(error.to_string());
            format!(
                r#"{{"status":"error","columns":[],"rows":[],"row_count":0,"truncated":false,"exec_time_ms":0,"warnings":[],"error":{{"type":"RUNNER_INTERNAL_ERROR","message":{message}}}}}"#
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_always_there() {
        let answer = Answer {
            columns: vec!["n".into()],
            rows: vec![vec![Value::from(1)]],
            truncated: true,
            warnings: Vec::new(),
        };
        assert_eq!(
            SqlResult::new(Ok(answer), Duration::from_millis(7)).to_json(),
            r#"{"status":"success","columns":["n"],"rows":[[1]],"row_count":1,"truncated":true,"exec_time_ms":7,"warnings":[],"error":null}"#
        );
        assert_eq!(
            SqlResult::new(Err(RunError::Timeout { seconds: 1 }), Duration::from_secs(1)).to_json(),
            r#"{"status":"timeout","columns":[],"rows":[],"row_count":0,"truncated":false,"exec_time_ms":1000,"warnings":[],"error":{"type":"RUNNER_TIMEOUT","message":"not finished within timeout_seconds = 1; loading the data counts"}}"#
        );
    }
}
