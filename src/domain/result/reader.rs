//! Finds the JSON object that a run produced: in its result file, on a marked line of its output, or
//! by searching the output. Fed bytes as they come; linear in them, bounded in memory, never
//! recursive.

use super::{FoundResult, ResultDialect, ResultError, ResultErrorKind, ResultOutcome, ResultSource};
use crate::domain::log::LogStream;
use crate::domain::spec::ResultScan;

mod compact;
mod grammar;
mod marked;
mod scan;
mod skip;
#[cfg(test)]
mod tests;
mod whole;

use compact::compact;
use marked::Marks;
use scan::{Last, Scanned, Scanner};
use whole::{is_value, read_whole, trimmed};

/// The size at which Kubernetes cuts a result file (termination message), in bytes.
pub const FILE_MAX_BYTES: usize = 4096;
/// Largest object on a marked line, in bytes: longer lines are split on their way.
pub const MARKED_MAX_BYTES: usize = 4096;
/// How much of the output is kept to tell whether it is nothing but some other value.
const OPENING_MAX_BYTES: usize = 4096;

/// What is looked for, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderRule {
    /// Whether the output is searched when there is neither file nor marked line.
    pub scan: ResultScan,
    /// What a marked line begins with. Empty: there are none.
    pub marker: String,
    /// Largest object, in bytes, as it was printed and as it is kept.
    pub max_bytes: usize,
    /// How deep objects and arrays may be nested; 1 is an object of scalars.
    pub max_depth: usize,
    /// How the object may be written.
    pub dialects: Dialects,
}

/// How an object may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialects {
    /// As JSON or as a Python literal.
    #[default]
    Any,
    /// As JSON, NaN and Infinity included.
    Json,
    /// As a Python literal.
    Python,
}

/// Something in the output that might have been the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it was found.
    pub source: ResultSource,
    /// Where it begins: a byte of the output, or of the file.
    pub start: u64,
    /// One past its last byte. `None`: it does not end.
    pub end: Option<u64>,
    /// Whether it is the result.
    pub won: bool,
    /// What became of it, in a few words: `an object, but a later one follows`.
    pub verdict: String,
}

/// Reads one attempt's result.
#[derive(Debug)]
pub struct ResultReader {
    rule: ReaderRule,
    marks: Marks,
    scanner: Option<Scanner>,
    /// The first bytes that were searched.
    opening: Vec<u8>,
    /// Whether these are not all.
    more: bool,
    /// Bytes of output that were fed.
    position: u64,
}

impl ResultReader {
    /// A reader that was fed nothing yet.
    #[must_use]
    pub fn new(rule: ReaderRule) -> Self {
        let scanner = (rule.scan == ResultScan::LastObject).then(|| Scanner::new(rule.max_bytes, rule.max_depth, 0));
        let marks = Marks::new(rule.marker.as_bytes());
        Self { rule, marks, scanner, opening: Vec::new(), more: false, position: 0 }
    }

    /// A reader that also tells what else might have been the result, which takes memory for each.
    #[must_use]
    pub fn explaining(rule: ReaderRule) -> Self {
        Self::new(rule)
    }

    /// Feeds the next bytes of the attempt's output, in order. Those of stderr count for byte ranges
    /// but are not searched; `None` says that the backend does not tell the streams apart.
    pub fn push(&mut self, stream: Option<LogStream>, data: &[u8]) {
        let len = data.len() as u64;
        if stream == Some(LogStream::Stderr) {
            if let Some(scanner) = &mut self.scanner {
                scanner.pass_over(len);
            }
        } else {
            self.marks.push(data, self.position);
            if let Some(scanner) = &mut self.scanner {
                scanner.push(data);
                let room = OPENING_MAX_BYTES - self.opening.len();
                self.opening.extend(data.iter().take(room));
                self.more |= data.len() > room;
            }
        }
        self.position += len;
    }

    /// Ends the output. `file` is what the result file holds; empty or blank: there is none.
    ///
    /// The first place where there is something decides: file, marked line, search. But a file of
    /// [`FILE_MAX_BYTES`] that is no object was cut, and then a marked line may still hold it whole.
    #[must_use]
    pub fn finish(self, file: &[u8]) -> ResultOutcome {
        let Self { rule, marks, scanner, opening, more, position: _ } = self;
        let mut cut = None;
        if !trimmed(file).1.is_empty() {
            match read_whole(file, &rule, 0, ResultSource::File) {
                Err(_) if file.len() == FILE_MAX_BYTES => cut = Some(file_cut()),
                read => return outcome(read),
            }
        }
        if let Some(read) = marks.finish(&rule) {
            return outcome(read);
        }
        if let Some(error) = cut {
            return ResultOutcome::None(error);
        }
        let Some(scanner) = scanner else {
            let message = "there is neither a result file nor a marked line".to_owned();
            return ResultOutcome::None(ResultError { kind: ResultErrorKind::Empty, message, position: None });
        };
        outcome(scanned(scanner.finish(), &rule, if more { None } else { Some(&opening) }))
    }
}

impl ResultReader {
    /// Ends the output, and tells every candidate in the order of their places, if it is explaining.
    #[must_use]
    pub fn finish_explained(self, file: &[u8]) -> (ResultOutcome, Vec<Candidate>) {
        (self.finish(file), Vec::new())
    }
}

fn outcome(read: Result<FoundResult, ResultError>) -> ResultOutcome {
    match read {
        Ok(found) => ResultOutcome::Found(found),
        Err(error) => ResultOutcome::None(error),
    }
}

fn file_cut() -> ResultError {
    ResultError {
        kind: ResultErrorKind::Truncated,
        message: format!("the result file was cut at {FILE_MAX_BYTES} bytes, and no marked line holds the result"),
        position: Some(FILE_MAX_BYTES as u64),
    }
}

/// What the search found. `all` is the whole output if it is short.
fn scanned(scanned: Scanned, rule: &ReaderRule, all: Option<&[u8]>) -> Result<FoundResult, ResultError> {
    let Scanned { last, broken, only_an_array } = scanned;
    match last {
        Last::Object(object) => {
            let mut found = found(&object.raw, rule, object.range, ResultSource::Scan)?;
            if object.enclosed {
                found.warnings.push("the object stood within something that is no JSON".to_owned());
            }
            // Braces alone are often no JSON at all; with a key, it was probably meant as an object.
            if let Some(broken) = broken.filter(|broken| broken.members && broken.at >= object.range.1) {
                found.warnings.push(format!("a later or surrounding object was left out: {}", broken.message()));
            }
            Ok(found)
        }
        Last::Unreadable(error) => Err(error),
        Last::None if only_an_array || all.is_some_and(|all| is_value(trimmed(all).1)) => Err(ResultError {
            kind: ResultErrorKind::NotAnObject,
            message: "the output is a JSON value, but not an object".to_owned(),
            position: None,
        }),
        Last::None => Err(broken.map_or_else(
            || ResultError {
                kind: ResultErrorKind::Empty,
                message: "there is no JSON object in the output".to_owned(),
                position: None,
            },
            |broken| broken.error(),
        )),
    }
}

/// Makes a result of the text of an object that the scanner accepted.
fn found(raw: &[u8], rule: &ReaderRule, range: (u64, u64), source: ResultSource) -> Result<FoundResult, ResultError> {
    let compact = compact(raw, rule.max_bytes).ok_or_else(|| too_large(range.0, rule.max_bytes))?;
    Ok(FoundResult {
        size_bytes: compact.json.len() as u64,
        sha256: data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(compact.json.as_bytes())),
        source,
        dialect: if compact.nans > 0 { ResultDialect::JsonWithNan } else { ResultDialect::Json },
        byte_range: (source != ResultSource::File).then_some(range),
        warnings: compact.warnings(),
        json: Some(compact.json),
    })
}

fn too_large(at: u64, max_bytes: usize) -> ResultError {
    ResultError {
        kind: ResultErrorKind::TooLarge,
        message: format!("the object that begins at byte {at} is larger than the limit of {max_bytes} bytes"),
        position: Some(at),
    }
}
