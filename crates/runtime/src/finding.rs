//! What a self-check found, by any checker, for any reporter.

use serde::Serialize;
use strum::IntoStaticStr;

/// How a check went, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Not made, for a reason that is no fault by itself.
    Skipped,
    /// It works, but something should be done.
    Warning,
    /// Something does not work.
    Failed,
}

impl Status {
    /// The word that is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name of the check: `rights`, `api-server`.
    pub check: &'static str,
    /// What was checked: a URL, a namespace, one right. Never empty.
    pub subject: String,
    /// How it went.
    pub status: Status,
    /// What was found, in a sentence without its full stop.
    pub message: String,
    /// What to do about it, perhaps with lines to paste. Empty if there is nothing to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
    /// Whether that is only for want of an answer: the same check may find something else later.
    #[serde(skip)]
    pub unanswered: bool,
}

impl Finding {
    fn new(check: &'static str, subject: impl Into<String>, status: Status, message: impl Into<String>) -> Self {
        Self { check, subject: subject.into(), status, message: message.into(), fix: String::new(), unanswered: false }
    }

    /// As it should be.
    #[must_use]
    pub fn ok(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, subject, Status::Ok, message)
    }

    /// Not made.
    #[must_use]
    pub fn skipped(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, subject, Status::Skipped, message)
    }

    /// Something should be done.
    #[must_use]
    pub fn warning(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, subject, Status::Warning, message)
    }

    /// Something does not work.
    #[must_use]
    pub fn failed(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, subject, Status::Failed, message)
    }

    /// With what to do about it.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }

    /// For want of an answer.
    #[must_use]
    pub fn unanswered(self) -> Self {
        Self { unanswered: true, ..self }
    }

    /// No worse than `status`.
    #[must_use]
    pub fn at_most(self, status: Status) -> Self {
        Self { status: self.status.min(status), ..self }
    }
}

/// Reported what is being tried, where that takes long.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);
