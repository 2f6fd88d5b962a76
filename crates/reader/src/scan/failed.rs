//! What becomes of a value that breaks: which of its objects stand, and where the search goes on.

use super::super::syntax::{Frame, Span, SyntaxFailure};
use super::super::{SHOWN_BYTES, shown};
use super::broken::{Enclosure, Retreat, Way};
use super::found::ShownText;
use super::{Broken, LastFound, ResultError, ResultErrorKind, Scanner};

impl Scanner {
    /// A word can't stand where it stands.
    pub(super) fn failed(&mut self, failure: SyntaxFailure) {
        let outer = self.outer();
        let SyntaxFailure { at, token, dead, taken, .. } = failure;
        let good = if taken { self.pos } else { at };
        let frames = self.syntax.frames();
        let object = frames.iter().take(dead).any(|frame| frame.is_object());
        let broken = object.then(|| self.broken_here(&failure));
        self.beside = true;
        if let Some(error) = self.limit(outer.start, outer.at, good) {
            // It is never opened up: its text is gone, and with it what may have been the result.
            if frames.iter().any(|frame| frame.child.is_some()) {
                self.last = LastFound::Unreadable(error);
                self.right = None;
            }
            broken.into_iter().for_each(|broken| {
                self.note(Broken { before: ShownText::default(), found: ShownText::default(), ..broken })
            });
            self.syntax.clear();
            self.sealed = None;
            self.go_back(good);
            return;
        }
        self.torn = self.torn.max(self.pos);
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
                self.tear(outer.start, child, restart);
                broken.into_iter().for_each(|broken| self.note(broken));
                self.syntax.bury(dead);
                if survivor.is_none() {
                    self.go_back(restart);
                }
            }
        }
    }

    /// Passes over what broke, between these, but for the object that stands in it.
    fn tear(&mut self, from: u64, child: Option<Span>, to: u64) {
        match child {
            Some(child) => {
                self.pass(from, child.start);
                self.keep(child, child, true);
                self.pass(child.end, to);
            }
            None => self.pass(from, to),
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
        let (outer, before) = (outside.first().map_or(start, |frame| frame.start), last_child(outside));
        self.tear(outer, before, start);
        self.enclosure = Some(enclosure);
        self.syntax.clear();
    }

    pub(super) fn follow_brackets(&mut self) {
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
    pub(super) fn give_up(&mut self) {
        let Some(Enclosure { start, retreat, .. }) = self.enclosure.take() else { return };
        let Retreat { pos, child, broken } = retreat;
        self.barred = self.pos;
        self.tear(start, child, pos);
        self.note(broken);
        self.go_back(pos);
    }

    /// The string of a list that the output ended in: no more than an end of line does the end of the
    /// output close it.
    pub(super) fn unended_text(&mut self) -> Option<SyntaxFailure> {
        let frames = self.syntax.frames();
        if frames.iter().any(Frame::is_object) {
            return None;
        }
        let dead = frames.len();
        let token = self.syntax.drop_text()?;
        Some(SyntaxFailure { at: self.pos, token, expected: "the end of a string", dead, taken: false })
    }

    /// The output ended within a candidate. A list that does not end counts for nothing.
    pub(super) fn end_unfinished(&mut self) {
        let outer = self.outer();
        let limit = self.limit(outer.start, outer.at, self.pos);
        let frames = self.syntax.frames();
        if frames.is_empty() {
            return;
        }
        let open = frames.iter().find(|frame| frame.is_object()).copied();
        let child = last_child(frames);
        if let Some(error) = limit {
            self.note_end(outer.at, None, || error.message.clone());
            if open.is_some() || child.is_some() {
                self.last = LastFound::Unreadable(error);
            }
        } else if let Some(open) = open {
            let tail = self.bytes(self.pos.saturating_sub(SHOWN_BYTES as u64).max(open.start), self.pos);
            let message = format!(
                "the object that begins at byte {} does not end; the output ends with `{}`",
                open.at,
                shown(tail)
            );
            self.note_end(open.at, None, || "an object that does not end".to_owned());
            let position = Some(open.at);
            self.last = LastFound::Unreadable(ResultError { kind: ResultErrorKind::Truncated, message, position });
        } else {
            self.note_end(outer.at, None, || "a list that does not end".to_owned());
            self.beside = true;
            if let Some(child) = child {
                self.keep(child, child, true);
            }
        }
    }

    /// How long the word is that can't stand there, as it is shown. `None`: more bytes are needed.
    pub(super) fn word_end(&self, failure: &SyntaxFailure) -> Option<usize> {
        word_len(self.bytes(failure.at, failure.at + SHOWN_BYTES as u64))
    }

    pub(super) fn broken_here(&self, failure: &SyntaxFailure) -> Broken {
        let outer = self.outer();
        let word = self.bytes(failure.at, failure.at + SHOWN_BYTES as u64);
        let word = word.get(..word_len(word).unwrap_or(word.len())).unwrap_or_default();
        let before = outer.start.min(failure.at).max(failure.at.saturating_sub(SHOWN_BYTES as u64));
        let before = self.bytes(before, failure.at);
        let dying = self.syntax.frames().iter().take(failure.dead);
        let from = dying.clone().find(|frame| frame.is_object()).map_or(outer.at, |frame| frame.at);
        Broken {
            at: self.offsets.at(failure.at),
            members: dying.clone().any(Frame::has_members),
            open: true,
            from,
            expected: failure.expected,
            before: ShownText::new(before),
            found: ShownText::new(word),
        }
    }

    pub(super) fn note(&mut self, broken: Broken) {
        self.note_end(broken.from, None, || broken.message());
        if broken.members || self.broken.as_ref().is_none_or(|before| !before.members) {
            self.broken = Some(broken);
        }
    }

    /// `verdict` is put into words only where notes are taken: of an output there may be one with each byte.
    pub(super) fn note_end(&mut self, start: u64, end: Option<u64>, verdict: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.other(start, end, verdict());
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

/// Length of the word that `bytes`, up to [`SHOWN_BYTES`] of them, begin with, for people: it may be
/// one of no language. `None`: more bytes are needed.
fn word_len(bytes: &[u8]) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b',' | b':' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | 0..=b' ');
    let len = match bytes.first()? {
        first if ends(first) => Some(1),
        b'<' => bytes.iter().position(|byte| matches!(byte, b'>' | b'\n' | b'\r')).map(|index| index + 1),
        b'"' | b'\'' => Some(1),
        _ => bytes.iter().position(ends),
    };
    len.or_else(|| (bytes.len() >= SHOWN_BYTES).then_some(SHOWN_BYTES))
}
