//! What is left of a Job that went alone, and labels that somebody took away.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fake::{FakeApi, NAMESPACE, Reply};
use crate::backend::kubernetes::index::{Answer, Left, Question};
use crate::backend::kubernetes::names::label;
use crate::backend::kubernetes::support::{JOB_UID, job_of, launch, pod, run, terminated};
use crate::backend::kubernetes::watch::ask;

fn left() -> Question {
    let labels = [(label::INSTANCE, "longshore"), (label::RUN, "hello")];
    Question::Left(Box::new(Left {
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
        assert!(matches!(answer, Answer::Left { there: false, .. }), "{answer:?}");
        let deletes: Vec<_> = api.short().into_iter().filter(|request| request.starts_with("DELETE")).collect();
        let expected = ["DELETE pods/run-hello-x7k2p", "DELETE secrets/run-hello-input"];
        assert_eq!(deletes, if deleted { expected.to_vec() } else { vec![] }, "{owners}");
    }
}

#[tokio::test]
async fn labels_that_somebody_took_away_are_given_back() {
    let api = FakeApi::start(|_| Reply::Json(200, serde_json::to_value(job_of(&launch())).unwrap()));
    let answer = ask(api.cluster().await, left()).await;
    assert!(matches!(answer, Answer::Left { there: true, .. }), "{answer:?}");
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
    assert!(matches!(answer, Answer::Left { there: false, .. }), "{answer:?}");
    assert!(api.seen().iter().all(|request| request.method == "GET"), "{:?}", api.short());
}
