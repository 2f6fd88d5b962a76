//! How much the reader holds while it reads far more than it may keep: at most three times its limit.
//!
//! One test only: the allocator counts the whole process.

#![allow(clippy::panic, clippy::print_stderr, clippy::unwrap_used, reason = "a test fails by panicking")]

use longshore_reader::LogStream;
use longshore_reader::ResultScan;
use longshore_reader::{Dialects, ReaderRule, ResultReader};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const MAX_BYTES: usize = 900 * 1024;
/// What is fed of each shape, in bytes: the release build has the time for much.
const TOTAL: usize = if cfg!(debug_assertions) { 6_000_000 } else { 200_000_000 };
/// What is fed at a time, as the log hub does.
const CHUNK: usize = 64 * 1024;

const SHAPES: &[(&str, &str)] = &[
    ("", r#"{"a":"#),
    ("", r#"[{"":"#),
    ("", "{'a':"),
    ("", "{"),
    ("", "["),
    ("[", "{},"),
    ("", "{\"a\": 1, \"b\": [1, 2, 3]}\n"),
    ("{\"a\":\"", "x"),
    ("{'a':'''", "{'"),
    ("{\"a\":[1", ",1"),
];

/// The most that was held above `before`, while `opening` and then `unit` again and again were read.
fn held(opening: &str, unit: &str) -> usize {
    let chunk = unit.repeat(CHUNK / unit.len());
    let rule = ReaderRule {
        scan: ResultScan::LastObject,
        marker: "::result::".to_owned(),
        max_bytes: MAX_BYTES,
        max_depth: 200,
        dialects: Dialects::Any,
    };
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let mut reader = ResultReader::new(rule);
    reader.push(Some(LogStream::Stdout), opening.as_bytes());
    for _ in 0..TOTAL / chunk.len() {
        reader.push(Some(LogStream::Stdout), chunk.as_bytes());
    }
    let _outcome = reader.finish(b"");
    ALLOCATED.peak_usage() - before
}

/// An object of nearly the limit, made of `row`, with as much noise after it.
fn held_by_result(row: &str) -> usize {
    let rows = row.repeat((MAX_BYTES - 64) / row.len());
    let opening = format!("{{\"rows\":[{}]}}\n", rows.trim_end_matches(','));
    held(&opening, "no brace in this line\n")
}

#[test]
fn at_most_three_times_the_limit_is_held() {
    let mut held: Vec<(String, usize)> =
        SHAPES.iter().map(|(opening, unit)| (format!("{opening}{unit}…"), held(opening, unit))).collect();
    for row in [r#"[1,"abc",null,2.5],"#, "{},", r#"{"a":1,"a":2,"b":{"c":[]}},"#, "NaN,", "1,", r#""\ud800","#] {
        held.push((format!("a result of {row}"), held_by_result(row)));
    }
    for (shape, bytes) in &held {
        eprintln!("{:8.2} × the limit: {shape}", *bytes as f64 / MAX_BYTES as f64);
    }
    let over: Vec<_> = held.iter().filter(|(_, bytes)| *bytes > 3 * MAX_BYTES).collect();
    assert!(over.is_empty(), "over {} bytes: {over:?}", 3 * MAX_BYTES);
}
