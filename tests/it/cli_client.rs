//! The executable as a client, against a server that plays a script.

use std::collections::VecDeque;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};

use longshore::proto::v1 as pb;
use longshore::proto::v1::stream_logs_request::Start;
use longshore::proto::v1::stream_logs_response::Event;
use longshore::proto::v1::{FailureClass, FailureReason, LogStream, RunState};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::fake_server::{
    FakeServer, LogScript, NAME, Script, Then, end, failed, output, reconnect, run, succeeded_with,
};

const RUN_SQL: [&str; 3] = ["run", "--runner", "sql"];

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.args(arguments).env_remove("LONGSHORE_SERVER").env_remove("LONGSHORE_NAMESPACE").stdin(Stdio::null());
    command
}

fn command_at(server: &FakeServer, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.env("LONGSHORE_SERVER", format!("http://{}", server.address));
    command
}

fn ask(server: &FakeServer, arguments: &[&str]) -> Printed {
    printed(command_at(server, arguments).output().unwrap())
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Printed {
    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

pub(crate) fn printed(output: Output) -> Printed {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    Printed { code: output.status.code().unwrap(), stdout: output.stdout, stderr }
}

fn logs<const N: usize>(scripts: [LogScript; N]) -> Script {
    Script { logs: VecDeque::from(scripts), ..Script::default() }
}

fn whole(text: &str) -> Script {
    logs([LogScript { events: vec![output(LogStream::Stdout, text.as_bytes(), "1"), end()], then: Then::Close }])
}

fn interrupt(child: &Child) {
    signal(child, Signal::INT);
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn run_prints_both_streams_apart_and_exits_as_the_program() {
    let events = vec![
        output(LogStream::Stdout, b"out\n\xff\xfe", "1"),
        output(LogStream::Stderr, b"err\n", "2"),
        output(LogStream::Unspecified, b"either\n", "3"),
        end(),
    ];
    let fate = failed(FailureClass::User, FailureReason::NonzeroExit, 3, "the program exited with 3");
    let server = FakeServer::start(fate, logs([LogScript { events, then: Then::Close }]));
    let printed = ask(&server, &RUN_SQL);
    assert_eq!(printed.code, 3);
    assert_eq!(printed.stdout, b"out\n\xff\xfeeither\n");
    assert!(printed.stderr.contains("err\n"), "{}", printed.stderr);
    assert!(
        printed.stderr.contains("FAILED NONZERO_EXIT (USER): the program exited with 3; exit code 3"),
        "{printed:?}"
    );
}

/// A script whose stdout has a line that carries the result, in two pieces, between two others.
fn with_a_marked_line() -> Script {
    let event = |text: &str, kind: pb::LogEntryKind, cursor: &str| {
        let mut event = output(LogStream::Stdout, text.as_bytes(), cursor);
        if let Event::Entries(entries) = &mut event {
            entries.entries.iter_mut().for_each(|entry| entry.set_kind(kind));
        }
        event
    };
    let events = vec![
        event("before\n", pb::LogEntryKind::Output, "1"),
        event("LONGSHORE-RESULT-0", pb::LogEntryKind::Result, "2"),
        event("{\"n\":1}\n", pb::LogEntryKind::Result, "3"),
        event("after\n", pb::LogEntryKind::Output, "4"),
        end(),
    ];
    logs([LogScript { events, then: Then::Close }])
}

#[test]
fn lines_that_carry_the_result_are_shown_only_if_asked_for() {
    let server = || FakeServer::start(succeeded_with("{\"n\":1}"), with_a_marked_line());
    let run = ask(&server(), &RUN_SQL);
    assert_eq!((run.code, run.stdout()), (0, "before\nafter\n"), "{}", run.stderr);
    assert!(!run.stderr.contains("--result"), "no hint without a terminal: {}", run.stderr);
    assert_eq!(ask(&server(), &["logs", "demo"]).stdout(), "before\nafter\n");
    let all = "before\nLONGSHORE-RESULT-0{\"n\":1}\nafter\n";
    assert_eq!(ask(&server(), &["logs", "--results", "demo"]).stdout(), all);
    let json = ask(&server(), &["logs", "-o", "json", "demo"]);
    assert!(json.stdout().contains("LOG_ENTRY_KIND_RESULT"), "JSON has every event: {json:?}");
}

#[test]
fn the_sample_configuration_is_printed_without_a_server() {
    let printed = printed(command(&["serve", "--print-config"]).output().unwrap());
    assert_eq!((printed.code, printed.stdout()), (0, longshore::config::SAMPLE), "{}", printed.stderr);
}

#[test]
fn the_server_may_be_named_before_the_command() {
    let server = FakeServer::start(run(RunState::Succeeded), whole("all\n"));
    let printed = printed(command(&["--server", &server.address.to_string(), "logs", "demo"]).output().unwrap());
    assert_eq!((printed.code, printed.stdout()), (0, "all\n"), "{}", printed.stderr);
}

#[test]
fn a_cut_stream_is_resumed_without_loss_or_repetition() {
    let out = |text: &str, cursor: &str| output(LogStream::Stdout, text.as_bytes(), cursor);
    let script = logs([
        // Cut before anything came, then in the middle, then ended in order; the last one repeats a batch.
        LogScript { events: vec![], then: Then::Fail(Status::unavailable("cut")) },
        LogScript { events: vec![out("1\n", "c1"), out("2\n", "c2")], then: Then::Close },
        LogScript { events: vec![out("3\n", "c3"), reconnect("c3b")], then: Then::Close },
        LogScript { events: vec![out("3\n", "c3b"), out("4\n", "c4"), end()], then: Then::Close },
    ]);
    let server = FakeServer::start(run(RunState::Succeeded), script);
    let printed = ask(&server, &["logs", "-f", "--tail", "9", "demo"]);
    assert_eq!((printed.code, printed.stdout()), (0, "1\n2\n3\n4\n"), "{}", printed.stderr);
    let starts: Vec<_> = server.seen().logs.iter().map(|request| request.start.clone()).collect();
    let cursor = |text: &str| Some(Start::Cursor(text.to_owned()));
    assert_eq!(starts, [Some(Start::TailLines(9)), Some(Start::TailLines(9)), cursor("c2"), cursor("c3b")]);
    assert!(server.seen().logs.iter().all(|request| request.name == NAME && request.follow));
}

#[test]
fn the_end_of_a_stream_is_not_the_end_of_the_run() {
    let server = FakeServer::start(run(RunState::Running), whole("all\n"));
    let child = command_at(&server, &RUN_SQL).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.wait_for("a follow", |seen| seen.logs.len() == 1);
    server.set_run(failed(FailureClass::Infra, FailureReason::NodeLost, 0, "the node went away"));
    let printed = printed(child.wait_with_output().unwrap());
    assert_eq!((printed.code, printed.stdout()), (123, "all\n"), "{}", printed.stderr);
}

#[test]
fn output_that_comes_after_the_run_is_over_is_printed() {
    let late = vec![output(LogStream::Stdout, b"late\n", "2"), end()];
    let events = vec![output(LogStream::Stdout, b"early\n", "1")];
    let server = FakeServer::start(run(RunState::Running), logs([LogScript { events, then: Then::AtEnd(late) }]));
    let child = command_at(&server, &RUN_SQL).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.wait_for("a follow", |seen| seen.logs.len() == 1);
    server.set_run(run(RunState::Succeeded));
    let printed = printed(child.wait_with_output().unwrap());
    assert_eq!((printed.code, printed.stdout()), (0, "early\nlate\n"), "{}", printed.stderr);
}

#[test]
fn a_log_problem_changes_no_outcome() {
    let script = logs([LogScript { events: vec![], then: Then::Fail(Status::not_found("no such container")) }]);
    let server = FakeServer::start(run(RunState::Succeeded), script);
    let printed = ask(&server, &RUN_SQL);
    assert_eq!(printed.code, 0);
    assert!(printed.stderr.contains("NOT_FOUND: no such container"), "{}", printed.stderr);
}

#[test]
fn a_submit_is_repeated_with_the_same_key() {
    let script = Script {
        submit_failures: VecDeque::from([Status::unavailable("draining"), Status::internal("broken connection")]),
        ..whole("")
    };
    let server = FakeServer::start(run(RunState::Succeeded), script);
    let printed = ask(&server, &RUN_SQL);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let seen = server.seen();
    assert_eq!(seen.submits.len(), 3);
    assert!(seen.submits[0].run_id.starts_with("u-") && seen.submits[0].request_id.is_empty(), "{:?}", seen.submits[0]);
    assert!(seen.submits.iter().all(|submit| *submit == seen.submits[0]));
}

#[test]
fn a_refusal_names_every_field() {
    let mut details =
        ErrorDetails::with_error_info("INVALID_FIELDS", "longshore.dev", std::collections::HashMap::new());
    details.add_bad_request_violation("spec.env[0].name", "`1A` is not a C identifier");
    details.add_bad_request_violation("spec.run_timeout", "at most 24 h");
    let refusal = Status::with_error_details(Code::InvalidArgument, "2 fields are wrong", details);
    let script = Script { submit_failures: VecDeque::from([refusal]), ..Script::default() };
    let server = FakeServer::start(run(RunState::Succeeded), script);
    let printed = ask(&server, &RUN_SQL);
    assert_eq!((printed.code, printed.stdout()), (125, ""));
    assert_eq!(
        printed.stderr,
        "error: INVALID_ARGUMENT/INVALID_FIELDS: 2 fields are wrong\n  --env: `1A` is not a C identifier\n  \
         --timeout: at most 24 h\n"
    );
    assert_eq!(server.seen().submits.len(), 1, "what is refused is not asked again");
}

#[test]
fn the_first_interrupt_cancels_and_waits() {
    let script = Script { cancelled: Some(run(RunState::Cancelled)), ..Script::default() };
    let server = FakeServer::start(run(RunState::Running), script);
    let child = command_at(&server, &RUN_SQL).stderr(Stdio::piped()).spawn().unwrap();
    server.wait_for("a follow", |seen| seen.logs.len() == 1);
    interrupt(&child);
    let printed = printed(child.wait_with_output().unwrap());
    assert_eq!(printed.code, 130, "{}", printed.stderr);
    assert!(printed.stderr.contains("CANCELLED"), "{}", printed.stderr);
    assert_eq!(server.seen().cancels[0].reason, "the client was interrupted (SIGINT, Ctrl-C)");
}

#[test]
fn a_cancel_names_the_signal_that_came() {
    let script = Script { cancelled: Some(run(RunState::Cancelled)), ..Script::default() };
    let server = FakeServer::start(run(RunState::Running), script);
    let child = command_at(&server, &RUN_SQL).stderr(Stdio::piped()).spawn().unwrap();
    server.wait_for("a follow", |seen| seen.logs.len() == 1);
    signal(&child, Signal::TERM);
    let printed = printed(child.wait_with_output().unwrap());
    assert_eq!(printed.code, 130, "{}", printed.stderr);
    assert_eq!(server.seen().cancels[0].reason, "the client was terminated (SIGTERM)");
}

#[test]
fn two_interrupts_at_once_cancel_all_the_same() {
    let server = FakeServer::start(run(RunState::Running), Script::default());
    let child = command_at(&server, &RUN_SQL).stderr(Stdio::piped()).spawn().unwrap();
    server.wait_for("a follow", |seen| seen.logs.len() == 1);
    interrupt(&child);
    signal(&child, Signal::TERM);
    let printed = printed(child.wait_with_output().unwrap());
    assert!(matches!(printed.code, 130 | 143), "{}", printed.stderr);
    assert!(printed.stderr.contains("the cancel is confirmed"), "{}", printed.stderr);
    assert_eq!(server.seen().cancels.len(), 1);
}

#[test]
fn the_second_interrupt_leaves_and_says_how_to_follow() {
    let server = FakeServer::start(run(RunState::Running), Script::default());
    let child = command_at(&server, &RUN_SQL).stderr(Stdio::piped()).spawn().unwrap();
    server.wait_for("a follow", |seen| seen.logs.len() == 1);
    interrupt(&child);
    server.wait_for("a cancel", |seen| seen.cancels.len() == 1);
    interrupt(&child);
    let printed = printed(child.wait_with_output().unwrap());
    assert_eq!(printed.code, 130, "{}", printed.stderr);
    assert!(printed.stderr.contains("longshore logs -f demo"), "{}", printed.stderr);
}

/// More output than any pipe holds.
fn much() -> LogScript {
    let line = vec![b'x'; 60_000];
    let events = (0..200).map(|n| output(LogStream::Stdout, &line, &n.to_string())).collect();
    LogScript { events, then: Then::AtEnd(vec![end()]) }
}

#[test]
fn a_reader_who_does_not_read_keeps_nobody_from_leaving() {
    let server = FakeServer::start(run(RunState::Running), logs([much()]));
    let mut child = command_at(&server, &RUN_SQL).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take();
    server.wait_for("a follow", |seen| seen.logs.len() == 1);
    interrupt(&child);
    server.wait_for("a cancel", |seen| seen.cancels.len() == 1);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdout);
}

#[test]
fn a_reader_who_leaves_ends_it_quietly() {
    let server = FakeServer::start(run(RunState::Running), logs([much()]));
    let mut child =
        command_at(&server, &["logs", "-f", "demo"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut start = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    let printed = printed(child.wait_with_output().unwrap());
    assert_eq!((printed.code, printed.stderr.as_str()), (141, ""));
}

#[test]
fn detach_prints_the_name_alone() {
    let server = FakeServer::start(run(RunState::Pending), Script::default());
    let printed = ask(&server, &["run", "-d", "--id", "demo", "--runner", "sql"]);
    assert_eq!((printed.code, printed.stdout(), printed.stderr.as_str()), (0, "namespaces/default/runs/demo\n", ""));
    let seen = server.seen();
    assert_eq!((seen.submits[0].run_id.as_str(), seen.submits[0].request_id.as_str()), ("demo", ""));
    assert!(seen.logs.is_empty());
}

#[test]
fn result_prints_the_object_alone() {
    let json = r#"{"columns":["city","n"],"rows":[["Lyon",7]],"big":123456789012345678901234567890}"#;
    let server = FakeServer::start(succeeded_with(json), whole("noise\n"));
    let printed = ask(&server, &["run", "--runner", "sql", "--result"]);
    assert_eq!((printed.code, printed.stdout()), (0, format!("{json}\n").as_str()), "{}", printed.stderr);
    assert!(!printed.stderr.contains("noise"));

    let table = ask(&server, &["run", "--runner", "sql", "--result", "-o", "table"]);
    assert!(table.stdout().contains("Lyon") && table.stdout().contains("city"), "{}", table.stdout());

    server.set_run(run(RunState::Succeeded));
    let none = ask(&server, &["run", "--runner", "sql", "--result"]);
    assert_eq!((none.code, none.stdout()), (122, ""), "{}", none.stderr);
}

#[test]
fn a_large_result_is_read_in_pieces() {
    let json = r#"{"large":true}"#;
    let mut fate = succeeded_with(json);
    fate.result.as_mut().unwrap().json.clear();
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(json));
    let piece = |text: &str| pb::ReadResultResponse {
        data: text.as_bytes().to_vec(),
        size_bytes: i64::try_from(json.len()).unwrap(),
        sha256: sha256.clone(),
    };
    let (first, second) = json.split_at(5);
    let results = VecDeque::from([(vec![piece(first)], Some(Status::unavailable("cut"))), (vec![piece(second)], None)]);
    let server = FakeServer::start(fate, Script { results, ..Script::default() });
    let printed = ask(&server, &["run", "--runner", "sql", "--result"]);
    assert_eq!((printed.code, printed.stdout()), (0, "{\"large\":true}\n"), "{}", printed.stderr);
    assert_eq!(server.seen().results[1].read_offset, 5);
}

#[test]
fn get_shows_a_result_as_the_object_it_is() {
    let json = r#"{"columns":["city","n"],"rows":[["Lyon",1.10]],"big":123456789012345678901234567890}"#;
    let server = FakeServer::start(succeeded_with(json), Script::default());
    let printed = ask(&server, &["get", "-o", "json", "demo"]);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let value: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(value["result"]["json"]["rows"][0][0], "Lyon");
    assert_eq!(value["result"]["state"], "RESULT_STATE_FOUND");
    assert!(printed.stdout().contains("\"big\": 123456789012345678901234567890\n"), "{}", printed.stdout());
    let people = ask(&server, &["get", "demo"]);
    assert!(people.stdout().contains("│ Lyon ┆ 1.10 │"), "{}", people.stdout());
    let run = ask(&server, &["wait", "-o", "json", "demo"]);
    assert_eq!(run.stdout(), printed.stdout(), "wherever a run is shown");
}

#[test]
fn get_reads_a_large_result_too() {
    let json = r#"{"large":true}"#;
    let mut fate = succeeded_with(json);
    fate.result.as_mut().unwrap().json.clear();
    let piece = pb::ReadResultResponse {
        data: json.into(),
        size_bytes: i64::try_from(json.len()).unwrap(),
        sha256: data_encoding::HEXLOWER.encode(&Sha256::digest(json)),
    };
    let results = VecDeque::from([(vec![piece], None), (Vec::new(), Some(Status::failed_precondition("it is gone")))]);
    let server = FakeServer::start(fate, Script { results, ..Script::default() });
    let get = || {
        let printed = ask(&server, &["get", "-o", "json", "demo"]);
        let value: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
        (printed.code, value["result"]["json"].clone(), printed.stderr)
    };
    assert_eq!(get(), (0, serde_json::json!({ "large": true }), String::new()));
    let (code, object, stderr) = get();
    assert_eq!((code, object), (0, serde_json::Value::Null), "the rest of the run is shown");
    assert!(stderr.contains("FAILED_PRECONDITION: it is gone"), "{stderr}");
}

#[test]
fn json_is_the_final_run_and_nothing_else() {
    let server = FakeServer::start(run(RunState::Succeeded), whole("noise\n"));
    let printed = ask(&server, &["run", "--runner", "sql", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(value["state"], "RUN_STATE_SUCCEEDED");
    assert!(printed.stderr.contains("noise"));
}

#[test]
fn a_dry_run_shows_the_manifest_and_what_is_said_to_it() {
    let verdict = pb::DryRunVerdict {
        kind: "Pod".into(),
        accepted: false,
        message: "violates PodSecurity \"restricted\"".into(),
    };
    let answer = pb::SubmitRunResponse {
        manifest: "kind: Job\n".into(),
        verdicts: vec![pb::DryRunVerdict { kind: "Job".into(), accepted: true, message: String::new() }, verdict],
        ..Default::default()
    };
    let server = FakeServer::start(pb::Run::default(), Script { submit: Some(answer), ..Script::default() });
    let printed = ask(&server, &["run", "--image", "registry.example.com/a:1", "--dry-run"]);
    assert_eq!((printed.code, printed.stdout()), (125, "kind: Job\n"));
    assert_eq!(printed.stderr, "Job accepted\nPod refused: violates PodSecurity \"restricted\"\n");
    assert!(server.seen().submits[0].validate_only);
}

#[test]
fn ls_reads_page_by_page() {
    let page = |id: &str, next: &str| pb::ListRunsResponse {
        runs: vec![pb::Run { name: format!("namespaces/default/runs/{id}"), ..run(RunState::Running) }],
        next_page_token: next.to_owned(),
    };
    let pages = VecDeque::from([page("one", "t1"), page("two", "t2"), page("three", "")]);
    let server = FakeServer::start(pb::Run::default(), Script { pages, ..Script::default() });
    let printed = ask(&server, &["ls", "--state", "running", "-l", "app=x"]);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let first_words: Vec<_> = printed.stdout().lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(first_words, ["NAME", "one", "two", "three"]);
    let seen = server.seen();
    let tokens: Vec<_> = seen.lists.iter().map(|list| list.page_token.as_str()).collect();
    assert_eq!(tokens, ["", "t1", "t2"]);
    assert_eq!(seen.lists[0].filter.as_ref().unwrap().label_selector, "app=x");
}

#[test]
fn an_empty_list_is_a_list() {
    let server = FakeServer::start(pb::Run::default(), Script::default());
    let printed = ask(&server, &["ls", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!((printed.code, value), (0, serde_json::json!({ "runs": [] })));
}

#[test]
fn wait_and_get_report_the_same_run() {
    let fate = failed(FailureClass::Policy, FailureReason::RunDeadline, 143, "ran longer than 5 s");
    let server = FakeServer::start(fate, Script::default());
    assert_eq!(ask(&server, &["wait", "demo"]).code, 124);
    assert!(server.seen().lists.is_empty(), "a whole id costs no list");
    let printed = ask(&server, &["get", NAME]);
    assert_eq!(printed.code, 0);
    assert!(printed.stdout().contains("RUN_DEADLINE"), "{}", printed.stdout());
}

#[test]
fn an_id_is_looked_for_in_one_bounded_list() {
    let there = pb::Run { name: "namespaces/default/runs/demo-7".to_owned(), ..run(RunState::Succeeded) };
    // There is more, and it is not asked for.
    let page = pb::ListRunsResponse { runs: vec![there], next_page_token: "more".to_owned() };
    let script = Script { missing: vec![NAME.to_owned()], pages: VecDeque::from([page]), ..Script::default() };
    let server = FakeServer::start(run(RunState::Succeeded), script);
    let printed = ask(&server, &["get", "demo"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, "run demo-7\n"));
    assert_eq!(server.seen().lists.iter().map(|list| list.page_size).collect::<Vec<_>>(), [500]);
}

#[test]
fn a_generated_id_that_is_taken_is_drawn_again() {
    let taken = || Status::already_exists("another run has it");
    let script = Script { submit_failures: VecDeque::from([taken(), taken()]), ..whole("") };
    let server = FakeServer::start(run(RunState::Succeeded), script);
    assert_eq!(ask(&server, &RUN_SQL).code, 0);
    let ids: std::collections::BTreeSet<_> = server.seen().submits.iter().map(|submit| submit.run_id.clone()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");

    let script = Script { submit_failures: VecDeque::from([taken()]), ..whole("") };
    let server = FakeServer::start(run(RunState::Succeeded), script);
    let chosen = ask(&server, &["run", "--id", "mine", "--runner", "sql"]);
    assert_eq!((chosen.code, server.seen().submits.len()), (125, 1), "{}", chosen.stderr);
}

#[test]
fn rm_reports_what_went_wrong_and_goes_on() {
    let script = Script { delete_failure: Some(Status::failed_precondition("it is live")), ..Script::default() };
    let server = FakeServer::start(run(RunState::Running), script);
    let printed = ask(&server, &["rm", "-f", "a", "b"]);
    assert_eq!(printed.code, 125);
    assert!(printed.stderr.contains("FAILED_PRECONDITION: it is live"), "{}", printed.stderr);
    assert!(printed.stderr.contains("b: deleted"), "{}", printed.stderr);
}

#[test]
fn a_broken_answer_is_an_error() {
    let script = Script { submit: Some(pb::SubmitRunResponse::default()), ..Script::default() };
    let server = FakeServer::start(pb::Run::default(), script);
    assert_eq!(ask(&server, &RUN_SQL).code, 125);
}

#[test]
fn without_a_server_it_says_how_to_start_one() {
    let address = {
        let server = FakeServer::start(pb::Run::default(), Script::default());
        format!("http://{}", server.address)
    };
    let printed = printed(command(&["ls", "--server", &address]).output().unwrap());
    assert_eq!(printed.code, 125);
    assert!(printed.stderr.contains(&format!("no Longshore server at {address}; start one with `longshore serve`")));
}

#[test]
fn a_token_is_added_to_no_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let (other, tokens) = (dir.path().join("Dockerfile"), dir.path().join("tokens.toml"));
    std::fs::write(&other, "FROM scratch\n").unwrap();
    let create = |path: &std::path::Path| {
        printed(command(&["token", "create", "ci", "--file", path.to_str().unwrap()]).output().unwrap())
    };
    let refused = create(&other);
    assert_eq!((refused.code, refused.stdout()), (125, ""));
    assert!(refused.stderr.contains("Dockerfile: it is not a token file: line 1"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "FROM scratch\n");
    for count in 1..3 {
        assert_eq!(create(&tokens).code, 0);
        assert_eq!(longshore::config::TokenFile::read(&tokens).unwrap().len(), count);
    }
}

#[test]
fn what_is_no_grpc_says_where_grpc_is() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // As an admin port answers: HTTP/2 is understood, the path is not.
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (_ready, is_ready) = tokio::sync::watch::channel(longshore::runtime::admin::Ready::Yes);
            let registry = std::sync::Arc::new(prometheus_client::registry::Registry::default());
            let stop = tokio_util::sync::CancellationToken::new();
            let ended = stop.clone();
            let admin = longshore::runtime::admin::serve(listener, is_ready, registry, stop);
            let asked = tokio::task::spawn_blocking(move || {
                let printed = printed(command(&["info", "--server", &format!("http://{address}")]).output().unwrap());
                ended.cancel();
                printed
            });
            tokio::join!(admin, asked).1.unwrap()
        })
    });
    let printed = serving.join().unwrap();
    assert_eq!(printed.code, 125);
    assert!(printed.stderr.contains("cannot be reached: it answers HTTP 404"), "{}", printed.stderr);
    assert!(printed.stderr.contains("admin port") && printed.stderr.contains("7420"), "{}", printed.stderr);
}

#[test]
fn usage_shows_what_is_missing_alone() {
    for (arguments, usage) in [
        (&["result"][..], "Usage: longshore result [OPTIONS] <RUN|FILE>\n"),
        (&["cancel"], "Usage: longshore cancel [OPTIONS] <RUN>...\n"),
        (&["token", "create"], "Usage: longshore token create [OPTIONS] <USER>\n"),
    ] {
        let mut command = command(arguments);
        let printed = printed(command.env("LONGSHORE_SERVER", "http://127.0.0.1:1").output().unwrap());
        assert_eq!(printed.code, 125);
        assert!(printed.stderr.contains(usage), "{}", printed.stderr);
    }
}

#[test]
fn usage_errors_are_125_and_help_is_an_answer() {
    let nothing_set = command(&["ls"]).env("LONGSHORE_SERVER", "").env("LONGSHORE_NAMESPACE", "").output().unwrap();
    assert!(!printed(nothing_set).stderr.contains("no server address"), "an empty variable counts as unset");
    for wrong in [&["run"][..], &["run", "--runner", "sql", "--timeout", "soon"], &["no-such-verb"], &[]] {
        assert_eq!(printed(command(wrong).output().unwrap()).code, 125, "{wrong:?}");
    }
    let help = printed(command(&["run", "--help"]).output().unwrap());
    assert_eq!(help.code, 0);
    assert!(help.stdout().contains("Exit codes:"), "{}", help.stdout());
    assert!(printed(command(&["--version"]).output().unwrap()).stdout().starts_with("longshore "));
}

#[test]
fn proto_writes_every_file_and_replaces_none_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("proto");
    let write = |more: &[&str]| {
        let arguments = [&["proto", "--out", out.to_str().unwrap()], more].concat();
        printed(command(&arguments).output().unwrap())
    };
    assert_eq!(write(&[]).code, 0);
    let file = out.join("longshore/v1/run_service.proto");
    let original = std::fs::read_to_string(&file).unwrap();
    assert!(original.contains("service RunService"));
    assert!(out.join("google/rpc/error_details.proto").exists());
    assert_eq!(write(&[]).code, 0, "the same files may stay");

    std::fs::write(&file, "mine").unwrap();
    let refused = write(&[]);
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("run_service.proto"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(write(&["--force"]).code, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), original);
}

#[test]
fn completion_scripts_name_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let printed = printed(command(&["completion", shell]).output().unwrap());
        assert!(printed.code == 0 && printed.stdout().contains("cancel"), "{shell}");
    }
}
