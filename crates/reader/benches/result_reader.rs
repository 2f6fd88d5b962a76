//! How fast the result reader is, beside its peers in the same run: `serde_json` to `Value`, CPython's
//! `ast.literal_eval`, and one pass of `memchr` over the bytes. Medians of interleaved rounds.
//!
//!     cargo bench -p longshore-reader --bench result_reader [-- "repr texts"]

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longshore_reader::LogStream;
use longshore_reader::ResultOutcome;
use longshore_reader::ResultScan;
use longshore_reader::{Dialects, ReaderRule, ResultReader};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What the log hub hands on at a time.
const CHUNK: usize = 64 * 1024;
/// Size of a result, in bytes: a little below the default limit.
const RESULT: usize = 800 * 1024;
const NOISE: usize = 64 << 20;
const ROUNDS: usize = 41;
const NOISE_ROUNDS: usize = 9;

/// Times `literal_eval` of what is on stdin, the median of five.
const LITERAL_EVAL: &str = r"
import ast, statistics, sys, time
text = sys.stdin.buffer.read().decode()
times = []
for _ in range(5):
    start = time.perf_counter()
    value = ast.literal_eval(text)
    times.append(time.perf_counter() - start)
print(statistics.median(times))
";

fn read(output: &[u8]) -> ResultOutcome {
    let rule = ReaderRule {
        scan: ResultScan::LastObject,
        marker: "::longshore-result-7d1f0a3c9e5b::".to_owned(),
        max_bytes: 900 * 1024,
        max_depth: 200,
        dialects: Dialects::Any,
    };
    let mut reader = ResultReader::new(rule);
    for chunk in output.chunks(CHUNK) {
        reader.push(Some(LogStream::Stdout), black_box(chunk));
    }
    reader.finish(b"")
}

/// How long `work` takes; what it returns is dropped outside of that.
fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let made = black_box(work());
    let time = start.elapsed();
    drop(made);
    time
}

/// The medians of two works, done in turn.
fn interleaved<A, B>(rounds: usize, one: impl Fn() -> A, other: impl Fn() -> B) -> (Duration, Duration) {
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        times.0.push(timed(&one));
        times.1.push(timed(&other));
    }
    times.0.sort_unstable();
    times.1.sort_unstable();
    (times.0[rounds / 2], times.1[rounds / 2])
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / 1e6
}

/// Rows until the text is as large as a result may be.
fn grown(wrap: impl Fn(Vec<Value>) -> Value, row: impl Fn(usize) -> Value) -> Value {
    let mut rows = Vec::new();
    let mut size = 0;
    while size < RESULT {
        let row = row(rows.len());
        size += row.to_string().len() + 1;
        rows.push(row);
    }
    wrap(rows)
}

fn table() -> Value {
    let columns = json!(["id", "customer", "amount", "ratio", "paid", "note", "created_at"]);
    grown(
        |rows| json!({"columns": columns, "rows": rows, "row_count": rows.len(), "status": "ok"}),
        |n| {
            let note = if n % 3 == 0 { Value::Null } else { json!(format!("order {n} of café No. {}", n % 17)) };
            let day = format!("2026-{:02}-{:02}T08:{:02}:00Z", 1 + n % 12, 1 + n % 28, n % 60);
            json!([
                n,
                format!("customer-{}", n * 7919 % 10_000),
                n * 37 % 100_000,
                n as f64 / 7.0,
                n % 2 == 0,
                note,
                day
            ])
        },
    )
}

fn objects() -> Value {
    grown(
        |items| json!({"items": items, "next": null}),
        |n| {
            json!({
                "metadata": {"name": format!("item-{n}"), "labels": {"app": "demo", "tier": "back"}, "generation": n},
                "spec": {"replicas": n % 5, "ports": [{"port": 80, "protocol": "TCP"}, {"port": 443}], "paused": false},
                "status": {"ready": n % 3 == 0, "load": n as f64 / 3.0, "conditions": []},
            })
        },
    )
}

fn texts() -> Value {
    let text = "The quick brown fox jumps over the lazy dog, \"twice\", at C:\\fox — naïvely.\n\tIt's what foxes do. ";
    grown(|texts| json!({"documents": texts}), |n| json!({"text": format!("{n}: {}", text.repeat(6)), "page": n}))
}

/// As `print` prints it in Python.
fn repr(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => write!(out, "{number}").unwrap(),
        Value::String(text) => {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            out.push(quote);
            for character in text.chars() {
                match character {
                    '\n' => out.push_str("\\n"),
                    '\t' => out.push_str("\\t"),
                    '\\' => out.push_str("\\\\"),
                    _ if character == quote => write!(out, "\\{quote}").unwrap(),
                    _ => out.push(character),
                }
            }
            out.push(quote);
        }
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                repr(value, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                repr(&Value::String(key.clone()), out);
                out.push_str(": ");
                repr(value, out);
            }
            out.push('}');
        }
    }
}

fn check(what: &str, outcome: &ResultOutcome, expected: &Value) {
    match outcome {
        ResultOutcome::Found(found) => {
            let json = found.json.as_deref().unwrap();
            // As read from text, since serde_json does not read every float back as it printed it.
            let expected: Value = serde_json::from_str(&expected.to_string()).unwrap();
            assert!(serde_json::from_str::<Value>(json).unwrap() == expected, "{what}: another object");
        }
        ResultOutcome::None(error) => println!("{what}: NOT READ, so its figures mean nothing: {}", error.message),
        ResultOutcome::Unavailable(why) => panic!("{why}"),
    }
}

fn literal_eval(text: &str) -> Option<Duration> {
    let mut python =
        Command::new("python3").args(["-c", LITERAL_EVAL]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    python.stdin.take()?.write_all(text.as_bytes()).ok()?;
    let output = python.wait_with_output().ok().filter(|output| output.status.success())?;
    let seconds: f64 = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs_f64(seconds))
}

/// Whether a line is asked for: all are, unless some words of it are an argument.
fn wanted(line: &str) -> bool {
    std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).all(|words| line.contains(&words))
}

fn results() {
    let values = [("table", table()), ("objects", objects()), ("texts", texts())];
    for (name, value) in values.iter().filter(|(name, _)| wanted(&format!("json {name}"))) {
        let json = value.to_string();
        check(&format!("json {name}"), &read(json.as_bytes()), value);
        let peer = || serde_json::from_slice::<Value>(black_box(json.as_bytes())).unwrap();
        let (ours, peers) = interleaved(ROUNDS, || read(json.as_bytes()), peer);
        // What is read has its SHA-256 too, which the peer does not make.
        let (sum, _) = interleaved(ROUNDS, || Sha256::digest(black_box(json.as_bytes())), || ());
        println!(
            "json {name:8} {:7.0} MB/s  serde_json {:6.0} MB/s  ratio {:6.2}  (bar 0.9)  {:5.2} if that hashed too",
            rate(json.len(), ours),
            rate(json.len(), peers),
            peers.as_secs_f64() / ours.as_secs_f64(),
            (peers + sum).as_secs_f64() / ours.as_secs_f64(),
        );
    }
    for (name, value) in values.iter().filter(|(name, _)| wanted(&format!("repr {name}"))) {
        let mut text = String::new();
        repr(value, &mut text);
        check(&format!("repr {name}"), &read(text.as_bytes()), value);
        let (ours, _) = interleaved(ROUNDS, || read(text.as_bytes()), || ());
        print!("repr {name:8} {:7.0} MB/s  (bar 100)", rate(text.len(), ours));
        match literal_eval(&text) {
            Some(peers) => println!(
                "  literal_eval {:5.1} MB/s  ratio {:6.0}  (bar 30)",
                rate(text.len(), peers),
                peers.as_secs_f64() / ours.as_secs_f64(),
            ),
            None => println!("  literal_eval: NOT RUN, needs python3"),
        }
    }
}

fn log_lines(line: impl Fn(usize) -> String) -> Vec<u8> {
    let mut lines = String::with_capacity(NOISE + 256);
    let mut n = 0;
    while lines.len() < NOISE {
        lines.push_str(&line(n));
        n += 1;
    }
    lines.into_bytes()
}

fn noise() {
    let plain =
        |n: usize| format!("2026-11-21T08:{:02}:{:02}Z INFO  worker: batch {n} done, 128 rows\n", n / 60 % 60, n % 60);
    let quoted =
        |n: usize| format!("[2026-11-21 08:{:02}] WARN it's slow: \"GET /items/{n}\" took 12 ms [x]\n", n % 60);
    type Line = dyn Fn(usize) -> String;
    let kinds: [(&str, &str, &Line); 2] = [("plain", "bar 1000", &plain), ("brackets", "no bar", &quoted)];
    for (name, bar, line) in kinds.into_iter().filter(|(name, ..)| wanted(&format!("noise {name}"))) {
        let lines = log_lines(line);
        let peer = || memchr::memchr3_iter(b'{', b'[', b'\0', black_box(&lines)).count();
        let (ours, peers) = interleaved(NOISE_ROUNDS, || read(&lines), peer);
        println!(
            "noise {name:8} {:6.0} MB/s  ({bar})  memchr3 {:6.0} MB/s  ratio {:5.2}",
            rate(lines.len(), ours),
            rate(lines.len(), peers),
            peers.as_secs_f64() / ours.as_secs_f64(),
        );
    }
}

fn main() {
    results();
    noise();
}
