//! Reads text that is to be one object and nothing else: a result file, or what a marked line holds.
//! And reports other values.

use super::encoding::{BYTE_ORDER_MARK, decoded, is_gzip};
use super::lex::{Taken, color, color_end};
use super::scan::{LastFound, Scanned, Scanner};
use super::{
    FoundResult, ReaderRule, ResultError, ResultErrorKind, ResultSource, SHOWN_BYTES, found, shown, without_places,
};

/// `text` without white space, colours and a byte order mark around it, and how many bytes stood before.
pub(super) fn trimmed(text: &[u8]) -> (usize, &[u8]) {
    let mut rest = text.trim_ascii_start();
    rest = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest).trim_ascii_start();
    while let Taken::End(len) = color(rest) {
        rest = rest.get(len..).unwrap_or_default().trim_ascii_start();
    }
    let before = text.len() - rest.len();
    rest = rest.trim_ascii_end();
    while let Some(earlier) = color_end(rest) {
        rest = earlier.trim_ascii_end();
    }
    (before, rest)
}

/// Whether `text` is a value other than an object: what could stand in a list. Meant for short texts.
pub(super) fn is_value(text: &[u8], rule: &ReaderRule) -> bool {
    if text.is_empty() || text.starts_with(b"{") {
        return false;
    }
    let list = [b"[", text, b"]"].concat();
    let mut scanner = Scanner::new(&ReaderRule { max_bytes: list.len(), ..rule.clone() }, 0);
    scanner.push(&list);
    scanner.finish().only_other() == Some((0, list.len() as u64))
}

/// Reads `text`, which begins at byte `at` of its source.
pub(super) fn read_whole(
    text: &[u8],
    rule: &ReaderRule,
    at: u64,
    source: ResultSource,
) -> Result<FoundResult, ResultError> {
    if let Some(decoded) = decoded(text) {
        return without_places(read_whole(&decoded, rule, 0, source));
    }
    let (before, text) = trimmed(text);
    let at = at + before as u64;
    let error = |kind, message: &str| ResultError { kind, message: message.to_owned(), position: Some(at) };
    if is_gzip(text) {
        return Err(error(ResultErrorKind::Invalid, "it is compressed with gzip: write the object as it is"));
    }
    let mut scanner = Scanner::new(rule, at);
    scanner.push(text);
    let whole = (at, at + text.len() as u64);
    let scanned = scanner.finish();
    let only_other = scanned.only_other();
    let Scanned { last, broken, .. } = scanned;
    match last {
        LastFound::Object(object) if object.whole == whole => found(object, rule, source),
        _ if only_other == Some(whole) || is_value(text, rule) => {
            Err(error(ResultErrorKind::NotAnObject, "it is a value, but not an object"))
        }
        _ if !matches!(text.first(), Some(b'{' | b'(')) && broken.is_none() => {
            Err(error(ResultErrorKind::Invalid, &format!("no object begins at byte {at}: `{}`", opening(text))))
        }
        last => Err(broken.map(|broken| broken.error()).unwrap_or_else(|| match last {
            LastFound::Unreadable(error) => error,
            _ => error(ResultErrorKind::Invalid, "there is more than one value"),
        })),
    }
}

/// The first bytes of `text`, to show.
fn opening(text: &[u8]) -> String {
    shown(text.get(..SHOWN_BYTES).unwrap_or(text))
}
