//! The program's output on its way from two pipes into the log, line by line, stamped.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep_until};

use longshore_domain::log::{LogStream, PIECE_MAX_BYTES, cri_line};

/// How long the start of a line waits for its end before it is shown.
const PATIENCE: Duration = Duration::from_millis(50);
/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How much of standard error is kept to explain a failed start.
const ERROR_HEAD: usize = 512;

/// Two pipes and the log.
pub(super) struct ProgramOutput {
    stdout: Pipe<Receiver>,
    stderr: Pipe<Receiver>,
    log: Log,
    error_head: Vec<u8>,
}

/// What there is to say of the log.
pub(super) struct LogEnd {
    /// Its size.
    pub(super) bytes: u64,
    /// Why something is missing.
    pub(super) error: Option<String>,
    /// How standard error began.
    pub(super) error_head: String,
}

impl ProgramOutput {
    /// `max`: how large the log may become, in bytes.
    pub(super) fn new(log: File, max: Option<u64>, stdout: Receiver, stderr: Receiver) -> Self {
        Self {
            stdout: Pipe::new(Some(stdout), LogStream::Stdout),
            stderr: Pipe::new(Some(stderr), LogStream::Stderr),
            log: Log::new(log, max),
            error_head: Vec::new(),
        }
    }

    /// Passes output on until both pipes have ended. May be cancelled, and called again.
    pub(super) async fn run(&mut self) {
        while self.stdout.reader.is_some() || self.stderr.reader.is_some() {
            let patience_ends = [self.stdout.lines.shown_by, self.stderr.lines.shown_by].into_iter().flatten().min();
            tokio::select! {
                () = self.stdout.fill(), if self.stdout.reader.is_some() => self.stdout.pass(&mut self.log),
                () = self.stderr.fill(), if self.stderr.reader.is_some() => {
                    let room = ERROR_HEAD.saturating_sub(self.error_head.len());
                    self.error_head.extend(self.stderr.chunk.iter().take(room));
                    self.stderr.pass(&mut self.log);
                }
                () = sleep_until(patience_ends.unwrap_or_else(Instant::now)), if patience_ends.is_some() => {
                    let now = Instant::now();
                    self.stdout.lines.show(now, &mut self.log);
                    self.stderr.lines.show(now, &mut self.log);
                }
            }
            self.log.flush();
        }
    }

    /// Writes what is left, and closes the log.
    pub(super) fn finish(mut self) -> LogEnd {
        self.stdout.lines.end(&mut self.log);
        self.stderr.lines.end(&mut self.log);
        self.log.flush();
        let error_head = String::from_utf8_lossy(&self.error_head).into_owned();
        LogEnd { bytes: self.log.bytes, error: self.log.error, error_head }
    }
}

struct Pipe<R> {
    reader: Option<R>,
    chunk: Vec<u8>,
    lines: Lines,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn new(reader: Option<R>, stream: LogStream) -> Self {
        Self { reader, chunk: Vec::with_capacity(CHUNK), lines: Lines::new(stream) }
    }

    /// Reads a chunk, or finds the end. Loses nothing when it is cancelled.
    async fn fill(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        // `chunk` is empty here: it is passed on as soon as it is filled.
        match reader.read_buf(&mut self.chunk).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => self.reader = None,
        }
    }

    fn pass(&mut self, log: &mut Log) {
        self.lines.push(&self.chunk, log);
        self.chunk.clear();
    }
}

/// Cuts one stream into the entries of a CRI log: a line is an entry `F`; a line that is long, or
/// whose end is late, comes as entries `P` and an `F`.
struct Lines {
    stream: LogStream,
    /// The start of a line, not yet in the log. At most [`PIECE_MAX_BYTES`].
    open: Vec<u8>,
    /// When `open` is to be shown, although its line has not ended.
    shown_by: Option<Instant>,
}

impl Lines {
    fn new(stream: LogStream) -> Self {
        Self { stream, open: Vec::new(), shown_by: None }
    }

    fn push(&mut self, mut bytes: &[u8], log: &mut Log) {
        while !bytes.is_empty() {
            let room = PIECE_MAX_BYTES - self.open.len();
            let window = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                let (line, rest) = bytes.split_at(end);
                self.open.extend_from_slice(line);
                self.entry(false, log);
                bytes = rest.get(1..).unwrap_or_default();
                continue;
            }
            self.open.extend_from_slice(window);
            bytes = bytes.get(window.len()..).unwrap_or_default();
            // A newline right after a full piece still closes the line, with an empty `F`.
            if self.open.len() >= PIECE_MAX_BYTES {
                self.entry(true, log);
            }
        }
        if self.open.is_empty() {
            self.shown_by = None;
        } else if self.shown_by.is_none() {
            self.shown_by = Some(Instant::now() + PATIENCE);
        }
    }

    fn show(&mut self, now: Instant, log: &mut Log) {
        if self.shown_by.is_some_and(|by| by <= now) {
            self.end(log);
        }
    }

    /// Writes the open line as far as it has come.
    fn end(&mut self, log: &mut Log) {
        if !self.open.is_empty() {
            self.entry(true, log);
        }
    }

    fn entry(&mut self, partial: bool, log: &mut Log) {
        log.entry(self.stream, partial, &self.open);
        self.open.clear();
        self.shown_by = None;
    }
}

/// The log file. After the first failure, or once it is full, nothing more is written, so that what is there stays
/// readable; the pipes are drained all the same, or the program would stand still.
struct Log {
    file: File,
    pending: Vec<u8>,
    last: Timestamp,
    bytes: u64,
    max: Option<u64>,
    error: Option<String>,
}

impl Log {
    fn new(file: File, max: Option<u64>) -> Self {
        Self { file, pending: Vec::new(), last: Timestamp::UNIX_EPOCH, bytes: 0, max, error: None }
    }

    /// The time, made to rise strictly: then the time alone names an entry.
    fn stamp(&mut self) -> Timestamp {
        let next = self.last.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(self.last);
        self.last = Timestamp::now().max(next);
        self.last
    }

    fn entry(&mut self, stream: LogStream, partial: bool, text: &[u8]) {
        if self.error.is_none() {
            let time = self.stamp();
            let before = self.pending.len();
            cri_line(time, stream, partial, text, &mut self.pending);
            if let Some(max) = self.max.filter(|max| self.bytes + self.pending.len() as u64 > *max) {
                self.pending.truncate(before);
                self.error = Some(format!("the log has its full size of {max} bytes (`local.log_max_bytes`)"));
            }
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.file.write_all(&self.pending) {
            Ok(()) => self.bytes += self.pending.len() as u64,
            Err(error) => {
                self.error = Some(format!("the log could not be written: {error}"));
                // The last entry may be half there.
                let _ = self.file.set_len(self.bytes);
            }
        }
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log::new(tempfile::tempfile().unwrap(), None)
    }

    /// Tag and size of each entry.
    fn entries(log: &Log) -> Vec<(String, usize)> {
        let text = String::from_utf8(log.pending.clone()).unwrap();
        let entry = |line: &str| {
            let mut parts = line.splitn(4, ' ');
            let (tag, text) = (parts.nth(2).unwrap(), parts.next().unwrap());
            (tag.to_owned(), text.len())
        };
        text.lines().map(entry).collect()
    }

    #[tokio::test]
    async fn lines_are_cut_at_newlines_whatever_the_chunks() {
        for chunk in [1, 2, 3, 100] {
            let mut log = log();
            let mut lines = Lines::new(LogStream::Stdout);
            for part in b"ab\n\nc".chunks(chunk) {
                lines.push(part, &mut log);
            }
            lines.end(&mut log);
            let expected = [("F", 2), ("F", 0), ("P", 1)].map(|(tag, size)| (tag.to_owned(), size));
            assert_eq!(entries(&log), expected, "in chunks of {chunk}");
        }
    }

    #[tokio::test]
    async fn a_full_log_ends_with_a_whole_entry_and_takes_no_more() {
        let mut log = Log::new(tempfile::tempfile().unwrap(), Some(200));
        let mut lines = Lines::new(LogStream::Stdout);
        for _ in 0..100 {
            lines.push(b"a line of some length\n", &mut log);
            log.flush();
        }
        // A short one would find room, but would not be the next.
        lines.push(b"\n", &mut log);
        log.flush();
        assert!((100..=200).contains(&log.bytes), "{}", log.bytes);
        assert_eq!(log.file.metadata().unwrap().len(), log.bytes);
        assert!(log.error.unwrap().contains("200 bytes"));
    }

    #[tokio::test]
    async fn empty_lines_count_as_what_they_take_on_the_disk() {
        let mut log = Log::new(tempfile::tempfile().unwrap(), Some(1_000_000));
        let mut lines = Lines::new(LogStream::Stdout);
        for _ in 0..4 {
            lines.push(&[b'\n'; CHUNK], &mut log);
            log.flush();
        }
        let size = log.file.metadata().unwrap().len();
        assert!(size == log.bytes && (999_950..=1_000_000).contains(&size), "{size}");
        assert!(log.error.is_some());
    }

    #[tokio::test]
    async fn a_long_line_is_split() {
        let mut log = log();
        let mut lines = Lines::new(LogStream::Stderr);
        lines.push(&[b'x'; 2 * PIECE_MAX_BYTES], &mut log);
        lines.push(b"\ny\n", &mut log);
        let cut = entries(&log);
        let shape: Vec<_> = cut.iter().map(|(tag, size)| (tag.as_str(), *size)).collect();
        assert_eq!(shape, [("P", PIECE_MAX_BYTES), ("P", PIECE_MAX_BYTES), ("F", 0), ("F", 1)]);
    }

    #[tokio::test]
    async fn times_rise_strictly() {
        let mut log = log();
        let stamps: Vec<_> = (0..1000).map(|_| log.stamp()).collect();
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
