//! What is known of every run, in memory: rebuilt from the backend at each start, never the
//! authority. Written by the reconciler only.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use super::metrics::EngineMetrics;
use super::observed::Observed;
use longshore_domain::name::RunName;
use longshore_domain::run::Run;

mod row;
#[cfg(test)]
mod tests;

use row::TableRow;
pub(super) use row::{Held, Traits};

/// How many changes a watcher may lie behind before it has to begin anew.
const CHANGES: usize = 4096;

/// A change of the table.
#[derive(Clone, Debug)]
pub(super) enum TableChange {
    Upsert(Arc<Run>),
    Deleted(Arc<Run>),
}

/// Newest first, then by name.
pub(super) type OrderKey = (Reverse<Timestamp>, RunName);

pub(super) fn order_key(of: Traits<'_>) -> OrderKey {
    (Reverse(of.create_time.unwrap_or(Timestamp::UNIX_EPOCH)), of.name.clone())
}

#[derive(Debug, Default)]
struct Rows {
    runs: BTreeMap<RunName, TableRow>,
    order: BTreeSet<OrderKey>,
    /// Runs that are not over, by their submitter.
    live: HashMap<String, usize>,
    /// Runs that are settled, and open since somebody followed them.
    to_be_packed: BTreeSet<RunName>,
}

impl Rows {
    /// Keeps `live` as one run changes: whose it was and whose it is, if it is not over.
    fn count(&mut self, before: Option<String>, after: Option<String>) {
        if before == after {
            return;
        }
        if let Some(submitter) = before
            && let Some(count) = self.live.get_mut(&submitter)
        {
            *count -= 1;
            if *count == 0 {
                self.live.remove(&submitter);
            }
        }
        if let Some(submitter) = after {
            *self.live.entry(submitter).or_default() += 1;
        }
    }
}

/// All runs.
#[derive(Debug)]
pub(super) struct Table {
    rows: RwLock<Rows>,
    changes: broadcast::Sender<TableChange>,
    metrics: EngineMetrics,
}

impl Table {
    pub(super) fn new(metrics: EngineMetrics) -> Self {
        Self { rows: RwLock::default(), changes: broadcast::Sender::new(CHANGES), metrics }
    }

    /// The run with this name.
    pub(super) fn get(&self, name: &RunName) -> Option<Arc<Observed>> {
        let held = self.read().runs.get(name).map(TableRow::held);
        held.and_then(Held::observed)
    }

    pub(super) fn contains(&self, name: &RunName) -> bool {
        self.read().runs.contains_key(name)
    }

    /// The run with this name, and every change to it; the sender is gone once the run is.
    pub(super) fn follow(&self, name: &RunName) -> Option<watch::Receiver<Arc<Observed>>> {
        if let TableRow::Open(sender) = self.read().runs.get(name)? {
            return Some(sender.subscribe());
        }
        let mut rows = self.write();
        let follow = rows.runs.get_mut(name)?.follow();
        rows.to_be_packed.insert(name.clone());
        follow
    }

    /// How many runs of this submitter are not over.
    pub(super) fn live_of(&self, submitter: &str) -> usize {
        self.read().live.get(submitter).copied().unwrap_or_default()
    }

    /// How many runs are over.
    pub(super) fn finished(&self) -> usize {
        self.read().runs.values().filter(|row| row.is_terminal()).count()
    }

    /// At most `size` of the runs that are wanted, in order, beginning just after `after`; and whether there are more.
    pub(super) fn page(
        &self,
        after: Option<&OrderKey>,
        size: usize,
        wanted: impl Fn(Traits<'_>) -> bool,
    ) -> (Vec<Held>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        let rows = self.read();
        let from = after.map_or(Unbounded, Excluded);
        let ordered = rows.order.range::<OrderKey, _>((from, Unbounded));
        let mut found =
            ordered.filter_map(|key| rows.runs.get(&key.1)).map(TableRow::held).filter(|held| wanted(held.traits()));
        let page = found.by_ref().take(size).collect();
        (page, found.next().is_some())
    }

    /// What is wanted of what there is, and every change after it: nothing falls between the two.
    pub(super) fn subscribe(
        &self,
        wanted: impl Fn(Traits<'_>) -> bool,
    ) -> (Vec<Held>, broadcast::Receiver<TableChange>) {
        let rows = self.read();
        let changes = self.changes.subscribe();
        (rows.runs.values().map(TableRow::held).filter(|held| wanted(held.traits())).collect(), changes)
    }

    pub(super) fn upsert(&self, observed: Arc<Observed>) {
        let run = Arc::clone(&observed.run);
        let mut rows = self.write();
        let key = order_key(Traits::of(&run));
        let (mut counted, mut submitter, mut before) = (None, None, None);
        let row = match rows.runs.get_mut(&run.name) {
            Some(row) => {
                (counted, submitter) = (Some(row.counted()), row.live_submitter());
                before = Some(order_key(row.held().traits())).filter(|before| *before != key);
                row.set(observed);
                row
            }
            None => rows.runs.entry(run.name.clone()).or_insert_with(|| TableRow::new(observed)),
        };
        self.metrics.row(counted, Some(row.counted()));
        let (now, is_to_be_packed) = (row.live_submitter(), row.is_to_be_packed());
        rows.count(submitter, now);
        if let Some(before) = before {
            rows.order.remove(&before);
        }
        rows.order.insert(key);
        if is_to_be_packed {
            rows.to_be_packed.insert(run.name.clone());
        }
        // Reported under the lock, so that a new watcher sees each change exactly once. No receiver
        // is not an error.
        let _ = self.changes.send(TableChange::Upsert(run));
    }

    pub(super) fn remove(&self, name: &RunName) {
        let mut rows = self.write();
        let Some(row) = rows.runs.remove(name) else { return };
        self.metrics.row(Some(row.counted()), None);
        rows.count(row.live_submitter(), None);
        let held = row.held();
        rows.order.remove(&order_key(held.traits()));
        rows.to_be_packed.remove(name);
        if let Some(last) = held.observed() {
            let _ = self.changes.send(TableChange::Deleted(Arc::clone(&last.run)));
        }
    }

    /// Whether [`Self::pack`] may find anything.
    pub(super) fn has_to_pack(&self) -> bool {
        !self.read().to_be_packed.is_empty()
    }

    /// Packs runs that are settled and that nobody follows any more.
    pub(super) fn pack(&self) {
        let mut rows = self.write();
        let Rows { runs, to_be_packed, .. } = &mut *rows;
        to_be_packed.retain(|name| runs.get_mut(name).is_some_and(TableRow::pack));
    }

    // A panic while the lock was held can't leave the rows half changed in a way that matters: they
    // are rebuilt from what the backend reports.
    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}
