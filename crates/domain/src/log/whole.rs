//! What may be said of an output that was read: whether it is whole, and where a part of it can be
//! missing without a word.
//!
//! The kubelet looks at a running container's log file every ten seconds and begins a new one if it
//! is larger than 10 MiB (`containerLogMonitorInterval`, `containerLogMaxSize`). Anyone who opens
//! the log gets the newest file only; an open follow goes on from file to file, but leaves whole
//! files out, without a word, if it lags so far behind that a second one was begun meanwhile.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::LogPiece;

#[cfg(test)]
mod tests;

/// A log file of fewer bytes is never rotated.
const ROTATED_FROM_BYTES: u64 = 10 * 1024 * 1024;
/// What the runtime writes before each line of the program, at most:
/// `2006-01-02T15:04:05.000000000+00:00 stdout F `.
const LINE_HEAD_BYTES: u64 = 45;
/// Two rotations of one log are at least this far apart: ten seconds, less what the work of a look
/// may differ by.
const BETWEEN_ROTATIONS: SignedDuration = SignedDuration::from_secs(8);
/// A program that ran for less than this, and printed less than [`SHORT_BYTES`], has hardly been
/// rotated.
pub const SHORT_RUN: Duration = Duration::from_secs(10);
/// See [`SHORT_RUN`].
pub const SHORT_BYTES: u64 = 1024 * 1024;

/// How a read from no position began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Whether the backend takes the start of a log away while its program writes on.
    pub rotates: bool,
    /// Whether it began just as the program started: by somebody who had seen it not started, and at
    /// once.
    pub at_start: bool,
    /// How long the program had run by then, or in all if it had ended. `None`: not known.
    pub ran: Option<Duration>,
}

/// What is known of an output's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first byte is there.
    There,
    /// Nothing suggests that something is missing, but it is not known.
    Likely,
    /// What came first may have been rotated away.
    MayBeMissing,
}

impl Beginning {
    /// What is known of the start, if `bytes` of output were there when the read began. More bytes
    /// never make it better.
    #[must_use]
    pub fn start(&self, bytes: u64) -> Start {
        if !self.rotates || self.at_start {
            Start::There
        } else if bytes < SHORT_BYTES && self.ran.is_some_and(|ran| ran < SHORT_RUN) {
            Start::Likely
        } else {
            Start::MayBeMissing
        }
    }

    /// Whether an output that was read from this beginning to its end, without a gap, is whole: this
    /// many lines and bytes in all.
    #[must_use]
    pub fn is_whole(&self, lines: u64, bytes: u64) -> bool {
        let file = lines.saturating_mul(LINE_HEAD_BYTES).saturating_add(bytes);
        self.start(bytes) == Start::There && (!self.rotates || file < ROTATED_FROM_BYTES)
    }
}

/// Whether a log that was read to the end of one of its files, whose last line is of `last`, goes on
/// just there in a file whose first line is of `next`: no other file can lie between the two.
#[must_use]
pub fn is_next_file(last: Timestamp, next: Timestamp) -> bool {
    next.duration_since(last) < BETWEEN_ROTATIONS
}

/// How far a follow lags behind its program, so that it is seen where it may have left a file out.
///
/// The clocks of the program's machine and of ours are not compared: the line that came fastest is
/// taken to have come at once, and the others are measured by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    /// Time of the first line.
    origin: Option<Timestamp>,
    /// The least time from a line's own time, counted from `origin`, to its arrival.
    least: SignedDuration,
    /// Time of the last line, and how far behind it came.
    last: Option<(Timestamp, SignedDuration)>,
}

impl Lag {
    /// Takes the next piece, which arrived this long after some fixed moment. `true`: a file may have
    /// been left out just before it.
    pub fn take(&mut self, piece: &LogPiece, arrived: Duration) -> bool {
        let origin = *self.origin.get_or_insert(piece.time);
        let arrived = SignedDuration::try_from(arrived).unwrap_or(SignedDuration::MAX);
        let taken = arrived.saturating_sub(piece.time.duration_since(origin));
        self.least = if self.last.is_none() { taken } else { self.least.min(taken) };
        let behind = taken.saturating_sub(self.least);
        let before = self.last.replace((piece.time, behind));
        before.is_some_and(|(time, behind)| behind >= BETWEEN_ROTATIONS && !is_next_file(time, piece.time))
    }

    /// Whether the last line came so late that a second rotation may have come before it.
    #[must_use]
    pub fn is_far_behind(&self) -> bool {
        self.last.is_some_and(|(_, behind)| behind >= BETWEEN_ROTATIONS)
    }
}
