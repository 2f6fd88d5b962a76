//! Statuses as clients take them apart.

use longshore::proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Checks the code and the reason, and that the details are as promised for every error.
#[track_caller]
pub(crate) fn assert_error(status: &Status, code: Code, reason: ErrorReason) -> ErrorDetails {
    let details = status.get_error_details();
    assert_eq!(status.code(), code, "{status:?}");
    let info = details.error_info().unwrap_or_else(|| panic!("every error has an ErrorInfo: {status:?}"));
    let wanted = reason.as_str_name().strip_prefix("ERROR_REASON_").expect("the prefix");
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("longshore.dev", wanted), "{status:?}");
    assert!(!status.message().is_empty(), "every error has words");
    if matches!(code, Code::Unavailable | Code::ResourceExhausted) {
        assert!(details.retry_info().is_some(), "it says when to try again: {details:?}");
    }
    details
}

/// The fields that an INVALID_ARGUMENT names, sorted.
#[track_caller]
pub(crate) fn violated_fields(status: &Status, reason: ErrorReason) -> Vec<String> {
    let details = assert_error(status, Code::InvalidArgument, reason);
    let request = details.bad_request().unwrap_or_else(|| panic!("a BadRequest: {details:?}"));
    for violation in &request.field_violations {
        assert!(!violation.description.is_empty(), "{violation:?} has no words");
    }
    let mut fields: Vec<_> = request.field_violations.iter().map(|violation| violation.field.clone()).collect();
    fields.sort();
    fields
}
