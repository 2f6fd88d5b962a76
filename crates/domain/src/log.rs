//! Log lines: how they are cut out of what a backend returns, and how a position in them is found
//! again. Bytes in, pieces out; nothing here reads anything.

use bytes::Bytes;
use jiff::Timestamp;
use strum::{IntoStaticStr, VariantArray};

pub mod cursor;
mod resume;
mod split;
mod whole;

pub use longshore_reader::LogStream;
pub use resume::{Resume, Resumed, since_seconds};
pub use split::{CriSplitter, TimestampedSplitter, cri_line};
pub use whole::{Beginning, Lag, SHORT_BYTES, SHORT_RUN, Start, is_next_file};

/// The container whose output is the run's: the one that executes the program.
pub const RUN_CONTAINER: &str = "run";

/// Longest piece, in bytes: longer lines come in several.
pub const PIECE_MAX_BYTES: usize = 16 * 1024;

/// One line, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// When the runtime received the line; the same for all parts of it.
    pub time: Timestamp,
    /// How many lines with the same time stand before this line. Not only directly before it: the two
    /// streams' lines are not in the order of their times.
    pub ordinal: u32,
    /// Where in the line `data` begins, in bytes.
    pub offset: u64,
    /// Stream, if the backend distinguishes them.
    pub stream: Option<LogStream>,
    /// The bytes, with the line's end if it has one.
    pub data: Bytes,
    /// Whether the backend's line ends here. A line may end without `\n`: at the end of the
    /// output, or where the runtime split it.
    pub ends_line: bool,
    /// [`check`] of the line's bytes from its start to the end of `data`.
    pub check: u32,
}

impl LogPiece {
    /// The position just after this piece.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        LogPosition {
            time: self.time,
            ordinal: self.ordinal,
            offset: self.offset + self.data.len() as u64,
            line_done: self.ends_line,
            check: self.check,
        }
    }

    /// Whether the program's line goes on in the next piece of the same stream.
    #[must_use]
    pub fn partial(&self) -> bool {
        !self.data.ends_with(b"\n")
    }
}

/// What an output that was read whole comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputSummary {
    /// How often `\n` stands in it.
    pub lines: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// A place in an attempt's output, between two bytes. All of it is kept by the runtime itself, so
/// it means the same after a reconnect, on another replica and after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Time of the line, at ns.
    pub time: Timestamp,
    /// [`LogPiece::ordinal`] of the line.
    pub ordinal: u32,
    /// Byte in the line.
    pub offset: u64,
    /// Whether the line ends here.
    pub line_done: bool,
    /// [`check`] of the line's first `offset` bytes.
    pub check: u32,
}

/// A cheap hash (CRC-32) of a line's bytes, carried on from `state`; [`CHECK_START`] at its start.
/// It guards a position against a log that is not the one it was taken from, not against forgery.
#[must_use]
pub fn check(state: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(state);
    hasher.update(bytes);
    hasher.finalize()
}

/// The [`check`] of no bytes.
pub const CHECK_START: u32 = 0;

/// Bytes of an attempt's output that can't be had any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// Time of the last line before it.
    pub from_time: Option<Timestamp>,
    /// Time of the first line after it.
    pub to_time: Option<Timestamp>,
    /// Why.
    pub cause: LogGapCause,
    /// The same in a sentence for people, with what is known besides.
    pub message: String,
}

impl LogGap {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_tail(&self) -> bool {
        // What was not followed may be missing before what comes.
        self.to_time.is_none() && self.cause != LogGapCause::NotFollowed
    }
}

/// Keeps a tail that is lost from being reported twice: each reader that comes to an output's end sees
/// that more should be there, and they take over from each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct LostTail {
    reported: bool,
}

impl LostTail {
    /// Takes note of a gap. `false`: nothing came since one after which nothing comes, so this is the
    /// same loss.
    pub fn is_news(&mut self, gap: &LogGap) -> bool {
        if gap.cause == LogGapCause::NotFollowed {
            return true;
        }
        let is_news = !self.reported;
        self.reported |= gap.is_tail();
        is_news
    }

    /// Takes note of output.
    pub fn output(&mut self) {
        self.reported = false;
    }
}

#[test]
fn a_lost_tail_is_reported_once() {
    let gap = |cause, to_time| LogGap { from_time: None, to_time, cause, message: String::new() };
    let (lost, hole) = (gap(LogGapCause::NotWritten, None), gap(LogGapCause::Rotated, Some(Timestamp::UNIX_EPOCH)));
    let mut tail = LostTail::default();
    assert!(tail.is_news(&hole) && tail.is_news(&hole), "output comes after each");
    assert!(tail.is_news(&gap(LogGapCause::NotFollowed, None)), "of what was before");
    assert!(tail.is_news(&lost));
    assert!(!tail.is_news(&lost) && !tail.is_news(&gap(LogGapCause::Deleted, None)));
    tail.output();
    assert!(tail.is_news(&lost), "it was no tail");
}

/// Why bytes of an output can't be had any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LogGapCause {
    /// The place where reading had stopped is not in the log any more: rotated away.
    Rotated,
    /// The log is another one at the place where reading had stopped.
    Changed,
    /// What held the log was deleted, and the log with it.
    Deleted,
    /// It could not be read, however often that was tried.
    Unreadable,
    /// It never reached the log's disk.
    NotWritten,
    /// Nobody read it while the program ran, so what stood before the first line may have been rotated away.
    NotFollowed,
}

/// Why the start of an output was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTruncationCause {
    /// Fewer lines were asked for than there are.
    TailLines,
    /// The lines that were asked for are more bytes than are held for a tail.
    TailBytes,
}
