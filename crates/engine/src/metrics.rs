//! What the engine counts. Labels are words of ours, never names that callers choose; every series
//! that can be known beforehand is there from the start, at zero, so that its first step is seen.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use strum::{VariantArray, VariantNames};

use super::error::EngineError;
use super::run::Submitted;
use longshore_backend::{BackendError, LogItem};
use longshore_domain::log::LogGapCause;
use longshore_domain::run::failure::FailureReason;
use longshore_domain::run::plan::Action;
use longshore_domain::run::{Run, RunState};

mod labels;
#[cfg(test)]
mod tests;

use labels::{
    ActionLabels, EndLabels, GapLabels, NONE, OutcomeLabels, ReaderLabels, ResultLabels, StageLabels, StateLabels,
};
pub(super) use labels::{Counted, LogReader};

/// How many delays of ends show whether clocks differ.
const RECENT_DELAYS: usize = 32;

/// Makes the histograms of time in a state: from settling a result (10 ms) to a day.
fn state_durations() -> Histogram {
    Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0])
}

/// What the engine counts. Cheap to clone; the default one is read by nobody.
#[derive(Clone, Debug, Default)]
pub struct EngineMetrics {
    inner: Arc<EngineMetricsInner>,
}

#[derive(Debug)]
struct EngineMetricsInner {
    submits: Family<OutcomeLabels, Counter>,
    runs: Family<StateLabels, Gauge>,
    holds: Family<StageLabels, Gauge>,
    finished: Family<EndLabels, Counter>,
    durations: Family<StateLabels, Histogram, fn() -> Histogram>,
    exit_delay: Histogram,
    /// The last delays of `exit_delay`, in seconds, negative ones included.
    recent_delays: Mutex<VecDeque<f64>>,
    least_delay: Gauge<f64, AtomicU64>,
    results: Family<ResultLabels, Counter>,
    actions: Family<ActionLabels, Counter>,
    busy: Counter<f64, AtomicU64>,
    synced: Gauge,
    read_bytes: Family<ReaderLabels, Counter>,
    sent_bytes: Counter,
    gaps: Family<GapLabels, Counter>,
    followers: Gauge,
    upstreams: Gauge,
}

impl Default for EngineMetricsInner {
    fn default() -> Self {
        Self {
            submits: Family::default(),
            runs: Family::default(),
            holds: Family::default(),
            finished: Family::default(),
            durations: Family::new_with_constructor(state_durations),
            // The API server reports ends in whole seconds: nothing finer than one can be said.
            exit_delay: Histogram::new([1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0]),
            recent_delays: Mutex::default(),
            least_delay: Gauge::default(),
            results: Family::default(),
            actions: Family::default(),
            busy: Counter::default(),
            synced: Gauge::default(),
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
        SubmitMetrics { metrics: self.clone(), outcome: labels::ABANDONED }
    }

    /// A row of the table changed: it was `before` and is `after`. This alone moves the gauges of
    /// runs, so that they are exact.
    pub(super) fn row(&self, before: Option<Counted>, after: Option<Counted>) {
        let EngineMetricsInner { runs, holds, .. } = &*self.inner;
        let state = |counted: Counted| StateLabels { state: counted.state.as_str() };
        let stage = |counted: Counted| counted.stage.map(|stage| StageLabels { stage });
        // Up first: a run that only moves is never seen missing.
        if let Some(after) = after {
            runs.get_or_create(&state(after)).inc();
            stage(after).map(|stage| holds.get_or_create(&stage).inc());
        }
        if let Some(before) = before {
            runs.get_or_create(&state(before)).dec();
            stage(before).map(|stage| holds.get_or_create(&stage).dec());
        }
    }

    /// A run left `state` after this time.
    pub(super) fn left(&self, state: RunState, after: Duration) {
        self.inner.durations.get_or_create(&StateLabels { state: state.as_str() }).observe(after.as_secs_f64());
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

    /// The reconciler did something to a run's objects, or tried to.
    pub(super) fn acted(&self, action: &Action, ended: &Result<(), BackendError>) {
        let (action, outcome) = (action.as_str(), labels::acted(ended));
        self.inner.actions.get_or_create(&ActionLabels { action, outcome }).inc();
    }

    /// The reconciler worked for this long.
    pub(super) fn busy(&self, time: Duration) {
        self.inner.busy.inc_by(time.as_secs_f64());
    }

    /// Whether all runs are known and changes arrive.
    pub(super) fn synced(&self, synced: bool) {
        self.inner.synced.set(synced.into());
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
        registry.register("submits", "SubmitRun calls, by what came of them", self.submits.clone());
        registry.register("runs", "Runs that are known, by state", self.runs.clone());
        registry.register("run_holds", "Runs whose objects are held, by how far they are", self.holds.clone());
        registry.register("runs_finished", "Runs that became terminal, by how and why", self.finished.clone());
        registry.register_with_unit(
            "run_state_duration",
            "How long runs were in a state that they have left",
            Unit::Seconds,
            self.durations.clone(),
        );
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
        registry.register(
            "reconciler_actions",
            "What the reconciler did to runs' objects, and what came of it",
            self.actions.clone(),
        );
        registry.register_with_unit(
            "reconciler_busy",
            "Time that the reconciler's one loop was at work",
            Unit::Seconds,
            self.busy.clone(),
        );
        registry.register(
            "backend_synced",
            "1 while all runs are known and changes arrive, else 0",
            self.synced.clone(),
        );
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
        for outcome in labels::SUBMITS {
            drop(self.submits.get_or_create(&OutcomeLabels { outcome }));
        }
        for &state in RunState::VARIANTS {
            let label = StateLabels { state: state.as_str() };
            drop(self.runs.get_or_create(&label));
            if !state.is_terminal() {
                drop(self.durations.get_or_create(&label));
            }
        }
        for stage in labels::STAGES {
            drop(self.holds.get_or_create(&StageLabels { stage }));
        }
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
        for action in Action::VARIANTS {
            for outcome in labels::ACTED {
                drop(self.actions.get_or_create(&ActionLabels { action, outcome }));
            }
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
    outcome: &'static str,
}

impl SubmitMetrics {
    pub(super) fn end(mut self, ended: &Result<Submitted, EngineError>) {
        self.outcome = labels::submit(ended);
    }
}

impl Drop for SubmitMetrics {
    fn drop(&mut self) {
        self.metrics.inner.submits.get_or_create(&OutcomeLabels { outcome: self.outcome }).inc();
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
