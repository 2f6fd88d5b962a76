//! What the reconciler of runs does beside what every kind does: results are read, and output that would be lost is kept.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tracing::{debug, info};

use crate::log::{Hub, source_of};
use crate::metrics::EngineMetrics;
use crate::observed::{ObservedRun, RunKind};
use crate::reconcile::{Driver, Readiness, Table};
use crate::result::{ReadRequest, Reading};
use longshore_backend::{BackendError, Runs};
use longshore_domain::name::RunName;
use longshore_domain::result::{Checked, ResultError, ResultErrorKind, ResultOutcome};
use longshore_domain::run::facts::{FactsEvent, MainFacts, RunFacts};
use longshore_domain::run::plan::Action;
use longshore_domain::run::spec::ResultMode;

#[cfg(test)]
mod tests;

/// How often a result is tried to be kept before the run ends without it.
const STORE_TRIES: u32 = 5;

/// Reaches the backend for the reconciler of runs.
pub(crate) struct RunDriver {
    runs: Arc<dyn Runs>,
    hub: Hub,
    results: Reading,
    metrics: EngineMetrics,
}

impl RunDriver {
    pub(crate) fn new(runs: Arc<dyn Runs>, hub: Hub, results: Reading, metrics: EngineMetrics) -> Self {
        Self { runs, hub, results, metrics }
    }
}

/// What is known of a run beside its facts.
#[derive(Debug, Default)]
pub(crate) struct RunMemo {
    /// The attempt that the rest is about.
    attempt: u32,
    result: Option<Checked>,
    reading: bool,
    /// Whether the program had started before the run was to be stopped.
    ran_before_stop: bool,
}

impl Driver for RunDriver {
    type Kind = RunKind;
    type Memo = RunMemo;
    /// What was read as the result of the attempt with this number.
    type Finding = (u32, Checked);

    fn watch(&self) -> BoxStream<'static, FactsEvent> {
        self.runs.watch()
    }

    async fn get(&self, name: &RunName) -> Result<Option<RunFacts>, BackendError> {
        self.runs.get(name).await
    }

    async fn act(&self, name: &RunName, uid: &str, action: &Action) -> Result<(), BackendError> {
        self.runs.act(name, uid, action).await
    }

    fn amend(&self, memo: &mut RunMemo, trouble: Option<&str>, facts: &mut RunFacts) {
        facts.trouble = trouble.map(str::to_owned);
        let attempt = facts.present_number();
        if memo.attempt != attempt && facts.record.is_none() {
            *memo = RunMemo { attempt, ..RunMemo::default() };
        }
        if facts.record.is_some() {
            // The record has it, or says where it is.
            memo.result = None;
        }
        (facts.result, facts.reported) = match memo.result.clone() {
            Some(Checked { outcome, reported }) => (Some(outcome), reported),
            None => (None, None),
        };
    }

    fn taken_in(&self, known: Option<&ObservedRun>, observed: &ObservedRun, ready: &Readiness) {
        if known.is_none_or(|known| known.view.state != observed.view.state) {
            let (name, state) = (&observed.view.name, observed.view.state.as_str());
            // What is found at the start is counted in one line.
            if *ready == Readiness::Starting {
                debug!(run = %name, state, detail = %observed.view.message, "run");
            } else {
                info!(run = %name, state, detail = %observed.view.message, "run");
            }
            // A run that was recorded before it was known here ended in another process.
            if observed.view.state.is_terminal() && (known.is_some() || observed.facts.record.is_none()) {
                self.metrics.finished(&observed.view);
            }
        }
        // How late the end of a program was seen.
        let ended = |observed: &ObservedRun| observed.facts.last_attempt()?.main.terminated()?.finished_at;
        if let (Some(known), Some(at)) = (known, ended(observed))
            && ended(known).is_none()
            && *ready == Readiness::Ready
        {
            self.metrics.exit_seen(at, Timestamp::now());
        }
    }

    fn beside(
        &self,
        memo: &mut RunMemo,
        observed: &ObservedRun,
        table: &Table<RunKind>,
    ) -> Option<BoxFuture<'static, (u32, Checked)>> {
        let facts = &observed.facts;
        let mut reading = None;
        if !memo.reading
            && memo.result.is_none()
            && (is_read_live(facts) || observed.result_is_due())
            && let Some(follow) = table.follow(&facts.name)
        {
            memo.reading = true;
            let attempt = memo.attempt;
            let read = self.results.read(ReadRequest::of(facts), follow);
            reading = Some(read.map(move |checked| (attempt, checked)).boxed());
        }
        memo.ran_before_stop |= observed.ran_before_stop();
        if starts_although_stopped(facts)
            && !memo.ran_before_stop
            && let Some(source) = facts.present().and_then(|attempt| source_of(facts, attempt.number))
            && let Some(follow) = table.follow(&facts.name)
        {
            // Whatever ends it takes its log away, before anybody can ask for it.
            self.hub.keep(&source, follow);
        }
        reading
    }

    fn found(&self, memo: &mut RunMemo, (attempt, checked): (u32, Checked)) {
        if memo.attempt == attempt {
            memo.reading = false;
            memo.result = Some(checked);
        }
    }

    fn goes_on_without(&self, memo: &mut RunMemo, action: &Action, error: &BackendError, failures: u32) -> bool {
        if !matches!(action, Action::StoreResult { .. }) || failures < STORE_TRIES {
            return false;
        }
        // A run must end although its result can't be kept; the record says why.
        let reported = memo.result.take().and_then(|checked| checked.reported);
        memo.result = Some(Checked { outcome: not_kept(error), reported });
        true
    }

    fn gone(&self, uid: &str) {
        self.hub.forget(uid);
    }
}

fn not_kept(error: &BackendError) -> ResultOutcome {
    let message =
        format!("there was a result, but it is too large for the record and could not be kept beside it: {error}");
    ResultOutcome::None(ResultError { kind: ResultErrorKind::TooLarge, message, position: None })
}

/// Whether this run's output is read from its first byte on, because its result stands in it.
fn is_read_live(facts: &RunFacts) -> bool {
    facts.submission.effective.result.mode != ResultMode::None
        && facts.record.is_none()
        && facts.present().is_some_and(|a| matches!(a.main, MainFacts::Running { .. }))
}

/// Whether this run is to be stopped, and its program has started all the same.
fn starts_although_stopped(facts: &RunFacts) -> bool {
    facts.stop.is_some() && facts.record.is_none() && facts.present().is_some_and(|a| a.main.started())
}
