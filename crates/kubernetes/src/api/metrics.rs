//! What is counted of the conversation with an API server: every call, by one layer around the
//! client so that none escapes, and the watches.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use strum::{IntoStaticStr, VariantArray};

use super::error::CallError;

/// Seconds, to the fraction.
type Seconds = Gauge<f64, AtomicU64>;

/// What is asked of the API server.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ApiCall {
    verb: &'static str,
    resource: &'static str,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    verb: &'static str,
    resource: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WatchLabels {
    resource: &'static str,
    /// As configured. Not called `namespace`, which Prometheus keeps for where the daemon is.
    kubernetes_namespace: Arc<str>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Restarted {
    resource: &'static str,
    cause: &'static str,
}

/// Why a watch had to be begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum WatchEnd {
    /// The API server ended it, as it does every five minutes; or the connection was closed, which
    /// kube mostly does not distinguish.
    Ended,
    /// The connection failed otherwise.
    Cut,
    /// Nothing came for too long, not even a bookmark.
    Silent,
    /// The place where it stood is too old: everything is listed again.
    Expired,
    /// An event could not be read: everything is listed again.
    Unreadable,
    /// It, or the list before it, was refused or not answered.
    Refused,
}

impl WatchEnd {
    /// Of a list or watch that did not begin.
    pub(crate) fn of(error: &CallError) -> Self {
        if error.is_expired() { Self::Expired } else { Self::Refused }
    }
}

/// Makes the histograms of calls: from a read (1 ms) to the longest bound of one (30 s).
fn call_durations() -> Histogram {
    Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
}

/// What is counted of the conversation with an API server. Cheap to clone; the default one is read
/// by nobody.
#[derive(Clone, Debug)]
pub struct KubernetesMetrics {
    requests: Family<Answered, Counter>,
    durations: Family<ApiCall, Histogram, fn() -> Histogram>,
    watch_restarts: Family<Restarted, Counter>,
    watch_heard: Family<WatchLabels, Seconds>,
}

impl Default for KubernetesMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(call_durations),
            watch_restarts: Family::default(),
            watch_heard: Family::default(),
        }
    }
}

impl KubernetesMetrics {
    /// Registers them; the registry gives the prefix. What each means to an operator stands in
    /// `docs/metrics.md`.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "kubernetes_requests",
            "Calls to the API server, by what was asked and the code of the answer",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "kubernetes_request_duration",
            "From a call to the API server to the headers of its answer",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "kubernetes_watch_restarts",
            "Watches that had to be begun anew, by why",
            metrics.watch_restarts.clone(),
        );
        registry.register_with_unit(
            "kubernetes_watch_last_event_timestamp",
            "When something was heard last from a watch, bookmarks included, since the epoch",
            Unit::Seconds,
            metrics.watch_heard.clone(),
        );
        metrics
    }

    /// Counts all calls of a client whose unary calls are given up after `bound`.
    pub(crate) fn layer(&self, bound: Duration) -> CountCalls {
        CountCalls { metrics: self.clone(), bound }
    }

    /// For the watch of one kind in one Kubernetes namespace. Its silence counts from now on.
    pub(crate) fn watch(&self, resource: &'static str, kube_namespace: &str) -> WatchMetrics {
        for cause in WatchEnd::VARIANTS.iter().map(Into::into) {
            drop(self.watch_restarts.get_or_create(&Restarted { resource, cause }));
        }
        let watched = WatchLabels { resource, kubernetes_namespace: Arc::from(kube_namespace) };
        let heard = self.watch_heard.get_or_create_owned(&watched);
        let metrics = WatchMetrics { resource, heard, restarts: self.watch_restarts.clone() };
        metrics.heard();
        metrics
    }

    /// Makes one series of each, so that all of them are exposed: for the test that holds the page of metrics.
    #[doc(hidden)]
    pub fn touch(&self) {
        drop(self.begin(&Method::GET, &Uri::default(), Duration::ZERO));
        self.watch("jobs", "");
    }

    fn begin(&self, method: &Method, uri: &Uri, bound: Duration) -> ApiCallMetrics {
        let asked = asked(method, uri);
        // Whether a header comes before the first line of a log that is followed is the servers'
        // business: to give that up is not a failure.
        let bound = Some(bound).filter(|_| !(asked.resource == LOG && has_flag(uri, "follow=true")));
        ApiCallMetrics { metrics: self.clone(), asked, bound, since: Instant::now(), code: None }
    }
}

/// One watch.
#[derive(Clone, Debug)]
pub(crate) struct WatchMetrics {
    resource: &'static str,
    heard: Seconds,
    restarts: Family<Restarted, Counter>,
}

impl WatchMetrics {
    /// It reported something, be it that nothing changed.
    pub(crate) fn heard(&self) {
        let now = Timestamp::now().as_duration();
        self.heard.set(now.as_secs_f64());
    }

    /// It has to be begun anew.
    pub(crate) fn restarted(&self, why: WatchEnd) {
        self.restarts.get_or_create(&Restarted { resource: self.resource, cause: why.into() }).inc();
    }
}

/// One call; counted when dropped.
#[derive(Debug)]
struct ApiCallMetrics {
    metrics: KubernetesMetrics,
    asked: ApiCall,
    bound: Option<Duration>,
    since: Instant,
    code: Option<&'static str>,
}

impl ApiCallMetrics {
    fn end(&mut self, code: &'static str) {
        self.code = Some(code);
    }
}

impl Drop for ApiCallMetrics {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        // Dropped without an answer: nobody waits for it any more.
        let code = self.code.unwrap_or(match self.bound {
            Some(bound) if took >= bound => "timeout",
            _ => "cancelled",
        });
        let ApiCall { verb, resource } = self.asked;
        self.metrics.requests.get_or_create(&Answered { verb, resource, code }).inc();
        self.metrics.durations.get_or_create(&self.asked).observe(took.as_secs_f64());
    }
}

/// Counts what passes; see [`KubernetesMetrics::layer`].
#[derive(Clone, Debug)]
pub(crate) struct CountCalls {
    metrics: KubernetesMetrics,
    bound: Duration,
}

impl<S> tower::Layer<S> for CountCalls {
    type Service = CountedCalls<S>;

    fn layer(&self, inner: S) -> CountedCalls<S> {
        CountedCalls { inner, calls: self.clone() }
    }
}

/// See [`CountCalls`].
#[derive(Clone, Debug)]
pub(crate) struct CountedCalls<S> {
    inner: S,
    calls: CountCalls,
}

impl<S, A, B> tower::Service<Request<A>> for CountedCalls<S>
where
    S: tower::Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let CountCalls { metrics, bound } = &self.calls;
        let mut counted = metrics.begin(request.method(), request.uri(), *bound);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            counted.end(answer.as_ref().map_or("error", |answer| code(answer.status())));
            answer
        })
    }
}

const LOG: &str = "pods/log";

/// What a request asks, shown by its path: `/api/v1/namespaces/NS/pods/NAME/log`,
/// `/apis/batch/v1/namespaces/NS/jobs?watch=true`.
fn asked(method: &Method, uri: &Uri) -> ApiCall {
    let path: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let rest = match path.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        ["version"] => return ApiCall { verb: "get", resource: "version" },
        _ => &[],
    };
    let (resource, name, part) = match rest {
        ["namespaces", _, resource, rest @ ..] | [resource, rest @ ..] => {
            (*resource, rest.first(), rest.get(1).copied().unwrap_or_default())
        }
        [] => ("", None, ""),
    };
    let resource = match (resource, part) {
        ("jobs", "") => "jobs",
        ("jobs", "status") => "jobs/status",
        ("pods", "") => "pods",
        ("pods", "log") => LOG,
        ("events", "") => "events",
        ("secrets", "") => "secrets",
        ("namespaces", "") => "namespaces",
        ("resourcequotas", "") => "resourcequotas",
        ("leases", "") => "leases",
        ("tokenreviews", "") => "tokenreviews",
        ("localsubjectaccessreviews", "") => "localsubjectaccessreviews",
        ("selfsubjectaccessreviews", "") => "selfsubjectaccessreviews",
        _ => "other",
    };
    let verb = match (method, name) {
        (&Method::GET, _) if resource == LOG => "log",
        (&Method::GET, _) if has_flag(uri, "watch=true") => "watch",
        (&Method::GET, Some(_)) => "get",
        (&Method::GET, None) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, _) => "delete",
        _ => "other",
    };
    ApiCall { verb, resource }
}

fn has_flag(uri: &Uri, flag: &str) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|part| part == flag))
}

/// A status as a label: those that API servers answer, and the class of any other.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        201 => "201",
        202 => "202",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        409 => "409",
        410 => "410",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        other => match other / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_reported_by_method_path_and_query() {
        let jobs = "/apis/batch/v1/namespaces/longshore-runs/jobs";
        let pods = "/api/v1/namespaces/longshore-runs/pods";
        let table = [
            ("POST", format!("{jobs}?"), ("create", "jobs")),
            ("POST", format!("{pods}?&dryRun=All"), ("create", "pods")),
            ("GET", format!("{jobs}?&limit=500"), ("list", "jobs")),
            ("GET", format!("{jobs}?&watch=true&resourceVersion=1"), ("watch", "jobs")),
            ("GET", format!("{jobs}/run-watch"), ("get", "jobs")),
            ("PATCH", format!("{jobs}/run-a"), ("patch", "jobs")),
            ("PATCH", format!("{jobs}/run-a/status"), ("patch", "jobs/status")),
            ("DELETE", format!("{jobs}/run-a"), ("delete", "jobs")),
            ("GET", format!("{pods}/log"), ("get", "pods")),
            ("GET", format!("{pods}/run-a-x/log?follow=true"), ("log", "pods/log")),
            ("GET", "/api/v1/namespaces/pods".to_owned(), ("get", "namespaces")),
            ("GET", "/api/v1/namespaces/longshore-runs/secrets/s".to_owned(), ("get", "secrets")),
            ("POST", "/apis/authentication.k8s.io/v1/tokenreviews".to_owned(), ("create", "tokenreviews")),
            ("GET", "/version".to_owned(), ("get", "version")),
            ("GET", format!("{pods}/run-a-x/exec"), ("get", "other")),
            ("GET", "/healthz".to_owned(), ("list", "other")),
            ("OPTIONS", "/".to_owned(), ("other", "other")),
        ];
        for (method, uri, (verb, resource)) in table {
            let labels_of = asked(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(labels_of, ApiCall { verb, resource }, "{method} {uri}");
        }
    }

    #[test]
    fn a_call_that_nobody_waits_for_was_too_slow_or_not_wanted_any_more() {
        let metrics = KubernetesMetrics::default();
        let count = |verb, resource, code| {
            metrics.requests.get(&Answered { verb, resource, code }).map_or(0, |counter| counter.get())
        };
        let log = "/api/v1/namespaces/n/pods/p/log";
        let get = |uri: &str, bound| drop(metrics.begin(&Method::GET, &uri.parse().unwrap(), bound));
        get(log, Duration::ZERO);
        get(log, Duration::MAX);
        get(&format!("{log}?follow=true"), Duration::ZERO);
        assert_eq!((count("log", LOG, "timeout"), count("log", LOG, "cancelled")), (1, 2));
    }

    #[test]
    fn any_status_has_a_label() {
        for status in 100..=999 {
            let labels_of = code(StatusCode::from_u16(status).unwrap());
            let class = status.min(599) / 100;
            assert!(labels_of == status.to_string() || labels_of == format!("{class}xx"), "{status}: {labels_of}");
        }
    }
}
