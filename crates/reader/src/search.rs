//! The search of an output for an object: what is made of what the scanner found.

use super::encoding::{is_gzip, may_be_utf16};
use super::lone::LoneText;
use super::scan::{self, Broken, LastFound, Object, Other, PlaceEvidence, Scanned, Scanner};
use super::whole::{is_value, trimmed};
use super::{Candidate, FoundResult, ReaderRule, ResultError, ResultErrorKind, ResultSource, found};

/// How much of the output is kept to find whether it is nothing but some other value.
const OPENING_MAX_BYTES: usize = 4096;

/// The search of an output.
#[derive(Debug)]
pub(super) struct Search {
    scanner: Scanner,
    lone: LoneText,
    /// The first bytes.
    opening: Vec<u8>,
    /// Whether these are not all.
    more: bool,
}

impl Search {
    /// A search of which nothing was fed yet.
    pub(super) fn new(rule: &ReaderRule) -> Self {
        Self { scanner: Scanner::new(rule, 0), lone: LoneText::default(), opening: Vec::new(), more: false }
    }

    /// Notes every candidate from now on.
    pub(super) fn take_notes(&mut self) {
        self.scanner.take_notes();
    }

    /// Counts bytes of the output that are not searched.
    pub(super) fn pass_over(&mut self, len: u64) {
        self.scanner.pass_over(len);
    }

    /// Searches the next bytes.
    pub(super) fn push(&mut self, data: &[u8]) {
        self.scanner.push(data);
        self.lone.push(data);
        let room = OPENING_MAX_BYTES - self.opening.len();
        self.opening.extend(data.iter().take(room));
        self.more |= data.len() > room;
    }

    /// Ends the output: what is the result, and every candidate if they were noted.
    pub(super) fn finish(self, rule: &ReaderRule) -> (Result<FoundResult, ResultError>, Vec<Candidate>) {
        let Self { scanner, lone, opening, more } = self;
        let lone = lone.finish();
        let mut scanned = scanner.finish();
        let mut candidates = scanned.notes.take().map_or_else(Vec::new, scan::Notes::into_candidates);
        if lone {
            for candidate in &mut candidates {
                "in a string: the whole output is one".clone_into(&mut candidate.verdict);
            }
            return (Err(not_an_object("the output is a string, and not an object")), candidates);
        }
        let is_value = !more && is_value(trimmed(&opening).1, rule);
        let range = match &scanned.last {
            LastFound::Object(object) => Some(object.range),
            _ => None,
        };
        let read = self::scanned(scanned, rule, is_value).map_err(|error| by_encoding(error, &opening));
        let won =
            candidates.iter_mut().rev().find(|candidate| range == candidate.end.map(|end| (candidate.start, end)));
        if let Some(candidate) = won {
            candidate.won = read.is_ok();
            candidate.verdict = verdict(&read);
        }
        (read, candidates)
    }
}

fn verdict(read: &Result<FoundResult, ResultError>) -> String {
    match read {
        Ok(_) => "the last complete object: the result".to_owned(),
        Err(error) => format!("the last complete object, but {}", error.message),
    }
}

/// What the search found. `is_value`: the whole output is some value.
fn scanned(scanned: Scanned, rule: &ReaderRule, is_value: bool) -> Result<FoundResult, ResultError> {
    let only_other = scanned.only_other().is_some();
    let Scanned { last, broken, other, later, .. } = scanned;
    match last {
        LastFound::Object(object) => {
            let range = object.range;
            let doubts = doubts(&object, later);
            let mut found = found(object, rule, ResultSource::Scan)?;
            found.warnings.extend(doubts);
            // Braces alone are often no object at all; with a key, it was probably meant as one.
            if let Some(broken) = broken.filter(|broken| broken.members && (broken.open || broken.at >= range.1)) {
                found.warnings.push(format!("a later or surrounding object is left out: {}", broken.message()));
            }
            Ok(found)
        }
        LastFound::Unreadable(error) => Err(error),
        LastFound::None if only_other || is_value => Err(not_an_object("the output is a value, but not an object")),
        LastFound::None => Err(match (broken, other) {
            // A line of text may have brackets of its own: only a value alone on its lines was meant as one.
            (None | Some(Broken { members: false, .. }), Some(Other { range: (start, end), alone: true })) => {
                let message = format!(
                    "there is no object in the output; its last value, at bytes {start} to {end}, is a list or tuple"
                );
                ResultError { position: Some(start), ..not_an_object(&message) }
            }
            (Some(broken), _) => broken.error(),
            (None, _) => ResultError {
                kind: ResultErrorKind::Empty,
                message: "there is no object in the output".to_owned(),
                position: None,
            },
        }),
    }
}

/// The error of an output that begins with `opening`: what it is written in may be why there is no
/// object.
fn by_encoding(error: ResultError, opening: &[u8]) -> ResultError {
    let what = if is_gzip(opening) {
        "compressed with gzip"
    } else if may_be_utf16(opening) {
        "in UTF-16, by its first bytes, but is not"
    } else {
        return error;
    };
    let message = format!("the output seems to be {what}: print it as UTF-8; {}", error.message);
    ResultError { kind: ResultErrorKind::Invalid, message, ..error }
}

/// What speaks against an object, from its place: one sentence each.
fn doubts(object: &Object, later: Option<(u64, u64)>) -> Vec<String> {
    let mut doubts = Vec::new();
    match object.evidence {
        PlaceEvidence::Empty => doubts.push("the object is empty braces in a line of text".to_owned()),
        PlaceEvidence::Within => doubts.push(
            "the object stands in quotes or in a call such as `f(…)`: it may be a part of something else".to_owned(),
        ),
        PlaceEvidence::InLine | PlaceEvidence::Alone if object.enclosed => {
            doubts.push("the object stands within something that can't be read: it may be a part of it".to_owned());
        }
        PlaceEvidence::InLine | PlaceEvidence::Alone => {}
    }
    if let Some((start, end)) = object.earlier.filter(|_| object.evidence < PlaceEvidence::Alone) {
        doubts.push(format!(
            "an earlier object that is alone on its lines, at bytes {start} to {end}, is left out for this one, \
             which is not"
        ));
    }
    if let Some((start, end)) = later {
        doubts.push(format!("a later object in quotes or in a call, at bytes {start} to {end}, is left out"));
    }
    doubts
}

fn not_an_object(message: &str) -> ResultError {
    ResultError { kind: ResultErrorKind::NotAnObject, message: message.to_owned(), position: None }
}
