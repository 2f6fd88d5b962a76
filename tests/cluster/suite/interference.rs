//! What admission of others does to runs: containers that they put in, webhooks that do not answer, updates that they
//! refuse, classes that are not there.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use longshore::proto::v1::{FailureClass, FailureReason, Placement, Run, RunSpec, RunState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::case::{Case, on_cluster, script};
use crate::support::spec::seconds;
use crate::support::wait::until;

fn blame(run: &Run) -> Option<(FailureReason, FailureClass, bool)> {
    run.failure.as_ref().map(|failure| (failure.reason(), failure.failure_class(), failure.retryable))
}

/// Makes an object of the whole cluster, named as the case's namespace.
async fn make<K>(case: &Case, mut object: Value)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    object["metadata"] = json!({ "name": case.namespace });
    let object: K = serde_json::from_value(object).expect("an object");
    Api::<K>::all(case.kube.clone()).create(&PostParams::default(), &object).await.expect("create");
}

async fn remove<K>(case: &Case)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(case.kube.clone());
    api.delete(&case.namespace, &DeleteParams::default()).await.expect("delete");
}

/// Only in the case's namespace.
fn here(case: &Case) -> Value {
    json!({ "matchLabels": { "kubernetes.io/metadata.name": case.namespace } })
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_not_the_callers() {
    on_cluster("a_webhook_that_does_not_answer", async |case| {
        let webhook = json!({ "webhooks": [{
            "name": "away.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 1,
            "namespaceSelector": here(case),
            "clientConfig": { "url": "https://127.0.0.1:1/" },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
        }] });
        make::<MutatingWebhookConfiguration>(case, webhook).await;
        let client = case.client().await;
        let run = client.run(RunSpec { start_timeout: seconds(15), ..script("exit 0") }).await;
        remove::<MutatingWebhookConfiguration>(case).await;
        let (reason, class, retryable) = blame(&run).expect("a failure");
        assert_eq!((reason, class, retryable), (FailureReason::StartDeadline, FailureClass::Infra, true), "{run:?}");
        let message = run.failure.map(|failure| failure.message).unwrap_or_default();
        assert!(message.contains("away.example.com"), "in the cluster's words: {message}");
    })
    .await;
}

#[tokio::test]
async fn an_end_that_can_not_be_recorded_is_not_reported() {
    on_cluster("an_end_that_can_not_be_recorded", async |case| {
        let client = case.client().await;
        let run = client.submit(script("sleep 3; exit 3")).await;
        client.wait_state(&run.name, RunState::Running).await;
        let policy = json!({ "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "namespaceSelector": here(case), "resourceRules": [{
                "apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["jobs"],
            }] },
            "validations": [{ "expression": "false", "message": "nobody changes a Job here" }],
        } });
        make::<ValidatingAdmissionPolicy>(case, policy).await;
        let binding = json!({ "spec": { "policyName": case.namespace, "validationActions": ["Deny"] } });
        make::<ValidatingAdmissionPolicyBinding>(case, binding).await;
        // The Job's controller writes its status all the same.
        until("the Job to fail", async || {
            let conditions = case.job(&run.name).await.status?.conditions?;
            conditions.iter().any(|condition| condition.type_ == "Failed").then_some(())
        })
        .await;
        let waiting = client.get(&run.name).await;
        assert!(!waiting.state().is_terminal(), "there is no record yet: {waiting:?}");
        case.daemon.kill().await;
        remove::<ValidatingAdmissionPolicyBinding>(case).await;
        remove::<ValidatingAdmissionPolicy>(case).await;
        case.daemon.revive().await;
        let end = case.client().await.wait_terminal(&run.name).await;
        assert_eq!((end.state(), end.exit_code), (RunState::Failed, Some(3)), "{end:?}");
    })
    .await;
}

#[tokio::test]
async fn a_container_of_others_that_can_not_be_pulled_holds_no_finished_run() {
    on_cluster("a_container_of_others", async |case| {
        let kind = |kind: &str| {
            let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
            Api::<DynamicObject>::all_with(case.kube.clone(), &ApiResource::from_gvk(&gvk))
        };
        let (policies, bindings) = (kind("MutatingAdmissionPolicy"), kind("MutatingAdmissionPolicyBinding"));
        let apply = async |api: &Api<DynamicObject>, kind: &str, spec: Value| {
            let object = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": { "name": case.namespace }, "spec": spec,
            });
            let params = PatchParams::apply("suite");
            api.patch(&case.namespace, &params, &Patch::Apply(&object)).await.expect("apply");
        };
        let sidecar = r#"JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{
            name: "sidecar", image: "127.0.0.1:1/missing:1",
            securityContext: Object.spec.containers.securityContext{
                allowPrivilegeEscalation: false, runAsNonRoot: true,
                capabilities: Object.spec.containers.securityContext.capabilities{ drop: ["ALL"] },
                seccompProfile: Object.spec.containers.securityContext.seccompProfile{ type: "RuntimeDefault" }
            }
        }}"#;
        let policy = json!({
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": { "namespaceSelector": here(case), "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            }] },
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": format!("[{sidecar}]") } }],
        });
        apply(&policies, "MutatingAdmissionPolicy", policy).await;
        apply(&bindings, "MutatingAdmissionPolicyBinding", json!({ "policyName": case.namespace })).await;
        let client = case.client().await;
        // The API server learns of a policy a moment later.
        until("the policy to count", async || {
            let pods = case.api::<k8s_openapi::api::core::v1::Pod>();
            let pod = serde_json::from_value(json!({
                "metadata": { "name": "probe" },
                "spec": { "securityContext": { "runAsNonRoot": true, "runAsUser": 1000,
                        "seccompProfile": { "type": "RuntimeDefault" } },
                    "containers": [{ "name": "a", "image": "localhost/none:1", "securityContext": {
                        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }] },
            }))
            .expect("a Pod");
            let params = PostParams { dry_run: true, ..PostParams::default() };
            let made = pods.create(&params, &pod).await.ok()?;
            (made.spec?.containers.len() == 2).then_some(())
        })
        .await;
        let run = client.run(script("echo fine; sleep 0.2")).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Succeeded, Some(0)), "{run:?}");
        // Its Pod would hold the Job until the start deadline of a container that nobody can pull.
        client.wait_settled(&run.name).await;
        for api in [bindings, policies] {
            api.delete(&case.namespace, &DeleteParams::default()).await.expect("delete");
        }
    })
    .await;
}

#[tokio::test]
async fn a_priority_class_that_is_missing_is_the_platforms() {
    on_cluster("a_priority_class_that_is_missing", async |case| {
        let placement = Placement { priority_class_name: "there-is-none".to_owned(), ..Placement::default() };
        let spec = RunSpec { placement: Some(placement), start_timeout: seconds(15), ..script("exit 0") };
        let run = case.client().await.run(spec).await;
        let failure = run.failure.as_ref().expect("a failure");
        assert_eq!(failure.failure_class(), FailureClass::Platform, "{run:?}");
        assert!(failure.message.contains("there-is-none"), "{}", failure.message);
    })
    .await;
}

#[tokio::test]
async fn a_home_that_can_be_written_to() {
    on_cluster("a_home_that_can_be_written_to", async |case| {
        let client = case.client().await;
        let run = client.run(script("mkdir -p ~/.cache && echo $HOME; sleep 0.2")).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        assert_eq!(client.logs(&run.name).await.text(), "/tmp\n");
    })
    .await;
}
