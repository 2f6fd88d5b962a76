//! The corpus that `corpus.py` prints, made once for all tests.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use longshore_reader::ResultDialect;
use serde::Deserialize;

/// A text, and what CPython makes of it.
#[derive(Debug)]
pub struct Case {
    pub text: Vec<u8>,
    /// How it was made.
    pub group: String,
    pub expected: Expected,
}

#[derive(Debug)]
pub enum Expected {
    /// An object: its compact JSON.
    Object(ResultDialect, String),
    /// A value, but not an object.
    Value,
    /// Neither, for this reason.
    Broken(String),
    /// Longshore's rules do not say.
    Undecided,
}

#[derive(Debug, Deserialize)]
struct Line {
    text: String,
    group: String,
    verdict: String,
    dialect: Option<ResultDialect>,
    detail: String,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

pub fn seed() -> u64 {
    number("LONGSHORE_READER_SEED", 20_261_121)
}

/// `None` where there is no `python3`, which is said.
pub fn corpus() -> Option<&'static [Case]> {
    static CORPUS: OnceLock<Option<Vec<Case>>> = OnceLock::new();
    CORPUS.get_or_init(generate).as_deref()
}

fn generate() -> Option<Vec<Case>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/corpus.py");
    let cases = number("LONGSHORE_READER_CASES", 8000);
    let output = Command::new("python3")
        .args(["-B", "-X", "utf8"])
        // Sets in the same order each time: a seed is one corpus.
        .env("PYTHONHASHSEED", "0")
        .arg(script)
        .args([seed().to_string(), cases.to_string()])
        .stderr(Stdio::inherit())
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let required = std::env::var("LONGSHORE_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "the comparison with CPython needs python3");
            eprintln!("NOT RUN: the comparison with CPython needs python3");
            return None;
        }
        output => output.expect("python3"),
    };
    assert!(output.status.success(), "corpus.py: {}", output.status);
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(|line| case(serde_json::from_slice(line).unwrap())).collect())
}

fn case(line: Line) -> Case {
    let expected = match (line.verdict.as_str(), line.dialect) {
        ("object", Some(dialect)) => Expected::Object(dialect, line.detail),
        ("value", _) => Expected::Value,
        ("broken", _) => Expected::Broken(line.detail),
        ("undecided", _) => Expected::Undecided,
        other => panic!("{other:?}"),
    };
    Case { text: data_encoding::BASE64.decode(line.text.as_bytes()).unwrap(), group: line.group, expected }
}
