//! The log hub: one upstream read per attempt feeds any number of subscribers through a bounded
//! ring. Who falls behind it reads on by itself; nobody slows anybody down.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::metrics::{EngineMetrics, LogReader};
use super::observed::ObservedRun;
use longshore_backend::{LogSource, Logs};
use longshore_domain::log::LogPosition;
use longshore_domain::run::facts::{AttemptFacts, AttemptPhase, MainFacts};
use longshore_runtime::task;

mod gate;
mod ring;
#[cfg(test)]
pub(super) mod tests;
mod upstream;

pub(super) use gate::Gate;
pub(super) use ring::{Feed, FeedEnd, FeedRead, OutputTally};
pub(super) use upstream::{CHUNK_ITEMS, Chunk, beginning, until_failure};
use upstream::{Sink, Upstream};

/// Feeds that are kept although nobody reads them.
const KEPT: usize = 32;
/// Attempts whose output is remembered to be in one file.
const REMEMBERED: usize = 4096;
/// Chunks that wait for a reader of its own read.
const CHUNKS: usize = 2;

/// All feeds, by whose output they carry.
#[derive(Clone)]
pub(super) struct Hub {
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
    pub(super) fn new(logs: Arc<dyn Logs>, metrics: EngineMetrics) -> Self {
        Self { logs, state: Arc::default(), metrics }
    }

    pub(super) fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    pub(super) fn logs(&self) -> &Arc<dyn Logs> {
        &self.logs
    }

    /// The feed of this attempt's output; the first subscriber starts it, the last ends it.
    pub(super) fn feed(&self, source: &LogSource, follow: watch::Receiver<Arc<ObservedRun>>) -> Arc<Feed> {
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
        let sink = Sink::Feed(Arc::downgrade(&feed));
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
    pub(super) fn ended_feed(&self, source: &LogSource) -> Option<Arc<Feed>> {
        let feed = self.lock().feeds.get(source).and_then(Weak::upgrade);
        feed.filter(|feed| feed.ended().is_some())
    }

    /// Reads this attempt's output although nobody does, and keeps as much of it as a feed keeps: for
    /// one whose log goes before anybody can ask for it. The last [`KEPT`] are kept.
    pub(super) fn keep(&self, source: &LogSource, follow: watch::Receiver<Arc<ObservedRun>>) {
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
    pub(super) fn forget(&self, run_uid: &str) {
        let mut state = self.lock();
        // Dropped after the lock.
        let (gone, kept) = std::mem::take(&mut state.kept).into_iter().partition(|(s, _)| s.run_uid == run_uid);
        state.kept = kept;
        drop(state);
        drop::<VecDeque<_>>(gone);
    }

    /// A read of its own, from `position` on, at the pace of who takes from it.
    pub(super) fn read(
        &self,
        source: &LogSource,
        follow: watch::Receiver<Arc<ObservedRun>>,
        position: Option<LogPosition>,
        reader: LogReader,
    ) -> mpsc::Receiver<Chunk> {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let mut upstream = self.upstream(source, follow, Sink::Reader(sender.clone()), reader);
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
    pub(super) fn is_unrotated(&self, source: &LogSource) -> bool {
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
        sink: Sink,
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

/// What of an attempt decides how its output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttemptStage {
    /// Nothing can be read yet.
    NotStarted,
    /// More will come.
    Live,
    /// Somebody deletes its Pod: the log goes with it, only an open follow still gets it.
    BeingDeleted,
    /// The log is final.
    Ended,
    /// The log is gone.
    Gone,
}

impl AttemptStage {
    /// Whether nothing is written any more.
    fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Gone)
    }
}

fn stage_of(observed: &ObservedRun, number: u32) -> AttemptStage {
    let attempt = observed.facts.attempt(number);
    if observed.facts.is_let_go() && attempt.is_some_and(|attempt| attempt.main.started()) {
        return AttemptStage::Ended;
    }
    attempt.map_or(AttemptStage::NotStarted, |attempt| attempt_stage(attempt, observed.view.state.is_terminal()))
}

fn attempt_stage(attempt: &AttemptFacts, terminal: bool) -> AttemptStage {
    let started = attempt.main.started();
    // At a deadline a Pod has failed for a second or more before its program has ended.
    let runs_on = matches!(attempt.main, MainFacts::Running { .. }) && !attempt.emptied && !terminal;
    match attempt.phase {
        AttemptPhase::Gone => AttemptStage::Gone,
        _ if attempt.main.terminated().is_some() || attempt.phase.is_over() && !runs_on => AttemptStage::Ended,
        _ if started && attempt.deleted_at.is_some() => AttemptStage::BeingDeleted,
        _ if started => AttemptStage::Live,
        _ => AttemptStage::NotStarted,
    }
}
