//! A daemon that is killed in the middle loses nothing and does nothing twice.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use longshore::proto::v1::{FailureReason, ResultMode, ResultScan, ResultState, RunSpec, RunState, SubmitRunRequest};

use crate::case::{on_cluster, script};
use crate::support::client::{follow, submit_request};
use crate::support::logs::resumed;
use crate::support::spec::{UNTIL_TERM, json_input, result_rule, slow_printer, sql};
use crate::support::wait::until;

#[tokio::test]
async fn a_followed_run_survives_the_daemons_death() {
    on_cluster("a_followed_run_survives_the_daemons_death", async |case| {
        let client = case.client().await;
        let (text, expected) = slow_printer(100, "0.1");
        let text = format!("{text}; printf '{{\"done\": true}}' > \"$LONGSHORE_RESULT\"; sleep 0.2; exit 5");
        let spec = RunSpec { result: result_rule(ResultMode::Optional, ResultScan::Off), ..script(&text) };
        let submitted = client.submit_as("survivor", spec.clone()).await.expect("SubmitRun").run.expect("the run");
        let name = submitted.name.clone();
        let mut stream = client.open_logs(follow(&name)).await;
        stream.until("line 20\n").await;
        case.daemon.kill().await;
        let first = stream.until_cut().await;
        assert_eq!(first.closing, None, "a kill is a cut");
        case.daemon.revive().await;

        let client = case.client().await;
        let replay = client.submit_as("survivor", spec).await.expect("SubmitRun");
        assert_eq!((replay.replayed, replay.run.map(|run| run.uid)), (true, Some(submitted.uid)));
        let second = client.read_logs(resumed(&follow(&name), &first.cursor)).await;
        second.assert_complete();
        assert_eq!(format!("{}{}", first.text(), second.text()), expected, "complete, and nothing twice");
        let run = client.wait_terminal(&name).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(5)), "{run:?}");
        assert_eq!(run.result.map(|result| result.json).as_deref(), Some("{\"done\":true}"));
        assert_eq!((case.all::<Job>().await.len(), case.all::<Pod>().await.len()), (1, 1), "it ran once");
        assert_eq!(client.logs(&name).await.text(), expected);
    })
    .await;
}

#[tokio::test]
async fn a_submit_that_the_death_interrupts_is_repeated_safely() {
    on_cluster("a_submit_that_the_death_interrupts", async |case| {
        let spec = RunSpec { input: Some(json_input("\"once\"")), ..script("cat \"$LONGSHORE_INPUT\"; sleep 0.2") };
        let mut names = Vec::new();
        for number in 0..6 {
            let request = SubmitRunRequest { run_id: format!("kill-{number}"), ..submit_request(spec.clone()) };
            let client = case.client().await;
            let interrupted = tokio::spawn({
                let (client, request) = (client.clone(), request.clone());
                async move { client.try_submit(request).await }
            });
            // Even ones die somewhere on the way, odd ones as soon as the Job can be seen.
            let (jobs, job) = (case.api::<Job>(), format!("run-kill-{number}"));
            if number % 2 == 1 {
                until("the Job", async || jobs.get_opt(&job).await.expect("a look")).await;
            }
            case.daemon.kill().await;
            // Answered or not: the caller can't know what became of it, and asks again.
            let _ = interrupted.await.expect("the submit's task");
            case.daemon.revive().await;
            let repeated = case.client().await.try_submit(request).await.expect("SubmitRun");
            names.push(repeated.run.expect("the run").name);
        }
        let client = case.client().await;
        for name in &names {
            assert_eq!(client.wait_terminal(name).await.state(), RunState::Succeeded);
            assert_eq!(client.logs(name).await.text(), "\"once\"");
        }
        assert_eq!((case.all::<Job>().await.len(), case.all::<Pod>().await.len()), (6, 6));
    })
    .await;
}

#[tokio::test]
async fn what_was_decided_before_the_death_is_carried_out_after_it() {
    on_cluster("what_was_decided_before_the_death", async |case| {
        let client = case.client().await;
        let name = client.submit(script(UNTIL_TERM)).await.name;
        let query = client.submit(sql("SELECT 1 AS one")).await.name;
        client.open_logs(follow(&name)).await.until("ready\n").await;
        client.cancel(&name, "before").await;
        case.daemon.kill().await;
        case.daemon.revive().await;
        let client = case.client().await;
        let run = client.wait_terminal(&name).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Cancelled, Some(3)), "{run:?}");
        assert_eq!(run.stop.map(|stop| stop.reason).as_deref(), Some("before"));
        assert_eq!(client.logs(&name).await.text(), "ready\nbye\n");
        let run = client.wait_terminal(&query).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        assert!(run.result.is_some_and(|result| result.json.contains("\"one\"")));
    })
    .await;
}

#[tokio::test]
async fn a_result_whose_pod_is_gone_is_unavailable() {
    on_cluster("a_result_whose_pod_is_gone", async |case| {
        let client = case.client().await;
        let text = r#"sleep 3; echo '{"a":1}'; sleep 0.2"#;
        let rule = result_rule(ResultMode::Required, ResultScan::LastObject);
        let name = client.submit(RunSpec { result: rule, ..script(text) }).await.name;
        client.wait_state(&name, RunState::Running).await;
        // Nobody reads while it ends, and then there is nothing to read any more.
        case.daemon.kill().await;
        let is_complete = async || {
            let conditions = case.job(&name).await.status.and_then(|status| status.conditions).unwrap_or_default();
            conditions.iter().any(|c| c.type_ == "Complete" && c.status == "True").then_some(())
        };
        until("the Job's end", is_complete).await;
        for pod in case.all::<Pod>().await {
            let pod = pod.metadata.name.expect("a name");
            case.api::<Pod>().delete(&pod, &DeleteParams::default()).await.expect("delete the Pod");
        }
        until("the Pod to be gone", async || case.all::<Pod>().await.is_empty().then_some(())).await;
        case.daemon.revive().await;

        let run = case.client().await.wait_settled(&name).await;
        let reason = run.failure.as_ref().map(|failure| failure.reason());
        assert_eq!((run.state(), reason), (RunState::Failed, Some(FailureReason::ResultUnavailable)), "{run:?}");
        assert_eq!(run.result.map(|result| result.state()), Some(ResultState::Unavailable));
    })
    .await;
}
