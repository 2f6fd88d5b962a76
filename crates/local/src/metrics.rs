//! What is counted of this machine.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counts what an operator has to fix.
#[derive(Clone, Debug, Default)]
pub struct LocalMetrics {
    /// Runs of which something can't be read.
    pub(super) unreadable: Gauge,
    /// Namespaces whose directories can't be listed.
    pub(super) unlisted: Gauge,
    /// Directories whose changes the kernel does not report.
    pub(super) polled: Gauge,
}

impl LocalMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Runs in the state directory of which something can't be read";
        registry.register("local_unreadable_runs", help, metrics.unreadable.clone());
        let help = "Namespaces whose directories can't be listed: runs there that are not known yet are left out";
        registry.register("local_unlisted_namespaces", help, metrics.unlisted.clone());
        let help = "Directories whose changes the kernel does not report (inotify): they are checked every second";
        registry.register("local_polled_directories", help, metrics.polled.clone());
        metrics
    }
}
