//! Streaming output to callers: from the hub's feed while it is followed, by an own read to catch
//! up or without `follow`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::access::stale;
use super::feed::{CHUNK_ITEMS, Chunk, Feed, FeedEnd, FeedRead, Gate, Hub, OutputTally, beginning, until_failure};
use super::metrics::LogReader;
use super::observed::ObservedRun;
use super::results::source_of;
use super::{Caller, Engine, EngineError, ReconnectReason};
use longshore_backend::{BackendError, LogItem, LogOptions, LogSource};
use longshore_domain::log::cursor::LogCursor;
use longshore_domain::log::{Beginning, LogGap, LogGapCause, LogPosition, LostTail, OutputSummary};
use longshore_domain::notation::violation::{Violation, Violations};
use longshore_domain::run::facts::{AttemptFacts, RunFacts, Terminated};
use longshore_domain::run::failure::{Failure, FailureReason};
use longshore_runtime::task;

/// Bytes of output in one event.
const EVENT_BYTES: usize = 64 * 1024;
/// Events that wait for a caller who reads slowly.
const EVENTS: usize = 4;
/// How long a stream may be silent.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long who has read to the end waits for the feed to be there too.
const COME_UP: Duration = Duration::from_secs(2);

mod event;
mod query;
mod show;
mod tail;
#[cfg(test)]
mod tests;

pub use event::{LogEndReason, LogEvent};
pub use query::{AttemptSelector, LogQuery, LogStart};
use show::is_asked_for;
use tail::{LastLines, Tail};

impl Engine {
    /// Streams output; see [`LogQuery`]. The stream ends in exactly one `End` or `Reconnect`, or in
    /// an error.
    ///
    /// # Errors
    /// There is no such run, attempt or container; the cursor is not of this run.
    pub async fn stream_logs(
        &self,
        caller: &Caller,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogEvent, EngineError>>, EngineError> {
        self.authorize(caller, &query.name).await?;
        let observed = self.observed(&query.name).await?;
        let start = begin(&observed, &query, self.inner.rules.capabilities.split_streams)?;
        let follow =
            self.inner.runs.table().follow(&query.name).ok_or_else(|| EngineError::RunNotFound(query.name.clone()))?;
        let (events, stream) = mpsc::channel(EVENTS);
        let streamer = Streamer::new(self.inner.hub.clone(), &observed.facts, &start, query, follow, events);
        let (drain, until) = (self.inner.drain.clone(), caller.until);
        let follower = streamer.query.follow.then(|| self.inner.metrics.follower());
        task::spawn("log-stream", async move {
            let _follower = follower;
            let events = streamer.events.clone();
            let mut streamer = streamer;
            let ended = tokio::select! {
                biased;
                ended = streamer.run() => ended,
                () = drain.cancelled() => Err(StreamStop::Reconnect(ReconnectReason::Draining)),
                () = stale(until) => Err(StreamStop::Reconnect(ReconnectReason::MaxAge)),
            };
            let last = match ended {
                Ok(reason) => Ok(LogEvent::End { cursor: streamer.cursor(), reason }),
                Err(StreamStop::Reconnect(reason)) => Ok(LogEvent::Reconnect { cursor: streamer.cursor(), reason }),
                Err(StreamStop::Failed(error)) => Err(error.into()),
                Err(StreamStop::CallerGone) => return,
            };
            // The caller may have left meanwhile.
            let _ = events.send(last).await;
        });
        Ok(ReceiverStream::new(stream).boxed())
    }
}

/// Where a stream begins.
struct StreamStart {
    attempt: u32,
    position: Option<LogPosition>,
}

fn begin(observed: &ObservedRun, query: &LogQuery, split_streams: bool) -> Result<StreamStart, EngineError> {
    let mut violations = Violations::new();
    let facts = &observed.facts;
    if query.container != "run" {
        violations.add("container", format!("container `{}` not found; the program's is `run`", query.container));
    }
    if query.stream.is_some() && !split_streams {
        violations.unsupported_on_backend(
            "stream",
            "Kubernetes does not distinguish standard output from standard error; leave it unset",
        );
    }
    let mut position = None;
    let mut attempt = match query.attempts {
        AttemptSelector::Latest => facts.last_attempt().map_or(1, |a| a.number),
        AttemptSelector::Number(number) => number,
        AttemptSelector::All => facts.attempts.first().map_or(1, |a| a.number),
    };
    if let LogStart::Cursor(text) = &query.start {
        match LogCursor::decode(text, &facts.uid) {
            Ok(cursor) if matches!(query.attempts, AttemptSelector::Number(n) if n != cursor.attempt) => {
                let its = cursor.attempt;
                violations.add(
                    "cursor",
                    format!("is of attempt {its}, but attempt {attempt} is asked for; send one of the two"),
                );
                violations.add("attempt", format!("is not the cursor's, which is {its}; send one of the two"));
            }
            Ok(cursor) => (attempt, position) = (cursor.attempt, cursor.position),
            Err(error) => violations.push(Violation::new("cursor", error.to_string())),
        }
    }
    if !violations.is_empty() {
        return Err(EngineError::Invalid(violations));
    }
    let present = facts.attempts.last().map_or(0, |a| a.number);
    if attempt == 0 || attempt > present.max(1) {
        return Err(EngineError::NoSuchAttempt { name: facts.name.clone(), attempt, present });
    }
    Ok(StreamStart { attempt, position })
}

/// What a read beside the feed came to.
enum SideRead {
    /// It is where the feed is: at this place.
    Place(u64),
    /// As many bytes as were asked for.
    Limit,
    End(FeedEnd),
}

/// Why a stream ends other than by its end.
enum StreamStop {
    Reconnect(ReconnectReason),
    Failed(BackendError),
    CallerGone,
}

struct Streamer {
    hub: Hub,
    run_uid: String,
    query: LogQuery,
    follow: watch::Receiver<Arc<ObservedRun>>,
    events: mpsc::Sender<Result<LogEvent, EngineError>>,
    attempt: u32,
    /// Up to where was read.
    position: Option<LogPosition>,
    /// Up to where the caller has it: what its cursor stands for.
    sent: Option<LogPosition>,
    /// What lines that carry the result begin with.
    marker: String,
    /// Whether the present line does.
    marked: bool,
    /// Bytes that may still be sent.
    left: Option<u64>,
    /// Counts what is read without `follow`, if it is read from the start; and how that began.
    tally: Option<OutputTally>,
    beginning: Option<Beginning>,
    lost_tail: LostTail,
}

impl Streamer {
    fn new(
        hub: Hub,
        facts: &RunFacts,
        start: &StreamStart,
        query: LogQuery,
        follow: watch::Receiver<Arc<ObservedRun>>,
        events: mpsc::Sender<Result<LogEvent, EngineError>>,
    ) -> Self {
        Self {
            hub,
            run_uid: facts.uid.clone(),
            marker: facts.submission.result_marker.clone(),
            marked: false,
            attempt: start.attempt,
            position: start.position,
            sent: start.position,
            left: query.limit_bytes.filter(|limit| *limit > 0),
            tally: Some(OutputTally::default()).filter(|_| matches!(query.start, LogStart::Beginning)),
            beginning: None,
            lost_tail: LostTail::default(),
            query,
            follow,
            events,
        }
    }

    async fn run(&mut self) -> Result<LogEndReason, StreamStop> {
        loop {
            if self.position.is_none() {
                self.send(LogEvent::AttemptStarted { attempt: self.attempt }).await?;
            }
            let whole = if self.query.follow { self.follow_attempt().await? } else { self.read_attempt().await? };
            let Some(whole) = whole else {
                return Ok(if self.left == Some(0) { LogEndReason::ByteLimit } else { LogEndReason::CaughtUp });
            };
            let exit_code = self.attempt_facts().and_then(|a| a.main.terminated().and_then(Terminated::code));
            self.send(LogEvent::AttemptEnded { attempt: self.attempt, exit_code, whole: whole.0 }).await?;
            let next = self.attempt + 1;
            if !self.goes_on_with(next).await? {
                return self.finish().await;
            }
            if self.query.attempts == AttemptSelector::Latest {
                // What is asked for of the latest attempt is not of one that came after.
                self.query.start = LogStart::Beginning;
            }
            (self.attempt, self.position, self.sent) = (next, None, None);
            self.tally =
                matches!(self.query.start, LogStart::Beginning | LogStart::Cursor(_)).then(OutputTally::default);
            (self.beginning, self.lost_tail) = (None, LostTail::default());
        }
    }

    /// Whether this attempt is asked for, too, and there is one. Who follows the run's output waits for it.
    async fn goes_on_with(&mut self, next: u32) -> Result<bool, StreamStop> {
        let wanted = match self.query.attempts {
            AttemptSelector::All => true,
            AttemptSelector::Latest => self.query.follow,
            AttemptSelector::Number(_) => false,
        };
        loop {
            let (is_there, is_over) = {
                let observed = self.follow.borrow_and_update();
                let is_over = observed.view.state.is_terminal() || observed.facts.is_let_go();
                (observed.facts.attempt(next).is_some(), is_over)
            };
            if !wanted || is_there || is_over || !self.query.follow {
                return Ok(wanted && is_there);
            }
            if !self.changed().await? {
                return Ok(false);
            }
        }
    }

    /// Waits for the run to change, a heartbeat at most, which is sent. `false`: the run is gone.
    async fn changed(&mut self) -> Result<bool, StreamStop> {
        tokio::select! {
            changed = self.follow.changed() => Ok(changed.is_ok()),
            () = self.events.closed() => Err(StreamStop::CallerGone),
            () = tokio::time::sleep(HEARTBEAT) => {
                let cursor = self.cursor();
                self.send(LogEvent::Heartbeat { cursor }).await?;
                Ok(true)
            }
        }
    }

    /// The attempt is complete. `end` says that the run is finished, so it waits until it is; but not for an end that
    /// can't be read, and that nobody else waits for any more.
    async fn finish(&mut self) -> Result<LogEndReason, StreamStop> {
        if !self.query.follow {
            let terminal = self.follow.borrow().view.state.is_terminal();
            return Ok(if terminal { LogEndReason::RunFinished } else { LogEndReason::CaughtUp });
        }
        loop {
            let cursor = self.cursor();
            tokio::select! {
                // An error means that the run is gone.
                _ = self.follow.wait_for(|o| o.view.state.is_terminal() || o.facts.is_let_go()) => {
                    return Ok(LogEndReason::RunFinished);
                }
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
            self.send(LogEvent::Heartbeat { cursor }).await?;
        }
    }

    /// Without `follow`: what is there now. `Some` if the attempt has ended, so that this was all.
    async fn read_attempt(&mut self) -> Result<Option<Whole>, StreamStop> {
        let ended = self.attempt_facts().is_some_and(|a| a.is_over() || a.main.terminated().is_some());
        let started = self.attempt_facts().is_some_and(|a| a.main.started());
        let Some(source) = self.source().filter(|_| started) else {
            self.gap_if_it_ran().await?;
            return Ok(ended.then_some(Whole(None)));
        };
        if ended && self.hub.ended_feed(&source).is_some() {
            // It may have more than can be had now.
            return self.follow_attempt().await;
        }
        if !self.read_on_or_gap(&source).await? {
            self.tally = None;
        }
        if self.left == Some(0) {
            return Ok(None);
        }
        let whole = |tally: &OutputTally| self.beginning.is_some_and(|beginning| tally.is_whole(beginning));
        let tally = self.tally.take().filter(whole);
        Ok(ended.then(|| Whole(tally.map(OutputTally::end))))
    }

    /// With `follow`: until the attempt's output is complete.
    async fn follow_attempt(&mut self) -> Result<Option<Whole>, StreamStop> {
        let Some(source) = self.wait_for_source().await? else {
            self.gap_if_it_ran().await?;
            return Ok(Some(Whole(None)));
        };
        let feed = self.hub.feed(&source, self.follow.clone());
        let mut changes = feed.changes();
        let is_tail = matches!(self.query.start, LogStart::Tail(_)) && self.position.is_none();
        if is_tail && !self.read_on_or_gap(&source).await? {
            return Ok(Some(Whole(None)));
        }
        let mut place = feed.place_after(self.position.as_ref());
        loop {
            if self.left == Some(0) {
                return Ok(None);
            }
            changes.borrow_and_update();
            let Some(at) = place else {
                // Not in the ring: a read of its own catches up with it.
                match self.read_beside(&source, &feed).await? {
                    SideRead::Place(at) => place = Some(at),
                    SideRead::Limit => {}
                    SideRead::End(FeedEnd::Lost(_)) => return Ok(Some(Whole(None))),
                    // What is known of the whole, the feed knows.
                    SideRead::End(FeedEnd::Complete(_)) => {
                        let _ = tokio::time::timeout(COME_UP, changes.wait_for(|_| feed.ended().is_some())).await;
                        return Ok(Some(feed.ended().map_or(Whole(None), Whole::from)));
                    }
                }
                continue;
            };
            match feed.take(at, EVENT_BYTES) {
                FeedRead::Items(items, next) => {
                    place = Some(next);
                    self.items(items).await?;
                }
                FeedRead::Wait => self.wait(&mut changes).await?,
                FeedRead::Behind => place = None,
                FeedRead::End(end) => return Ok(Some(end.into())),
            }
        }
    }

    /// Reads on by itself, at the caller's pace, until it has caught up with the feed.
    async fn read_beside(&mut self, source: &LogSource, feed: &Feed) -> Result<SideRead, StreamStop> {
        let mut chunks = self.hub.read(source, self.follow.clone(), self.position, LogReader::Caller);
        loop {
            let chunk = tokio::select! {
                chunk = chunks.recv() => chunk,
                () = self.events.closed() => return Err(StreamStop::CallerGone),
                () = tokio::time::sleep(HEARTBEAT) => {
                    let cursor = self.cursor();
                    self.send(LogEvent::Heartbeat { cursor }).await?;
                    continue;
                }
            };
            match chunk {
                Some(Chunk::Items(items)) => self.items(items).await?,
                Some(Chunk::End(end)) => return Ok(SideRead::End(end)),
                None => {
                    let (what, message) = ("read the log".to_owned(), "its reader failed".to_owned());
                    return Err(StreamStop::Failed(BackendError::Unavailable { what, message }));
                }
            }
            if self.left == Some(0) {
                return Ok(SideRead::Limit);
            }
            if let Some(at) = self.position.and_then(|position| feed.place_after(Some(&position))) {
                return Ok(SideRead::Place(at));
            }
        }
    }

    /// Reads what is there; a log that is gone, or that can't be read, is reported as a gap. `false`: it
    /// is.
    async fn read_on_or_gap(&mut self, source: &LogSource) -> Result<bool, StreamStop> {
        match self.read_on(source).await {
            Ok(()) => Ok(true),
            Err(StreamStop::Failed(BackendError::NotFound(what))) => {
                self.gap(LogGapCause::Deleted, format!("{what}: its output went with it")).await?;
                Ok(false)
            }
            Err(StreamStop::Failed(error @ BackendError::Unreadable { .. })) => {
                self.gap(LogGapCause::Unreadable, error.for_caller()).await?;
                Ok(false)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Of an attempt that can't be read: whether there was something is known still.
    async fn gap_if_it_ran(&mut self) -> Result<(), StreamStop> {
        let (ran, unseen) = {
            let observed = self.follow.borrow();
            let reported = observed.view.attempts.iter().find(|a| a.number == self.attempt);
            let unseen = reported.is_some_and(|a| a.unseen);
            // Reasons that only a program that ran can have.
            let lost = |failure: &Failure| {
                use FailureReason::{Evicted, Lost, NodeLost, NodeShutdown};
                matches!(failure.reason, Evicted | Lost | NodeLost | NodeShutdown)
            };
            let ran = self.position.is_some()
                || reported.is_some_and(|a| a.start_time.is_some() || a.failure.as_ref().is_some_and(lost));
            (ran, unseen)
        };
        let message = match (ran, unseen) {
            (true, _) => "its Pod or process is gone, and its output is lost",
            (false, true) => "its Pod was created and deleted unobserved: if it ran, its output is lost",
            (false, false) => return Ok(()),
        };
        self.gap(LogGapCause::Deleted, message.to_owned()).await
    }

    /// Waits until the attempt has started; `None` if it ended without.
    async fn wait_for_source(&mut self) -> Result<Option<LogSource>, StreamStop> {
        loop {
            let (started, over) = match self.attempt_facts() {
                Some(attempt) => (attempt.main.started(), attempt.is_over()),
                None => (false, false),
            };
            match self.source() {
                Some(source) if started => return Ok(Some(source)),
                _ if over || self.is_past() || self.follow.borrow().view.state.is_terminal() => return Ok(None),
                _ => {}
            }
            if !self.changed().await? {
                return Ok(None);
            }
        }
    }

    async fn wait(&mut self, changes: &mut watch::Receiver<u64>) -> Result<(), StreamStop> {
        loop {
            tokio::select! {
                // The feed lives as long as we hold it.
                _ = changes.changed() => return Ok(()),
                () = self.events.closed() => return Err(StreamStop::CallerGone),
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
            let cursor = self.cursor();
            self.send(LogEvent::Heartbeat { cursor }).await?;
        }
    }

    /// Reads what is there from the present position, at the caller's pace.
    async fn read_on(&mut self, source: &LogSource) -> Result<(), StreamStop> {
        let mut gate = self.position.is_none().then(|| Gate::new(self.begin(source)));
        let mut tail = match (&self.query.start, self.position) {
            (LogStart::Tail(lines), None) => {
                let skipped = self.query.skip_result_lines.then(|| self.marker.clone());
                Some(LastLines::new(*lines, skipped))
            }
            _ => None,
        };
        let options = LogOptions { from: self.position, ..LogOptions::default() };
        let opened = tokio::select! {
            opened = self.hub.logs().open(source, &options) => opened.map_err(StreamStop::Failed)?,
            () = self.events.closed() => return Err(StreamStop::CallerGone),
        };
        let mut chunks = opened.ready_chunks(CHUNK_ITEMS);
        let mut failed = None;
        while let Some(chunk) = chunks.next().await {
            let mut items;
            (items, failed) = until_failure(chunk);
            if let Some(gate) = &mut gate {
                items = gate.take(items);
            }
            self.read(items, &mut tail).await?;
            if failed.is_some() || self.left == Some(0) {
                break;
            }
        }
        // What came before a failure is not less true for it.
        if self.left != Some(0) {
            let rest = if failed.is_some() { gate.map(Gate::abandon) } else { gate.map(Gate::end) };
            self.read(rest.unwrap_or_default(), &mut tail).await?;
        }
        if let Some(tail) = tail {
            self.tail(tail.end()).await?;
        }
        failed.map_or(Ok(()), |error| Err(StreamStop::Failed(error)))
    }

    /// How a read from no position begins, were it now.
    fn begin(&mut self, source: &LogSource) -> Beginning {
        let mut beginning = beginning(&self.follow.borrow(), self.attempt, self.hub.logs().rotates());
        beginning.at_start |= self.hub.is_unrotated(source);
        *self.beginning.insert(beginning)
    }

    /// Sends what was read, or keeps it for the tail.
    async fn read(&mut self, items: Vec<LogItem>, tail: &mut Option<LastLines>) -> Result<(), StreamStop> {
        self.hub.metrics().read(LogReader::Caller, &items);
        let Some(tail) = tail else { return self.items(items).await };
        for item in items {
            match item {
                LogItem::Gap(gap) => tail.gap(gap),
                LogItem::Piece(piece) => {
                    // Lines that are not asked for are behind us too.
                    self.position = Some(piece.end());
                    if tail.counts(&piece) && is_asked_for(&self.query, &piece) {
                        tail.push(piece);
                    }
                }
            }
        }
        Ok(())
    }

    async fn tail(&mut self, tail: Tail) -> Result<(), StreamStop> {
        let position = self.position;
        if let Some((cause, message)) = tail.truncated {
            self.send(LogEvent::Truncated { attempt: self.attempt, cause, message }).await?;
        }
        let (lost, gaps): (Vec<_>, Vec<_>) = tail.gaps.into_iter().partition(LogGap::is_tail);
        self.items(gaps.into_iter().map(LogItem::Gap).collect()).await?;
        self.items(tail.pieces.into_iter().map(LogItem::Piece).collect()).await?;
        self.items(lost.into_iter().map(LogItem::Gap).collect()).await?;
        if self.left != Some(0) {
            self.position = position;
            self.sent = position;
        }
        Ok(())
    }

    async fn gap(&mut self, cause: LogGapCause, message: String) -> Result<(), StreamStop> {
        self.hub.metrics().gap(LogReader::Caller, cause);
        let gap = LogGap { from_time: self.position.map(|p| p.time), to_time: None, cause, message };
        if !self.lost_tail.is_news(&gap) {
            return Ok(());
        }
        self.send(LogEvent::Gap { attempt: self.attempt, gap }).await
    }

    async fn send(&self, event: LogEvent) -> Result<(), StreamStop> {
        self.events.send(Ok(event)).await.map_err(|_| StreamStop::CallerGone)
    }

    fn cursor(&self) -> String {
        LogCursor::new(&self.run_uid, self.attempt, self.sent).encode()
    }

    fn source(&self) -> Option<LogSource> {
        source_of(&self.follow.borrow().facts, self.attempt)
    }

    /// Whether the run has gone on to another attempt, or will.
    fn is_past(&self) -> bool {
        let observed = self.follow.borrow();
        observed.facts.record.is_none() && observed.facts.present_number() > self.attempt
    }

    fn attempt_facts(&self) -> Option<AttemptFacts> {
        self.follow.borrow().facts.attempt(self.attempt).cloned()
    }
}

/// The end of an output, with its summary if it was read whole.
struct Whole(Option<OutputSummary>);

impl From<FeedEnd> for Whole {
    fn from(end: FeedEnd) -> Self {
        match end {
            FeedEnd::Complete(whole) => Self(whole),
            FeedEnd::Lost(_) => Self(None),
        }
    }
}
