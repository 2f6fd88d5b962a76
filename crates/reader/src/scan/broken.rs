//! Follows the brackets of an object that broke, to see whether they agree on where it ends.

use super::super::syntax::{Frame, Span};
use super::Broken;

/// Brackets on their way to the end.
#[derive(Debug)]
pub(super) struct Enclosure {
    /// Where the outermost begins, among the searched bytes.
    pub(super) start: u64,
    /// What closes each that is open.
    closing: Vec<u8>,
    /// Whether single quotes are quotes.
    single_quotes: bool,
    /// The quote of the string it is in.
    quote: Option<u8>,
    /// Whether a backslash came just before.
    escaped: bool,
    pub(super) retreat: Retreat,
}

/// Where the search goes on if they don't agree, and what stands then.
#[derive(Debug)]
pub(super) struct Retreat {
    pub(super) pos: u64,
    pub(super) child: Option<Span>,
    pub(super) broken: Broken,
}

/// Where the brackets lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Further.
    On,
    /// The last byte closed the outermost.
    End,
    /// Nowhere: another bracket should have closed, or a string does not end on its line.
    Lost,
}

impl Enclosure {
    pub(super) fn new(start: u64, frames: &[Frame], single_quotes: bool, retreat: Retreat) -> Self {
        let closing = frames.iter().map(|frame| frame.kind.closing()).collect();
        Self { start, closing, single_quotes, quote: None, escaped: false, retreat }
    }

    /// Takes the next bytes; says how many.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> (usize, Way) {
        for (index, byte) in bytes.iter().enumerate() {
            match self.step(*byte) {
                Way::On => {}
                way => return (index + 1, way),
            }
        }
        (bytes.len(), Way::On)
    }

    fn step(&mut self, byte: u8) -> Way {
        match (self.quote, byte) {
            (Some(_), 0 | b'\n' | b'\r') => return Way::Lost,
            (Some(_), _) if self.escaped => self.escaped = false,
            (Some(_), b'\\') => self.escaped = true,
            (Some(quote), _) if quote == byte => self.quote = None,
            (Some(_), _) => {}
            (None, b'"') => self.quote = Some(byte),
            (None, b'\'') if self.single_quotes => self.quote = Some(byte),
            (None, b'{') => self.closing.push(b'}'),
            (None, b'[') => self.closing.push(b']'),
            (None, b'(') => self.closing.push(b')'),
            (None, b'}' | b']' | b')') => {
                if self.closing.pop() != Some(byte) {
                    return Way::Lost;
                }
                if self.closing.is_empty() {
                    return Way::End;
                }
            }
            (None, _) => {}
        }
        Way::On
    }
}
