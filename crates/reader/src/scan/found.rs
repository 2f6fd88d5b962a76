//! What a search finds.

use super::super::{Candidate, ResultError, ResultErrorKind, ResultSource, SHOWN_BYTES, shown};
use super::PlaceEvidence;

/// The last thing that may be a result.
#[derive(Debug, Default)]
pub(crate) enum LastFound {
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
pub(crate) struct Object {
    /// Its text.
    pub(crate) raw: Vec<u8>,
    /// Where it begins among the searched bytes.
    pub(super) pos: u64,
    /// Bytes of the output.
    pub(crate) range: (u64, u64),
    /// Bytes of the output that the value takes which it is, parentheses around it included.
    pub(crate) whole: (u64, u64),
    /// Whether it is JSON.
    pub(crate) json: bool,
    /// Whether as JSON it is known to be compact, but for duplicates and what is not UTF-8.
    pub(crate) compact: bool,
    /// What its place says.
    pub(crate) evidence: PlaceEvidence,
    /// Whether what stands before it may come before a member's value.
    pub(super) inner: bool,
    /// Whether it may be a part of something else: that broke, or what stands around it says so.
    pub(crate) enclosed: bool,
    /// The last object before it that is alone on its lines: bytes of the output.
    pub(crate) earlier: Option<(u64, u64)>,
}

/// A complete value that is no object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Other {
    /// Bytes of the output.
    pub(crate) range: (u64, u64),
    /// Whether its lines have nothing else.
    pub(crate) alone: bool,
}

/// An object that began and is none.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Byte of the output that can't stand there.
    pub(crate) at: u64,
    /// Whether it had a key and a colon.
    pub(crate) members: bool,
    /// Whether it is not known where it ends.
    pub(crate) open: bool,
    /// Where it began.
    pub(super) from: u64,
    pub(super) expected: &'static str,
    /// The last of what stands before it.
    pub(super) before: ShownText,
    /// The word that can't stand there.
    pub(super) found: ShownText,
}

/// A short text to show.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShownText {
    bytes: [u8; SHOWN_BYTES],
    len: usize,
}

impl ShownText {
    /// The first bytes of `text`.
    pub(super) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHOWN_BYTES];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Self { bytes, len: text.len().min(SHOWN_BYTES) }
    }

    /// In code quotes, after `word`; nothing if there is nothing.
    fn after(&self, word: &str) -> String {
        match self.bytes.get(..self.len) {
            None | Some([]) => String::new(),
            Some(bytes) => format!("{word} `{}`", shown(bytes)),
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// The last thing that may be a result.
    pub(crate) last: LastFound,
    /// The last object that is none, rather one with a key than one without.
    pub(crate) broken: Option<Broken>,
    /// The last complete value that is no object.
    pub(crate) other: Option<Other>,
    /// Whether there is anything but such values and white space.
    pub(crate) beside: bool,
    /// A later object than the last that counts, left out for its place.
    pub(crate) later: Option<(u64, u64)>,
    /// Every candidate, if that was asked for.
    pub(crate) notes: Option<Notes>,
}

impl Scanned {
    /// The value that is no object, if there is nothing else.
    pub(crate) fn only_other(&self) -> Option<(u64, u64)> {
        self.other.filter(|_| !self.beside).map(|other| other.range)
    }
}

impl LastFound {
    /// Where the object begins among the searched bytes.
    pub(super) fn pos(&self) -> Option<u64> {
        match self {
            Self::Object(object) => Some(object.pos),
            Self::None | Self::Unreadable(_) => None,
        }
    }

    /// The object may be a part of something else.
    pub(super) fn enclose(&mut self) {
        if let Self::Object(object) = self {
            object.enclosed = true;
        }
    }

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
pub(crate) struct Notes {
    candidates: Vec<Candidate>,
}

impl Notes {
    pub(super) fn object(&mut self, (start, end): (u64, u64)) {
        self.other(start, Some(end), "an object, but a later one follows".to_owned());
    }

    pub(super) fn other(&mut self, start: u64, end: Option<u64>, verdict: String) {
        self.candidates.push(Candidate { source: ResultSource::Scan, start, end, won: false, verdict });
    }

    /// In the order of their places.
    pub(crate) fn into_candidates(mut self) -> Vec<Candidate> {
        self.candidates.sort_by_key(|candidate| candidate.start);
        self.candidates
    }
}

#[cfg(test)]
thread_local! {
    /// How many sentences were made of what broke.
    pub(crate) static SENTENCES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Broken {
    /// One sentence.
    pub(crate) fn message(&self) -> String {
        #[cfg(test)]
        SENTENCES.set(SENTENCES.get() + 1);
        let Self { at, from, expected, before, found, .. } = self;
        let (found, before) = (found.after(", found"), before.after(" after"));
        format!("the object that begins at byte {from} can't be read at byte {at}: expected {expected}{found}{before}")
    }

    /// The same as an error.
    pub(crate) fn error(&self) -> ResultError {
        ResultError { kind: ResultErrorKind::Invalid, message: self.message(), position: Some(self.at) }
    }
}
