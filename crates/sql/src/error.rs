//! Why a request has no rows: one variant for each error type of the result.

use std::fmt;

/// At most this many violations are reported; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;

/// At most this many bytes of a message are reported, so that an error fits in the result file.
const MESSAGE_BYTES: usize = 2048;

/// What ended a request without rows.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// There is no request.
    #[error("{0}")]
    Input(String),
    /// The request is not JSON.
    #[error("the request is not valid JSON: {0}")]
    Json(String),
    /// The request, or the data it names, breaks a rule.
    #[error("{0}")]
    Validation(RequestViolations),
    /// The SQL is something other than one statement that reads.
    #[error("{0}")]
    Policy(String),
    /// The SQL is at fault, or needs more than it may have.
    #[error("{0}")]
    Execution(String),
    /// The time limit passed.
    #[error("not finished within timeout_seconds = {seconds}; loading the data counts")]
    Timeout {
        /// The limit, in seconds.
        seconds: u64,
    },
    /// The runner is at fault, not the request.
    #[error("{0}")]
    Internal(String),
}

impl RunError {
    /// The error type in the result.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Input(_) => "INVALID_INPUT",
            Self::Json(_) => "INVALID_JSON",
            Self::Validation(_) => "VALIDATION_ERROR",
            Self::Policy(_) => "SQL_POLICY_VIOLATION",
            Self::Execution(_) => "SQL_EXECUTION_ERROR",
            Self::Timeout { .. } => "RUNNER_TIMEOUT",
            Self::Internal(_) => "RUNNER_INTERNAL_ERROR",
        }
    }

    /// The message in the result, at most about 2 KiB.
    pub(super) fn message(&self) -> String {
        shorten(self.to_string(), MESSAGE_BYTES)
    }
}

/// `1 row`, `2 rows`.
pub(super) fn counted(count: impl fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Cuts `text` at the last character border at or before `bytes`, and shows that it was cut.
pub(super) fn shorten(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

/// Everything that is wrong with a request, each with the field it is about.
#[derive(Debug, Default)]
pub(super) struct RequestViolations(Vec<(String, String)>);

impl RequestViolations {
    /// Adds one: `field` is a path such as `files[0].path`, `problem` continues the sentence.
    pub(super) fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push((field.into(), problem.into()));
    }

    /// The error, if there is any violation.
    ///
    /// # Errors
    /// [`RunError::Validation`] with all of them.
    pub(super) fn into_result(self) -> Result<(), RunError> {
        if self.0.is_empty() { Ok(()) } else { Err(RunError::Validation(self)) }
    }
}

impl fmt::Display for RequestViolations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, problem)) in self.0.iter().take(VIOLATIONS_SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {problem}")?;
        }
        match self.0.len().saturating_sub(VIOLATIONS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_reported_together_and_counted_beyond_twenty() {
        let mut violations = RequestViolations::default();
        for index in 0..23 {
            violations.add(format!("f{index}"), "is wrong");
        }
        let text = violations.into_result().unwrap_err().to_string();
        assert!(text.starts_with("f0: is wrong; f1: is wrong"), "{text}");
        assert!(text.ends_with("f19: is wrong; and 3 more"), "{text}");
    }

    #[test]
    fn shortening_keeps_characters_whole() {
        assert_eq!(shorten("aé".to_owned(), 2), "a…");
        assert_eq!(shorten("aé".to_owned(), 3), "aé");
    }
}
