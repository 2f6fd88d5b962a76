//! Whether an output is one string and nothing else, as when JSON is printed with quotes around it.
//! An object in it is none of the output's.

use super::lex::{In, Prefix, Taken, Text};

/// How much is held of what more bytes have to decide.
const HELD_BYTES: usize = 256;

/// What the output is so far.
#[derive(Debug, Default)]
pub(super) enum Lone {
    /// White space, and what may be a prefix.
    #[default]
    Nothing,
    /// A string that is open.
    Open(Text),
    /// A string.
    Closed,
    /// Something else.
    Other,
}

/// Looks at an output from its start.
#[derive(Debug, Default)]
pub(super) struct LoneText {
    lone: Lone,
    held: Vec<u8>,
}

impl LoneText {
    pub(super) fn push(&mut self, data: &[u8]) {
        if matches!(self.lone, Lone::Other) {
            return;
        }
        if self.held.is_empty() {
            let taken = self.take(data, false);
            self.held.extend_from_slice(data.get(taken..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(data);
            let taken = self.take(&held, false);
            held.drain(..taken);
            self.held = held;
        }
        if self.held.len() > HELD_BYTES {
            self.lone = Lone::Other;
        }
        if matches!(self.lone, Lone::Other) {
            self.held = Vec::new();
        }
    }

    /// Whether it is one string.
    pub(super) fn finish(mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        self.take(&held, true);
        matches!(self.lone, Lone::Closed)
    }

    fn take(&mut self, data: &[u8], end: bool) -> usize {
        let mut at = 0;
        loop {
            let rest = data.get(at..).unwrap_or_default();
            let (len, next) = match &mut self.lone {
                Lone::Nothing => {
                    let blank = rest.len() - rest.trim_ascii_start().len();
                    let rest = rest.trim_ascii_start();
                    if rest.is_empty() {
                        return at + blank;
                    }
                    let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
                    match Prefix::of(rest) {
                        Some(prefix) => {
                            let quoted = rest.get(prefix.len..).unwrap_or_default();
                            match Text::open(quoted, prefix, In::BOTH, end) {
                                Some((text, quotes)) => (blank + prefix.len + quotes, Lone::Open(text)),
                                None => return at,
                            }
                        }
                        None if letters == rest.len() && letters < 3 && !end => return at,
                        None => (0, Lone::Other),
                    }
                }
                Lone::Open(text) => match text.take(rest, end) {
                    Taken::More(len) => return at + len,
                    Taken::End(len) => (len, Lone::Closed),
                    Taken::Broken(_) => (0, Lone::Other),
                },
                Lone::Closed => match rest.trim_ascii_start().is_empty() {
                    true => return data.len(),
                    false => (0, Lone::Other),
                },
                Lone::Other => return data.len(),
            };
            at += len;
            self.lone = next;
        }
    }
}
