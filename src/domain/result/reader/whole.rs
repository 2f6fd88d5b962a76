//! Reads text that is to be one object and nothing else: a result file, or what a marked line holds.

use serde::de::IgnoredAny;

use super::scan::{Last, Scanned, Scanner};
use super::{FoundResult, ReaderRule, ResultError, ResultErrorKind, ResultSource, found};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `text` without white space and byte order mark around it, and how many bytes stood before.
pub(super) fn trimmed(text: &[u8]) -> (usize, &[u8]) {
    let rest = text.trim_ascii_start();
    let rest = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest).trim_ascii_start();
    (text.len() - rest.len(), rest.trim_ascii_end())
}

/// Whether `text` is a JSON value. Meant for short texts.
pub(super) fn is_value(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Reads `text`, which begins at byte `at` of its source.
pub(super) fn read_whole(
    text: &[u8],
    rule: &ReaderRule,
    at: u64,
    source: ResultSource,
) -> Result<FoundResult, ResultError> {
    let (before, text) = trimmed(text);
    let at = at + before as u64;
    let error = |kind, message: &str| ResultError { kind, message: message.to_owned(), position: Some(at) };
    if text.first() != Some(&b'{') {
        return Err(match is_value(text) {
            true => error(ResultErrorKind::NotAnObject, "it is a JSON value, but not an object"),
            false => error(ResultErrorKind::Invalid, &format!("no object begins at byte {at}: `{}`", opening(text))),
        });
    }
    let mut scanner = Scanner::new(rule.max_bytes, rule.max_depth, at);
    scanner.push(text);
    let whole = (at, at + text.len() as u64);
    match scanner.finish() {
        Scanned { last: Last::Object(object), .. } if object.range == whole => {
            found(&object.raw, rule, object.range, source)
        }
        Scanned { last: Last::Unreadable(error), .. } => Err(error),
        Scanned { broken: Some(broken), .. } => Err(broken.error()),
        Scanned { .. } => Err(error(ResultErrorKind::Invalid, "there is more than one object")),
    }
}

/// The first bytes of `text`, to show.
fn opening(text: &[u8]) -> String {
    text.get(..32).unwrap_or(text).escape_ascii().to_string()
}
