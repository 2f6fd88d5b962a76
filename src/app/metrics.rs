//! Everything that the daemon counts, in one registry. What each means stands in `docs/metrics.md`,
//! and a test holds the two together.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::backend::kubernetes::KubernetesMetrics;
use crate::backend::local::LocalMetrics;
use crate::engine::{AccessMetrics, EngineMetrics};
use crate::grpc::RpcMetrics;
use crate::runtime::files::Files;
use crate::runtime::tls::CertificateMetrics;

/// The registry, and what is registered for every backend.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) registry: Registry,
    pub(super) rpc: RpcMetrics,
    pub(super) engine: EngineMetrics,
    pub(super) access: AccessMetrics,
    pub(super) files: Files,
    pub(super) certificates: CertificateMetrics,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("longshore");
        let rpc = RpcMetrics::new(&mut registry);
        let engine = EngineMetrics::new(&mut registry);
        let access = AccessMetrics::new(&mut registry);
        let files = Files::new(&mut registry);
        let certificates = CertificateMetrics::new(&mut registry, files.clone());
        Self { registry, rpc, engine, access, files, certificates }
    }

    /// What is counted of a cluster; only where there is one.
    pub(super) fn kubernetes(&mut self) -> KubernetesMetrics {
        KubernetesMetrics::new(&mut self.registry)
    }

    /// What is counted of this machine; only where runs are processes of it.
    pub(super) fn local(&mut self) -> LocalMetrics {
        LocalMetrics::new(&mut self.registry)
    }

    /// Reports which version this is, on which backend.
    pub(super) fn set_build(&mut self, backend: &'static str) {
        let info = Info::new([("version", env!("CARGO_PKG_VERSION")), ("backend", backend)]);
        self.registry.register("build", "Which version of Longshore this is, and its backend", info);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Names as they are queried, with their types.
    fn exposed(registry: &Registry) -> BTreeMap<String, String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let name = |name: &str, kind: &str| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        types.map(|(metric, kind)| (name(metric, kind), kind.to_owned())).collect()
    }

    /// The rows of the page's tables that begin with a metric.
    fn documented() -> BTreeMap<String, String> {
        let page = include_str!("../../docs/metrics.md");
        let row = |line: &str| {
            let mut cells = line.strip_prefix("| `longshore_")?.split('|');
            let name = cells.next()?.trim().trim_end_matches('`');
            Some((format!("longshore_{name}"), cells.next()?.trim().to_owned()))
        };
        page.lines().filter_map(row).collect()
    }

    #[test]
    fn the_page_describes_every_metric_and_no_other() {
        let mut metrics = Metrics::new();
        metrics.set_build("kubernetes");
        let kubernetes = metrics.kubernetes();
        let _ = metrics.local();
        // A family without a series is not exposed.
        metrics.rpc.touch();
        metrics.files.touch();
        kubernetes.touch();
        assert_eq!(exposed(&metrics.registry), documented());
    }
}
