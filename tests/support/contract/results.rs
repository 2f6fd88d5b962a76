//! Results, however they were given.

use longshore::proto::v1::{
    ErrorReason, FailureClass, FailureReason, GetRunRequest, ReadResultRequest, Result as RunResult, ResultDialect,
    ResultErrorKind, ResultMode, ResultRule, ResultScan, ResultSource, ResultState, Run, RunSpec, RunState, RunView,
};
use sha2::{Digest, Sha256};
use tonic::Code;

use super::Subject;
use crate::support::errors::assert_error;
use crate::support::spec::{reporter, result_rule};

async fn run(subject: &Subject, mode: ResultMode, scan: ResultScan, script: &str) -> (Run, RunResult) {
    let script = format!("{script}; code=$?; sleep 0.2; exit $code");
    let run = subject.client.run(RunSpec { result: result_rule(mode, scan), ..subject.script(&script) }).await;
    let result = run.result.clone().unwrap_or_else(|| panic!("a result was asked for: {run:?}"));
    (run, result)
}

pub(crate) async fn a_result_file_is_found(subject: &Subject) {
    let script = r#"printf '{"b": 1.50, "a": 12345678901234567890}' > "$LONGSHORE_RESULT"; echo '{"not": "this"}'"#;
    let (run, result) = run(subject, ResultMode::Required, ResultScan::LastObject, script).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    assert_eq!((result.state(), result.source()), (ResultState::Found, ResultSource::File), "{result:?}");
    assert_eq!(result.json, r#"{"b":1.50,"a":12345678901234567890}"#, "digits and order are kept");
    assert_eq!((result.dialect(), result.byte_range), (ResultDialect::Json, None));
    assert_eq!(result.size_bytes, result.json.len() as i64);
    assert_eq!(result.sha256, data_encoding::HEXLOWER.encode(&Sha256::digest(&result.json)));
    let request = GetRunRequest { name: run.name, view: RunView::Basic.into() };
    let basic = subject.client.runs.clone().get_run(request).await.expect("GetRun").into_inner().run.expect("the run");
    assert_eq!(basic.result.map(|r| (r.json, r.sha256)), Some((String::new(), result.sha256)), "BASIC has no text");
}

pub(crate) async fn a_marked_line_is_found(subject: &Subject) {
    let script = r#"echo '{"not": "this"}'; echo "$LONGSHORE_RESULT_MARKER"'{"rows": [1, 2]}'; echo '{"nor": "this"}'"#;
    let (run, result) = run(subject, ResultMode::Optional, ResultScan::LastObject, script).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    assert_eq!((result.state(), result.source()), (ResultState::Found, ResultSource::MarkedLine), "{result:?}");
    assert_eq!(result.json, r#"{"rows":[1,2]}"#);
}

pub(crate) async fn a_printed_object_is_found(subject: &Subject) {
    let script = r#"echo 'progress {'; echo '{"old": 1}'; echo '{"ok": true, "why": null, "s": "it is {"}'; echo done"#;
    let (run, result) = run(subject, ResultMode::Required, ResultScan::LastObject, script).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    assert_eq!((result.source(), result.dialect()), (ResultSource::Scan, ResultDialect::Json), "{result:?}");
    assert_eq!(result.json, r#"{"ok":true,"why":null,"s":"it is {"}"#);
    let range = result.byte_range.expect("where it stood");
    let log = subject.client.logs(&run.name).await.text();
    let text =
        &log[usize::try_from(range.start_offset).expect("start")..usize::try_from(range.end_offset).expect("end")];
    assert!(text.starts_with("{\"ok\"") && text.ends_with('}'), "{text:?}");
}

pub(crate) async fn a_dialect_that_is_asked_for_is_the_only_one(subject: &Subject) {
    let script = r#"echo '{"a": 1}'; echo "{'b': None}"; sleep 0.2"#;
    for (dialect, object) in [(ResultDialect::Json, r#"{"a":1}"#), (ResultDialect::PythonLiteral, r#"{"b":null}"#)] {
        let rule = result_rule(ResultMode::Required, ResultScan::LastObject);
        let result = rule.map(|rule| ResultRule { dialect: dialect.into(), ..rule });
        let run = subject.client.run(RunSpec { result, ..subject.script(script) }).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        let result = run.result.expect("a result");
        assert_eq!((result.dialect(), result.json.as_str()), (dialect, object));
    }
}

/// Why it failed.
fn reason(run: &Run) -> Option<FailureReason> {
    run.failure.as_ref().map(|failure| failure.reason())
}

/// What is wrong with the result.
fn fault(result: &RunResult) -> (ResultState, Option<ResultErrorKind>) {
    (result.state(), result.error.as_ref().map(|error| error.kind()))
}

pub(crate) async fn a_missing_required_result_fails_the_run(subject: &Subject) {
    let (failed, result) = run(subject, ResultMode::Required, ResultScan::LastObject, "echo done").await;
    assert_eq!((failed.state(), reason(&failed)), (RunState::Failed, Some(FailureReason::ResultMissing)), "{failed:?}");
    assert_eq!(failed.exit_code, Some(0));
    assert_eq!(fault(&result), (ResultState::Missing, Some(ResultErrorKind::Empty)), "{result:?}");
    assert!(result.error.is_some_and(|error| !error.message.is_empty()));
    let request = ReadResultRequest { name: failed.name, read_offset: 0 };
    let refused = subject.client.runs.clone().read_result(request).await.expect_err("there is none");
    assert_error(&refused, Code::FailedPrecondition, ErrorReason::NoResult);
}

pub(crate) async fn a_broken_required_result_fails_the_run(subject: &Subject) {
    for (script, kind) in [
        (r#"printf '{"rows": [1, 2' > "$LONGSHORE_RESULT""#, ResultErrorKind::Truncated),
        (r#"printf '[1, 2]' > "$LONGSHORE_RESULT""#, ResultErrorKind::NotAnObject),
    ] {
        let (failed, result) = run(subject, ResultMode::Required, ResultScan::LastObject, script).await;
        let reported = (failed.state(), failed.exit_code, reason(&failed));
        assert_eq!(reported, (RunState::Failed, Some(0), Some(FailureReason::ResultInvalid)), "{failed:?}");
        assert_eq!(fault(&result), (ResultState::Invalid, Some(kind)), "{result:?}");
        let (code, result) =
            run(subject, ResultMode::Required, ResultScan::LastObject, &format!("{script}; (exit 4)")).await;
        assert_eq!((code.exit_code, reason(&code)), (Some(4), Some(FailureReason::NonzeroExit)), "{code:?}");
        assert_eq!(fault(&result), (ResultState::Invalid, Some(kind)), "{result:?}");
    }
}

pub(crate) async fn an_optional_result_never_decides(subject: &Subject) {
    for (script, state) in [
        (":", ResultState::Missing),
        (r#"printf '{"rows": [1, 2' > "$LONGSHORE_RESULT""#, ResultState::Invalid),
        (r#"printf '{"rows": [1, 2]}' > "$LONGSHORE_RESULT""#, ResultState::Found),
    ] {
        let (fine, result) = run(subject, ResultMode::Optional, ResultScan::LastObject, script).await;
        let reported = (fine.state(), fine.exit_code, &fine.failure);
        assert_eq!(reported, (RunState::Succeeded, Some(0), &None), "{fine:?}");
        assert_eq!((result.state(), result.error.is_some()), (state, state != ResultState::Found), "{result:?}");
    }
}

pub(crate) async fn a_nonzero_exit_keeps_the_result(subject: &Subject) {
    let script = r#"printf '{"error": "no rows"}' > "$LONGSHORE_RESULT"; exec 3>&1; (exit 4)"#;
    let (run, result) = run(subject, ResultMode::Required, ResultScan::Off, script).await;
    assert_eq!((run.exit_code, reason(&run)), (Some(4), Some(FailureReason::NonzeroExit)), "{run:?}");
    assert_eq!(result.json, r#"{"error":"no rows"}"#);
}

/// The run of a script by the profile that declares the runner contract.
async fn report(subject: &Subject, mode: ResultMode, script: &str) -> (Run, RunResult) {
    let run = subject.client.run(reporter(mode, script)).await;
    let result = run.result.clone().unwrap_or_else(|| panic!("a result was asked for: {run:?}"));
    (run, result)
}

pub(crate) async fn what_a_runner_reports_is_why_it_failed(subject: &Subject) {
    for (object, code, message) in [
        (
            r#"{"status":"error","error":{"type":"E","message":"no\u0007"}}"#,
            3,
            r"the runner reported an error: E: no\u{7}",
        ),
        (r#"{"status":"timeout"}"#, 4, "the runner reported a timeout and did not say why"),
    ] {
        for mode in [ResultMode::Optional, ResultMode::Required] {
            let script = format!("printf %s '{object}' > \"$LONGSHORE_RESULT\"; exit {code}");
            let (run, result) = report(subject, mode, &script).await;
            let failure = run.failure.as_ref().unwrap_or_else(|| panic!("{run:?}"));
            assert_eq!(
                (failure.reason(), failure.failure_class()),
                (FailureReason::RunnerReported, FailureClass::User)
            );
            assert_eq!((failure.exit_code, run.exit_code, run.state()), (Some(code), Some(code), RunState::Failed));
            assert_eq!((failure.message.as_str(), run.message.as_str()), (message, message));
            assert_eq!((result.state(), result.json.as_str()), (ResultState::Found, object), "{result:?}");
        }
    }
    // An exit code that nothing explains stays what it is.
    let fine = r#"printf '{"status":"success"}' > "$LONGSHORE_RESULT"; exit 5"#;
    let (run, result) = report(subject, ResultMode::Required, fine).await;
    assert_eq!((run.exit_code, reason(&run)), (Some(5), Some(FailureReason::NonzeroExit)), "{run:?}");
    assert_eq!(result.state(), ResultState::Found, "{result:?}");
    // Nobody declared it for this one.
    let script = r#"printf '{"status":"error"}' > "$LONGSHORE_RESULT"; (exit 3)"#;
    let (run, _) = self::run(subject, ResultMode::Required, ResultScan::LastObject, script).await;
    assert_eq!(reason(&run), Some(FailureReason::NonzeroExit), "{run:?}");
}

pub(crate) async fn a_report_does_not_outvote_exit_0(subject: &Subject) {
    for (object, warning) in [
        (
            r#"{"status":"error","error":{"type":"E"}}"#,
            "the program exited with 0, but the runner reported an error: E",
        ),
        (r#"{"status":"odd"}"#, "the result has the status `odd`"),
    ] {
        let script = format!("printf %s '{object}' > \"$LONGSHORE_RESULT\"");
        let (run, result) = report(subject, ResultMode::Required, &script).await;
        assert_eq!((run.state(), &run.failure), (RunState::Succeeded, &None), "{run:?}");
        assert!(result.warnings.iter().any(|reported| reported.starts_with(warning)), "{result:?}");
    }
}

pub(crate) async fn a_large_result_keeps_what_it_reports(subject: &Subject) {
    // More than a record holds: the object is kept beside it.
    let script = r#"printf '{"status":"error","error":{"type":"BIG","message":"m"},"x":"'
        head -c 100000 /dev/zero | tr '\0' x; echo '"}'; sleep 0.2; exit 6"#;
    let (run, _) = report(subject, ResultMode::Required, script).await;
    let settled = subject.client.wait_settled(&run.name).await;
    let again = subject.client.get(&settled.name).await;
    for reported in [&run, &again] {
        let failure = reported.failure.as_ref().unwrap_or_else(|| panic!("{reported:?}"));
        assert_eq!((failure.reason(), failure.exit_code), (FailureReason::RunnerReported, Some(6)));
        assert_eq!(failure.message, "the runner reported an error: BIG: m");
        assert_eq!(reported.result.as_ref().map(|result| result.state()), Some(ResultState::Found));
    }
}

pub(crate) async fn a_result_that_breaks_its_schema_is_invalid(subject: &Subject) {
    let script =
        |code| format!(r#"printf '{{"status":"success","rows":[1,"two"]}}' > "$LONGSHORE_RESULT"; exit {code}"#);
    let (failed, result) = report(subject, ResultMode::Required, &script(0)).await;
    assert_eq!((failed.exit_code, reason(&failed)), (Some(0), Some(FailureReason::ResultInvalid)), "{failed:?}");
    assert_eq!(fault(&result), (ResultState::Invalid, Some(ResultErrorKind::Invalid)), "{result:?}");
    let message = result.error.map(|error| error.message).unwrap_or_default();
    assert!(message.contains(r#"at `/rows/1`: "two" is not of type "integer""#), "{message}");
    assert_eq!((result.json.as_str(), result.size_bytes), ("", 0), "what is no result is not given");

    let (failed, result) = report(subject, ResultMode::Required, &script(5)).await;
    assert_eq!((failed.exit_code, reason(&failed)), (Some(5), Some(FailureReason::NonzeroExit)), "{failed:?}");
    assert_eq!(fault(&result), (ResultState::Invalid, Some(ResultErrorKind::Invalid)), "{result:?}");
    let (fine, result) = report(subject, ResultMode::Optional, &script(0)).await;
    assert_eq!((fine.state(), result.state()), (RunState::Succeeded, ResultState::Invalid), "{fine:?}");
}

pub(crate) async fn a_result_beside_the_record_is_reported_inline(subject: &Subject) {
    // More than a record holds, less than what is reported inline.
    let script = r#"printf '{"x":"'; head -c 100000 /dev/zero | tr '\0' x; echo '"}'"#;
    let (run, result) = run(subject, ResultMode::Required, ResultScan::LastObject, script).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    let expected = format!("{{\"x\":\"{}\"}}", "x".repeat(100_000));
    assert_eq!(result.json, expected);
    let again = subject.client.wait_settled(&run.name).await;
    let again = subject.client.get(&again.name).await.result.expect("a result");
    assert_eq!((again.json, again.sha256), (expected, result.sha256));
}

pub(crate) async fn a_large_result_is_streamed(subject: &Subject) {
    // 400 kB of compact JSON: more than a record holds, and more than is reported inline.
    let script = r#"printf '{"rows":['; i=0; while [ $i -lt 8000 ]; do
        printf '"0123456789012345678901234567890123456789%07d",\n' $i; i=$((i+1)); done; printf '"end"]}\n'"#;
    let (run, result) = run(subject, ResultMode::Required, ResultScan::LastObject, script).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    let expected = 9 + 8000 * 50 + 7;
    assert_eq!((result.size_bytes, result.json.as_str()), (expected, ""), "{result:?}");

    let whole = read_result(subject, &run.name, 0).await.expect("ReadResult");
    assert_eq!(whole.len() as i64, expected);
    assert_eq!(result.sha256, data_encoding::HEXLOWER.encode(&Sha256::digest(&whole)));
    assert!(whole.starts_with(b"{\"rows\":[\"0123") && whole.ends_with(b"\"end\"]}"));
    let rest = read_result(subject, &run.name, 200_000).await.expect("ReadResult");
    assert_eq!(rest, whole[200_000..]);
    let refused = read_result(subject, &run.name, expected + 1).await.expect_err("past the end");
    assert_error(&refused, Code::OutOfRange, ErrorReason::OutOfRange);
}

async fn read_result(subject: &Subject, name: &str, read_offset: i64) -> Result<Vec<u8>, tonic::Status> {
    let request = ReadResultRequest { name: name.to_owned(), read_offset };
    let mut chunks = subject.client.runs.clone().read_result(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        assert!(chunk.data.len() <= 64 * 1024, "pieces of at most 64 KiB");
        assert_eq!(chunk.sha256.is_empty(), !bytes.is_empty(), "the first describes the whole");
        bytes.extend(chunk.data);
    }
    Ok(bytes)
}
