//! What is known of everything of one kind, in memory: rebuilt from the backend at each start, never the
//! authority. Written by the reconciler only.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use super::kind::Kind;
use super::metrics::ReconcileMetrics;
use super::observed::Observed;
use super::row::{Held, TableRow};

/// How many changes a watcher may lie behind before it has to begin anew.
const CHANGES: usize = 4096;

/// A change of the table.
#[derive(Debug)]
pub(crate) enum TableChange<K: Kind> {
    Upsert(Arc<K::View>),
    Deleted(Arc<K::View>),
}

impl<K: Kind> Clone for TableChange<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Upsert(view) => Self::Upsert(Arc::clone(view)),
            Self::Deleted(view) => Self::Deleted(Arc::clone(view)),
        }
    }
}

/// Newest first, then by name.
pub(crate) type OrderKey<K> = (Reverse<Timestamp>, <K as Kind>::Name);

pub(crate) fn order_key<K: Kind>((create_time, name): (Option<Timestamp>, &K::Name)) -> OrderKey<K> {
    (Reverse(create_time.unwrap_or(Timestamp::UNIX_EPOCH)), name.clone())
}

#[derive(Debug)]
struct Rows<K: Kind> {
    rows: BTreeMap<K::Name, TableRow<K>>,
    order: BTreeSet<OrderKey<K>>,
    /// How many have not ended, by whose they are.
    live: HashMap<String, usize>,
    /// Those that are settled, and open since somebody followed them.
    to_be_packed: BTreeSet<K::Name>,
    common: K::Common,
}

impl<K: Kind> Rows<K> {
    /// Keeps `live` as one thing changes: whose it was and whose it is, if it has not ended.
    fn count(&mut self, before: Option<String>, after: Option<String>) {
        if before == after {
            return;
        }
        if let Some(owner) = before
            && let Some(count) = self.live.get_mut(&owner)
        {
            *count -= 1;
            if *count == 0 {
                self.live.remove(&owner);
            }
        }
        if let Some(owner) = after {
            *self.live.entry(owner).or_default() += 1;
        }
    }
}

/// Everything of one kind.
#[derive(Debug)]
pub(crate) struct Table<K: Kind> {
    rows: RwLock<Rows<K>>,
    changes: broadcast::Sender<TableChange<K>>,
    metrics: ReconcileMetrics,
}

impl<K: Kind> Table<K> {
    pub(crate) fn new(metrics: ReconcileMetrics) -> Self {
        let rows = Rows {
            rows: BTreeMap::new(),
            order: BTreeSet::new(),
            live: HashMap::new(),
            to_be_packed: BTreeSet::new(),
            common: K::Common::default(),
        };
        Self { rows: RwLock::new(rows), changes: broadcast::Sender::new(CHANGES), metrics }
    }

    /// The one with this name.
    pub(crate) fn get(&self, name: &K::Name) -> Option<Arc<Observed<K>>> {
        let held = self.read().rows.get(name).map(TableRow::held);
        held.and_then(Held::observed)
    }

    pub(crate) fn contains(&self, name: &K::Name) -> bool {
        self.read().rows.contains_key(name)
    }

    /// The one with this name, and every change to it; the sender is gone once it is.
    pub(crate) fn follow(&self, name: &K::Name) -> Option<watch::Receiver<Arc<Observed<K>>>> {
        if let TableRow::Open(sender) = self.read().rows.get(name)? {
            return Some(sender.subscribe());
        }
        let mut rows = self.write();
        let follow = rows.rows.get_mut(name)?.follow();
        rows.to_be_packed.insert(name.clone());
        follow
    }

    /// How many of this owner have not ended.
    pub(crate) fn live_of(&self, owner: &str) -> usize {
        self.read().live.get(owner).copied().unwrap_or_default()
    }

    /// How many have ended.
    pub(crate) fn finished(&self) -> usize {
        self.read().rows.values().filter(|row| row.is_terminal()).count()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.read().rows.len()
    }

    /// At most `size` of what is wanted, in order, beginning just after `after`; and whether there are more.
    pub(crate) fn page(
        &self,
        after: Option<&OrderKey<K>>,
        size: usize,
        wanted: impl Fn(K::Traits<'_>) -> bool,
    ) -> (Vec<Held<K>>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        let rows = self.read();
        let from = after.map_or(Unbounded, Excluded);
        let ordered = rows.order.range::<OrderKey<K>, _>((from, Unbounded));
        let mut found =
            ordered.filter_map(|key| rows.rows.get(&key.1)).map(TableRow::held).filter(|held| wanted(held.traits()));
        let page = found.by_ref().take(size).collect();
        (page, found.next().is_some())
    }

    /// How many are wanted.
    pub(crate) fn count(&self, wanted: impl Fn(K::Traits<'_>) -> bool) -> usize {
        self.read().rows.values().filter(|row| wanted(row.held().traits())).count()
    }

    /// What is wanted of what there is, and every change after it: nothing falls between the two.
    pub(crate) fn subscribe(
        &self,
        wanted: impl Fn(K::Traits<'_>) -> bool,
    ) -> (Vec<Held<K>>, broadcast::Receiver<TableChange<K>>) {
        let rows = self.read();
        let changes = self.changes.subscribe();
        (rows.rows.values().map(TableRow::held).filter(|held| wanted(held.traits())).collect(), changes)
    }

    pub(crate) fn upsert(&self, observed: Arc<Observed<K>>) {
        let view = Arc::clone(&observed.view);
        let mut rows = self.write();
        let rows = &mut *rows;
        let key = order_key::<K>(K::place(&view));
        let name = key.1.clone();
        let (mut counted, mut owner, mut before) = (None, None, None);
        let row = match rows.rows.get_mut(&name) {
            Some(row) => {
                (counted, owner) = (Some(row.counted()), row.live_owner());
                before = Some(order_key::<K>(row.held().place())).filter(|before| *before != key);
                row.set(observed, &mut rows.common);
                row
            }
            None => {
                let row = TableRow::new(observed, &mut rows.common);
                rows.rows.entry(name.clone()).or_insert(row)
            }
        };
        self.metrics.row(counted, Some(row.counted()));
        let (now, is_to_be_packed) = (row.live_owner(), row.is_to_be_packed());
        rows.count(owner, now);
        if let Some(before) = before {
            rows.order.remove(&before);
        }
        rows.order.insert(key);
        if is_to_be_packed {
            rows.to_be_packed.insert(name);
        }
        // Reported under the lock, so that a new watcher sees each change exactly once. No receiver
        // is not an error.
        let _ = self.changes.send(TableChange::Upsert(view));
    }

    /// Removes it, and returns what was known of it last.
    pub(crate) fn remove(&self, name: &K::Name) -> Option<Arc<Observed<K>>> {
        let mut rows = self.write();
        let row = rows.rows.remove(name)?;
        self.metrics.row(Some(row.counted()), None);
        rows.count(row.live_owner(), None);
        let held = row.held();
        rows.order.remove(&order_key::<K>(held.place()));
        rows.to_be_packed.remove(name);
        let last = held.observed()?;
        let _ = self.changes.send(TableChange::Deleted(Arc::clone(&last.view)));
        Some(last)
    }

    /// Whether [`Self::pack`] may find anything.
    pub(crate) fn has_to_pack(&self) -> bool {
        !self.read().to_be_packed.is_empty()
    }

    /// Packs what is settled and followed by nobody any more, and returns the names of what it packed.
    pub(crate) fn pack(&self) -> Vec<K::Name> {
        let mut rows = self.write();
        let Rows { rows, to_be_packed, common, .. } = &mut *rows;
        to_be_packed.extract_if(.., |name| !rows.get_mut(name).is_some_and(|row| row.pack(common))).collect()
    }

    // A panic while the lock was held can't leave the rows half changed in a way that matters: they
    // are rebuilt from what the backend reports.
    fn read(&self) -> RwLockReadGuard<'_, Rows<K>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows<K>> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing more happens to it and nobody follows it.
    pub(crate) fn is_packed(&self, name: &K::Name) -> bool {
        self.read().rows.get(name).is_some_and(TableRow::is_packed)
    }
}
