//! What the cluster says to a Job and its Pod, before and after.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota, Secret};
use kube::api::PostParams;
use longshore::proto::v1::{ErrorReason, FailureClass, FailureReason, RunSpec, RunState, SubmitRunRequest};
use tonic::Code;

use crate::case::{Case, Setup, on_cluster, on_cluster_with, script};
use crate::support::client::submit_request;
use crate::support::errors::assert_error;
use crate::support::spec::{json_input, seconds};
use crate::support::wait::until;

fn preview(spec: RunSpec) -> SubmitRunRequest {
    SubmitRunRequest { validate_only: true, request_id: "preview".to_owned(), ..submit_request(spec) }
}

#[tokio::test]
async fn a_preview_is_accepted_under_restricted_and_makes_nothing() {
    on_cluster("a_preview_is_accepted_under_restricted", async |case| {
        let client = case.client().await;
        let spec = RunSpec { input: Some(json_input("\"hush\"")), ..script("exit 0") };
        let preview = client.try_submit(preview(spec)).await.expect("SubmitRun");
        let verdicts: Vec<_> = preview.verdicts.iter().map(|v| (v.kind.as_str(), v.accepted)).collect();
        assert_eq!(verdicts, [("Job", true), ("Pod", true)], "{:?}", preview.verdicts);
        assert!(preview.manifest.contains("runAsNonRoot"), "{}", preview.manifest);
        assert!(!preview.manifest.contains("hush"), "input is not shown: {}", preview.manifest);
        let name = preview.run.expect("the run as it would be").name;
        client.try_get(&name).await.expect_err("nothing was made");
        assert!(case.all::<Job>().await.is_empty());
        assert!(case.all::<Pod>().await.is_empty());
        assert!(case.all::<Secret>().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_preview_reports_what_a_limit_range_refuses() {
    on_cluster("a_preview_reports_what_a_limit_range_refuses", async |case| {
        let range: LimitRange = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "small" },
            "spec": { "limits": [{ "type": "Container", "max": { "memory": "8Mi" } }] },
        }))
        .unwrap();
        case.api::<LimitRange>().create(&PostParams::default(), &range).await.expect("a LimitRange");
        let client = case.client().await;
        // The API server learns of a LimitRange a moment later.
        let refused = until("the LimitRange to count", async || {
            let preview = client.try_submit(preview(script("exit 0"))).await.expect("SubmitRun");
            preview.verdicts.into_iter().find(|verdict| verdict.kind == "Pod" && !verdict.accepted)
        })
        .await;
        assert!(refused.message.contains("memory"), "in the server's words: {refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_used_up_quota_is_reported_as_such() {
    on_cluster("a_used_up_quota_is_reported_as_such", async |case| {
        let quota: ResourceQuota = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } },
        }))
        .unwrap();
        case.api::<ResourceQuota>().create(&PostParams::default(), &quota).await.expect("a quota");
        let quotas = case.api::<ResourceQuota>();
        until("the quota to count", async || quotas.get("none").await.ok()?.status?.hard).await;
        let client = case.client().await;
        let preview = client.try_submit(preview(script("exit 0"))).await.expect("SubmitRun");
        let pod = preview.verdicts.iter().find(|verdict| verdict.kind == "Pod").expect("a verdict");
        assert!(!pod.accepted && pod.message.contains("exceeded quota"), "{pod:?}");

        let run = client.submit(RunSpec { start_timeout: seconds(20), ..script("exit 0") }).await;
        let run =
            client.wait_until(&run.name, "warned of the quota", |run| run.message.contains("exceeded quota")).await;
        assert_eq!(run.state(), RunState::Pending, "{run:?}");
        let run = client.wait_terminal(&run.name).await;
        let failure = run.failure.as_ref().expect("a failure");
        assert_eq!(
            (failure.reason(), failure.failure_class()),
            (FailureReason::Quota, FailureClass::Policy),
            "{run:?}"
        );
        assert!(failure.retryable);
    })
    .await;
}

#[tokio::test]
async fn a_job_of_somebody_else_is_left_alone() {
    on_cluster("a_job_of_somebody_else_is_left_alone", async |case| {
        let foreign: Job = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "run-mine" },
            "spec": { "suspend": true, "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "own", "image": "localhost/none:1" }],
            } } },
        }))
        .unwrap();
        let made = case.api::<Job>().create(&PostParams::default(), &foreign).await.expect("a Job");
        let client = case.client().await;
        let request = SubmitRunRequest { run_id: "mine".to_owned(), ..submit_request(script("exit 0")) };
        let refused = client.try_submit(request).await.expect_err("the name is taken");
        assert_error(&refused, Code::AlreadyExists, ErrorReason::NameTaken);
        let name = "namespaces/default/runs/mine";
        let gone = client.try_get(name).await.expect_err("it is no run");
        assert_error(&gone, Code::NotFound, ErrorReason::ResourceNotFound);
        client.delete(name).await.expect_err("it is no run");
        let now: Job = case.job(name).await;
        assert_eq!((now.metadata.uid, now.spec), (made.metadata.uid, made.spec));
    })
    .await;
}

#[tokio::test]
async fn two_installations_in_one_namespace_do_not_see_each_other() {
    on_cluster("two_installations_in_one_namespace", async |case: &mut Case| {
        let mine = case.client().await;
        let run = mine.run(script("exit 0")).await;
        let other = case.other_daemon("other").await;
        let theirs = other.client().ready().await;
        theirs.try_get(&run.name).await.expect_err("it is not theirs");
        let id = run.name.rsplit('/').next().expect("an id").to_owned();
        theirs.delete(&format!("namespaces/default/runs/{id}")).await.expect_err("it is not theirs");
        mine.get(&run.name).await;
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_is_missing_is_reported_with_the_way_out() {
    let config = "[namespaces.absent]\nkubernetes_namespace = \"ls-there-is-none\"".to_owned();
    let setup = Setup { config, ..Setup::default() };
    on_cluster_with("a_namespace_that_is_missing", setup, async |case| {
        let client = case.client().await;
        let request = SubmitRunRequest { parent: "namespaces/absent".to_owned(), ..submit_request(script("exit 0")) };
        let refused = client.try_submit(request).await.expect_err("it is missing");
        assert_error(&refused, Code::FailedPrecondition, ErrorReason::NamespaceNotReady);
        assert!(refused.message().contains("kubectl create namespace ls-there-is-none"), "{}", refused.message());
    })
    .await;
}
