//! What the search passes over: what looks like a Python literal, and what is too large or too deep.

use super::super::grammar::State;
use super::super::skip::{Skip, Skipped};
use super::super::{ResultError, ResultErrorKind, too_large};
use super::{Broken, Last, Scanner, Span};

/// Where the search goes on when a Python literal turns out to be none, and what stands then.
#[derive(Debug)]
pub(super) struct Retreat {
    pos: u64,
    child: Option<Span>,
    broken: Broken,
}

impl Scanner {
    pub(super) fn try_python(&mut self) {
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

    pub(super) fn grow_too_large(&mut self) {
        let at = self.frames.first().map_or(0, |outer| outer.at);
        self.begin_skip(too_large(at, self.max_bytes), false);
    }

    /// From the present byte on.
    pub(super) fn begin_skip(&mut self, error: ResultError, python: bool) {
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

    pub(super) fn skip_byte(&mut self, byte: u8) {
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
