//! What a search finds.

use super::super::{ResultError, ResultErrorKind};

/// How much text is shown with an error.
pub(super) const SHOWN_BYTES: usize = 32;

/// The last thing that may be a result.
#[derive(Debug, Default)]
pub(in super::super) enum Last {
    /// Nothing.
    #[default]
    None,
    /// An object.
    Object(Object),
    /// Something that can't be read, and why.
    Unreadable(ResultError),
}

/// An object as it was printed.
#[derive(Debug)]
pub(in super::super) struct Object {
    /// Its text.
    pub(in super::super) raw: Vec<u8>,
    /// Bytes of the output.
    pub(in super::super) range: (u64, u64),
    /// Whether what comes next says that it stood within something: a comma or a closing bracket.
    pub(in super::super) enclosed: bool,
}

/// An object that began and is none.
#[derive(Debug)]
pub(in super::super) struct Broken {
    /// Byte of the output that can't stand there.
    pub(in super::super) at: u64,
    /// Whether it had a key and a colon.
    pub(in super::super) members: bool,
    /// Where it began.
    pub(super) from: u64,
    pub(super) expected: &'static str,
    pub(super) shown: [u8; SHOWN_BYTES],
    pub(super) shown_len: usize,
}

/// What was found.
#[derive(Debug)]
pub(in super::super) struct Scanned {
    /// The last thing that may be a result.
    pub(in super::super) last: Last,
    /// The last object that is none, rather one with a key than one without.
    pub(in super::super) broken: Option<Broken>,
    /// Whether there was an array, and nothing else.
    pub(in super::super) only_an_array: bool,
}

impl Broken {
    /// One sentence.
    pub(in super::super) fn message(&self) -> String {
        let shown = self.shown.get(..self.shown_len).unwrap_or_default().escape_ascii();
        let Self { at, from, expected, .. } = self;
        format!(
            "the object that begins at byte {from} is no JSON at byte {at}: expected {expected} at the end of `{shown}`"
        )
    }

    /// The same as an error.
    pub(in super::super) fn error(&self) -> ResultError {
        ResultError { kind: ResultErrorKind::Invalid, message: self.message(), position: Some(self.at) }
    }
}
