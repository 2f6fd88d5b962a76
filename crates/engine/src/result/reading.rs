//! Reading results: a subscriber of the hub like any other, that feeds the result reader.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::contracts::Contracts;
use super::output::{ReadOutput, conclude};
use crate::log::{Chunk, Feed, FeedEnd, FeedRead, Hub, source_of};
use crate::metrics::LogReader;
use crate::observed::ObservedRun;
use longshore_backend::{LogItem, LogSource};
use longshore_domain::name::RunName;
use longshore_domain::result::reader::{MAX_DEPTH, ReaderRule};
use longshore_domain::result::{Checked, ResultOutcome};
use longshore_domain::run::facts::RunFacts;
use longshore_domain::run::rules::Rules;
use longshore_domain::run::verdict::conclude as conclude_run;
use longshore_runtime::task;

/// Bytes taken from the ring at once.
const TAKE_BYTES: usize = 256 * 1024;
/// Bytes that are read before others have a turn: some milliseconds at the worst.
const TURN_BYTES: usize = 8 * 1024;

/// Whose result is read.
#[derive(Debug)]
pub(crate) struct ReadRequest {
    name: RunName,
    attempt: u32,
    source: Option<LogSource>,
    rule: ReaderRule,
    profile: Option<String>,
}

impl ReadRequest {
    pub(crate) fn of(facts: &RunFacts) -> Self {
        let submission = &facts.submission;
        let attempt = facts.present_number();
        Self {
            name: facts.name.clone(),
            attempt,
            source: source_of(facts, attempt),
            rule: ReaderRule {
                scan: submission.effective.result.scan,
                marker: submission.result_marker.clone(),
                max_bytes: 0,
                max_depth: MAX_DEPTH,
                dialects: submission.effective.result.dialect.into(),
            },
            profile: submission.spec.profile().map(str::to_owned),
        }
    }
}

/// Reads results.
#[derive(Debug)]
pub(crate) struct Reading {
    hub: Hub,
    deadline: Duration,
    max_bytes: usize,
    contracts: Contracts,
}

impl Reading {
    pub(crate) fn new(hub: Hub, deadline: Duration, rules: &Rules) -> Self {
        let contracts = Contracts::new(&rules.profiles, deadline);
        Self { hub, deadline, max_bytes: rules.limits.max_result_bytes, contracts }
    }

    /// Reads the output to its end, in a task of its own, and checks what was found.
    pub(crate) fn read(
        &self,
        request: ReadRequest,
        follow: watch::Receiver<Arc<ObservedRun>>,
    ) -> impl Future<Output = Checked> + Send + 'static {
        let (hub, deadline, contracts) = (self.hub.clone(), self.deadline, self.contracts.clone());
        let ReadRequest { name, attempt, source, rule, profile } = request;
        let rule = ReaderRule { max_bytes: self.max_bytes, ..rule };
        let reader = task::spawn("result-reader", async move {
            let outcome = match source {
                Some(source) => read(&hub, &source, &rule, follow, deadline).await,
                None => {
                    let why = Err("the attempt left no output to read".to_owned());
                    conclude(&rule, why, &result_file(&follow, attempt))
                }
            };
            contracts.check(profile.as_deref(), outcome).await
        });
        async move {
            // A fault of the reader must not leave the run unsettled for ever.
            reader.await.unwrap_or_else(|fault| {
                tracing::error!(run = %name, %fault, "the result reader failed");
                ResultOutcome::Unavailable("the result reader failed".to_owned()).into()
            })
        }
    }
}

pub(super) async fn read(
    hub: &Hub,
    source: &LogSource,
    rule: &ReaderRule,
    follow: watch::Receiver<Arc<ObservedRun>>,
    deadline: Duration,
) -> ResultOutcome {
    let feed = hub.feed(source, follow.clone());
    let read = tokio::select! {
        read = read_all(hub, &feed, source, rule, &follow) => read,
        () = overdue(follow.clone(), source.attempt, deadline) => {
            Err(format!("its output could not be read within {} s of its end", deadline.as_secs()))
        }
    };
    conclude(rule, read, &result_file(&follow, source.attempt))
}

/// Reads the output to its end; `Err` says why that can't be done.
async fn read_all(
    hub: &Hub,
    feed: &Arc<Feed>,
    source: &LogSource,
    rule: &ReaderRule,
    follow: &watch::Receiver<Arc<ObservedRun>>,
) -> Result<ReadOutput, String> {
    let mut output = ReadOutput::new(rule);
    let mut changes = feed.changes();
    let mut at = 0;
    loop {
        changes.borrow_and_update();
        match feed.take(at, TAKE_BYTES) {
            FeedRead::Items(items, next) => {
                at = next;
                take_all(&mut output, &items).await;
            }
            FeedRead::Wait => {
                // The feed lives as long as we hold it.
                let _ = changes.changed().await;
            }
            // Only a reader that lags behind its own upstream by a whole ring comes here, or one
            // that joined late: it reads on by itself.
            FeedRead::Behind => match read_beside(hub, feed, source, follow, &mut output).await? {
                Some(place) => at = place,
                None => return Ok(output),
            },
            FeedRead::End(FeedEnd::Complete(_)) => return Ok(output),
            // What was found is the last object only if nothing came after it.
            FeedRead::End(FeedEnd::Lost(why)) => return Err(why),
        }
    }
}

/// The reader is CPU only, and of what looks like the beginning of many objects it takes its time: others run in
/// between, every [`TURN_BYTES`].
async fn take_all(output: &mut ReadOutput, items: &[LogItem]) {
    let mut taken = 0;
    for item in items {
        output.take(item);
        taken += match item {
            LogItem::Piece(piece) => piece.data.len(),
            LogItem::Gap(_) => 0,
        };
        if taken >= TURN_BYTES {
            taken = 0;
            tokio::task::yield_now().await;
        }
    }
    tokio::task::yield_now().await;
}

/// Reads on where `output` stands, until the feed is reached, and answers its place there; `None`: the
/// output has ended before.
async fn read_beside(
    hub: &Hub,
    feed: &Feed,
    source: &LogSource,
    follow: &watch::Receiver<Arc<ObservedRun>>,
    output: &mut ReadOutput,
) -> Result<Option<u64>, String> {
    let mut chunks = hub.read(source, follow.clone(), output.position, LogReader::Result);
    loop {
        match chunks.recv().await {
            Some(Chunk::Items(items)) => {
                take_all(output, &items).await;
                if let Some(place) = output.position.and_then(|position| feed.place_after(Some(&position))) {
                    return Ok(Some(place));
                }
            }
            Some(Chunk::End(FeedEnd::Complete(_))) => return Ok(None),
            Some(Chunk::End(FeedEnd::Lost(why))) => return Err(why),
            None => return Err("the reader of its output failed".to_owned()),
        }
    }
}

/// Returns once the program has ended and `deadline` has passed since that was seen.
async fn overdue(mut follow: watch::Receiver<Arc<ObservedRun>>, attempt: u32, deadline: Duration) {
    let ended = |observed: &Arc<ObservedRun>| {
        let attempt = observed.facts.attempt(attempt);
        // Not by its Pod's phase, nor by the state: a program may go on for its grace in both.
        attempt.is_some_and(|a| a.main.terminated().is_some())
            || conclude_run(&observed.facts, Timestamp::now()).is_some()
    };
    loop {
        // The run's being gone ends the feed, and with it the read.
        if follow.wait_for(ended).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(deadline).await;
        // A node that was taken for lost may report again.
        if ended(&follow.borrow()) {
            return;
        }
    }
}

fn result_file(follow: &watch::Receiver<Arc<ObservedRun>>, attempt: u32) -> Vec<u8> {
    let observed = follow.borrow();
    let attempt = observed.facts.attempt(attempt);
    attempt.and_then(|a| a.main.terminated()).map(|t| t.message.clone()).unwrap_or_default()
}
