//! Cancels before the program runs. What there is of a run then is not a log and no exit code.

use longshore::proto::v1::{Run, RunSpec, RunState, StopCause};

use crate::case::{Case, on_cluster, script};
use crate::outcomes::nowhere;
use crate::support::client::Client;
use crate::support::logs::Closing;
use crate::support::spec::{container, seconds};
use crate::support::wait::until;

async fn cancel(client: &Client, run: &Run) {
    client.cancel(&run.name, "changed my mind").await;
    let run = client.wait_terminal(&run.name).await;
    assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
    assert_eq!((run.exit_code, run.failure.as_ref()), (None, None), "it never ran");
    let stop = run.stop.as_ref().expect("the stop");
    assert_eq!((stop.cause(), stop.reason.as_str()), (StopCause::Cancel, "changed my mind"));
    let log = client.logs(&run.name).await;
    log.assert_complete();
    assert_eq!(log.text(), "");
}

/// Waits until nothing of the run's Pods is left running.
async fn pods_gone(case: &Case) {
    until("the Pods to end", async || {
        let pods = case.all::<k8s_openapi::api::core::v1::Pod>().await;
        let phase = |pod: &k8s_openapi::api::core::v1::Pod| pod.status.as_ref().and_then(|s| s.phase.clone());
        pods.iter().all(|pod| matches!(phase(pod).as_deref(), Some("Failed" | "Succeeded"))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_cancel_while_pending() {
    on_cluster("a_cancel_while_pending", async |case| {
        let client = case.client().await;
        let run = client.submit(RunSpec { placement: nowhere(), ..script("exit 0") }).await;
        let run = client.wait_until(&run.name, "unschedulable", |run| run.waiting_reason == "Unschedulable").await;
        assert_eq!(run.state(), RunState::Pending, "{run:?}");
        assert!(run.message.contains("node"), "in the scheduler's words: {}", run.message);
        cancel(&client, &run).await;
        pods_gone(case).await;
    })
    .await;
}

#[tokio::test]
async fn a_cancel_while_pulling() {
    on_cluster("a_cancel_while_pulling", async |case| {
        let client = case.client().await;
        let run = client.submit(container("127.0.0.1:1/missing:1", ["true"])).await;
        let pulls = |run: &Run| ["ErrImagePull", "ImagePullBackOff"].contains(&run.waiting_reason.as_str());
        let run = client.wait_until(&run.name, "failing to pull", pulls).await;
        assert_eq!(run.state(), RunState::Starting, "{run:?}");
        cancel(&client, &run).await;
        pods_gone(case).await;
    })
    .await;
}

#[tokio::test]
async fn a_cancel_at_once() {
    on_cluster("a_cancel_at_once", async |case| {
        let client = case.client().await;
        let run = client.submit(script("sleep 60")).await;
        client.cancel(&run.name, "at once").await;
        let run = client.wait_terminal(&run.name).await;
        assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
        // It may have been on its way already. Then it is ended as started, and since the Job's controller
        // deletes its Pod there is its output, or a gap that says why there is none.
        let log = client.logs(&run.name).await;
        assert!(matches!(log.closing, Some(Closing::End(_))), "{log:?}");
        pods_gone(case).await;
    })
    .await;
}

#[tokio::test]
async fn a_program_that_ignores_term_is_killed_after_its_grace() {
    on_cluster("a_program_that_ignores_term", async |case| {
        let client = case.client().await;
        let text = "trap '' TERM; echo ready; i=0; while [ $i -lt 1200 ]; do sleep 0.1; i=$((i+1)); done";
        let run = client.submit(RunSpec { termination_grace: seconds(1), ..script(text) }).await;
        let mut log = client.open_logs(crate::support::client::follow(&run.name)).await;
        log.until("ready\n").await;
        client.cancel(&run.name, "now").await;
        let run = client.wait_terminal(&run.name).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Cancelled, Some(137)), "{run:?}");
        log.rest().await.assert_complete();
    })
    .await;
}
