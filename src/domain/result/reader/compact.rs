//! Makes compact JSON of an object's text as it was printed: numbers and strings verbatim, keys in
//! first-seen order, and nothing in it that a strict reader would refuse.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

mod unique;

use unique::without_duplicates;

/// Compact JSON, and what had to be changed for it.
#[derive(Debug, Default)]
pub(super) struct Compact {
    pub(super) json: String,
    /// Numbers that JSON has not; `null` now.
    pub(super) nans: u64,
    /// Strings with bytes that are no UTF-8; U+FFFD now.
    not_utf8: u64,
    /// Escapes of half a surrogate pair; U+FFFD now.
    surrogates: u64,
    /// Members with the key of an earlier one.
    duplicates: u64,
}

/// Compacts `raw`, an object that the grammar accepts. `None`: it is larger than `max_bytes`.
pub(super) fn compact(raw: &[u8], max_bytes: usize) -> Option<Compact> {
    let mut compact = Compact::default();
    let mut rest = raw;
    while let Some(&byte) = rest.first() {
        let len = match byte {
            b'"' => {
                let len = text_len(rest);
                compact.push_text(rest.get(..len)?);
                len
            }
            b' ' | b'\t' | b'\r' | b'\n' => 1,
            b'N' | b'I' => compact.push_null(if byte == b'N' { "NaN" } else { "Infinity" }),
            b'-' if rest.get(1) == Some(&b'I') => compact.push_null("-Infinity"),
            _ => {
                compact.json.push(char::from(byte));
                1
            }
        };
        if compact.json.len() > max_bytes {
            return None;
        }
        rest = rest.get(len..)?;
    }
    if let Some((json, duplicates)) = without_duplicates(&compact.json) {
        compact.json = json;
        compact.duplicates = duplicates;
    }
    Some(compact)
}

/// Length of the string that `text` begins with, its quotes included.
fn text_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(rest) = text.get(at..)
        && let Some(found) = memchr2(b'"', b'\\', rest)
    {
        if rest.get(found) == Some(&b'"') {
            return at + found + 1;
        }
        at += found + 2;
    }
    text.len()
}

impl Compact {
    /// What was changed, one sentence each.
    pub(super) fn warnings(&self) -> Vec<String> {
        let counted = [
            (self.nans, "numbers that JSON does not have (NaN, Infinity) became null"),
            (self.not_utf8, "strings were not UTF-8; the bytes in question became U+FFFD"),
            (self.surrogates, "escapes of half a surrogate pair became U+FFFD"),
            (self.duplicates, "members had the key of an earlier one; the last value of each key was taken"),
        ];
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }

    fn push_null(&mut self, word: &str) -> usize {
        self.json.push_str("null");
        self.nans += 1;
        word.len()
    }

    /// Appends a string with its quotes. Escapes stay as they are.
    fn push_text(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        self.not_utf8 += u64::from(matches!(text, Cow::Owned(_)));
        let mut rest = &*text;
        while let Some((before, escape)) = memchr(b'\\', rest.as_bytes()).and_then(|at| rest.split_at_checked(at)) {
            self.json.push_str(before);
            let len = match (code_unit(escape), escape.get(6..).and_then(code_unit)) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
                (Some(0xd800..0xe000), _) => {
                    self.surrogates += 1;
                    self.json.push_str("\\ufffd");
                    rest = escape.get(6..).unwrap_or_default();
                    continue;
                }
                (Some(_), _) => 6,
                (None, _) => 2,
            };
            let (escape, after) = escape.split_at_checked(len).unwrap_or((escape, ""));
            self.json.push_str(escape);
            rest = after;
        }
        self.json.push_str(rest);
    }
}

/// The number of a `\uXXXX` that `text` begins with.
fn code_unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}
