//! The start of an output that is read from no position, until it is known what may be said of it.

use longshore_backend::LogItem;
use longshore_domain::log::{Beginning, LogGap, LogGapCause, Start};

#[cfg(test)]
mod tests;

const NOT_FOLLOWED: &str = "output before this may have been rotated away: nobody followed it from its start";

/// Holds output back while it may still turn out that something is missing before it: less than
/// [`longshore_domain::log::SHORT_BYTES`].
#[derive(Debug)]
pub(super) struct Gate {
    beginning: Beginning,
    held: Vec<LogItem>,
    bytes: u64,
    /// Whether it was said what is to be said.
    open: bool,
    missing: bool,
}

impl Gate {
    pub(super) fn new(beginning: Beginning) -> Self {
        let open = beginning.start(0) == Start::There;
        Self { beginning, held: Vec::new(), bytes: 0, open, missing: false }
    }

    /// What may pass, now that these have come: with a gap before it, if it begins in the middle.
    pub(super) fn take(&mut self, items: Vec<LogItem>) -> Vec<LogItem> {
        if self.open {
            return items;
        }
        let size = |item: &LogItem| match item {
            LogItem::Piece(piece) => piece.data.len() as u64,
            LogItem::Gap(_) => 0,
        };
        self.bytes += items.iter().map(size).sum::<u64>();
        self.held.extend(items);
        if self.held.is_empty() || !self.would_miss() {
            return Vec::new();
        }
        self.open = true;
        self.missing = true;
        self.with_gap()
    }

    /// Whether a gap was put before what passed.
    pub(super) fn is_missing(&self) -> bool {
        self.missing
    }

    /// Whether [`Gate::end`] would put a gap before what is held.
    pub(super) fn would_miss(&self) -> bool {
        !self.open && self.beginning.start(self.bytes) == Start::MayBeMissing
    }

    /// What is left, once all that is there has come.
    pub(super) fn end(mut self) -> Vec<LogItem> {
        if self.would_miss() { self.with_gap() } else { self.held }
    }

    /// What is left after a failure, of which it can't be said what it begins with.
    pub(super) fn abandon(self) -> Vec<LogItem> {
        self.held
    }

    fn with_gap(&mut self) -> Vec<LogItem> {
        let first = self.held.iter().find_map(|item| match item {
            LogItem::Piece(piece) => Some(piece.time),
            LogItem::Gap(_) => None,
        });
        let (cause, message) = (LogGapCause::NotFollowed, NOT_FOLLOWED.to_owned());
        let gap = LogGap { from_time: None, to_time: first, cause, message };
        let mut items = vec![LogItem::Gap(gap)];
        items.append(&mut self.held);
        items
    }
}
