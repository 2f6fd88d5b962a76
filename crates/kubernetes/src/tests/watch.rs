//! The watch, when the API server is difficult.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::fake::{BOUND, FakeApi, NAMESPACE, Reply, SeenRequest};
use crate::run::index::{IndexAnswer, IndexQuestion};
use crate::run::watch::ask;
use crate::testing::{JOB_UID, job_of, launch, pod, run, terminated};
use longshore_domain::run::facts::FactsEvent;

fn job(version: &str) -> Value {
    let mut job = serde_json::to_value(job_of(&launch())).unwrap();
    job["metadata"]["resourceVersion"] = json!(version);
    job
}

/// What a quiet cluster without runs says.
fn quiet(request: &SeenRequest) -> Reply {
    if request.target.contains("watch=true") { Reply::Silence(Vec::new()) } else { Reply::list(&[]) }
}

async fn next(events: &mut BoxStream<'static, FactsEvent>) -> FactsEvent {
    timeout(BOUND, events.next()).await.unwrap().unwrap()
}

/// Polls the watch until the server saw enough.
async fn until(api: &FakeApi, events: &mut BoxStream<'static, FactsEvent>, enough: impl Fn(&[SeenRequest]) -> bool) {
    let polled = async {
        while !enough(&api.seen()) {
            let _ = timeout(Duration::from_millis(20), events.next()).await;
        }
    };
    timeout(BOUND, polled).await.unwrap();
}

#[tokio::test]
async fn watches_that_end_at_once_are_not_begun_at_once_again() {
    let api =
        FakeApi::start(|request| if request.is_watch("jobs") { Reply::Stream(Vec::new()) } else { quiet(request) });
    let mut events = api.backend().await.runs.watch();
    let begun =
        |seen: &[SeenRequest]| seen.iter().filter(|seen| seen.is_watch("jobs")).map(|seen| seen.at).collect::<Vec<_>>();
    until(&api, &mut events, |seen| begun(seen).len() >= 3).await;
    // Pauses are one and two seconds from start to start, less what the first request took to come.
    let gaps: Vec<_> = begun(&api.seen()).windows(2).map(|pair| pair[1].duration_since(pair[0])).collect();
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(500)), "{gaps:?}");
    assert_eq!(api.seen().iter().filter(|seen| seen.is_list("jobs")).count(), 1, "a watch goes on where it was");
}

#[tokio::test]
async fn a_version_that_is_too_old_makes_a_new_list_however_it_is_reported() {
    let in_stream = json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}});
    let in_stream = format!("{in_stream}\n").into_bytes();
    let expired = [Reply::status(410, "Expired", "too old"), Reply::Stream(in_stream)];
    for refusal in expired {
        let mut refusal = Some(refusal);
        let api = FakeApi::start(move |request| match request.is_watch("jobs").then(|| refusal.take()).flatten() {
            Some(refusal) => refusal,
            None => quiet(request),
        });
        let mut events = api.backend().await.runs.watch();
        assert_eq!(next(&mut events).await, FactsEvent::Synced, "it is no trouble that anybody has to hear of");
        until(&api, &mut events, |seen| seen.iter().filter(|seen| seen.is_list("jobs")).count() == 2).await;
    }
}

#[tokio::test]
async fn a_watch_that_was_cut_goes_on_after_the_last_change() {
    let mut first = true;
    let api = FakeApi::start(move |request| {
        if request.is_watch("jobs") && std::mem::take(&mut first) {
            return Reply::Cut(format!("{}\n", json!({"type": "ADDED", "object": job("77")})).into_bytes());
        }
        quiet(request)
    });
    let mut events = api.backend().await.runs.watch();
    let FactsEvent::Upsert(facts) = next(&mut events).await else { panic!() };
    assert_eq!(facts.name, launch().name);
    assert_eq!(next(&mut events).await, FactsEvent::Synced);
    until(&api, &mut events, |seen| seen.iter().filter(|seen| seen.is_watch("jobs")).count() == 2).await;
    let watches: Vec<_> = api.seen().into_iter().filter(|seen| seen.is_watch("jobs")).collect();
    assert!(watches[1].target.contains("resourceVersion=77"), "{}", watches[1].target);
    assert_eq!(api.seen().iter().filter(|seen| seen.is_list("jobs")).count(), 1);
}

#[tokio::test]
async fn only_this_installations_objects_are_asked_for() {
    let api = FakeApi::start(quiet);
    let mut events = api.backend().await.runs.watch();
    assert_eq!(next(&mut events).await, FactsEvent::Synced);
    for seen in api.seen().iter().filter(|seen| !seen.short().contains("events")) {
        assert!(seen.target.contains("longshore.dev%2Finstance%3Dlongshore"), "{}", seen.target);
    }
    assert_eq!(api.seen().len(), 6, "one list and one watch of each kind: {:?}", api.short());
}

#[tokio::test]
async fn pages_are_read_to_the_last() {
    let api = FakeApi::start(|request| {
        if !request.is_list("jobs") {
            return quiet(request);
        }
        if request.target.contains("continue=more") {
            return Reply::list(&[job("5")]);
        }
        let metadata = json!({"resourceVersion": "10", "continue": "more"});
        Reply::Json(200, json!({"kind": "JobList", "apiVersion": "batch/v1", "metadata": metadata, "items": []}))
    });
    let mut events = api.backend().await.runs.watch();
    assert!(matches!(next(&mut events).await, FactsEvent::Upsert(_)));
    assert_eq!(next(&mut events).await, FactsEvent::Synced);
}

#[tokio::test]
async fn rights_that_are_short_for_events_hold_nothing_up_and_for_jobs_are_reported() {
    let forbidden = |kind: &str| {
        let message = format!("{kind} is forbidden: User \"u\" cannot list resource \"{kind}\" in API group \"\"");
        Reply::status(403, "Forbidden", &message)
    };
    let api =
        FakeApi::start(move |request| if request.is_list("events") { forbidden("events") } else { quiet(request) });
    assert_eq!(next(&mut api.backend().await.runs.watch()).await, FactsEvent::Synced);
    let api =
        FakeApi::start(move |request| if request.is_list("jobs") { forbidden("jobs.batch") } else { quiet(request) });
    let FactsEvent::Broken(why) = next(&mut api.backend().await.runs.watch()).await else { panic!() };
    assert!(why.contains("Longshore lacks a right"), "{why}");
}

#[tokio::test]
async fn a_refused_list_of_pods_says_not_that_there_is_none() {
    let mut refusals = vec![
        Reply::status(403, "Forbidden", "pods is forbidden: User \"u\" cannot list resource \"pods\""),
        Reply::status(401, "Unauthorized", "Unauthorized"),
    ];
    let api = FakeApi::start(move |_| {
        let there = pod(&job_of(&launch()), "Failed", run(terminated(3, "Error")));
        refusals.pop().unwrap_or_else(|| Reply::list(&[serde_json::to_value(there).unwrap()]))
    });
    let question = IndexQuestion::Pods { namespace: Arc::from(NAMESPACE), uid: JOB_UID.to_owned() };
    let answer = timeout(BOUND, ask(api.cluster().await, question)).await.unwrap();
    let IndexAnswer::Pods { pods, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((pods.len(), api.seen().len()), (1, 3), "{:?}", api.short());
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_reported_and_waited_for() {
    let api = FakeApi::start(|_| Reply::Nothing);
    let mut events = api.backend().await.runs.watch();
    let FactsEvent::Broken(why) = next(&mut events).await else { panic!() };
    assert!(why.contains("list Jobs in longshore-runs"), "{why}");
    let mut failures = 0;
    let api = FakeApi::start(move |request| {
        failures += 1;
        if failures <= 2 { Reply::status(503, "ServiceUnavailable", "starting") } else { quiet(request) }
    });
    let mut events = api.backend().await.runs.watch();
    assert!(matches!(next(&mut events).await, FactsEvent::Broken(_)));
    assert_eq!(next(&mut events).await, FactsEvent::Synced);
}
