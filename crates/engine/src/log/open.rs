//! Opens a stream of output for a caller who may view the run: what is asked for is checked, and where it begins.

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::event::LogEvent;
use super::query::{AttemptSelector, LogQuery, LogStart};
use super::stream::{StreamStart, StreamStop, Streamer};
use crate::Engine;
use crate::access::{Caller, stale};
use crate::error::EngineError;
use crate::observed::ObservedRun;
use crate::reconnect::ReconnectReason;
use longshore_domain::log::RUN_CONTAINER;
use longshore_domain::log::cursor::LogCursor;
use longshore_domain::notation::violation::{Violation, Violations};
use longshore_runtime::task;

/// Events that wait for a caller who reads slowly.
pub(super) const EVENTS: usize = 4;

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

fn begin(observed: &ObservedRun, query: &LogQuery, split_streams: bool) -> Result<StreamStart, EngineError> {
    let mut violations = Violations::new();
    let facts = &observed.facts;
    if query.container != RUN_CONTAINER {
        violations
            .add("container", format!("container `{}` not found; the program's is `{RUN_CONTAINER}`", query.container));
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
