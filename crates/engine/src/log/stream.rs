//! What a caller's stream knows of itself: up to where it was read, what was sent, and to whom.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::event::LogEvent;
use super::hub::Hub;
use super::query::{LogQuery, LogStart};
use super::ring::OutputTally;
use super::source::source_of;
use crate::error::EngineError;
use crate::metrics::LogReader;
use crate::observed::ObservedRun;
use crate::reconnect::ReconnectReason;
use longshore_backend::{BackendError, LogSource};
use longshore_domain::log::cursor::LogCursor;
use longshore_domain::log::{Beginning, LogGap, LogGapCause, LogPosition, LostTail};
use longshore_domain::run::facts::{AttemptFacts, RunFacts};

/// How long a stream may be silent.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// Where a stream begins.
pub(super) struct StreamStart {
    pub(super) attempt: u32,
    pub(super) position: Option<LogPosition>,
}

/// Why a stream ends other than by its end.
pub(super) enum StreamStop {
    Reconnect(ReconnectReason),
    Failed(BackendError),
    CallerGone,
}

pub(super) struct Streamer {
    pub(super) hub: Hub,
    pub(super) run_uid: String,
    pub(super) query: LogQuery,
    pub(super) follow: watch::Receiver<Arc<ObservedRun>>,
    pub(super) events: mpsc::Sender<Result<LogEvent, EngineError>>,
    pub(super) attempt: u32,
    /// Up to where was read.
    pub(super) position: Option<LogPosition>,
    /// Up to where the caller has it: what its cursor stands for.
    pub(super) sent: Option<LogPosition>,
    /// What lines that carry the result begin with.
    pub(super) marker: String,
    /// Whether the present line does.
    pub(super) marked: bool,
    /// Bytes that may still be sent.
    pub(super) left: Option<u64>,
    /// Counts what is read without `follow`, if it is read from the start; and how that began.
    pub(super) tally: Option<OutputTally>,
    pub(super) beginning: Option<Beginning>,
    pub(super) lost_tail: LostTail,
}

impl Streamer {
    pub(super) fn new(
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

    /// Waits for the run to change, a heartbeat at most, which is sent. `false`: the run is gone.
    pub(super) async fn changed(&mut self) -> Result<bool, StreamStop> {
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

    pub(super) async fn wait(&mut self, changes: &mut watch::Receiver<u64>) -> Result<(), StreamStop> {
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

    pub(super) async fn gap(&mut self, cause: LogGapCause, message: String) -> Result<(), StreamStop> {
        self.hub.metrics().gap(LogReader::Caller, cause);
        let gap = LogGap { from_time: self.position.map(|p| p.time), to_time: None, cause, message };
        if !self.lost_tail.is_news(&gap) {
            return Ok(());
        }
        self.send(LogEvent::Gap { attempt: self.attempt, gap }).await
    }

    pub(super) async fn send(&self, event: LogEvent) -> Result<(), StreamStop> {
        self.events.send(Ok(event)).await.map_err(|_| StreamStop::CallerGone)
    }

    pub(super) fn cursor(&self) -> String {
        LogCursor::new(&self.run_uid, self.attempt, self.sent).encode()
    }

    pub(super) fn source(&self) -> Option<LogSource> {
        source_of(&self.follow.borrow().facts, self.attempt)
    }

    /// Whether the run has gone on to another attempt, or will.
    pub(super) fn is_past(&self) -> bool {
        let observed = self.follow.borrow();
        observed.facts.record.is_none() && observed.facts.present_number() > self.attempt
    }

    pub(super) fn attempt_facts(&self) -> Option<AttemptFacts> {
        self.follow.borrow().facts.attempt(self.attempt).cloned()
    }
}
