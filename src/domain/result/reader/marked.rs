//! Lines that the run marked as its result.
//!
//! ```text
//! <marker>{…}                 one object of at most 4 KiB
//! <marker>+<n> <text>         part n, from 1, of a larger one
//! <marker>=<count> <sha256>   its end
//! ```
//!
//! White space may stand around the object. Parts are known but not read yet.

use memchr::memchr;

use super::whole::{read_whole, trimmed};
use super::{FoundResult, MARKED_MAX_BYTES, ReaderRule, ResultError, ResultErrorKind, ResultSource};

/// White space around the object that is put up with, in bytes.
const SLACK_BYTES: usize = 256;

/// Collects marked lines.
#[derive(Debug)]
pub(super) struct Marks {
    marker: Vec<u8>,
    /// The line so far, as long as it may be a marked one.
    line: Vec<u8>,
    /// Where it begins in the output.
    line_at: u64,
    /// Whether it is not a marked one.
    other: bool,
    /// Whether it is longer than what is kept of it.
    longer: bool,
    last: Option<Mark>,
    count: u64,
}

/// A marked line.
#[derive(Debug)]
struct Mark {
    /// What stands after the marker.
    content: Vec<u8>,
    /// Where that begins in the output.
    at: u64,
    longer: bool,
}

impl Marks {
    pub(super) fn new(marker: &[u8]) -> Self {
        Self {
            marker: marker.to_vec(),
            line: Vec::new(),
            line_at: 0,
            other: false,
            longer: false,
            last: None,
            count: 0,
        }
    }

    /// Feeds the next bytes, which begin at byte `at` of the output.
    pub(super) fn push(&mut self, mut data: &[u8], mut at: u64) {
        while !self.marker.is_empty() && !data.is_empty() {
            let end = memchr(b'\n', data);
            let (part, rest) = data.split_at(end.map_or(data.len(), |end| end + 1));
            self.take(part, at);
            if end.is_some() {
                self.end_line();
            }
            at += part.len() as u64;
            data = rest;
        }
    }

    fn take(&mut self, part: &[u8], at: u64) {
        if self.other {
            return;
        }
        if self.line.is_empty() {
            self.line_at = at;
        }
        let expected = self.marker.iter().skip(self.line.len());
        if expected.zip(part).any(|(expected, byte)| expected != byte) {
            self.other = true;
            return;
        }
        let room = self.marker.len() + MARKED_MAX_BYTES + SLACK_BYTES - self.line.len();
        self.longer |= part.len() > room;
        self.line.extend(part.iter().take(room));
    }

    fn end_line(&mut self) {
        if let Some(content) = self.line.strip_prefix(self.marker.as_slice()).filter(|_| !self.other) {
            let at = self.line_at + self.marker.len() as u64;
            self.last = Some(Mark { content: content.to_vec(), at, longer: self.longer });
            self.count += 1;
        }
        self.line.clear();
        self.other = false;
        self.longer = false;
    }

    /// Ends the output. `None`: there is no marked line. Of several, the last one decides.
    pub(super) fn finish(mut self, rule: &ReaderRule) -> Option<Result<FoundResult, ResultError>> {
        if !self.line.is_empty() {
            self.end_line();
        }
        let mark = self.last?;
        let mut read = read_mark(&mark, rule);
        if let Ok(found) = &mut read
            && self.count > 1
        {
            found.warnings.push(format!("there are {} marked lines; the last one was read", self.count));
        }
        Some(read)
    }
}

fn read_mark(mark: &Mark, rule: &ReaderRule) -> Result<FoundResult, ResultError> {
    let (_, content) = trimmed(&mark.content);
    let error = |kind, message: String| Err(ResultError { kind, message, position: Some(mark.at) });
    match content.first() {
        None => error(ResultErrorKind::Invalid, format!("the marked line at byte {} holds nothing", mark.at)),
        Some(b'+' | b'=') => error(ResultErrorKind::Invalid, "multi-part marks are not read yet".to_owned()),
        Some(_) if mark.longer || content.len() > MARKED_MAX_BYTES => error(
            ResultErrorKind::TooLarge,
            format!("the marked line at byte {} holds more than {MARKED_MAX_BYTES} bytes", mark.at),
        ),
        Some(_) => read_whole(&mark.content, rule, mark.at, ResultSource::MarkedLine),
    }
}
