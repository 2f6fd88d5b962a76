//! What a log stream reports.

use crate::reconnect::ReconnectReason;
use longshore_domain::log::{LogGap, LogPiece, LogTruncationCause, OutputSummary};

/// What a log stream reports. Ends in exactly one `End` or `Reconnect`.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// Output, at most 64 KiB.
    Pieces {
        /// Attempt.
        attempt: u32,
        /// The pieces.
        pieces: Vec<LogPiece>,
        /// Whether they are marked lines, which carry the result.
        marked: bool,
        /// Where to go on after them.
        cursor: String,
    },
    /// An attempt's output begins.
    AttemptStarted {
        /// Attempt.
        attempt: u32,
    },
    /// An attempt's output is complete.
    AttemptEnded {
        /// Attempt.
        attempt: u32,
        /// Exit code.
        exit_code: Option<i32>,
        /// If it was read whole.
        whole: Option<OutputSummary>,
    },
    /// Bytes that can't be had any more.
    Gap {
        /// Attempt.
        attempt: u32,
        /// What is missing.
        gap: LogGap,
    },
    /// The start was left out as asked.
    Truncated {
        /// Attempt.
        attempt: u32,
        /// Why.
        cause: LogTruncationCause,
        /// The same in a sentence.
        message: String,
    },
    /// Nothing new.
    Heartbeat {
        /// Where to go on.
        cursor: String,
    },
    /// Call again.
    Reconnect {
        /// Where to go on.
        cursor: String,
        /// Why.
        reason: ReconnectReason,
    },
    /// Complete.
    End {
        /// Where to go on.
        cursor: String,
        /// Why.
        reason: LogEndReason,
    },
}

/// Why a log stream is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEndReason {
    /// The run is over, and this was all.
    RunFinished,
    /// Without `follow`: this was all there is so far.
    CaughtUp,
    /// The limit is reached.
    ByteLimit,
}
