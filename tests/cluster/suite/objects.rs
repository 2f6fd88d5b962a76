//! What a run leaves in the cluster: the same story for users of kubectl.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use longshore::proto::v1::env_var::Source;
use longshore::proto::v1::{
    EnvVar, ErrorReason, ReadResultRequest, ResultMode, ResultScan, RunSpec, RunState, SecretKeyRef,
};
use serde_json::json;

use crate::case::{Case, on_cluster, script};
use crate::support::client::submit_request;
use crate::support::errors::violated_fields;
use crate::support::spec::{json_input, result_rule};
use crate::support::wait::until;

const RECORD: &str = "longshore.dev/record";

/// The Job once the daemon has released it.
async fn released(case: &Case, run: &str) -> Job {
    until("the Job to be let go of", async || {
        let job = case.job(run).await;
        let held = job.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == RECORD);
        let timed = job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_some());
        (!held && timed).then_some(job)
    })
    .await
}

#[tokio::test]
async fn a_finished_job_reports_the_same_story() {
    on_cluster("a_finished_job_reports_the_same_story", async |case| {
        let client = case.client().await;
        for (text, reason) in [("exit 0", "SUCCEEDED"), ("exit 9", "NONZERO_EXIT")] {
            let run = client.submit(script(text)).await;
            let held = case.job(&run.name).await;
            assert!(held.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == RECORD), "{held:?}");
            assert_eq!(held.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished), None);
            let labels = held.metadata.labels.clone().unwrap_or_default();
            assert_eq!(labels.get("app.kubernetes.io/managed-by").map(String::as_str), Some("longshore"));
            assert_eq!(labels.get("longshore.dev/instance"), Some(&case.instance));
            let run = client.wait_terminal(&run.name).await;

            let job = released(case, &run.name).await;
            let conditions = job.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
            let recorded = conditions.iter().find(|condition| condition.type_ == "longshore.dev/Recorded");
            let recorded = recorded.unwrap_or_else(|| panic!("{conditions:?}"));
            assert_eq!((recorded.status.as_str(), recorded.reason.as_deref()), ("True", Some(reason)));
            assert!(recorded.message.as_deref().is_some_and(|message| !message.is_empty()));
            let annotations = job.metadata.annotations.clone().unwrap_or_default();
            let record: serde_json::Value = serde_json::from_str(&annotations[RECORD]).expect("the record is JSON");
            let state = run.state().as_str_name().strip_prefix("RUN_STATE_").expect("the prefix");
            assert_eq!(record["state"], state, "{record}");
            assert_eq!(job.spec.and_then(|spec| spec.ttl_seconds_after_finished), Some(24 * 3600));
            let expires = until("the time of expiry", async || client.get(&run.name).await.expire_time).await;
            assert!(expires.seconds > 0);
        }
    })
    .await;
}

#[tokio::test]
async fn input_lives_in_one_secret_that_goes_with_the_job() {
    on_cluster("input_lives_in_one_secret", async |case| {
        let client = case.client().await;
        let bare = client.run(script("exit 0")).await;
        assert!(case.all::<Secret>().await.is_empty(), "a run without input costs no Secret");
        let spec = RunSpec { input: Some(json_input("{}")), ..script("exit 0") };
        let run = client.run(spec).await;
        let job = case.job(&run.name).await;
        let secrets = case.all::<Secret>().await;
        let [secret] = secrets.as_slice() else { panic!("{secrets:?}") };
        assert_eq!(secret.immutable, Some(true));
        let owners = secret.metadata.owner_references.clone().unwrap_or_default();
        assert_eq!(owners.first().map(|owner| &owner.uid), job.metadata.uid.as_ref());
        assert!(!format!("{:?}", job.metadata.annotations).contains("{}"), "input is in the Secret only");
        client.delete(&run.name).await.expect("DeleteRun");
        let secrets = case.api::<Secret>();
        let name = secret.metadata.name.clone().unwrap_or_default();
        until("the Secret to go", async || secrets.get_opt(&name).await.expect("a look").is_none().then_some(())).await;
        assert_eq!(client.get(&bare.name).await.state(), RunState::Succeeded);
    })
    .await;
}

#[tokio::test]
async fn a_result_too_large_for_the_record_survives_a_restart() {
    on_cluster("a_result_too_large_for_the_record", async |case| {
        let client = case.client().await;
        let text = r#"printf '{"x":"'; head -c 100000 /dev/zero | tr '\0' x; echo '"}'; sleep 0.3"#;
        let result = result_rule(ResultMode::Required, ResultScan::LastObject);
        let run = client.run(RunSpec { result, ..script(text) }).await;
        let before = run.result.expect("a result");
        assert_eq!(before.json.len(), 100_008);
        released(case, &run.name).await;
        case.daemon.kill().await;
        case.daemon.revive().await;
        let client = case.client().await;
        let request = ReadResultRequest { name: run.name.clone(), read_offset: 0 };
        let mut chunks = client.runs.clone().read_result(request).await.expect("ReadResult").into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await.expect("ReadResult") {
            bytes.extend(chunk.data);
        }
        assert_eq!(bytes, before.json.as_bytes());
    })
    .await;
}

#[tokio::test]
async fn only_a_secret_that_an_operator_opened_reaches_a_run() {
    on_cluster("only_a_secret_that_an_operator_opened", async |case| {
        for (name, labels) in [("closed", json!({})), ("open", json!({ "longshore.dev/allow-runs": "true" }))] {
            let secret = json!({ "metadata": { "name": name, "labels": labels }, "stringData": { "key": "hush" } });
            let secret: Secret = serde_json::from_value(secret).unwrap();
            case.api::<Secret>().create(&PostParams::default(), &secret).await.expect("a Secret");
        }
        let client = case.client().await;
        let spec = |name: &str, key: &str| {
            let source = Some(Source::SecretKeyRef(SecretKeyRef { name: name.to_owned(), key: key.to_owned() }));
            let env = vec![EnvVar { name: "TOKEN".to_owned(), source }];
            RunSpec { env, ..script("echo \"it is $TOKEN\"; sleep 0.2") }
        };
        for (name, key) in [("closed", "key"), ("missing", "key"), ("open", "other")] {
            let refused = client.try_submit(submit_request(spec(name, key))).await.expect_err("refused");
            assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), ["spec.env[0].secret_key_ref"]);
            assert!(refused.message().contains(name), "{refused:?}");
            assert_eq!(case.all::<Job>().await.len(), 0, "nothing was made");
        }
        let run = client.run(spec("open", "key")).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        assert_eq!(client.logs(&run.name).await.text(), "it is hush\n");
        assert!(!format!("{:?}", case.job(&run.name).await).contains("hush"), "the value is in its Secret only");
    })
    .await;
}
