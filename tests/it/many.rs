//! Many runs at once: over a crash, up to the limit of live runs, and on the command line.

use longshore::proto::v1::batch_submit_item::Outcome;
use longshore::proto::v1::{BatchSubmitRunsRequest, ErrorReason, ListRunsRequest, RunSpec, RunState};
use serde_json::Value;
use tonic::Code;

use crate::cli_runs::{ask, ask_on_terminal};
use crate::fixture::{Local, script};
use crate::support::client::{Client, DEFAULT};
use crate::support::errors::assert_error;
use crate::support::spec::{json_input, runner};

fn batch(id: &str, spec: RunSpec, count: i32) -> BatchSubmitRunsRequest {
    BatchSubmitRunsRequest {
        parent: DEFAULT.to_owned(),
        batch_id: id.to_owned(),
        spec: Some(spec),
        count,
        ..BatchSubmitRunsRequest::default()
    }
}

fn name(id: &str) -> String {
    format!("{DEFAULT}/runs/{id}")
}

async fn there(client: &Client) -> usize {
    let request = ListRunsRequest { parent: DEFAULT.to_owned(), page_size: 500, ..ListRunsRequest::default() };
    client.runs.clone().list_runs(request).await.expect("ListRuns").into_inner().runs.len()
}

/// Killed wherever the batch stands, the daemon makes the rest when it is asked again, and nothing twice.
#[tokio::test]
async fn a_batch_survives_the_death_of_the_daemon() {
    const COUNT: i32 = 40;
    let mut local = Local::start().await;
    let request = batch("dying", script("echo ran >> \"$TEST_DIR/ran-$LONGSHORE_INDEX\""), COUNT);
    let client = local.client().await;
    let call = tokio::spawn({
        let (mut runs, request) = (client.runs.clone(), request.clone());
        async move { runs.batch_submit_runs(request).await }
    });
    // As soon as there is one, others are being made.
    crate::support::wait::until("a first run", async || (there(&client).await > 0).then_some(())).await;
    local.daemon.kill().await;
    let _ = call.await;
    local.daemon.revive().await;
    let client = local.client().await;
    let answer = client.runs.clone().batch_submit_runs(request).await.expect("BatchSubmitRuns").into_inner();
    assert_eq!(answer.items.len(), 40);
    assert!(answer.items.iter().any(|item| item.replayed), "the first one at least was there");
    for item in &answer.items {
        assert!(matches!(&item.outcome, Some(Outcome::Run(_))), "{item:?}");
        let run = client.wait_terminal(&item.name).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    }
    assert_eq!(there(&client).await, 40);
    for index in 0..COUNT {
        assert_eq!(local.read(&format!("ran-{index}")), "ran\n", "{index} ran once");
    }
}

#[tokio::test]
async fn a_batch_has_room_for_all_of_its_runs_or_for_none() {
    let mut local = Local::start().await;
    local.daemon.kill().await;
    local.configure("[limits]\nmax_live_runs_per_caller = 5");
    local.daemon.revive().await;
    let client = local.client().await;
    let submit = async |request| client.runs.clone().batch_submit_runs(request).await;
    submit(batch("first", script("gate go"), 3)).await.expect("three of five");
    let refused = submit(batch("second", script("exit 0"), 3)).await.expect_err("six of five");
    assert_error(&refused, Code::ResourceExhausted, ErrorReason::QuotaExceeded);
    assert!(refused.message().contains("3 live runs and ask for 3 more, and the limit is 5"), "{refused:?}");
    assert_eq!(there(&client).await, 3);
    // What is there already is not counted.
    let again = submit(batch("first", script("gate go"), 3)).await.expect("a replay").into_inner();
    assert!(again.items.iter().all(|item| item.replayed));
    submit(batch("second", script("exit 0"), 2)).await.expect("five of five");
    local.open("go");
    for id in ["first-0", "first-1", "first-2", "second-0", "second-1"] {
        client.wait_terminal(&name(id)).await;
    }
}

#[tokio::test]
async fn every_run_of_a_batch_has_a_copy_of_the_input() {
    let local = Local::start().await;
    let client = local.client().await;
    let large = format!("\"{}\"", "x".repeat(800 * 1024));
    let spec = RunSpec { input: Some(json_input(&large)), ..runner("sh") };
    let refused = client.runs.clone().batch_submit_runs(batch("large", spec, 100)).await.expect_err("80 MB");
    assert_error(&refused, Code::InvalidArgument, ErrorReason::InvalidFields);
    assert!(refused.message().contains("count: 100 runs with input and files take 81920200 bytes"), "{refused:?}");
    assert_eq!(there(&client).await, 0);
}

#[tokio::test]
async fn run_count_waits_for_all_and_exits_as_the_worst() {
    let local = Local::start().await;
    let script = "SCRIPT=echo $LONGSHORE_INDEX; exit $((LONGSHORE_INDEX * 3))";
    let run = ["run", "--count", "3", "--id", "three", "--runner", "sh", "-e", script];
    let printed = ask(&local, &run).await;
    assert_eq!((printed.code, printed.out.as_str()), (Some(6), ""), "{printed:?}");
    for (index, end) in [": SUCCEEDED", ": FAILED NONZERO_EXIT", ": FAILED NONZERO_EXIT"].into_iter().enumerate() {
        assert!(printed.err.contains(&format!("run three-{index}{end}")), "{printed:?}");
        assert_eq!(ask(&local, &["logs", &format!("three-{index}")]).await.out, format!("{index}\n"));
    }
    let again = ask(&local, &[&run[..], &["-q", "-o", "json"]].concat()).await;
    assert_eq!(again.code, Some(6), "{again:?}");
    let runs: Vec<Value> = again.out.lines().map(|line| serde_json::from_str(line).expect("a run")).collect();
    let mut names: Vec<_> = runs.iter().map(|run| run["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    assert_eq!(names, ["three-0", "three-1", "three-2"].map(name));

    let detached = ask(&local, &["run", "-d", "--count", "2", "--runner", "sh", "-e", "SCRIPT=exit 0"]).await;
    let names: Vec<_> = detached.out.lines().collect();
    assert_eq!((detached.code, names.len()), (Some(0), 2), "{detached:?}");
    assert!(names[0].starts_with(&name("batch-")) && names[0].ends_with("-0") && names[1].ends_with("-1"), "{names:?}");
    let checked = ask(&local, &["run", "--dry-run", "--count", "2", "--id", "dry", "--runner", "sh"]).await;
    assert!(checked.code == Some(0) && checked.out.contains("dry-0"), "{checked:?}");
    assert!(checked.err.contains("the first of 2 runs"), "{checked:?}");
    for (arguments, wanted) in [
        (&["--count", "0"][..], "1..=500"),
        (&["--count", "2", "--request-id", "x"], "cannot be used with"),
        (&["--count", "2", "--id", "u-x"], "--id: `u-x` is not a valid batch id"),
        (&["--count", "2", "--timeout", "99999h"], "--timeout 99999h: "),
    ] {
        let wrong = ask(&local, &[&["run", "--runner", "sh"], arguments].concat()).await;
        assert!(wrong.code == Some(125) && wrong.err.contains(wanted), "{wrong:?}");
    }
}

#[tokio::test]
async fn runs_are_waited_for_cancelled_and_deleted_by_their_labels() {
    let local = Local::start().await;
    let client = local.client().await;
    let nothing = ask(&local, &["wait", "-l", "app=none"]).await;
    assert!(nothing.code == Some(125) && nothing.err.contains("no run in namespaces/default matches `app=none`"));
    for verb in ["cancel", "rm"] {
        let nothing = ask(&local, &[verb, "-l", "app=none"]).await;
        assert!(nothing.code == Some(125) && nothing.err.contains("matches `app=none`"), "{nothing:?}");
    }
    assert_eq!(ask(&local, &["rm", "-f", "-l", "app=none"]).await.code, Some(0));
    assert_eq!(ask(&local, &["rm", "-l", ""]).await.code, Some(125), "an empty selector is all runs");

    let labelled = |text: &str| RunSpec { labels: [("app".to_owned(), "x".to_owned())].into(), ..script(text) };
    client.runs.clone().batch_submit_runs(batch("x", labelled("gate go"), 3)).await.expect("BatchSubmitRuns");
    client.submit(script("gate go")).await;
    let early = ask(&local, &["wait", "--timeout", "0s", "-l", "app=x"]).await;
    assert!(early.code == Some(124) && early.err.contains("3 of 3 runs are not over yet"), "{early:?}");
    let live = ask(&local, &["rm", "-l", "app=x"]).await;
    assert!(live.code == Some(125) && live.err.contains("3 of the runs that match are live"), "{live:?}");
    let no = ask_on_terminal(&local, &["cancel", "-l", "app=x"], "n\n").await;
    assert!(no.code == Some(125) && no.out.contains("cancel 3 runs?"), "{no:?}");
    let cancelled = ask(&local, &["cancel", "--wait", "-l", "app=x", "--reason", "enough"]).await;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    assert_eq!(cancelled.err.matches(": CANCELLED: enough").count(), 3, "{cancelled:?}");
    let again = ask(&local, &["cancel", "-l", "app=x"]).await;
    assert!(again.code == Some(125) && again.err.contains("no run that can be cancelled"), "{again:?}");
    let over = ask(&local, &["wait", "-l", "app=x", "-o", "json"]).await;
    assert_eq!((over.code, over.out.lines().count()), (Some(130), 3), "{over:?}");
    let deleted = ask(&local, &["rm", "-y", "-l", "app=x"]).await;
    assert_eq!((deleted.code, deleted.err.matches(": deleted").count()), (Some(0), 3), "{deleted:?}");
    assert_eq!(there(&client).await, 1, "the other one is left");
    local.open("go");
}
