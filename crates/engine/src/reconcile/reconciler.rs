//! The one reconciler of a kind: takes in what the backend reports, derives, plans, acts, and looks again
//! when a clock says so. Level-triggered: a missed event, a restart or a second replica changes
//! nothing.

use std::collections::HashMap;
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

use super::deleted::Deleted;
use super::driver::{ActionOf, Driver, EventOf, FactsOf, NameOf};
use super::kind::Kind;
use super::metrics::ReconcileMetrics;
use super::observed::Observed;
use super::readiness::Readiness;
use super::table::Table;
use longshore_backend::BackendError;
use longshore_domain::reconcile::Event;
use longshore_runtime::backoff::Backoff;
use longshore_runtime::task;

/// How many things are acted on at once.
const ACTING: usize = 64;
/// After this, an action whose effect is not seen is done again.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// Between actions that fail: a cluster that is down is not hammered, one that blinked is not waited for.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// How long a record that was written may take to be seen, before what is seen is reported again.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// How often what was followed after its end is packed again.
const PACK_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) enum Message<K: Kind> {
    /// Facts that were read or created on behalf of a caller.
    Seen(Box<K::Facts>, oneshot::Sender<Arc<Observed<K>>>),
    /// A caller deleted what has this name and uid.
    Deleted(K::Name, String, oneshot::Sender<()>),
}

/// Starts the reconciler.
pub(super) fn start<D: Driver>(
    driver: Arc<D>,
    table: Arc<Table<D::Kind>>,
    metrics: ReconcileMetrics,
    inbox: mpsc::Receiver<Message<D::Kind>>,
) -> watch::Receiver<Readiness> {
    let (ready, readiness) = watch::channel(Readiness::Starting);
    let reconciler = Reconciler {
        driver,
        table,
        entries: HashMap::new(),
        timers: DelayQueue::new(),
        acting: JoinSet::new(),
        acting_on: HashMap::new(),
        permits: Arc::new(Semaphore::new(ACTING)),
        ready,
        beside: FuturesUnordered::new(),
        deleted: Deleted::default(),
        stretch: Some(0),
        stretches: 0,
        metrics,
    };
    task::spawn("reconciler", reconciler.run(inbox));
    readiness
}

/// What the reconciler remembers of one thing beside the table's row.
#[derive(Debug)]
struct ReconcilerEntry<D: Driver> {
    uid: String,
    /// When it was seen to come into its present state; `None` if it may have been in it before.
    since: Option<Instant>,
    memo: D::Memo,
    acting: bool,
    failures: u32,
    /// After a failure: not before this.
    not_before: Option<Instant>,
    done: Vec<(<D::Kind as Kind>::ActionKey, Instant)>,
    /// What was written and not seen yet, and since when: until then nothing newer is reported, which could be other than
    /// what was written.
    written: Option<(<D::Kind as Kind>::Written, Instant)>,
    /// Why an action could not be done that callers have to know of, the last time that was tried.
    trouble: Option<String>,
    timer: Option<delay_queue::Key>,
}

impl<D: Driver> ReconcilerEntry<D> {
    fn new(uid: String) -> Self {
        Self {
            uid,
            since: None,
            memo: D::Memo::default(),
            acting: false,
            failures: 0,
            not_before: None,
            done: Vec::new(),
            written: None,
            trouble: None,
            timer: None,
        }
    }
}

struct Acted<D: Driver> {
    name: NameOf<D>,
    uid: String,
    /// What stands written now.
    written: Option<<D::Kind as Kind>::Written>,
    failed: Option<(Option<ActionOf<D>>, BackendError)>,
}

/// What was found out beside facts of what has this name and uid.
struct FoundThing<D: Driver> {
    name: NameOf<D>,
    uid: String,
    finding: D::Finding,
}

struct Reconciler<D: Driver> {
    driver: Arc<D>,
    table: Arc<Table<D::Kind>>,
    entries: HashMap<NameOf<D>, ReconcilerEntry<D>>,
    timers: DelayQueue<NameOf<D>>,
    acting: JoinSet<Acted<D>>,
    /// On what each of these tasks acts, for the one that panics.
    acting_on: HashMap<tokio::task::Id, (NameOf<D>, String)>,
    permits: Arc<Semaphore>,
    ready: watch::Sender<Readiness>,
    beside: FuturesUnordered<BoxFuture<'static, FoundThing<D>>>,
    deleted: Deleted,
    /// The present stretch of the watch without a break; `None`: it is broken.
    stretch: Option<u64>,
    /// How many there were.
    stretches: u64,
    metrics: ReconcileMetrics,
}

impl<D: Driver> Reconciler<D> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message<D::Kind>>) {
        let mut watch = self.driver.watch();
        let mut pack_at = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(pack_at), if self.table.has_to_pack() => {
                    self.work(|this| {
                        for name in this.table.pack() {
                            this.forget_entry(&name);
                        }
                    });
                    pack_at = tokio::time::Instant::now() + PACK_EVERY;
                }
                event = watch.next() => match event {
                    Some(event) => self.work(|this| this.event(event)),
                    None => {
                        error!("the backend's watch ended; it is opened again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        watch = self.driver.watch();
                    }
                },
                // Nobody is left to send while the process ends: the rest goes on until then.
                Some(message) = inbox.recv() => self.work(|this| this.message(message)),
                Some(found) = self.beside.next(), if !self.beside.is_empty() => self.work(|this| this.found(found)),
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

    /// Does `work` and counts the time.
    fn work(&mut self, work: impl FnOnce(&mut Self)) {
        let began = Instant::now();
        work(self);
        self.metrics.busy(began.elapsed());
    }

    fn event(&mut self, event: EventOf<D::Kind>) {
        match event {
            Event::Upsert(facts) => {
                // What is reported after a break begins another stretch.
                let stretch = *self.stretch.get_or_insert(self.stretches);
                self.take_in(*facts, Some(stretch));
            }
            Event::Gone(name) => self.forget(&name),
            Event::Synced => {
                self.metrics.synced(true);
                let noun = D::Kind::NOUN;
                match self.ready.send_replace(Readiness::Ready) {
                    Readiness::Ready => {}
                    Readiness::Starting => {
                        let finished = self.table.finished();
                        let live = self.table.len().saturating_sub(finished);
                        info!(live, finished, "adopted {live} live {noun}s, {finished} finished");
                    }
                    Readiness::Broken(_) => {
                        info!(known = self.table.len(), "the backend watch of {noun}s works again")
                    }
                }
            }
            Event::Broken(why) => {
                warn!(%why, "the backend watch failed; the reported state may be stale");
                self.metrics.synced(false);
                self.stretches += 1;
                self.stretch = None;
                self.ready.send_replace(Readiness::Broken(why));
            }
        }
    }

    fn message(&mut self, message: Message<D::Kind>) {
        match message {
            Message::Seen(facts, reply) => {
                let observed = match self.table.get(D::Kind::name(&facts)) {
                    // The watch may have reported more already.
                    Some(known) if D::Kind::uid(&known.facts) == D::Kind::uid(&facts) => {
                        self.take_in(D::Kind::merge(&known.facts, &facts), None)
                    }
                    _ => self.take_in(*facts, self.stretch),
                };
                let _ = reply.send(observed);
            }
            Message::Deleted(name, uid, reply) => {
                if self.table.get(&name).is_some_and(|known| D::Kind::uid(&known.facts) == uid) {
                    self.forget(&name);
                }
                self.deleted.add(uid, Instant::now());
                let _ = reply.send(());
            }
        }
    }

    fn found(&mut self, FoundThing { name, uid, finding }: FoundThing<D>) {
        let Some(entry) = self.entries.get_mut(&name).filter(|entry| entry.uid == uid) else { return };
        self.driver.found(&mut entry.memo, finding);
        self.look_again(&name);
    }

    /// Takes facts in: what can't go back stays, then they are reported and acted on. `stretch`: the
    /// part of the watch that they are of, if they are news.
    fn take_in(&mut self, facts: FactsOf<D>, stretch: Option<u64>) -> Arc<Observed<D::Kind>> {
        let (name, uid) = (D::Kind::name(&facts).clone(), D::Kind::uid(&facts));
        if self.deleted.has(uid) {
            // The watch, or a read for a caller, reports the time before.
            return Arc::new(Observed::new(facts, Timestamp::now()));
        }
        let known = self.table.get(&name).filter(|known| D::Kind::uid(&known.facts) == uid);
        let entry = self.entries.entry(name.clone()).or_insert_with(|| ReconcilerEntry::new(uid.to_owned()));
        if entry.uid != uid {
            if let Some(timer) = entry.timer.take() {
                self.timers.remove(&timer);
            }
            *entry = ReconcilerEntry::new(uid.to_owned());
        }
        let now = Timestamp::now();
        let mut facts = D::Kind::remember(known.as_ref().map(|known| &known.facts), facts, now);
        let is_seen = entry.written.as_ref().is_some_and(|(written, _)| D::Kind::shows(&facts, written));
        if is_seen || D::Kind::is_recorded(&facts) {
            (entry.written, entry.trouble) = (None, None);
        }
        if let Some(known) = &known
            && entry.written.as_ref().is_some_and(|(_, at)| at.elapsed() < SEEN_WITHIN)
        {
            let known = Arc::clone(known);
            self.set_timer(&name, Some(SEEN_WITHIN));
            return known;
        }
        self.driver.amend(&mut entry.memo, entry.trouble.as_deref(), &mut facts);
        let observed = Arc::new(Observed::after(known.as_deref(), facts, stretch, now));
        self.count_state(&name, known.as_deref(), &observed);
        self.driver.taken_in(known.as_deref(), &observed, &self.ready.borrow());
        self.table.upsert(Arc::clone(&observed));
        self.act_on(&observed);
        self.forget_entry(&name);
        observed
    }

    /// Counts a change of state. How long the state before lasted is only known if this process saw
    /// both its start and its end at their time: not of what is adopted, nor of what happened
    /// while the backend could not be watched.
    fn count_state(&mut self, name: &NameOf<D>, known: Option<&Observed<D::Kind>>, observed: &Observed<D::Kind>) {
        let state = known.map(|known| D::Kind::state(&known.view));
        if state == Some(D::Kind::state(&observed.view)) {
            return;
        }
        let now = (*self.ready.borrow() == Readiness::Ready).then(Instant::now);
        let Some(entry) = self.entries.get_mut(name) else { return };
        let since = std::mem::replace(&mut entry.since, now);
        if let (Some(state), Some(since), Some(now)) = (state, since, now) {
            self.metrics.left(state, now.duration_since(since));
        }
    }

    fn look_again(&mut self, name: &NameOf<D>) {
        if let Some(known) = self.table.get(name) {
            self.take_in(known.facts.clone(), None);
        }
    }

    fn forget(&mut self, name: &NameOf<D>) {
        if let Some(timer) = self.entries.remove(name).and_then(|entry| entry.timer) {
            self.timers.remove(&timer);
        }
        if let Some(last) = self.table.remove(name) {
            self.driver.gone(D::Kind::uid(&last.facts));
            debug!(%name, "gone");
        }
    }

    /// Nothing more is done about what is packed: its row is all that is kept of it.
    fn forget_entry(&mut self, name: &NameOf<D>) {
        let is_idle = |entry: &ReconcilerEntry<D>| entry.timer.is_none() && !entry.acting;
        if self.entries.get(name).is_some_and(is_idle) && self.table.is_packed(name) {
            self.entries.remove(name);
        }
    }

    fn act_on(&mut self, observed: &Arc<Observed<D::Kind>>) {
        let (name, uid) = (D::Kind::name(&observed.facts), D::Kind::uid(&observed.facts));
        let Some(entry) = self.entries.get_mut(name) else { return };
        if let Some(finding) = self.driver.beside(&mut entry.memo, observed, &self.table) {
            let (name, uid) = (name.clone(), uid.to_owned());
            self.beside.push(finding.map(|finding| FoundThing { name, uid, finding }).boxed());
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
            .partition(|action| entry.done.iter().any(|(key, _)| *key == D::Kind::key(action)));
        if !again.is_empty() {
            wake = Some(wake.unwrap_or(REPEAT_AFTER).min(REPEAT_AFTER));
        }
        if !fresh.is_empty() {
            entry.acting = true;
            entry.done.extend(fresh.iter().map(|action| (D::Kind::key(action), now)));
            let (driver, permits) = (Arc::clone(&self.driver), Arc::clone(&self.permits));
            let (name, uid) = (name.clone(), uid.to_owned());
            let metrics = self.metrics.clone();
            let task = self.acting.spawn(act(driver, permits, metrics, name.clone(), uid.clone(), fresh));
            self.acting_on.insert(task.id(), (name, uid));
        }
        self.set_timer(name, wake);
    }

    fn set_timer(&mut self, name: &NameOf<D>, wake: Option<Duration>) {
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

    /// An internal error must not leave a thing alone for ever: it is acted on again, later.
    fn panicked(&mut self, panicked: &tokio::task::JoinError) {
        error!(%panicked, "an action panicked");
        if let Some((name, uid)) = self.acting_on.remove(&panicked.id()) {
            let message = "an action panicked".to_owned();
            let failed = Some((None, BackendError::Corrupt { what: name.to_string(), message }));
            self.acted(Acted { name, uid, written: None, failed });
        }
    }

    fn acted(&mut self, acted: Acted<D>) {
        let Acted { name, uid, written, failed } = acted;
        let Some(entry) = self.entries.get_mut(&name).filter(|entry| entry.uid == uid) else { return };
        entry.acting = false;
        entry.not_before = None;
        let (action, error) = match failed {
            None => {
                entry.failures = 0;
                entry.trouble = None;
                entry.written = written.map(|written| (written, Instant::now()));
                return self.look_again(&name);
            }
            // The authority says so: the watch will report it, or has and was overtaken.
            Some((_, BackendError::NotFound(_))) => return self.forget(&name),
            Some(failed) => failed,
        };
        entry.failures = entry.failures.saturating_add(1);
        entry.done.clear();
        // One that blinked is not worth a word.
        let missed = action.as_ref().and_then(D::Kind::misses);
        let trouble = missed.filter(|_| entry.failures > 1 || !error.is_transient());
        entry.trouble = trouble.map(|what| format!("{what}: {}", error.for_caller()));
        if error.is_transient() {
            debug!(%name, %error, failures = entry.failures, "an action failed; it will be repeated");
        } else {
            warn!(%name, %error, failures = entry.failures, "an action failed; it will be repeated");
            if let Some(action) = &action
                && self.driver.goes_on_without(&mut entry.memo, action, &error, entry.failures)
            {
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

fn until(at: Timestamp) -> Duration {
    // A hair late rather than early: at the time itself the clock has to have passed.
    let left = at.duration_since(Timestamp::now());
    // A day at most: a timer can't be set for years, and looking again too early is harmless.
    Duration::try_from(left).unwrap_or(Duration::ZERO).min(Duration::from_secs(86_400)) + Duration::from_millis(1)
}

async fn act<D: Driver>(
    driver: Arc<D>,
    permits: Arc<Semaphore>,
    metrics: ReconcileMetrics,
    name: NameOf<D>,
    uid: String,
    actions: Vec<ActionOf<D>>,
) -> Acted<D> {
    // The semaphore is never closed.
    let _permit = permits.acquire().await;
    let mut written = None;
    for action in actions {
        let word = D::Kind::action(&action);
        debug!(%name, action = word, "acting");
        let ended = driver.act(&name, &uid, &action).await;
        metrics.acted(word, &ended);
        if let Err(error) = ended {
            return Acted { name, uid, written, failed: Some((Some(action), error)) };
        }
        written = D::Kind::writes(&action).or(written);
    }
    Acted { name, uid, written, failed: None }
}
