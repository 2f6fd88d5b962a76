//! Errors as they are reported: the only place that makes a `tonic::Status`. Every one carries a
//! `google.rpc.ErrorInfo`; what a client can act on comes as further details.

use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};

use longshore_api::codec::TooManyElements;
use longshore_api::v1::ErrorReason;
use longshore_backend::BackendError;
use longshore_domain::name::RunName;
use longshore_domain::notation::violation::{Violation, ViolationKind, Violations};
use longshore_engine::{AuthenticationError, EngineError};

mod fault;

use fault::StatusBuilder;

/// When a caller may try again if the backend did not say.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// When a caller may try again if something has to be freed first.
const RETRY_LATER: Duration = Duration::from_secs(30);

const RUN: &str = "longshore.dev/Run";
const NAMESPACE: &str = "longshore.dev/Namespace";

/// What a handler answers.
pub(super) type HandlerResult<T> = Result<tonic::Response<T>, Status>;

/// The answer to a call that failed; logs what an operator has to act on.
pub(super) fn answer(error: EngineError) -> Status {
    let status = from_engine(&error);
    if status.code() == Code::Internal {
        tracing::error!(error = %error, "a call failed with an internal error");
    }
    status
}

/// The error of one of many things that a call is about: what [`answer`] would be, as a message.
pub(super) fn item(error: EngineError) -> tonic_types::Status {
    let status = answer(error);
    let details = tonic_types::Status::decode(status.details()).map(|whole| whole.details).unwrap_or_default();
    tonic_types::Status { code: status.code().into(), message: status.message().to_owned(), details }
}

/// The answer to a request that can't be taken as it is.
pub(super) fn invalid(violations: Violations) -> Status {
    from_violations(&violations).into_status()
}

/// What ReadResult says to an offset past the end.
pub(super) fn offset_out_of_range(name: &RunName, offset: u64, size: u64) -> Status {
    let message = format!("the result of {name} has {size} bytes; read_offset is {offset}");
    StatusBuilder::new(Code::OutOfRange, ErrorReason::OutOfRange, message)
        .with("size_bytes", size.to_string())
        .resource(RUN, name)
        .into_status()
}

/// The answer to a call of which it is not known who makes it.
pub(super) fn unauthenticated(error: &AuthenticationError) -> Status {
    match error {
        AuthenticationError::Unknown => {
            StatusBuilder::new(Code::Unauthenticated, ErrorReason::Unauthenticated, error.to_string()).into_status()
        }
        // The caller learns nothing of what is behind; the log has it.
        AuthenticationError::Backend(_) => {
            let message = "the caller cannot be authenticated at the moment; try again";
            StatusBuilder::new(Code::Unavailable, ErrorReason::BackendUnavailable, message)
                .retry(RETRY_SOON)
                .into_status()
        }
    }
}

/// The caller's deadline passed first.
pub(super) fn deadline_exceeded() -> Status {
    let message = "the call did not finish before its deadline";
    StatusBuilder::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).into_status()
}

/// The header `grpc-timeout` is not what gRPC says it is.
pub(super) fn malformed_timeout() -> Status {
    let message = "the header grpc-timeout may be given once, as up to 8 digits and one of H, M, S, m, u, n, such as \
                   10S";
    StatusBuilder::new(Code::InvalidArgument, ErrorReason::MalformedRequest, message).into_status()
}

/// A request to a method of one message has none, or more than one. The code is gRPC's own for that
/// (grpc.github.io/grpc/core/md_doc_statuscodes.html, request cardinality violation).
pub(super) fn not_one_message() -> Status {
    let message = "the method takes exactly one request message";
    StatusBuilder::new(Code::Unimplemented, ErrorReason::MalformedRequest, message).into_status()
}

/// The server shuts down before the call is done.
pub(super) fn draining() -> Status {
    let message = "the server is shutting down; try again";
    StatusBuilder::new(Code::Unavailable, ErrorReason::NotServing, message).retry(RETRY_SOON).into_status()
}

/// More is in use than the server has room for; `what` says what of.
pub(super) fn busy(what: &str) -> Status {
    let message = format!("{what}; try again later");
    StatusBuilder::new(Code::ResourceExhausted, ErrorReason::RateLimited, message).retry(RETRY_SOON).into_status()
}

/// A request is larger than its method takes.
pub(super) fn message_too_large(length: usize, max: usize) -> Status {
    let message = format!("the request has {length} bytes; this method takes at most {max}");
    StatusBuilder::new(Code::OutOfRange, ErrorReason::MalformedRequest, message).into_status()
}

/// A request came too slowly.
pub(super) fn unfinished_message() -> Status {
    let message = "the request was not received in time";
    StatusBuilder::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).into_status()
}

/// An answer has no room beside others that were not read.
pub(super) fn unread_answers(of: &str) -> Status {
    busy(&format!("unread responses of {of} use all the memory reserved for them"))
}

/// An answer was not taken.
pub(super) fn unread() -> Status {
    let message = "the response was not read in time, and was dropped";
    StatusBuilder::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).into_status()
}

/// A stream ended without saying how.
pub(super) fn cut() -> Status {
    let message = "the stream was interrupted; resume with the last cursor";
    StatusBuilder::new(Code::Unavailable, ErrorReason::BackendUnavailable, message).retry(RETRY_SOON).into_status()
}

/// A handler panicked.
pub(super) fn panicked() -> Status {
    StatusBuilder::new(Code::Internal, ErrorReason::Internal, "internal error; the server's log has the cause")
        .into_status()
}

/// The same status with our details. For those that tonic makes by itself, which are all about
/// requests that never reached a handler.
pub(super) fn with_details(bare: &Status) -> Status {
    if let Some(fault) = too_many_elements(bare) {
        return fault.into_status();
    }
    let (code, reason) = match bare.code() {
        Code::NotFound => (Code::NotFound, ErrorReason::ResourceNotFound),
        // A message that is too large once it is decompressed: to tonic another error than one that is too large as it
        // comes, and one that means "try again later".
        Code::ResourceExhausted => (Code::OutOfRange, ErrorReason::MalformedRequest),
        other => (other, ErrorReason::MalformedRequest),
    };
    StatusBuilder::new(code, reason, bare.message()).into_status()
}

/// The same status with our details, if it is of a request with too many elements.
fn too_many_elements(bare: &Status) -> Option<StatusBuilder> {
    let many = std::error::Error::source(bare)?.downcast_ref::<TooManyElements>()?;
    Some(from_violations(&Violation::new(many.field.as_str(), many.to_string()).into()))
}

fn from_engine(error: &EngineError) -> Status {
    let message = error.to_string();
    let fault = match error {
        EngineError::Invalid(violations) => from_violations(violations),
        EngineError::RunNotFound(name) => {
            StatusBuilder::new(Code::NotFound, ErrorReason::ResourceNotFound, message).resource(RUN, name)
        }
        EngineError::NamespaceNotFound(namespace) => {
            StatusBuilder::new(Code::NotFound, ErrorReason::ResourceNotFound, message)
                .resource(NAMESPACE, format!("namespaces/{namespace}"))
        }
        EngineError::PayloadMismatch { name, stored, sent, differing } => {
            StatusBuilder::new(Code::AlreadyExists, ErrorReason::PayloadMismatch, message)
                .with("stored_sha256", stored)
                .with("sent_sha256", sent)
                .with("differing_fields", differing.join(","))
                .resource(RUN, name)
        }
        EngineError::NameTaken { name, what } => {
            StatusBuilder::new(Code::AlreadyExists, ErrorReason::NameTaken, message)
                .with("taken_by", what)
                .resource(RUN, name)
        }
        EngineError::DeleteInProgress(name) => {
            StatusBuilder::new(Code::Aborted, ErrorReason::DeleteInProgress, message)
                .resource(RUN, name)
                .retry(RETRY_SOON)
        }
        EngineError::NotTerminal { name, state } => {
            StatusBuilder::new(Code::FailedPrecondition, ErrorReason::RunNotTerminal, message)
                .with("state", state.as_str())
                .precondition("RUN_STATE", name)
        }
        EngineError::EtagMismatch { name, present } => {
            StatusBuilder::new(Code::Aborted, ErrorReason::EtagMismatch, message)
                .with("etag", present)
                .resource(RUN, name)
        }
        EngineError::NoSuchAttempt { name, attempt, present } => {
            StatusBuilder::new(Code::OutOfRange, ErrorReason::OutOfRange, message)
                .with("attempt", attempt.to_string())
                .with("attempts", present.to_string())
                .resource(RUN, name)
        }
        EngineError::NoResult { name, why: _ } => {
            StatusBuilder::new(Code::FailedPrecondition, ErrorReason::NoResult, message).precondition("RESULT", name)
        }
        EngineError::NotServing(state) => StatusBuilder::new(Code::Unavailable, ErrorReason::NotServing, message)
            .with("state", *state)
            .retry(RETRY_SOON),
        EngineError::PermissionDenied { verb, action: _, resource, profiles } => {
            let fault = StatusBuilder::new(Code::PermissionDenied, ErrorReason::PermissionDenied, message)
                .with("verb", verb.as_str())
                .with("resource", resource);
            if profiles.is_empty() { fault } else { fault.with("profiles", profiles.join(",")) }
        }
        EngineError::RateLimited(_) => {
            StatusBuilder::new(Code::ResourceExhausted, ErrorReason::RateLimited, message).retry(RETRY_SOON)
        }
        EngineError::TooManyRuns { live: _, new: _, max: _ } => {
            let words = message.clone();
            StatusBuilder::new(Code::ResourceExhausted, ErrorReason::QuotaExceeded, message)
                .quota("live runs", &words)
                .retry(RETRY_LATER)
        }
        EngineError::Backend(error) => from_backend(error),
    };
    fault.into_status()
}

fn from_backend(error: &BackendError) -> StatusBuilder {
    let message = error.for_caller();
    match error {
        BackendError::NotFound(what) => {
            StatusBuilder::new(Code::NotFound, ErrorReason::ResourceNotFound, message).with("object", what)
        }
        BackendError::NamespaceNotReady(_) => {
            StatusBuilder::new(Code::FailedPrecondition, ErrorReason::NamespaceNotReady, message)
                .precondition("NAMESPACE", "namespace")
        }
        BackendError::Conflict(what) => {
            StatusBuilder::new(Code::Aborted, ErrorReason::Conflict, message).with("object", what)
        }
        // What a caller can get wrong is refused before; this is a manifest of our own making.
        BackendError::Rejected { what, message: _ } => {
            StatusBuilder::new(Code::Internal, ErrorReason::Internal, message).with("object", what)
        }
        BackendError::InvalidField { field, message } => {
            from_violations(&Violation::new(field.as_str(), message.as_str()).into())
        }
        BackendError::Exhausted { what, message: words } => {
            StatusBuilder::new(Code::ResourceExhausted, ErrorReason::QuotaExceeded, message)
                .quota(what, words)
                .retry(RETRY_LATER)
        }
        BackendError::Denied { what: _, message: _ } => {
            StatusBuilder::new(Code::Internal, ErrorReason::Internal, message)
        }
        BackendError::AdmissionDenied { what, message: _ } => {
            StatusBuilder::new(Code::FailedPrecondition, ErrorReason::AdmissionDenied, message)
                .precondition("ADMISSION", what)
        }
        BackendError::Throttled { what: _, retry_after } => {
            StatusBuilder::new(Code::Unavailable, ErrorReason::BackendUnavailable, message)
                .retry(retry_after.unwrap_or(RETRY_SOON))
        }
        BackendError::Unavailable { what: _, message: _ } | BackendError::Unreadable { what: _, message: _ } => {
            StatusBuilder::new(Code::Unavailable, ErrorReason::BackendUnavailable, message).retry(RETRY_SOON)
        }
        // Nothing is wrong with what was asked for: there is no file for it, or none free, and there will be again.
        BackendError::Io { what: _, source } if is_out_of_files(source) => {
            let message = "the server has reached its limit of open files; try again later";
            StatusBuilder::new(Code::Unavailable, ErrorReason::BackendUnavailable, message).retry(RETRY_SOON)
        }
        BackendError::Io { what: _, source: _ } | BackendError::Corrupt { what: _, message: _ } => {
            StatusBuilder::new(Code::Internal, ErrorReason::Internal, message)
        }
    }
}

/// Whether an error means that no further file can be opened, by this process (EMFILE) or at all (ENFILE).
fn is_out_of_files(error: &std::io::Error) -> bool {
    let full = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    rustix::io::Errno::from_io_error(error).is_some_and(|errno| full.contains(&errno))
}

/// The reason names what the backend can't do, or what is not built yet, only if that is all that
/// is wrong: then the request is well-formed.
fn from_violations(violations: &Violations) -> StatusBuilder {
    let all = |kind| violations.as_slice().iter().all(|violation| violation.kind == kind);
    let reason = match violations.is_empty() {
        false if all(ViolationKind::UnsupportedOnBackend) => ErrorReason::UnsupportedOnBackend,
        false if all(ViolationKind::NotSupportedYet) => ErrorReason::NotSupportedYet,
        _ => ErrorReason::InvalidFields,
    };
    StatusBuilder::bad_request(reason, violations)
}

#[cfg(test)]
mod tests;
