//! What the reconciler of one kind counts. Labels are words of ours, never names that callers choose.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use longshore_backend::BackendError;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ActionLabels {
    action: &'static str,
    outcome: &'static str,
}

/// What may come of an action.
const OUTCOMES: [&str; 4] = ["done", "gone", "transient", "refused"];

fn outcome(ended: &Result<(), BackendError>) -> &'static str {
    match ended {
        Ok(()) => "done",
        Err(BackendError::NotFound(_)) => "gone",
        Err(error) if error.is_transient() => "transient",
        Err(_) => "refused",
    }
}

/// What a row of the table counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) state: &'static str,
    /// How far it is, as long as its objects may still be held.
    pub(crate) stage: Option<&'static str>,
}

/// Each metric's name without prefix and unit, and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricNames {
    /// Things that are known, by `state`.
    pub(crate) rows: (&'static str, &'static str),
    /// Things whose objects are held, by `stage`.
    pub(crate) holds: (&'static str, &'static str),
    /// Seconds in a `state` that was left.
    pub(crate) durations: (&'static str, &'static str),
    /// What was done to objects, by `action` and `outcome`.
    pub(crate) actions: (&'static str, &'static str),
    /// Seconds that the loop was at work.
    pub(crate) busy: (&'static str, &'static str),
    /// Whether everything is known and changes arrive.
    pub(crate) synced: (&'static str, &'static str),
}

/// What one reconciler counts. Cheap to clone; the default one is read by nobody.
#[derive(Clone, Debug)]
pub(crate) struct ReconcileMetrics {
    rows: Family<StateLabels, Gauge>,
    holds: Family<StageLabels, Gauge>,
    durations: Family<StateLabels, Histogram, fn() -> Histogram>,
    actions: Family<ActionLabels, Counter>,
    busy: Counter<f64, AtomicU64>,
    synced: Gauge,
}

impl Default for ReconcileMetrics {
    fn default() -> Self {
        Self {
            rows: Family::default(),
            holds: Family::default(),
            durations: Family::new_with_constructor(state_durations),
            actions: Family::default(),
            busy: Counter::default(),
            synced: Gauge::default(),
        }
    }
}

/// Makes the histograms of time in a state: from settling a result (10 ms) to a day.
fn state_durations() -> Histogram {
    Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0])
}

impl ReconcileMetrics {
    pub(crate) fn register(&self, registry: &mut Registry, names: MetricNames) {
        let MetricNames { rows, holds, durations, actions, busy, synced } = names;
        registry.register(rows.0, rows.1, self.rows.clone());
        registry.register(holds.0, holds.1, self.holds.clone());
        registry.register_with_unit(durations.0, durations.1, Unit::Seconds, self.durations.clone());
        registry.register(actions.0, actions.1, self.actions.clone());
        registry.register_with_unit(busy.0, busy.1, Unit::Seconds, self.busy.clone());
        registry.register(synced.0, synced.1, self.synced.clone());
    }

    /// Makes every series that can be known beforehand. Of each state: whether it is left again.
    pub(crate) fn zero(
        &self,
        states: impl IntoIterator<Item = (&'static str, bool)>,
        stages: &[&'static str],
        actions: &[&'static str],
    ) {
        for (state, is_left) in states {
            drop(self.rows.get_or_create(&StateLabels { state }));
            if is_left {
                drop(self.durations.get_or_create(&StateLabels { state }));
            }
        }
        for stage in stages {
            drop(self.holds.get_or_create(&StageLabels { stage }));
        }
        for action in actions {
            for outcome in OUTCOMES {
                drop(self.actions.get_or_create(&ActionLabels { action, outcome }));
            }
        }
    }

    /// A row of the table changed: it was `before` and is `after`. This alone moves the gauges, so that they are exact.
    pub(super) fn row(&self, before: Option<Counted>, after: Option<Counted>) {
        let state = |counted: Counted| StateLabels { state: counted.state };
        let stage = |counted: Counted| counted.stage.map(|stage| StageLabels { stage });
        // Up first: what only moves is never seen missing.
        if let Some(after) = after {
            self.rows.get_or_create(&state(after)).inc();
            stage(after).map(|stage| self.holds.get_or_create(&stage).inc());
        }
        if let Some(before) = before {
            self.rows.get_or_create(&state(before)).dec();
            stage(before).map(|stage| self.holds.get_or_create(&stage).dec());
        }
    }

    /// Something left `state` after this time.
    pub(crate) fn left(&self, state: &'static str, after: Duration) {
        self.durations.get_or_create(&StateLabels { state }).observe(after.as_secs_f64());
    }

    /// The reconciler did something to objects, or tried to.
    pub(crate) fn acted(&self, action: &'static str, ended: &Result<(), BackendError>) {
        self.actions.get_or_create(&ActionLabels { action, outcome: outcome(ended) }).inc();
    }

    /// The reconciler worked for this long.
    pub(crate) fn busy(&self, time: Duration) {
        self.busy.inc_by(time.as_secs_f64());
    }

    /// Whether everything is known and changes arrive.
    pub(crate) fn synced(&self, synced: bool) {
        self.synced.set(synced.into());
    }
}
