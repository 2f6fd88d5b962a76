//! What is known of every run, in memory: rebuilt from the backend at each start, never the
//! authority. Written by the reconciler only.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::metrics::EngineMetrics;
use longshore_domain::derive::derive;
use longshore_domain::facts::RunFacts;
use longshore_domain::name::RunName;
use longshore_domain::run::Run;

/// How many changes a watcher may lie behind before it has to begin anew.
const CHANGES: usize = 4096;

/// A run as observed, and as told.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) facts: RunFacts,
    pub(super) run: Arc<Run>,
    /// How its attempts were seen to start, by number.
    seen: Vec<(u32, Seen)>,
}

/// How an attempt's program was seen to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not yet, as the watch told last, in this stretch of it without a break; `None`: the watch did not
    /// tell.
    NotStarted(Option<u64>),
    /// It has started. When that was seen, if it was not started before in the same stretch.
    Started(Option<Instant>),
}

impl Seen {
    /// What is known after one more look, which is of this stretch of the watch. What has started stays so.
    fn next(before: Option<Self>, started: bool, stretch: Option<u64>, now: Instant) -> Self {
        match (before, started) {
            (Some(Self::Started(since)), _) => Self::Started(since),
            (Some(Self::NotStarted(known)), true) => {
                Self::Started(Some(now).filter(|_| stretch.is_some() && stretch == known))
            }
            (Some(Self::NotStarted(known)), false) => Self::NotStarted(stretch.or(known)),
            (None, true) => Self::Started(None),
            (None, false) => Self::NotStarted(stretch),
        }
    }
}

impl Observed {
    pub(super) fn new(facts: RunFacts, now: Timestamp) -> Self {
        let run = Arc::new(derive(&facts, now));
        let seen = Vec::new();
        Self { facts, run, seen }.seen_after(None, None, Instant::now())
    }

    /// The same as a further look after `before` of the same run, told in this stretch of the watch.
    pub(super) fn seen_after(self, before: Option<&Self>, stretch: Option<u64>, now: Instant) -> Self {
        let known = |number| before.and_then(|before| before.seen.iter().find(|(n, _)| *n == number));
        let attempts = self.facts.attempts.iter();
        let seen = attempts.map(|attempt| {
            let before = known(attempt.number).map(|(_, seen)| *seen);
            (attempt.number, Seen::next(before, attempt.main.started(), stretch, now))
        });
        Self { seen: seen.collect(), ..self }
    }

    /// When the program of this attempt was seen to start. `None`: it has not, or that was not seen.
    pub(super) fn seen_start(&self, attempt: u32) -> Option<Instant> {
        self.seen.iter().find_map(|(number, seen)| match seen {
            Seen::Started(since) if *number == attempt => *since,
            _ => None,
        })
    }

    /// Whether the program of the last attempt is known to have started before the run was to be
    /// stopped.
    pub(super) fn ran_before_stop(&self) -> bool {
        self.facts.stop.is_none() && self.facts.last_attempt().is_some_and(|attempt| attempt.main.started())
    }

    /// The run as of `now`: the time spent waiting is told in its message.
    pub(super) fn told(&self, now: Timestamp) -> Arc<Run> {
        if self.run.state.is_terminal() { Arc::clone(&self.run) } else { Arc::new(derive(&self.facts, now)) }
    }
}

/// A change of the table.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Upsert(Arc<Run>),
    Deleted(Arc<Run>),
}

/// Newest first, then by name.
pub(super) type OrderKey = (Reverse<Timestamp>, RunName);

pub(super) fn order_key(run: &Run) -> OrderKey {
    (Reverse(run.timeline.create_time.unwrap_or(Timestamp::UNIX_EPOCH)), run.name.clone())
}

#[derive(Debug, Default)]
struct Rows {
    runs: BTreeMap<RunName, watch::Sender<Arc<Observed>>>,
    order: BTreeSet<OrderKey>,
    /// Runs that are not over, by their submitter.
    live: HashMap<String, usize>,
}

impl Rows {
    /// Keeps `live` as one run changes from `before` to `after`.
    fn count(&mut self, before: Option<&Observed>, after: Option<&Observed>) {
        let (before, after) = (before.and_then(live_submitter), after.and_then(live_submitter));
        if before == after {
            return;
        }
        if let Some(submitter) = before
            && let Some(count) = self.live.get_mut(submitter)
        {
            *count -= 1;
            if *count == 0 {
                self.live.remove(submitter);
            }
        }
        if let Some(submitter) = after {
            *self.live.entry(submitter.to_owned()).or_default() += 1;
        }
    }
}

/// Who submitted the run, if it is not over.
fn live_submitter(observed: &Observed) -> Option<&str> {
    (!observed.run.state.is_terminal()).then_some(observed.facts.submission.submitter.as_str())
}

/// All runs.
#[derive(Debug)]
pub(super) struct Table {
    rows: RwLock<Rows>,
    changes: broadcast::Sender<Change>,
    metrics: EngineMetrics,
}

impl Table {
    pub(super) fn new(metrics: EngineMetrics) -> Self {
        Self { rows: RwLock::default(), changes: broadcast::Sender::new(CHANGES), metrics }
    }

    /// The run with this name.
    pub(super) fn get(&self, name: &RunName) -> Option<Arc<Observed>> {
        self.read().runs.get(name).map(|row| Arc::clone(&row.borrow()))
    }

    /// The run with this name, and every change to it; the sender is gone once the run is.
    pub(super) fn follow(&self, name: &RunName) -> Option<watch::Receiver<Arc<Observed>>> {
        self.read().runs.get(name).map(watch::Sender::subscribe)
    }

    /// How many runs of this submitter are not over.
    pub(super) fn live_of(&self, submitter: &str) -> usize {
        self.read().live.get(submitter).copied().unwrap_or_default()
    }

    /// How many runs are over.
    pub(super) fn finished(&self) -> usize {
        self.read().runs.values().filter(|row| row.borrow().run.state.is_terminal()).count()
    }

    /// Runs in order, beginning just after `after`; `visit` says when it is enough.
    pub(super) fn page(&self, after: Option<&OrderKey>, mut visit: impl FnMut(&Arc<Observed>) -> bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        let rows = self.read();
        let from = after.map_or(Unbounded, Excluded);
        for key in rows.order.range::<OrderKey, _>((from, Unbounded)) {
            let Some(row) = rows.runs.get(&key.1) else { continue };
            if !visit(&row.borrow()) {
                return;
            }
        }
    }

    /// Everything there is, and every change after it: nothing falls between the two.
    pub(super) fn subscribe(&self) -> (Vec<Arc<Run>>, broadcast::Receiver<Change>) {
        let rows = self.read();
        let changes = self.changes.subscribe();
        (rows.runs.values().map(|row| Arc::clone(&row.borrow().run)).collect(), changes)
    }

    pub(super) fn upsert(&self, observed: Arc<Observed>) {
        let run = Arc::clone(&observed.run);
        let mut rows = self.write();
        let known = rows.runs.get(&run.name).map(|row| Arc::clone(&row.borrow()));
        rows.count(known.as_deref(), Some(&observed));
        match rows.runs.get(&run.name) {
            Some(row) => {
                self.metrics.row(Some(&row.borrow()), Some(&observed));
                let before = order_key(&row.borrow().run);
                row.send_replace(observed);
                let key = order_key(&run);
                if before != key {
                    rows.order.remove(&before);
                    rows.order.insert(key);
                }
            }
            None => {
                self.metrics.row(None, Some(&observed));
                rows.order.insert(order_key(&run));
                rows.runs.insert(run.name.clone(), watch::Sender::new(observed));
            }
        }
        // Told under the lock, so that a new watcher sees each change exactly once. No receiver is
        // no error.
        let _ = self.changes.send(Change::Upsert(run));
    }

    pub(super) fn remove(&self, name: &RunName) {
        let mut rows = self.write();
        if let Some(row) = rows.runs.remove(name) {
            let run = Arc::clone(&row.borrow().run);
            self.metrics.row(Some(&row.borrow()), None);
            let last = Arc::clone(&row.borrow());
            rows.count(Some(&last), None);
            rows.order.remove(&order_key(&run));
            let _ = self.changes.send(Change::Deleted(run));
        }
    }

    // A panic while the lock was held can't leave the rows half changed in a way that matters:
    // they are rebuilt from what the backend tells.
    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use Seen::{NotStarted, Started};

    #[test]
    fn a_start_is_seen_only_within_one_stretch_of_the_watch() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let table = [
            (None, false, Some(1), NotStarted(Some(1))),
            (None, true, Some(1), Started(None)),
            (Some(NotStarted(Some(1))), true, Some(1), Started(Some(now))),
            // The watch was broken in between, for nobody knows how long.
            (Some(NotStarted(Some(1))), true, Some(2), Started(None)),
            (Some(NotStarted(Some(1))), false, Some(2), NotStarted(Some(2))),
            // Looked at again, without a word of the watch.
            (Some(NotStarted(Some(1))), false, None, NotStarted(Some(1))),
            (Some(NotStarted(None)), true, Some(1), Started(None)),
            (Some(NotStarted(None)), true, None, Started(None)),
            // Never back, whatever the kubelet says for a moment.
            (Some(Started(Some(later))), false, Some(2), Started(Some(later))),
            (Some(Started(None)), true, Some(2), Started(None)),
        ];
        for (before, started, stretch, expected) in table {
            assert_eq!(Seen::next(before, started, stretch, now), expected, "{before:?} {started} {stretch:?}");
        }
    }
}
