//! Reads text that is to be one object and nothing else: a result file, or what a marked line holds.
//! And tells other values.

use serde::de::IgnoredAny;

use super::lex::{In, Name, Number, Prefix, Taken, Text, name};
use super::scan::{Last, Scanned, Scanner};
use super::{FoundResult, ReaderRule, ResultError, ResultErrorKind, ResultSource, found};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `text` without white space and byte order mark around it, and how many bytes stood before.
pub(super) fn trimmed(text: &[u8]) -> (usize, &[u8]) {
    let rest = text.trim_ascii_start();
    let rest = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest).trim_ascii_start();
    (text.len() - rest.len(), rest.trim_ascii_end())
}

/// Whether `text` is a JSON value other than an object, or a string, number or constant of Python's.
/// Meant for short texts.
pub(super) fn is_value(text: &[u8]) -> bool {
    !text.starts_with(b"{") && (serde_json::from_slice::<IgnoredAny>(text).is_ok() || is_scalar(text))
}

fn is_scalar(text: &[u8]) -> bool {
    if let Some(prefix) = Prefix::of(text) {
        let quoted = text.get(prefix.len..).unwrap_or_default();
        let Some((mut string, quotes)) = Text::open(quoted, prefix, In::BOTH, true) else { return false };
        let content = quoted.get(quotes..).unwrap_or_default();
        return string.take(content, true) == Taken::End(content.len());
    }
    let unsigned = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    match unsigned.first() {
        Some(b'0'..=b'9') => Number::new(In::BOTH).take(unsigned, true) == Taken::End(unsigned.len()),
        _ => matches!(name(unsigned), Some((Name::Constant(_), len, _)) if len == unsigned.len()),
    }
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
    if is_value(text) {
        return Err(error(ResultErrorKind::NotAnObject, "it is a value, but not an object"));
    }
    let mut scanner = Scanner::new(rule, at);
    scanner.push(text);
    let whole = (at, at + text.len() as u64);
    let Scanned { last, broken, only_another, .. } = scanner.finish();
    match last {
        Last::Object(object) if object.whole == whole => found(object, rule, source),
        Last::Unreadable(error) if broken.is_none() => Err(error),
        _ if only_another => Err(error(ResultErrorKind::NotAnObject, "it is a value, but not an object")),
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
