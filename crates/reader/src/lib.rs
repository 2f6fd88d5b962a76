//! Finds the JSON object that a run produced: in its result file, on a marked line of its output, or
//! by searching the output. Fed bytes as they come; linear in them, bounded in memory, never
//! recursive.

mod compact;
mod encoding;
mod lex;
mod lone;
mod marked;
mod offsets;
mod outcome;
mod python;
mod rule;
mod scan;
mod search;
mod syntax;
#[cfg(test)]
mod tests;
mod whole;

use compact::compact;
pub use encoding::{Decoder, may_be_utf16};
use marked::Marks;
pub use outcome::{
    FoundResult, ResultDialect, ResultError, ResultErrorKind, ResultInfo, ResultOutcome, ResultSource, ResultState,
};
use python::{Unreadable, rewrite};
pub use rule::{LogStream, OneDialect, ResultScan};
use scan::Object;
use search::Search;
use whole::{read_whole, trimmed};

/// The size at which Kubernetes cuts a result file (termination message), in bytes.
pub const FILE_MAX_BYTES: usize = 4096;
/// Largest object on a marked line, in bytes: longer lines are split on their way.
pub const MARKED_MAX_BYTES: usize = 4096;
/// Largest text of a marked part, in bytes.
pub const PART_MAX_BYTES: usize = 6144;
/// How deep objects and arrays may be nested in a run's result: CPython reads no deeper.
pub const MAX_DEPTH: usize = 200;
/// How much text is shown with an error.
const SHOWN_BYTES: usize = 32;
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

impl From<Option<OneDialect>> for Dialects {
    fn from(one: Option<OneDialect>) -> Self {
        match one {
            None => Self::Any,
            Some(OneDialect::Json) => Self::Json,
            Some(OneDialect::PythonLiteral) => Self::Python,
        }
    }
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
    search: Option<Search>,
    decoder: Decoder,
    /// Bytes of output that were fed; those that are searched, once they turn out to be UTF-16, count
    /// as UTF-8.
    position: u64,
}

impl ResultReader {
    /// A reader that was fed nothing yet.
    #[must_use]
    pub fn new(rule: ReaderRule) -> Self {
        let search = (rule.scan == ResultScan::LastObject).then(|| Search::new(&rule));
        Self { marks: Marks::new(&rule), rule, search, decoder: Decoder::default(), position: 0 }
    }

    /// A reader that also reports what else might have been the result, which takes memory for
    /// each.
    #[must_use]
    pub fn explaining(rule: ReaderRule) -> Self {
        let mut reader = Self::new(rule);
        if let Some(search) = &mut reader.search {
            search.take_notes();
        }
        reader
    }

    /// Feeds the next bytes of the attempt's output, in order. Those of stderr count for byte ranges
    /// but are not searched; `None` says that the backend does not distinguish the streams.
    pub fn push(&mut self, stream: Option<LogStream>, data: &[u8]) {
        if stream == Some(LogStream::Stderr) {
            let len = data.len() as u64;
            if !self.decoder.is_utf16() {
                // What waits to be distinguished came before.
                self.end_decoder();
            }
            if let Some(search) = &mut self.search {
                search.pass_over(len);
            }
            self.position += len;
        } else {
            let mut decoder = std::mem::take(&mut self.decoder);
            decoder.push(data, |text| self.read(text));
            self.decoder = decoder;
        }
    }

    fn end_decoder(&mut self) {
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.finish(|text| self.read(text));
        self.decoder = decoder;
    }

    fn read(&mut self, text: &[u8]) {
        self.marks.push(text, self.position);
        // What is marked decides, whatever it is.
        self.search.take_if(|_| self.marks.any());
        if let Some(search) = &mut self.search {
            search.push(text);
        }
        self.position += text.len() as u64;
    }

    /// Ends the output. `file` is what the result file holds; empty or blank: there is none.
    ///
    /// The first place where there is something decides: file, marked line, search. But a file of
    /// [`FILE_MAX_BYTES`] that is no object was cut, and then a marked line may still hold it whole.
    #[must_use]
    pub fn finish(self, file: &[u8]) -> ResultOutcome {
        self.finish_explained(file).0
    }

    /// Ends the output, and reports every candidate in the order of their places, if it is
    /// explaining.
    #[must_use]
    pub fn finish_explained(mut self, file: &[u8]) -> (ResultOutcome, Vec<Candidate>) {
        self.end_decoder();
        let is_utf16 = self.decoder.is_utf16();
        let Self { rule, marks, search, .. } = self;
        let mut cut = None;
        if !trimmed(file).1.is_empty() {
            match read_whole(file, &rule, 0, ResultSource::File) {
                Err(_) if file.len() == FILE_MAX_BYTES => cut = Some(file_cut()),
                read => {
                    let candidate = only_candidate(&read, ResultSource::File, (0, file.len() as u64));
                    return (outcome(read), vec![candidate]);
                }
            }
        }
        let (read, candidates) = if let Some(read) = marks.finish(&rule).transpose() {
            let at = read.as_ref().err().and_then(|error| error.position).unwrap_or_default();
            let candidate = only_candidate(&read, ResultSource::MarkedLine, (at, at));
            (read, vec![candidate])
        } else if let Some(error) = cut {
            (Err(error), Vec::new())
        } else if let Some(search) = search {
            search.finish(&rule)
        } else {
            let message = "there is neither a result file nor a marked line".to_owned();
            (Err(ResultError { kind: ResultErrorKind::Empty, message, position: None }), Vec::new())
        };
        (outcome(if is_utf16 { without_places(read) } else { read }), candidates)
    }
}

/// What was read of a text in UTF-16, whose bytes were not counted.
fn without_places(read: Result<FoundResult, ResultError>) -> Result<FoundResult, ResultError> {
    match read {
        Ok(found) => Ok(FoundResult { byte_range: None, ..found }),
        Err(ResultError { position: None, kind, message }) => Err(ResultError { position: None, kind, message }),
        Err(ResultError { kind, message, .. }) => {
            let message = format!("{message} (in UTF-16; the bytes are those of the same text in UTF-8)");
            Err(ResultError { kind, message, position: None })
        }
    }
}

/// What a file or marked line is.
fn only_candidate(read: &Result<FoundResult, ResultError>, source: ResultSource, place: (u64, u64)) -> Candidate {
    let range = read.as_ref().ok().and_then(|found| found.byte_range).unwrap_or(place);
    let verdict = match read {
        Ok(_) => "an object: the result".to_owned(),
        Err(error) => error.message.clone(),
    };
    Candidate { source, start: range.0, end: (range.1 > range.0).then_some(range.1), won: read.is_ok(), verdict }
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

/// Text as it is shown in a sentence: what is not UTF-8 replaced, control characters escaped.
fn shown(text: &[u8]) -> String {
    let mut shown = String::new();
    for char in String::from_utf8_lossy(text).chars() {
        match char.is_control() {
            true => shown.extend(char.escape_default()),
            false => shown.push(char),
        }
    }
    shown
}

/// Makes a result of an object that the scanner accepted.
fn found(object: Object, rule: &ReaderRule, source: ResultSource) -> Result<FoundResult, ResultError> {
    let Object { raw, range, json, compact: is_compact, .. } = object;
    let (text, changes) = if json {
        compact(raw, is_compact, rule.max_bytes).ok_or_else(|| too_large(range.0, rule.max_bytes as u64))?
    } else {
        rewrite(&raw, rule.max_bytes).map_err(|unreadable| match unreadable {
            Unreadable::TooLarge => too_large(range.0, rule.max_bytes as u64),
            Unreadable::At(at, what) => python_error(&raw, at, what, range.0),
        })?
    };
    let dialect = match (json, changes.nans) {
        (false, _) => ResultDialect::PythonLiteral,
        (true, 0) => ResultDialect::Json,
        (true, _) => ResultDialect::JsonWithNan,
    };
    Ok(FoundResult {
        size_bytes: text.len() as u64,
        sha256: data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(text.as_bytes())),
        source,
        dialect,
        byte_range: (source != ResultSource::File).then_some(range),
        warnings: changes.warnings(),
        json: Some(text),
    })
}

/// An object that is complete, but holds what can't be a result.
fn python_error(raw: &[u8], at: usize, what: &str, start: u64) -> ResultError {
    let position = start + at as u64;
    let shown = shown(raw.get(at..).map_or(&[], |rest| rest.get(..SHOWN_BYTES).unwrap_or(rest)));
    ResultError {
        kind: ResultErrorKind::Invalid,
        message: format!("the Python literal that begins at byte {start} holds {what}, at byte {position}: `{shown}`"),
        position: Some(position),
    }
}

fn too_large(at: u64, max_bytes: u64) -> ResultError {
    ResultError {
        kind: ResultErrorKind::TooLarge,
        message: format!("the object that begins at byte {at} is larger than the limit of {max_bytes} bytes"),
        position: Some(at),
    }
}
