//! The same texts to CPython and to the reader.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use longshore_reader::{ResultDialect, ResultErrorKind, ResultOutcome};

use crate::compare::{Numbers, difference};
use crate::corpus::{Case, Expected, corpus, seed};
use crate::noise::{Random, noise};
use crate::reading::{read_chunks, read_file, read_output};

/// How many failures of a group are shown.
const SHOWN: usize = 3;

/// Judges every case that `choose` takes, at least `least` of them, and fails with what was wrong, by group.
fn judge(
    least: usize,
    choose: impl Fn(&Case) -> bool,
    mut check: impl FnMut(&Case, &mut Random) -> Result<(), String>,
) {
    let Some(cases) = corpus() else { return };
    let mut random = Random::new(seed());
    let mut failures: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut chosen = 0;
    for case in cases.iter().filter(|case| choose(case)) {
        chosen += 1;
        // A panic is reported with its text, like any other failure.
        let checked = catch_unwind(AssertUnwindSafe(|| check(case, &mut random)));
        if let Err(why) = checked.unwrap_or_else(|panic| Err(panic_message(&*panic))) {
            let text = case.text.escape_ascii();
            failures.entry(&case.group).or_default().push(format!("{why}\n    text: {text:.600}"));
        }
    }
    assert!(chosen >= least, "only {chosen} cases: the corpus does not hold what it is for");
    let mut report = String::new();
    for (group, failures) in &failures {
        writeln!(report, "{group}: {} failed", failures.len()).unwrap();
        // The shortest say most.
        let mut shortest: Vec<&String> = failures.iter().collect();
        shortest.sort_by_key(|failure| failure.len());
        for failure in shortest.iter().take(SHOWN) {
            writeln!(report, "  - {failure}").unwrap();
        }
    }
    let failed: usize = failures.values().map(Vec::len).sum();
    assert!(failed == 0, "{failed} of {chosen} (LONGSHORE_READER_SEED={}):\n{report}", seed());
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    format!("panicked: {:.600}", message.unwrap_or_default())
}

/// Compares one outcome with the object that CPython reads.
fn agrees(outcome: &ResultOutcome, dialect: Option<ResultDialect>, json: &str) -> Result<(), String> {
    let ResultOutcome::Found(found) = outcome else { return Err(format!("{outcome:?} for {json:.300}")) };
    if dialect.is_some_and(|dialect| found.dialect != dialect) {
        return Err(format!("{:?}, but it is {dialect:?}", found.dialect));
    }
    let json_itself = matches!(dialect, Some(ResultDialect::Json | ResultDialect::JsonWithNan));
    let numbers = if json_itself { Numbers::Verbatim } else { Numbers::ByValue };
    let actual = found.json.as_deref().unwrap_or_default();
    match difference(json, actual, numbers) {
        None => Ok(()),
        Some(different) => Err(format!("{different}: {actual:.300} for {json:.300}")),
    }
}

/// The object must come back from a file, from an output of its own, and out of noise.
fn comes_back(case: &Case, random: &mut Random) -> Result<(), String> {
    let Expected::Object(dialect, json) = &case.expected else { unreachable!("chosen") };
    // What stands in parentheses may be reported as what is in them.
    let dialect = case.text.trim_ascii().starts_with(b"{").then_some(*dialect);
    let found =
        |way: &str, outcome: &ResultOutcome| agrees(outcome, dialect, json).map_err(|why| format!("{way}: {why}"));
    found("file", &read_file(&case.text))?;
    let alone = read_output(&case.text);
    found("output", &alone)?;
    let chunked = read_chunks(&case.text, random, 7);
    if chunked != alone {
        return Err(format!("in chunks: {chunked:?}"));
    }
    let mut text = case.text.trim_ascii().to_vec();
    if random.below(4) == 0 && !text.contains(&b'\r') {
        text = text.split(|&byte| byte == b'\n').collect::<Vec<_>>().join(b"\r\n".as_slice());
    }
    let (mut output, after) = (noise(random, true), noise(random, false));
    // In a line of text empty braces count for nothing beside an earlier object.
    let line_end = if json == "{}" { b"\n".as_slice() } else { b"" };
    output.extend_from_slice(line_end);
    let start = output.len();
    output.extend_from_slice(&text);
    let end = output.len();
    output.extend_from_slice(line_end);
    output.extend_from_slice(&after);
    let outcome = read_chunks(&output, random, 4096);
    found("in noise", &outcome).map_err(|why| format!("{why}\n    in: {:.900}", output.escape_ascii()))?;
    match &outcome {
        ResultOutcome::Found(found) if text.starts_with(b"{") => match found.byte_range {
            Some(range) if range == (start as u64, end as u64) => Ok(()),
            range => Err(format!("in noise: at {range:?}, not {start}..{end}")),
        },
        _ => Ok(()),
    }
}

#[test]
fn json_is_read_as_cpython_reads_it() {
    let json =
        |case: &Case| matches!(case.expected, Expected::Object(ResultDialect::Json | ResultDialect::JsonWithNan, _));
    judge(1000, json, comes_back);
}

#[test]
fn python_literals_are_read_as_cpython_reads_them() {
    let python = |case: &Case| matches!(case.expected, Expected::Object(ResultDialect::PythonLiteral, _));
    judge(1000, python, comes_back);
}

#[test]
fn what_cpython_refuses_is_refused() {
    judge(
        1000,
        |case| matches!(case.expected, Expected::Broken(_)),
        |case, _| match (read_file(&case.text), &case.expected) {
            (ResultOutcome::Found(found), Expected::Broken(why)) => Err(format!("read as {found:?}, but: {why}")),
            _ => Ok(()),
        },
    );
}

#[test]
fn a_value_that_is_no_object_is_reported_as_one() {
    judge(
        40,
        |case| matches!(case.expected, Expected::Value),
        |case, _| match read_file(&case.text) {
            ResultOutcome::None(error) if error.kind == ResultErrorKind::NotAnObject => Ok(()),
            // A set begins as an object does.
            ResultOutcome::None(error)
                if error.kind == ResultErrorKind::Invalid && case.text.trim_ascii().starts_with(b"{") =>
            {
                Ok(())
            }
            outcome => Err(format!("{outcome:?}")),
        },
    );
}

/// Whether the text was an object before it was cut somewhere within.
fn cut(case: &Case, group: &str) -> bool {
    let no_object = [b"b'".as_slice(), b"b\""].iter().any(|bytes| memchr::memmem::find(&case.text, bytes).is_some());
    case.group == group && matches!(case.expected, Expected::Broken(_)) && case.text.starts_with(b"{") && !no_object
}

fn truncated(case: &Case, _: &mut Random) -> Result<(), String> {
    for outcome in [read_file(&case.text), read_output(&case.text)] {
        match outcome {
            ResultOutcome::None(error) if error.kind == ResultErrorKind::Truncated => {}
            outcome => return Err(format!("{outcome:?}")),
        }
    }
    Ok(())
}

#[test]
fn json_that_was_cut_is_reported_as_truncated() {
    judge(40, |case| cut(case, "json.dumps, cut"), truncated);
}

#[test]
fn a_python_literal_that_was_cut_is_reported_as_truncated() {
    judge(40, |case| cut(case, "python.repr, cut") || cut(case, "python.pprint, cut"), truncated);
}

#[test]
fn nearly_every_text_is_decided() {
    let Some(cases) = corpus() else { return };
    let undecided = cases.iter().filter(|case| matches!(case.expected, Expected::Undecided)).count();
    assert!(undecided * 50 < cases.len(), "{undecided} of {}", cases.len());
}
