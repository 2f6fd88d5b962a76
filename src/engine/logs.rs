//! Streaming output to callers: from the hub's feed while it is followed, by an own read to catch
//! up or without `follow`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::access::stale;
use super::feed::{FeedEnd, Hub, Taken, Tally};
use super::metrics::LogReader;
use super::results::source_of;
use super::table::Observed;
use super::{
    AttemptSelector, Caller, Engine, EngineError, LogEndReason, LogEvent, LogQuery, LogStart, ReconnectReason,
};
use crate::backend::{BackendError, LogItem, LogOptions, LogSource};
use crate::domain::access::Verb;
use crate::domain::cursor::LogCursor;
use crate::domain::facts::AttemptFacts;
use crate::domain::log::{
    CHECK_START, LogGap, LogGapCause, LogPiece, LogPosition, LogStream, LogTruncationCause, check,
};
use crate::domain::violation::{Violation, Violations};
use crate::runtime::task;

/// Bytes of output in one event.
const EVENT_BYTES: usize = 64 * 1024;
/// Events that wait for a caller who reads slowly.
const EVENTS: usize = 4;
/// How long a stream may be silent.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Bytes that are kept to give the last lines.
const TAIL_BYTES: usize = 8 * 1024 * 1024;
/// What a kept line costs beside its bytes.
const LINE_BYTES: usize = 128;
/// How long who has caught up waits for the follow to come up with it.
const COME_UP: Duration = Duration::from_millis(250);

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
        self.may(caller, Verb::Logs, &query.name).await?;
        let observed = self.observed(&query.name).await?;
        let start = begin(&observed, &query, self.inner.rules.capabilities.split_streams)?;
        let follow =
            self.inner.table.follow(&query.name).ok_or_else(|| EngineError::RunNotFound(query.name.clone()))?;
        let (events, stream) = mpsc::channel(EVENTS);
        let streamer = Streamer {
            hub: self.inner.hub.clone(),
            run_uid: observed.facts.uid.clone(),
            marker: observed.facts.submission.result_marker.clone(),
            marked: false,
            attempt: start.attempt,
            position: start.position,
            sent: start.position,
            left: query.limit_bytes.filter(|limit| *limit > 0),
            tally: Some(Tally::default()).filter(|_| matches!(query.start, LogStart::Beginning)),
            query,
            follow,
            events,
        };
        let (drain, until) = (self.inner.drain.clone(), caller.until);
        let follower = streamer.query.follow.then(|| self.inner.metrics.follower());
        task::spawn("log-stream", async move {
            let _follower = follower;
            let events = streamer.events.clone();
            let mut streamer = streamer;
            let ended = tokio::select! {
                biased;
                ended = streamer.run() => ended,
                () = drain.cancelled() => Err(Stop::Reconnect(ReconnectReason::Draining)),
                () = stale(until) => Err(Stop::Reconnect(ReconnectReason::MaxAge)),
            };
            let last = match ended {
                Ok(reason) => Ok(LogEvent::End { cursor: streamer.cursor(), reason }),
                Err(Stop::Reconnect(reason)) => Ok(LogEvent::Reconnect { cursor: streamer.cursor(), reason }),
                Err(Stop::Failed(error)) => Err(error.into()),
                Err(Stop::CallerGone) => return,
            };
            // The caller may have left meanwhile.
            let _ = events.send(last).await;
        });
        Ok(ReceiverStream::new(stream).boxed())
    }
}

/// Where a stream begins.
struct Start {
    attempt: u32,
    position: Option<LogPosition>,
}

fn begin(observed: &Observed, query: &LogQuery, split_streams: bool) -> Result<Start, EngineError> {
    let mut violations = Violations::new();
    let facts = &observed.facts;
    if query.container != "run" {
        violations.add("container", format!("there is no container `{}`; the program's own is `run`", query.container));
    }
    if query.stream.is_some() && !split_streams {
        violations.unsupported_on_backend(
            "stream",
            "Kubernetes does not tell standard output and standard error apart; leave it unset",
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
    Ok(Start { attempt, position })
}

/// Why a stream ends other than by its end.
enum Stop {
    Reconnect(ReconnectReason),
    Failed(BackendError),
    CallerGone,
}

struct Streamer {
    hub: Hub,
    run_uid: String,
    query: LogQuery,
    follow: watch::Receiver<Arc<Observed>>,
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
    /// Counts what is read without `follow`, if it is read from the start.
    tally: Option<Tally>,
}

impl Streamer {
    async fn run(&mut self) -> Result<LogEndReason, Stop> {
        loop {
            if self.position.is_none() {
                self.send(LogEvent::AttemptStarted { attempt: self.attempt }).await?;
            }
            let whole = if self.query.follow { self.follow_attempt().await? } else { self.read_attempt().await? };
            let Some(whole) = whole else {
                return Ok(if self.left == Some(0) { LogEndReason::ByteLimit } else { LogEndReason::CaughtUp });
            };
            let exit_code = self.attempt_facts().and_then(|a| a.main.terminated().map(|t| t.exit_code));
            self.send(LogEvent::AttemptEnded { attempt: self.attempt, exit_code, whole: whole.0 }).await?;
            let next = self.attempt + 1;
            let has_next = self.follow.borrow().facts.attempts.iter().any(|a| a.number == next);
            if self.query.attempts != AttemptSelector::All || !has_next {
                return self.finish().await;
            }
            (self.attempt, self.position, self.sent, self.tally) = (next, None, None, Some(Tally::default()));
        }
    }

    /// The attempt is complete. `end` says that the run is finished, so it waits until it is.
    async fn finish(&mut self) -> Result<LogEndReason, Stop> {
        if !self.query.follow {
            let terminal = self.follow.borrow().run.state.is_terminal();
            return Ok(if terminal { LogEndReason::RunFinished } else { LogEndReason::CaughtUp });
        }
        loop {
            let cursor = self.cursor();
            tokio::select! {
                // An error means that the run is gone.
                _ = self.follow.wait_for(|o| o.run.state.is_terminal()) => return Ok(LogEndReason::RunFinished),
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
            self.send(LogEvent::Heartbeat { cursor }).await?;
        }
    }

    /// Without `follow`: what is there now. `Some` if the attempt has ended, so that this was all.
    async fn read_attempt(&mut self) -> Result<Option<Whole>, Stop> {
        let ended = self.attempt_facts().is_some_and(|a| a.phase.is_over() || a.main.terminated().is_some());
        let started = self.attempt_facts().is_some_and(|a| a.main.started());
        let Some(source) = self.source().filter(|_| started) else {
            self.gap_if_it_ran().await?;
            return Ok(ended.then_some(Whole(None)));
        };
        if !self.read_on_or_gap(&source).await? {
            self.tally = None;
        }
        if self.left == Some(0) {
            return Ok(None);
        }
        Ok(ended.then(|| Whole(self.tally.take().map(Tally::end))))
    }

    /// With `follow`: until the attempt's output is complete.
    async fn follow_attempt(&mut self) -> Result<Option<Whole>, Stop> {
        let Some(source) = self.wait_for_source().await? else {
            self.gap_if_it_ran().await?;
            return Ok(Some(Whole(None)));
        };
        let feed = self.hub.feed(&source, self.follow.clone());
        let mut changes = feed.changes();
        let from_start = matches!(self.query.start, LogStart::Beginning) || self.position.is_some();
        let mut place = from_start.then(|| feed.place_after(self.position.as_ref())).flatten();
        loop {
            changes.borrow_and_update();
            let Some(at) = place else {
                // Not in the ring: an own read catches up, then the ring is tried again. Only a read
                // that began after the feed's end was surely a read to the end.
                let (before, ended) = (self.position, feed.ended());
                if !self.read_on_or_gap(&source).await? {
                    return Ok(Some(Whole(None)));
                }
                if self.left == Some(0) {
                    return Ok(None);
                }
                place = feed.place_after(self.position.as_ref());
                match (place, ended) {
                    (None, Some(end)) => return Ok(Some(end.into())),
                    (None, None) if self.position == before => self.wait(&mut changes).await?,
                    // A plain read is ahead of the follow as a rule: let it come up before the next.
                    (None, None) => {
                        let _ = tokio::time::timeout(COME_UP, changes.changed()).await;
                        place = feed.place_after(self.position.as_ref());
                    }
                    (Some(_), _) => {}
                }
                continue;
            };
            match feed.take(at, EVENT_BYTES) {
                Taken::Items(items, next) => {
                    place = Some(next);
                    self.items(items).await?;
                    if self.left == Some(0) {
                        return Ok(None);
                    }
                }
                Taken::Wait => self.wait(&mut changes).await?,
                Taken::Behind => place = None,
                Taken::End(end) => return Ok(Some(end.into())),
            }
        }
    }

    /// Reads what is there; a log that is gone is told as a gap. `false`: it is.
    async fn read_on_or_gap(&mut self, source: &LogSource) -> Result<bool, Stop> {
        match self.read_on(source).await {
            Ok(()) => Ok(true),
            Err(Stop::Failed(BackendError::NotFound(what))) => {
                self.gone(format!("{what}: its output went with it")).await?;
                Ok(false)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Of an attempt that can't be read: whether there was something is known still.
    async fn gap_if_it_ran(&mut self) -> Result<(), Stop> {
        let ran = {
            let observed = self.follow.borrow();
            let told = observed.run.attempts.iter().find(|a| a.number == self.attempt);
            self.position.is_some() || told.is_some_and(|a| a.start_time.is_some())
        };
        if ran {
            self.gone("what ran it is gone, and its output with it".to_owned()).await?;
        }
        Ok(())
    }

    /// Waits until the attempt has started; `None` if it ended without.
    async fn wait_for_source(&mut self) -> Result<Option<LogSource>, Stop> {
        loop {
            let (started, over) = match self.attempt_facts() {
                Some(attempt) => (attempt.main.started(), attempt.phase.is_over()),
                None => (false, false),
            };
            match self.source() {
                Some(source) if started => return Ok(Some(source)),
                _ if over || self.follow.borrow().run.state.is_terminal() => return Ok(None),
                _ => {}
            }
            tokio::select! {
                changed = self.follow.changed() => if changed.is_err() { return Ok(None) },
                () = tokio::time::sleep(HEARTBEAT) => {
                    let cursor = self.cursor();
                    self.send(LogEvent::Heartbeat { cursor }).await?;
                }
            }
        }
    }

    async fn wait(&mut self, changes: &mut watch::Receiver<u64>) -> Result<(), Stop> {
        loop {
            tokio::select! {
                // The feed lives as long as we hold it.
                _ = changes.changed() => return Ok(()),
                () = self.events.closed() => return Err(Stop::CallerGone),
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
            let cursor = self.cursor();
            self.send(LogEvent::Heartbeat { cursor }).await?;
        }
    }

    /// Reads what is there from the present position, at the caller's pace.
    async fn read_on(&mut self, source: &LogSource) -> Result<(), Stop> {
        let options = LogOptions { from: self.position, follow: false };
        let opened = tokio::select! {
            opened = self.hub.logs().open(source, &options) => opened.map_err(Stop::Failed)?,
            () = self.events.closed() => return Err(Stop::CallerGone),
        };
        let mut chunks = opened.ready_chunks(32);
        let mut tail = match (&self.query.start, self.position) {
            (LogStart::Tail(lines), None) => {
                let skipped = self.query.skip_result_lines.then(|| self.marker.clone());
                Some(LastLines::new(*lines, skipped))
            }
            _ => None,
        };
        while let Some(chunk) = chunks.next().await {
            let items = chunk.into_iter().collect::<Result<Vec<_>, _>>().map_err(Stop::Failed)?;
            self.hub.metrics().read(LogReader::Caller, &items);
            match &mut tail {
                Some(tail) => items.into_iter().for_each(|item| tail.push(item, &self.query)),
                None => self.items(items).await?,
            }
            if self.left == Some(0) {
                return Ok(());
            }
        }
        if let Some(tail) = tail {
            if let Some((cause, message)) = tail.cut() {
                self.send(LogEvent::Truncated { attempt: self.attempt, cause, message }).await?;
            }
            let last = tail.last;
            self.items(tail.gaps).await?;
            self.items(tail.items.into()).await?;
            // Lines that were not asked for are behind us too.
            self.position = last.or(self.position);
            self.sent = self.position;
        }
        Ok(())
    }

    /// Sends items in order, in events of at most [`EVENT_BYTES`].
    async fn items(&mut self, items: Vec<LogItem>) -> Result<(), Stop> {
        let mut pieces = Vec::new();
        let mut bytes = 0;
        for item in items {
            let piece = match item {
                LogItem::Piece(piece) => piece,
                LogItem::Gap(gap) => {
                    self.pieces(std::mem::take(&mut pieces)).await?;
                    bytes = 0;
                    self.tally = None;
                    self.send(LogEvent::Gap { attempt: self.attempt, gap }).await?;
                    continue;
                }
            };
            if bytes + piece.data.len() > EVENT_BYTES {
                self.pieces(std::mem::take(&mut pieces)).await?;
                bytes = 0;
            }
            bytes += piece.data.len();
            if let Some(tally) = self.tally.as_mut().filter(|_| !piece.is_unstamped()) {
                tally.add(&piece.data);
            }
            pieces.push(piece);
        }
        self.pieces(pieces).await
    }

    async fn pieces(&mut self, pieces: Vec<LogPiece>) -> Result<(), Stop> {
        let mut shown = Vec::with_capacity(pieces.len());
        for mut piece in pieces {
            if piece.offset == 0 && is_marked(&piece.data, &self.marker) != self.marked {
                self.shown(std::mem::take(&mut shown)).await?;
                self.marked = !self.marked;
            }
            let skipped = self.marked && self.query.skip_result_lines;
            let asked_for = !skipped && is_asked_for(&self.query, &piece);
            match &mut self.left {
                Some(left) if asked_for => {
                    if (piece.data.len() as u64) > *left {
                        piece = cut(&piece, *left, self.position);
                    }
                    *left -= piece.data.len() as u64;
                }
                _ => {}
            }
            self.position = Some(piece.end());
            if asked_for {
                shown.push(piece);
            }
            if self.left == Some(0) {
                break;
            }
        }
        self.shown(shown).await
    }

    async fn shown(&mut self, pieces: Vec<LogPiece>) -> Result<(), Stop> {
        if !pieces.is_empty() {
            let (attempt, marked) = (self.attempt, self.marked);
            let cursor = LogCursor::new(&self.run_uid, attempt, self.position).encode();
            let bytes = pieces.iter().map(|piece| piece.data.len() as u64).sum();
            self.send(LogEvent::Pieces { attempt, pieces, marked, cursor }).await?;
            self.hub.metrics().sent(bytes);
        }
        self.sent = self.position;
        Ok(())
    }

    async fn gone(&mut self, message: String) -> Result<(), Stop> {
        let cause = LogGapCause::Deleted;
        self.hub.metrics().gap(LogReader::Caller, cause);
        let gap = LogGap { from_time: self.position.map(|p| p.time), to_time: None, cause, message };
        self.send(LogEvent::Gap { attempt: self.attempt, gap }).await
    }

    async fn send(&self, event: LogEvent) -> Result<(), Stop> {
        self.events.send(Ok(event)).await.map_err(|_| Stop::CallerGone)
    }

    fn cursor(&self) -> String {
        LogCursor::new(&self.run_uid, self.attempt, self.sent).encode()
    }

    fn source(&self) -> Option<LogSource> {
        source_of(&self.follow.borrow().facts, self.attempt)
    }

    fn attempt_facts(&self) -> Option<AttemptFacts> {
        self.follow.borrow().facts.attempts.iter().find(|a| a.number == self.attempt).cloned()
    }
}

/// Lines, bytes and hash of an output that was read whole.
struct Whole(Option<(u64, u64, String)>);

impl From<FeedEnd> for Whole {
    fn from(end: FeedEnd) -> Self {
        match end {
            FeedEnd::Complete(whole) => Self(whole),
            FeedEnd::Lost(_) => Self(None),
        }
    }
}

/// Whether a line begins with the marker. Its first piece may end within it; of something that is
/// random, half is enough to tell.
fn is_marked(data: &[u8], marker: &str) -> bool {
    let marker = marker.as_bytes();
    data.starts_with(marker) || data.len() > marker.len() / 2 && marker.starts_with(data)
}

fn is_asked_for(query: &LogQuery, piece: &LogPiece) -> bool {
    let of_stream = match (query.stream, piece.stream) {
        (Some(wanted), Some(stream)) => wanted == stream,
        (Some(wanted), None) => wanted == LogStream::Stdout,
        (None, _) => true,
    };
    let in_time = match query.start {
        LogStart::Since(since) => piece.time >= since,
        _ => true,
    };
    of_stream && in_time
}

/// The first `bytes` of a piece, whose line was read up to `before`.
fn cut(piece: &LogPiece, bytes: u64, before: Option<LogPosition>) -> LogPiece {
    let data = piece.data.slice(..usize::try_from(bytes).unwrap_or(usize::MAX).min(piece.data.len()));
    let is_same_line = |p: &LogPosition| (p.time, p.ordinal, p.offset) == (piece.time, piece.ordinal, piece.offset);
    let state = before.filter(|p| piece.offset > 0 && is_same_line(p)).map_or(CHECK_START, |p| p.check);
    LogPiece { check: check(state, &data), data, ends_line: false, ..piece.clone() }
}

/// The last lines of what passes.
struct LastLines {
    lines: u64,
    items: VecDeque<LogItem>,
    seen: u64,
    bytes: usize,
    dropped: Option<LogTruncationCause>,
    /// What lines begin with that do not count.
    skipped: Option<String>,
    /// Whether the present line is such a one.
    skipping: bool,
    last: Option<LogPosition>,
    gaps: Vec<LogItem>,
}

impl LastLines {
    fn new(lines: u64, skipped: Option<String>) -> Self {
        Self {
            lines,
            items: VecDeque::new(),
            seen: 0,
            bytes: 0,
            dropped: None,
            skipped,
            skipping: false,
            last: None,
            gaps: Vec::new(),
        }
    }

    fn push(&mut self, item: LogItem, query: &LogQuery) {
        let piece = match &item {
            LogItem::Piece(piece) => piece,
            // What is missing is told wherever it stood.
            LogItem::Gap(_) => return self.gaps.push(item),
        };
        self.last = Some(piece.end());
        if piece.offset == 0 {
            self.skipping = self.skipped.as_ref().is_some_and(|marker| is_marked(&piece.data, marker));
        }
        if self.skipping || !is_asked_for(query, piece) {
            return;
        }
        self.seen += u64::from(piece.ends_line);
        self.bytes += piece.data.len() + LINE_BYTES;
        self.items.push_back(item);
        while self.seen > self.lines || self.bytes > TAIL_BYTES {
            let Some(LogItem::Piece(first)) = self.items.pop_front() else { return };
            self.seen -= u64::from(first.ends_line);
            self.bytes -= first.data.len() + LINE_BYTES;
            self.dropped = Some(if self.bytes > TAIL_BYTES {
                LogTruncationCause::TailBytes
            } else {
                LogTruncationCause::TailLines
            });
        }
    }

    /// Why the start was left out, if it was: the cause, and the same in a sentence.
    fn cut(&self) -> Option<(LogTruncationCause, String)> {
        self.dropped.map(|cause| match cause {
            LogTruncationCause::TailLines => (cause, format!("only the last {} lines were asked for", self.lines)),
            LogTruncationCause::TailBytes => {
                (cause, format!("no more than the last {TAIL_BYTES} bytes are kept for a tail"))
            }
        })
    }
}
