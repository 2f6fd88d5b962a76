//! The last lines of an output that passes.

use std::collections::VecDeque;

use super::select::is_marked;
use longshore_domain::log::{LogGap, LogGapCause, LogPiece, LogTruncationCause};

#[cfg(test)]
mod tests;

/// Bytes of output that are kept to give the last lines.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Pieces of lines that are kept, however short they are: each costs some 100 bytes more.
const MAX_PIECES: usize = 200_000;

/// Keeps the last lines, within [`MAX_BYTES`] and [`MAX_PIECES`].
#[derive(Debug)]
pub(super) struct LastLines {
    /// How many were asked for.
    lines: u64,
    pieces: VecDeque<LogPiece>,
    /// Ends of lines among them.
    ended: u64,
    bytes: usize,
    /// Whether lines were left out at all, and whether any because they were too large.
    dropped: bool,
    too_large: bool,
    skipped: Option<String>,
    /// Whether the present line is such a one.
    skipping: bool,
    gaps: Vec<LogGap>,
}

/// What is left in the end.
#[derive(Debug)]
pub(super) struct Tail {
    /// Why lines were left out, if they were, and the same in a sentence.
    pub(super) truncated: Option<(LogTruncationCause, String)>,
    /// What is missing, wherever it stood.
    pub(super) gaps: Vec<LogGap>,
    pub(super) pieces: Vec<LogPiece>,
}

impl LastLines {
    /// `skipped`: what lines begin with that do not count.
    pub(super) fn new(lines: u64, skipped: Option<String>) -> Self {
        Self {
            lines,
            skipped,
            skipping: false,
            pieces: VecDeque::new(),
            ended: 0,
            bytes: 0,
            dropped: false,
            too_large: false,
            gaps: Vec::new(),
        }
    }

    pub(super) fn gap(&mut self, gap: LogGap) {
        self.gaps.push(gap);
    }

    /// Whether the next piece is of a line that counts.
    pub(super) fn counts(&mut self, piece: &LogPiece) -> bool {
        if piece.offset == 0 {
            self.skipping = self.skipped.as_ref().is_some_and(|marker| is_marked(&piece.data, marker));
        }
        !self.skipping
    }

    pub(super) fn push(&mut self, piece: LogPiece) {
        self.ended += u64::from(piece.ends_line);
        self.bytes += piece.data.len();
        self.pieces.push_back(piece);
        while self.ended > self.lines {
            self.drop_line();
        }
        while self.bytes > MAX_BYTES || self.pieces.len() > MAX_PIECES {
            self.too_large = true;
            self.drop_line();
        }
    }

    /// Drops the first line; of a line that alone is too large, the first piece.
    fn drop_line(&mut self) {
        self.dropped = true;
        let last_ends = self.pieces.back().is_some_and(|last| last.ends_line);
        let alone = self.ended == u64::from(last_ends);
        while let Some(first) = self.pieces.pop_front() {
            self.bytes -= first.data.len();
            self.ended -= u64::from(first.ends_line);
            if first.ends_line || alone {
                return;
            }
        }
    }

    pub(super) fn end(mut self) -> Tail {
        let fewer = self.too_large && self.ended < self.lines;
        let truncated = self.dropped.then(|| match fewer {
            true => (
                LogTruncationCause::TailBytes,
                format!(
                    "{} lines were asked for, but a tail is at most {} MiB and {MAX_PIECES} lines",
                    self.lines,
                    MAX_BYTES >> 20
                ),
            ),
            false => (LogTruncationCause::TailLines, format!("only the last {} lines were asked for", self.lines)),
        });
        if self.dropped {
            // What came first is not in the tail, whether it was there or not.
            self.gaps.retain(|gap| gap.cause != LogGapCause::NotFollowed);
        }
        Tail { truncated, gaps: self.gaps, pieces: self.pieces.into() }
    }
}
