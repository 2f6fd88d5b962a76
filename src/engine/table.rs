//! What is known of every run, in memory: rebuilt from the backend at each start, never the
//! authority. Written by the reconciler only.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use super::metrics::EngineMetrics;
use crate::domain::derive::derive;
use crate::domain::facts::RunFacts;
use crate::domain::name::RunName;
use crate::domain::run::Run;

/// How many changes a watcher may lie behind before it has to begin anew.
const CHANGES: usize = 4096;

/// A run as observed, and as told.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) facts: RunFacts,
    pub(super) run: Arc<Run>,
}

impl Observed {
    pub(super) fn new(facts: RunFacts, now: Timestamp) -> Self {
        let run = Arc::new(derive(&facts, now));
        Self { facts, run }
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
