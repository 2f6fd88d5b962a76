//! Lines that the run marked as its result.
//!
//! ```text
//! <marker>{…}                 one object of at most 4 KiB
//! <marker>+<n> <text>         part n, from 1, of a larger one: at most 6 KiB of text
//! <marker>=<count> <sha256>   its end: how many parts there are, and the SHA-256 of their texts
//! ```
//!
//! White space may stand around an object on one line; of a part, everything between the one space
//! and the line's end counts. What is complete last decides; a set of parts is complete if all came
//! in order and the sum is right.

use memchr::memchr;
use sha2::{Digest, Sha256};

use super::whole::{read_whole, trimmed};
use super::{FoundResult, MARKED_MAX_BYTES, PART_MAX_BYTES, ReaderRule, ResultError, ResultErrorKind, ResultSource};

/// What may stand around an object or before the text of a part, in bytes.
const SLACK_BYTES: usize = 256;

/// Collects marked lines.
#[derive(Debug)]
pub(super) struct Marks {
    marker: Vec<u8>,
    /// Largest object, in bytes.
    max_bytes: usize,
    /// The line so far, as long as it may be a marked one.
    line: Vec<u8>,
    /// Where it begins in the output.
    line_at: u64,
    /// Where the bytes end that were fed.
    end: u64,
    /// Whether it is not a marked one.
    other: bool,
    /// Whether it is longer than what is kept of it.
    longer: bool,
    /// The last one that is complete.
    last: Option<Mark>,
    /// How many were.
    count: u64,
    /// The set of parts that is not closed yet.
    parts: Option<Parts>,
    /// What was wrong with a set that came after the last complete one.
    incomplete: Option<ResultError>,
}

/// What was marked.
#[derive(Debug)]
struct Mark {
    /// What stands after the marker, or the texts of all parts.
    content: Vec<u8>,
    /// Where that begins in the output.
    at: u64,
    /// For parts, where the last line of their set ends.
    parts_end: Option<u64>,
    longer: bool,
}

/// Parts of an object.
#[derive(Debug)]
struct Parts {
    text: Vec<u8>,
    /// Where the first begins in the output.
    at: u64,
    /// How many came.
    count: u64,
    /// What is wrong with them.
    wrong: Option<(ResultErrorKind, String)>,
}

impl Marks {
    pub(super) fn new(rule: &ReaderRule) -> Self {
        Self {
            marker: rule.marker.as_bytes().to_vec(),
            max_bytes: rule.max_bytes,
            line: Vec::new(),
            line_at: 0,
            end: 0,
            other: false,
            longer: false,
            last: None,
            count: 0,
            parts: None,
            incomplete: None,
        }
    }

    /// Whether there was a marked line.
    pub(super) fn any(&self) -> bool {
        self.last.is_some() || self.parts.is_some() || self.incomplete.is_some()
    }

    /// Feeds the next bytes, which begin at byte `at` of the output.
    pub(super) fn push(&mut self, mut data: &[u8], mut at: u64) {
        while !self.marker.is_empty() && !data.is_empty() {
            let end = memchr(b'\n', data);
            let (part, rest) = data.split_at(end.map_or(data.len(), |end| end + 1));
            self.take(part, at);
            at += part.len() as u64;
            self.end = at;
            if end.is_some() {
                self.end_line();
            }
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
        let room = self.marker.len() + PART_MAX_BYTES + SLACK_BYTES - self.line.len();
        self.longer |= part.len() > room;
        self.line.extend(part.iter().take(room));
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if let Some(content) = line.strip_prefix(self.marker.as_slice()).filter(|_| !self.other) {
            let at = self.line_at + self.marker.len() as u64;
            let text = content.strip_suffix(b"\n").unwrap_or(content);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            match text.split_first() {
                Some((b'+', part)) => self.part(part, at),
                Some((b'=', end)) => self.end_parts(end, at),
                _ => {
                    let content = content.to_vec();
                    self.complete(Mark { content, at, parts_end: None, longer: self.longer });
                }
            }
        }
        self.line = line;
        self.line.clear();
        self.other = false;
        self.longer = false;
    }

    fn complete(&mut self, mark: Mark) {
        self.last = Some(mark);
        self.count += 1;
        self.incomplete = None;
    }

    /// `<n> <text>`
    fn part(&mut self, part: &[u8], at: u64) {
        let (number, text) = split_number(part);
        if number == Some(1) {
            self.end_without_sum();
        }
        let max_bytes = self.max_bytes;
        let parts = self.parts.get_or_insert_with(|| Parts { text: Vec::new(), at, count: 0, wrong: None });
        parts.count += 1;
        if parts.wrong.is_some() {
            return;
        }
        let next = parts.count;
        let invalid = |why: String| Some((ResultErrorKind::Invalid, why));
        parts.wrong = match (number, text) {
            (Some(number), _) if number != next => {
                let kind = ResultErrorKind::Truncated;
                Some((kind, format!("the marked line at byte {at} holds part {number} where part {next} was expected")))
            }
            (Some(_), Some(text)) if self.longer || text.len() > PART_MAX_BYTES => {
                let kind = ResultErrorKind::TooLarge;
                Some((kind, format!("the part on the marked line at byte {at} has more than {PART_MAX_BYTES} bytes")))
            }
            (Some(_), Some(text)) if parts.text.len() + text.len() > max_bytes => {
                parts.text = Vec::new();
                let kind = ResultErrorKind::TooLarge;
                Some((
                    kind,
                    format!("the parts from byte {} on are larger than the limit of {max_bytes} bytes", parts.at),
                ))
            }
            (Some(_), Some(text)) => {
                parts.text.extend_from_slice(text);
                None
            }
            _ => invalid(format!("the marked line at byte {at} is not a part: expected `+<number> <text>`")),
        };
    }

    /// `<count> <sha256>`
    fn end_parts(&mut self, end: &[u8], at: u64) {
        let (count, sum) = split_number(end);
        let (Some(count), Some(sum)) = (count, sum) else {
            let message = format!("the marked line at byte {at} ends no parts: expected `=<count> <sha256>`");
            return self.fail(ResultErrorKind::Invalid, message, at);
        };
        let Some(parts) = self.parts.take() else {
            let message = format!("the marked line at byte {at} ends {count} parts, but none came");
            return self.fail(ResultErrorKind::Truncated, message, at);
        };
        if let Some((kind, message)) = parts.wrong {
            return self.fail(kind, message, parts.at);
        }
        if parts.count != count {
            let message = format!("the marked line at byte {at} ends {count} parts, but {} came", parts.count);
            return self.fail(ResultErrorKind::Truncated, message, at);
        }
        let is = data_encoding::HEXLOWER.encode(&Sha256::digest(&parts.text));
        if !is.as_bytes().eq_ignore_ascii_case(sum.trim_ascii()) {
            let message =
                format!("the {count} parts that end at byte {at} do not have the SHA-256 that is given there");
            return self.fail(ResultErrorKind::Invalid, message, at);
        }
        self.complete(Mark { content: parts.text, at: parts.at, parts_end: Some(self.end), longer: false });
    }

    fn fail(&mut self, kind: ResultErrorKind, message: String, at: u64) {
        self.incomplete = Some(ResultError { kind, message, position: Some(at) });
    }

    fn end_without_sum(&mut self) {
        if let Some(Parts { at, count, wrong, .. }) = self.parts.take() {
            let truncated = || {
                let message = format!("the {count} parts from byte {at} on have no line that ends them");
                (ResultErrorKind::Truncated, message)
            };
            let (kind, message) = wrong.unwrap_or_else(truncated);
            self.fail(kind, message, at);
        }
    }

    /// Ends the output. `None`: there is no marked line. Of several, the last complete one decides.
    pub(super) fn finish(mut self, rule: &ReaderRule) -> Result<Option<FoundResult>, ResultError> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.end_without_sum();
        let Some(mark) = self.last else { return self.incomplete.map_or(Ok(None), Err) };
        let mut found = read_mark(&mark, rule)?;
        if self.count > 1 {
            found.warnings.push(format!("{} results are marked; the last one was read", self.count));
        }
        found
            .warnings
            .extend(self.incomplete.map(|error| format!("a later marked result is left out: {}", error.message)));
        Ok(Some(found))
    }
}

/// A number, and what stands after the space behind it.
fn split_number(text: &[u8]) -> (Option<u64>, Option<&[u8]>) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let number = str::from_utf8(number).ok().and_then(|number| number.parse().ok());
    (number, rest.strip_prefix(b" "))
}

fn read_mark(mark: &Mark, rule: &ReaderRule) -> Result<FoundResult, ResultError> {
    if let Some(end) = mark.parts_end {
        let read = read_whole(&mark.content, rule, 0, ResultSource::MarkedLine);
        return match read {
            Ok(found) => Ok(FoundResult { byte_range: Some((mark.at, end)), ..found }),
            Err(error) => {
                let message = format!("in the joined parts from byte {} on: {}", mark.at, error.message);
                Err(ResultError { message, position: Some(mark.at), ..error })
            }
        };
    }
    let (_, content) = trimmed(&mark.content);
    let error = |kind, message: String| Err(ResultError { kind, message, position: Some(mark.at) });
    match content.first() {
        None => error(ResultErrorKind::Invalid, format!("the marked line at byte {} holds nothing", mark.at)),
        Some(_) if mark.longer || content.len() > MARKED_MAX_BYTES => error(
            ResultErrorKind::TooLarge,
            format!("the marked line at byte {} holds more than {MARKED_MAX_BYTES} bytes", mark.at),
        ),
        Some(_) => read_whole(&mark.content, rule, mark.at, ResultSource::MarkedLine),
    }
}
