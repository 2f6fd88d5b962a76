//! What only the local backend does, and the built-in runner.

use longshore::proto::v1::input::Content;
use longshore::proto::v1::{
    ErrorReason, FailureReason, Input, ResultState, RunSpec, RunState, Security, SubmitRunRequest,
};

use crate::fixture::{Local, script};
use crate::support::client::submit_request;
use crate::support::spec::{json_input, runner, seconds, sql};

#[tokio::test]
async fn sql_gives_columns_and_rows() {
    let local = Local::start().await;
    let client = local.client().await;
    let query = "SELECT status, count(*) AS n FROM orders GROUP BY status ORDER BY n DESC, status";
    let run = client.run(sql(query)).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}\n{}", client.logs(&run.name).await.text());
    let result = run.result.expect("a result");
    assert_eq!(result.state(), ResultState::Found);
    let result: serde_json::Value = serde_json::from_str(&result.json).unwrap();
    assert_eq!((&result["status"], &result["error"]), (&"success".into(), &serde_json::Value::Null));
    assert_eq!(result["columns"], serde_json::json!(["status", "n"]));
    let rows = result["rows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row[0].is_string() && row[1].is_u64()), "{rows:?}");
    assert_eq!(result["row_count"], rows.len());
}

#[tokio::test]
async fn failing_sql_fails_and_keeps_its_result() {
    let local = Local::start().await;
    let client = local.client().await;
    let run = client.run(sql("SELECT * FROM nowhere")).await;
    assert_eq!(run.state(), RunState::Failed, "{run:?}");
    let failure = run.failure.expect("a failure");
    assert_eq!((failure.reason(), failure.exit_code), (FailureReason::RunnerReported, Some(1)));
    let reported = "the runner reported an error: SQL_EXECUTION_ERROR: ";
    assert!(failure.message.starts_with(reported) && failure.message.contains("nowhere"), "{}", failure.message);
    let result: serde_json::Value = serde_json::from_str(&run.result.expect("a result").json).unwrap();
    assert_eq!(result["error"]["type"], "SQL_EXECUTION_ERROR");
    assert!(result["error"]["message"].as_str().is_some_and(|message| message.contains("nowhere")), "{result}");
}

#[tokio::test]
async fn a_signal_is_reported_by_number() {
    let local = Local::start().await;
    let client = local.client().await;
    let run = client.run(script("kill -9 $$")).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(137)), "{run:?}");
    let failure = run.failure.expect("a failure");
    assert_eq!((failure.reason(), failure.signal), (FailureReason::Signalled, Some(9)));
    assert_eq!(run.attempts[0].signal, Some(9));
}

#[tokio::test]
async fn a_program_that_ignores_term_is_killed_after_its_grace() {
    let local = Local::start().await;
    let client = local.client().await;
    let spec = RunSpec { termination_grace: seconds(1), ..script("trap '' TERM; mark trapped; gate never") };
    let name = client.submit(spec).await.name;
    local.marked("trapped").await;
    client.cancel(&name, "now").await;
    let run = client.wait_terminal(&name).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Cancelled, Some(137)), "{run:?}");
}

#[tokio::test]
async fn a_program_that_does_not_exist_fails_as_one() {
    let local = Local::start().await;
    let client = local.client().await;
    let run = client.run(script("exec /no/such/program")).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(127)), "{run:?}");
}

#[tokio::test]
async fn children_end_with_their_run() {
    let local = Local::start().await;
    let client = local.client().await;
    let script =
        script("(trap '' TERM; mark child; while [ -d \"$TEST_DIR\" ]; do sleep 0.05; done; mark alive) & exit 0");
    let run = client.run(script).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Succeeded, Some(0)), "{run:?}");
    client.logs(&run.name).await.assert_complete();
}

#[tokio::test]
async fn input_comes_on_stdin_where_the_profile_says_so() {
    let local = Local::start().await;
    let client = local.client().await;
    let bytes = b"\x00\xff raw\n".to_vec();
    let spec = RunSpec { input: Some(Input { content: Some(Content::Raw(bytes.clone())) }), ..runner("stdin") };
    let run = client.run(spec).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    assert_eq!(client.logs(&run.name).await.bytes(), bytes);
}

#[tokio::test]
async fn a_program_gets_no_environment_of_the_daemon() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.run(script("env | sort")).await.name;
    let text = client.logs(&name).await.text();
    let names: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    for wanted in ["SCRIPT", "TEST_DIR", "LONGSHORE_RESULT", "PATH"] {
        assert!(names.contains(&wanted), "{wanted} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
}

#[tokio::test]
async fn input_that_breaks_its_profiles_schema_is_refused_by_field() {
    let local = Local::start().await;
    let client = local.client().await;
    let raw = |bytes: &[u8]| Input { content: Some(Content::Raw(bytes.to_vec())) };
    for (input, fields) in [
        (None, &["spec.input"][..]),
        (
            Some(json_input(r#"{"sql": 1, "max_rows": 0, "dataset": "demo/shop"}"#)),
            &["spec.input.json", "spec.input.json"],
        ),
        (Some(raw(br#"{"dataset": "demo/shop"}"#)), &["spec.input.raw"]),
        (Some(raw(b"select 1")), &["spec.input.raw"]),
    ] {
        for validate_only in [false, true] {
            let spec = RunSpec { input: input.clone(), ..runner("sql") };
            let refused = client.try_submit(SubmitRunRequest { validate_only, ..submit_request(spec) }).await;
            let refused = refused.expect_err("a request that the runner can't use");
            let violated = crate::support::errors::violated_fields(&refused, ErrorReason::InvalidFields);
            assert_eq!(violated, fields, "{refused:?}");
        }
    }
    let fine = RunSpec { input: Some(raw(br#"{"dataset": "demo/shop", "sql": "select 1 as one"}"#)), ..runner("sql") };
    let run = client.run(fine).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
}

#[tokio::test]
async fn a_preview_makes_nothing_and_takes_no_key() {
    let local = Local::start().await;
    let client = local.client().await;
    let request = SubmitRunRequest {
        request_id: "preview".to_owned(),
        validate_only: true,
        ..submit_request(RunSpec { input: Some(json_input("\"hush\"")), ..script("exit 0") })
    };
    let preview = client.try_submit(request.clone()).await.expect("SubmitRun");
    let run = preview.run.expect("the run as it would be");
    assert!(preview.manifest.contains("/bin/sh") && !preview.manifest.contains("hush"), "{}", preview.manifest);
    let manifest: serde_json::Value = serde_json::from_str(&preview.manifest).unwrap();
    assert_eq!(manifest["shim"][1], "shim", "{manifest}");
    assert_eq!(manifest["command"][0], "/bin/sh", "{manifest}");
    let verdicts: Vec<_> = preview.verdicts.iter().map(|v| (v.kind.as_str(), v.accepted)).collect();
    assert_eq!(verdicts, [("Process", true)]);
    assert_eq!(run.uid, "");
    client.try_get(&run.name).await.expect_err("nothing was made");
    let made = client.try_submit(SubmitRunRequest { validate_only: false, ..request }).await.expect("SubmitRun");
    assert!(!made.replayed);
    client.wait_terminal(&run.name).await;
}

#[tokio::test]
async fn a_numeric_user_is_refused_or_honoured() {
    let local = Local::start().await;
    let client = local.client().await;
    let security = Some(Security { run_as_user: Some(12_345), ..Security::default() });
    match client.try_submit(submit_request(RunSpec { security, ..script("id -u") })).await {
        Ok(submitted) => {
            let name = submitted.run.expect("the run").name;
            assert_eq!(client.logs(&name).await.text(), "12345\n");
        }
        Err(refused) => {
            let reason = longshore::proto::v1::ErrorReason::UnsupportedOnBackend;
            let fields = crate::support::errors::violated_fields(&refused, reason);
            assert_eq!(fields, ["spec.security.run_as_user"]);
        }
    }
}
