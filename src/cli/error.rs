//! Why a command failed, for people, and the exit code that goes with it.

use std::fmt::Write as _;
use std::io;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::exit;
use super::text::{clean, human};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The arguments can't be meant so.
    #[error("{0}")]
    Usage(String),
    /// Nobody listens there.
    #[error(
        "no Longshore server at {address}; start one with `longshore serve`, or name one with --server or LONGSHORE_SERVER"
    )]
    NoServer {
        /// URL that was tried.
        address: String,
    },
    /// The server's machine or port can't be reached.
    #[error("the Longshore server at {address} cannot be reached: {cause}; is --server or LONGSHORE_SERVER right?")]
    Unreachable {
        /// URL that was tried.
        address: String,
        /// What the transport said.
        cause: String,
    },
    /// The server refused or failed.
    #[error("{}", explain_status(.0))]
    Api(Box<Status>),
    /// The server's answer can't be understood.
    #[error("the server's answer cannot be understood: {0}")]
    BadAnswer(String),
    /// Stdout can't be written to.
    #[error("stdout cannot be written to")]
    Output(#[source] io::Error),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl CliError {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// What to tell; `None` if whoever read stdout has left, which is no error of ours.
    pub(super) fn explain(&self) -> Option<String> {
        match self {
            Self::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(cause) => Some(format!("{self}: {cause}")),
            Self::Other(error) => Some(format!("{error:#}")),
            other => Some(other.to_string()),
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe => exit::READER_LEFT,
            _ => exit::LONGSHORE,
        }
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Api(Box::new(status))
    }
}

/// `CODE/REASON: message`, and each detail on a line of its own.
fn explain_status(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = code_name(status.code()).to_owned();
    if let Some(info) = details.error_info() {
        let _ = write!(text, "/{}", clean(&info.reason));
    }
    let _ = write!(text, ": {}", clean(status.message()));
    if status.code() == Code::Unimplemented && details.error_info().is_none() {
        text.push_str("the server does not know this call: is it a Longshore server, and not an older one?");
    }
    if let Some(bad) = details.bad_request() {
        for violation in &bad.field_violations {
            let _ = write!(text, "\n  {}: {}", clean(&violation.field), clean(&violation.description));
        }
    }
    if let Some(failed) = details.precondition_failure() {
        for violation in &failed.violations {
            let _ = write!(text, "\n  {}: {}", clean(&violation.subject), clean(&violation.description));
        }
    }
    if let Some(quota) = details.quota_failure() {
        for violation in &quota.violations {
            let _ = write!(text, "\n  {}: {}", clean(&violation.subject), clean(&violation.description));
        }
    }
    if let Some(info) = details.error_info() {
        let mut pairs: Vec<_> = info.metadata.iter().collect();
        pairs.sort();
        for (key, value) in pairs {
            let _ = write!(text, "\n  {}: {}", clean(key), clean(value));
        }
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        let _ = write!(text, "\n  trying again makes sense, after {}", human(delay));
    }
    text
}

/// The name of a code as gRPC spells it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn every_violation_has_its_line() {
        let mut details = ErrorDetails::new();
        details.set_error_info("INVALID_FIELDS", "longshore.dev", [("a".to_owned(), "b".to_owned())]);
        details.add_bad_request_violation("spec.env[0].name", "is no C identifier");
        details.add_bad_request_violation("spec.run_timeout", "is negative");
        details.set_retry_info(Some(Duration::from_secs(2)));
        let status = Status::with_error_details(Code::InvalidArgument, "2 fields are wrong\x1b[2J", details);
        assert_eq!(
            CliError::from(status).explain().unwrap(),
            "INVALID_ARGUMENT/INVALID_FIELDS: 2 fields are wrong\\u{1b}[2J\n  spec.env[0].name: is no C identifier\n  \
             spec.run_timeout: is negative\n  a: b\n  trying again makes sense, after 2.0 s"
        );
    }

    #[test]
    fn a_reader_who_left_is_no_error() {
        let error = CliError::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((error.explain(), error.exit_code()), (None, 141));
        let full = CliError::Output(io::ErrorKind::StorageFull.into());
        assert_eq!(full.exit_code(), 125);
        assert!(full.explain().is_some());
    }
}
