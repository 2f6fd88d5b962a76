//! Finds a known position again in a log that is read once more from a little before it.
//!
//! The line is found by its time and ordinal, the place in it by offset and check. Times are never
//! compared to find what was delivered before: a log is not in the order of its times.

use jiff::{SignedDuration, Timestamp};

use super::{CHECK_START, LogGap, LogGapCause, LogPiece, LogPosition, check, is_next_file};

#[cfg(test)]
mod tests;

/// How much later than the position a line is, at least, when the position can't come any more.
/// Lines of the two streams change places by micro- to milliseconds.
const LATER: SignedDuration = SignedDuration::from_secs(2);
/// How many bytes of later lines are held, at most, while the position is not found.
const HELD_MAX_BYTES: usize = 256 * 1024;

/// From when a log has to be read so that the line of `position` is in it, in whole seconds as the
/// API server takes them: the floor of its time, less one second.
#[must_use]
pub fn since_seconds(position: LogPosition) -> Timestamp {
    let second = position.time.as_nanosecond().div_euclid(1_000_000_000) - 1;
    i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MIN)
}

/// Takes the pieces of such a read and passes on those that come after the position.
#[derive(Debug)]
pub struct Resume {
    position: LogPosition,
    /// Whether the log's file had ended there.
    at_file_end: bool,
    state: ResumeState,
    /// Pieces later than the position: before it in the log if it is found, else the first after a
    /// gap.
    held: Vec<LogPiece>,
    held_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum ResumeState {
    /// The line was not seen yet.
    Searching,
    /// In the line, at `offset`, before the wanted one.
    InLine { offset: u64, check: u32 },
    /// The line is not as it was: the rest of it is dropped.
    SkippingLine,
    /// Past the position, or past the gap.
    Passing,
}

/// What came of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The position was not reached yet; nothing was passed on.
    Searching,
    /// Past the position, or past a gap that was reported before: pieces are passed on.
    Found,
    /// The position is not in the log any more. Reported once, before the pieces that this push
    /// passed on.
    Lost(LogGap),
}

impl Resume {
    /// Searches for `position`.
    #[must_use]
    pub fn new(position: LogPosition) -> Self {
        Self { position, at_file_end: false, state: ResumeState::Searching, held: Vec::new(), held_bytes: 0 }
    }

    /// Searches for the end of a file that was read out, and that nothing is written to any more.
    /// Where the log goes on in a later file it is not there, and yet nothing is missing, unless a
    /// whole file can lie between the two.
    #[must_use]
    pub fn at_file_end(position: LogPosition) -> Self {
        Self { at_file_end: true, ..Self::new(position) }
    }

    /// Takes the next piece, as the splitter cut it, from the start of the read on. Appends to `out`
    /// what comes after the position.
    pub fn push(&mut self, piece: LogPiece, out: &mut Vec<LogPiece>) -> Resumed {
        match self.state {
            ResumeState::Passing => self.pass(piece, out),
            ResumeState::Searching if self.is_wanted(&piece) => self.in_line(piece, 0, CHECK_START, out),
            ResumeState::Searching => self.search(piece, out),
            ResumeState::InLine { offset, check } if self.is_wanted(&piece) => self.in_line(piece, offset, check, out),
            ResumeState::InLine { .. } => self.lose(SHORTER, Some(piece), out),
            ResumeState::SkippingLine if self.is_wanted(&piece) => Resumed::Found,
            ResumeState::SkippingLine => self.pass(piece, out),
        }
    }

    /// Ends a read that the backend ended itself; after a cut there is nothing to conclude, and this
    /// is not called. Answers the gap if the position was not found, and appends the lines after it
    /// to `out`.
    pub fn finish(mut self, out: &mut Vec<LogPiece>) -> Option<LogGap> {
        match self.state {
            ResumeState::Passing | ResumeState::SkippingLine => None,
            ResumeState::Searching | ResumeState::InLine { .. } => match self.lose(NOT_THERE, None, out) {
                Resumed::Lost(gap) => Some(gap),
                Resumed::Searching | Resumed::Found => None,
            },
        }
    }

    fn is_wanted(&self, piece: &LogPiece) -> bool {
        piece.time == self.position.time && piece.ordinal == self.position.ordinal
    }

    fn pass(&mut self, piece: LogPiece, out: &mut Vec<LogPiece>) -> Resumed {
        self.found();
        out.push(piece);
        Resumed::Found
    }

    fn found(&mut self) {
        self.state = ResumeState::Passing;
        self.held = Vec::new();
    }

    /// A piece of another line, before the position was found.
    fn search(&mut self, piece: LogPiece, out: &mut Vec<LogPiece>) -> Resumed {
        if piece.time <= self.position.time {
            return Resumed::Searching;
        }
        self.held_bytes += piece.data.len();
        if self.held_bytes > HELD_MAX_BYTES || piece.time.duration_since(self.position.time) > LATER {
            return self.lose(NOT_THERE, Some(piece), out);
        }
        self.held.push(piece);
        Resumed::Searching
    }

    /// A piece of the line, of which `offset` bytes with this check came before.
    fn in_line(&mut self, mut piece: LogPiece, offset: u64, state: u32, out: &mut Vec<LogPiece>) -> Resumed {
        let missing = self.position.offset.saturating_sub(offset);
        let wanted = usize::try_from(missing).unwrap_or(usize::MAX).min(piece.data.len());
        let before = piece.data.split_to(wanted);
        let state = check(state, &before);
        let offset = offset + wanted as u64;
        if offset < self.position.offset && !piece.ends_line {
            self.state = ResumeState::InLine { offset, check: state };
            return Resumed::Searching;
        }
        if offset < self.position.offset || state != self.position.check {
            let lost = self.lose(ANOTHER, None, out);
            self.state = ResumeState::SkippingLine;
            return lost;
        }
        self.found();
        if !piece.data.is_empty() {
            piece.offset = offset;
            out.push(piece);
        }
        Resumed::Found
    }

    /// Gives the position up, with the first piece that comes after the gap, if there is one.
    fn lose(&mut self, (cause, message): LostPosition, piece: Option<LogPiece>, out: &mut Vec<LogPiece>) -> Resumed {
        self.state = ResumeState::Passing;
        let after = out.len();
        out.append(&mut self.held);
        out.extend(piece);
        let next = out.get(after).map(|piece| piece.time);
        if self.at_file_end && cause == LogGapCause::Rotated && next.is_none_or(|n| is_next_file(self.position.time, n))
        {
            return Resumed::Found;
        }
        Resumed::Lost(LogGap { from_time: Some(self.position.time), to_time: next, cause, message: message.to_owned() })
    }
}

/// Why a position is given up, and the same in a sentence.
type LostPosition = (LogGapCause, &'static str);

const NOT_THERE: LostPosition = (LogGapCause::Rotated, "the log no longer has the line where reading had stopped");
const SHORTER: LostPosition = (LogGapCause::Changed, "the line where reading had stopped is shorter now");
const ANOTHER: LostPosition = (LogGapCause::Changed, "the line where reading had stopped has changed");
