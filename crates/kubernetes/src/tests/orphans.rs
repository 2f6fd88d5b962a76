//! What is left of a Job that went alone, and labels that somebody took away.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fake::{FakeApi, NAMESPACE, Reply};
use crate::api::names::label;
use crate::run::index::{IndexAnswer, IndexQuestion, LeftJob};
use crate::run::watch::ask;
use crate::testing::{JOB_UID, job_of, launch, pod, run, terminated};

fn left() -> IndexQuestion {
    let labels = [(label::INSTANCE, "longshore"), (label::RUN, "hello")];
    IndexQuestion::Left(Box::new(LeftJob {
        namespace: Arc::from(NAMESPACE),
        job: Arc::from("run-hello"),
        uid: JOB_UID.to_owned(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect::<BTreeMap<_, _>>(),
        secrets: vec!["run-hello-input".to_owned()],
    }))
}

/// An object of ours, with these owners.
fn ours(name: &str, owners: &Value) -> Value {
    let labels = json!({label::MANAGED_BY: label::MANAGED_BY_VALUE, label::INSTANCE: "longshore"});
    json!({"metadata": {"name": name, "uid": "u", "labels": labels, "ownerReferences": owners}})
}

#[tokio::test]
async fn what_a_job_left_behind_is_deleted_and_nothing_else() {
    let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "run-hello", "uid": JOB_UID}]);
    let other = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]);
    for (owners, deleted) in [(json!([]), true), (owner, false), (other, false)] {
        let mut orphan = serde_json::to_value(pod(&job_of(&launch()), "Failed", run(terminated(3, "Error")))).unwrap();
        orphan["metadata"]["ownerReferences"] = owners.clone();
        let secret = ours("run-hello-input", &owners);
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "GET jobs/run-hello" => Reply::status(404, "NotFound", "no such Job"),
            "GET pods" => Reply::list(std::slice::from_ref(&orphan)),
            "GET secrets/run-hello-input" => Reply::Json(200, secret.clone()),
            _ => Reply::Json(200, json!({"kind": "Status", "status": "Success"})),
        });
        let answer = ask(api.cluster().await, left()).await;
        assert!(matches!(answer, IndexAnswer::Left { there: false, .. }), "{answer:?}");
        let deletes: Vec<_> = api.short().into_iter().filter(|request| request.starts_with("DELETE")).collect();
        let expected = ["DELETE pods/run-hello-x7k2p", "DELETE secrets/run-hello-input"];
        assert_eq!(deletes, if deleted { expected.to_vec() } else { vec![] }, "{owners}");
    }
}

#[tokio::test]
async fn labels_that_somebody_took_away_are_given_back() {
    let api = FakeApi::start(|_| Reply::Json(200, serde_json::to_value(job_of(&launch())).unwrap()));
    let answer = ask(api.cluster().await, left()).await;
    assert!(matches!(answer, IndexAnswer::Left { there: true, .. }), "{answer:?}");
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello"]);
    let patch = api.seen()[1].json();
    assert_eq!(patch["metadata"]["labels"][label::RUN], json!("hello"));
    assert_eq!(patch["metadata"]["uid"], json!(JOB_UID), "this very Job");
}

#[tokio::test]
async fn a_job_of_that_name_that_is_another_is_left_alone() {
    let api = FakeApi::start(|request| match request.short().as_str() {
        "GET jobs/run-hello" => {
            let mut job = serde_json::to_value(job_of(&launch())).unwrap();
            job["metadata"]["uid"] = json!("another");
            Reply::Json(200, job)
        }
        "GET pods" => Reply::list(&[]),
        _ => Reply::status(404, "NotFound", ""),
    });
    let answer = ask(api.cluster().await, left()).await;
    assert!(matches!(answer, IndexAnswer::Left { there: false, .. }), "{answer:?}");
    assert!(api.seen().iter().all(|request| request.method == "GET"), "{:?}", api.short());
}

/// Nobody watched: what lacks its labels is found by the template of its Pod.
#[tokio::test]
async fn labels_that_were_taken_away_while_nobody_watched_are_given_back() {
    let whole = job_of(&launch());
    let with = |change: &dyn Fn(&mut k8s_openapi::api::batch::v1::Job)| {
        let mut job = whole.clone();
        change(&mut job);
        serde_json::to_value(job).unwrap()
    };
    let stripped = with(&|job| job.metadata.labels = None);
    let half = with(&|job| drop(job.metadata.labels.as_mut().unwrap().remove(label::MANAGED_BY)));
    // One of another installation, one that is no run, and a copy under another name.
    let template = |job: &mut k8s_openapi::api::batch::v1::Job, key: &str, value: &str| {
        let labels = job.spec.as_mut().unwrap().template.metadata.as_mut().unwrap().labels.as_mut().unwrap();
        labels.insert(key.to_owned(), value.to_owned());
        job.metadata.labels = None;
    };
    let strangers = [
        with(&|job| template(job, label::INSTANCE, "another")),
        with(&|job| job.metadata.annotations = None),
        with(&|job| {
            job.metadata.labels = None;
            job.metadata.name = Some("run-copy".to_owned());
        }),
        serde_json::to_value(&whole).unwrap(),
    ];
    let api = FakeApi::start_bare(move |request| match request.short().as_str() {
        "GET jobs" if request.target.contains("%21longshore.dev%2Finstance") => {
            Reply::list(&[std::slice::from_ref(&stripped), strangers.as_slice()].concat())
        }
        "GET jobs" => Reply::list(std::slice::from_ref(&half)),
        _ => Reply::Json(200, stripped.clone()),
    });
    let answer = ask(api.cluster().await, IndexQuestion::Stripped { namespace: Arc::from(NAMESPACE) }).await;
    assert!(matches!(answer, IndexAnswer::Done), "{answer:?}");
    assert_eq!(api.short(), ["GET jobs", "PATCH jobs/run-hello", "GET jobs", "PATCH jobs/run-hello"]);
    let labels = |at: usize| api.seen()[at].json()["metadata"]["labels"].clone();
    assert_eq!(labels(1)[label::RUN], json!("hello"));
    assert_eq!(labels(1).as_object().unwrap().len(), whole.metadata.labels.as_ref().unwrap().len());
    assert_eq!(labels(3), json!({label::MANAGED_BY: label::MANAGED_BY_VALUE}));
}
