//! Counts and times calls, by method and by the code that the caller saw.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use longshore_api::{METHODS, code_name};

/// Methods that are served beside those of this API, as their paths.
const OTHERS: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The label of a method: its path without the first slash, or `other`, so that callers can't
/// make up labels.
pub(super) fn label(path: &str) -> &'static str {
    let mut known = METHODS.iter().chain(&OTHERS);
    known.find(|method| **method == path).map_or("other", |method| method.trim_start_matches('/'))
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

/// Makes the histograms of durations.
fn durations() -> Histogram {
    // From a read of our index (1 ms) over a submit (10 ms) and a wait (50 s) to a long stream.
    Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0, 3600.0])
}

/// Metrics of calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RpcMetrics {
    done: Family<CallLabels, Counter>,
    durations: Family<MethodLabel, Histogram, fn() -> Histogram>,
    open: Family<MethodLabel, Gauge>,
}

impl RpcMetrics {
    /// Registers them; the registry gives the prefix.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            done: Family::default(),
            durations: Family::new_with_constructor(durations),
            open: Family::default(),
        };
        registry.register(
            "grpc_calls",
            "Calls that ended, by method and by the code that the caller saw",
            metrics.done.clone(),
        );
        registry.register_with_unit(
            "grpc_call_duration",
            "From a call's headers to its status",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("grpc_calls_open", "Calls that have not ended, streams included", metrics.open.clone());
        metrics
    }

    /// Makes one series of each, so that all of them are exposed: for the test that holds the page of metrics.
    #[doc(hidden)]
    pub fn touch(&self) {
        drop(self.begin(METHODS[0]));
    }

    /// A call begins.
    pub(super) fn begin(&self, method: &'static str) -> RpcCall {
        self.open.get_or_create(&MethodLabel { method }).inc();
        RpcCall { metrics: self.clone(), method, since: Instant::now(), code: None }
    }
}

/// One call; counted when dropped.
#[derive(Debug)]
pub(super) struct RpcCall {
    metrics: RpcMetrics,
    method: &'static str,
    since: Instant,
    code: Option<Code>,
}

impl RpcCall {
    /// The status that the caller sees; the first one counts.
    pub(super) fn end(&mut self, code: Code) {
        self.code.get_or_insert(code);
    }
}

impl Drop for RpcCall {
    fn drop(&mut self) {
        let method = self.method;
        // Dropped without a status: the caller went away first.
        let code = code_name(self.code.unwrap_or(Code::Cancelled));
        let took = self.since.elapsed();
        self.metrics.open.get_or_create(&MethodLabel { method }).dec();
        self.metrics.done.get_or_create(&CallLabels { method, code }).inc();
        self.metrics.durations.get_or_create(&MethodLabel { method }).observe(took.as_secs_f64());
        tracing::debug!(method, code, ?took, "call ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_cannot_make_up_labels() {
        assert_eq!(label("/longshore.v1.RunService/GetRun"), "longshore.v1.RunService/GetRun");
        assert_eq!(label("/longshore.v1.RunService/Nope"), "other");
    }

    #[test]
    fn the_code_that_was_seen_is_counted_and_none_is_cancelled() {
        let mut registry = Registry::default();
        let metrics = RpcMetrics::new(&mut registry);
        let method = label("/longshore.v1.RunService/GetRun");
        let mut call = metrics.begin(method);
        call.end(Code::NotFound);
        call.end(Code::Ok);
        drop(call);
        drop(metrics.begin(method));
        let open = metrics.begin(method);

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let has = |line: &str| assert!(text.contains(line), "{line} in {text}");
        has(r#"grpc_calls_total{method="longshore.v1.RunService/GetRun",code="NOT_FOUND"} 1"#);
        has(r#"grpc_calls_total{method="longshore.v1.RunService/GetRun",code="CANCELLED"} 1"#);
        has(r#"grpc_calls_open{method="longshore.v1.RunService/GetRun"} 1"#);
        has(r#"grpc_call_duration_seconds_count{method="longshore.v1.RunService/GetRun"} 2"#);
        drop(open);
    }
}
