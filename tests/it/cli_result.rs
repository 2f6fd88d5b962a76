//! `longshore result`: the executable on files and pipes.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};

use longshore::proto::v1 as pb;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli_client::{Printed, command, printed};
use crate::fake_server::{FakeServer, Script, run, succeeded_with};

/// What Python, a terminal and a person leave around a result.
const LOG: &str = "\u{feff}loading… 10%\rloading… 100%\r\n\
    step: {\"step\": 1}\n\
    \x1b[32mINFO\x1b[0m use {braces} as you like\n\
    total: {\"orders\": 123456789012345678901234567890, \"revenue\": 26480.50,\n  \"cities\": [\"Kraków\", {}]} in 3 s\n\
    bye\n";
const OBJECT: &str = "{\"orders\":123456789012345678901234567890,\"revenue\":26480.50,\"cities\":[\"Kraków\",{}]}\n";

fn start(arguments: &[&str]) -> Child {
    let arguments = [&["result"], arguments].concat();
    let mut command = command(&arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// `longshore result` with these arguments, and this on its stdin.
fn read(arguments: &[&str], text: &[u8]) -> Printed {
    let mut child = start(arguments);
    // One that does not read stdin may be gone already.
    let _ = child.stdin.take().unwrap().write_all(text);
    printed(child.wait_with_output().unwrap())
}

fn file(dir: &TempDir, text: &[u8]) -> String {
    let path = dir.path().join("out.log");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What is printed of `text`, the same whether it is a file or comes through a pipe.
fn read_both(arguments: &[&str], text: &[u8]) -> Printed {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, text);
    let piped = read(&[arguments, &["-"]].concat(), text);
    let of_file = read(&[arguments, &[&path]].concat(), b"");
    assert_eq!((of_file.code, of_file.stdout()), (piped.code, piped.stdout()), "{arguments:?}");
    assert_eq!(of_file.stderr.replace(&format!("`{path}`"), "stdin"), piped.stderr, "{arguments:?}");
    piped
}

#[test]
fn the_object_is_all_that_stdout_has() {
    let printed = read_both(&[], LOG.as_bytes());
    assert_eq!((printed.code, printed.stdout(), printed.stderr.as_str()), (0, OBJECT, ""));
    let explained = read_both(&["--explain"], LOG.as_bytes());
    assert_eq!((explained.code, explained.stdout()), (0, OBJECT), "what explains goes to stderr");
}

/// What `--explain` reports each candidate: whether it won, its bytes, its source; then its text and the verdict.
fn explained(stderr: &str) -> Vec<(bool, &str, &str, &str)> {
    let mut lines = stderr.lines();
    let header: Vec<_> = lines.next().expect("a header").split_whitespace().collect();
    assert_eq!(header, ["BYTES", "SOURCE", "TEXT", "VERDICT"]);
    let row = |line| {
        let (won, rest) = str::split_at(line, 5);
        let (bytes, rest) = rest.split_once(' ').expect("bytes");
        let (source, rest) = rest.trim_start().split_once(' ').expect("a source");
        (won.trim() == "won", bytes, source, rest.trim_start())
    };
    lines.map(row).collect()
}

#[test]
fn every_candidate_is_explained_and_one_won() {
    let text = b"{\"a\":1} [{\"b\":1}] {\"c\": x} {'d': 1} {y}\n";
    let printed = read_both(&["--explain"], text);
    assert_eq!((printed.code, printed.stdout()), (0, "{\"d\":1}\n"), "{}", printed.stderr);
    let expected = [
        (false, "0-7", "SCAN", "{\"a\":1} ", "an object, but a later one follows"),
        (false, "8-17", "SCAN", "[{\"b\":1}] ", "complete, but no object: what is in it does not count"),
        (false, "18-\u{2026}", "SCAN", "{\"c\": x} {'d': 1} {y}", "can't be read at byte 24: expected a value"),
        (true, "27-35", "SCAN", "{'d': 1} ", "the last complete object: the result"),
        (false, "36-\u{2026}", "SCAN", "{y}", "can't be read at byte 37: expected a key or `}`"),
    ];
    let rows = explained(&printed.stderr);
    assert_eq!(rows.len(), expected.len(), "{}", printed.stderr);
    for (row, (won, bytes, source, text, verdict)) in rows.iter().zip(expected) {
        assert_eq!((row.0, row.1, row.2), (won, bytes, source), "{}", printed.stderr);
        assert!(row.3.starts_with(text) && row.3.contains(verdict), "{text}: {row:?}");
    }
}

#[test]
fn without_a_result_no_candidate_won() {
    for (text, bytes, verdict) in [
        ("{\"a\": [1, {\"b\": 2}", "0-\u{2026}", "does not end"),
        ("{'a': b'x'}", "0-11", "the last complete object, but the Python literal"),
        ("[{\"a\": 1}]", "0-10", "complete, but no object"),
    ] {
        let printed = read_both(&["--explain"], text.as_bytes());
        assert_eq!((printed.code, printed.stdout()), (1, ""), "{text}");
        let (rows, error) = printed.stderr.split_once("\nerror: ").expect("rows, then the error");
        let [(false, printed, "SCAN", rest)] = explained(rows)[..] else { panic!("{text}: {rows}\n{error}") };
        assert!(printed == bytes && rest.contains(verdict), "{text}: {rows}");
    }
}

#[test]
fn a_marked_line_is_explained_alone() {
    let text = b"{\"a\": 1}\nMARK-1{\"b\": 2}\n{\"c\": 3}\n";
    let printed = read_both(&["--explain", "--marker", "MARK-1"], text);
    assert_eq!((printed.code, printed.stdout()), (0, "{\"b\":2}\n"));
    let rows = explained(&printed.stderr);
    let [(true, "15-23", "MARKED_LINE", _)] = rows[..] else { panic!("{rows:?}") };
}

#[test]
fn a_dialect_that_was_not_asked_for_is_not_read() {
    let text = "{'a': 1}\n{\"b\": 1}\n{\"c\": 1,}\n";
    for (dialect, object) in [("any", "{\"c\":1}\n"), ("json", "{\"b\":1}\n"), ("python", "{\"c\":1}\n")] {
        let printed = read_both(&["--dialect", dialect], text.as_bytes());
        assert_eq!((printed.code, printed.stdout()), (0, object), "{dialect}: {}", printed.stderr);
    }
    for (text, json, python) in [
        ("{\"a\": true}", Some("JSON"), None),
        ("{\"a\": NaN}", Some("JSON_WITH_NAN"), None),
        ("{\"a\": True}", None, Some("PYTHON_LITERAL")),
        ("{\"a\": nan}", None, Some("PYTHON_LITERAL")),
        ("{\"a\": 1}", Some("JSON"), Some("PYTHON_LITERAL")),
    ] {
        for (dialect, expected) in [("json", json), ("python", python)] {
            let printed = read_both(&["--dialect", dialect, "-o", "json"], text.as_bytes());
            let answer: Value = serde_json::from_slice(&printed.stdout).unwrap();
            let expected = expected.map(|name| format!("RESULT_DIALECT_{name}"));
            assert_eq!(answer["dialect"].as_str(), expected.as_deref(), "{text} as {dialect}");
            assert_eq!(printed.code, i32::from(expected.is_none()), "{text} as {dialect}");
        }
    }
}

#[test]
fn however_a_pipe_delivers_it() {
    for size in [1, 3, 64] {
        let mut child = start(&["-"]);
        let mut stdin = child.stdin.take().unwrap();
        for piece in LOG.as_bytes().chunks(size) {
            stdin.write_all(piece).unwrap();
        }
        drop(stdin);
        let printed = printed(child.wait_with_output().unwrap());
        assert_eq!((printed.code, printed.stdout()), (0, OBJECT), "{size}: {}", printed.stderr);
    }
}

#[test]
fn a_pipe_by_its_name_is_read_like_stdin() {
    let printed = read(&["/dev/stdin"], b"{\"a\": [1 }");
    assert_eq!((printed.code, printed.stdout()), (1, ""));
    assert!(printed.stderr.contains("`/dev/stdin`, line 1, column "), "{}", printed.stderr);
    assert_eq!(read(&["/dev/stdin"], LOG.as_bytes()).stdout(), OBJECT);
}

#[test]
fn a_caret_stands_below_what_is_wrong() {
    for text in [
        "first\nresult: {\"a\": 1, \"b\" 2} and more\nlast\n",
        "first\nresult: {\"日本\": [1, 2, \"\u{1F980}\"; 3]}\r\n",
        "first\nresult: {\"a\": [1, {\"b\": 2},\n",
        "result: {\"a\": [1, {\"b\": 2}, [\n\n\n",
    ] {
        let printed = read_both(&["-o", "json"], text.as_bytes());
        assert_eq!(printed.code, 1, "{text:?}");
        let answer: Value = serde_json::from_slice(&printed.stdout).unwrap();
        let position: usize = answer["error"]["offset"].as_str().unwrap().parse().unwrap();
        assert!(position < text.trim_end().len(), "{answer}");

        let before = &text[..position];
        let line = 1 + before.matches('\n').count();
        let before = before.rsplit('\n').next().unwrap();
        let shown = text.lines().nth(line - 1).unwrap();
        let column = before.chars().count() + 1;
        let width = before.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>();
        let place = format!(
            "\n  stdin, line {line}, column {column} (byte {position}):\n    {shown}\n    {}^\n",
            " ".repeat(width)
        );
        assert!(printed.stderr.ends_with(&place), "{}\nis not\n{place}", printed.stderr);
        assert!(printed.stderr.starts_with("error: "), "{}", printed.stderr);
        assert_eq!(read_both(&[], text.as_bytes()).stderr, printed.stderr);
    }
}

#[test]
fn nothing_at_all_is_an_error_too() {
    for text in ["", "\n", "no braces here\n", "[1, 2]\n", "3\n"] {
        let printed = read_both(&[], text.as_bytes());
        assert_eq!((printed.code, printed.stdout()), (1, ""), "{text:?}");
        assert!(printed.stderr.starts_with("error: "), "{}", printed.stderr);
    }
}

#[test]
fn json_is_what_a_run_would_report() {
    let printed = read_both(&["-o", "json"], b"x {\"a\": NaN, \"n\": 1.0} y");
    let found: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(printed.code, 0);
    assert_eq!(found["state"], "RESULT_STATE_FOUND");
    assert_eq!(found["source"], "RESULT_SOURCE_SCAN");
    assert_eq!(found["dialect"], "RESULT_DIALECT_JSON_WITH_NAN");
    assert_eq!(found["byteRange"], json!({ "startOffset": "2", "endOffset": "22" }));
    assert_eq!(found["json"], json!({ "a": null, "n": 1.0 }));
    assert_eq!(found["warnings"].as_array().map(Vec::len), Some(1));
    assert_eq!(printed.stderr, "", "the warning is shown once");

    let printed = read_both(&["-o", "json"], b"");
    let none: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!((printed.code, &none["state"]), (1, &json!("RESULT_STATE_MISSING")));
    assert_eq!(none["error"]["kind"], "RESULT_ERROR_KIND_EMPTY");
}

#[test]
fn warnings_are_separate_from_the_object() {
    let printed = read_both(&[], b"{\"a\": NaN}");
    assert_eq!((printed.code, printed.stdout()), (0, "{\"a\":null}\n"));
    assert!(printed.stderr.starts_with("warning: ") && printed.stderr.contains("NaN"), "{}", printed.stderr);
}

#[test]
fn a_table_is_one_if_it_is_asked_for() {
    let text = b"{\"columns\": [\"n\"], \"rows\": [[1.50]]}";
    assert_eq!(read_both(&["-o", "table"], text).stdout(), "┌──────┐\n│    n │\n╞══════╡\n│ 1.50 │\n└──────┘\n");
    assert_eq!(read_both(&["-o", "table"], b"{\"n\": 1.50}").stdout(), "{\"n\":1.50}\n");
}

#[test]
fn marked_lines_win_if_their_marker_is_given() {
    let text = b"MARK-1{\"a\": 1}\n{\"b\": 2}\n";
    assert_eq!(read_both(&[], text).stdout(), "{\"b\":2}\n");
    assert_eq!(read_both(&["--marker", "MARK-1"], text).stdout(), "{\"a\":1}\n");
}

#[test]
fn an_object_may_be_too_large() {
    let text = format!("{{\"a\": \"{}\"}}", "x".repeat(100));
    assert_eq!(read_both(&["--max-bytes", "1Ki"], text.as_bytes()).code, 0);
    let printed = read_both(&["--max-bytes", "50"], text.as_bytes());
    assert_eq!((printed.code, printed.stdout()), (1, ""));
    assert!(
        printed.stderr.starts_with("error: TOO_LARGE: ") && printed.stderr.contains("50 bytes"),
        "{}",
        printed.stderr
    );
}

#[test]
fn garbage_does_nothing_to_a_terminal() {
    // Bytes of every value, many of them control characters; a linear congruential generator makes them.
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 24).unwrap()
    };
    for len in [1, 100, 3_000, 300_000] {
        let mut text: Vec<u8> = (0..len).map(|_| next()).collect();
        text.extend(b"{\"a\": \x1b[2J");
        text.extend((0..len).map(|_| next()));
        let printed = read_both(&["--explain"], &text);
        assert!(printed.code == 0 || printed.code == 1, "{printed:?}");
        let harmless = |c: char| c == '\n' || !c.is_control();
        assert!(printed.stderr.chars().all(harmless), "{:?}", printed.stderr);
    }
}

#[test]
fn a_reader_who_has_left_ends_it_quietly() {
    let mut child = start(&["-"]);
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(LOG.as_bytes()).unwrap();
    let printed = printed(child.wait_with_output().unwrap());
    assert_eq!((printed.code, printed.stderr.as_str()), (141, ""));
}

/// `longshore result` with these arguments, in this directory, with this server.
fn ask(dir: &TempDir, server: &FakeServer, arguments: &[&str]) -> Printed {
    let mut command = command(&[&["result"], arguments].concat());
    command.current_dir(dir.path()).env("LONGSHORE_SERVER", format!("http://{}", server.address));
    printed(command.output().unwrap())
}

#[test]
fn a_runs_result_is_printed_as_that_of_a_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut fate = succeeded_with("{\"n\":1}");
    fate.result.as_mut().unwrap().warnings.push("odd".to_owned());
    let server = FakeServer::start(fate, Script::default());
    for name in ["demo", "namespaces/default/runs/demo"] {
        let printed = ask(&dir, &server, &[name]);
        assert_eq!(
            (printed.code, printed.stdout(), printed.stderr.as_str()),
            (0, "{\"n\":1}\n", "warning: odd\n"),
            "{name}"
        );
    }
    let printed = ask(&dir, &server, &["demo", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!((&answer["state"], &answer["json"]), (&json!("RESULT_STATE_FOUND"), &json!({"n": 1})), "{answer}");

    let printed = ask(&dir, &server, &["demo", "--explain"]);
    assert_eq!(printed.code, 125);
    assert!(printed.stderr.contains("--explain is for texts"), "{}", printed.stderr);

    // The run is meant, whatever files there are, unless it is said otherwise.
    std::fs::write(dir.path().join("demo"), "{\"file\": 1}").unwrap();
    for run in [&["demo"][..], &["--run", "demo"]] {
        assert_eq!(ask(&dir, &server, run).stdout(), "{\"n\":1}\n");
    }
    for file in [&["./demo"][..], &["--file", "demo"]] {
        assert_eq!(ask(&dir, &server, file).stdout(), "{\"file\":1}\n");
    }
    for path in ["./nothing", "nothing.log"] {
        let printed = ask(&dir, &server, &[path]);
        assert!(printed.code == 125 && printed.stderr.contains("cannot be read"), "{path}: {}", printed.stderr);
    }
    assert!(ask(&dir, &server, &["--file", "nothing"]).stderr.contains("cannot be read"));
    assert_eq!(ask(&dir, &server, &["--file", "--run", "demo"]).code, 125);
}

#[test]
fn a_run_without_an_object_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let of = |result: Option<pb::Result>, state: pb::RunState| {
        let server = FakeServer::start(pb::Run { result, ..run(state) }, Script::default());
        let printed = ask(&dir, &server, &["demo"]);
        assert_eq!((printed.code, printed.stdout()), (1, ""), "{}", printed.stderr);
        printed.stderr
    };
    assert!(of(None, pb::RunState::Succeeded).contains("the run's result rule is NONE"));
    let state = |state: pb::ResultState| Some(pb::Result { state: state.into(), ..Default::default() });
    assert!(of(state(pb::ResultState::Pending), pb::RunState::Running).contains("once it has ended"));
    assert!(of(state(pb::ResultState::Missing), pb::RunState::Succeeded).contains("MISSING"));
}

#[test]
fn a_text_in_utf_16_is_read_and_its_places_are_shown() {
    let utf16 =
        |text: &str| -> Vec<u8> { format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let printed = read_both(&["-o", "json"], &utf16("los\r\n{\"straße\": 1}\r\n"));
    let answer: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!((&answer["json"], &answer["byteRange"]), (&json!({"straße": 1}), &Value::Null), "{answer}");
    let printed = read_both(&[], &utf16("los\r\n{\"a\": oops}\r\n"));
    assert_eq!(printed.code, 1);
    assert!(
        printed.stderr.contains("line 2, column 7") && printed.stderr.contains("found `oops`"),
        "{}",
        printed.stderr
    );
    let printed = read_both(&[], b"\x1f\x8b\x08\0\0\0");
    assert!(printed.code == 1 && printed.stderr.contains("gzip"), "{}", printed.stderr);
}

#[test]
fn what_cannot_be_read_or_meant_is_125() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    for path in [missing.as_path(), dir.path()] {
        let printed = read(&[path.to_str().unwrap()], b"");
        assert_eq!((printed.code, printed.stdout()), (125, ""));
        assert!(printed.stderr.contains(&format!("`{}` cannot be read", Path::display(path))), "{}", printed.stderr);
    }
    for wrong in [
        &[][..],
        &["-", "--marker", ""],
        &["-", "--max-bytes", "0"],
        &["-", "--max-bytes", "much"],
        &["-", "--dialect", "yaml"],
        &["-", "-"],
    ] {
        assert_eq!(read(wrong, b"{}").code, 125, "{wrong:?}");
    }
    let help = read(&["--help"], b"");
    assert!(help.code == 0 && help.stdout().contains("Exit codes:"), "{}", help.stdout());
}
