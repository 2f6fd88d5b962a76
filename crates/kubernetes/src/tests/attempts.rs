//! Further attempts, request by request.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::fake::{FakeApi, NAMESPACE, Reply, SeenRequest};
use crate::api::names::annotation;
use crate::run::index::Leftover;
use crate::run::orphans;
use crate::testing::{JOB_UID, at, attempt_record, further_of, further_uid, job_of, launch, settled};
use longshore_backend::BackendError;
use longshore_domain::run::plan::Action;
use longshore_domain::run::record::Record;
use longshore_domain::run::{StopCause, StopIntent};
use longshore_domain::testing;

fn first() -> Job {
    let mut job = job_of(&launch());
    job.metadata.resource_version = Some("7".to_owned());
    job
}

/// The anchor with the first attempt settled.
fn anchor() -> Job {
    settled(first(), 1)
}

fn annotated(mut job: Job, key: &str, value: &str) -> Job {
    job.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    job
}

fn intent() -> StopIntent {
    testing::stop(StopCause::Cancel, 3)
}

fn stopped(job: Job) -> Job {
    annotated(job, annotation::STOP, &serde_json::to_string(&intent()).unwrap())
}

fn deleted(mut job: Job) -> Job {
    job.metadata.deletion_timestamp = Some(Time(at(30)));
    job
}

/// A record of attempts with these numbers.
fn record(numbers: &[u32]) -> Record {
    let facts = testing::facts();
    let run = testing::derived(&facts, testing::at(1));
    Record {
        version: longshore_domain::run::record::RECORD_VERSION,
        state: longshore_domain::run::RunState::Failed,
        failure: None,
        stop: None,
        message: "it failed".to_owned(),
        timeline: run.timeline,
        attempts: numbers.iter().map(|number| attempt_record(*number).attempt).collect(),
        result: None,
        record_time: at(60),
    }
}

fn recorded(job: Job, numbers: &[u32]) -> Job {
    annotated(job, annotation::RECORD, &record(numbers).to_json().unwrap())
}

fn json_of(job: &Job) -> Value {
    serde_json::to_value(job).unwrap()
}

fn absent() -> Reply {
    Reply::status(404, "NotFound", "there is none")
}

fn found(job: Option<&Job>) -> Reply {
    job.map_or_else(absent, |job| Reply::Json(200, json_of(job)))
}

fn patched() -> Reply {
    Reply::Json(200, json_of(&first()))
}

async fn act(api: &FakeApi, action: &Action) -> Result<(), BackendError> {
    api.backend().await.runs.act(&launch().name, JOB_UID, action).await
}

#[tokio::test]
async fn how_an_attempt_ended_is_written_once_and_not_on_a_run_that_ends() {
    let write = Action::WriteAttempt(Box::new(attempt_record(1)));
    let cases = [
        (first(), true),
        (annotated(first(), &annotation::attempt(1), "{nonsense"), true),
        (anchor(), false),
        (stopped(first()), false),
        (recorded(first(), &[1]), false),
        (deleted(first()), false),
    ];
    for (there, written) in cases {
        let api = FakeApi::start(move |_| Reply::Json(200, json_of(&there)));
        act(&api, &write).await.unwrap();
        let expected = ["GET jobs/run-hello", "PATCH jobs/run-hello"];
        assert_eq!(api.short(), expected[..if written { 2 } else { 1 }]);
        if written {
            let patch = api.seen()[1].json();
            assert_eq!(patch["metadata"]["resourceVersion"], json!("7"));
            let text = patch["metadata"]["annotations"]["longshore.dev/attempt-1"].as_str().unwrap();
            assert_eq!(text, attempt_record(1).to_json().unwrap());
        }
    }
}

const BEGIN: Action = Action::BeginAttempt { attempt: 2 };

#[tokio::test]
async fn an_attempt_begins_between_two_looks_at_the_anchor() {
    let api = FakeApi::start(|request| match request.short().as_str() {
        "POST jobs" => Reply::Json(201, json_of(&further_of(&anchor(), 2))),
        _ => found(Some(&anchor())),
    });
    act(&api, &BEGIN).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "POST jobs", "GET jobs/run-hello"]);
    let posted = api.seen()[1].json();
    assert_eq!(posted["metadata"]["name"], json!("run2-hello"));
    assert_eq!(posted["metadata"]["ownerReferences"][0]["uid"], json!(JOB_UID));
}

#[tokio::test]
async fn what_is_not_announced_or_is_to_end_does_not_begin() {
    for there in [stopped(anchor()), recorded(anchor(), &[1]), deleted(anchor())] {
        let api = FakeApi::start(move |_| found(Some(&there)));
        act(&api, &BEGIN).await.unwrap();
        assert_eq!(api.short(), ["GET jobs/run-hello"]);
    }
    // Somebody took the announcement away: callers have to know that nothing begins.
    let api = FakeApi::start(move |_| found(Some(&first())));
    assert!(matches!(act(&api, &BEGIN).await, Err(BackendError::Conflict(_))));
    assert_eq!(api.short(), ["GET jobs/run-hello"]);
}

/// Another process writes the stop after our first look.
#[tokio::test]
async fn what_began_while_the_run_was_stopped_is_closed_at_once() {
    let mut posted = false;
    let api = FakeApi::start(move |request| match request.short().as_str() {
        "POST jobs" => {
            posted = true;
            Reply::Json(201, json_of(&further_of(&anchor(), 2)))
        }
        "GET jobs/run-hello" if posted => found(Some(&stopped(anchor()))),
        "GET jobs/run-hello" => found(Some(&anchor())),
        "GET pods" => Reply::list(&[]),
        _ => found(Some(&further_of(&anchor(), 2))),
    });
    act(&api, &BEGIN).await.unwrap();
    let requests = api.short();
    assert_eq!(requests[3..], ["GET jobs/run2-hello", "GET pods", "PATCH jobs/run2-hello"]);
    let patch = api.seen()[5].json();
    assert!(patch.as_array().unwrap().contains(&json!({"op": "add", "path": "/spec/parallelism", "value": 0})));
}

#[tokio::test]
async fn a_name_that_is_taken_is_ours_or_in_the_way_for_a_while_or_for_good() {
    let begin = async |there: Job| {
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "POST jobs" => Reply::status(409, "AlreadyExists", "jobs.batch \"run2-hello\" already exists"),
            "GET jobs/run-hello" => found(Some(&anchor())),
            _ => found(Some(&there)),
        });
        (act(&api, &BEGIN).await, api.short())
    };
    let (adopted, requests) = begin(further_of(&anchor(), 2)).await;
    adopted.unwrap();
    assert_eq!(requests.len(), 4, "{requests:?}");
    let mut foreign = further_of(&anchor(), 2);
    (foreign.metadata.labels, foreign.metadata.annotations) = (None, None);
    let error = begin(foreign).await.0.unwrap_err();
    assert!(
        !error.is_transient() && error.to_string().contains("Job longshore-runs/run2-hello of another owner"),
        "{error}"
    );
    // Of an earlier run of the name: nobody but us holds it.
    let mut earlier = anchor();
    earlier.metadata.uid = Some("earlier".to_owned());
    let (error, requests) = begin(further_of(&earlier, 2)).await;
    let error = error.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(requests[5..], ["DELETE jobs/run2-hello", "PATCH jobs/run2-hello"]);
}

#[tokio::test]
async fn a_post_whose_fate_is_unknown_makes_no_second_job() {
    let mut posts = 0;
    let api = FakeApi::start(move |request| match request.short().as_str() {
        "POST jobs" => {
            posts += 1;
            Reply::status(504, "Timeout", "")
        }
        "GET jobs/run2-hello" => found((posts > 1).then(|| further_of(&anchor(), 2)).as_ref()),
        _ => found(Some(&anchor())),
    });
    act(&api, &BEGIN).await.unwrap();
    let posts = api.short().iter().filter(|request| *request == "POST jobs").count();
    assert_eq!(posts, 2, "{:?}", api.short());
}

#[tokio::test]
async fn a_job_whose_run_went_while_it_began_is_let_go() {
    let mut posted = false;
    let api = FakeApi::start(move |request| match request.short().as_str() {
        "POST jobs" => {
            posted = true;
            Reply::Json(201, json_of(&further_of(&anchor(), 2)))
        }
        "GET jobs/run-hello" => found((!posted).then(anchor).as_ref()),
        _ => found(Some(&further_of(&anchor(), 2))),
    });
    let error = act(&api, &BEGIN).await.unwrap_err();
    assert!(matches!(error, BackendError::NotFound(_)), "{error}");
    assert_eq!(
        api.short()[3..],
        ["GET jobs/run2-hello", "GET jobs/run-hello", "DELETE jobs/run2-hello", "PATCH jobs/run2-hello"]
    );
}

/// Of this process no stop is written between the two looks.
#[tokio::test]
async fn a_stop_of_ours_waits_for_what_begins() {
    const POST_TAKES: Duration = Duration::from_millis(300);
    let api = FakeApi::start(|request| match request.short().as_str() {
        "POST jobs" => {
            std::thread::sleep(POST_TAKES);
            Reply::Json(201, json_of(&further_of(&anchor(), 2)))
        }
        _ => found(Some(&anchor())),
    });
    let (backend, name) = (api.backend().await, launch().name);
    let begins = backend.runs.act(&name, JOB_UID, &BEGIN);
    let stops = async {
        while api.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        backend.runs.act(&name, JOB_UID, &Action::WriteStop(intent())).await
    };
    let (begun, stopped) = tokio::join!(begins, stops);
    begun.unwrap();
    stopped.unwrap();
    let looks = ["GET jobs/run-hello", "POST jobs", "GET jobs/run-hello"];
    assert_eq!(api.short(), [looks.as_slice(), &["GET jobs/run-hello", "PATCH jobs/run-hello"]].concat());
    let seen = api.seen();
    assert!(seen[2..].iter().all(|request| request.at >= seen[1].at + POST_TAKES), "nothing comes during the POST");
}

#[tokio::test]
async fn the_record_takes_the_place_of_what_was_kept_of_attempts() {
    let api = FakeApi::start(|_| found(Some(&anchor())));
    act(&api, &Action::WriteRecord(Box::new(record(&[1, 2])))).await.unwrap();
    assert_eq!(api.short(), ["GET jobs/run-hello", "PATCH jobs/run-hello"]);
    let annotations = api.seen()[1].json()["metadata"]["annotations"].clone();
    assert_eq!(annotations["longshore.dev/attempt-1"], Value::Null);
    assert_eq!(annotations.as_object().unwrap().len(), 2, "{annotations}");
}

/// Another server announced an attempt since.
#[tokio::test]
async fn no_record_is_written_of_a_run_that_goes_on() {
    let write = async |there: Job, next: Option<Job>| {
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "GET jobs/run2-hello" => found(next.as_ref()),
            _ => found(Some(&there)),
        });
        let written = act(&api, &Action::WriteRecord(Box::new(record(&[1])))).await;
        let is_patched = api.short().last().is_some_and(|last| last.starts_with("PATCH"));
        assert!(written.is_ok() || (!is_patched && matches!(written, Err(BackendError::Conflict(_)))), "{written:?}");
        (written.is_ok(), is_patched)
    };
    let next = || Some(further_of(&anchor(), 2));
    // A record that is not written is an error, so that nobody reports it.
    assert_eq!(write(anchor(), None).await, (false, false), "it may begin");
    assert_eq!(write(stopped(anchor()), None).await, (true, true), "it was cancelled in the pause");
    assert_eq!(write(stopped(anchor()), next()).await, (false, false), "it has begun");
    let mut earlier = anchor();
    earlier.metadata.uid = Some("earlier".to_owned());
    assert_eq!(write(stopped(anchor()), Some(further_of(&earlier, 2))).await, (true, true), "that is another run's");
    assert_eq!(write(recorded(first(), &[1]), None).await, (true, false), "the first stays");
}

fn release(attempts: u32) -> Action {
    let (reason, message) = ("X".to_owned(), "it failed".to_owned());
    Action::Release { reason, message, retention: Duration::from_secs(60), attempts }
}

/// All that there is, by name.
fn world(jobs: Vec<Job>) -> impl FnMut(&SeenRequest) -> Reply + Send + 'static {
    move |request| {
        let short = request.short();
        if request.is_list("pods") {
            return Reply::list(&[]);
        }
        let name = short.split('/').nth(1).unwrap_or_default();
        match request.method.as_str() {
            "GET" => found(jobs.iter().find(|job| job.metadata.name.as_deref() == Some(name))),
            _ => patched(),
        }
    }
}

#[tokio::test]
async fn all_jobs_of_a_run_are_released_the_anchor_last() {
    let api = FakeApi::start(world(vec![first(), further_of(&anchor(), 2)]));
    act(&api, &release(3)).await.unwrap();
    let requests = api.short();
    let further = ["GET jobs/run2-hello", "PATCH jobs/run2-hello", "GET jobs/run3-hello", "GET jobs/run-hello"];
    assert_eq!((requests.len(), &requests[..4]), (6, further.map(str::to_owned).as_slice()));
    let patch = api.seen()[1].json();
    assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/uid", "value": further_uid(2)}));
    assert_eq!(patch[2]["op"], json!("remove"));
    assert!(!patch.to_string().contains("ttlSecondsAfterFinished"), "it goes with the anchor: {patch}");
    // One attempt costs no more than it did.
    let api = FakeApi::start(world(vec![first()]));
    act(&api, &release(1)).await.unwrap();
    assert_eq!(api.short().len(), 3);
}

/// `kubectl delete --cascade=orphan` of the anchor.
#[tokio::test]
async fn a_job_that_does_not_go_with_the_anchor_is_deleted() {
    let mut orphan = further_of(&anchor(), 2);
    orphan.metadata.owner_references = None;
    let api = FakeApi::start(world(vec![first(), orphan]));
    act(&api, &release(2)).await.unwrap();
    assert_eq!(api.short()[..3], ["GET jobs/run2-hello", "DELETE jobs/run2-hello", "PATCH jobs/run2-hello"]);
}

#[tokio::test]
async fn a_deletion_takes_our_hold_off_all_jobs() {
    for there in [recorded(first(), &[1, 2]), anchor()] {
        let api = FakeApi::start(world(vec![there, further_of(&anchor(), 2)]));
        act(&api, &Action::Delete).await.unwrap();
        let requests = api.short();
        let further = ["GET jobs/run2-hello", "PATCH jobs/run2-hello"];
        assert_eq!(requests[1..3], further);
        assert_eq!(requests[3..], ["DELETE jobs/run-hello", "PATCH jobs/run-hello"]);
    }
}

#[tokio::test]
async fn a_look_shows_all_attempts() {
    let jobs = vec![settled(first(), 2), further_of(&anchor(), 2)];
    let api = FakeApi::start(world(jobs));
    let facts = api.backend().await.runs.get(&launch().name).await.unwrap().unwrap();
    assert_eq!(facts.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((facts.settled.len(), facts.present()), (2, None), "the third has not begun");
    assert!(api.short().contains(&"GET jobs/run3-hello".to_owned()));
    // One of an earlier run is not among them.
    let mut earlier = anchor();
    earlier.metadata.uid = Some("earlier".to_owned());
    let api = FakeApi::start(world(vec![anchor(), further_of(&earlier, 2)]));
    let facts = api.backend().await.runs.get(&launch().name).await.unwrap().unwrap();
    assert_eq!(facts.attempts.len(), 1);
}

#[tokio::test]
async fn what_is_done_to_an_attempt_that_is_gone_is_done() {
    let actions = [
        Action::EndUnstarted { attempt: 2 },
        Action::EndStarted { attempt: 2 },
        Action::LowerDeadline { attempt: 2, deadline: Duration::from_secs(9) },
    ];
    for action in actions {
        let api = FakeApi::start(world(vec![anchor()]));
        act(&api, &action).await.unwrap();
        assert_eq!(api.short(), ["GET jobs/run2-hello"]);
    }
}

#[tokio::test]
async fn only_a_job_without_its_run_is_let_go() {
    let let_go = async |jobs: Vec<Job>| {
        let leftover = Leftover { anchor: "run-hello".into(), job: "run2-hello".to_owned(), uid: further_uid(2) };
        let api = FakeApi::start(world(jobs));
        orphans::let_go(&*api.cluster().await, NAMESPACE, &leftover).await.unwrap();
        api.short().into_iter().filter(|request| !request.starts_with("GET")).collect::<Vec<_>>()
    };
    let gone = ["DELETE jobs/run2-hello", "PATCH jobs/run2-hello"];
    assert_eq!(let_go(vec![further_of(&anchor(), 2)]).await, gone);
    let mut successor = anchor();
    (successor.metadata.uid, successor.metadata.creation_timestamp) =
        (Some("successor".to_owned()), Some(Time(at(100))));
    assert_eq!(let_go(vec![successor, further_of(&anchor(), 2)]).await, gone);
    let nothing: [&str; 0] = [];
    assert_eq!(let_go(vec![anchor(), further_of(&anchor(), 2)]).await, nothing, "its run is there");
    let mut foreign = further_of(&anchor(), 2);
    foreign.metadata.labels = None;
    assert_eq!(let_go(vec![foreign]).await, nothing);
    assert_eq!(let_go(vec![]).await, nothing);
}
