//! That every call is counted, by what was asked and what came of it.

use std::collections::BTreeMap;

use futures::stream::StreamExt;
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::time::timeout;

use super::fake::{BOUND, FakeApi, NAMESPACE, Reply};
use crate::KubernetesMetrics;
use crate::testing::{JOB_UID, POD_UID, job_of, launch};
use longshore_backend::{Backend, LogOptions, LogSource};
use longshore_domain::run::facts::FactsEvent;

/// A backend whose calls are counted in the registry.
async fn counted(api: &FakeApi) -> (Backend, Registry) {
    let mut registry = Registry::default();
    let backend = api.counted_backend(&KubernetesMetrics::new(&mut registry)).await;
    (backend, registry)
}

/// The series of a metric that are not zero, and their values.
fn series(registry: &Registry, metric: &str) -> BTreeMap<String, f64> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    let of = |line: &str| {
        let (labels, value) = line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} ")?;
        Some((labels.replace('"', ""), value.parse::<f64>().unwrap()))
    };
    text.lines().filter_map(of).filter(|(_, value)| *value != 0.0).collect()
}

fn expected<const N: usize>(rows: [(&str, f64); N]) -> BTreeMap<String, f64> {
    rows.map(|(labels, value)| (labels.to_owned(), value)).into()
}

#[tokio::test]
async fn calls_are_reported_by_verb_resource_and_code() {
    let mut refusal = Some(Reply::status(503, "ServiceUnavailable", "etcd is tired"));
    let mut created = false;
    let api = FakeApi::start(move |request| match request.short().as_str() {
        "POST jobs" => refusal.take().unwrap_or_else(|| {
            created = true;
            Reply::Json(201, serde_json::to_value(job_of(&launch())).unwrap())
        }),
        _ if created => Reply::Nothing,
        _ => Reply::status(404, "NotFound", "jobs.batch \"run-hello\" not found"),
    });
    let (backend, registry) = counted(&api).await;
    backend.runs.create(&launch()).await.unwrap();
    backend.runs.get(&launch().name).await.unwrap_err();
    let calls = series(&registry, "kubernetes_requests_total");
    let rows = [
        ("verb=create,resource=jobs,code=503", 1.0),
        ("verb=create,resource=jobs,code=201", 1.0),
        ("verb=get,resource=jobs,code=404", 1.0),
        ("verb=get,resource=jobs/status,code=error", 1.0),
    ];
    assert_eq!(calls, expected(rows));
    assert_eq!(api.seen().len(), 4, "none escapes: {:?}", api.short());
    let timed = series(&registry, "kubernetes_request_duration_seconds_count");
    let rows =
        [("verb=create,resource=jobs", 2.0), ("verb=get,resource=jobs", 1.0), ("verb=get,resource=jobs/status", 1.0)];
    assert_eq!(timed, expected(rows));
}

#[tokio::test]
async fn lists_watches_and_logs_are_distinguished() {
    let mut ends = 0;
    let api = FakeApi::start(move |request| {
        if request.target.contains("/log?") {
            return Reply::Stream(b"2026-11-21T08:00:01.000000001Z one\n".to_vec());
        }
        if request.is_watch("jobs") && ends < 2 {
            ends += 1;
            let status = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"});
            let event = json!({"type": "ERROR", "object": status});
            return if ends == 1 {
                Reply::Stream(Vec::new())
            } else {
                Reply::Stream(format!("{event}\n").into_bytes())
            };
        }
        if request.target.contains("watch=true") { Reply::Silence(Vec::new()) } else { Reply::list(&[]) }
    });
    let (backend, registry) = counted(&api).await;
    let before = Timestamp::now().as_duration().as_secs_f64();
    let mut events = backend.runs.watch();
    let first = timeout(BOUND, events.next()).await.unwrap();
    assert_eq!(first, Some(FactsEvent::Synced));
    let watched = |registry: &Registry| {
        let calls = series(registry, "kubernetes_requests_total");
        calls.get("verb=watch,resource=jobs,code=200") == Some(&3.0)
    };
    timeout(BOUND, async {
        while !watched(&registry) {
            let _ = timeout(std::time::Duration::from_millis(20), events.next()).await;
        }
    })
    .await
    .unwrap();

    let source = LogSource {
        run: launch().name,
        run_uid: JOB_UID.to_owned(),
        attempt: 1,
        attempt_uid: POD_UID.to_owned(),
        pod: "run-hello-x".to_owned(),
        container: "run".to_owned(),
    };
    for follow in [false, true] {
        let mut items =
            backend.logs.open(&source, &LogOptions { from: None, follow, at_file_end: false }).await.unwrap();
        while timeout(BOUND, items.next()).await.unwrap().is_some() {}
    }

    let rows = [
        // Two lists of the Jobs, each with two of those that lack their labels.
        ("verb=list,resource=jobs,code=200", 6.0),
        ("verb=list,resource=pods,code=200", 1.0),
        ("verb=list,resource=events,code=200", 1.0),
        ("verb=watch,resource=jobs,code=200", 3.0),
        ("verb=watch,resource=pods,code=200", 1.0),
        ("verb=watch,resource=events,code=200", 1.0),
        ("verb=log,resource=pods/log,code=200", 2.0),
    ];
    assert_eq!(series(&registry, "kubernetes_requests_total"), expected(rows));
    let restarts = [("resource=jobs,cause=ended", 1.0), ("resource=jobs,cause=expired", 1.0)];
    assert_eq!(series(&registry, "kubernetes_watch_restarts_total"), expected(restarts));
    let heard = series(&registry, "kubernetes_watch_last_event_timestamp_seconds");
    let names: Vec<_> = heard.keys().cloned().collect();
    let name = |resource| format!("resource={resource},kubernetes_namespace={NAMESPACE}");
    assert_eq!(names, ["events", "jobs", "pods"].map(name));
    assert!(heard.values().all(|at| (before..=before + BOUND.as_secs_f64() * 3.0).contains(at)), "{heard:?}");
}

#[tokio::test]
async fn a_watch_that_is_refused_is_reported() {
    let api = FakeApi::start(|request| {
        let refused = request.is_list("jobs");
        if refused { Reply::status(403, "Forbidden", "jobs.batch is forbidden: User \"u\"") } else { Reply::list(&[]) }
    });
    let (backend, registry) = counted(&api).await;
    let first = timeout(BOUND, backend.runs.watch().next()).await.unwrap();
    assert!(matches!(first, Some(FactsEvent::Broken(_))), "{first:?}");
    assert_eq!(series(&registry, "kubernetes_watch_restarts_total")["resource=jobs,cause=refused"], 1.0);
    assert_eq!(series(&registry, "kubernetes_requests_total")["verb=list,resource=jobs,code=403"], 1.0);
}
