//! What is counted of this machine.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counts what an operator has to mend.
#[derive(Clone, Debug, Default)]
pub struct LocalMetrics {
    /// Runs of which something can't be read.
    pub(super) unreadable: Gauge,
}

impl LocalMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Runs in the state directory of which something can't be read";
        registry.register("local_unreadable_runs", help, metrics.unreadable.clone());
        metrics
    }
}
