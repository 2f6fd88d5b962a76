//! What stands around an object: the rest of its lines, quotes, and brackets around it that belong to
//! no value that was read. From this follows how likely it is to be a result, and whether it may be
//! only a part of one. Looks at bytes, and knows nothing of their grammar.

use std::collections::VecDeque;

use memchr::{memchr3_iter, memrchr2};

use super::super::encoding::BYTE_ORDER_MARK;
use super::super::lex::color_end;

/// How much is looked at of what stands before a value.
pub(super) const BEHIND_BYTES: u64 = 256;
/// How many open brackets are remembered; of more, the outermost are forgotten.
const MOST_OPEN: usize = 64;

/// How strongly the place of an object says that it is a result, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PlaceEvidence {
    /// Empty braces in a line of text, such as a placeholder that nothing was filled in for.
    Empty,
    /// In quotes or in a call, which stands for something else.
    Within,
    /// In a line of text.
    InLine,
    /// Alone on its lines.
    Alone,
}

/// What stands before a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// Whether its line has nothing before it.
    pub(super) blank: bool,
    /// Whether a quote stands directly before it.
    pub(super) quoted: bool,
    /// Whether what stands before it, line ends aside, is what stands before a member's or an item's
    /// value: a colon, a comma, an opening bracket.
    pub(super) inner: bool,
    /// How many bytes its line has before it, as far as was looked.
    pub(super) line: u64,
}

impl Left {
    /// Looks at the bytes before a value: at least [`BEHIND_BYTES`] of them, or all.
    pub(super) fn of(behind: &[u8]) -> Self {
        let line = behind.len() - memrchr2(b'\n', b'\r', behind).map_or(0, |at| at + 1);
        let on_line = behind.get(behind.len() - line..).unwrap_or_default();
        let text = without_blank_end(behind);
        Self {
            blank: text.len() + line <= behind.len(),
            quoted: matches!(on_line.last(), Some(b'"' | b'\'' | b'`')),
            inner: matches!(text.last(), Some(b':' | b',' | b'[' | b'(' | b'{')),
            line: line as u64,
        }
    }
}

/// `bytes` without the blanks at their end: white space, NUL, a byte order mark, colours.
fn without_blank_end(mut bytes: &[u8]) -> &[u8] {
    loop {
        let len = bytes.len();
        bytes = bytes.trim_ascii_end();
        bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        bytes = bytes.strip_suffix(BYTE_ORDER_MARK).unwrap_or(bytes);
        bytes = color_end(bytes).unwrap_or(bytes);
        if bytes.len() == len {
            return bytes;
        }
    }
}

/// What comes after a value, on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Only blanks so far, on the value's last line.
    Same,
    /// In a sequence that sets a colour; `true`: on a later line.
    Color(bool),
    /// Only blanks, and a line's end among them.
    Later,
}

/// What a byte after a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing yet.
    Open(Right),
    /// The value's line has nothing after it. More may follow.
    LineEnd(Right),
    /// The first byte that is no blank, and whether it stands on the value's last line.
    Byte(u8, bool),
}

impl Right {
    pub(super) fn step(self, byte: u8) -> Follows {
        match (self, byte) {
            (Self::Color(later), b'[' | b'0'..=b'9' | b';' | b':') => Follows::Open(Self::Color(later)),
            (Self::Color(later), b'm' | b'K') => Follows::Open(if later { Self::Later } else { Self::Same }),
            (Self::Same, b'\n' | b'\r') => Follows::LineEnd(Self::Later),
            (Self::Same | Self::Later, 0x1b) => Follows::Open(Self::Color(self == Self::Later)),
            (Self::Same | Self::Later, 0) => Follows::Open(self),
            (Self::Same | Self::Later, _) if byte.is_ascii_whitespace() => Follows::Open(self),
            (Self::Same | Self::Color(false), _) => Follows::Byte(byte, true),
            (Self::Later | Self::Color(true), _) => Follows::Byte(byte, false),
        }
    }
}

/// Brackets that opened and did not close, outside of values that were read. Quotes mean nothing to
/// them, and each kind is for itself: what is left over of one does not hide another.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    /// What closes each, and where it opened.
    open: VecDeque<(u8, u64)>,
}

impl Brackets {
    pub(super) fn open(&mut self, bracket: u8, pos: u64) {
        let closing = match bracket {
            b'{' => b'}',
            b'[' => b']',
            _ => b')',
        };
        if self.open.len() == MOST_OPEN {
            self.open.pop_front();
        }
        self.open.push_back((closing, pos));
    }

    /// Whether one opened at `pos` or later, of those that `closing` closes or, if that is `None`, of
    /// any.
    pub(super) fn opened_since(&self, pos: u64, closing: Option<u8>) -> bool {
        let since = self.open.iter().rev().take_while(|(_, at)| *at >= pos);
        since.clone().any(|(closes, _)| closing.is_none_or(|closing| closing == *closes))
    }

    /// Passes over text without opening brackets. Says whether a bracket in it closes one that opened
    /// before `inner`, or, once there is an `inner`, is a brace that closes none at all.
    pub(super) fn close(&mut self, bytes: &[u8], inner: Option<u64>) -> bool {
        if self.open.is_empty() && inner.is_none() {
            return false;
        }
        let mut around = false;
        for index in memchr3_iter(b'}', b']', b')', bytes) {
            around |= self.close_one(bytes.get(index).copied().unwrap_or_default(), inner);
        }
        around
    }

    /// Passes over any text, of which the first byte is at `pos` and comes after `before`.
    pub(super) fn pass(&mut self, bytes: &[u8], pos: u64, mut before: Option<u8>, inner: Option<u64>) -> bool {
        let mut around = false;
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                // The beginning of a colour.
                b'[' if before == Some(0x1b) => {}
                b'{' | b'[' | b'(' => self.open(*byte, pos + index as u64),
                b'}' | b']' | b')' => around |= self.close_one(*byte, inner),
                _ => {}
            }
            before = Some(*byte);
        }
        around
    }

    fn close_one(&mut self, closing: u8, inner: Option<u64>) -> bool {
        let index = self.open.iter().rposition(|(closes, _)| *closes == closing);
        let opened = index.and_then(|index| self.open.remove(index));
        match (opened, inner) {
            (_, None) => false,
            (Some((_, pos)), Some(inner)) => pos < inner,
            (None, Some(_)) => closing == b'}',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_value() {
        for (behind, blank, quoted, inner) in [
            ("", true, false, false),
            ("a\n", true, false, false),
            ("a,\n \t", true, false, true),
            ("50%\r\u{feff}\0\u{1b}[1;32m ", true, false, false),
            ("total: ", false, false, true),
            ("total \u{1b}[m", false, false, false),
            ("x = '", false, true, false),
            ("x = ' ", false, false, false),
            ("f(a, ", false, false, true),
            (" [", false, false, true),
            ("12m", false, false, false),
        ] {
            let left = Left::of(behind.as_bytes());
            assert_eq!((left.blank, left.quoted, left.inner), (blank, quoted, inner), "{behind:?}");
        }
    }

    fn follows(text: &str) -> (bool, Option<(u8, bool)>) {
        let (mut right, mut line_end) = (Right::Same, false);
        for byte in text.bytes() {
            match right.step(byte) {
                Follows::Open(next) => right = next,
                Follows::LineEnd(next) => (right, line_end) = (next, true),
                Follows::Byte(byte, same) => return (line_end, Some((byte, same))),
            }
        }
        (line_end, None)
    }

    #[test]
    fn what_comes_after_a_value() {
        assert_eq!(follows(" \t"), (false, None));
        assert_eq!(follows(" x"), (false, Some((b'x', true))));
        assert_eq!(follows("\u{1b}[0m\r\n"), (true, None));
        assert_eq!(follows("\n\u{1b}[0m]"), (true, Some((b']', false))));
        assert_eq!(follows("\u{1b}]"), (false, Some((b']', true))));
    }

    #[test]
    fn brackets_close_what_opened_of_their_kind() {
        let pass = |text: &str, inner: u64| Brackets::default().pass(text.as_bytes(), 0, None, Some(inner));
        assert!(pass("( {} )", 2));
        assert!(!pass("( {} )", 0), "what opened later");
        assert!(pass("( { )", 3), "each kind is for itself");
        assert!(pass("}", 0) && !pass(")", 0) && !pass("]", 0), "a brace that closes nothing");
        assert!(!pass("\u{1b}[1m x ]", 5), "a colour opens nothing");
        let mut brackets = Brackets::default();
        brackets.open(b'(', 3);
        assert!(brackets.opened_since(3, None) && brackets.opened_since(0, Some(b')')));
        assert!(!brackets.opened_since(4, None) && !brackets.opened_since(0, Some(b'}')));
        assert!(!brackets.close(b"]]", Some(9)) && brackets.close(b"x)", Some(9)));
    }
}
