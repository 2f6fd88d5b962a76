//! What is done to a run's objects, request by request.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fake::{FakeApi, Reply};
use crate::api::names::annotation;
use crate::testing::{JOB_UID, POD_UID, job_of, launch, on_node, pod, run, running, terminated, waiting};
use longshore_backend::BackendError;
use longshore_domain::run::plan::Action;
use longshore_domain::run::{StopCause, StopIntent};

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
        failure_class: None,
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
            let (reason, actor) = ("mine".to_owned(), "bob".to_owned());
            let other = StopIntent {
                cause: StopCause::Cancel,
                reason,
                actor,
                request_time: Timestamp::UNIX_EPOCH,
                failure: None,
                failure_class: None,
            };
            job["metadata"]["annotations"][annotation::STOP] = json!(serde_json::to_string(&other).unwrap());
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
    assert!(matches!(error, BackendError::Rejected { .. }), "a refusal for another reason is reported: {error}");
}

#[tokio::test]
async fn a_release_reports_the_outcome_before_it_lets_go() {
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
        attempts: 1,
    };
    act(&api, &release).await.unwrap();
    let seen = api.seen();
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello/status", "PATCH jobs/run-hello"]);
    assert_eq!(seen[1].headers["content-type"], "application/strategic-merge-patch+json");
    assert_eq!(seen[1].json()["status"]["conditions"][0]["reason"], json!("OOM_KILLED"));
    assert_eq!(seen[1].json()["metadata"]["uid"], json!(JOB_UID), "only this very Job gets it");
    assert_eq!(seen[2].json()[2], json!({"op": "remove", "path": "/metadata/finalizers/1"}));
}

#[tokio::test]
async fn a_release_of_what_holds_no_more_does_nothing() {
    let api = FakeApi::start(|_| {
        let mut job = job();
        job["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
        job["metadata"]["annotations"][annotation::EXPIRE] = json!("2026-11-22T08:00:00Z");
        Reply::Json(200, job)
    });
    let release =
        Action::Release { reason: "X".to_owned(), message: String::new(), retention: Duration::ZERO, attempts: 1 };
    act(&api, &release).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello"]);
}

#[tokio::test]
async fn an_outcome_that_another_job_refuses_is_not_reported_on_it() {
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
    let release =
        Action::Release { reason: "X".to_owned(), message: String::new(), retention: Duration::ZERO, attempts: 1 };
    act(&api, &release).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello/status", "GET jobs/run-hello"]);
}

#[tokio::test]
async fn nothing_starts_after_one_patch_and_what_started_is_ended_with_its_log_kept() {
    let (one_patch, pods) = ("PATCH jobs/run-hello", "PATCH pods/run-hello-x7k2p");
    for (phase, state, expected) in [
        ("Running", running(), vec![pods]),
        ("Running", terminated(0, "Completed"), vec![pods]),
        ("Running", terminated(128, "StartError"), vec![one_patch, pods]),
        ("Pending", waiting("ContainerCreating", ""), vec![one_patch, pods]),
        ("Failed", terminated(3, "Error"), vec![one_patch]),
    ] {
        let there = serde_json::to_value(on_node(pod(&job_of(&launch()), phase, run(state)))).unwrap();
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "GET pods" => Reply::list(std::slice::from_ref(&there)),
            pod if pod.contains(" pods/") => Reply::Json(200, there.clone()),
            _ => Reply::Json(200, job()),
        });
        act(&api, &Action::EndUnstarted { attempt: 1 }).await.unwrap();
        assert_eq!(api.short()[..2], ["GET jobs/run-hello", "GET pods"]);
        assert_eq!(api.short()[2..], expected);
        for request in api.seen().iter().skip(2) {
            let patch = request.json();
            let deadline = json!({"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1});
            assert!(patch.as_array().unwrap().contains(&deadline), "{patch}");
            let closes =
                patch.as_array().unwrap().contains(&json!({"op": "add", "path": "/spec/parallelism", "value": 0}));
            assert_eq!(closes, request.short() == one_patch, "both at once: {patch}");
        }
    }
}

#[tokio::test]
async fn a_suspended_job_is_closed_and_kept() {
    let api = FakeApi::start(|request| {
        let mut job = job();
        job["spec"]["suspend"] = json!(true);
        if request.is_list("pods") { Reply::list(&[]) } else { Reply::Json(200, job) }
    });
    act(&api, &Action::EndUnstarted { attempt: 1 }).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "GET pods", "PATCH jobs/run-hello"]);
}

#[tokio::test]
async fn what_was_suspended_as_it_ran_is_closed_and_marked_in_one_patch() {
    let close = Action::ClosePreempted { attempt: 1, uid: Some("first".to_owned()), start_time: None };
    for suspended in [true, false] {
        let api = FakeApi::start(move |request| {
            let mut job = job();
            job["spec"]["suspend"] = json!(suspended);
            if request.is_list("pods") { Reply::list(&[]) } else { Reply::Json(200, job) }
        });
        act(&api, &close).await.unwrap();
        assert_eq!(api.short(), ["GET jobs/run-hello", "GET pods", "PATCH jobs/run-hello"]);
        let patch = api.seen()[2].json();
        let paths: Vec<_> = patch.as_array().unwrap().iter().map(|step| step["path"].as_str().unwrap()).collect();
        let annotations =
            ["/metadata/annotations/longshore.dev~1start", "/metadata/annotations/longshore.dev~1preempted"];
        let guard = suspended.then_some("/spec/suspend");
        let expected = ["/metadata/uid"].into_iter().chain(guard).chain(annotations);
        let expected: Vec<_> = expected.chain(["/spec/parallelism", "/spec/activeDeadlineSeconds"]).collect();
        assert_eq!(paths, expected);
    }
}

#[tokio::test]
async fn the_first_start_is_noted_once() {
    let note = Action::NoteStart { attempt: 1, uid: "first".to_owned(), start_time: None };
    for (there, expected) in [(None, 2), (Some(r#"{"uid":"other","start_time":null}"#), 1)] {
        let api = FakeApi::start(move |_| {
            let mut job = job();
            if let Some(note) = there {
                job["metadata"]["annotations"]["longshore.dev/start"] = json!(note);
            }
            Reply::Json(200, job)
        });
        act(&api, &note).await.unwrap();
        assert_eq!(api.short().len(), expected, "{:?}", api.short());
    }
}

#[tokio::test]
async fn what_is_closed_is_not_closed_again() {
    let api = FakeApi::start(|request| {
        let mut job = job();
        job["spec"]["parallelism"] = json!(0);
        job["spec"]["activeDeadlineSeconds"] = json!(1);
        if request.is_list("pods") { Reply::list(&[]) } else { Reply::Json(200, job) }
    });
    act(&api, &Action::EndUnstarted { attempt: 1 }).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "GET pods"]);
}

#[tokio::test]
async fn retention_runs_although_somebody_took_our_hold_away() {
    let api = FakeApi::start(|_| {
        let mut job = job();
        job["metadata"]["finalizers"] = json!([]);
        Reply::Json(200, job)
    });
    let release = Action::Release {
        reason: "X".to_owned(),
        message: String::new(),
        retention: Duration::from_secs(60),
        attempts: 1,
    };
    act(&api, &release).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello/status", "PATCH jobs/run-hello"]);
    let patch = api.seen()[2].json();
    assert!(
        patch.as_array().unwrap().contains(&json!({"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": 60}))
    );
    assert!(patch.as_array().unwrap().iter().all(|step| step["op"] != "remove"), "{patch}");
}

#[tokio::test]
async fn an_annotation_that_can_not_be_read_is_written_again() {
    let api = FakeApi::start(|_| {
        let mut job = job();
        job["metadata"]["annotations"][annotation::STOP] = json!("{nonsense");
        Reply::Json(200, job)
    });
    act(&api, &stop()).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello"]);
}
