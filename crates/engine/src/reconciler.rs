//! The one reconciler: takes in what the backend reports, derives, plans, acts, and looks again
//! when a clock says so. Level-triggered: a missed event, a restart or a second replica changes
//! nothing.

use std::collections::HashMap;
use std::mem::Discriminant;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::time::{DelayQueue, delay_queue};
use tracing::{debug, error, info, warn};

use super::Readiness;
use super::feed::Hub;
use super::metrics::EngineMetrics;
use super::observed::Observed;
use super::results::{ReadRequest, Reading, ResultRead, source_of};
use super::table::Table;
use longshore_backend::{Backend, BackendError, Runs};
use longshore_domain::name::RunName;
use longshore_domain::result::{Checked, ResultError, ResultErrorKind, ResultOutcome};
use longshore_domain::run::facts::{FactsEvent, MainFacts, RunFacts, remember};
use longshore_domain::run::plan::Action;
use longshore_domain::run::rules::Rules;
use longshore_domain::run::spec::ResultMode;
use longshore_runtime::backoff::Backoff;
use longshore_runtime::task;

mod counts;
mod deleted;
#[cfg(test)]
mod tests;

use deleted::Deleted;

/// How many runs are acted on at once.
const ACTING: usize = 64;
/// After this, an action whose effect is not seen is done again.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// Between actions that fail: a cluster that is down is not hammered, one that blinked is not waited for.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// How often a result is tried to be kept before the run ends without it.
const STORE_TRIES: u32 = 5;
/// How long a record that was written may take to be seen, before what is seen is reported again.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// How often runs that were followed after their end are packed again.
const PACK_EVERY: Duration = Duration::from_secs(10);
/// Waiting messages for the reconciler.
const QUEUE: usize = 1024;

/// Sends to the reconciler.
#[derive(Clone, Debug)]
pub(super) struct Handle(mpsc::Sender<Message>);

#[derive(Debug)]
enum Message {
    /// Facts that were read or created on behalf of a caller.
    Seen(Box<RunFacts>, oneshot::Sender<Arc<Observed>>),
    /// A caller deleted this run.
    Deleted(RunName, String, oneshot::Sender<()>),
}

impl Handle {
    /// Reports facts that were just read from the authority, and waits until they are taken in.
    pub(super) async fn seen(&self, facts: RunFacts) -> Arc<Observed> {
        let (reply, taken) = oneshot::channel();
        let fallback = facts.clone();
        if self.0.send(Message::Seen(Box::new(facts), reply)).await.is_ok()
            && let Ok(observed) = taken.await
        {
            return observed;
        }
        Arc::new(Observed::new(fallback, Timestamp::now()))
    }

    /// Reports that the run with this name and uid was deleted, and waits until nobody is reported
    /// of it any more.
    pub(super) async fn deleted(&self, name: RunName, uid: String) {
        let (reply, taken) = oneshot::channel();
        // The reconciler ends with the process only.
        if self.0.send(Message::Deleted(name, uid, reply)).await.is_ok() {
            let _ = taken.await;
        }
    }
}

/// Starts the reconciler.
pub(super) fn start(
    backend: &Backend,
    table: Arc<Table>,
    hub: Hub,
    rules: &Rules,
    result_deadline: Duration,
    metrics: EngineMetrics,
) -> (Handle, watch::Receiver<Readiness>) {
    let (sender, inbox) = mpsc::channel(QUEUE);
    let (ready, readiness) = watch::channel(Readiness::Starting);
    let handle = Handle(sender);
    let reconciler = Reconciler {
        runs: Arc::clone(&backend.runs),
        table,
        entries: HashMap::new(),
        timers: DelayQueue::new(),
        acting: JoinSet::new(),
        acting_on: HashMap::new(),
        permits: Arc::new(Semaphore::new(ACTING)),
        ready,
        results: Reading::new(hub.clone(), result_deadline, rules),
        reading: FuturesUnordered::new(),
        deleted: Deleted::default(),
        hub,
        stretch: Some(0),
        stretches: 0,
        metrics,
    };
    task::spawn("reconciler", reconciler.run(inbox));
    (handle, readiness)
}

/// What the reconciler remembers of a run beside the table's row.
#[derive(Debug, Default)]
struct RunEntry {
    uid: String,
    /// When the run was seen to come into its present state; `None` if it may have been in it before.
    since: Option<Instant>,
    result: Option<Checked>,
    reading: bool,
    acting: bool,
    /// Whether the program had started before the run was to be stopped.
    ran_before_stop: bool,
    failures: u32,
    /// After a failure: not before this.
    not_before: Option<Instant>,
    done: Vec<(Discriminant<Action>, Instant)>,
    /// Since when a record stands that was not seen yet: until then nothing newer is reported,
    /// which could be other than what was recorded.
    recorded: Option<Instant>,
    /// Why the stop or the record could not be written, the last time that was tried.
    trouble: Option<String>,
    timer: Option<delay_queue::Key>,
}

struct Acted {
    name: RunName,
    uid: String,
    /// Whether a record stands now.
    recorded: bool,
    failed: Option<(Option<Action>, BackendError)>,
}

struct Reconciler {
    runs: Arc<dyn Runs>,
    table: Arc<Table>,
    entries: HashMap<RunName, RunEntry>,
    timers: DelayQueue<RunName>,
    acting: JoinSet<Acted>,
    /// Whom each of these tasks acts on, for the one that panics.
    acting_on: HashMap<tokio::task::Id, (RunName, String)>,
    permits: Arc<Semaphore>,
    ready: watch::Sender<Readiness>,
    results: Reading,
    reading: FuturesUnordered<BoxFuture<'static, ResultRead>>,
    deleted: Deleted,
    hub: Hub,
    /// The present stretch of the watch without a break; `None`: it is broken.
    stretch: Option<u64>,
    /// How many there were.
    stretches: u64,
    metrics: EngineMetrics,
}

impl Reconciler {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut watch = self.runs.watch();
        let mut pack_at = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(pack_at), if self.table.has_to_pack() => {
                    self.work(|this| this.table.pack());
                    pack_at = tokio::time::Instant::now() + PACK_EVERY;
                }
                event = watch.next() => match event {
                    Some(event) => self.work(|this| this.event(event)),
                    None => {
                        error!("the backend's watch ended; it is opened again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        watch = self.runs.watch();
                    }
                },
                // Nobody is left to send while the process ends: the rest goes on until then.
                Some(message) = inbox.recv() => self.work(|this| this.message(message)),
                Some(read) = self.reading.next(), if !self.reading.is_empty() => self.work(|this| this.read(read)),
                Some(acted) = self.acting.join_next_with_id(), if !self.acting.is_empty() => match acted {
                    Ok((id, acted)) => self.work(|this| {
                        this.acting_on.remove(&id);
                        this.acted(acted);
                    }),
                    Err(panicked) => self.work(|this| this.panicked(&panicked)),
                },
                Some(due) = self.timers.next(), if !self.timers.is_empty() => {
                    let name = due.into_inner();
                    self.work(|this| {
                        if let Some(entry) = this.entries.get_mut(&name) {
                            entry.timer = None;
                            this.look_again(&name);
                        }
                    });
                }
            }
        }
    }

    fn event(&mut self, event: FactsEvent) {
        match event {
            FactsEvent::Upsert(facts) => {
                // What is reported after a break begins another stretch.
                let stretch = *self.stretch.get_or_insert(self.stretches);
                self.take_in(*facts, Some(stretch));
            }
            FactsEvent::Gone(name) => self.forget(&name),
            FactsEvent::Synced => {
                self.metrics.synced(true);
                match self.ready.send_replace(Readiness::Ready) {
                    Readiness::Ready => {}
                    Readiness::Starting => {
                        let finished = self.table.finished();
                        let live = self.entries.len().saturating_sub(finished);
                        info!(live, finished, "adopted {live} live runs, {finished} finished");
                    }
                    Readiness::Broken(_) => info!(runs = self.entries.len(), "the backend watch works again"),
                }
            }
            FactsEvent::Broken(why) => {
                warn!(%why, "the backend watch failed; the reported state may be stale");
                self.metrics.synced(false);
                self.stretches += 1;
                self.stretch = None;
                self.ready.send_replace(Readiness::Broken(why));
            }
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Seen(facts, reply) => {
                let name = facts.name.clone();
                let observed = match self.table.get(&name) {
                    // The watch may have reported more already: only what can't go back is taken
                    // over.
                    Some(known) if known.facts.uid == facts.uid => {
                        let mut merged = known.facts.clone();
                        merged.take_stop(&facts);
                        merged.record = merged.record.or(facts.record);
                        merged.deleted_at = merged.deleted_at.or(facts.deleted_at);
                        self.take_in(merged, None)
                    }
                    _ => self.take_in(*facts, self.stretch),
                };
                let _ = reply.send(observed);
            }
            Message::Deleted(name, uid, reply) => {
                if self.entries.get(&name).is_some_and(|entry| entry.uid == uid) {
                    self.forget(&name);
                }
                self.deleted.add(uid, Instant::now());
                let _ = reply.send(());
            }
        }
    }

    fn read(&mut self, ResultRead { name, uid, checked }: ResultRead) {
        let Some(entry) = self.entries.get_mut(&name).filter(|entry| entry.uid == uid) else { return };
        entry.reading = false;
        entry.result = Some(checked);
        self.look_again(&name);
    }

    /// Takes facts in: what can't go back stays, then the run is reported and acted on. `stretch`: the
    /// part of the watch that they are of, if they are news.
    fn take_in(&mut self, mut facts: RunFacts, stretch: Option<u64>) -> Arc<Observed> {
        let name = facts.name.clone();
        if self.deleted.has(&facts.uid) {
            // The watch, or a read for a caller, reports the time before.
            return Arc::new(Observed::new(facts, Timestamp::now()));
        }
        let known = self.table.get(&name).filter(|known| known.facts.uid == facts.uid);
        let entry = self.entries.entry(name.clone()).or_default();
        if entry.uid != facts.uid {
            if let Some(timer) = entry.timer.take() {
                self.timers.remove(&timer);
            }
            *entry = RunEntry { uid: facts.uid.clone(), ..RunEntry::default() };
        }
        let now = Timestamp::now();
        facts = remember(known.as_ref().map(|known| &known.facts), facts, now);
        if facts.record.is_some() {
            (entry.recorded, entry.trouble) = (None, None);
        }
        if let Some(known) = &known
            && entry.recorded.is_some_and(|at| at.elapsed() < SEEN_WITHIN)
        {
            let known = Arc::clone(known);
            self.set_timer(&name, Some(SEEN_WITHIN));
            return known;
        }
        facts.trouble.clone_from(&entry.trouble);
        if facts.record.is_some() {
            // The record has it, or says where it is.
            entry.result = None;
        }
        if let Some(Checked { outcome, reported }) = entry.result.clone() {
            facts.result = Some(outcome);
            facts.reported = reported;
        } else {
            facts.result = None;
            facts.reported = None;
        }
        let observed = Observed::new(facts, now);
        let observed = Arc::new(observed.seen_after(known.as_deref(), stretch, tokio::time::Instant::now()));
        if known.as_ref().is_none_or(|known| known.run.state != observed.run.state) {
            let state = observed.run.state.as_str();
            // What is found at the start is counted in one line.
            if *self.ready.borrow() == Readiness::Starting {
                debug!(run = %name, state, detail = %observed.run.message, "run");
            } else {
                info!(run = %name, state, detail = %observed.run.message, "run");
            }
            self.count_state(known.as_deref(), &observed);
        }
        self.count_exit(known.as_deref(), &observed);
        self.table.upsert(Arc::clone(&observed));
        self.act_on(&observed);
        observed
    }

    fn look_again(&mut self, name: &RunName) {
        if let Some(known) = self.table.get(name) {
            self.take_in(known.facts.clone(), None);
        }
    }

    fn forget(&mut self, name: &RunName) {
        if let Some(entry) = self.entries.remove(name) {
            if let Some(timer) = entry.timer {
                self.timers.remove(&timer);
            }
            self.hub.forget(&entry.uid);
            debug!(run = %name, "gone");
        }
        self.table.remove(name);
    }

    fn act_on(&mut self, observed: &Arc<Observed>) {
        let facts = &observed.facts;
        let Some(entry) = self.entries.get_mut(&facts.name) else { return };
        if !entry.reading
            && entry.result.is_none()
            && (is_read_live(facts) || observed.result_is_due())
            && let Some(follow) = self.table.follow(&facts.name)
        {
            entry.reading = true;
            self.reading.push(self.results.read(ReadRequest::of(facts), follow).boxed());
        }
        entry.ran_before_stop |= observed.ran_before_stop();
        if starts_although_stopped(facts)
            && !entry.ran_before_stop
            && let Some(source) = facts.last_attempt().and_then(|attempt| source_of(facts, attempt.number))
            && let Some(follow) = self.table.follow(&facts.name)
        {
            // Whatever ends it takes its log away, before anybody can ask for it.
            self.hub.keep(&source, follow);
        }
        let now = Instant::now();
        if entry.acting || entry.not_before.is_some_and(|at| now < at) {
            return;
        }
        let planned = observed.plan();
        let mut wake = planned.wake_at.map(until);
        entry.done.retain(|(_, at)| now.duration_since(*at) < REPEAT_AFTER);
        let (again, fresh): (Vec<_>, Vec<_>) = planned
            .actions
            .into_iter()
            .partition(|action| entry.done.iter().any(|(kind, _)| *kind == std::mem::discriminant(action)));
        if !again.is_empty() {
            wake = Some(wake.unwrap_or(REPEAT_AFTER).min(REPEAT_AFTER));
        }
        if !fresh.is_empty() {
            entry.acting = true;
            entry.done.extend(fresh.iter().map(|action| (std::mem::discriminant(action), now)));
            let (runs, permits) = (Arc::clone(&self.runs), Arc::clone(&self.permits));
            let (name, uid) = (facts.name.clone(), facts.uid.clone());
            let metrics = self.metrics.clone();
            let task = self.acting.spawn(act(runs, permits, metrics, name.clone(), uid.clone(), fresh));
            self.acting_on.insert(task.id(), (name, uid));
        }
        self.set_timer(&facts.name, wake);
    }

    fn set_timer(&mut self, name: &RunName, wake: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        match (&entry.timer, wake) {
            (Some(timer), Some(wake)) => self.timers.reset(timer, wake),
            (None, Some(wake)) => entry.timer = Some(self.timers.insert(name.clone(), wake)),
            (Some(_), None) => {
                if let Some(timer) = entry.timer.take() {
                    self.timers.remove(&timer);
                }
            }
            (None, None) => {}
        }
    }

    /// An internal error must not leave a run alone for ever: it is acted on again, later.
    fn panicked(&mut self, panicked: &tokio::task::JoinError) {
        error!(%panicked, "an action panicked");
        if let Some((name, uid)) = self.acting_on.remove(&panicked.id()) {
            let message = "an action panicked".to_owned();
            let failed = Some((None, BackendError::Corrupt { what: name.to_string(), message }));
            self.acted(Acted { name, uid, recorded: false, failed });
        }
    }

    fn acted(&mut self, acted: Acted) {
        let Acted { name, uid, recorded, failed } = acted;
        let Some(entry) = self.entries.get_mut(&name).filter(|entry| entry.uid == uid) else { return };
        entry.acting = false;
        entry.not_before = None;
        let (action, error) = match failed {
            None => {
                entry.failures = 0;
                entry.trouble = None;
                entry.recorded = recorded.then(Instant::now);
                return self.look_again(&name);
            }
            // The authority says so: the watch will report it, or has and was overtaken.
            Some((_, BackendError::NotFound(_))) => return self.forget(&name),
            Some(failed) => failed,
        };
        entry.failures = entry.failures.saturating_add(1);
        entry.done.clear();
        let what = match &action {
            Some(Action::WriteStop(_)) => Some("the stop"),
            Some(Action::WriteRecord(_) | Action::StoreResult { .. }) => Some("how it ended"),
            _ => None,
        };
        // One that blinked is not worth a word.
        let trouble = what.filter(|_| entry.failures > 1 || !error.is_transient());
        entry.trouble = trouble.map(|what| format!("{what} can't be recorded yet: {}", error.for_caller()));
        if error.is_transient() {
            debug!(run = %name, %error, failures = entry.failures, "an action failed; it will be repeated");
        } else {
            warn!(run = %name, %error, failures = entry.failures, "an action failed; it will be repeated");
            if matches!(action, Some(Action::StoreResult { .. })) && entry.failures >= STORE_TRIES {
                // A run must end although its result can't be kept; the record says why.
                let reported = entry.result.take().and_then(|checked| checked.reported);
                entry.result = Some(Checked { outcome: not_kept(&error), reported });
                return self.look_again(&name);
            }
        }
        let pause = BACKOFF.pause(entry.failures);
        entry.not_before = Some(Instant::now() + pause);
        if entry.trouble.is_some() {
            self.look_again(&name);
        }
        self.set_timer(&name, Some(pause + Duration::from_millis(1)));
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
        && facts.last_attempt().is_some_and(|a| matches!(a.main, MainFacts::Running { .. }))
}

/// Whether this run is to be stopped, and its program has started all the same.
fn starts_although_stopped(facts: &RunFacts) -> bool {
    facts.stop.is_some() && facts.record.is_none() && facts.last_attempt().is_some_and(|a| a.main.started())
}

fn until(at: Timestamp) -> Duration {
    // A hair late rather than early: at the time itself the clock has to have passed.
    let left = at.duration_since(Timestamp::now());
    // A day at most: a timer can't be set for years, and looking again too early is harmless.
    Duration::try_from(left).unwrap_or(Duration::ZERO).min(Duration::from_secs(86_400)) + Duration::from_millis(1)
}

async fn act(
    runs: Arc<dyn Runs>,
    permits: Arc<Semaphore>,
    metrics: EngineMetrics,
    name: RunName,
    uid: String,
    actions: Vec<Action>,
) -> Acted {
    // The semaphore is never closed.
    let _permit = permits.acquire().await;
    let mut recorded = false;
    for action in actions {
        debug!(run = %name, action = action.as_str(), "acting");
        let ended = runs.act(&name, &uid, &action).await;
        metrics.acted(&action, &ended);
        if let Err(error) = ended {
            return Acted { name, uid, recorded, failed: Some((Some(action), error)) };
        }
        recorded |= matches!(action, Action::WriteRecord(_));
    }
    Acted { name, uid, recorded, failed: None }
}
