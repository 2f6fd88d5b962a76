//! Reading results: a subscriber of the hub like any other, that feeds the result reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::feed::{Feed, FeedEnd, Hub, Taken};
use super::reconciler::Handle;
use super::table::Observed;
use super::{Caller, Engine, EngineError};
use crate::backend::{LogItem, LogOptions, LogSource};
use crate::domain::facts::RunFacts;
use crate::domain::name::RunName;
use crate::domain::result::reader::{ReaderRule, ResultReader};
use crate::domain::result::{FoundResult, ResultOutcome, ResultState};
use crate::domain::run::RunState;
use crate::runtime::task;

/// Bytes taken from the ring at once.
const TAKE_BYTES: usize = 256 * 1024;
/// Deepest nesting that is read.
const MAX_DEPTH: usize = 200;

impl Engine {
    /// Reads the result: what is known of it, and its compact JSON.
    ///
    /// # Errors
    /// There is no such run, or it has no result; the backend failed.
    pub async fn read_result(&self, _caller: &Caller, name: &RunName) -> Result<(FoundResult, Bytes), EngineError> {
        let observed = self.observed(name).await?;
        let none = |why: &str| EngineError::NoResult { name: name.clone(), why: why.to_owned() };
        let info = observed.run.result.as_ref().ok_or_else(|| none("its result rule is NONE"))?;
        let Some(found) = &info.found else {
            return Err(none(match (info.state, &info.error) {
                (ResultState::Pending, _) => "it has not ended yet",
                (_, Some(error)) => &error.message,
                (_, None) => "none was found",
            }));
        };
        if let Some(json) = &found.json {
            return Ok((found.clone(), Bytes::from(json.clone())));
        }
        match self.inner.backend.runs.read_result(name, &observed.facts.uid).await? {
            Some(bytes) => Ok((found.clone(), Bytes::from(bytes))),
            None => Err(none("what kept it was deleted")),
        }
    }
}

/// Whose result is read.
#[derive(Debug)]
pub(super) struct ReadRequest {
    name: RunName,
    uid: String,
    source: Option<LogSource>,
    rule: ReaderRule,
}

impl ReadRequest {
    pub(super) fn of(facts: &RunFacts) -> Self {
        let submission = &facts.submission;
        Self {
            name: facts.name.clone(),
            uid: facts.uid.clone(),
            source: facts.last_attempt().and_then(|attempt| source_of(facts, attempt.number)),
            rule: ReaderRule {
                scan: submission.effective.result_scan,
                marker: submission.result_marker.clone(),
                max_bytes: 0,
                max_depth: MAX_DEPTH,
            },
        }
    }
}

/// Whose output attempt `number` of this run is; `None` before it has a Pod.
pub(super) fn source_of(facts: &RunFacts, number: u32) -> Option<LogSource> {
    let attempt = facts.attempts.iter().find(|a| a.number == number)?;
    Some(LogSource {
        run: facts.name.clone(),
        run_uid: facts.uid.clone(),
        attempt: number,
        attempt_uid: attempt.uid.clone()?,
        pod: attempt.pod.clone().unwrap_or_default(),
        container: "run".to_owned(),
    })
}

/// Starts readers.
#[derive(Debug)]
pub(super) struct Reading {
    hub: Hub,
    reconciler: Handle,
    deadline: Duration,
    max_bytes: usize,
}

impl Reading {
    pub(super) fn new(hub: Hub, reconciler: Handle, deadline: Duration, max_bytes: usize) -> Self {
        Self { hub, reconciler, deadline, max_bytes }
    }

    /// Reads the output to its end and tells the reconciler what was found.
    pub(super) fn start(&self, request: ReadRequest, follow: watch::Receiver<Arc<Observed>>) {
        let (hub, reconciler, deadline) = (self.hub.clone(), self.reconciler.clone(), self.deadline);
        let ReadRequest { name, uid, source, rule } = request;
        let rule = ReaderRule { max_bytes: self.max_bytes, ..rule };
        let reader = task::spawn("result-reader", async move {
            match source {
                Some(source) => read(&hub, &source, rule, follow, deadline).await,
                None => ResultOutcome::Unavailable("the attempt left no output to read".to_owned()),
            }
        });
        task::spawn("result", async move {
            // A fault of the reader must not leave the run unsettled for ever.
            let outcome = reader.await.unwrap_or_else(|fault| {
                tracing::error!(run = %name, %fault, "the result reader failed");
                ResultOutcome::Unavailable("the result reader failed".to_owned())
            });
            reconciler.result(name, uid, outcome).await;
        });
    }
}

async fn read(
    hub: &Hub,
    source: &LogSource,
    rule: ReaderRule,
    follow: watch::Receiver<Arc<Observed>>,
    deadline: Duration,
) -> ResultOutcome {
    let feed = hub.feed(source, follow.clone());
    let reading = read_all(hub, &feed, source, &rule);
    let (reader, end) = tokio::select! {
        read = reading => read,
        () = overdue(follow.clone(), source.attempt, deadline) => {
            let why = format!("its output could not be read within {} s of its end", deadline.as_secs());
            return ResultOutcome::Unavailable(why);
        }
    };
    let file = result_file(&follow, source.attempt);
    match (reader.finish(&file), end) {
        // What was found is the last object only if nothing came after it.
        (ResultOutcome::Found(found), FeedEnd::Lost(_)) if found.byte_range.is_none() => ResultOutcome::Found(found),
        (_, FeedEnd::Lost(why)) => ResultOutcome::Unavailable(why),
        (outcome, FeedEnd::Complete(_)) => outcome,
    }
}

/// Feeds everything to the reader.
async fn read_all(hub: &Hub, feed: &Arc<Feed>, source: &LogSource, rule: &ReaderRule) -> (ResultReader, FeedEnd) {
    let mut reader = ResultReader::new(rule.clone());
    let mut changes = feed.changes();
    let mut at = 0;
    loop {
        changes.borrow_and_update();
        match feed.take(at, TAKE_BYTES) {
            Taken::Items(items, next) => {
                at = next;
                for item in items {
                    search(&mut reader, &item);
                }
                // The reader is CPU only: let others run between the takes.
                tokio::task::yield_now().await;
            }
            Taken::Wait => {
                // The feed lives as long as we hold it.
                let _ = changes.changed().await;
            }
            // Only a reader that lags behind its own upstream by a whole ring comes here, or one
            // that joined late: it waits for the end and reads again from the start by itself.
            Taken::Behind => match feed.ended() {
                Some(end) => return (reread(hub, source, rule).await, end),
                None => {
                    let _ = changes.changed().await;
                }
            },
            Taken::End(end) => return (reader, end),
        }
    }
}

async fn reread(hub: &Hub, source: &LogSource, rule: &ReaderRule) -> ResultReader {
    use futures::StreamExt;
    let mut fresh = ResultReader::new(rule.clone());
    let Ok(mut stream) = hub.logs().open(source, &LogOptions::default()).await else { return fresh };
    while let Some(Ok(item)) = stream.next().await {
        search(&mut fresh, &item);
    }
    fresh
}

fn search(reader: &mut ResultReader, item: &LogItem) {
    if let LogItem::Piece(piece) = item {
        // The kubelet's own words are not the program's output.
        if !piece.is_unstamped() {
            reader.push(piece.stream, &piece.data);
        }
    }
}

/// Returns once the program has ended and `deadline` has passed since that was seen.
async fn overdue(mut follow: watch::Receiver<Arc<Observed>>, attempt: u32, deadline: Duration) {
    let ended = |observed: &Arc<Observed>| {
        let attempt = observed.facts.attempts.iter().find(|a| a.number == attempt);
        attempt.is_some_and(|a| a.main.terminated().is_some() || a.phase.is_over())
            || observed.run.state == RunState::Finishing
    };
    // The run's being gone ends the feed, and with it the read.
    if follow.wait_for(ended).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(deadline).await;
}

fn result_file(follow: &watch::Receiver<Arc<Observed>>, attempt: u32) -> Vec<u8> {
    let observed = follow.borrow();
    let attempt = observed.facts.attempts.iter().find(|a| a.number == attempt);
    attempt.and_then(|a| a.main.terminated()).map(|t| t.message.clone()).unwrap_or_default()
}
