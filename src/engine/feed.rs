//! The log hub: one upstream follow per attempt feeds any number of subscribers through a bounded
//! ring. Who falls behind it reads on by itself; nobody slows anybody down.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::metrics::{EngineMetrics, LogReader};
use super::table::Observed;
use crate::backend::{BackendError, LogItem, LogOptions, LogSource, Logs};
use crate::domain::facts::{AttemptFacts, AttemptPhase};
use crate::domain::log::{LogGap, LogGapCause, LogPosition};
use crate::runtime::task;

/// Bytes that a ring keeps for its subscribers.
const RING_BYTES: usize = 2 * 1024 * 1024;
/// What an item costs beside its bytes.
const ITEM_BYTES: usize = 96;
/// A follow that lasted this long without a byte was quiet, and not refused.
const IDLE_IS_FINE: Duration = Duration::from_secs(10);
/// How long after its program's end the follow of a Pod that is being deleted may go on.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Tries to close the tail of an ended attempt before its rest counts as lost.
const TAIL_TRIES: u32 = 12;

/// All feeds, by whose output they carry.
#[derive(Clone)]
pub(super) struct Hub {
    logs: Arc<dyn Logs>,
    feeds: Arc<Mutex<HashMap<LogSource, Weak<Feed>>>>,
    metrics: EngineMetrics,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    pub(super) fn new(logs: Arc<dyn Logs>, metrics: EngineMetrics) -> Self {
        Self { logs, feeds: Arc::default(), metrics }
    }

    pub(super) fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    pub(super) fn logs(&self) -> &Arc<dyn Logs> {
        &self.logs
    }

    /// The feed of this attempt's output; the first subscriber starts it, the last ends it.
    pub(super) fn feed(&self, source: &LogSource, follow: watch::Receiver<Arc<Observed>>) -> Arc<Feed> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = feeds.get(source).and_then(Weak::upgrade) {
            return feed;
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let cancel = CancellationToken::new();
        let feed = Arc::new(Feed { ring: Mutex::default(), version: watch::Sender::new(0), cancel: cancel.clone() });
        feeds.insert(source.clone(), Arc::downgrade(&feed));
        let upstream = Upstream {
            logs: Arc::clone(&self.logs),
            source: source.clone(),
            feed: Arc::downgrade(&feed),
            follow,
            position: None,
            tally: Tally::default(),
            whole: true,
            metrics: self.metrics.clone(),
        };
        let open = self.metrics.upstream();
        task::spawn("log-upstream", async move {
            let _open = open;
            tokio::select! {
                () = cancel.cancelled() => {}
                () = upstream.run() => {}
            }
        });
        feed
    }
}

/// Lines, bytes and hash of an output that is read whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    lines: u64,
    bytes: u64,
    hash: Sha256,
}

impl Tally {
    pub(super) fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.lines += u64::from(data.ends_with(b"\n"));
        self.hash.update(data);
    }

    /// (lines, bytes, SHA-256 in hex).
    pub(super) fn end(self) -> (u64, u64, String) {
        (self.lines, self.bytes, data_encoding::HEXLOWER.encode(&self.hash.finalize()))
    }
}

/// How an output ended.
#[derive(Clone, Debug)]
pub(super) enum FeedEnd {
    /// All that there was has been told; lines, bytes and hash if it was read from the start
    /// without a gap.
    Complete(Option<(u64, u64, String)>),
    /// The rest can't be had; the sentence says why. A gap was told before.
    Lost(String),
}

/// One attempt's output on its way to its subscribers.
#[derive(Debug)]
pub(super) struct Feed {
    ring: Mutex<Ring>,
    version: watch::Sender<u64>,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Ring {
    items: VecDeque<LogItem>,
    /// Number of the first item that is kept; 0 is the start of the output.
    first: u64,
    bytes: usize,
    end: Option<FeedEnd>,
}

/// What a subscriber gets at its place.
#[derive(Debug)]
pub(super) enum Taken {
    /// These, and the place after them.
    Items(Vec<LogItem>, u64),
    /// Nothing new yet.
    Wait,
    /// Its place has left the ring: it has to catch up by itself.
    Behind,
    /// Nothing more will come.
    End(FeedEnd),
}

impl Feed {
    /// Up to about `max_bytes` from place `at` on.
    pub(super) fn take(&self, at: u64, max_bytes: usize) -> Taken {
        let ring = self.lock();
        if at < ring.first {
            return Taken::Behind;
        }
        let mut items = Vec::new();
        let mut bytes = 0;
        let skip = usize::try_from(at - ring.first).unwrap_or(usize::MAX);
        for item in ring.items.iter().skip(skip) {
            let size = item_bytes(item);
            if !items.is_empty() && bytes + size > max_bytes {
                break;
            }
            bytes += size;
            items.push(item.clone());
        }
        if !items.is_empty() {
            let next = at + items.len() as u64;
            return Taken::Items(items, next);
        }
        ring.end.clone().map_or(Taken::Wait, Taken::End)
    }

    /// The place just after `position`, if it is in the ring; the start for `None`, if it is there
    /// still.
    pub(super) fn place_after(&self, position: Option<&LogPosition>) -> Option<u64> {
        let ring = self.lock();
        let Some(position) = position else {
            return (ring.first == 0).then_some(0);
        };
        let ends_there = |item: &LogItem| matches!(item, LogItem::Piece(piece) if piece.end() == *position);
        // From the end: who looks for a place has just read up to about there.
        let index = ring.items.iter().rposition(ends_there)?;
        Some(ring.first + index as u64 + 1)
    }

    /// Whether nothing more will come.
    pub(super) fn ended(&self) -> Option<FeedEnd> {
        self.lock().end.clone()
    }

    /// Changes whenever there is something new.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn push(&self, items: &mut Vec<LogItem>) {
        let mut ring = self.lock();
        for item in items.drain(..) {
            ring.bytes += item_bytes(&item) + ITEM_BYTES;
            ring.items.push_back(item);
        }
        while ring.bytes > RING_BYTES {
            let Some(item) = ring.items.pop_front() else { break };
            ring.bytes -= item_bytes(&item) + ITEM_BYTES;
            ring.first += 1;
        }
        drop(ring);
        self.version.send_modify(|version| *version += 1);
    }

    fn finish(&self, end: FeedEnd) {
        self.lock().end = Some(end);
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn item_bytes(item: &LogItem) -> usize {
    match item {
        LogItem::Piece(piece) => piece.data.len(),
        LogItem::Gap(_) => 0,
    }
}

/// What of an attempt decides how its output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
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

fn stage(observed: &Observed, number: u32) -> Stage {
    let attempt = observed.facts.attempts.iter().find(|a| a.number == number);
    attempt.map_or(Stage::NotStarted, attempt_stage)
}

fn attempt_stage(attempt: &AttemptFacts) -> Stage {
    let started = attempt.main.started();
    match attempt.phase {
        AttemptPhase::Gone => Stage::Gone,
        _ if attempt.main.terminated().is_some() || attempt.phase.is_over() => Stage::Ended,
        _ if started && attempt.deleted_at.is_some() => Stage::BeingDeleted,
        _ if started => Stage::Live,
        _ => Stage::NotStarted,
    }
}

struct Upstream {
    logs: Arc<dyn Logs>,
    source: LogSource,
    feed: Weak<Feed>,
    follow: watch::Receiver<Arc<Observed>>,
    position: Option<LogPosition>,
    tally: Tally,
    whole: bool,
    metrics: EngineMetrics,
}

/// How one read ended.
enum Read {
    /// The backend ended it.
    Eof,
    /// The attempt's stage changed.
    StageChanged,
    /// It failed.
    Failed(BackendError),
}

impl Upstream {
    async fn run(mut self) {
        // Whether the last follow of a Pod that is being deleted was read to its end: its log goes
        // with it, and nothing can be read afterwards.
        let mut read_out = false;
        let mut failures = 0_u32;
        loop {
            let (before, began) = (self.position, Instant::now());
            let stage = match self.stage() {
                None => return self.lose(LogGapCause::Deleted, "the run is gone, and its output with it"),
                Some(Stage::NotStarted) => {
                    self.wait_for_change().await;
                    continue;
                }
                Some(Stage::Ended | Stage::Gone) if read_out => return self.complete(),
                Some(stage) => stage,
            };
            let is_final = matches!(stage, Stage::Ended | Stage::Gone);
            let read = self.read(stage).await;
            let moved = self.position != before;
            match read {
                Read::Eof if is_final => return self.complete(),
                Read::StageChanged => failures = 0,
                Read::Eof => {
                    read_out = self.is_being_deleted();
                    // A stream's end is never a run's end. Without progress, not at once again; one
                    // that was quiet for long has not failed.
                    let idle = moved || began.elapsed() > IDLE_IS_FINE;
                    failures = if idle { u32::from(read_out) } else { failures + 1 };
                    self.pause(failures).await;
                }
                Read::Failed(error) if is_final => {
                    failures += 1;
                    self.failed(&error, failures);
                    if matches!(error, BackendError::NotFound(_)) {
                        return self.lose(LogGapCause::Deleted, &error.to_string());
                    }
                    if failures > TAIL_TRIES {
                        return self.lose(LogGapCause::Unreadable, &error.for_caller());
                    }
                    tokio::time::sleep(backoff(failures)).await;
                }
                Read::Failed(error) => {
                    read_out = read_out && !moved;
                    failures += 1;
                    self.failed(&error, failures);
                    self.pause(failures).await;
                }
            }
        }
    }

    /// Tells the log; loudly, and once, of what nobody but the operator can mend.
    fn failed(&self, error: &BackendError, failures: u32) {
        let run = &self.source.run;
        match error {
            BackendError::Denied { .. } if failures == 1 => warn!(%run, %error, "output can't be read"),
            _ => debug!(%run, %error, "an upstream log read failed; it is opened again"),
        }
    }

    /// Whether somebody deletes the attempt's Pod.
    fn is_being_deleted(&self) -> bool {
        let observed = self.follow.borrow();
        observed.facts.attempts.iter().any(|a| a.number == self.source.attempt && a.deleted_at.is_some())
    }

    /// The attempt's present stage; `None`: the run is gone.
    fn stage(&self) -> Option<Stage> {
        self.follow.has_changed().ok()?;
        Some(stage(&self.follow.borrow(), self.source.attempt))
    }

    async fn wait_for_change(&mut self) {
        let _ = self.follow.changed().await;
    }

    async fn pause(&mut self, failures: u32) {
        if failures == 0 {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff(failures)) => {}
            _ = self.follow.changed() => {}
        }
    }

    /// Reads from the present position, in `stage`. A follow is left as soon as the attempt has
    /// ended, since then a plain read says all there is; but not if its Pod is being deleted: then
    /// the open follow is all there is, and it is read to its end.
    async fn read(&mut self, stage_at_open: Stage) -> Read {
        let follow = matches!(stage_at_open, Stage::Live | Stage::BeingDeleted);
        let options = LogOptions { from: self.position, follow };
        let opened = self.logs.open(&self.source, &options).await;
        let mut stream = match opened {
            Ok(stream) => stream.ready_chunks(64),
            Err(error) => return Read::Failed(error),
        };
        // What changed meanwhile is looked at below.
        self.follow.mark_changed();
        let mut patience = None;
        loop {
            let out_of_patience = async {
                match patience {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                chunk = stream.next() => match chunk {
                    None => return Read::Eof,
                    Some(chunk) => {
                        if let Err(error) = self.take(chunk) {
                            return Read::Failed(error);
                        }
                    }
                },
                changed = self.follow.changed(), if follow => {
                    if changed.is_err() {
                        return Read::Eof;
                    }
                    let stage = stage(&self.follow.borrow_and_update(), self.source.attempt);
                    if matches!(stage, Stage::Ended | Stage::Gone) {
                        if !self.is_being_deleted() {
                            return Read::StageChanged;
                        }
                        patience.get_or_insert_with(|| tokio::time::Instant::now() + LAST_WORDS);
                    }
                }
                () = out_of_patience => return Read::StageChanged,
            }
        }
    }

    fn take(&mut self, chunk: Vec<Result<LogItem, BackendError>>) -> Result<(), BackendError> {
        let mut items = Vec::with_capacity(chunk.len());
        let mut failed = None;
        for item in chunk {
            match item {
                Ok(LogItem::Piece(piece)) => {
                    self.position = Some(piece.end());
                    // The kubelet's own words are not the program's output.
                    if !piece.is_unstamped() {
                        self.tally.add(&piece.data);
                    }
                    items.push(LogItem::Piece(piece));
                }
                Ok(gap) => {
                    self.whole = false;
                    items.push(gap);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.metrics.read(LogReader::Feed, &items);
        if let Some(feed) = self.feed.upgrade() {
            feed.push(&mut items);
        }
        failed.map_or(Ok(()), Err)
    }

    fn complete(self) {
        let whole = self.whole.then(|| self.tally.end());
        if let Some(feed) = self.feed.upgrade() {
            feed.finish(FeedEnd::Complete(whole));
        }
    }

    fn lose(self, cause: LogGapCause, why: &str) {
        let Some(feed) = self.feed.upgrade() else { return };
        self.metrics.gap(LogReader::Feed, cause);
        let from_time = self.position.map(|p| p.time);
        let gap = LogGap { from_time, to_time: None, cause, message: why.to_owned() };
        feed.push(&mut vec![LogItem::Gap(gap)]);
        feed.finish(FeedEnd::Lost(why.to_owned()));
    }
}

/// 50 ms, doubled up to 5 s.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(50 << failures.saturating_sub(1).min(7)).min(Duration::from_secs(5))
}
