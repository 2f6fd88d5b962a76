//! What is said of a run stays true, whatever the cluster does to it meanwhile.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PropagationPolicy};
use longshore::proto::v1::{ErrorReason, FailureReason, Resources, RunSpec, RunState};
use serde_json::json;
use tonic::Code;

use crate::case::{Case, on_cluster, reason, script, started};
use crate::support::client::{follow, submit_request};
use crate::support::errors::{assert_error, violated_fields};
use crate::support::spec::{UNTIL_TERM, json_input, seconds};
use crate::support::wait::until;

async fn patch_job(case: &Case, run: &str, patch: serde_json::Value) {
    let (jobs, name) = (case.api::<Job>(), Case::job_name(run));
    jobs.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("patch the Job");
}

#[tokio::test]
async fn a_cancel_right_after_the_submit_prevents_the_program_or_is_reported_with_its_log() {
    on_cluster("a_cancel_right_after_the_submit", async |case| {
        let client = case.client().await;
        for pause in [0_u64, 50, 100, 200, 300, 600] {
            let text = "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); sleep 0.1; done";
            // It knows nothing of TERM, so its grace is what it may still run.
            let run = client.submit(RunSpec { termination_grace: seconds(1), ..script(text) }).await;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            client.cancel(&run.name, "changed my mind").await;
            let run = client.wait_terminal(&run.name).await;
            assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
            assert_ne!(run.exit_code, Some(0), "it ran to its end: {run:?}");
            let log = client.logs(&run.name).await;
            let has_started = run.timeline.as_ref().is_some_and(|timeline| timeline.start_time.is_some());
            assert!(has_started || log.text().is_empty(), "what never ran printed {:?}", log.text());
        }
    })
    .await;
}

#[tokio::test]
async fn a_suspended_run_is_closed_and_its_key_stays() {
    on_cluster("a_suspended_run_is_closed", async |case| {
        let client = case.client().await;
        let spec = script(UNTIL_TERM);
        let run = client.submit_as("the key", spec.clone()).await.expect("SubmitRun").run.expect("the run");
        client.wait_state(&run.name, RunState::Running).await;
        patch_job(case, &run.name, json!({"spec": {"suspend": true}})).await;
        let run = client.wait_terminal(&run.name).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::Preempted)), "{run:?}");
        let settled = client.wait_settled(&run.name).await;
        assert_eq!(settled.uid, run.uid);
        let again = client.submit_as("the key", spec).await.expect("SubmitRun");
        assert!(again.replayed, "the same submit is not run again");
        // Nor is it when the queue lets it go on.
        patch_job(case, &run.name, json!({"spec": {"suspend": false}})).await;
        until("the Job to end", async || {
            let conditions = case.job(&run.name).await.status?.conditions?;
            conditions.iter().any(|condition| condition.type_ == "Failed" && condition.status == "True").then_some(())
        })
        .await;
        assert_eq!(client.get(&run.name).await.timeline, run.timeline);
    })
    .await;
}

#[tokio::test]
async fn a_suspended_run_that_never_started_is_cancelled_at_once_and_kept() {
    on_cluster("a_suspended_run_that_never_started", async |case| {
        let client = case.client().await;
        let run = client.submit(RunSpec { placement: crate::outcomes::nowhere(), ..script("exit 0") }).await;
        client.wait_state(&run.name, RunState::Pending).await;
        patch_job(case, &run.name, json!({"spec": {"suspend": true}})).await;
        client.wait_state(&run.name, RunState::Queued).await;
        client.cancel(&run.name, "not needed").await;
        let run = client.wait_terminal(&run.name).await;
        assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
        client.wait_settled(&run.name).await;
        let job = case.job(&run.name).await;
        assert_eq!(job.spec.and_then(|spec| spec.parallelism), Some(0), "nothing starts when it is resumed");
    })
    .await;
}

#[tokio::test]
async fn an_eviction_is_reported_in_its_words_while_it_lasts() {
    on_cluster("an_eviction_is_told_in_its_words", async |case| {
        let client = case.client().await;
        let text = "trap '' TERM; echo ready; i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done";
        let run = client.submit(RunSpec { termination_grace: seconds(4), ..script(text) }).await;
        let mut log = client.open_logs(follow(&run.name)).await;
        log.until("ready\n").await;
        let pod = client.get(&run.name).await.attempts.remove(0).pod;
        let evict = case.api::<Pod>();
        let reported = client.wait_until(&run.name, "being ended", |run| run.state() == RunState::Finishing);
        let params = EvictParams::default();
        let (reported, evicted) = futures::join!(reported, evict.evict(&pod, &params));
        evicted.expect("evict");
        assert!(reported.message.contains("EvictionByEvictionAPI"), "{}", reported.message);
        let run = client.wait_terminal(&run.name).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::Evicted)), "{run:?}");
        assert_eq!(run.exit_code, Some(137), "{run:?}");
    })
    .await;
}

#[tokio::test]
async fn a_program_within_its_budget_has_succeeded() {
    on_cluster("a_program_within_its_budget", async |case| {
        let client = case.client().await;
        let mut names = Vec::new();
        for _ in 0..6 {
            let spec = RunSpec { run_timeout: seconds(5), ..script("sleep 4.5; echo done") };
            names.push(client.submit(spec).await.name);
            tokio::time::sleep(Duration::from_millis(350)).await;
        }
        for name in names {
            let run = client.wait_terminal(&name).await;
            assert_eq!((run.state(), run.exit_code), (RunState::Succeeded, Some(0)), "{run:?}");
        }
        let run = client.run(RunSpec { run_timeout: seconds(2), ..script("sleep 60") }).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::RunDeadline)), "{run:?}");
        assert!(run.exit_code.is_some(), "it was waited for: {run:?}");
    })
    .await;
}

#[tokio::test]
async fn deadlines_of_others_are_reported_as_theirs() {
    on_cluster("deadlines_of_others", async |case| {
        let client = case.client().await;
        let (on_pod, on_job) = (started(&client).await, started(&client).await);
        let pod = on_pod.attempts[0].pod.clone();
        let deadline = json!({"spec": {"activeDeadlineSeconds": 4}});
        let patch = Patch::Merge(&deadline);
        case.api::<Pod>().patch(&pod, &PatchParams::default(), &patch).await.expect("patch the Pod");
        patch_job(case, &on_job.name, deadline.clone()).await;
        for run in [on_pod, on_job] {
            let run = client.wait_terminal(&run.name).await;
            let failure = run.failure.as_ref().expect("a failure");
            assert!(failure.message.contains("somebody outside Longshore"), "{run:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_holds_a_start_up_is_reported_and_is_the_cause() {
    on_cluster("what_holds_a_start_up", async |case| {
        let client = case.client().await;
        let limits = [("memory".to_owned(), "1Mi".to_owned())].into();
        let small = RunSpec { resources: Some(Resources { limits, ..Resources::default() }), ..script("exit 0") };
        let refused = client.try_submit(submit_request(small)).await.expect_err("too small");
        let fields = violated_fields(&refused, ErrorReason::InvalidFields);
        assert_eq!(fields, ["spec.resources.limits[\"memory\"]"]);

        let spec = RunSpec { input: Some(json_input("{}")), placement: crate::outcomes::nowhere(), ..script("exit 0") };
        let run = client.submit(RunSpec { start_timeout: seconds(12), ..spec }).await;
        let secrets = case.api::<Secret>();
        for secret in case.all::<Secret>().await {
            let name = secret.metadata.name.unwrap_or_default();
            secrets.delete(&name, &DeleteParams::default()).await.expect("delete the input");
        }
        let run = client.wait_terminal(&run.name).await;
        assert_eq!(run.state(), RunState::Failed, "{run:?}");
        assert_eq!(run.exit_code, None);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_something_else_holds_is_being_deleted_and_no_replay() {
    on_cluster("a_job_that_something_else_holds", async |case| {
        let client = case.client().await;
        let spec = script("exit 0");
        let run = client.submit_as("the key", spec.clone()).await.expect("SubmitRun").run.expect("the run");
        client.wait_settled(&run.name).await;
        let mut finalizers = case.job(&run.name).await.metadata.finalizers.unwrap_or_default();
        finalizers.push("example.com/hold".to_owned());
        patch_job(case, &run.name, json!({"metadata": {"finalizers": finalizers}})).await;
        client.delete(&run.name).await.expect("DeleteRun");
        let held = client.get(&run.name).await;
        assert!(held.delete_time.is_some(), "{held:?}");
        assert_eq!(held.state(), RunState::Succeeded, "what was reported stays");
        let refused = client.submit_as("the key", spec.clone()).await.expect_err("it is not gone");
        let details = assert_error(&refused, Code::Aborted, ErrorReason::DeleteInProgress);
        assert!(details.retry_info().is_some(), "{details:?}");
        patch_job(case, &run.name, json!({"metadata": {"finalizers": null}})).await;
        let again = until("the id to be free", async || client.submit_as("the key", spec.clone()).await.ok()).await;
        assert!(!again.replayed, "another run");
        assert_ne!(again.run.expect("the run").uid, run.uid);
    })
    .await;
}

#[tokio::test]
async fn damage_is_reported_and_can_be_cancelled_and_released() {
    on_cluster("damage_is_told", async |case| {
        let client = case.client().await;
        let run = started(&client).await;
        patch_job(case, &run.name, json!({"metadata": {"annotations": {"longshore.dev/spec": null}}})).await;
        let reported =
            client.wait_until(&run.name, "the damage", |run| run.message.contains("longshore.dev/spec")).await;
        assert_eq!(reported.state(), RunState::Running, "{reported:?}");
        // The same by a daemon that never saw it whole.
        case.daemon.kill().await;
        case.daemon.revive().await;
        let client = case.client().await;
        let reported = client.get(&run.name).await;
        assert_eq!(reported.state(), RunState::Running, "{reported:?}");
        client.cancel(&run.name, "enough").await;
        let run = client.wait_terminal(&run.name).await;
        assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
        client.wait_settled(&run.name).await;
    })
    .await;
}

#[tokio::test]
async fn labels_and_finalisers_that_somebody_takes_away_cost_nothing() {
    on_cluster("labels_and_finalisers", async |case| {
        let client = case.client().await;
        let run = started(&client).await;
        let label = json!({"metadata": {"labels": {"longshore.dev/instance": null}, "finalizers": null}});
        patch_job(case, &run.name, label).await;
        until("the label to be back", async || {
            case.job(&run.name).await.metadata.labels?.get("longshore.dev/instance").cloned()
        })
        .await;
        assert_eq!(client.get(&run.name).await.uid, run.uid);
        client.cancel(&run.name, "enough").await;
        let run = client.wait_settled(&run.name).await;
        assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
        until("its retention to run", async || case.job(&run.name).await.spec?.ttl_seconds_after_finished).await;

        // Nor does it while nobody watches.
        case.daemon.kill().await;
        patch_job(case, &run.name, json!({"metadata": {"labels": null}})).await;
        case.daemon.revive().await;
        let client = case.client().await;
        let known = until("the run to be there", async || client.try_get(&run.name).await.ok()).await;
        assert_eq!((known.state(), known.uid), (RunState::Cancelled, run.uid));
    })
    .await;
}

#[tokio::test]
async fn what_a_job_left_behind_is_deleted() {
    on_cluster("what_a_job_left_behind", async |case| {
        let client = case.client().await;
        let spec = RunSpec { input: Some(json_input("{}")), ..script(UNTIL_TERM) };
        let run = client.submit(spec).await;
        client.wait_state(&run.name, RunState::Running).await;
        let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
        case.api::<Job>().delete(&Case::job_name(&run.name), &orphan).await.expect("delete");
        until("nothing to be left", async || {
            let left = case.all::<Pod>().await.len() + case.all::<Secret>().await.len() + case.all::<Job>().await.len();
            (left == 0).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_failure_that_nobody_saw_is_lost_and_not_deleted_by_somebody() {
    on_cluster("a_failure_that_nobody_saw", async |case| {
        let client = case.client().await;
        let run = client.submit(script("sleep 2; exit 3")).await;
        client.wait_state(&run.name, RunState::Running).await;
        let pod = client.get(&run.name).await.attempts.remove(0).pod;
        case.daemon.kill().await;
        let pods = case.api::<Pod>();
        until("the program to end", async || (pods.get(&pod).await.ok()?.status?.phase? == "Failed").then_some(()))
            .await;
        until("the Job to count it", async || {
            let conditions = case.job(&run.name).await.status?.conditions?;
            conditions.iter().any(|condition| condition.type_ == "Failed").then_some(())
        })
        .await;
        pods.delete(&pod, &DeleteParams::default()).await.expect("delete");
        until("the Pod to go", async || pods.get_opt(&pod).await.expect("a look").is_none().then_some(())).await;
        case.daemon.revive().await;
        let run = case.client().await.wait_terminal(&run.name).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::Lost)), "{run:?}");
    })
    .await;
}
