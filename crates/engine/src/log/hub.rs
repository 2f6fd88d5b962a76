//! The log hub: one upstream read per attempt feeds any number of subscribers through a bounded
//! ring. Who falls behind it reads on by itself; nobody slows anybody down.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::ring::{Feed, FeedEnd};
use super::upstream::{Chunk, ChunkSink, Upstream};
use crate::metrics::{EngineMetrics, LogReader};
use crate::observed::ObservedRun;
use longshore_backend::{LogSource, Logs};
use longshore_domain::log::LogPosition;
use longshore_runtime::task;

#[cfg(test)]
mod tests;

/// Feeds that are kept although nobody reads them.
const KEPT: usize = 32;
/// Attempts whose output is remembered to be in one file.
const REMEMBERED: usize = 4096;
/// Chunks that wait for a reader of its own read.
const CHUNKS: usize = 2;

/// All feeds, by whose output they carry.
#[derive(Clone)]
pub(crate) struct Hub {
    logs: Arc<dyn Logs>,
    state: Arc<Mutex<HubState>>,
    metrics: EngineMetrics,
}

#[derive(Default)]
struct HubState {
    feeds: HashMap<LogSource, Weak<Feed>>,
    /// The oldest first.
    kept: VecDeque<(LogSource, Arc<Feed>)>,
    /// Attempts whose whole output is known to have come from one file, the oldest first.
    unrotated: VecDeque<LogSource>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    pub(crate) fn new(logs: Arc<dyn Logs>, metrics: EngineMetrics) -> Self {
        Self { logs, state: Arc::default(), metrics }
    }

    pub(crate) fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    pub(crate) fn logs(&self) -> &Arc<dyn Logs> {
        &self.logs
    }

    /// The feed of this attempt's output; the first subscriber starts it, the last ends it.
    pub(crate) fn feed(&self, source: &LogSource, follow: watch::Receiver<Arc<ObservedRun>>) -> Arc<Feed> {
        let unrotated = self.is_unrotated(source);
        let mut state = self.lock();
        if let Some(feed) = state.feeds.get(source).and_then(Weak::upgrade) {
            return feed;
        }
        state.feeds.retain(|_, feed| feed.strong_count() > 0);
        let cancel = CancellationToken::new();
        let feed = Arc::new(Feed::new(cancel.clone()));
        state.feeds.insert(source.clone(), Arc::downgrade(&feed));
        drop(state);
        let sink = ChunkSink::Feed(Arc::downgrade(&feed));
        let mut upstream = self.upstream(source, follow, sink, LogReader::Feed);
        upstream.unrotated = unrotated;
        let (open, hub, source) = (self.metrics.upstream(), self.clone(), source.clone());
        task::spawn("log-upstream", async move {
            let _open = open;
            tokio::select! {
                () = cancel.cancelled() => {}
                end = upstream.run() => if let Some(FeedEnd::Complete(Some(_))) = end {
                    hub.remember(source);
                },
            }
        });
        feed
    }

    /// The feed of this attempt's output, if there is one that has ended.
    pub(crate) fn ended_feed(&self, source: &LogSource) -> Option<Arc<Feed>> {
        let feed = self.lock().feeds.get(source).and_then(Weak::upgrade);
        feed.filter(|feed| feed.ended().is_some())
    }

    /// Reads this attempt's output although nobody does, and keeps as much of it as a feed keeps: for
    /// one whose log goes before anybody can ask for it. The last [`KEPT`] are kept.
    pub(crate) fn keep(&self, source: &LogSource, follow: watch::Receiver<Arc<ObservedRun>>) {
        if self.lock().kept.iter().any(|(kept, _)| kept == source) {
            return;
        }
        let feed = self.feed(source, follow);
        let mut state = self.lock();
        state.kept.push_back((source.clone(), feed));
        if state.kept.len() > KEPT {
            state.kept.pop_front();
        }
    }

    /// Drops what is kept of this run.
    pub(crate) fn forget(&self, run_uid: &str) {
        let mut state = self.lock();
        // Dropped after the lock.
        let (gone, kept) = std::mem::take(&mut state.kept).into_iter().partition(|(s, _)| s.run_uid == run_uid);
        state.kept = kept;
        drop(state);
        drop::<VecDeque<_>>(gone);
    }

    /// A read of its own, from `position` on, at the pace of who takes from it.
    pub(crate) fn read(
        &self,
        source: &LogSource,
        follow: watch::Receiver<Arc<ObservedRun>>,
        position: Option<LogPosition>,
        reader: LogReader,
    ) -> mpsc::Receiver<Chunk> {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let mut upstream = self.upstream(source, follow, ChunkSink::Reader(sender.clone()), reader);
        (upstream.position, upstream.unrotated) = (position, self.is_unrotated(source));
        task::spawn("log-reader", async move {
            tokio::select! {
                () = sender.closed() => {}
                _ = upstream.run() => {}
            }
        });
        chunks
    }

    /// Whether all of this attempt's output so far is known to be in one file, so that anyone who
    /// opens it gets the first byte.
    pub(crate) fn is_unrotated(&self, source: &LogSource) -> bool {
        let state = self.lock();
        let feed = state.feeds.get(source).and_then(Weak::upgrade);
        let known = state.unrotated.contains(source);
        drop(state);
        known || feed.is_some_and(|feed| feed.is_unrotated())
    }

    fn upstream(
        &self,
        source: &LogSource,
        follow: watch::Receiver<Arc<ObservedRun>>,
        sink: ChunkSink,
        reader: LogReader,
    ) -> Upstream {
        Upstream::new(Arc::clone(&self.logs), source.clone(), follow, sink, reader, self.metrics.clone())
    }

    /// An attempt has ended, and all of its output was in one file: so it stays.
    fn remember(&self, source: LogSource) {
        let mut state = self.lock();
        state.unrotated.push_back(source);
        if state.unrotated.len() > REMEMBERED {
            state.unrotated.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
