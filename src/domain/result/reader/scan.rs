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

use memchr::{memchr2, memchr3};

use super::lex::{In, call_before, name_byte};
use super::offsets::Offsets;
use super::syntax::{Closed, Event, Failure, Frame, Kind, Span, Syntax};
use super::{Dialects, ReaderRule, ResultError, ResultErrorKind, SHOWN_BYTES, too_large};

mod broken;
mod found;

use broken::{Enclosure, Retreat, Way};
pub(super) use found::{Broken, Last, Notes, Object, Scanned};

/// How much is taken in at a time, so that memory stays bounded by the candidate.
const SLICE_BYTES: usize = 64 * 1024;
/// How much is kept of what is behind: as much as the name before a parenthesis may have.
const BEHIND_BYTES: u64 = 32;

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
    last: Last,
    /// Whether only white space came after the last object.
    after_object: bool,
    broken: Option<Broken>,
    /// The last complete value other than an object: bytes of the output.
    other: Option<(u64, u64)>,
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
            last: Last::None,
            after_object: false,
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
        let only_another = self.other.filter(|_| !self.beside);
        Scanned { last: self.last, broken: self.broken, only_another, notes: self.notes }
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
        self.buf.get(self.index(from)..self.index(to)).unwrap_or_default()
    }

    /// Goes on to the next bracket that may begin a candidate.
    fn seek(&mut self, index: usize) {
        let rest = self.buf.get(index..).unwrap_or_default();
        let found = match self.allowed.python {
            true => memchr3(b'{', b'[', b'(', rest),
            false => memchr2(b'{', b'[', rest),
        };
        let before = rest.get(..found.unwrap_or(rest.len())).unwrap_or_default();
        let first = before.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        let bracket = found.and_then(|at| rest.get(at)).copied();
        self.beside |= first.is_some();
        if self.after_object {
            if let Last::Object(object) = &mut self.last {
                object.enclosed = matches!(first, Some(b'}' | b']'));
            }
            self.after_object = first.is_none() && found.is_none();
        }
        self.pos += before.len() as u64;
        if let Some(bracket) = bracket {
            self.begin(bracket);
        }
    }

    /// Begins a candidate at the present byte, or with the name before it.
    fn begin(&mut self, bracket: u8) {
        let (mut kind, mut start) = (Kind::of(bracket), self.pos);
        if bracket == b'(' {
            let behind = self.bytes(self.pos.saturating_sub(BEHIND_BYTES).max(self.start), self.pos);
            match call_before(behind) {
                Some((call, len)) if call.is_mapping() => {
                    kind = Kind::Call(call);
                    start = self.pos - len as u64;
                }
                // What is called is no tuple.
                _ if behind.last().is_some_and(|byte| name_byte(*byte) || matches!(byte, b')' | b']' | 0x80..)) => {
                    self.beside = true;
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
            Event::More => {
                self.seal();
                return true;
            }
            Event::Closed(closed) => self.closed(closed),
            Event::Failed(failure) => self.failed(failure),
        }
        false
    }

    fn outer(&self) -> Frame {
        self.syntax.frames().first().copied().unwrap_or_else(|| Frame::new(Kind::List, self.pos, 0))
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

    /// The candidate is a complete value.
    fn closed(&mut self, closed: Closed) {
        let Closed { whole, object } = closed;
        let limit = self.limit(whole.start, whole.range.0, whole.end);
        self.syntax.clear();
        self.sealed = None;
        match (object, limit) {
            (Some(_), Some(error)) => {
                self.note_end(whole.range.0, Some(whole.range.1), &error.message);
                self.last = Last::Unreadable(error);
                self.after_object = false;
            }
            (Some(object), None) => self.keep(object, whole),
            (None, None) if self.bytes(whole.start, whole.start + 1) == b"{" => {
                let failure = Failure {
                    at: whole.end - 1,
                    token: whole.end - 1,
                    expected: "`:` after the first item, without which it is a set,",
                    dead: 0,
                    taken: true,
                };
                self.beside = true;
                let broken = Broken { from: whole.range.0, ..self.broken_here(&failure) };
                self.note(broken);
            }
            (None, _) => {
                self.note_end(
                    whole.range.0,
                    Some(whole.range.1),
                    "complete, but no object: what is in it does not count",
                );
                self.other = Some(whole.range);
            }
        }
    }

    /// Takes the object as the last one so far.
    fn keep(&mut self, object: Span, whole: Span) {
        let mut raw = match std::mem::take(&mut self.last) {
            Last::Object(object) => object.raw,
            Last::None | Last::Unreadable(_) => Vec::new(),
        };
        raw.clear();
        raw.extend_from_slice(self.bytes(object.start, object.end));
        self.last = Last::Object(Object {
            raw,
            range: object.range,
            whole: whole.range,
            json: object.valid.json,
            compact: object.compact,
            enclosed: false,
        });
        self.after_object = true;
        if let Some(notes) = &mut self.notes {
            notes.object(object.range);
        }
    }

    /// A word can't stand where it stands.
    fn failed(&mut self, failure: Failure) {
        let outer = self.outer();
        let Failure { at, token, dead, taken, .. } = failure;
        let good = if taken { self.pos } else { at };
        let frames = self.syntax.frames();
        let object = frames.iter().take(dead).any(|frame| frame.is_object());
        let broken = object.then(|| self.broken_here(&failure));
        self.beside = true;
        if let Some(error) = self.limit(outer.start, outer.at, good) {
            // It is never opened up: its text is gone, and with it what may have been the result.
            if frames.iter().any(|frame| frame.child.is_some()) {
                self.last = Last::Unreadable(error);
                self.after_object = false;
            }
            broken.into_iter().for_each(|broken| self.note(Broken { shown_len: 0, ..broken }));
            self.syntax.clear();
            self.sealed = None;
            self.go_back(good);
            return;
        }
        if !taken {
            // Of what comes in parts, some may be behind already.
            self.go_back(token);
        }
        let frames = self.syntax.frames();
        let survivor = frames.get(dead).map(|frame| frame.start);
        let restart = match (survivor, taken) {
            (Some(start), _) => start,
            (None, true) => self.pos,
            (None, false) => self.syntax.last_text(outer.start).unwrap_or(token),
        };
        let dying = frames.get(..dead).unwrap_or_default();
        // An object that stands is whole: its last string did not open where it seemed to close.
        let restart = restart.max(last_child(dying).map_or(0, |child| child.end));
        let members = dying.iter().position(Frame::has_members).filter(|_| self.pos >= self.barred);
        match (members, broken) {
            (Some(first), Some(broken)) => self.enclose(first, dead, restart, broken),
            (_, broken) => {
                let child = last_child(dying);
                child.into_iter().for_each(|child| self.keep(child, child));
                broken.into_iter().for_each(|broken| self.note(broken));
                self.syntax.bury(dead);
                if survivor.is_none() {
                    self.go_back(restart);
                }
            }
        }
    }

    /// Follows the brackets of what broke, of which frame `first` is the outermost that was meant as
    /// an object.
    fn enclose(&mut self, first: usize, dead: usize, restart: u64, broken: Broken) {
        let frames = self.syntax.frames();
        let (outside, inside) = frames.split_at(first.min(frames.len()));
        let child = last_child(inside.get(..dead.saturating_sub(first)).unwrap_or_default());
        let start = inside.first().map_or(self.pos, |frame| frame.start);
        let enclosure =
            Enclosure::new(start, inside, self.syntax.has_single_quotes(), Retreat { pos: restart, child, broken });
        let before = last_child(outside);
        before.into_iter().for_each(|child| self.keep(child, child));
        self.enclosure = Some(enclosure);
        self.syntax.clear();
    }

    fn follow_brackets(&mut self) {
        let index = self.index(self.pos);
        let rest = self.buf.get(index..).unwrap_or_default();
        let Some(enclosure) = &mut self.enclosure else { return };
        let room = (enclosure.start + self.max_bytes).saturating_sub(self.pos);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let (len, way) = enclosure.follow(rest.get(..room).unwrap_or(rest));
        self.pos += len as u64;
        match way {
            Way::On if len < rest.len() => self.give_up(),
            Way::On => {}
            Way::Lost => self.give_up(),
            Way::End => {
                if let Some(Enclosure { retreat, .. }) = self.enclosure.take() {
                    self.note(Broken { open: false, ..retreat.broken });
                }
            }
        }
    }

    /// The brackets don't agree: they enclose nothing, and what is between them is searched.
    fn give_up(&mut self) {
        let Some(Enclosure { retreat: Retreat { pos, child, broken }, .. }) = self.enclosure.take() else { return };
        self.barred = self.pos;
        child.into_iter().for_each(|child| self.keep(child, child));
        self.note(broken);
        self.go_back(pos);
    }

    /// The string of a list that the output ended in: no more than an end of line does the end of the
    /// output close it.
    fn unended_text(&mut self) -> Option<Failure> {
        let frames = self.syntax.frames();
        if frames.iter().any(Frame::is_object) {
            return None;
        }
        let dead = frames.len();
        let token = self.syntax.drop_text()?;
        Some(Failure { at: self.pos, token, expected: "the end of a string", dead, taken: false })
    }

    /// The output ended within a candidate. A list that does not end counts for nothing.
    fn end_unfinished(&mut self) {
        let outer = self.outer();
        let limit = self.limit(outer.start, outer.at, self.pos);
        let frames = self.syntax.frames();
        if frames.is_empty() {
            return;
        }
        let open = frames.iter().find(|frame| frame.is_object()).copied();
        let child = last_child(frames);
        if let Some(error) = limit {
            self.note_end(outer.at, None, &error.message);
            if open.is_some() || child.is_some() {
                self.last = Last::Unreadable(error);
            }
        } else if let Some(open) = open {
            let tail = self.bytes(self.pos.saturating_sub(SHOWN_BYTES as u64).max(open.start), self.pos);
            let message = format!(
                "the object that begins at byte {} does not end; the output ends with `{}`",
                open.at,
                tail.escape_ascii()
            );
            self.note_end(open.at, None, "an object that does not end");
            let position = Some(open.at);
            self.last = Last::Unreadable(ResultError { kind: ResultErrorKind::Truncated, message, position });
        } else {
            self.note_end(outer.at, None, "a list that does not end");
            self.beside = true;
            if let Some(child) = child {
                self.keep(child, child);
                if let Last::Object(object) = &mut self.last {
                    object.enclosed = true;
                }
            }
        }
    }

    fn broken_here(&self, failure: &Failure) -> Broken {
        let outer = self.outer();
        let end = failure.at + 1;
        let begin = outer.start.min(failure.at);
        let text = self.bytes(begin.max(end.saturating_sub(SHOWN_BYTES as u64)), end);
        let mut shown = [0; SHOWN_BYTES];
        shown.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        let dying = self.syntax.frames().iter().take(failure.dead);
        let from = dying.clone().find(|frame| frame.is_object()).map_or(outer.at, |frame| frame.at);
        Broken {
            at: self.offsets.at(failure.at),
            members: dying.clone().any(Frame::has_members),
            open: true,
            from,
            expected: failure.expected,
            shown,
            shown_len: text.len(),
        }
    }

    fn note(&mut self, broken: Broken) {
        self.note_end(broken.from, None, &broken.message());
        if broken.members || self.broken.as_ref().is_none_or(|before| !before.members) {
            self.broken = Some(broken);
        }
    }

    fn note_end(&mut self, start: u64, end: Option<u64>, verdict: &str) {
        if let Some(notes) = &mut self.notes {
            notes.other(start, end, verdict);
        }
    }

    fn go_back(&mut self, to: u64) {
        self.revisited += self.pos - to.min(self.pos);
        self.pos = to.min(self.pos);
    }
}

/// The last object that closed directly in one of these.
fn last_child(frames: &[Frame]) -> Option<Span> {
    frames.iter().filter_map(|frame| frame.child).max_by_key(|child| child.end)
}
