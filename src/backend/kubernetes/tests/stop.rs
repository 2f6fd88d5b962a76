//! What is done to a run's objects, request by request.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fake::{FakeApi, Reply};
use crate::backend::BackendError;
use crate::backend::kubernetes::names::annotation;
use crate::backend::kubernetes::support::{
    JOB_UID, POD_UID, job_of, launch, on_node, pod, run, running, terminated, waiting,
};
use crate::domain::plan::Action;
use crate::domain::run::{StopCause, StopIntent};

fn job() -> Value {
    let mut job = serde_json::to_value(job_of(&launch())).unwrap();
    job["metadata"]["resourceVersion"] = json!("7");
    job
}

fn stop() -> Action {
    let (reason, actor) = ("enough".to_owned(), "alice".to_owned());
    Action::WriteStop(StopIntent {
        cause: StopCause::Cancel,
        reason,
        actor,
        request_time: Timestamp::UNIX_EPOCH,
        failure: None,
    })
}

async fn act(api: &FakeApi, action: &Action) -> Result<(), BackendError> {
    api.backend().await.runs.act(&launch().name, JOB_UID, action).await
}

#[tokio::test]
async fn of_two_stops_the_first_stays() {
    let mut patched = false;
    let api = FakeApi::start(move |request| {
        if request.method == "PATCH" {
            patched = true;
            return Reply::status(409, "Conflict", "the object has been modified");
        }
        let mut job = job();
        if patched {
            job["metadata"]["annotations"][annotation::STOP] = json!("somebody else's");
        }
        Reply::Json(200, job)
    });
    act(&api, &stop()).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello", "GET jobs/run-hello"]);
    assert_eq!(api.seen()[1].json()["metadata"]["resourceVersion"], json!("7"));
}

#[tokio::test]
async fn what_is_another_run_is_not_touched() {
    let api = FakeApi::start(|_| {
        let mut job = job();
        job["metadata"]["uid"] = json!("another");
        Reply::Json(200, job)
    });
    for action in [stop(), Action::EndUnstarted { attempt: 1 }] {
        let error = act(&api, &action).await.unwrap_err();
        assert!(matches!(error, BackendError::NotFound(_)), "{error}");
    }
    act(&api, &Action::Delete).await.unwrap();
    assert!(api.seen().iter().all(|request| request.method == "GET"), "{:?}", api.short());
}

#[tokio::test]
async fn a_deadline_that_is_lower_already_is_left() {
    let api = FakeApi::start(|request| match request.method.as_str() {
        "PATCH" => {
            Reply::status(422, "Invalid", "spec.activeDeadlineSeconds: must be less than or equal to previous value")
        }
        _ => {
            let mut pod = on_node(pod(&job_of(&launch()), "Running", run(running())));
            pod.spec.as_mut().unwrap().active_deadline_seconds = Some(30);
            let pod = serde_json::to_value(pod).unwrap();
            if request.is_list("pods") { Reply::list(&[pod]) } else { Reply::Json(200, pod) }
        }
    });
    let lower = |seconds| Action::LowerDeadline { attempt: 1, deadline: Duration::from_secs(seconds) };
    act(&api, &lower(60)).await.unwrap();
    let patch = &api.seen()[1];
    assert_eq!(patch.headers["content-type"], "application/json-patch+json");
    assert_eq!(patch.json()[0], json!({"op": "test", "path": "/metadata/uid", "value": POD_UID}));
    let error = act(&api, &lower(10)).await.unwrap_err();
    assert!(matches!(error, BackendError::Rejected { .. }), "a refusal for another reason is told: {error}");
}

#[tokio::test]
async fn a_release_tells_the_outcome_before_it_lets_go() {
    let api = FakeApi::start(|request| match request.method.as_str() {
        "PATCH" => Reply::Json(200, job()),
        _ => {
            let mut job = job();
            job["metadata"]["finalizers"] = json!(["a.example/b", "longshore.dev/record"]);
            Reply::Json(200, job)
        }
    });
    let release = Action::Release {
        reason: "OOM_KILLED".to_owned(),
        message: "over the limit".to_owned(),
        retention: Duration::from_secs(60),
    };
    act(&api, &release).await.unwrap();
    let seen = api.seen();
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello/status", "PATCH jobs/run-hello"]);
    assert_eq!(seen[1].headers["content-type"], "application/strategic-merge-patch+json");
    assert_eq!(seen[1].json()["status"]["conditions"][0]["reason"], json!("OOM_KILLED"));
    assert_eq!(seen[1].json()["metadata"]["uid"], json!(JOB_UID), "only this very Job is told it");
    assert_eq!(seen[2].json()[2], json!({"op": "remove", "path": "/metadata/finalizers/1"}));
}

#[tokio::test]
async fn a_release_of_what_holds_no_more_does_nothing() {
    let api = FakeApi::start(|_| {
        let mut job = job();
        job["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
        Reply::Json(200, job)
    });
    let release = Action::Release { reason: "X".to_owned(), message: String::new(), retention: Duration::ZERO };
    act(&api, &release).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello"]);
}

#[tokio::test]
async fn an_outcome_that_another_job_refuses_is_not_told_to_it() {
    let mut refused = false;
    let api = FakeApi::start(move |request| {
        let mut job = job();
        job["metadata"]["finalizers"] = json!(["longshore.dev/record"]);
        if request.method == "PATCH" {
            refused = true;
            return Reply::status(422, "Invalid", "metadata.uid: Invalid value: field is immutable");
        }
        if refused {
            job["metadata"]["uid"] = json!("another");
        }
        Reply::Json(200, job)
    });
    let release = Action::Release { reason: "X".to_owned(), message: String::new(), retention: Duration::ZERO };
    act(&api, &release).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello/status", "GET jobs/run-hello"]);
}

#[tokio::test]
async fn what_started_unseen_is_not_ended_with_its_log() {
    for (state, left_alone) in [
        (running(), true),
        (terminated(0, "Completed"), true),
        (terminated(128, "StartError"), false),
        (waiting("ContainerCreating", ""), false),
    ] {
        let there = serde_json::to_value(on_node(pod(&job_of(&launch()), "Running", run(state)))).unwrap();
        let api = FakeApi::start(move |request| {
            if request.is_list("pods") { Reply::list(std::slice::from_ref(&there)) } else { Reply::Json(200, job()) }
        });
        act(&api, &Action::EndUnstarted { attempt: 1 }).await.unwrap();
        let mut expected = vec!["GET jobs/run-hello", "GET pods"];
        expected.extend((!left_alone).then_some("PATCH jobs/run-hello"));
        assert_eq!(api.short(), expected);
    }
}

#[tokio::test]
async fn a_suspended_job_is_deleted_and_keeps_our_hold() {
    let api = FakeApi::start(|_| {
        let mut job = job();
        job["spec"]["suspend"] = json!(true);
        Reply::Json(200, job)
    });
    act(&api, &Action::EndUnstarted { attempt: 1 }).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "DELETE jobs/run-hello"]);
}
