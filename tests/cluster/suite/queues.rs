//! Queues, with what Kueue does to a Job played against the real API server: its webhook and controllers do no more to it than
//! set `suspend`.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use longshore::proto::v1::{FailureReason, Run, RunSpec, RunState};
use serde_json::json;

use crate::case::{Case, Setup, on_cluster_with, reason, script};
use crate::support::spec::{UNTIL_TERM, seconds};
use crate::support::wait::until;

async fn in_queues(name: &str, test: impl AsyncFnOnce(&mut Case)) {
    let config = "[kubernetes]\nqueues = [\"team-a\"]\n".to_owned();
    on_cluster_with(name, Setup { config, ..Setup::default() }, test).await;
}

fn queued(text: &str) -> RunSpec {
    RunSpec { queue_name: "team-a".to_owned(), ..script(text) }
}

async fn suspend(case: &Case, job: &str, suspended: bool) {
    let patch = Patch::Merge(json!({"spec": {"suspend": suspended}}));
    case.api::<Job>().patch(job, &PatchParams::default(), &patch).await.expect("patch the Job");
}

fn second_job(run: &str) -> String {
    Case::job_name(run).replacen("run-", "run2-", 1)
}

async fn pod_of(case: &Case, run: &Run) -> Option<Pod> {
    case.api::<Pod>().get_opt(&run.attempts[0].pod).await.expect("a look")
}

#[tokio::test]
async fn a_run_starts_once_its_queue_lets_it_go() {
    in_queues("a_run_starts_once_its_queue", async |case| {
        let client = case.client().await;
        let name = client.submit(queued("exit 0")).await.name;
        client.wait_state(&name, RunState::Queued).await;
        let job = case.job(&name).await;
        assert_eq!(
            job.metadata.labels.as_ref().and_then(|all| all.get("kueue.x-k8s.io/queue-name")).unwrap(),
            "team-a"
        );
        assert!(case.all::<Pod>().await.is_empty());
        suspend(case, &Case::job_name(&name), false).await;
        let run = client.wait_settled(&name).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        let timeline = run.timeline.as_ref().expect("a timeline");
        let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
        let (admitted, started) = (seconds(timeline.admit_time), seconds(timeline.start_time));
        assert!(admitted.is_some() && started >= admitted, "{timeline:?}");
    })
    .await;
}

#[tokio::test]
async fn what_waits_too_long_in_its_queue_fails_and_keeps_its_key() {
    in_queues("what_waits_too_long", async |case| {
        let client = case.client().await;
        let spec = RunSpec { queue_timeout: seconds(2), ..queued("exit 0") };
        let run = client.submit_as("the key", spec.clone()).await.expect("SubmitRun").run.expect("the run");
        let run = client.wait_settled(&run.name).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::QueueDeadline)), "{run:?}");
        suspend(case, &Case::job_name(&run.name), false).await;
        until("the Job to end", async || {
            let conditions = case.job(&run.name).await.status?.conditions?;
            conditions.iter().any(|condition| condition.type_ == "Failed" && condition.status == "True").then_some(())
        })
        .await;
        assert!(client.submit_as("the key", spec).await.expect("SubmitRun").replayed);
        assert!(case.all::<Pod>().await.is_empty(), "nothing starts when it is let go");
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_is_not_configured_is_refused() {
    in_queues("a_queue_that_is_not_configured", async |case| {
        let client = case.client().await;
        let spec = RunSpec { queue_name: "team-b".to_owned(), ..script("exit 0") };
        let refused = client.submit_as("x", spec).await.expect_err("a queue that is not there");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("queue `team-b` not found; available: `team-a`"), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_preempted_run_is_tried_again_by_another_job_and_the_first_starts_nothing() {
    in_queues("a_preempted_run", async |case| {
        let client = case.client().await;
        let text = format!("[ \"$LONGSHORE_ATTEMPT\" = 2 ] && exit 0; {UNTIL_TERM}");
        let name = client.submit(RunSpec { infra_retries: Some(1), ..queued(&text) }).await.name;
        let job = Case::job_name(&name);
        suspend(case, &job, false).await;
        client.wait_state(&name, RunState::Running).await;
        suspend(case, &job, true).await;
        let second =
            client.wait_until(&name, "queued again", |run| run.attempts.len() == 2 && run.state() == RunState::Queued);
        let second = second.await;
        let failure = second.attempts[0].failure.as_ref().map(|failure| failure.reason());
        assert_eq!(failure, Some(FailureReason::Preempted), "{second:?}");
        // Its queue lets both go.
        suspend(case, &job, false).await;
        suspend(case, &second_job(&name), false).await;
        let run = client.wait_settled(&name).await;
        assert_eq!((run.state(), run.attempts.len()), (RunState::Succeeded, 2), "{run:?}");
        assert_eq!(case.job(&name).await.spec.and_then(|spec| spec.parallelism), Some(0));
        assert!(run.attempts.iter().all(|attempt| attempt.further_uids.is_empty()), "{run:?}");
    })
    .await;
}

#[tokio::test]
async fn a_second_start_that_nobody_could_prevent_is_reported_and_ended() {
    in_queues("a_second_start", async |case| {
        let client = case.client().await;
        let name = client.submit(queued(UNTIL_TERM)).await.name;
        let job = Case::job_name(&name);
        suspend(case, &job, false).await;
        let run = client.wait_state(&name, RunState::Running).await;
        until("its start to be noted", async || {
            case.job(&name).await.metadata.annotations?.contains_key("longshore.dev/start").then_some(())
        })
        .await;
        case.daemon.kill().await;
        suspend(case, &job, true).await;
        until("its Pod to go", async || pod_of(case, &run).await.is_none().then_some(())).await;
        suspend(case, &job, false).await;
        let again = until("another Pod to run", async || {
            let pods = case.all::<Pod>().await;
            pods.into_iter().find(|pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running"))
        })
        .await;
        case.daemon.revive().await;
        let end = case.client().await.wait_settled(&name).await;
        assert_eq!((end.state(), reason(&end)), (RunState::Failed, Some(FailureReason::Preempted)), "{end:?}");
        assert_eq!(end.attempts[0].uid, run.attempts[0].uid);
        assert_eq!(Some(&end.attempts[0].further_uids[..]), again.metadata.uid.as_ref().map(std::slice::from_ref));
        assert!(end.message.contains("started it 1 more time"), "{}", end.message);
        let pod = again.metadata.name.expect("a name");
        until("the second Pod to end", async || {
            let pod = case.api::<Pod>().get_opt(&pod).await.expect("a look");
            pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()).then_some(())
        })
        .await;
    })
    .await;
}
