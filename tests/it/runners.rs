//! `docs/runner-contract.md`: what it says of the reader, and its runners in `examples/` as profiles of a daemon.

#![allow(clippy::print_stderr, reason = "prints what is skipped")]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore::domain::result::reader::{Dialects, FILE_MAX_BYTES, ReaderRule, ResultReader};
use longshore::domain::result::{ResultDialect as Dialect, ResultOutcome};
use longshore::domain::run::spec::ResultScan;
use longshore::proto::v1::{FailureReason, ResultDialect, ResultSource, ResultState, RunSpec, RunState};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data::daemon;
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::spec::{json_input, runner};

/// Up to this number there are primes for some 200 KB.
const MANY: usize = 350_000;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Where this `python3` really is, whatever stands before it in the path. `None` if there is none, which is said.
pub(crate) fn python() -> Option<PathBuf> {
    match Command::new("python3").args(["-c", "import sys; print(sys.executable, end='')"]).output() {
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            Some(String::from_utf8(output.stdout).unwrap().into())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let required = std::env::var("LONGSHORE_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "the Python runner needs python3");
            eprintln!("NOT RUN: the Python runner needs python3");
            None
        }
        Err(error) => panic!("python3: {error}"),
    }
}

/// The Rust runner, built as these tests are: cargo builds no examples for a single test target.
fn built() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--offline", "--message-format=json", "--example", "runner"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // What cargo passes to a test of its package would have crates built anew whose build scripts ask for it (ring),
    // and so all that is above them; and again by the next cargo outside.
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        cargo.env_remove(name);
    }
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut messages = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let path = messages.find_map(|message: Value| {
        let ours = message["target"]["name"] == "runner";
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    });
    path.expect("cargo says where it is")
}

/// A daemon whose profile `primes` is this command.
async fn with_runner(command: &[&Path]) -> (TempDir, Daemon) {
    let dir = TempDir::with_prefix("longshore-it-").unwrap();
    let command: Vec<_> = command.iter().map(|word| word.to_str().expect("UTF-8")).collect();
    let config = format!(
        r#"
        local.bwrap = "off"
        [profiles.primes]
        reports_status = true
        result_schema = """{{
            "properties": {{
                "status": {{ "enum": ["success", "error"] }},
                "count": {{ "type": "integer" }},
                "primes": {{ "type": "array", "items": {{ "type": "integer" }} }}
            }},
            "required": ["status", "count", "primes", "error"]
        }}"""
        local.command = {command:?}
        defaults.result = "required"
        "#
    );
    let daemon = daemon(&dir, &config).await;
    (dir, daemon)
}

fn primes(input: &str) -> RunSpec {
    RunSpec { input: Some(json_input(input)), ..runner("primes") }
}

/// What the runner gives for 0, a few and many; and how it fails.
async fn check(command: &[&Path]) {
    let (_dir, daemon) = with_runner(command).await;
    let client = daemon.client().ready().await;
    small(&client).await;
    large(&client).await;
    failing(&client).await;
}

async fn small(client: &Client) {
    for (limit, primes_up_to) in [("0", json!([])), ("30", json!([2, 3, 5, 7, 11, 13, 17, 19, 23, 29]))] {
        let run = client.run(primes(limit)).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:#?}");
        let result = run.result.expect("the result");
        assert_eq!((result.source(), result.dialect()), (ResultSource::File, ResultDialect::Json), "{result:?}");
        assert_eq!(result.warnings, [""; 0]);
        let object: Value = serde_json::from_str(&result.json).unwrap();
        let count = primes_up_to.as_array().map(Vec::len);
        let expected = json!({"status": "success", "count": count, "primes": primes_up_to, "error": null});
        assert_eq!(object, expected);
    }
}

async fn large(client: &Client) {
    let run = client.run(primes(&MANY.to_string())).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:#?}");
    client.logs(&run.name).await.assert_complete();
    let result = run.result.expect("the result");
    assert_eq!((result.source(), result.dialect()), (ResultSource::MarkedLine, ResultDialect::Json), "{result:?}");
    assert_eq!(result.warnings, [""; 0]);
    assert!(result.size_bytes > 40 * FILE_MAX_BYTES as i64, "{} bytes", result.size_bytes);
    let object: Value = serde_json::from_str(&result.json).unwrap();
    let expected = sieve(MANY);
    assert_eq!(object["count"], expected.len());
    assert_eq!(object["primes"], json!(expected));
}

async fn failing(client: &Client) {
    for input in ["\"many\"", "-1", "1000001"] {
        let run = client.run(primes(input)).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(1)), "{run:#?}");
        let failure = run.failure.expect("a failure");
        assert_eq!(failure.reason(), FailureReason::RunnerReported, "{failure:?}");
        let said = "the runner reported an error: INVALID_INPUT: the input is no integer from 0 to 1000000";
        assert_eq!(failure.message, said);
        let result = run.result.expect("the result");
        assert_eq!((result.state(), result.source()), (ResultState::Found, ResultSource::File), "{result:?}");
    }
}

/// Counted another way than the runners do.
fn sieve(limit: usize) -> Vec<usize> {
    let mut primes: Vec<usize> = Vec::new();
    for number in 2..=limit {
        if !primes.iter().take_while(|prime| *prime * *prime <= number).any(|prime| number % prime == 0) {
            primes.push(number);
        }
    }
    primes
}

#[tokio::test]
async fn the_python_runner() {
    let Some(python) = python() else { return };
    check(&[&python, &source("runner.py")]).await;
}

#[tokio::test]
async fn the_shell_runner() {
    check(&[Path::new("sh"), &source("runner.sh")]).await;
}

#[tokio::test]
async fn the_rust_runner() {
    check(&[&built()]).await;
}

/// What the scan makes of a text: compact JSON or the kind of error, whether it warns, and the dialect.
fn scan(text: &str) -> (String, bool, Option<Dialect>) {
    let rule = ReaderRule {
        scan: ResultScan::LastObject,
        marker: String::new(),
        max_bytes: 921_600,
        max_depth: 200,
        dialects: Dialects::Any,
    };
    let mut reader = ResultReader::new(rule);
    reader.push(None, text.as_bytes());
    match reader.finish(b"") {
        ResultOutcome::Found(found) => (found.json.unwrap(), !found.warnings.is_empty(), Some(found.dialect)),
        ResultOutcome::None(error) => (json!(error.kind).as_str().unwrap().to_owned(), false, None),
        ResultOutcome::Unavailable(why) => panic!("{text}: {why}"),
    }
}

/// The rows of all tables with this header, as their cells.
fn rows<'a>(page: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let mut inside = false;
    let mut rows = Vec::new();
    for line in page.lines() {
        if line.starts_with(header) {
            inside = true;
        } else if let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix('|')).filter(|_| inside) {
            let cells: Vec<_> = row.split(" | ").map(str::trim).collect();
            rows.extend((!cells.iter().all(|cell| cell.starts_with("---"))).then_some(cells));
        } else {
            inside = false;
        }
    }
    rows
}

/// A span of code, its line feeds as the page shows them.
fn code(cell: &str) -> Option<String> {
    Some(cell.strip_prefix('`')?.strip_suffix('`')?.replace('\u{23ce}', "\n"))
}

#[test]
fn the_page_says_what_the_reader_does() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runner-contract.md")).unwrap();
    let rows = rows(&page, "| printed | read as |");
    assert!(rows.len() > 60, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let [printed, read_as, remark] = row[..] else { panic!("not three cells: {row:?}") };
        let printed = code(printed).unwrap_or_else(|| panic!("no code: {printed}"));
        let expected = code(read_as).unwrap_or_else(|| read_as.to_owned());
        let (outcome, warned, dialect) = scan(&printed);
        let nan = remark.contains("JSON_WITH_NAN") == (dialect == Some(Dialect::JsonWithNan));
        if outcome != expected || warned != remark.starts_with("warning") || !nan {
            wrong.push(format!("{printed}: {outcome}, warned: {warned}, {dialect:?}, not {expected} ({remark})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
