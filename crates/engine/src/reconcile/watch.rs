//! Watching: what is there, then every change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::driver::Driver;
use super::kind::Kind;
use super::reconciled::Reconciled;
use super::row::Held;
use super::table::TableChange;
use crate::access::stale;
use crate::reconnect::ReconnectReason;

/// How long a watch may be silent.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a watch reports.
#[derive(Clone, Debug)]
pub enum WatchEvent<View> {
    /// There, new or changed.
    Present(Arc<View>),
    /// One that was sent before and does not belong to this watch any more.
    Removed {
        /// As last known; as it is now, if it only ceased to match.
        last: Arc<View>,
        /// Why.
        cause: RemovalCause,
    },
    /// All that was there has been reported.
    Synced,
    /// Nothing new.
    Heartbeat,
    /// Call again.
    Reconnect(ReconnectReason),
}

/// Why something left a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalCause {
    /// It is gone with its record.
    Deleted,
    /// It is there but no longer matches.
    Unmatched,
}

impl<D: Driver> Reconciled<D> {
    /// Reports every change to what is wanted, beginning with what is there. Ends in [`WatchEvent::Reconnect`]: when `drain` is
    /// cancelled, and at `until`.
    pub(crate) fn watch(
        &self,
        wanted: impl Fn(<D::Kind as Kind>::Traits<'_>) -> bool + Send + 'static,
        drain: CancellationToken,
        until: Option<Instant>,
    ) -> BoxStream<'static, WatchEvent<<D::Kind as Kind>::View>> {
        let (there, changes) = self.table().subscribe(&wanted);
        let shown = there.iter().map(|held| held.place().1.clone()).collect();
        let views = there.into_iter().filter_map(Held::observed).map(|observed| Arc::clone(&observed.view));
        let first = stream::iter(views).map(WatchEvent::Present).chain(stream::iter([WatchEvent::Synced]));
        let watcher = Watcher::<D::Kind, _> { wanted, shown, changes, drain, until, done: false };
        first.chain(stream::unfold(watcher, Watcher::next)).boxed()
    }
}

struct Watcher<K: Kind, F> {
    wanted: F,
    /// Names that were reported and not taken back.
    shown: BTreeSet<K::Name>,
    changes: broadcast::Receiver<TableChange<K>>,
    drain: CancellationToken,
    /// When the caller has to call again.
    until: Option<Instant>,
    done: bool,
}

impl<K: Kind, F: Fn(K::Traits<'_>) -> bool> Watcher<K, F> {
    async fn next(mut self) -> Option<(WatchEvent<K::View>, Self)> {
        if self.done {
            return None;
        }
        // Changes that do not match don't put it off.
        let heartbeat = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(heartbeat);
        loop {
            let event = tokio::select! {
                biased;
                () = self.drain.cancelled() => self.last(ReconnectReason::Draining),
                () = stale(self.until) => self.last(ReconnectReason::MaxAge),
                change = self.changes.recv() => match change {
                    Ok(change) => match self.event_for(change) {
                        Some(event) => event,
                        None => continue,
                    },
                    Err(broadcast::error::RecvError::Lagged(_)) => self.last(ReconnectReason::Slow),
                    Err(broadcast::error::RecvError::Closed) => self.last(ReconnectReason::Draining),
                },
                () = &mut heartbeat => WatchEvent::Heartbeat,
            };
            return Some((event, self));
        }
    }

    fn last(&mut self, reason: ReconnectReason) -> WatchEvent<K::View> {
        self.done = true;
        WatchEvent::Reconnect(reason)
    }

    fn event_for(&mut self, change: TableChange<K>) -> Option<WatchEvent<K::View>> {
        match change {
            TableChange::Upsert(view) if (self.wanted)(K::traits(&view)) => {
                self.shown.insert(K::place(&view).1.clone());
                Some(WatchEvent::Present(view))
            }
            TableChange::Upsert(view) => self.removed(view, RemovalCause::Unmatched),
            TableChange::Deleted(view) => self.removed(view, RemovalCause::Deleted),
        }
    }

    /// Only of one that was sent before.
    fn removed(&mut self, last: Arc<K::View>, cause: RemovalCause) -> Option<WatchEvent<K::View>> {
        let was_shown = self.shown.remove(K::place(&last).1);
        was_shown.then_some(WatchEvent::Removed { last, cause })
    }
}
