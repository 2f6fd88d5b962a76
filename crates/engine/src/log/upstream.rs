//! One read of an attempt's output, from its start or a position to its end: it follows while the
//! program runs, closes the tail once that has ended, and says where something is missing, or may be.
//!
//! A follow is left only at its end, or when it brings nothing for a while after its program's end: it
//! may still be reading a file that was rotated meanwhile, which nobody else can open any more. A
//! plain read, by contrast, gets the newest file only. So what was read last is looked for there
//! first; where it is found, all that is left stands behind it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, ReadyChunks};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

use super::gate::Gate;
use super::ring::{Feed, FeedEnd, OutputTally};
use super::stage::{AttemptStage, stage_of};
use crate::metrics::{EngineMetrics, LogReader};
use crate::observed::ObservedRun;
use longshore_backend::{BackendError, LogItem, LogOptions, LogSource, Logs};
use longshore_domain::log::{Beginning, Lag, LogGap, LogGapCause, LogPosition, LostTail, SHORT_RUN, Start};
use longshore_runtime::backoff::Backoff;

/// Items taken from the backend at once.
pub(super) const CHUNK_ITEMS: usize = 64;
/// A follow that lasted this long without a byte was quiet, and not refused.
const IDLE_IS_FINE: Duration = Duration::from_secs(10);
/// After so long without a byte it is looked whether there is something that the follow did not
/// bring: a connection that is half open says nothing for ever. Where logs are files on this machine
/// (they don't rotate) there is no connection, and the look would only cost.
const LOOK_BESIDE: Duration = Duration::from_secs(60);
/// A follow whose program has ended is left after so long without a byte. The kubelet looks once a
/// second whether a container still runs, and then ends its follow.
const QUIET: Duration = Duration::from_secs(2);
/// The same where the log goes with its Pod, so that nothing can be read afterwards.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A follow ends before its program is seen to have ended, by this much at most.
const SEEN_LATE: Duration = Duration::from_secs(3);
/// Anyone who opens a log within this of the program's seen start gets it from its first byte.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Between reads that fail.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// Tries to close the tail of an ended attempt before its rest counts as lost: half a minute or more.
const TAIL_TRIES: u32 = 16;
/// The same where the backend answers that it can't.
const REFUSALS: u32 = 4;

const LEFT_OUT: &str = "reading was so far behind that files in between may have been rotated away";

/// A part of what is read.
#[derive(Debug)]
pub(crate) enum Chunk {
    Items(Vec<LogItem>),
    /// The last.
    End(FeedEnd),
}

/// Where what is read goes.
#[derive(Debug)]
pub(super) enum ChunkSink {
    Feed(Weak<Feed>),
    Reader(mpsc::Sender<Chunk>),
}

/// Nobody wants what is read any more.
#[derive(Debug)]
struct Unwanted;

/// What is read, by whom, and what is known of it.
pub(super) struct Upstream {
    pub(super) logs: Arc<dyn Logs>,
    pub(super) source: LogSource,
    pub(super) follow: watch::Receiver<Arc<ObservedRun>>,
    pub(super) sink: ChunkSink,
    pub(super) reader: LogReader,
    pub(super) metrics: EngineMetrics,
    /// Whether another read knows that nothing has been rotated away so far.
    pub(super) unrotated: bool,
    /// Up to where it was read.
    pub(super) position: Option<LogPosition>,
    /// How it began; `None` before, and of a read that began at a position.
    beginning: Option<Beginning>,
    /// Whether what was there at the beginning was weighed.
    weighed: bool,
    tally: OutputTally,
    holed: bool,
    lag: Lag,
    /// Whether a follow was read to the end of its file, and its program has ended.
    read_out: bool,
    lost_tail: LostTail,
}

/// How one read ended.
#[derive(Debug)]
enum Read {
    /// A plain read: that was all that is there.
    All,
    /// The program has ended, and its tail was read.
    Closed,
    /// A follow that the backend ended.
    FollowEnded,
    /// A follow that is to be opened again, or is of no use any more.
    FollowLeft,
    Failed(BackendError),
}

/// What a look at the newest file, beside a follow or after it, came to.
#[derive(Debug)]
enum NewestFile {
    /// Nothing that was not read before.
    Nothing,
    /// What was read last is there; this came after it, up to the end.
    Took,
    /// What was read last is not there: only the follow can read on.
    NotThere,
    /// It failed, after something was taken.
    Broke(BackendError),
    /// It failed.
    Failed,
}

impl Upstream {
    pub(super) fn new(
        logs: Arc<dyn Logs>,
        source: LogSource,
        follow: watch::Receiver<Arc<ObservedRun>>,
        sink: ChunkSink,
        reader: LogReader,
        metrics: EngineMetrics,
    ) -> Self {
        Self {
            logs,
            source,
            follow,
            sink,
            reader,
            metrics,
            unrotated: false,
            position: None,
            beginning: None,
            weighed: false,
            tally: OutputTally::default(),
            holed: false,
            lag: Lag::default(),
            read_out: false,
            lost_tail: LostTail::default(),
        }
    }

    /// Reads until the end, and answers it; `None`: nobody wants it any more.
    pub(super) async fn run(mut self) -> Option<FeedEnd> {
        let end = self.read_all().await.ok()?;
        self.sink.end(end.clone()).await;
        Some(end)
    }

    async fn read_all(&mut self) -> Result<FeedEnd, Unwanted> {
        let mut failures = 0_u32;
        loop {
            let (before, began) = (self.position, Instant::now());
            let stage = match self.stage() {
                None => return self.lose(LogGapCause::Deleted, "the run was deleted, and its output with it").await,
                Some(AttemptStage::NotStarted) => {
                    let _ = self.follow.changed().await;
                    continue;
                }
                Some(AttemptStage::Gone) if self.read_out => return Ok(self.complete()),
                Some(stage) => stage,
            };
            let read = if stage.is_final() || !self.begins_at_start() {
                self.read_plain().await?
            } else {
                self.read_follow().await?
            };
            let moved = self.position != before;
            match read {
                Read::Closed => return Ok(self.complete()),
                Read::All if stage.is_final() => return Ok(self.complete()),
                Read::All | Read::FollowLeft => failures = 0,
                Read::FollowEnded => {
                    self.follow_ended().await?;
                    // Without progress, not at once again; one that was quiet for long has not failed.
                    let idle = moved || began.elapsed() > IDLE_IS_FINE;
                    failures = if idle { u32::from(self.read_out) } else { failures + 1 };
                    self.pause(failures).await;
                }
                Read::Failed(error) => {
                    failures += 1;
                    self.log_failure(&error, failures);
                    self.read_out &= !moved;
                    if !stage.is_final() {
                        self.pause(failures).await;
                        continue;
                    }
                    let cause = match &error {
                        BackendError::NotFound(_) => Some(LogGapCause::Deleted),
                        BackendError::Unreadable { .. } if self.read_out || failures >= REFUSALS => {
                            Some(LogGapCause::Unreadable)
                        }
                        _ => (failures > TAIL_TRIES).then_some(LogGapCause::Unreadable),
                    };
                    match cause {
                        Some(_) if self.read_out => return Ok(self.complete()),
                        Some(cause) => return self.lose(cause, &error.for_caller()).await,
                        None => sleep(BACKOFF.pause(failures)).await,
                    }
                }
            }
        }
    }

    /// Logs it; as a warning, and once, what only the operator can fix.
    fn log_failure(&self, error: &BackendError, failures: u32) {
        let run = &self.source.run;
        match error {
            BackendError::Denied { .. } if failures == 1 => warn!(%run, %error, "output can't be read"),
            _ => debug!(%run, %error, "an upstream log read failed; it is opened again"),
        }
    }

    /// The attempt's present stage; `None`: the run is gone.
    fn stage(&self) -> Option<AttemptStage> {
        self.follow.has_changed().ok()?;
        Some(stage_of(&self.follow.borrow(), self.source.attempt))
    }

    /// Whether somebody deletes the attempt's Pod.
    fn is_being_deleted(&self) -> bool {
        let observed = self.follow.borrow();
        observed.facts.attempt(self.source.attempt).is_some_and(|attempt| attempt.deleted_at.is_some())
    }

    fn is_over(&self) -> bool {
        self.stage().is_some_and(AttemptStage::is_final)
    }

    async fn pause(&mut self, failures: u32) {
        if failures > 0 {
            let _ = timeout(BACKOFF.pause(failures), self.follow.changed()).await;
        }
    }

    /// Whether a follow that is opened now gets all there is: it goes on from a position, or from the
    /// first byte. Else what is there has to be weighed first.
    fn begins_at_start(&mut self) -> bool {
        self.weighed || self.position.is_some() || self.begin().start(0) == Start::There
    }

    /// How a read from no position begins, were it now; what was good once stays.
    fn begin(&mut self) -> Beginning {
        if let Some(beginning) = self.beginning.filter(|beginning| beginning.start(0) == Start::There) {
            return beginning;
        }
        let mut beginning = beginning(&self.follow.borrow(), self.source.attempt, self.logs.rotates());
        beginning.at_start |= self.unrotated;
        *self.beginning.insert(beginning)
    }

    async fn open(&mut self, follow: bool) -> Result<Items, BackendError> {
        let options = LogOptions { from: self.position, follow, at_file_end: self.read_out && !follow };
        Ok(self.logs.open(&self.source, &options).await?.ready_chunks(CHUNK_ITEMS))
    }

    /// Reads what is there.
    async fn read_plain(&mut self) -> Result<Read, Unwanted> {
        let mut gate = (self.position.is_none() && !self.weighed).then(|| Gate::new(self.begin()));
        let mut stream = match self.open(false).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Read::Failed(error)),
        };
        while let Some(chunk) = stream.next().await {
            let (mut items, failed) = until_failure(chunk);
            if let Some(gate) = &mut gate {
                items = gate.take(items);
            }
            self.put(items).await?;
            if let Some(error) = failed {
                return Ok(Read::Failed(error));
            }
        }
        self.put(gate.map(Gate::end).unwrap_or_default()).await?;
        self.weighed = true;
        Ok(Read::All)
    }

    /// Follows from the present position.
    async fn read_follow(&mut self) -> Result<Read, Unwanted> {
        let mut stream = match self.open(true).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Read::Failed(error)),
        };
        self.lag = Lag::default();
        let (opened, mut heard, mut ended) = (Instant::now(), Instant::now(), false);
        // What changed meanwhile is looked at below.
        self.follow.mark_changed();
        loop {
            let patience = match ended {
                false => LOOK_BESIDE,
                true if self.is_being_deleted() => LAST_WORDS,
                true => QUIET,
            };
            tokio::select! {
                biased;
                chunk = stream.next() => {
                    let Some(chunk) = chunk else { return Ok(Read::FollowEnded) };
                    let (items, failed) = until_failure(chunk);
                    let items = self.mark_jumps(items, opened.elapsed());
                    self.put(items).await?;
                    (heard, self.read_out) = (Instant::now(), false);
                    if let Some(error) = failed {
                        return Ok(Read::Failed(error));
                    }
                }
                changed = self.follow.changed(), if !ended => {
                    if changed.is_err() {
                        return Ok(Read::FollowLeft);
                    }
                    ended = self.is_over();
                    heard = if ended { Instant::now() } else { heard };
                    if ended && !self.is_being_deleted() {
                        match self.look_beside(false).await? {
                            NewestFile::Nothing | NewestFile::Took => return Ok(Read::Closed),
                            NewestFile::Broke(error) => return Ok(Read::Failed(error)),
                            NewestFile::NotThere | NewestFile::Failed => {}
                        }
                    }
                }
                () = sleep_until(heard + patience), if ended || self.logs.rotates() => {
                    if ended {
                        return Ok(Read::FollowLeft);
                    }
                    match self.look_beside(true).await? {
                        NewestFile::Took => return Ok(Read::FollowLeft),
                        NewestFile::Broke(error) => return Ok(Read::Failed(error)),
                        NewestFile::Nothing | NewestFile::NotThere | NewestFile::Failed => heard = Instant::now(),
                    }
                }
            }
        }
    }

    /// A follow ended in order: with its program, or because something on the way cut it.
    async fn follow_ended(&mut self) -> Result<(), Unwanted> {
        self.read_out = false;
        if !self.is_over() {
            // Whatever it was: where what was read last is still there, nothing is lost by going on.
            if let NewestFile::Nothing | NewestFile::Took | NewestFile::Broke(_) = self.look_beside(false).await? {
                return Ok(());
            }
            let attempt = self.source.attempt;
            let over = |observed: &Arc<ObservedRun>| stage_of(observed, attempt).is_final();
            // An error means that the run is gone, which is seen next.
            let _ = timeout(SEEN_LATE, self.follow.wait_for(over)).await;
        }
        self.read_out = (self.is_over() || self.is_being_deleted()) && !self.lag.is_far_behind();
        Ok(())
    }

    /// Reads on in the newest file while a follow is open, or after it. `lossy`: what was read last
    /// may have been rotated away, and what comes after it is taken all the same.
    async fn look_beside(&mut self, lossy: bool) -> Result<NewestFile, Unwanted> {
        let mut gate = (self.position.is_none() && !lossy).then(|| self.gate_beside());
        let mut stream = match self.open(false).await {
            Ok(stream) => stream,
            Err(_) => return Ok(NewestFile::Failed),
        };
        let (mut took, mut lost) = (false, None);
        while let Some(chunk) = stream.next().await {
            let (mut items, failed) = until_failure(chunk);
            if !took && matches!(items.first(), Some(LogItem::Gap(gap)) if gap.cause == LogGapCause::Rotated) {
                if !lossy {
                    return Ok(NewestFile::NotThere);
                }
                lost = Some(items.remove(0));
            }
            if let Some(gate) = &mut gate {
                items = gate.take(items);
                if gate.is_missing() {
                    return Ok(NewestFile::NotThere);
                }
            }
            if !items.is_empty() {
                took = true;
                items.splice(..0, lost.take());
                self.put(items).await?;
            }
            match failed {
                Some(error) if took => return Ok(NewestFile::Broke(error)),
                Some(_) => return Ok(NewestFile::Failed),
                None => {}
            }
        }
        if let Some(gate) = gate {
            if gate.would_miss() {
                return Ok(NewestFile::NotThere);
            }
            let items = gate.end();
            took |= !items.is_empty();
            self.put(items).await?;
        }
        Ok(if took { NewestFile::Took } else { NewestFile::Nothing })
    }

    /// What a plain read may take although a follow, which has brought nothing yet, is open from the
    /// first byte: nothing that could begin in the middle.
    fn gate_beside(&self) -> Gate {
        let begun = beginning(&self.follow.borrow(), self.source.attempt, self.logs.rotates());
        Gate::new(Beginning { at_start: self.unrotated, ..begun })
    }

    /// Puts a gap where the follow may have left a file out.
    fn mark_jumps(&mut self, items: Vec<LogItem>, arrived: Duration) -> Vec<LogItem> {
        if !self.logs.rotates() {
            return items;
        }
        let mut marked = Vec::with_capacity(items.len());
        let mut from_time = self.position.map(|position| position.time);
        for item in items {
            if let LogItem::Piece(piece) = &item {
                if self.lag.take(piece, arrived) {
                    let (cause, message) = (LogGapCause::Rotated, LEFT_OUT.to_owned());
                    marked.push(LogItem::Gap(LogGap { from_time, to_time: Some(piece.time), cause, message }));
                }
                from_time = Some(piece.time);
            }
            marked.push(item);
        }
        marked
    }

    async fn put(&mut self, mut items: Vec<LogItem>) -> Result<(), Unwanted> {
        items.retain(|item| match item {
            LogItem::Piece(piece) => {
                self.position = Some(piece.end());
                self.tally.add(&piece.data);
                self.lost_tail.output();
                true
            }
            LogItem::Gap(gap) => {
                self.holed = true;
                self.lost_tail.is_news(gap)
            }
        });
        if items.is_empty() {
            return Ok(());
        }
        self.metrics.read(self.reader, &items);
        let unrotated = self.is_whole();
        self.sink.put(items, unrotated).await
    }

    /// Whether all that was read so far is all that was there.
    fn is_whole(&self) -> bool {
        !self.holed && self.beginning.is_some_and(|beginning| self.tally.is_whole(beginning))
    }

    fn complete(&mut self) -> FeedEnd {
        let whole = self.is_whole().then(|| std::mem::take(&mut self.tally).end());
        FeedEnd::Complete(whole)
    }

    async fn lose(&mut self, cause: LogGapCause, why: &str) -> Result<FeedEnd, Unwanted> {
        let from_time = self.position.map(|position| position.time);
        let gap = LogGap { from_time, to_time: None, cause, message: why.to_owned() };
        self.put(vec![LogItem::Gap(gap)]).await?;
        Ok(FeedEnd::Lost(why.to_owned()))
    }
}

type Items = ReadyChunks<BoxStream<'static, Result<LogItem, BackendError>>>;

impl ChunkSink {
    async fn put(&self, items: Vec<LogItem>, unrotated: bool) -> Result<(), Unwanted> {
        match self {
            Self::Feed(feed) => feed.upgrade().map(|feed| feed.push(items, unrotated)).ok_or(Unwanted),
            Self::Reader(reader) => reader.send(Chunk::Items(items)).await.map_err(|_| Unwanted),
        }
    }

    async fn end(&self, end: FeedEnd) {
        match self {
            Self::Feed(feed) => {
                if let Some(feed) = feed.upgrade() {
                    feed.finish(end);
                }
            }
            Self::Reader(reader) => {
                let _ = reader.send(Chunk::End(end)).await;
            }
        }
    }
}

/// How a read from no position begins, were it now.
pub(super) fn beginning(observed: &ObservedRun, attempt: u32, rotates: bool) -> Beginning {
    let since = observed.seen_start(attempt).map(|start| start.elapsed());
    let facts = observed.facts.attempt(attempt);
    let ran = match facts.and_then(|attempt| attempt.main.terminated()) {
        // Both by the clock of its machine.
        Some(end) => end
            .started_at
            .zip(end.finished_at)
            .map(|(started, finished)| Duration::try_from(finished.duration_since(started)).unwrap_or(Duration::ZERO)),
        // It can't run for longer than its run is there, and that time is our own clock's.
        None => since.or_else(|| {
            let created = observed.facts.submission.create_time;
            Duration::try_from(Timestamp::now().duration_since(created)).ok()
        }),
    };
    let at_start = since.is_some_and(|since| since < AT_ONCE) && ran.is_some_and(|ran| ran < SHORT_RUN);
    Beginning { rotates, at_start, ran }
}

/// What came before a failure, and that.
pub(super) fn until_failure(chunk: Vec<Result<LogItem, BackendError>>) -> (Vec<LogItem>, Option<BackendError>) {
    let mut items = Vec::with_capacity(chunk.len());
    for item in chunk {
        match item {
            Ok(item) => items.push(item),
            Err(error) => return (items, Some(error)),
        }
    }
    (items, None)
}
