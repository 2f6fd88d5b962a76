//! What a runner says of its run in its result: `status`, and `error` with `type` and `message`.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::foreign::deep;
use longshore_text::escaped;

/// Longest `error.type` that is reported, in bytes.
const TYPE_MAX_BYTES: usize = 128;
/// Longest `error.message` that is reported, in bytes.
const MESSAGE_MAX_BYTES: usize = 2048;
/// Longest unknown status that is reported, in bytes.
const STATUS_MAX_BYTES: usize = 64;

/// An error or timeout that a runner reported. As text: a sentence about it of at most about 2 KiB,
/// without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Which of the two.
    pub status: ReportedStatus,
    /// `error.type`, cut and escaped; empty if there is none.
    pub error_type: String,
    /// `error.message`, or an `error` that is a string; cut and escaped, empty if there is none.
    pub message: String,
}

/// How a run went that did not go well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedStatus {
    /// `error`.
    Error,
    /// `timeout`.
    Timeout,
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.status {
            ReportedStatus::Error => "the runner reported an error",
            ReportedStatus::Timeout => "the runner reported a timeout",
        })?;
        if self.error_type.is_empty() && self.message.is_empty() {
            return f.write_str(" and did not say why");
        }
        for part in [&self.error_type, &self.message] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        Ok(())
    }
}

/// Reads what `object` reports, compact JSON of an object; `Err`: nothing that can be understood,
/// for a warning.
pub(super) fn read(object: &str) -> Result<Option<Reported>, String> {
    const EXPECTED: &str = "its profile expects `success`, `error` or `timeout`";
    let object: ReportObject =
        deep(object).map_err(|error| format!("the result's `status` could not be read ({error}); {EXPECTED}"))?;
    let status = match object.status {
        Value::String(status) => match status.as_str() {
            "success" => return Ok(None),
            "error" => ReportedStatus::Error,
            "timeout" => ReportedStatus::Timeout,
            other => {
                return Err(format!("the result has the status `{}`; {EXPECTED}", escaped(other, STATUS_MAX_BYTES)));
            }
        },
        Value::Null => return Err(format!("the result has no `status`; {EXPECTED}")),
        _ => return Err(format!("the result's `status` is not a string; {EXPECTED}")),
    };
    let text = |value: Option<&Value>, max| value.and_then(Value::as_str).map_or_else(String::new, |s| escaped(s, max));
    let error = &object.error;
    let message = if error.is_string() { Some(error) } else { error.get("message") };
    Ok(Some(Reported {
        status,
        error_type: text(error.get("type"), TYPE_MAX_BYTES),
        message: text(message, MESSAGE_MAX_BYTES),
    }))
}

#[derive(Deserialize)]
struct ReportObject {
    #[serde(default)]
    status: Value,
    #[serde(default)]
    error: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reported() {
        let table = [
            (r#"{"status":"success","error":{"type":"T"}}"#, None),
            (
                r#"{"rows":[],"status":"error","error":{"message":"no such table","type":"SQL"}}"#,
                Some("the runner reported an error: SQL: no such table"),
            ),
            (r#"{"status":"timeout","error":{"type":"SLOW"}}"#, Some("the runner reported a timeout: SLOW")),
            (r#"{"status":"error","error":"it is down"}"#, Some("the runner reported an error: it is down")),
            (r#"{"status":"error"}"#, Some("the runner reported an error and did not say why")),
            (r#"{"status":"error","error":[1]}"#, Some("the runner reported an error and did not say why")),
            (
                r#"{"status":"error","error":{"type":7,"message":"a\nb\u001b[2J\u0000ü"}}"#,
                Some(r"the runner reported an error: a\nb\u{1b}[2J\0ü"),
            ),
        ];
        for (object, expected) in table {
            assert_eq!(read(object).unwrap().map(|r| r.to_string()).as_deref(), expected, "{object}");
        }
    }

    #[test]
    fn what_is_no_report_is_a_warning() {
        for (object, expected) in [
            (r#"{"rows":[]}"#, "has no `status`"),
            (r#"{"status":null}"#, "has no `status`"),
            (r#"{"status":1}"#, "is not a string"),
            (r#"{"status":1e999}"#, "could not be read"),
            (r#"{"status":"Error\u0007"}"#, r"has the status `Error\u{7}`"),
        ] {
            let warning = read(object).unwrap_err();
            assert!(warning.contains(expected) && warning.ends_with("`success`, `error` or `timeout`"), "{warning}");
        }
        let long = format!(r#"{{"status":"{}"}}"#, "x".repeat(100_000));
        assert!(read(&long).unwrap_err().len() < 200);
    }

    #[test]
    fn what_is_reported_is_bounded_and_however_deep_it_is_nested() {
        let deep = format!("{}{}", "[".repeat(198), "]".repeat(198));
        let control = "\\u0001".repeat(10_000);
        let object = format!(
            r#"{{"more":{deep},"status":"error","error":{{"type":"{}","message":"{control}","x":{deep}}}}}"#,
            "ü".repeat(10_000)
        );
        let reported = read(&object).unwrap().unwrap();
        assert!(reported.error_type.len() <= TYPE_MAX_BYTES && reported.error_type.ends_with("ü…"));
        assert!(reported.message.len() <= MESSAGE_MAX_BYTES && reported.message.ends_with("\\u{1}…"), "cut whole");
    }
}
