//! Feeding the reader, and what must hold of whatever it says. The fuzz targets share it.

use longshore_reader::LogStream;
use longshore_reader::ResultScan;
use longshore_reader::{Dialects, ReaderRule, ResultReader};
use longshore_reader::{FoundResult, ResultOutcome};
use sha2::Digest;

use crate::noise::Random;

pub fn rule() -> ReaderRule {
    ReaderRule {
        scan: ResultScan::LastObject,
        marker: String::new(),
        max_bytes: 900 * 1024,
        max_depth: 200,
        dialects: Dialects::Any,
    }
}

/// Reads `file` as a result file, and `output` in pieces of the sizes that `sizes` gives.
pub fn read(rule: &ReaderRule, file: &[u8], output: &[u8], mut sizes: impl FnMut() -> usize) -> ResultOutcome {
    let mut reader = ResultReader::new(rule.clone());
    let mut rest = output;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(sizes().max(1)));
        reader.push(Some(LogStream::Stdout), chunk);
        rest = after;
    }
    let outcome = reader.finish(file);
    check(&outcome, rule, file.len().max(output.len()));
    outcome
}

/// Reads `text` as a result file.
pub fn read_file(text: &[u8]) -> ResultOutcome {
    read(&rule(), text, b"", || 1)
}

/// Reads `text` as output that comes in one piece.
pub fn read_output(text: &[u8]) -> ResultOutcome {
    read(&rule(), b"", text, || usize::MAX)
}

/// Reads `text` as output that comes in pieces of any size up to `most`.
pub fn read_chunks(text: &[u8], random: &mut Random, most: usize) -> ResultOutcome {
    read(&rule(), b"", text, || 1 + random.below(most))
}

/// Holds what is true of everything that is said of `len` bytes.
fn check(outcome: &ResultOutcome, rule: &ReaderRule, len: usize) {
    match outcome {
        ResultOutcome::Found(FoundResult { json, size_bytes, sha256, byte_range, .. }) => {
            let json = json.as_deref().expect("a result without its text");
            assert!(json.len() <= rule.max_bytes, "{} bytes where {} are kept", json.len(), rule.max_bytes);
            assert_eq!(*size_bytes, json.len() as u64);
            assert_eq!(*sha256, data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(json.as_bytes())));
            assert!(json.starts_with('{'), "no object: {json}");
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
}
