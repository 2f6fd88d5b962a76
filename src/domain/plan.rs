//! What to do about a run: idempotent actions, and when to look again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::derive::{Outcome, budget_deadline, conclude, hopeless, record, settle, start_deadline, started_at};
use super::facts::{AttemptFacts, AttemptPhase, MainFacts, RunFacts, Terminated};
use super::record::{Record, fits_inline};
use super::result::ResultInfo;
use super::run::{StopCause, StopIntent};

/// How long an image that its registry refuses may still turn up before the run is given up.
pub const PULL_PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// One thing to do to a run's objects. Doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write the stop intent, unless one is written: the first writer wins.
    WriteStop(StopIntent),
    /// End an attempt whose `run` never started (Job `activeDeadlineSeconds: 1`).
    EndUnstarted {
        /// Attempt, from 1.
        attempt: u32,
    },
    /// End an attempt whose `run` started (Pod `activeDeadlineSeconds: 1`): SIGTERM, grace, KILL;
    /// exit code and log stay.
    EndStarted {
        /// Attempt, from 1.
        attempt: u32,
    },
    /// Lower the deadline of a running attempt to this, counted from `node_time`.
    LowerDeadline {
        /// Attempt, from 1.
        attempt: u32,
        /// Whole seconds, at least 1.
        deadline: Duration,
    },
    /// Keep a result that is too large for the record beside it.
    StoreResult {
        /// Compact JSON.
        json: String,
    },
    /// Write the record, unless one is written.
    WriteRecord(Box<Record>),
    /// Tell the outcome in the Job's conditions, let go of our hold and start the retention clock.
    Release {
        /// The record's outcome, for the condition.
        reason: String,
        /// One sentence.
        message: String,
        /// How long the run is kept from now.
        retention: Duration,
    },
    /// Delete the run and everything it is made of.
    Delete,
}

/// What to do now, and when to look again although nothing has changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// `None`: only when something changes.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn of(action: Action) -> Self {
        Self { actions: vec![action], wake_at: None }
    }

    fn wake(at: Timestamp) -> Self {
        Self { actions: Vec::new(), wake_at: Some(at) }
    }
}

/// What to do about the run that these facts are of.
#[must_use]
pub fn plan(facts: &RunFacts, now: Timestamp) -> Plan {
    if let Some(record) = &facts.record {
        return after_record(facts, record, now);
    }
    if let Some((outcome, result)) = settle(facts) {
        return write_record(facts, &outcome, result, now);
    }
    let Some(attempt) = facts.last_attempt() else {
        return Plan::default();
    };
    if let Some(end) = attempt.main.terminated() {
        // What is missing is its cause or its result.
        return settle_cause(facts, attempt, end, now);
    }
    match &facts.stop {
        Some(_) => enforce_stop(attempt),
        None => watch_clocks(facts, attempt, now),
    }
}

fn write_record(facts: &RunFacts, outcome: &Outcome, mut result: Option<ResultInfo>, now: Timestamp) -> Plan {
    let mut actions = Vec::new();
    if let Some(found) = result.as_mut().and_then(|info| info.found.as_mut())
        && found.json.as_ref().is_some_and(|json| !fits_inline(json))
    {
        actions.extend(found.json.take().map(|json| Action::StoreResult { json }));
    }
    actions.push(Action::WriteRecord(Box::new(record(facts, outcome, result, now))));
    Plan { actions, wake_at: None }
}

/// The Pod's end tells the cause of a doubtful exit; other containers must not keep it from that.
fn settle_cause(facts: &RunFacts, attempt: &AttemptFacts, end: &Terminated, now: Timestamp) -> Plan {
    let keeps_on = attempt.others_running && !attempt.phase.is_over() && attempt.deleted_at.is_none();
    if !keeps_on || conclude(facts).is_some() {
        return Plan::default();
    }
    match end.finished_at {
        Some(finished) if facts.stop.is_none() => end_others(facts, attempt, finished, now),
        _ => Plan::of(Action::EndStarted { attempt: attempt.number }),
    }
}

/// Ends what outlives `run`, a grace after `since`.
fn end_others(facts: &RunFacts, attempt: &AttemptFacts, since: Timestamp, now: Timestamp) -> Plan {
    let grace = SignedDuration::try_from(facts.submission.effective.termination_grace).unwrap_or(SignedDuration::MAX);
    match since.checked_add(grace) {
        Ok(due) if now < due => Plan::wake(due),
        _ => Plan::of(Action::EndStarted { attempt: attempt.number }),
    }
}

/// The record is durable: end what outlives `run`, and let go once the Job has ended.
fn after_record(facts: &RunFacts, record: &Record, now: Timestamp) -> Plan {
    if facts.released {
        return Plan::default();
    }
    let effective = &facts.submission.effective;
    let attempt = facts.last_attempt();
    let ended = attempt.is_some_and(|a| a.job_end.as_ref().is_some_and(|end| end.final_));
    if ended || facts.deleted_at.is_some() {
        let reason = record.failure.as_ref().map_or_else(|| record.state.as_str(), |f| f.reason.as_str());
        return Plan::of(Action::Release {
            reason: reason.to_owned(),
            message: record.message.clone(),
            retention: effective.retention,
        });
    }
    match attempt {
        // A Job that is held back and has no Pod never ends, so nothing would ever let go of it.
        Some(attempt) if facts.suspended && matches!(attempt.phase, AttemptPhase::Absent | AttemptPhase::Gone) => {
            Plan::of(Action::Delete)
        }
        Some(attempt) if attempt.others_running && attempt.main.terminated().is_some() => {
            end_others(facts, attempt, record.record_time, now)
        }
        // It was let go of by its queue, or its Pod was not seen, when the stop was recorded.
        Some(attempt) if facts.stop.is_some() && attempt.main.terminated().is_none() => enforce_stop(attempt),
        _ => Plan::default(),
    }
}

/// DESIGN §4's stop table: what is done once the intent is written.
fn enforce_stop(attempt: &AttemptFacts) -> Plan {
    if attempt.deleted_at.is_some() || attempt.phase.is_over() {
        return Plan::default();
    }
    if attempt.main.started() {
        Plan::of(Action::EndStarted { attempt: attempt.number })
    } else {
        Plan::of(Action::EndUnstarted { attempt: attempt.number })
    }
}

fn watch_clocks(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> Plan {
    if let Some(time) = facts.deleted_at {
        return Plan::of(Action::WriteStop(StopIntent {
            cause: StopCause::External,
            reason: "its Job was deleted".to_owned(),
            actor: "external".to_owned(),
            request_time: time,
            failure: None,
        }));
    }
    // No clock of ours runs in a queue, nor while the Job of a Pod that is gone has yet to say why.
    if facts.suspended || attempt.phase == AttemptPhase::Gone {
        return Plan::default();
    }
    if attempt.main.started() {
        return lower_deadline(facts, attempt).map_or_else(Plan::default, Plan::of);
    }
    let timeout = SignedDuration::try_from(facts.submission.effective.start_timeout).unwrap_or(SignedDuration::MAX);
    let start_due = facts.submission.create_time.checked_add(timeout).unwrap_or(Timestamp::MAX);
    if now >= start_due {
        return stop_for(StopCause::StartDeadline, start_deadline(facts, attempt), now);
    }
    match hopeless(attempt, now, PULL_PATIENCE) {
        Some(Ok(failure)) => stop_for(StopCause::StartFailure, failure, now),
        Some(Err(due)) => Plan::wake(due.min(start_due)),
        None => Plan::wake(start_due),
    }
}

fn stop_for(cause: StopCause, failure: super::failure::Failure, now: Timestamp) -> Plan {
    Plan::of(Action::WriteStop(StopIntent {
        cause,
        reason: failure.message,
        actor: "longshore".to_owned(),
        request_time: now,
        failure: Some(failure.reason),
    }))
}

/// The Pod's deadline, lowered to what is left of the run budget once `run` has started, so that
/// the kubelet ends it even if the daemon is down.
fn lower_deadline(facts: &RunFacts, attempt: &AttemptFacts) -> Option<Action> {
    let MainFacts::Running { .. } = attempt.main else {
        return None;
    };
    let (present, node_time, started) = (attempt.deadline?, attempt.node_time?, started_at(attempt)?);
    let wanted = budget_deadline(facts, node_time, started);
    (wanted < present && !wanted.is_zero())
        .then_some(Action::LowerDeadline { attempt: attempt.number, deadline: wanted })
}

#[cfg(test)]
mod tests;
