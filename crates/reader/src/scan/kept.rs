//! What becomes of a complete value: whether an object is the result so far, from its place.

use super::super::syntax::{Closed, Span, SyntaxFailure};
use super::around::Left;
use super::{BEHIND_BYTES, Broken, Follows, LastFound, Object, Other, PlaceEvidence, Right, Scanner};

impl Scanner {
    /// The candidate is a complete value.
    pub(super) fn closed(&mut self, closed: Closed) {
        let Closed { whole, object } = closed;
        let limit = self.limit(whole.start, whole.range.0, whole.end);
        self.syntax.clear();
        self.sealed = None;
        match (object, limit) {
            (Some(_), Some(error)) => {
                self.note_end(whole.range.0, Some(whole.range.1), || error.message.clone());
                self.last = LastFound::Unreadable(error);
                self.right = None;
            }
            (Some(object), None) => self.keep(object, whole, false),
            (None, None) if self.bytes(whole.start, whole.start + 1) == b"{" => {
                let failure = SyntaxFailure {
                    at: whole.end - 1,
                    token: whole.end - 1,
                    expected: "`:` after the first item, without which it is a set",
                    dead: 0,
                    taken: true,
                };
                self.beside = true;
                let broken = Broken { from: whole.range.0, ..self.broken_here(&failure) };
                self.note(broken);
                self.pass(whole.start, whole.end);
            }
            (None, limit) => {
                self.note_end(whole.range.0, Some(whole.range.1), || {
                    "complete, but no object: what is in it does not count".to_owned()
                });
                let alone = Left::of(self.behind(whole.start)).blank;
                self.other = Some(Other { range: whole.range, alone });
                self.right = Some(Right::Same);
                self.right_of_object = false;
                if limit.is_none() {
                    self.pass(whole.start, whole.end);
                }
            }
        }
    }

    /// Takes the object as the last one so far, if its place does not speak against it. `torn`: it
    /// stood in a value that broke.
    pub(super) fn keep(&mut self, object: Span, whole: Span, torn: bool) {
        let left = Left::of(self.behind(whole.start));
        let line = whole.start - left.line;
        let evidence = if is_empty(self.bytes(object.start, object.end)) && (torn || !left.blank) {
            PlaceEvidence::Empty
        } else if left.quoted || self.brackets.opened_since(line, Some(b')')) {
            PlaceEvidence::Within
        } else if torn || !left.blank {
            PlaceEvidence::InLine
        } else {
            PlaceEvidence::Alone
        };
        let before = match std::mem::take(&mut self.last) {
            LastFound::Object(before) if evidence < before.evidence.min(PlaceEvidence::InLine) => {
                self.last = LastFound::Object(before);
                if evidence == PlaceEvidence::Within {
                    self.later = Some(object.range);
                }
                let verdict = match evidence {
                    PlaceEvidence::Empty => "empty braces in a line of text",
                    _ => "an object in quotes or in a call, for which no earlier object is left out",
                };
                return self.note_end(object.range.0, Some(object.range.1), || verdict.to_owned());
            }
            LastFound::Object(before) => Some(before),
            LastFound::None | LastFound::Unreadable(_) => None,
        };
        let earlier = before.as_ref().and_then(|before| match before.evidence {
            PlaceEvidence::Alone => Some(before.range),
            _ => before.earlier,
        });
        let mut raw = Vec::new();
        if let Some(mut before) = before {
            if evidence == PlaceEvidence::Alone && is_empty(self.bytes(object.start, object.end)) {
                self.beneath = Some(before);
            } else {
                raw = std::mem::take(&mut before.raw);
            }
        }
        raw.clear();
        raw.extend_from_slice(self.bytes(object.start, object.end));
        self.last = LastFound::Object(Object {
            raw,
            pos: whole.start,
            range: object.range,
            whole: whole.range,
            json: object.valid.json,
            compact: object.compact,
            evidence,
            inner: left.inner,
            enclosed: torn || whole.start < self.torn || self.brackets.opened_since(line, None),
            earlier,
        });
        self.later = None;
        self.right = (!torn).then_some(Right::Same);
        self.right_of_object = true;
        if let Some(notes) = &mut self.notes {
            notes.object(object.range);
        }
    }

    /// Looks at what comes after the last complete value: the next `len` bytes, and a bracket.
    pub(super) fn follow(&mut self, len: u64, bracket: Option<u8>) {
        let from = self.pos;
        for pos in from..from + len + u64::from(bracket.is_some()) {
            let (Some(right), Some(byte)) = (self.right, self.buf.get(self.index(pos))) else { return };
            match right.step(*byte) {
                Follows::Open(next) => self.right = Some(next),
                Follows::LineEnd(next) => {
                    self.right = Some(next);
                    self.beneath = None;
                }
                Follows::Byte(byte, same_line) => {
                    self.right = None;
                    self.followed(byte, same_line);
                }
            }
        }
    }

    /// After the last complete value `byte` is the first that is no blank.
    fn followed(&mut self, byte: u8, same_line: bool) {
        if !self.right_of_object {
            if let Some(other) = &mut self.other {
                other.alone &= !same_line;
            }
            return;
        }
        if same_line && let Some(beneath) = self.beneath.take() {
            self.last = LastFound::Object(beneath);
            return;
        }
        let LastFound::Object(object) = &mut self.last else { return };
        object.enclosed |= matches!(byte, b'}' | b']') || object.inner && matches!(byte, b',' | b')');
        if same_line && object.evidence == PlaceEvidence::Alone {
            object.evidence = if is_empty(&object.raw) { PlaceEvidence::Empty } else { PlaceEvidence::InLine };
        }
    }

    /// Passes over what is part of no value that was read.
    pub(super) fn pass(&mut self, from: u64, to: u64) {
        let (first, end) = (self.index(from), self.index(to));
        let before = first.checked_sub(1).and_then(|index| self.buf.get(index)).copied();
        let bytes = self.buf.get(first..end).unwrap_or_default();
        if self.brackets.pass(bytes, from, before, self.last.pos()) {
            self.last.enclose();
        }
    }

    /// What stands before `pos`.
    fn behind(&self, pos: u64) -> &[u8] {
        self.bytes(pos.saturating_sub(BEHIND_BYTES).max(self.start), pos)
    }
}

/// Whether an object has nothing in its brackets.
fn is_empty(object: &[u8]) -> bool {
    let mut bytes = object.iter().skip_while(|byte| !matches!(byte, b'{' | b'(')).skip(1);
    bytes.find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| matches!(byte, b'}' | b')'))
}
