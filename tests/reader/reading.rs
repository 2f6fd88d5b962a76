//! Feeding the reader, and what must hold of whatever it says.

use longshore::domain::log::LogStream;
use longshore::domain::result::reader::{Dialects, ReaderRule, ResultReader};
use longshore::domain::result::{FoundResult, ResultOutcome};
use longshore::domain::spec::ResultScan;
use sha2::Digest;

use crate::noise::Random;

pub const MAX_BYTES: usize = 900 * 1024;

pub fn rule() -> ReaderRule {
    ReaderRule {
        scan: ResultScan::LastObject,
        marker: String::new(),
        max_bytes: MAX_BYTES,
        max_depth: 200,
        dialects: Dialects::Any,
    }
}

/// Reads `text` as a result file.
pub fn read_file(text: &[u8]) -> ResultOutcome {
    checked(ResultReader::new(rule()).finish(text), text.len())
}

/// Reads `text` as output that comes in one piece.
pub fn read_output(text: &[u8]) -> ResultOutcome {
    let mut reader = ResultReader::new(rule());
    reader.push(Some(LogStream::Stdout), text);
    checked(reader.finish(b""), text.len())
}

/// Reads `text` as output that comes in pieces of any size up to `most`.
pub fn read_chunks(text: &[u8], random: &mut Random, most: usize) -> ResultOutcome {
    let mut reader = ResultReader::new(rule());
    let mut rest = text;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(1 + random.below(most)));
        reader.push(None, chunk);
        rest = after;
    }
    checked(reader.finish(b""), text.len())
}

/// Holds what is true of every result.
fn checked(outcome: ResultOutcome, len: usize) -> ResultOutcome {
    match &outcome {
        ResultOutcome::Found(FoundResult { json, size_bytes, sha256, byte_range, .. }) => {
            let json = json.as_deref().expect("a result without its text");
            assert_eq!(*size_bytes, json.len() as u64);
            assert_eq!(*sha256, data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(json.as_bytes())));
            serde_json::from_str::<serde::de::IgnoredAny>(json).unwrap_or_else(|e| panic!("{e}: no JSON: {json}"));
            if let Some((start, end)) = *byte_range {
                assert!(start < end && end <= len as u64, "{start}..{end} of {len} bytes");
            }
        }
        ResultOutcome::None(error) => {
            assert!(error.position.is_none_or(|at| at <= len as u64), "{error:?} in {len} bytes");
            assert!(error.message.len() < 1024, "{error:?}");
        }
        ResultOutcome::Unavailable(why) => panic!("unavailable, though all was there: {why}"),
    }
    outcome
}
