//! Cuts what a backend returns into pieces, however it was chunked on its way.
//!
//! Both formats are lines of a head and a content; the cutter is the same, only the heads differ.
//! Pieces share the memory of the chunk they came in; only a line that crosses chunks is copied.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use memchr::memchr;

use super::{CHECK_START, LogPiece, LogStream, PIECE_MAX_BYTES, check};

#[cfg(test)]
mod tests;

/// Cuts the bytes of `GET pods/log?timestamps=true`: lines of `<RFC 3339 time> SP content`.
///
/// A line without a readable time is not the program's: the kubelet answers with its own sentence,
/// and status 200, where it can't read a log or can't read on. So nothing is cut from there on; see
/// [`TimestampedSplitter::refusal`].
#[derive(Debug)]
pub struct TimestampedSplitter {
    cutter: Cutter,
}

impl Default for TimestampedSplitter {
    fn default() -> Self {
        Self { cutter: Cutter::new(Format::Timestamped) }
    }
}

impl TimestampedSplitter {
    /// Takes the next bytes and appends the pieces that they complete to `out`.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<LogPiece>) {
        self.cutter.push(chunk, out);
    }

    /// The first line without a time, once it is whole or the input has ended; at most 1 KiB of it.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let BackendRefusal { text, complete } = self.cutter.refusal.as_ref()?;
        complete.then(|| String::from_utf8_lossy(text).trim().to_owned())
    }

    /// Ends the input. Another read needs another splitter.
    ///
    /// `complete` says that the backend itself ended a read without `follow`: a last line without
    /// `\n` is then delivered as it is, as a line that ends here (if it grows later, reading again
    /// from its position delivers the growth). Otherwise it may have been cut anywhere, even within
    /// its time, so what was not delivered of it is dropped: who reads again from the last position
    /// gets it whole.
    pub fn finish(&mut self, complete: bool, out: &mut Vec<LogPiece>) {
        if complete {
            self.cutter.deliver_unterminated(out);
        } else {
            self.cutter.forget_line();
        }
        if let Some(refusal) = &mut self.cutter.refusal {
            refusal.complete = true;
        }
    }
}

/// Cuts a file in the CRI log format: lines of `<RFC 3339 time> stdout|stderr F|P <text>`.
///
/// Each line of the file is a line of its own. The data of an `F` line is its text and `\n`, that of
/// a `P` line its text alone. A line in no such form is kept whole, without a stream and with the
/// time of the line before it; before the first time that is the Unix epoch.
#[derive(Debug)]
pub struct CriSplitter {
    cutter: Cutter,
}

impl Default for CriSplitter {
    fn default() -> Self {
        Self { cutter: Cutter::new(Format::Cri) }
    }
}

impl CriSplitter {
    /// Takes the next bytes and appends the pieces that they complete to `out`. A line is held back
    /// until its end is there, unless it is longer than a piece.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<LogPiece>) {
        self.cutter.push(chunk, out);
    }

    /// Ends the input. Answers how many bytes of a last line without end were dropped: its writer
    /// may be in the middle of it, and who reads again from the last position gets it whole.
    pub fn finish(&mut self) -> usize {
        self.cutter.forget_line()
    }
}

/// Appends one line in the CRI log format. `text` is one line of the program without its `\n`;
/// `partial` says that the program's line goes on in the stream's next line, or never ended.
pub fn cri_line(time: Timestamp, stream: LogStream, partial: bool, text: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!text.contains(&b'\n'), "a CRI line holds one line of the program");
    let stream = match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    };
    let tag = if partial { 'P' } else { 'F' };
    out.extend_from_slice(format!("{time:.9} {stream} {tag} ").as_bytes());
    out.extend_from_slice(text);
    out.push(b'\n');
}

// === impl Cutter ===

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Timestamped,
    Cri,
}

impl Format {
    /// A head is decided within this many bytes of the line. A time has at most 35
    /// (`2006-01-02T15:04:05.000000000+00:00`).
    fn head_max(self) -> usize {
        match self {
            Self::Timestamped => 40,
            Self::Cri => 64,
        }
    }

    /// From how many bytes on a line is delivered before its end is there. Kubernetes hands out long
    /// lines as the runtime's parts of just the size of a piece, and each is to pass at once; in
    /// a CRI file just such a line is to end with its piece, so its end is waited for.
    fn hold(self) -> usize {
        match self {
            Self::Timestamped => PIECE_MAX_BYTES,
            Self::Cri => PIECE_MAX_BYTES + 1,
        }
    }
}

#[derive(Debug)]
struct Cutter {
    format: Format,
    stamps: Stamps,
    ordinals: Ordinals,
    /// Time of the last line.
    time: Timestamp,
    /// The line whose head was read but whose end was not.
    line: Option<OpenLine>,
    /// Bytes of the present line that were not delivered. Without its head if `line` is set.
    carry: BytesMut,
    /// What stands instead of output from here on.
    refusal: Option<BackendRefusal>,
}

/// The backend's own words.
#[derive(Debug, Default)]
struct BackendRefusal {
    text: Vec<u8>,
    complete: bool,
}

impl BackendRefusal {
    const MAX_BYTES: usize = 1024;

    fn push(&mut self, bytes: &[u8]) {
        if self.complete {
            return;
        }
        let ended = memchr(b'\n', bytes);
        let line = bytes.get(..ended.unwrap_or(bytes.len())).unwrap_or(bytes);
        let left = Self::MAX_BYTES - self.text.len();
        self.text.extend_from_slice(line.get(..left).unwrap_or(line));
        self.complete = ended.is_some() || self.text.len() == Self::MAX_BYTES;
    }
}

/// A line that is being delivered.
#[derive(Debug)]
struct OpenLine {
    time: Timestamp,
    ordinal: u32,
    stream: Option<LogStream>,
    /// Whether the line's `\n` is the log's and not the program's.
    partial: bool,
    offset: u64,
    check: u32,
}

impl OpenLine {
    fn piece(&mut self, data: Bytes, ends_line: bool) -> LogPiece {
        let offset = self.offset;
        self.check = check(self.check, &data);
        self.offset += data.len() as u64;
        LogPiece {
            time: self.time,
            ordinal: self.ordinal,
            offset,
            stream: self.stream,
            data,
            ends_line,
            check: self.check,
        }
    }
}

/// What stands before a line's content.
struct Head {
    len: usize,
    time: Timestamp,
    stream: Option<LogStream>,
    partial: bool,
}

impl Cutter {
    fn new(format: Format) -> Self {
        Self {
            format,
            stamps: Stamps::default(),
            ordinals: Ordinals::default(),
            time: Timestamp::UNIX_EPOCH,
            line: None,
            carry: BytesMut::new(),
            refusal: None,
        }
    }

    fn push(&mut self, mut chunk: Bytes, out: &mut Vec<LogPiece>) {
        while !chunk.is_empty() {
            if let Some(refusal) = &mut self.refusal {
                refusal.push(&chunk);
                return;
            }
            let newline = memchr(b'\n', &chunk);
            let part = chunk.split_to(newline.map_or(chunk.len(), |at| at + 1));
            self.take(part, newline.is_some(), out);
        }
    }

    /// Takes bytes of one line: the next ones, up to its end if `ended`.
    fn take(&mut self, part: Bytes, ended: bool, out: &mut Vec<LogPiece>) {
        if self.carry.is_empty() && (ended || part.len() >= self.needed()) {
            let rest = self.deliver(part, ended, out);
            self.carry.extend_from_slice(&rest);
            return;
        }
        self.carry.extend_from_slice(&part);
        if ended || self.carry.len() >= self.needed() {
            let joined = self.carry.split().freeze();
            let rest = self.deliver(joined, ended, out);
            self.carry.extend_from_slice(&rest);
        }
    }

    /// How many bytes of a line without end it takes to do something with them.
    fn needed(&self) -> usize {
        if self.line.is_some() { self.format.hold() } else { self.format.head_max() }
    }

    /// Delivers what can be delivered of `bytes`, all that is there of the present line, and returns
    /// the rest.
    fn deliver(&mut self, mut bytes: Bytes, ended: bool, out: &mut Vec<LogPiece>) -> Bytes {
        let begun = self.line.take().or_else(|| self.begin(&mut bytes));
        let Some(mut line) = begun else {
            self.refusal.get_or_insert_default().push(&bytes);
            return Bytes::new();
        };
        if ended && line.partial && bytes.ends_with(b"\n") {
            bytes.truncate(bytes.len() - 1);
        }
        let hold = if ended { PIECE_MAX_BYTES + 1 } else { self.format.hold() };
        while bytes.len() >= hold {
            out.push(line.piece(bytes.split_to(PIECE_MAX_BYTES), false));
        }
        if !ended {
            self.line = Some(line);
            return bytes;
        }
        if !bytes.is_empty() {
            out.push(line.piece(bytes, true));
        }
        Bytes::new()
    }

    /// Reads the head of a line and cuts it off. `None`: it has none, and is not the program's.
    fn begin(&mut self, bytes: &mut Bytes) -> Option<OpenLine> {
        let start = bytes.get(..self.format.head_max()).unwrap_or(bytes);
        let head = match self.format {
            Format::Timestamped => timestamped_head(&mut self.stamps, start),
            Format::Cri => cri_head(&mut self.stamps, start),
        };
        let (stream, partial, ordinal) = match head {
            Some(head) => {
                let _ = bytes.split_to(head.len);
                self.time = head.time;
                (head.stream, head.partial, self.ordinals.next(head.time))
            }
            // In a file the line is there at every reading, so it counts.
            None if self.format == Format::Cri => (None, false, self.ordinals.next(self.time)),
            None => return None,
        };
        Some(OpenLine { time: self.time, ordinal, stream, partial, offset: 0, check: CHECK_START })
    }

    fn deliver_unterminated(&mut self, out: &mut Vec<LogPiece>) {
        let rest = self.carry.split().freeze();
        // The start of a time, and no more: a cut after all. The kubelet says nothing of the kind.
        let cut_time = self.line.is_none() && rest.iter().all(|b| b.is_ascii_digit() || b"-+:.TZ".contains(b));
        if !rest.is_empty() && !cut_time {
            self.deliver(rest, true, out);
        }
        self.line = None;
    }

    fn forget_line(&mut self) -> usize {
        self.line = None;
        self.carry.split().len()
    }
}

fn timestamped_head(stamps: &mut Stamps, line: &[u8]) -> Option<Head> {
    let space = memchr(b' ', line)?;
    let time = stamps.read(line.get(..space)?)?;
    Some(Head { len: space + 1, time, stream: None, partial: false })
}

fn cri_head(stamps: &mut Stamps, line: &[u8]) -> Option<Head> {
    let mut fields = line.splitn(4, |b| *b == b' ');
    let (stamp, stream, tags) = (fields.next()?, fields.next()?, fields.next()?);
    fields.next()?;
    let stream = match stream {
        b"stdout" => LogStream::Stdout,
        b"stderr" => LogStream::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; the first says whether the line is whole.
    let partial = match tags.split(|b| *b == b':').next()? {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    let time = stamps.read(stamp)?;
    Some(Head { len: stamp.len() + stream_len(stream) + tags.len() + 3, time, stream: Some(stream), partial })
}

fn stream_len(stream: LogStream) -> usize {
    match stream {
        LogStream::Stdout | LogStream::Stderr => 6,
    }
}

// === impl Stamps ===

/// Reads times. Lines of the same second and zone are read from the second's first.
#[derive(Debug, Default)]
struct Stamps {
    /// `2006-01-02T15:04:05` and the zone of the last time that was read; empty: none.
    key: Vec<u8>,
    second: i64,
}

impl Stamps {
    const SECONDS: usize = 19;

    fn read(&mut self, text: &[u8]) -> Option<Timestamp> {
        let (date, rest) = text.split_at_checked(Self::SECONDS)?;
        let (nanos, zone) = fraction(rest)?;
        if self.key.get(..Self::SECONDS) == Some(date) && self.key.get(Self::SECONDS..) == Some(zone) {
            return Timestamp::new(self.second, nanos).ok();
        }
        if date.get(10) != Some(&b'T') || !text.is_ascii() {
            return None;
        }
        let time: Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
        self.key.clear();
        // Before 1970 the fraction counts backwards.
        if time >= Timestamp::UNIX_EPOCH {
            self.key.extend_from_slice(date);
            self.key.extend_from_slice(zone);
            self.second = time.as_second();
        }
        Some(time)
    }
}

/// Splits `.123456789Z` into nanoseconds and zone.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let len = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, zone) = digits.split_at(len);
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'));
    Some((value * 10_i32.pow(9 - u32::try_from(digits.len()).ok()?), zone))
}

// === impl Ordinals ===

/// Counts the lines of each time.
///
/// Lines of one stream come in the order of their times, but a line of one stream may come after a
/// later one of the other, so the last few times are remembered, not only the last.
#[derive(Debug, Default)]
struct Ordinals {
    recent: VecDeque<(Timestamp, u32)>,
    newest: Option<Timestamp>,
}

impl Ordinals {
    const REMEMBERED: usize = 32;

    /// Counts a line, and answers how many of its time came before.
    fn next(&mut self, time: Timestamp) -> u32 {
        if self.newest.is_none_or(|newest| newest < time) {
            self.newest = Some(time);
        } else if let Some((_, count)) = self.recent.iter_mut().rev().find(|(seen, _)| *seen == time) {
            *count = count.saturating_add(1);
            return *count;
        }
        if self.recent.len() == Self::REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((time, 0));
        0
    }
}
