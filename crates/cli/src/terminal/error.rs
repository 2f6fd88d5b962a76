//! Why a command failed, for people, and the exit code that goes with it.

use std::fmt::Write as _;
use std::io;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::exit;
use crate::terminal::flags::in_words_of_flags;
use crate::terminal::text::{clean, clean_lines, human};

use longshore_api::code_name;

/// Key of an error's metadata: how many violations there are.
const VIOLATIONS: &str = "violations";
/// What an error names as the type of a run.
const RUN_RESOURCE: &str = "longshore.dev/Run";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The arguments can't be meant so.
    #[error("{0}")]
    Usage(String),
    /// No run's id is, begins or ends so.
    #[error("run `{}` not found, and no id begins or ends with it", clean(.0))]
    NoRun(String),
    /// Nobody listens there.
    #[error(
        "no Longshore server at {address}; start one with `longshore serve`, or name one with --server or LONGSHORE_SERVER; \
         if a port-forward led there, it has ended"
    )]
    NoServer {
        /// URL that was tried.
        address: String,
    },
    /// The server's machine or port can't be reached.
    #[error("the Longshore server at {address} cannot be reached: {cause}; {hint}")]
    Unreachable {
        /// URL that was tried.
        address: String,
        /// What the transport said.
        cause: String,
        /// What to look at.
        hint: &'static str,
    },
    /// The server does not know who calls.
    #[error("{}\n  {hint}", explain_status(.status))]
    Unauthenticated {
        /// What it said.
        status: Box<Status>,
        /// What to look at.
        hint: String,
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
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// The same, with the server's fields named by the arguments that were typed for them; see [`in_words_of_flags`].
    pub(crate) fn in_flags(self, typed: impl Fn(&str) -> Option<String>, words: &[(&str, &str)]) -> Self {
        match self {
            Self::Api(status) => Self::Api(Box::new(in_words_of_flags(*status, typed, words))),
            other => other,
        }
    }

    /// There is no run of this name: what can be said without asking, since it is not a run's name.
    pub(crate) fn no_run(name: &str) -> Self {
        Self::NoRun(name.to_owned())
    }

    /// Whether the server says that there is no such run.
    pub(crate) fn is_run_not_found(&self) -> bool {
        let Self::Api(status) = self else { return matches!(self, Self::NoRun(_)) };
        let resource = status.get_details_resource_info();
        status.code() == Code::NotFound && resource.is_some_and(|resource| resource.resource_type == RUN_RESOURCE)
    }

    /// Whether what was to be made has a name that something else has.
    pub(crate) fn is_already_there(&self) -> bool {
        matches!(self, Self::Api(status) if status.code() == Code::AlreadyExists)
    }

    /// What to report; `None` if the reader of stdout has left, which is not an error of
    /// Longshore's.
    pub(crate) fn explain(&self) -> Option<String> {
        match self {
            Self::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(cause) => Some(without_os_error(&format!("{self}: {cause}"))),
            Self::Other(error) => Some(without_os_error(&chain(error))),
            other => Some(without_os_error(&other.to_string())),
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
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

/// An error with its causes, each once: many name their cause in their own words already.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

/// The text without the numbers that Rust puts behind what the operating system says: `(os error 2)`.
fn without_os_error(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => out.push_str(rest),
            _ => out.push_str(&format!(" (os error {part}")),
        }
    }
    out
}

/// `CODE/REASON: message`, and on a line of its own each detail that is not in the message already.
fn explain_status(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = code_name(status.code()).to_owned();
    if let Some(info) = details.error_info() {
        let _ = write!(text, "/{}", clean(&info.reason));
    }
    let message = summary(status, &details);
    let _ = write!(text, ": {}", clean_lines(&message));
    if status.code() == Code::Unimplemented && details.error_info().is_none() {
        text.push_str("\n  the server does not know this call: is it a Longshore server, and not an older one?");
    }
    for (subject, words) in named(&details) {
        // What was cut is in the message too, and whole.
        if !message.contains(words.trim_end_matches('…')) {
            let separator = if subject.is_empty() { "" } else { ": " };
            let _ = write!(text, "\n  {}{separator}{}", clean(subject), clean(words));
        }
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        let _ = write!(text, "\n  it can be tried again after {}", human(delay));
    }
    text
}

/// The message; but how many violations there are where it is all of them in a row, since each has its line.
fn summary(status: &Status, details: &ErrorDetails) -> String {
    let listed = details.bad_request().map_or(0, |bad| bad.field_violations.len());
    if listed < 2 {
        return status.message().to_owned();
    }
    let reported = details.error_info().and_then(|info| info.metadata.get(VIOLATIONS));
    format!("{} fields are wrong", reported.cloned().unwrap_or_else(|| listed.to_string()))
}

/// What the details name, and what they say of it.
fn named(details: &ErrorDetails) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    if let Some(bad) = details.bad_request() {
        named.extend(bad.field_violations.iter().map(|v| (v.field.as_str(), v.description.as_str())));
    }
    if let Some(failed) = details.precondition_failure() {
        named.extend(failed.violations.iter().map(|v| (v.subject.as_str(), v.description.as_str())));
    }
    if let Some(quota) = details.quota_failure() {
        named.extend(quota.violations.iter().map(|v| (v.subject.as_str(), v.description.as_str())));
    }
    if let Some(info) = details.error_info() {
        let mut pairs: Vec<_> = info.metadata.iter().filter(|(key, _)| *key != VIOLATIONS).collect();
        pairs.sort();
        named.extend(pairs.into_iter().map(|(key, value)| (key.as_str(), value.as_str())));
    }
    named
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reported(code: Code, message: &str, details: ErrorDetails) -> String {
        CliError::from(Status::with_error_details(code, message, details)).explain().unwrap()
    }

    #[test]
    fn every_violation_has_its_line_and_is_reported_once() {
        let metadata = [("a".to_owned(), "b".to_owned()), ("violations".to_owned(), "3".to_owned())];
        let mut details = ErrorDetails::new();
        details.set_error_info("INVALID_FIELDS", "longshore.dev", metadata);
        details.add_bad_request_violation("spec.env[0].name", "is not a C identifier\x1b[2J");
        details.add_bad_request_violation("spec.run_timeout", "is negative");
        details.add_bad_request_violation("", "and 1 more");
        details.set_retry_info(Some(Duration::from_secs(2)));
        assert_eq!(
            reported(Code::InvalidArgument, "spec.env[0].name: is not a C identifier; spec.run_timeout: is …", details),
            "INVALID_ARGUMENT/INVALID_FIELDS: 3 fields are wrong\n  spec.env[0].name: is not a C \
             identifier\\u{1b}[2J\n  \
             spec.run_timeout: is negative\n  and 1 more\n  a: b\n  it can be tried again after 2 s"
        );
    }

    #[test]
    fn one_violation_fits_the_first_line() {
        let mut details = ErrorDetails::new();
        details.set_error_info("INVALID_FIELDS", "longshore.dev", [("violations".to_owned(), "1".to_owned())]);
        details.add_bad_request_violation("spec.run_timeout", "is negative");
        assert_eq!(
            reported(Code::InvalidArgument, "spec.run_timeout: is negative", details),
            "INVALID_ARGUMENT/INVALID_FIELDS: spec.run_timeout: is negative"
        );
    }

    #[test]
    fn commands_to_paste_keep_their_lines() {
        let message = "the namespace is not there; create it:\n  kubectl create namespace a\n  kubectl label\x07";
        let mut details = ErrorDetails::new();
        details.set_error_info("NAMESPACE_NOT_READY", "longshore.dev", []);
        details.add_precondition_failure_violation("NAMESPACE", "namespace", message);
        assert_eq!(
            reported(Code::FailedPrecondition, message, details),
            "FAILED_PRECONDITION/NAMESPACE_NOT_READY: the namespace is not there; create it:\n  \
             kubectl create namespace a\n  kubectl label\\u{7}"
        );
    }

    #[test]
    fn numbers_of_the_operating_system_are_left_out() {
        assert_eq!(without_os_error("a: no such file (os error 2); b (os error 13)"), "a: no such file; b");
        assert_eq!(without_os_error("(os error x) (os error"), "(os error x) (os error");
        let named =
            anyhow::Error::new(io::Error::from_raw_os_error(2)).context("a: No such file or directory (os error 2)");
        assert_eq!(
            CliError::Other(named).explain().unwrap(),
            "a: No such file or directory",
            "a cause is reported once"
        );
        let missing = CliError::Other(io::Error::from_raw_os_error(2).into()).explain().unwrap();
        assert_eq!(missing, "No such file or directory");
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
