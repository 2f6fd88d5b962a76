//! What a search finds.

use super::super::{Candidate, ResultError, ResultErrorKind, ResultSource, SHOWN_BYTES};

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
    /// Bytes of the output that the value takes which it is, parentheses around it included.
    pub(in super::super) whole: (u64, u64),
    /// Whether it is JSON.
    pub(in super::super) json: bool,
    /// Whether as JSON it is known to be compact, but for duplicates and what is no UTF-8.
    pub(in super::super) compact: bool,
    /// Whether what comes next says that it stood within something: a closing bracket.
    pub(in super::super) enclosed: bool,
}

/// An object that began and is none.
#[derive(Debug)]
pub(in super::super) struct Broken {
    /// Byte of the output that can't stand there.
    pub(in super::super) at: u64,
    /// Whether it had a key and a colon.
    pub(in super::super) members: bool,
    /// Whether it is not known where it ends.
    pub(in super::super) open: bool,
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
    /// The last value that is no object, if there was nothing but such.
    pub(in super::super) only_another: Option<(u64, u64)>,
    /// Every candidate, if that was asked for.
    pub(in super::super) notes: Option<Notes>,
}

impl Last {
    /// Bytes that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Object(object) => object.raw.capacity(),
            Self::None | Self::Unreadable(_) => 0,
        }
    }
}

/// Every candidate.
#[derive(Debug, Default)]
pub(in super::super) struct Notes {
    candidates: Vec<Candidate>,
}

impl Notes {
    pub(super) fn object(&mut self, (start, end): (u64, u64)) {
        self.other(start, Some(end), "an object, but a later one follows");
    }

    pub(super) fn other(&mut self, start: u64, end: Option<u64>, verdict: &str) {
        let verdict = verdict.to_owned();
        self.candidates.push(Candidate { source: ResultSource::Scan, start, end, won: false, verdict });
    }

    /// In the order of their places.
    pub(in super::super) fn into_candidates(mut self) -> Vec<Candidate> {
        self.candidates.sort_by_key(|candidate| candidate.start);
        self.candidates
    }
}

impl Broken {
    /// One sentence.
    pub(in super::super) fn message(&self) -> String {
        let shown = self.shown.get(..self.shown_len).unwrap_or_default().escape_ascii();
        let Self { at, from, expected, .. } = self;
        let text = if self.shown_len == 0 { String::new() } else { format!(" at the end of `{shown}`") };
        format!("the object that begins at byte {from} can't be read at byte {at}: expected {expected}{text}")
    }

    /// The same as an error.
    pub(in super::super) fn error(&self) -> ResultError {
        ResultError { kind: ResultErrorKind::Invalid, message: self.message(), position: Some(self.at) }
    }
}
