//! Finds the end of something that is not read: a Python literal, or what is too large or too deep.
//! Counts brackets outside of strings, in a few bytes of memory.

use super::ResultError;

/// On the way to the end.
#[derive(Debug)]
pub(super) struct Skip {
    /// Where it begins, among the searched bytes.
    pub(super) start: u64,
    /// Whether it begins with `{`.
    pub(super) object: bool,
    /// Whether an object began in it.
    pub(super) has_object: bool,
    /// Whether quotes and parentheses count as in Python.
    pub(super) python: bool,
    /// Open brackets.
    pub(super) depth: usize,
    /// The quote of the string it is in.
    pub(super) quote: Option<u8>,
    /// Whether a backslash came just before.
    pub(super) escaped: bool,
    /// Whether a `:` came directly in the outermost brackets.
    pub(super) colon: bool,
    /// What is told of it.
    pub(super) error: ResultError,
}

/// What a byte did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// It is within.
    On,
    /// It is the last one.
    End,
    /// It shows that this has no such end: a string can't go on after a control character.
    Lost,
}

impl Skip {
    /// Takes the next byte.
    pub(super) fn take(&mut self, byte: u8) -> Skipped {
        let Some(quote) = self.quote else {
            return self.take_outside(byte);
        };
        if byte < 0x20 {
            return Skipped::Lost;
        }
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == quote {
            self.quote = None;
        }
        Skipped::On
    }

    fn take_outside(&mut self, byte: u8) -> Skipped {
        match byte {
            b'"' => self.quote = Some(byte),
            b'\'' if self.python => self.quote = Some(byte),
            b'{' | b'[' => self.depth += 1,
            b'(' if self.python => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            b')' if self.python => self.depth -= 1,
            b':' if self.depth == 1 => self.colon = true,
            _ => {}
        }
        if self.depth == 0 { Skipped::End } else { Skipped::On }
    }
}
