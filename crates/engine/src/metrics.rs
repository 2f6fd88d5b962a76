//! What the engine counts. Labels are words of ours, never names that callers choose; every series
//! that can be known beforehand is there from the start, at zero, so that its first step is seen.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use strum::{VariantArray, VariantNames};

use crate::reconcile::{MetricNames, ReconcileMetrics};
use longshore_backend::LogItem;
use longshore_domain::log::LogGapCause;
use longshore_domain::run::failure::FailureReason;
use longshore_domain::run::plan::Action;
use longshore_domain::run::{Run, RunState};

mod labels;
#[cfg(test)]
mod tests;

use labels::{EndLabels, GapLabels, NONE, OutcomeLabels, ReaderLabels, ResultLabels};
pub(super) use labels::{LogReader, SubmitOutcome};

const RECONCILE_NAMES: MetricNames = MetricNames {
    rows: ("runs", "Runs that are known, by state"),
    holds: ("run_holds", "Runs whose objects are held, by how far they are"),
    durations: ("run_state_duration", "How long runs were in a state that they have left"),
    actions: ("reconciler_actions", "What the reconciler did to runs' objects, and what came of it"),
    busy: ("reconciler_busy", "Time that the reconciler's one loop was at work"),
    synced: ("backend_synced", "1 while all runs are known and changes arrive, else 0"),
};

/// How many delays of ends show whether clocks differ.
const RECENT_DELAYS: usize = 32;

/// What the engine counts. Cheap to clone; the default one is read by nobody.
#[derive(Clone, Debug, Default)]
pub struct EngineMetrics {
    inner: Arc<EngineMetricsInner>,
}

#[derive(Debug)]
struct EngineMetricsInner {
    reconcile: ReconcileMetrics,
    submits: Family<OutcomeLabels, Counter>,
    finished: Family<EndLabels, Counter>,
    exit_delay: Histogram,
    /// The last delays of `exit_delay`, in seconds, negative ones included.
    recent_delays: Mutex<VecDeque<f64>>,
    least_delay: Gauge<f64, AtomicU64>,
    results: Family<ResultLabels, Counter>,
    read_bytes: Family<ReaderLabels, Counter>,
    sent_bytes: Counter,
    gaps: Family<GapLabels, Counter>,
    followers: Gauge,
    upstreams: Gauge,
}

impl Default for EngineMetricsInner {
    fn default() -> Self {
        Self {
            reconcile: ReconcileMetrics::default(),
            submits: Family::default(),
            finished: Family::default(),
            // The API server reports ends in whole seconds: nothing finer than one can be said.
            exit_delay: Histogram::new([1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0]),
            recent_delays: Mutex::default(),
            least_delay: Gauge::default(),
            results: Family::default(),
            read_bytes: Family::default(),
            sent_bytes: Counter::default(),
            gaps: Family::default(),
            followers: Gauge::default(),
            upstreams: Gauge::default(),
        }
    }
}

impl EngineMetrics {
    /// Registers them; the registry gives the prefix. What each means to an operator stands in
    /// `docs/metrics.md`.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.inner.zero();
        metrics.inner.register_runs(registry);
        metrics.inner.register_logs(registry);
        metrics
    }

    /// A submit begins.
    pub(super) fn submit(&self) -> SubmitMetrics {
        SubmitMetrics { metrics: self.clone(), outcome: SubmitOutcome::Abandoned }
    }

    /// What the reconciler of runs counts.
    pub(super) fn reconcile(&self) -> &ReconcileMetrics {
        &self.inner.reconcile
    }

    /// A run became terminal.
    pub(super) fn finished(&self, run: &Run) {
        let (class, reason) = match &run.failure {
            Some(failure) => (failure.failure_class.as_str(), failure.reason.as_str()),
            None => (NONE, NONE),
        };
        self.inner.finished.get_or_create(&EndLabels { state: run.state.as_str(), class, reason }).inc();
        if let Some(result) = &run.result {
            let source = result.found.as_ref().map_or(NONE, |found| found.source.into());
            self.inner.results.get_or_create(&ResultLabels { state: result.state.into(), source }).inc();
        }
    }

    /// A program that ended at `ended`, by the backend's clock, is seen to have ended at `seen`, by
    /// ours. Where that is before, the clocks differ.
    pub(super) fn exit_seen(&self, ended: Timestamp, seen: Timestamp) {
        let delay = seen.duration_since(ended);
        self.inner.exit_delay.observe(delay.max(SignedDuration::ZERO).as_secs_f64());
        let mut recent = self.inner.recent_delays.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_DELAYS {
            recent.pop_front();
        }
        recent.push_back(delay.as_secs_f64());
        self.inner.least_delay.set(recent.iter().copied().fold(f64::INFINITY, f64::min));
    }

    /// `reader` took these from the backend: one chunk, however many lines it has.
    pub(super) fn read(&self, reader: LogReader, items: &[LogItem]) {
        let mut bytes = 0;
        for item in items {
            match item {
                LogItem::Piece(piece) => bytes += piece.data.len() as u64,
                LogItem::Gap(gap) => self.gap(reader, gap.cause),
            }
        }
        self.inner.read_bytes.get_or_create(&ReaderLabels { reader: reader.as_str() }).inc_by(bytes);
    }

    /// `reader` found output to be lost.
    pub(super) fn gap(&self, reader: LogReader, cause: LogGapCause) {
        self.inner.gaps.get_or_create(&GapLabels { reader: reader.as_str(), cause: cause.into() }).inc();
    }

    /// A caller was given this much output.
    pub(super) fn sent(&self, bytes: u64) {
        self.inner.sent_bytes.inc_by(bytes);
    }

    /// A caller follows, until this is dropped.
    pub(super) fn follower(&self) -> Open {
        Open::new(&self.inner.followers)
    }

    /// Output is read for its followers, until this is dropped.
    pub(super) fn upstream(&self) -> Open {
        Open::new(&self.inner.upstreams)
    }
}

impl EngineMetricsInner {
    fn register_runs(&self, registry: &mut Registry) {
        registry.register(
            "submits",
            "SubmitRun calls and runs of BatchSubmitRuns, by what came of them",
            self.submits.clone(),
        );
        self.reconcile.register(registry, RECONCILE_NAMES);
        registry.register("runs_finished", "Runs that became terminal, by how and why", self.finished.clone());
        registry.register_with_unit(
            "exit_seen_delay",
            "From the end of a program, by its node's clock, to when that was seen, by ours",
            Unit::Seconds,
            self.exit_delay.clone(),
        );
        registry.register_with_unit(
            "exit_seen_delay_least",
            "The smallest of the last 32 delays of exit_seen_delay, which is negative where a node's clock is ahead",
            Unit::Seconds,
            self.least_delay.clone(),
        );
        registry.register("run_results", "Results of runs that became terminal", self.results.clone());
    }

    fn register_logs(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "log_read",
            "Output taken from the backend, by who read it",
            Unit::Bytes,
            self.read_bytes.clone(),
        );
        registry.register_with_unit(
            "log_sent",
            "Output given to callers of StreamLogs",
            Unit::Bytes,
            self.sent_bytes.clone(),
        );
        registry.register("log_gaps", "Losses of output, by who found them and why", self.gaps.clone());
        registry.register("log_followers", "Open StreamLogs calls that follow", self.followers.clone());
        registry.register(
            "log_upstreams",
            "Open reads of an attempt's output, each shared by all that follow it",
            self.upstreams.clone(),
        );
    }

    /// Makes every series that can be known beforehand.
    fn zero(&self) {
        for outcome in SubmitOutcome::VARIANTS.iter().map(|outcome| outcome.as_str()) {
            drop(self.submits.get_or_create(&OutcomeLabels { outcome }));
        }
        let states = RunState::VARIANTS.iter().map(|state| (state.as_str(), !state.is_terminal()));
        self.reconcile.zero(states, &labels::STAGES, Action::VARIANTS);
        for state in [RunState::Succeeded, RunState::Cancelled] {
            drop(self.finished.get_or_create(&EndLabels { state: state.as_str(), class: NONE, reason: NONE }));
        }
        for reason in FailureReason::VARIANTS {
            let (state, class) = (RunState::Failed.as_str(), reason.class().as_str());
            drop(self.finished.get_or_create(&EndLabels { state, class, reason: reason.as_str() }));
        }
        for result in labels::results() {
            drop(self.results.get_or_create(&result));
        }
        for reader in LogReader::VARIANTS.iter().map(|reader| reader.as_str()) {
            drop(self.read_bytes.get_or_create(&ReaderLabels { reader }));
            for cause in LogGapCause::VARIANTS.iter().map(Into::into) {
                drop(self.gaps.get_or_create(&GapLabels { reader, cause }));
            }
        }
    }
}

/// One submit; counted when dropped.
#[derive(Debug)]
pub(super) struct SubmitMetrics {
    metrics: EngineMetrics,
    outcome: SubmitOutcome,
}

impl SubmitMetrics {
    pub(super) fn end(mut self, outcome: SubmitOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for SubmitMetrics {
    fn drop(&mut self) {
        self.metrics.inner.submits.get_or_create(&OutcomeLabels { outcome: self.outcome.as_str() }).inc();
    }
}

/// Something that is open until this is dropped.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
