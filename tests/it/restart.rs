//! A daemon that is killed loses nothing.

use longshore::domain::run::rundir;
use longshore::proto::v1::{
    FailureClass, FailureReason, ListRunsRequest, ReadResultRequest, ResultMode, ResultScan, ResultState, RunSpec,
    RunState,
};

use crate::fixture::{Local, script};
use crate::support::client::{DEFAULT, follow};
use crate::support::daemon::longshore;
use crate::support::logs::resumed;
use crate::support::spec::{reporter, result_rule, seconds, sql};
use crate::support::wait::until;

#[tokio::test]
async fn finished_runs_are_reported_as_before() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let spec = script("echo kept; exit 5");
    let failed = client.submit_as("kept", spec.clone()).await.expect("SubmitRun").run.expect("the run");
    let failed = client.wait_settled(&failed.name).await;
    let query = client.submit(sql("SELECT name FROM products ORDER BY name")).await;
    let query = client.wait_settled(&query.name).await;
    // The object of this one is kept beside the record, which mentions it all the same.
    let report = r#"printf '{"status":"error","error":{"type":"BIG","message":"m"},"x":"'
        head -c 100000 /dev/zero | tr '\0' x; echo '"}'; exit 6"#;
    let report = client.submit(reporter(ResultMode::Required, report)).await;
    let report = client.get(&client.wait_settled(&report.name).await.name).await;
    assert_eq!(report.failure.as_ref().map(|f| f.reason()), Some(FailureReason::RunnerReported), "{report:?}");
    let output = client.logs(&failed.name).await;

    local.daemon.kill().await;
    local.daemon.revive().await;

    let client = local.client().await;
    let second = until("the count of what was adopted", async || {
        let log = local.daemon.output();
        let second = log.rsplit("\"backend\":").next().unwrap_or_default();
        second.contains("adopted 0 live runs, 3 finished").then(|| second.to_owned())
    })
    .await;
    assert!(!second.contains(&failed.name), "no line for each run: {second}");
    for before in [&failed, &query, &report] {
        let mut after = client.get(&before.name).await;
        assert_eq!(after.etag, before.etag, "{after:?} was {before:?}");
        // What is reported with the time is reported anew.
        after.message.clone_from(&before.message);
        assert_eq!(&after, before);
    }
    let again = client.logs(&failed.name).await;
    assert_eq!((again.text(), again.ended), (output.text(), output.ended));
    let from_cursor = client.read_logs(resumed(&follow(&failed.name), &output.cursor)).await;
    assert_eq!(from_cursor.text(), "");
    let replay = client.submit_as("kept", spec).await.expect("SubmitRun");
    assert_eq!((replay.replayed, replay.run.map(|run| run.uid)), (true, Some(failed.uid)));
    let request = ReadResultRequest { name: query.name.clone(), read_offset: 0 };
    let chunk = client.runs.clone().read_result(request).await.expect("ReadResult").into_inner().message().await;
    assert_eq!(chunk.expect("a chunk").map(|c| c.sha256), query.result.map(|result| result.sha256));
    let list = ListRunsRequest { parent: DEFAULT.to_owned(), ..ListRunsRequest::default() };
    let listed = client.runs.clone().list_runs(list).await.expect("ListRuns").into_inner().runs;
    let listed: Vec<_> = listed.into_iter().map(|run| run.name).collect();
    assert_eq!(listed, [report.name, query.name, failed.name]);
}

#[tokio::test]
async fn a_live_run_goes_on_and_its_follower_too() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("echo 1; gate a; echo 2; gate b; echo 3; gate c; echo 4; exit 6")).await.name;
    let before = client.wait_state(&name, RunState::Running).await;
    let mut stream = client.open_logs(follow(&name)).await;
    stream.until("1\n").await;
    local.daemon.kill().await;
    let first = stream.until_cut().await;
    assert_eq!(first.closing, None, "a kill is a cut");
    // Printed while nobody looked.
    local.open("a");
    local.daemon.revive().await;

    let client = local.client().await;
    let run = client.get(&name).await;
    assert_eq!((run.state(), &run.uid), (RunState::Running, &before.uid));
    assert_eq!(run.attempts[0].uid, before.attempts[0].uid);
    let mut stream = client.open_logs(resumed(&follow(&name), &first.cursor)).await;
    stream.until("2\n").await;
    local.open("b");
    stream.until("3\n").await;
    local.open("c");
    let second = stream.rest().await;
    second.assert_complete();
    assert_eq!(format!("{}{}", first.text(), second.text()), "1\n2\n3\n4\n");
    let run = client.wait_terminal(&name).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(6)), "{run:?}");
    assert_eq!(run.attempts.len(), 1);
}

#[tokio::test]
async fn what_ended_meanwhile_is_settled_at_the_next_start() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let rule = crate::support::spec::result_rule(
        longshore::proto::v1::ResultMode::Required,
        longshore::proto::v1::ResultScan::LastObject,
    );
    let spec = RunSpec { result: rule, ..script("mark up; gate go; echo '{\"n\": 1}'; mark down") };
    let name = client.submit(spec).await.name;
    local.marked("up").await;
    local.daemon.kill().await;
    local.open("go");
    local.marked("down").await;
    local.daemon.revive().await;
    let client = local.client().await;
    let run = client.wait_terminal(&name).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Succeeded, Some(0)), "{run:?}");
    assert_eq!(run.result.expect("a result").json, r#"{"n":1}"#);
    assert_eq!(client.logs(&name).await.text(), "{\"n\": 1}\n");
}

#[tokio::test]
async fn clocks_and_cancels_hold_over_a_restart() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let clocked = RunSpec { run_timeout: seconds(2), ..script("mark clocked; gate never") };
    let clocked = client.submit(clocked).await.name;
    let waiting = client.submit(script("trap 'exit 4' TERM; mark waiting; gate never")).await.name;
    local.marked("clocked").await;
    local.marked("waiting").await;
    local.daemon.kill().await;
    local.daemon.revive().await;
    let client = local.client().await;
    client.cancel(&waiting, "after the restart").await;
    let run = client.wait_terminal(&waiting).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Cancelled, Some(4)), "{run:?}");
    let run = client.wait_terminal(&clocked).await;
    let reason = run.failure.as_ref().map(|failure| failure.reason());
    assert_eq!(reason, Some(longshore::proto::v1::FailureReason::RunDeadline), "{run:?}");
}

#[tokio::test]
async fn a_result_whose_output_was_lost_is_unavailable() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let spec = |mode, text: &str| RunSpec {
        result: result_rule(mode, ResultScan::LastObject),
        ..script(&format!("gate a; {text}"))
    };
    let object = r#"echo '{"a":1}'"#;
    let required = client.submit(spec(ResultMode::Required, object)).await.name;
    let optional = client.submit(spec(ResultMode::Optional, object)).await.name;
    let failing = client.submit(spec(ResultMode::Required, "echo lost; exit 4")).await.name;
    for name in [&required, &optional, &failing] {
        client.wait_state(name, RunState::Running).await;
    }
    // Nobody reads while they end, and then there is nothing to read any more.
    local.daemon.kill().await;
    local.open("a");
    for name in [&required, &optional, &failing] {
        local.lose_output(name).await;
    }
    local.daemon.revive().await;

    let client = local.client().await;
    for (name, state, reason) in [
        (&required, RunState::Failed, Some(FailureReason::ResultUnavailable)),
        (&optional, RunState::Succeeded, None),
        (&failing, RunState::Failed, Some(FailureReason::NonzeroExit)),
    ] {
        let run = client.wait_settled(name).await;
        assert_eq!((run.state(), run.failure.as_ref().map(|f| f.reason())), (state, reason), "{run:?}");
        let result = run.result.as_ref().expect("a result was asked for");
        assert_eq!(result.state(), ResultState::Unavailable, "{result:?}");
        if reason == Some(FailureReason::ResultUnavailable) {
            let failure = run.failure.as_ref().expect("a failure");
            assert_eq!((failure.failure_class(), failure.retryable), (FailureClass::Infra, true));
        }
    }
}

#[tokio::test]
async fn a_second_daemon_on_the_same_directory_is_refused() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("mark up; gate go")).await.name;
    local.marked("up").await;
    let state = local.run_dir(&name).ancestors().nth(2).expect("the state directory").to_owned();
    let mut second = longshore(["serve", "--backend", "local", "--listen", "127.0.0.1:0", "--admin-listen", "off"]);
    let refused = second.arg("--state-dir").arg(&state).output().await.expect("longshore serve");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(said.contains("another daemon uses it (process ") && said.contains("--state-dir"), "{said}");
    // Its lock goes with the process, however that ends; no shim has it.
    local.daemon.kill().await;
    local.daemon.revive().await;
    local.open("go");
    let client = local.client().await;
    assert_eq!(client.wait_terminal(&name).await.state(), RunState::Succeeded);
}

#[tokio::test]
async fn a_clock_that_jumped_forgets_no_key() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let spec = script("echo once");
    let run = client.submit_as("key", spec.clone()).await.expect("SubmitRun").run.expect("the run");
    client.wait_settled(&run.name).await;
    let path = local.run_dir(&run.name).join(rundir::RELEASED);
    let mut released: rundir::Released =
        until("the release", async || serde_json::from_slice(&std::fs::read(&path).ok()?).ok()).await;
    local.daemon.kill().await;
    // As the wall shows it after a jump beyond the retention.
    released.expire_time = jiff::Timestamp::UNIX_EPOCH;
    std::fs::write(&path, serde_json::to_vec(&released).unwrap()).unwrap();
    local.daemon.revive().await;
    let client = local.client().await;
    // Two sweeps later: another run has come and gone by its retention.
    for id in ["first", "second"] {
        let brief = RunSpec { retention: seconds(1), ..script("true") };
        let brief = client.submit_as(id, brief).await.expect("SubmitRun").run.expect("the run").name;
        until("the sweep", async || client.try_get(&brief).await.is_err().then_some(())).await;
    }
    let again = client.submit_as("key", spec).await.expect("SubmitRun");
    assert_eq!((again.replayed, again.run.map(|run| run.uid)), (true, Some(run.uid)));
}
