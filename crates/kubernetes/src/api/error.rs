//! What the API server's refusals mean: one total table, pure (docs/architecture.md, "Errors").

use std::fmt;
use std::time::Duration;

use kube::core::Status;

use longshore_backend::BackendError;

/// Longest message of the API server's that is passed on, in bytes.
const MESSAGE_MAX_BYTES: usize = 4 * 1024;

/// What was tried, and on what: `create` `Job longshore-runs/run-x`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) verb: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) kube_namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Target<'a> {
    pub(crate) fn new(verb: &'static str, kind: &'static str, kube_namespace: &'a str, name: &'a str) -> Self {
        Self { verb, kind, kube_namespace, name }
    }

    /// The object, for a sentence.
    pub(crate) fn object(&self) -> String {
        match self.name {
            "" => format!("{}s in {}", self.kind, self.kube_namespace),
            name => format!("{} {}/{name}", self.kind, self.kube_namespace),
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.object())
    }
}

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server answered with an error.
    #[error("{} ({})", .0.message, .0.code)]
    Status(Box<Status>),
    /// There was no usable answer.
    #[error(transparent)]
    Other(kube::Error),
    /// There was none in time; what was asked for may have been done or may yet be done.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Status(status),
            other => Self::Other(other),
        }
    }
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    NotFound,
    NamespaceMissing,
    NamespaceEnding,
    Conflict,
    Rejected,
    Exhausted,
    Denied,
    AdmissionDenied,
    Throttled,
    Unavailable,
    Corrupt,
}

impl CallError {
    pub(crate) fn is_not_found(&self) -> bool {
        self.meaning() == Meaning::NotFound
    }

    /// 409 because the name is taken, which is not a conflict of versions.
    pub(crate) fn is_already_exists(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == 409 && status.reason == "AlreadyExists")
    }

    /// 409 because of a version or a uid.
    pub(crate) fn is_conflict(&self) -> bool {
        self.meaning() == Meaning::Conflict && !self.is_already_exists()
    }

    /// 422: the object would not be valid, or a `test` of a JSON patch failed.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == 422)
    }

    /// 410: a resource version or continue token is too old.
    pub(crate) fn is_expired(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == 410)
    }

    /// Whether a write may have been done all the same, or may be tried again.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(self.meaning(), Meaning::Throttled | Meaning::Unavailable | Meaning::Corrupt)
    }

    /// The HTTP code, if the API server answered with an error.
    pub(crate) fn code(&self) -> Option<u16> {
        if let Self::Status(status) = self { Some(status.code) } else { None }
    }

    /// 403: our rights are short, or an admission says no.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// The authorizer says no: our rights are short.
    pub(crate) fn is_denied(&self) -> bool {
        self.meaning() == Meaning::Denied
    }

    /// When the API server wants to be asked again, if it said.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let Self::Status(status) = self else { return None };
        let seconds = status.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
    }

    fn meaning(&self) -> Meaning {
        match self {
            Self::Status(status) => of_status(status),
            Self::TimedOut(_) => Meaning::Unavailable,
            Self::Other(kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) => Meaning::Corrupt,
            Self::Other(kube::Error::BuildRequest(_) | kube::Error::HttpError(_)) => Meaning::Rejected,
            // Transport, TLS, a credential plugin: what is not there now may be there later.
            Self::Other(_) => Meaning::Unavailable,
        }
    }

    /// What the API server, or the way to it, said.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Status(status) => shown(&status.message, status.code),
            // kube's words for these are only the names of its variants.
            Self::Other(kube::Error::Service(cause)) => shown(&chain(&**cause), 0),
            Self::Other(kube::Error::HyperError(cause)) => shown(&chain(cause), 0),
            Self::Other(error) => shown(&chain(error), 0),
            Self::TimedOut(_) => self.to_string(),
        }
    }

    /// This failure in the words of every backend.
    pub(crate) fn to_backend(&self, target: Target<'_>) -> BackendError {
        let what = target.to_string();
        let message = self.message();
        match self.meaning() {
            Meaning::NotFound => BackendError::NotFound(target.object()),
            Meaning::NamespaceMissing => BackendError::NamespaceNotReady(namespace_missing(target.kube_namespace)),
            Meaning::NamespaceEnding => BackendError::NamespaceNotReady(namespace_ending(target.kube_namespace)),
            Meaning::Conflict => BackendError::Conflict(target.object()),
            Meaning::Rejected => BackendError::Rejected { what, message },
            Meaning::Exhausted => BackendError::Exhausted { what, message },
            Meaning::Denied => BackendError::Denied { what, message },
            Meaning::AdmissionDenied => BackendError::AdmissionDenied { what, message },
            Meaning::Throttled => BackendError::Throttled { what, retry_after: self.retry_after() },
            Meaning::Unavailable => BackendError::Unavailable { what, message },
            Meaning::Corrupt => BackendError::Corrupt { what: format!("the answer to {what}"), message },
        }
    }
}

fn of_status(status: &Status) -> Meaning {
    let message = status.message.as_str();
    if denied_by_admission(message) {
        // A webhook chooses its code freely, and policies say 422; the words decide.
        return Meaning::AdmissionDenied;
    }
    match status.code {
        404 if kind(status) == Some("namespaces") => Meaning::NamespaceMissing,
        404 => Meaning::NotFound,
        409 => Meaning::Conflict,
        401 => Meaning::Denied,
        403 if ends_namespace(status) => Meaning::NamespaceEnding,
        403 if message.contains("exceeded quota") => Meaning::Exhausted,
        403 if short_of_rights(message) => Meaning::Denied,
        403 => Meaning::AdmissionDenied,
        429 => Meaning::Throttled,
        410 => Meaning::Unavailable,
        400..=499 => Meaning::Rejected,
        // 5xx, and whatever is not an HTTP error at all.
        _ => Meaning::Unavailable,
    }
}

fn kind(status: &Status) -> Option<&str> {
    status.details.as_ref().map(|details| details.kind.as_str())
}

/// The authorizer's sentence: `jobs.batch is forbidden: User "x" cannot create resource "jobs" …`.
fn short_of_rights(message: &str) -> bool {
    message.contains("User \"") && message.contains("\" cannot ")
}

/// Webhooks: `admission webhook "x" denied the request: …`; policies:
/// `ValidatingAdmissionPolicy 'x' with binding 'y' denied request: …`.
fn denied_by_admission(message: &str) -> bool {
    (message.contains("admission webhook") && message.contains("denied the request"))
        || (message.contains("ValidatingAdmissionPolicy") && message.contains("denied request"))
}

fn ends_namespace(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        || status.message.contains("because it is being terminated")
}

fn namespace_missing(kube_namespace: &str) -> String {
    format!("Kubernetes namespace {kube_namespace} does not exist; create it:{}", to_create(kube_namespace))
}

fn namespace_ending(kube_namespace: &str) -> String {
    let commands = to_create(kube_namespace);
    format!(
        "Kubernetes namespace {kube_namespace} is being deleted; wait until it is gone, then create it again:{commands}"
    )
}

/// Commands to paste, each on a line of its own.
fn to_create(kube_namespace: &str) -> String {
    format!(
        "\n  kubectl create namespace {kube_namespace}\n  \
         kubectl label namespace {kube_namespace} pod-security.kubernetes.io/enforce=restricted"
    )
}

/// A message from outside, bounded, and never empty.
fn shown(message: &str, code: u16) -> String {
    let message = message.trim();
    if message.is_empty() {
        return format!("the API server answered {code} without a reason");
    }
    longshore_text::cut(message, MESSAGE_MAX_BYTES)
}

/// An error with its causes, each once: kube's texts repeat some of them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    const TARGET: Target<'_> = Target { verb: "create", kind: "Job", kube_namespace: "runs", name: "run-a" };

    fn status(code: u16, reason: &str, message: &str) -> Status {
        Status::failure(message, reason).with_code(code)
    }

    fn details(kind: &str, retry_after_seconds: u32) -> StatusDetails {
        StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: kind.to_owned(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds,
        }
    }

    fn mapped(status: Status) -> BackendError {
        CallError::Status(status.boxed()).to_backend(TARGET)
    }

    #[test]
    fn each_status_has_its_meaning() {
        use Meaning::*;
        let rights = "jobs.batch is forbidden: User \"system:serviceaccount:a:b\" cannot create resource \"jobs\" in \
                      API group \"batch\" in the namespace \"runs\"";
        let table: &[(u16, &str, &str, Meaning)] = &[
            (404, "NotFound", "jobs.batch \"run-a\" not found", NotFound),
            (409, "AlreadyExists", "jobs.batch \"run-a\" already exists", Conflict),
            (409, "Conflict", "Operation cannot be fulfilled on jobs.batch \"run-a\"", Conflict),
            (422, "Invalid", "Job.batch \"run-a\" is invalid: spec.template: Required value", Rejected),
            (400, "BadRequest", "unknown field \"x\"", Rejected),
            (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", Rejected),
            (403, "Forbidden", "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1", Exhausted),
            (403, "Forbidden", rights, Denied),
            (401, "Unauthorized", "Unauthorized", Denied),
            (403, "Forbidden", "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\"", AdmissionDenied),
            (403, "Forbidden", "pods \"x\" is forbidden: failed quota: q: must specify limits.cpu", AdmissionDenied),
            (400, "", "admission webhook \"w\" denied the request: a Pod cannot do that", AdmissionDenied),
            (422, "Invalid", "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", AdmissionDenied),
            (
                403,
                "Forbidden",
                "jobs.batch \"x\" is forbidden: unable to create new content in namespace runs because it is being terminated",
                NamespaceEnding,
            ),
            (429, "TooManyRequests", "slow down", Throttled),
            (410, "Expired", "too old resource version", Unavailable),
            (500, "InternalError", "failed calling webhook \"w\": connection refused", Unavailable),
            (503, "ServiceUnavailable", "", Unavailable),
            (504, "Timeout", "", Unavailable),
            (0, "", "", Unavailable),
        ];
        for (code, reason, message, meaning) in table {
            let error = CallError::Status(status(*code, reason, message).boxed());
            assert_eq!(error.meaning(), *meaning, "{code} {message}");
        }
    }

    #[test]
    fn a_taken_name_is_distinguished_from_a_changed_version() {
        let taken = CallError::Status(status(409, "AlreadyExists", "exists").boxed());
        let changed = CallError::Status(status(409, "Conflict", "changed").boxed());
        assert!(taken.is_already_exists() && !taken.is_conflict());
        assert!(changed.is_conflict() && !changed.is_already_exists());
    }

    #[test]
    fn a_missing_namespace_says_what_would_fix_it() {
        let missing = status(404, "NotFound", "namespaces \"runs\" not found").with_details(details("namespaces", 0));
        let text = mapped(missing).to_string();
        assert!(text.contains("kubectl create namespace runs"), "{text}");
        assert!(text.contains("pod-security.kubernetes.io/enforce=restricted"), "{text}");
    }

    #[test]
    fn an_ending_namespace_is_known_by_its_cause() {
        let cause = StatusCause { reason: "NamespaceTerminating".into(), message: String::new(), field: String::new() };
        let ending = StatusDetails { causes: vec![cause], ..details("jobs", 0) };
        let error = mapped(status(403, "Forbidden", "no").with_details(ending));
        assert!(matches!(error, BackendError::NamespaceNotReady(_)), "{error}");
    }

    #[test]
    fn throttling_passes_on_when_to_come_back() {
        let error = mapped(status(429, "TooManyRequests", "").with_details(details("", 7)));
        let BackendError::Throttled { retry_after, .. } = error else { panic!("{error}") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn what_may_have_been_done_is_ambiguous() {
        for code in [429, 500, 503, 504] {
            assert!(CallError::Status(status(code, "", "").boxed()).is_ambiguous(), "{code}");
        }
        for code in [400, 401, 403, 404, 409, 422] {
            assert!(!CallError::Status(status(code, "", "").boxed()).is_ambiguous(), "{code}");
        }
        assert!(CallError::TimedOut(Duration::from_secs(1)).is_ambiguous());
    }

    #[test]
    fn messages_are_bounded_and_never_empty() {
        let long = "ä".repeat(MESSAGE_MAX_BYTES);
        assert!(shown(&long, 400).len() <= MESSAGE_MAX_BYTES);
        assert!(shown(" ", 503).contains("503"));
    }

    #[test]
    fn failures_name_verb_and_object() {
        let text = mapped(status(422, "Invalid", "spec.x: bad")).to_string();
        assert_eq!(text, "create Job runs/run-a was refused: spec.x: bad");
    }
}
