//! Finds the last complete object, JSON or Python literal, in a stream of anything.
//!
//! Every bracket outside of all others begins a candidate. What fails in it is dead; objects that had
//! closed directly in dead brackets stand, and the search goes on just after the opening quote of
//! the candidate's last string, or else at the word that failed: a quote may have opened where it
//! seemed to close. Strings of one kind can't open within one another, so every byte is looked at a
//! few times at most.
//!
//! But an object that broke after its first key may still end where its brackets say: then nothing
//! in it is a result. That is tried first, and only if the brackets don't agree it is searched.
//!
//! The last object is the result, unless its place says that it is none: see [`around`].

use memchr::{memchr2, memchr3};

use super::encoding::BYTE_ORDER_MARK;
use super::lex::{In, call_before, color_end, name_byte};
use super::offsets::Offsets;
use super::syntax::{Frame, FrameKind, Syntax, SyntaxEvent, SyntaxFailure};
use super::{Dialects, ReaderRule, ResultError, ResultErrorKind, too_large};

mod around;
mod broken;
mod failed;
mod found;
mod kept;

pub(super) use around::PlaceEvidence;
use around::{BEHIND_BYTES, Brackets, Follows, Right};
use broken::Enclosure;
#[cfg(test)]
pub(super) use found::SENTENCES;
pub(super) use found::{Broken, LastFound, Notes, Object, Other, Scanned};

/// How much is taken in at a time, so that memory stays bounded by the candidate.
const SLICE_BYTES: usize = 64 * 1024;

/// Searches.
#[derive(Debug)]
pub(super) struct Scanner {
    max_bytes: u64,
    allowed: In,
    /// Bytes from the present candidate on, and a few before.
    buf: Vec<u8>,
    /// Position of the first of them among all searched bytes.
    start: u64,
    /// Position of the next byte to look at.
    pos: u64,
    offsets: Offsets,
    syntax: Syntax,
    /// Why the candidate can't be the result even if it is an object; its text is not kept then.
    sealed: Option<ResultError>,
    enclosure: Option<Enclosure>,
    /// Before this position the brackets of what broke are not followed again.
    barred: u64,
    /// Why the candidate broke, while more bytes have to show what stands there.
    failure: Option<SyntaxFailure>,
    /// Before this position a value that broke was read.
    torn: u64,
    brackets: Brackets,
    last: LastFound,
    /// What comes after the last complete value, while only blanks do.
    right: Option<Right>,
    /// Whether that is the last object, and not another value.
    right_of_object: bool,
    /// The object before an empty one of which it is not known yet whether its line holds more.
    beneath: Option<Object>,
    /// A later object that is left out, as it stands in a call or in quotes.
    later: Option<(u64, u64)>,
    broken: Option<Broken>,
    /// The last complete value other than an object.
    other: Option<Other>,
    /// Whether there is anything but white space around the candidates.
    beside: bool,
    notes: Option<Notes>,
    /// Bytes that were looked at again.
    revisited: u64,
}

impl Scanner {
    /// A search of an output that begins at byte `at` of something.
    pub(super) fn new(rule: &ReaderRule, at: u64) -> Self {
        let allowed = match rule.dialects {
            Dialects::Any => In::BOTH,
            Dialects::Json => In::JSON,
            Dialects::Python => In::PYTHON,
        };
        Self {
            max_bytes: rule.max_bytes as u64,
            allowed,
            buf: Vec::new(),
            start: 0,
            pos: 0,
            offsets: Offsets::new(at),
            syntax: Syntax::new(allowed, rule.max_depth),
            sealed: None,
            enclosure: None,
            barred: 0,
            failure: None,
            torn: 0,
            brackets: Brackets::default(),
            last: LastFound::None,
            right: None,
            right_of_object: false,
            beneath: None,
            later: None,
            broken: None,
            other: None,
            beside: false,
            notes: None,
            revisited: 0,
        }
    }

    /// Notes every candidate from now on.
    pub(super) fn take_notes(&mut self) {
        self.notes = Some(Notes::default());
    }

    /// Counts bytes of the output that are not searched.
    pub(super) fn pass_over(&mut self, len: u64) {
        self.offsets.pass_over(self.start + self.buf.len() as u64, len);
    }

    /// Searches the next bytes.
    pub(super) fn push(&mut self, data: &[u8]) {
        for slice in data.chunks(SLICE_BYTES) {
            self.forget();
            self.buf.extend_from_slice(slice);
            self.run(false);
        }
    }

    /// Ends the output.
    pub(super) fn finish(mut self) -> Scanned {
        self.run(true);
        loop {
            if self.enclosure.is_some() {
                self.give_up();
            } else if let Some(failure) = self.unended_text() {
                self.failed(failure);
            } else {
                break;
            }
            self.run(true);
        }
        self.end_unfinished();
        let Self { last, broken, other, beside, later, notes, .. } = self;
        Scanned { last, broken, other, beside, later, notes }
    }

    /// Bytes that were looked at more than once.
    #[cfg(test)]
    pub(super) fn revisited(&self) -> u64 {
        self.revisited
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buf.capacity() + self.last.held()
    }

    fn run(&mut self, end: bool) {
        loop {
            if let Some(failure) = self.failure.take() {
                if !end && self.word_end(&failure).is_none() {
                    self.failure = Some(failure);
                    return;
                }
                self.failed(failure);
            }
            let index = self.index(self.pos);
            if index >= self.buf.len() {
                return;
            }
            let more = if self.enclosure.is_some() {
                self.follow_brackets();
                false
            } else if self.syntax.frames().is_empty() {
                self.seek(index);
                false
            } else {
                self.read(index, end)
            };
            if more {
                return;
            }
        }
    }

    /// Drops what is behind: all but the candidate, and of one that can't be the result that too.
    fn forget(&mut self) {
        let keep = match (&self.enclosure, self.syntax.frames().first()) {
            (Some(enclosure), _) => enclosure.start,
            (None, Some(outer)) if self.sealed.is_none() => outer.start,
            _ => self.pos,
        };
        let keep = keep.saturating_sub(BEHIND_BYTES).max(self.start);
        let index = self.index(keep).min(self.buf.len());
        if index > 0 {
            self.buf.drain(..index);
            self.start = keep;
            self.offsets.forget(keep);
        }
    }

    fn index(&self, pos: u64) -> usize {
        usize::try_from(pos.saturating_sub(self.start)).unwrap_or(usize::MAX)
    }

    fn bytes(&self, from: u64, to: u64) -> &[u8] {
        self.buf.get(self.index(from)..self.index(to).min(self.buf.len())).unwrap_or_default()
    }

    /// Goes on to the next bracket that may begin a candidate.
    fn seek(&mut self, index: usize) {
        let rest = self.buf.get(index..).unwrap_or_default();
        let found = match self.allowed.python {
            true => memchr3(b'{', b'[', b'(', rest),
            false => memchr2(b'{', b'[', rest),
        };
        let before = rest.get(..found.unwrap_or(rest.len())).unwrap_or_default();
        let len = before.len() as u64;
        let bracket = found.and_then(|at| rest.get(at)).copied();
        self.beside |= before.iter().any(|byte| !byte.is_ascii_whitespace());
        if self.brackets.close(before, self.last.pos()) {
            self.last.enclose();
        }
        if self.right.is_some() {
            self.follow(len, bracket);
        }
        self.pos += len;
        if let Some(bracket) = bracket {
            self.begin(bracket);
        }
    }

    /// Begins a candidate at the present byte, or with the name before it.
    fn begin(&mut self, bracket: u8) {
        let (mut kind, mut start) = (FrameKind::of(bracket), self.pos);
        let behind = self.bytes(self.pos.saturating_sub(BEHIND_BYTES).max(self.start), self.pos);
        // A terminal's colour.
        if bracket == b'[' && behind.last() == Some(&0x1b) {
            self.pos += 1;
            return;
        }
        if bracket == b'(' {
            match call_before(behind) {
                Some((call, len)) if call.is_mapping() => {
                    kind = FrameKind::Call(call);
                    start = self.pos - len as u64;
                }
                // What is called is not a tuple.
                _ if color_end(behind).is_none()
                    && !behind.ends_with(BYTE_ORDER_MARK)
                    && behind.last().is_some_and(|byte| name_byte(*byte) || matches!(byte, b')' | b']' | 0x80..)) =>
                {
                    self.beside = true;
                    self.brackets.open(bracket, self.pos);
                    self.pos += 1;
                    return;
                }
                _ => {}
            }
        }
        self.sealed = None;
        self.syntax.open(kind, start, self.offsets.at(start));
        self.pos += 1;
    }

    /// Reads on in the candidate; says whether more bytes are needed.
    fn read(&mut self, index: usize, end: bool) -> bool {
        let rest = self.buf.get(index..).unwrap_or_default();
        let (len, event) = self.syntax.take(rest, self.pos, end, &self.offsets);
        self.pos += len as u64;
        match event {
            SyntaxEvent::More => {
                self.seal();
                return true;
            }
            SyntaxEvent::Closed(closed) => self.closed(closed),
            // What stands there is shown, so all of it has to be there.
            SyntaxEvent::Failed(failure) => self.failure = Some(failure),
        }
        false
    }

    fn outer(&self) -> Frame {
        self.syntax.frames().first().copied().unwrap_or_else(|| Frame::new(FrameKind::List, self.pos, 0))
    }

    /// Gives up the text of a candidate that is too large or too deep.
    fn seal(&mut self) {
        if self.sealed.is_none() {
            let outer = self.outer();
            self.sealed = self.limit(outer.start, outer.at, self.pos);
        }
    }

    /// Which limit the candidate exceeds that begins at `start`, byte `at` of the output, and of which
    /// everything before `pos` is good.
    fn limit(&self, start: u64, at: u64, pos: u64) -> Option<ResultError> {
        if self.sealed.is_some() {
            return self.sealed.clone();
        }
        match self.syntax.too_deep_at() {
            Some(deep) if deep - start <= self.max_bytes => Some(ResultError {
                kind: ResultErrorKind::TooDeep,
                message: format!(
                    "what begins at byte {at} is nested deeper than the limit of {}",
                    self.syntax.max_depth()
                ),
                position: Some(self.offsets.at(deep)),
            }),
            _ if pos - start > self.max_bytes => Some(too_large(at, self.max_bytes)),
            _ => None,
        }
    }
}
