//! Makes compact JSON of an object's text as it was printed: numbers and strings verbatim, keys in
//! first-seen order, and nothing in it that a strict reader would refuse.

use memchr::memchr2;

use super::lex::{Taken, color};

mod duplicates;

pub(super) use duplicates::unique;

/// What had to be changed for strict JSON.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Numbers that JSON has not; `null` now.
    pub(super) nans: u64,
    /// Sequences of bytes that are no UTF-8; U+FFFD now.
    pub(super) not_utf8: u64,
    /// Escapes of half a surrogate pair; U+FFFD now.
    pub(super) surrogates: u64,
    /// Escapes that neither JSON nor Python's `repr` writes, but Python reads.
    pub(super) odd_escapes: u64,
    /// Members with the key of an earlier one.
    pub(super) duplicates: u64,
}

impl Changes {
    /// One sentence each.
    pub(super) fn warnings(&self) -> Vec<String> {
        let counted = [
            (self.nans, "numbers that JSON does not have (NaN, Infinity) became null"),
            (self.not_utf8, "sequences of bytes that are not UTF-8 became U+FFFD"),
            (self.surrogates, "escapes of half a surrogate pair became U+FFFD"),
            (
                self.odd_escapes,
                "escapes that JSON does not have and Python's repr() does not write, such as `\\a`, were read as \
                 Python reads them: a backslash may have been meant",
            ),
            (self.duplicates, "members had the key of an earlier one; the last value of each key was taken"),
        ];
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }
}

/// Compacts `raw`, an object that the grammar of JSON accepts. `None`: it is larger than `max_bytes`.
/// What `is_compact` is only looked at for what is not UTF-8, and for duplicates.
pub(super) fn compact(raw: Vec<u8>, is_compact: bool, max_bytes: usize) -> Option<(String, Changes)> {
    let mut changes = Changes::default();
    let mut text = match String::from_utf8(raw) {
        Ok(text) => text,
        Err(error) => lossy(error.as_bytes(), max_bytes, &mut changes)?,
    };
    if !is_compact {
        let mut compactor = Compactor { text: &text, from: 0, out: String::new(), max_bytes };
        if compactor.run(&mut changes)? {
            text = compactor.out;
        }
    }
    let text = unique(text, &mut changes);
    (text.len() <= max_bytes).then_some((text, changes))
}

fn lossy(raw: &[u8], max_bytes: usize, changes: &mut Changes) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            changes.not_utf8 += 1;
            text.push(char::REPLACEMENT_CHARACTER);
        }
        // White space may still go: a text of it alone is none.
        if text.len() / 2 > max_bytes {
            return None;
        }
    }
    Some(text)
}

/// Copies the text in as large pieces as it can.
struct Compactor<'a> {
    text: &'a str,
    /// Where the piece begins that is not copied yet.
    from: usize,
    out: String,
    max_bytes: usize,
}

impl Compactor<'_> {
    /// Whether there was anything to do. `None`: it is too large.
    fn run(&mut self, changes: &mut Changes) -> Option<bool> {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.out.len() > self.max_bytes {
                return None;
            }
            at += match byte {
                b'"' => self.string(at, changes),
                b' ' | b'\t' | b'\r' | b'\n' => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    let len = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
                    self.replace(at, len, "");
                    len
                }
                0x1b => {
                    let (Taken::End(len) | Taken::More(len) | Taken::Broken(len)) =
                        color(bytes.get(at..).unwrap_or_default());
                    self.replace(at, len.max(1), "");
                    len.max(1)
                }
                b'N' => self.null(at, "NaN", changes),
                b'I' => self.null(at, "Infinity", changes),
                b'-' if bytes.get(at + 1) == Some(&b'I') => self.null(at, "-Infinity", changes),
                _ => 1,
            };
        }
        if self.from == 0 {
            return Some(false);
        }
        self.replace(at, 0, "");
        Some(true)
    }

    /// Copies what stands before `at`, and `with` in the place of the next `len` bytes.
    fn replace(&mut self, at: usize, len: usize, with: &str) {
        if self.from == 0 {
            // What takes more is numbers that become null.
            self.out.reserve_exact(self.text.len() + self.text.len() / 3);
        }
        self.out.push_str(self.text.get(self.from..at).unwrap_or_default());
        self.out.push_str(with);
        self.from = at + len;
    }

    fn null(&mut self, at: usize, word: &str, changes: &mut Changes) -> usize {
        changes.nans += 1;
        self.replace(at, word.len(), "null");
        word.len()
    }

    /// Length of the string that begins at `start`, with its quotes.
    fn string(&mut self, start: usize, changes: &mut Changes) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            at += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            match (bytes.get(at), bytes.get(at + 1)) {
                (Some(b'\\'), Some(b'u')) => {
                    let text = self.text.get(at..).unwrap_or_default();
                    at += match (code_unit(text), text.get(6..).and_then(code_unit)) {
                        (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
                        (Some(0xd800..0xe000), _) => {
                            changes.surrogates += 1;
                            self.replace(at, 6, "\\ufffd");
                            6
                        }
                        _ => 6,
                    };
                }
                (Some(b'\\'), _) => at += 2,
                _ => return at + 1 - start,
            }
        }
    }
}

/// The number of a `\uXXXX` that `text` begins with.
fn code_unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// Length of the string that `text` begins with, its quotes included.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let plain = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        at += plain;
        match rest.get(plain) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return text.len(),
        }
    }
}
