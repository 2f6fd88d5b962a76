//! Builds a status within the room that clients give to trailers: many refuse more than 8 KiB,
//! base64 and escapes included.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use longshore_api::v1::ErrorReason;
use longshore_domain::notation::violation::Violations;
use longshore_text::cut;

/// The domain of every reason of Longshore's.
pub(super) const DOMAIN: &str = "longshore.dev";
/// Longest message, in bytes.
const MESSAGE_MAX: usize = 1024;
/// Longest message of a refused request, whose violations report the same in full.
const SUMMARY_MAX: usize = 512;
/// Longest value of metadata and longest description in a detail, in bytes.
const TEXT_MAX: usize = 512;
/// Longest message as it is escaped (`%E2%82%AC`), in bytes.
const ESCAPED_MAX: usize = 1536;
/// At most this many violations are reported, and at most this many bytes of them; then a count.
const VIOLATIONS_MAX: usize = 20;
const VIOLATIONS_MAX_BYTES: usize = 4096;
/// What protobuf adds to a violation's two strings.
const VIOLATION_OVERHEAD: usize = 9;

/// A status in the making.
#[derive(Debug)]
pub(super) struct StatusBuilder {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl StatusBuilder {
    pub(super) fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, metadata: HashMap::new(), details: ErrorDetails::new() }
    }

    /// INVALID_ARGUMENT with every violation that there is room for, and how many more there are.
    pub(super) fn bad_request(reason: ErrorReason, violations: &Violations) -> Self {
        let mut fault = Self::new(Code::InvalidArgument, reason, "");
        let (mut listed, mut bytes) = (0, 0);
        for violation in violations.as_slice().iter().take(VIOLATIONS_MAX) {
            let (field, description) = (cut(&violation.field, TEXT_MAX), cut(&violation.description, TEXT_MAX));
            let size = field.len() + description.len() + VIOLATION_OVERHEAD;
            // Room is kept for the count.
            if bytes + size > VIOLATIONS_MAX_BYTES - 32 {
                break;
            }
            fault.details.add_bad_request_violation(field, description);
            (listed, bytes) = (listed + 1, bytes + size);
        }
        let more = violations.as_slice().len() - listed;
        let mut summary = cut(&violations.to_string(), SUMMARY_MAX);
        if more > 0 {
            fault.details.add_bad_request_violation("", format!("and {more} more"));
            summary.push_str(&format!(" (and {more} more than the details name)"));
        }
        fault.message = summary;
        fault.with("violations", violations.as_slice().len().to_string())
    }

    /// Adds to the metadata of the ErrorInfo.
    pub(super) fn with(mut self, key: &str, value: impl AsRef<str>) -> Self {
        self.metadata.insert(key.to_owned(), cut(value.as_ref(), TEXT_MAX));
        self
    }

    /// Names the resource that it is about.
    pub(super) fn resource(mut self, kind: &str, name: impl ToString) -> Self {
        self.details.set_resource_info(kind, name.to_string(), "", "");
        self
    }

    /// Names the condition that does not hold.
    pub(super) fn precondition(mut self, kind: &str, subject: impl ToString) -> Self {
        let description = cut(&self.message, TEXT_MAX);
        self.details.add_precondition_failure_violation(kind, cut(&subject.to_string(), TEXT_MAX), description);
        self
    }

    /// Names the quota that is used up.
    pub(super) fn quota(mut self, subject: &str, description: &str) -> Self {
        self.details.add_quota_failure_violation(cut(subject, TEXT_MAX), cut(description, TEXT_MAX));
        self
    }

    /// Says when to try again.
    pub(super) fn retry(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    pub(super) fn into_status(self) -> Status {
        let Self { code, reason, message, metadata, mut details } = self;
        let name = reason.as_str_name();
        let reason = name.strip_prefix("ERROR_REASON_").unwrap_or(name);
        details.set_error_info(reason, DOMAIN, metadata);
        Status::with_error_details(code, cut_escaped(&cut(&message, MESSAGE_MAX)), details)
    }
}

/// `text` such that it has at most [`ESCAPED_MAX`] bytes on the wire, where all but plain ASCII
/// takes three for each.
fn cut_escaped(text: &str) -> String {
    let mut escaped = 0;
    let fits = text.bytes().take_while(|byte| {
        escaped += if matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_') { 1 } else { 3 };
        escaped <= ESCAPED_MAX - 9
    });
    let fits = fits.count();
    if fits == text.len() {
        return text.to_owned();
    }
    format!("{}…", text.get(..text.floor_char_boundary(fits)).unwrap_or_default())
}
