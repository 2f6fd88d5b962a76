//! How runs are created when answers are lost.

use serde_json::{Value, json};
use std::sync::Arc;

use super::fake::{FakeApi, Reply, SeenRequest};
use crate::testing::{at, effective, job_of, launch, launch_of};
use longshore_backend::{BackendError, Created, Launch};
use longshore_domain::run::spec::{EnvSource, EnvVar, Input};

fn stored(launch: &Launch) -> Value {
    serde_json::to_value(job_of(launch)).unwrap()
}

fn absent() -> Reply {
    Reply::status(404, "NotFound", "jobs.batch \"run-hello\" not found")
}

fn no_pods(request: &SeenRequest) -> Option<Reply> {
    request.is_list("pods").then(|| Reply::list(&[]))
}

#[tokio::test]
async fn a_post_whose_fate_is_unknown_is_repeated_only_after_a_look() {
    let mut posts = 0;
    let api = FakeApi::start(move |request| match request.short().as_str() {
        "POST jobs" => {
            posts += 1;
            if posts == 1 {
                Reply::status(503, "ServiceUnavailable", "etcd is tired")
            } else {
                Reply::Json(201, stored(&launch()))
            }
        }
        _ => absent(),
    });
    let created = api.backend().await.runs.create(&launch()).await.unwrap();
    assert!(matches!(created, Created::New(_)), "{created:?}");
    assert_eq!(api.short(), ["POST jobs", "GET jobs/run-hello", "POST jobs"]);
    assert!(api.seen()[0].headers["user-agent"].starts_with("longshore/"));
}

#[tokio::test]
async fn a_post_that_was_done_all_the_same_is_not_repeated() {
    for code in [429, 500, 503, 504] {
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "POST jobs" => Reply::status(code, "", "lost"),
            _ => Reply::Json(200, stored(&launch())),
        });
        let created = api.backend().await.runs.create(&launch()).await.unwrap();
        assert!(matches!(created, Created::New(_)), "{created:?}");
        assert_eq!(api.short(), ["POST jobs", "GET jobs/run-hello"], "{code}");
    }
}

#[tokio::test]
async fn a_cluster_that_stays_down_is_asked_a_few_times_and_no_more() {
    let api = FakeApi::start(|request| match request.method.as_str() {
        "POST" => Reply::status(504, "Timeout", ""),
        _ => absent(),
    });
    let error = api.backend().await.runs.create(&launch()).await.unwrap_err();
    assert!(matches!(error, BackendError::Unavailable { .. }), "{error}");
    assert_eq!(api.short().iter().filter(|request| *request == "POST jobs").count(), 2);
}

#[tokio::test]
async fn a_name_that_is_taken_is_looked_at() {
    let taken = || Reply::status(409, "AlreadyExists", "jobs.batch \"run-hello\" already exists");
    let create = async |found: Value| {
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "POST jobs" => taken(),
            _ => no_pods(request).unwrap_or_else(|| Reply::Json(200, found.clone())),
        });
        let mut replay = launch();
        replay.submission.create_time = at(60);
        api.backend().await.runs.create(&replay).await.unwrap()
    };
    assert!(matches!(create(stored(&launch())).await, Created::Exists(_)));
    let mut stripped = stored(&launch());
    stripped["metadata"]["labels"] = json!({});
    assert!(matches!(create(stripped.clone()).await, Created::Exists(_)), "somebody took its labels away");
    let mut foreign = stripped;
    foreign["metadata"]["annotations"] = json!({});
    let Created::Taken { what } = create(foreign).await else { panic!() };
    assert_eq!(what, "Job longshore-runs/run-hello of another owner");
    let mut neighbour = stored(&launch());
    neighbour["metadata"]["labels"]["longshore.dev/instance"] = json!("other");
    let Created::Taken { what } = create(neighbour).await else { panic!() };
    assert!(what.contains("installation `other`"), "{what}");
}

#[tokio::test]
async fn a_missing_namespace_is_reported_with_its_fix() {
    let api = FakeApi::start(|_| {
        let Reply::Json(code, mut status) = Reply::status(404, "NotFound", "namespaces \"longshore-runs\" not found")
        else {
            unreachable!()
        };
        status["details"] = json!({"name": "longshore-runs", "kind": "namespaces"});
        Reply::Json(code, status)
    });
    let error = api.backend().await.runs.create(&launch()).await.unwrap_err();
    assert!(error.to_string().contains("kubectl create namespace longshore-runs"), "{error}");
}

fn with_input() -> Launch {
    Launch { input: Some(Input::Raw(b"x".to_vec())), ..launch() }
}

#[tokio::test]
async fn the_input_is_written_after_the_job_and_owned_by_it() {
    let api = FakeApi::start(|request| match request.short().as_str() {
        "POST jobs" => Reply::Json(201, stored(&with_input())),
        _ => Reply::Json(201, request.json()),
    });
    let Created::New(facts) = api.backend().await.runs.create(&with_input()).await.unwrap() else { panic!() };
    assert!(facts.last_attempt().unwrap().input_ready);
    assert_eq!(api.short(), ["POST jobs", "POST secrets"]);
    assert_eq!(api.seen()[1].json()["metadata"]["ownerReferences"][0]["uid"], json!(facts.uid));
}

#[tokio::test]
async fn a_job_whose_input_is_refused_is_taken_back() {
    let api = FakeApi::start(|request| match request.short().as_str() {
        "POST jobs" => Reply::Json(201, stored(&with_input())),
        "POST secrets" => Reply::status(403, "Forbidden", "secrets \"s\" is forbidden: exceeded quota: q"),
        _ => Reply::Json(200, stored(&with_input())),
    });
    let error = api.backend().await.runs.create(&with_input()).await.unwrap_err();
    assert!(matches!(error, BackendError::Exhausted { .. }), "{error}");
    let requests = api.short();
    assert_eq!(requests[2..4], ["GET jobs/run-hello", "DELETE jobs/run-hello"]);
    assert_eq!(
        requests.last().map(String::as_str),
        Some("PATCH jobs/run-hello"),
        "its hold is taken away: {requests:?}"
    );
    let deletion = api.seen()[3].json();
    assert_eq!(deletion["propagationPolicy"], json!("Background"));
    assert!(deletion["preconditions"]["uid"].is_string(), "{deletion}");
}

/// A replay marks what it takes over before it writes the input and is answered, and then nobody takes it back: whichever
/// of deletion and mark comes first, the other fails. The controller's writes come between as well.
#[tokio::test]
async fn what_a_replay_took_over_is_not_taken_back() {
    let version = |version: u32, adopted: bool| {
        let mut job = stored(&with_input());
        job["metadata"]["resourceVersion"] = json!(version.to_string());
        if adopted {
            job["metadata"]["annotations"]["longshore.dev/adopted"] = json!("2026-11-21T10:00:00Z");
        }
        job
    };
    for (is_adopted, expected) in [(true, 1), (false, 2)] {
        let mut deletions = 0;
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "POST jobs" => Reply::Json(201, version(1, false)),
            "POST secrets" => Reply::status(403, "Forbidden", "secrets \"s\" is forbidden: exceeded quota: q"),
            "DELETE jobs/run-hello" => {
                deletions += 1;
                let seen = request.json()["preconditions"]["resourceVersion"].clone();
                match deletions {
                    1 => Reply::status(409, "Conflict", "the object has been modified"),
                    _ if seen == json!("2") => Reply::Json(200, json!({})),
                    _ => Reply::status(409, "Conflict", "the object has been modified"),
                }
            }
            _ if deletions == 0 => Reply::Json(200, version(1, false)),
            _ => Reply::Json(200, version(2, is_adopted)),
        });
        let error = api.backend().await.runs.create(&with_input()).await.unwrap_err();
        assert!(matches!(error, BackendError::Exhausted { .. }), "{error}");
        let deletions = api.short().iter().filter(|request| *request == "DELETE jobs/run-hello").count();
        assert!(deletions >= expected && (deletions == 1) == is_adopted, "{:?}", api.short());
    }
}

#[tokio::test]
async fn a_replay_marks_what_it_takes_over_before_it_writes_the_input() {
    let complete = async |there: Value| {
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "POST secrets" => Reply::Json(201, request.json()),
            _ => Reply::Json(200, there.clone()),
        });
        let backend = api.backend().await;
        let completed = backend.runs.complete(&with_input()).await;
        let first = api.short();
        backend.runs.complete(&with_input()).await.ok();
        (completed, first, api.short())
    };
    let (completed, first, both) = complete(stored(&with_input())).await;
    completed.unwrap();
    assert_eq!(first, ["GET jobs/run-hello", "GET jobs/run-hello", "PATCH jobs/run-hello", "POST secrets"]);
    assert!(!both[first.len()..].contains(&"PATCH jobs/run-hello".to_owned()), "once it was written: {both:?}");
    let mut going = stored(&with_input());
    going["metadata"]["deletionTimestamp"] = json!("2026-11-21T10:00:00Z");
    let (completed, first, _) = complete(going).await;
    assert!(matches!(completed, Err(BackendError::Conflict(_))));
    assert!(!first.contains(&"POST secrets".to_owned()), "{first:?}");
    // Without an input nobody takes it back.
    let api = FakeApi::start(|_| Reply::Json(200, stored(&launch())));
    api.backend().await.runs.complete(&launch()).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello"]);
}

#[tokio::test]
async fn a_job_whose_input_may_yet_come_stays() {
    let api = FakeApi::start(|request| match request.short().as_str() {
        "POST jobs" => Reply::Json(201, stored(&with_input())),
        _ => Reply::status(503, "ServiceUnavailable", ""),
    });
    let error = api.backend().await.runs.create(&with_input()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(api.short(), ["POST jobs", "POST secrets", "POST secrets"]);
}

#[tokio::test]
async fn a_secret_of_an_earlier_run_is_not_taken_for_ours() {
    let api = FakeApi::start(|request| match request.short().as_str() {
        "POST jobs" => Reply::Json(201, stored(&with_input())),
        "POST secrets" => Reply::status(409, "AlreadyExists", "secrets \"s\" already exists"),
        _ => Reply::Json(
            200,
            json!({"metadata": {"ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": "run-hello", "uid": "earlier",
            }]}}),
        ),
    });
    let error = api.backend().await.runs.create(&with_input()).await.unwrap_err();
    assert!(matches!(error, BackendError::Conflict(_)), "{error}");
}

#[tokio::test]
async fn variables_come_only_from_secrets_that_were_released() {
    let try_with = async |secret: Reply| {
        let mut secret = Some(secret);
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "GET secrets/db" => secret.take().unwrap(),
            "POST jobs" => Reply::Json(201, stored(&launch())),
            _ => absent(),
        });
        let mut effective = effective();
        let source = EnvSource::SecretKeyRef { name: "db".to_owned(), key: "password".to_owned() };
        effective.env = vec![EnvVar { name: "PASSWORD".to_owned(), source }];
        let mut launch = launch_of("hello", effective.clone());
        Arc::make_mut(&mut launch.submission.spec).env = effective.env;
        api.backend().await.runs.create(&launch).await.map(|_| ()).map_err(|error| error.to_string())
    };
    let secret = |label: &str, key: &str| {
        Reply::Json(200, json!({"metadata": {"labels": {"longshore.dev/allow-runs": label}}, "data": {key: "eA=="}}))
    };
    assert_eq!(try_with(secret("true", "password")).await, Ok(()));
    for refused in [secret("false", "password"), secret("true", "user"), Reply::status(404, "NotFound", "no")] {
        let error = try_with(refused).await.unwrap_err();
        assert!(error.starts_with("spec.env[0].secret_key_ref"), "{error}");
    }
}
