//! Further attempts: each is a Job of its own, made of the first one's.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams, PropagationPolicy};
use longshore::proto::v1::{Attempt, FailureReason, Run, RunSpec, RunState, StopCause};
use serde_json::json;

use crate::case::{Case, on_cluster, reason, script};
use crate::support::client::follow;
use crate::support::spec::{UNTIL_TERM, json_input, seconds};
use crate::support::wait::until;

/// Fails with 3 in each attempt before this one, which succeeds.
fn succeeds_in(attempt: u32) -> String {
    format!("echo \"attempt $LONGSHORE_ATTEMPT\"; [ \"$LONGSHORE_ATTEMPT\" = {attempt} ] || exit 3")
}

fn retried(text: &str, max_retries: i32) -> RunSpec {
    RunSpec { max_retries: Some(max_retries), ..script(text) }
}

fn further_name(run: &str, number: u32) -> String {
    format!("run{number}-{}", run.rsplit('/').next().unwrap_or_default())
}

async fn further(case: &Case, run: &str, number: u32) -> Job {
    case.api::<Job>().get(&further_name(run, number)).await.expect("the attempt's Job")
}

fn is_held(job: &Job) -> bool {
    job.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == "longshore.dev/record")
}

fn reason_of(attempt: &Attempt) -> Option<FailureReason> {
    attempt.failure.as_ref().map(|failure| failure.reason())
}

fn numbers(run: &Run) -> Vec<i32> {
    run.attempts.iter().map(|attempt| attempt.number).collect()
}

async fn in_attempt(case: &Case, name: &str, number: i32) -> Run {
    let is_it = |run: &Run| run.attempts.last().is_some_and(|last| last.number == number && last.start_time.is_some());
    case.client().await.wait_until(name, "in a further attempt", is_it).await
}

async fn all_gone(case: &Case) {
    until("all Jobs and Pods to go", async || {
        (case.all::<Job>().await.len() + case.all::<Pod>().await.len() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_attempt_is_a_job_with_its_number_and_the_same_input() {
    on_cluster("each_attempt_is_a_job", async |case| {
        let client = case.client().await;
        let text = format!("cat \"$LONGSHORE_INPUT\"; {}", succeeds_in(3));
        let spec = RunSpec { input: Some(json_input("\"in\"")), ..retried(&text, 3) };
        let run = client.submit(spec).await;
        let run = client.wait_settled(&run.name).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Succeeded, Some(0)), "{run:?}");
        assert_eq!(numbers(&run), [1, 2, 3]);
        let codes: Vec<_> = run.attempts.iter().map(|attempt| attempt.exit_code).collect();
        assert_eq!(codes, [Some(3), Some(3), Some(0)], "{run:?}");
        assert_eq!(reason_of(&run.attempts[1]), Some(FailureReason::NonzeroExit));
        for (earlier, later) in run.attempts.iter().zip(run.attempts.iter().skip(1)) {
            assert_ne!(earlier.uid, later.uid);
            let (end, start) = (earlier.finish_time.unwrap(), later.start_time.unwrap());
            assert!((end.seconds, end.nanos) <= (start.seconds, start.nanos), "one after the other: {run:?}");
        }
        // The record has what was kept of each, and nothing of the run is held.
        let anchor = case.job(&run.name).await;
        let kept = anchor.metadata.annotations.unwrap_or_default();
        assert!(!kept.keys().any(|key| key.starts_with("longshore.dev/attempt-")), "{kept:?}");
        assert!(case.all::<Job>().await.iter().all(|job| !is_held(job)));
        assert_eq!(case.all::<Job>().await.len(), 3);
        client.delete(&run.name).await.expect("DeleteRun");
        all_gone(case).await;
    })
    .await;
}

#[tokio::test]
async fn an_eviction_is_charged_to_the_budget_for_it() {
    on_cluster("an_eviction_is_charged", async |case| {
        let client = case.client().await;
        // The second attempt fails by itself, and for that there is no budget.
        let text = format!("[ \"$LONGSHORE_ATTEMPT\" = 2 ] && exit 4; {UNTIL_TERM}");
        let run = client.submit(RunSpec { infra_retries: Some(3), ..script(&text) }).await;
        let running = client.wait_state(&run.name, RunState::Running).await;
        let pod = running.attempts[0].pod.clone();
        let annotations = case.api::<Pod>().get(&pod).await.expect("the Pod").metadata.annotations.unwrap_or_default();
        assert!(!annotations.contains_key("karpenter.sh/do-not-disrupt"), "it may be repeated: {annotations:?}");
        case.api::<Pod>().evict(&pod, &EvictParams::default()).await.expect("an eviction");
        let run = client.wait_terminal(&run.name).await;
        assert_eq!((run.state(), run.exit_code, numbers(&run)), (RunState::Failed, Some(4), vec![1, 2]), "{run:?}");
        assert_eq!(reason_of(&run.attempts[0]), Some(FailureReason::Evicted), "{run:?}");
        assert_eq!(reason(&run), Some(FailureReason::NonzeroExit));
    })
    .await;
}

#[tokio::test]
async fn a_deleted_job_of_a_further_attempt_is_a_cancel_from_outside() {
    on_cluster("a_deleted_job_of_a_further_attempt", async |case| {
        let client = case.client().await;
        let text = format!("[ \"$LONGSHORE_ATTEMPT\" = 1 ] && exit 3; {UNTIL_TERM}");
        let name = client.submit(retried(&text, 5)).await.name;
        in_attempt(case, &name, 2).await;
        let job = further_name(&name, 2);
        case.api::<Job>().delete(&job, &DeleteParams::background()).await.expect("delete");
        let run = client.wait_terminal(&name).await;
        assert_eq!((run.state(), numbers(&run)), (RunState::Cancelled, vec![1, 2]), "{run:?}");
        assert_eq!(run.stop.as_ref().map(|stop| stop.cause()), Some(StopCause::External), "{run:?}");
        client.wait_settled(&name).await;
        let jobs = case.api::<Job>();
        until("the Job to go", async || jobs.get_opt(&job).await.expect("a look").is_none().then_some(())).await;
        assert_eq!(client.get(&name).await.state(), RunState::Cancelled, "the run stays");
    })
    .await;
}

/// Somebody takes our hold off it, so that it is gone at once.
#[tokio::test]
async fn a_further_job_that_is_gone_at_once_ends_the_run() {
    on_cluster("a_further_job_that_is_gone", async |case| {
        let client = case.client().await;
        let text = format!("[ \"$LONGSHORE_ATTEMPT\" = 1 ] && exit 3; {UNTIL_TERM}");
        let name = client.submit(retried(&text, 5)).await.name;
        in_attempt(case, &name, 2).await;
        let (jobs, job) = (case.api::<Job>(), further_name(&name, 2));
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        jobs.patch(&job, &PatchParams::default(), &free).await.expect("patch");
        jobs.delete(&job, &DeleteParams::background()).await.expect("delete");
        let run = client.wait_settled(&name).await;
        assert_ne!(run.state(), RunState::Succeeded, "{run:?}");
        assert_eq!(numbers(&run), [1, 2], "{run:?}");
        until("its Pod to go", async || (case.all::<Pod>().await.len() == 1).then_some(())).await;
    })
    .await;
}

#[tokio::test]
async fn a_foreign_job_with_the_name_of_the_next_attempt_is_left_alone() {
    on_cluster("a_foreign_job_with_the_name", async |case| {
        let client = case.client().await;
        let mut foreign: Job = serde_json::from_value(json!({
            "metadata": {"name": "run2-taken"},
            "spec": {"suspend": true, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "x", "image": "x", "command": ["true"]}],
            }}},
        }))
        .expect("a Job");
        let jobs = case.api::<Job>();
        foreign = jobs.create(&PostParams::default(), &foreign).await.expect("create a Job");
        let spec = retried("exit 3", 1);
        let request = longshore::proto::v1::SubmitRunRequest {
            run_id: "taken".to_owned(),
            ..crate::support::client::submit_request(spec)
        };
        let run = client.try_submit(request).await.expect("SubmitRun").run.expect("the run");
        let said = |run: &Run| run.message.contains("run2-taken");
        let waiting = client.wait_until(&run.name, "waiting for the name", said).await;
        assert!(waiting.message.contains("another owner"), "{waiting:?}");
        client.cancel(&run.name, "enough").await;
        let run = client.wait_settled(&run.name).await;
        assert_eq!((run.state(), numbers(&run)), (RunState::Cancelled, vec![1]), "{run:?}");
        let there = jobs.get("run2-taken").await.expect("the Job");
        assert_eq!((there.metadata.uid, there.metadata.deletion_timestamp), (foreign.metadata.uid, None));
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_between_two_attempts_begins_none() {
    on_cluster("a_run_that_is_cancelled_between", async |case| {
        let client = case.client().await;
        // The pauses grow, so that the later ones can be met.
        let name = client.submit(retried("exit 3", 20)).await.name;
        let pauses = |run: &Run| run.retry_time.is_some() && run.attempts.len() >= 4;
        let waiting = client.wait_until(&name, "in a later pause", pauses).await;
        assert_eq!(waiting.state(), RunState::Pending, "{waiting:?}");
        client.cancel(&name, "enough").await;
        let run = client.wait_settled(&name).await;
        assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
        let jobs = case.all::<Job>().await.len();
        assert_eq!(jobs, run.attempts.len(), "{run:?}");
        // Longer than any pause that was left.
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(case.all::<Job>().await.len(), jobs, "nothing begins after it");
        assert_eq!(client.get(&name).await.attempts, run.attempts);
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_dies_over_and_over_begins_each_attempt_once() {
    on_cluster("a_daemon_that_dies_over_and_over", async |case| {
        let text = format!("{}; sleep 1; exit 0", succeeds_in(4));
        let name = case.client().await.submit(retried(&text, 3)).await.name;
        for pause in [900, 1_700, 600, 2_300, 1_100] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            case.daemon.kill().await;
            case.daemon.revive().await;
            case.client().await;
        }
        let client = case.client().await;
        let run = client.wait_settled(&name).await;
        assert_eq!((run.state(), numbers(&run)), (RunState::Succeeded, vec![1, 2, 3, 4]), "{run:?}");
        let pods = case.all::<Pod>().await;
        assert_eq!(pods.len(), 4, "each ran once");
        let uids: Vec<_> = run.attempts.iter().map(|attempt| attempt.uid.clone()).collect();
        for pod in pods {
            assert!(uids.contains(&pod.metadata.uid.unwrap_or_default()), "{uids:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_failed_while_no_daemon_ran_is_followed_by_another() {
    on_cluster("an_attempt_that_failed_while_no_daemon_ran", async |case| {
        let client = case.client().await;
        let name = client.submit(retried(&format!("sleep 2; {}", succeeds_in(2)), 1)).await.name;
        client.wait_state(&name, RunState::Running).await;
        case.daemon.kill().await;
        until("the first Job to end", async || {
            let conditions = case.job(&name).await.status?.conditions?;
            conditions.iter().any(|condition| condition.type_ == "Failed" && condition.status == "True").then_some(())
        })
        .await;
        case.daemon.revive().await;
        let client = case.client().await;
        let run = client.wait_terminal(&name).await;
        assert_eq!((run.state(), numbers(&run)), (RunState::Succeeded, vec![1, 2]), "{run:?}");
        let log = client.read_logs(follow(&name)).await;
        assert!(log.text().contains("attempt 2"), "{}", log.text());
    })
    .await;
}

#[tokio::test]
async fn further_jobs_go_with_the_first_when_its_retention_is_over() {
    on_cluster("further_jobs_go_with_the_first", async |case| {
        let client = case.client().await;
        let spec = RunSpec { retention: seconds(3), ..retried(&succeeds_in(2), 1) };
        let name = client.submit(spec).await.name;
        assert_eq!(client.wait_terminal(&name).await.state(), RunState::Succeeded);
        all_gone(case).await;
    })
    .await;
}

#[tokio::test]
async fn labels_that_were_taken_from_a_further_job_are_given_back() {
    on_cluster("labels_that_were_taken_from_a_further_job", async |case| {
        let client = case.client().await;
        let text = format!("[ \"$LONGSHORE_ATTEMPT\" = 1 ] && exit 3; {UNTIL_TERM}");
        let name = client.submit(retried(&text, 5)).await.name;
        in_attempt(case, &name, 2).await;
        let (jobs, job) = (case.api::<Job>(), further_name(&name, 2));
        let bare = Patch::Merge(json!({"metadata": {"labels": null}}));
        let restored = async || {
            until("its labels to be back", async || {
                further(case, &name, 2).await.metadata.labels?.get("longshore.dev/instance").cloned()
            })
            .await
        };
        jobs.patch(&job, &PatchParams::default(), &bare).await.expect("patch");
        restored().await;
        case.client().await.cancel(&name, "enough").await;
        let run = client.wait_settled(&name).await;
        assert_eq!((run.state(), numbers(&run)), (RunState::Cancelled, vec![1, 2]), "{run:?}");
        assert!(!is_held(&further(case, &name, 2).await));
    })
    .await;
}

/// The anchor goes without its further Job: nobody else would let that go.
#[tokio::test]
async fn what_an_anchor_left_behind_is_let_go() {
    on_cluster("what_an_anchor_left_behind_is_let_go", async |case| {
        let client = case.client().await;
        let text = format!("[ \"$LONGSHORE_ATTEMPT\" = 1 ] && exit 3; {UNTIL_TERM}");
        let name = client.submit(retried(&text, 5)).await.name;
        in_attempt(case, &name, 2).await;
        case.daemon.kill().await;
        let (jobs, anchor) = (case.api::<Job>(), Case::job_name(&name));
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        jobs.patch(&anchor, &PatchParams::default(), &free).await.expect("patch");
        jobs.delete(&anchor, &DeleteParams::background()).await.expect("delete");
        until("the anchor to go", async || jobs.get_opt(&anchor).await.expect("a look").is_none().then_some(())).await;
        case.daemon.revive().await;
        all_gone(case).await;
    })
    .await;
}

/// The same of a run that is over, whose Jobs nobody holds.
#[tokio::test]
async fn what_a_finished_run_left_behind_is_let_go() {
    on_cluster("what_a_finished_run_left_behind", async |case| {
        let client = case.client().await;
        let name = client.submit(retried(&succeeds_in(2), 1)).await.name;
        client.wait_settled(&name).await;
        let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
        case.api::<Job>().delete(&Case::job_name(&name), &params).await.expect("delete");
        all_gone(case).await;
    })
    .await;
}

/// A TTL counts from the end of its Job, which is that of the first attempt.
#[tokio::test]
async fn the_retention_counts_from_the_end_of_the_last_attempt() {
    on_cluster("the_retention_counts_from_the_end", async |case| {
        let client = case.client().await;
        let text = "[ \"$LONGSHORE_ATTEMPT\" = 1 ] && exit 3; sleep 3; exit 0";
        let spec = RunSpec { retention: seconds(600), ..retried(text, 1) };
        let run = client.submit(spec).await;
        let run = client.wait_settled(&run.name).await;
        let ttl = case.job(&run.name).await.spec.and_then(|spec| spec.ttl_seconds_after_finished);
        let (first, last) = (run.attempts[0].finish_time.unwrap(), run.attempts[1].finish_time.unwrap());
        // Containers end a little before their Job does.
        let between = i32::try_from(last.seconds - first.seconds).unwrap();
        assert!(between >= 3 && ttl.is_some_and(|ttl| ttl > 600 + between - 3), "{ttl:?}, {between} s: {run:?}");
    })
    .await;
}
