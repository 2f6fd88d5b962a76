//! Finds the last complete JSON object in a stream of anything.
//!
//! Every `{` and `[` that is not within another one begins a candidate, and every open bracket of it
//! a frame. A byte that can't stand where it stands fails all open frames together. Objects that had
//! closed directly in one of them stand, and the search goes on at that byte, so every byte is looked
//! at once. The exceptions, each once more at most: the end of a string before such a byte, and what
//! looked like a Python literal and is none.

use memchr::memchr2;

use super::grammar::{State, Step, is_space, step};
use super::skip::{Skip, Skipped};
use super::{ResultError, ResultErrorKind, too_large};

mod offsets;

use offsets::Offsets;

/// How much is taken in at a time, so that memory stays bounded by the candidate.
const SLICE_BYTES: usize = 64 * 1024;
/// How much text is shown with an error.
const SHOWN_BYTES: usize = 32;

/// Searches.
#[derive(Debug)]
pub(super) struct Scanner {
    max_bytes: usize,
    max_depth: usize,
    /// Bytes from the present candidate on.
    buf: Vec<u8>,
    /// Position of the first of them among all searched bytes.
    start: u64,
    /// Position of the next byte to look at.
    pos: u64,
    offsets: Offsets,
    frames: Vec<Frame>,
    state: State,
    /// The last string of the candidate, from quote to quote, if only white space came after it.
    text: Option<(u64, u64)>,
    /// Whether the candidate has a key and a colon.
    members: bool,
    skip: Option<Skip>,
    /// What a Python literal is taken back to if it is none.
    retreat: Option<Retreat>,
    /// Before this position nothing is taken for a Python literal again.
    barred: u64,
    last: Last,
    /// Whether only white space came after the last object.
    after_object: bool,
    broken: Option<Broken>,
    /// Whether there is a complete array outside of all objects.
    arrays: bool,
    /// Whether there is anything but white space around the candidates.
    beside: bool,
    /// Bytes that were looked at again.
    revisited: u64,
}

/// An open bracket.
#[derive(Debug)]
struct Frame {
    start: u64,
    /// `start` in the whole output.
    at: u64,
    object: bool,
    /// The last object that closed directly in it.
    child: Option<Span>,
}

/// A closed object.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    end: u64,
    /// The same in the whole output.
    range: (u64, u64),
}

/// Where the search goes on when a Python literal turns out to be none, and what stands then.
#[derive(Debug)]
struct Retreat {
    pos: u64,
    child: Option<Span>,
    broken: Broken,
}

/// The last thing that may be a result.
#[derive(Debug, Default)]
pub(super) enum Last {
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
pub(super) struct Object {
    /// Its text.
    pub(super) raw: Vec<u8>,
    /// Bytes of the output.
    pub(super) range: (u64, u64),
    /// Whether what comes next says that it stood within something: a comma or a closing bracket.
    pub(super) enclosed: bool,
}

/// An object that began and is none.
#[derive(Debug)]
pub(super) struct Broken {
    /// Byte of the output that can't stand there.
    pub(super) at: u64,
    /// Whether it had a key and a colon.
    pub(super) members: bool,
    /// Where it began.
    from: u64,
    expected: &'static str,
    shown: [u8; SHOWN_BYTES],
    shown_len: usize,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The last thing that may be a result.
    pub(super) last: Last,
    /// The last object that is none, rather one with a key than one without.
    pub(super) broken: Option<Broken>,
    /// Whether there was an array, and nothing else.
    pub(super) only_an_array: bool,
}

impl Scanner {
    /// A search of an output that begins at byte `at` of something.
    pub(super) fn new(max_bytes: usize, max_depth: usize, at: u64) -> Self {
        Self {
            max_bytes,
            max_depth,
            buf: Vec::new(),
            start: 0,
            pos: 0,
            offsets: Offsets::new(at),
            frames: Vec::new(),
            state: State::After,
            text: None,
            members: false,
            skip: None,
            retreat: None,
            barred: 0,
            last: Last::None,
            after_object: false,
            broken: None,
            arrays: false,
            beside: false,
            revisited: 0,
        }
    }

    /// Counts bytes of the output that are not searched.
    pub(super) fn pass_over(&mut self, len: u64) {
        self.offsets.pass_over(self.start + self.buf.len() as u64, len);
    }

    /// Searches the next bytes.
    pub(super) fn push(&mut self, data: &[u8]) {
        for slice in data.chunks(SLICE_BYTES) {
            self.buf.extend_from_slice(slice);
            self.run();
            self.forget();
        }
    }

    /// Ends the output.
    pub(super) fn finish(mut self) -> Scanned {
        if let Some(skip) = self.skip.take().filter(|skip| skip.has_object) {
            self.last = Last::Unreadable(skip.error);
        } else if let Some(outer) = self.frames.first()
            && self.frames.iter().any(|frame| frame.object || frame.child.is_some())
        {
            let tail = self.bytes(self.pos.saturating_sub(SHOWN_BYTES as u64).max(outer.start), self.pos);
            self.last = Last::Unreadable(ResultError {
                kind: ResultErrorKind::Truncated,
                message: format!(
                    "what begins at byte {} does not end; the output ends with `{}`",
                    outer.at,
                    tail.escape_ascii()
                ),
                position: Some(outer.at),
            });
        }
        let only_an_array = self.arrays && !self.beside;
        Scanned { last: self.last, broken: self.broken, only_an_array }
    }

    /// Bytes that were looked at more than once.
    #[cfg(test)]
    pub(super) fn revisited(&self) -> u64 {
        self.revisited
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.buf.len()
    }

    fn run(&mut self) {
        loop {
            let index = self.index(self.pos);
            let Some(&byte) = self.buf.get(index) else { return };
            if self.skip.is_some() {
                self.skip_byte(byte);
            } else if self.frames.is_empty() {
                self.seek(index);
            } else if self.candidate_len() >= self.max_bytes {
                self.grow_too_large();
            } else if let State::Text { .. } = self.state
                && let len @ 1.. = self.plain_text(index)
            {
                self.pos += len as u64;
            } else {
                self.read(byte);
            }
        }
    }

    /// Drops what is behind: all but the candidate, and of a skipped one all that it can't be taken
    /// back to.
    fn forget(&mut self) {
        let keep = match (&self.skip, self.frames.first()) {
            (Some(skip), _) if self.retreat.is_some() => skip.start,
            (None, Some(outer)) => outer.start,
            _ => self.pos,
        };
        let index = self.index(keep);
        if index > 0 {
            self.buf.drain(..index.min(self.buf.len()));
            self.start = keep;
            self.offsets.forget(keep);
        }
    }

    fn index(&self, pos: u64) -> usize {
        usize::try_from(pos - self.start).unwrap_or(usize::MAX)
    }

    fn bytes(&self, from: u64, to: u64) -> &[u8] {
        self.buf.get(self.index(from)..self.index(to)).unwrap_or_default()
    }

    fn candidate_len(&self) -> usize {
        self.frames.first().map_or(0, |outer| self.index(self.pos) - self.index(outer.start))
    }

    /// Goes on to the next bracket.
    fn seek(&mut self, index: usize) {
        let rest = self.buf.get(index..).unwrap_or_default();
        let found = memchr2(b'{', b'[', rest);
        let before = rest.get(..found.unwrap_or(rest.len())).unwrap_or_default();
        let first = before.iter().copied().find(|byte| !is_space(*byte));
        self.beside |= first.is_some();
        if let Last::Object(object) = &mut self.last
            && self.after_object
        {
            object.enclosed = matches!(first, Some(b',' | b'}' | b']'));
        }
        self.after_object &= first.is_none() && found.is_none();
        let object = found.and_then(|at| rest.get(at)) == Some(&b'{');
        self.pos += before.len() as u64;
        if found.is_some() {
            self.members = false;
            self.open(object);
        }
    }

    /// How many bytes of plain string come next.
    fn plain_text(&self, index: usize) -> usize {
        let room = self.max_bytes - self.candidate_len();
        let rest = self.buf.get(index..).unwrap_or_default();
        rest.iter().take(room).take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
    }

    fn read(&mut self, byte: u8) {
        let in_object = self.frames.last().is_some_and(|frame| frame.object);
        match step(self.state, in_object, byte) {
            Step::To(next) => self.go_on(next, byte),
            Step::OpenObject => self.open(true),
            Step::OpenArray => self.open(false),
            Step::Close => self.close(),
            Step::Python if self.pos >= self.barred => self.try_python(),
            Step::Python => self.fail("JSON"),
            Step::Broken(expected) => self.fail(expected),
        }
    }

    fn go_on(&mut self, next: State, byte: u8) {
        match (self.state, next) {
            (State::Text { .. }, State::Colon | State::After) => {
                self.text = self.text.map(|(start, _)| (start, self.pos));
            }
            (State::Text { .. } | State::Escape { .. } | State::Hex { .. }, _) => {}
            (_, State::Text { .. }) => self.text = Some((self.pos, self.pos)),
            _ if !is_space(byte) => self.text = None,
            _ => {}
        }
        self.members |= self.state == State::Colon && next == State::Value;
        self.state = next;
        self.pos += 1;
    }

    fn open(&mut self, object: bool) {
        if self.frames.len() >= self.max_depth {
            let at = self.frames.first().map_or(0, |outer| outer.at);
            let error = ResultError {
                kind: ResultErrorKind::TooDeep,
                message: format!("what begins at byte {at} is nested deeper than the limit of {}", self.max_depth),
                position: Some(self.offsets.at(self.pos)),
            };
            self.begin_skip(error, false);
            return;
        }
        self.frames.push(Frame { start: self.pos, at: self.offsets.at(self.pos), object, child: None });
        self.state = if object { State::FirstKey } else { State::FirstValue };
        self.text = None;
        self.pos += 1;
    }

    fn close(&mut self) {
        let range_end = self.offsets.at(self.pos) + 1;
        self.pos += 1;
        self.text = None;
        self.state = State::After;
        let Some(frame) = self.frames.pop() else { return };
        let span = Span { start: frame.start, end: self.pos, range: (frame.at, range_end) };
        match self.frames.last_mut() {
            Some(parent) if frame.object => parent.child = Some(span),
            Some(_) => {}
            None if frame.object => self.keep(span),
            None => self.arrays = true,
        }
    }

    /// Takes the object as the last one so far.
    fn keep(&mut self, span: Span) {
        let mut raw = match std::mem::take(&mut self.last) {
            Last::Object(object) => object.raw,
            Last::None | Last::Unreadable(_) => Vec::new(),
        };
        raw.clear();
        raw.extend_from_slice(self.bytes(span.start, span.end));
        self.last = Last::Object(Object { raw, range: span.range, enclosed: false });
        self.after_object = true;
    }

    /// The present byte can't stand here.
    fn fail(&mut self, expected: &'static str) {
        if let Some(child) = self.standing_child() {
            self.keep(child);
        }
        if self.frames.iter().any(|frame| frame.object) {
            let broken = self.broken_here(expected);
            self.note(broken);
        }
        self.beside = true;
        let restart = self.restart();
        self.go_back(restart);
        self.frames.clear();
        self.text = None;
    }

    fn standing_child(&self) -> Option<Span> {
        self.frames.iter().rev().find_map(|frame| frame.child)
    }

    fn broken_here(&self, expected: &'static str) -> Broken {
        let (start, from) = self.frames.first().map_or((self.pos, 0), |outer| (outer.start, outer.at));
        let end = self.pos + 1;
        let text = self.bytes(start.max(end.saturating_sub(SHOWN_BYTES as u64)), end);
        let mut shown = [0; SHOWN_BYTES];
        shown.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Broken { at: self.offsets.at(self.pos), members: self.members, from, expected, shown, shown_len: text.len() }
    }

    fn note(&mut self, broken: Broken) {
        if broken.members || self.broken.as_ref().is_none_or(|before| !before.members) {
            self.broken = Some(broken);
        }
    }

    /// Where the search goes on after a failure: at the present byte. But if a string came just
    /// before it that ends with an opening bracket, as in `{"msg": "hel{"status": "ok"}`, its end was
    /// rather the beginning of a key, and the bracket a beginning.
    fn restart(&self) -> u64 {
        let Some((open, close)) = self.text.filter(|_| matches!(self.state, State::Colon | State::After)) else {
            return self.pos;
        };
        let content = self.bytes(open + 1, close);
        let tail = content.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t' | b'{' | b'['));
        let bracket = tail.enumerate().filter(|(_, byte)| matches!(byte, b'{' | b'[')).last();
        bracket.map_or(self.pos, |(index, _)| close - 1 - index as u64)
    }

    fn go_back(&mut self, to: u64) {
        self.revisited += self.pos - to;
        self.pos = to;
    }
}

// === what is not read ===

impl Scanner {
    fn try_python(&mut self) {
        let broken = self.broken_here("JSON");
        self.retreat = Some(Retreat { pos: self.pos, child: self.standing_child(), broken });
        let error = ResultError {
            kind: ResultErrorKind::Invalid,
            message: format!(
                "what begins at byte {} looks like a Python literal; Python literals are not read yet",
                self.frames.first().map_or(0, |outer| outer.at)
            ),
            position: Some(self.offsets.at(self.pos)),
        };
        self.begin_skip(error, true);
    }

    fn grow_too_large(&mut self) {
        let at = self.frames.first().map_or(0, |outer| outer.at);
        self.begin_skip(too_large(at, self.max_bytes), false);
    }

    /// From the present byte on.
    fn begin_skip(&mut self, error: ResultError, python: bool) {
        let in_text = matches!(self.state, State::Text { .. } | State::Escape { .. } | State::Hex { .. });
        self.skip = Some(Skip {
            start: self.frames.first().map_or(self.pos, |outer| outer.start),
            object: self.frames.first().is_some_and(|outer| outer.object),
            has_object: self.frames.iter().any(|frame| frame.object || frame.child.is_some()),
            python,
            depth: self.frames.len(),
            quote: in_text.then_some(b'"'),
            escaped: matches!(self.state, State::Escape { .. }),
            colon: self.members,
            error,
        });
        self.frames.clear();
        self.text = None;
    }

    fn skip_byte(&mut self, byte: u8) {
        let Some(skip) = &mut self.skip else { return };
        if self.retreat.is_some() && self.pos - skip.start >= self.max_bytes as u64 {
            self.retreat = None;
        }
        match skip.take(byte) {
            Skipped::On => self.pos += 1,
            Skipped::End => self.end_skip(),
            Skipped::Lost => self.give_skip_up(),
        }
    }

    fn end_skip(&mut self) {
        self.pos += 1;
        let retreat = self.retreat.take();
        let Some(skip) = self.skip.take() else { return };
        if !skip.object {
            self.arrays = true;
        } else if skip.python && !skip.colon {
            // A set, or nothing at all.
            self.beside = true;
            retreat.into_iter().for_each(|retreat| self.note(retreat.broken));
        } else {
            self.last = Last::Unreadable(skip.error);
        }
    }

    fn give_skip_up(&mut self) {
        self.skip = None;
        self.beside = true;
        self.barred = self.pos;
        if let Some(Retreat { pos, child, broken }) = self.retreat.take() {
            if let Some(child) = child {
                self.keep(child);
            }
            self.note(broken);
            self.go_back(pos);
        }
    }
}

impl Broken {
    /// One sentence.
    pub(super) fn message(&self) -> String {
        let shown = self.shown.get(..self.shown_len).unwrap_or_default().escape_ascii();
        let Self { at, from, expected, .. } = self;
        format!(
            "the object that begins at byte {from} is no JSON at byte {at}: expected {expected} at the end of `{shown}`"
        )
    }

    /// The same as an error.
    pub(super) fn error(&self) -> ResultError {
        ResultError { kind: ResultErrorKind::Invalid, message: self.message(), position: Some(self.at) }
    }
}
