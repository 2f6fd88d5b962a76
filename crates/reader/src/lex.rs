//! The words that JSON and Python literals are made of: strings, numbers, names. Knows nothing of
//! what stands around them. Strings and numbers can be taken in parts, since they have no bounds.

mod color;
mod name;
mod number;
mod text;

pub(super) use color::{color, color_end};
pub(super) use name::{
    Call, Constant, Name, angle, angle_constant, call_before, may_become, name, name_byte, undecided,
};
pub(super) use number::{Number, NumberKind, short_number};
pub(super) use text::{Prefix, Text, plain_len, short_text};

/// In which dialects something is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct In {
    pub(super) json: bool,
    pub(super) python: bool,
}

impl In {
    pub(super) const BOTH: Self = Self { json: true, python: true };
    pub(super) const JSON: Self = Self { json: true, python: false };
    pub(super) const PYTHON: Self = Self { json: false, python: true };
    pub(super) const NONE: Self = Self { json: false, python: false };

    pub(super) fn and(self, other: Self) -> Self {
        Self { json: self.json && other.json, python: self.python && other.python }
    }

    pub(super) fn any(self) -> bool {
        self.json || self.python
    }
}

/// How far a string or number was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes are taken, and what follows them decides how it goes on.
    More(usize),
    /// So many bytes are taken, and with the last of them it ends.
    End(usize),
    /// So many bytes are taken, and the next can't stand there in any dialect.
    Broken(usize),
}

/// Whether JSON or Python counts it as white space between words.
pub(super) fn space(byte: u8) -> Option<In> {
    match byte {
        b' ' | b'\t' | b'\n' | b'\r' => Some(In::BOTH),
        b'\x0c' => Some(In::PYTHON),
        _ => None,
    }
}
