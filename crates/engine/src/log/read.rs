//! Reads an attempt's output for a caller: from the hub's feed while it is followed, by an own read to catch
//! up or without `follow`.

use std::time::Duration;

use futures::StreamExt;

use super::event::LogEvent;
use super::gate::Gate;
use super::query::LogStart;
use super::ring::{Feed, FeedEnd, FeedRead, OutputTally};
use super::select::is_asked_for;
use super::show::EVENT_BYTES;
use super::stream::{HEARTBEAT, StreamStop, Streamer};
use super::tail::{LastLines, Tail};
use super::upstream::{CHUNK_ITEMS, Chunk, beginning, until_failure};
use crate::metrics::LogReader;
use longshore_backend::{BackendError, LogItem, LogOptions, LogSource};
use longshore_domain::log::{Beginning, LogGap, LogGapCause, OutputSummary};
use longshore_domain::run::failure::{Failure, FailureReason};

/// How long who has read to the end waits for the feed to be there too.
const COME_UP: Duration = Duration::from_secs(2);

/// What a read beside the feed came to.
enum SideRead {
    /// It is where the feed is: at this place.
    Place(u64),
    /// As many bytes as were asked for.
    Limit,
    End(FeedEnd),
}

/// The end of an output, with its summary if it was read whole.
pub(super) struct Whole(pub(super) Option<OutputSummary>);

impl From<FeedEnd> for Whole {
    fn from(end: FeedEnd) -> Self {
        match end {
            FeedEnd::Complete(whole) => Self(whole),
            FeedEnd::Lost(_) => Self(None),
        }
    }
}

impl Streamer {
    /// Without `follow`: what is there now. `Some` if the attempt has ended, so that this was all.
    pub(super) async fn read_attempt(&mut self) -> Result<Option<Whole>, StreamStop> {
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
    pub(super) async fn follow_attempt(&mut self) -> Result<Option<Whole>, StreamStop> {
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
}
