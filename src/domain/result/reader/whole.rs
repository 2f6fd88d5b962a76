//! Reads text that is to be one object and nothing else: a result file, or what a marked line holds.
//! And tells other values.

use super::scan::{Last, Scanned, Scanner};
use super::{FoundResult, ReaderRule, ResultError, ResultErrorKind, ResultSource, found};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `text` without white space and byte order mark around it, and how many bytes stood before.
pub(super) fn trimmed(text: &[u8]) -> (usize, &[u8]) {
    let rest = text.trim_ascii_start();
    let rest = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest).trim_ascii_start();
    (text.len() - rest.len(), rest.trim_ascii_end())
}

/// Whether `text` is a value other than an object: what could stand in a list. Meant for short texts.
pub(super) fn is_value(text: &[u8], rule: &ReaderRule) -> bool {
    if text.is_empty() || text.starts_with(b"{") {
        return false;
    }
    let list = [b"[", text, b"]"].concat();
    let mut scanner = Scanner::new(&ReaderRule { max_bytes: list.len(), ..rule.clone() }, 0);
    scanner.push(&list);
    scanner.finish().only_another == Some((0, list.len() as u64))
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
    let mut scanner = Scanner::new(rule, at);
    scanner.push(text);
    let whole = (at, at + text.len() as u64);
    let Scanned { last, broken, only_another, .. } = scanner.finish();
    match last {
        Last::Object(object) if object.whole == whole => found(object, rule, source),
        _ if only_another == Some(whole) || is_value(text, rule) => {
            Err(error(ResultErrorKind::NotAnObject, "it is a value, but not an object"))
        }
        _ if !matches!(text.first(), Some(b'{' | b'(')) && broken.is_none() => {
            Err(error(ResultErrorKind::Invalid, &format!("no object begins at byte {at}: `{}`", opening(text))))
        }
        last => Err(broken.map(|broken| broken.error()).unwrap_or_else(|| match last {
            Last::Unreadable(error) => error,
            _ => error(ResultErrorKind::Invalid, "there is more than one value"),
        })),
    }
}

/// The first bytes of `text`, to show.
fn opening(text: &[u8]) -> String {
    text.get(..32).unwrap_or(text).escape_ascii().to_string()
}
