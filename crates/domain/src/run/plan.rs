//! What to do about a run: idempotent actions, and when to look again.

use std::mem::Discriminant;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use strum::{IntoStaticStr, VariantNames};

use super::derive::{record, shown};
use super::facts::{AttemptFacts, AttemptPhase, MainFacts, RunFacts, Terminated, Unexamined};
use super::failure::{Failure, FailureReason};
use super::record::{Record, fits_inline};
use super::retry::{self, AttemptRecord};
use super::verdict::{Outcome, StartOutlook, Verdict, budget_deadline, look_again, start_deadline, start_outlook};
use crate::result::ResultInfo;
use crate::run::view::{StopCause, StopIntent, shown_duration};

/// One thing to do to a run's objects. Doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// Write the stop intent, unless one is written: the first writer wins.
    WriteStop(StopIntent),
    /// See that nothing of an attempt starts any more whose `run` was not seen to have started: one
    /// patch of its Job (`parallelism: 0` and `activeDeadlineSeconds: 1`), and the Pod's deadline
    /// where there is a Pod. What has started meanwhile is ended as by [`Action::EndStarted`].
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
    /// Write how an attempt ended after which another follows, unless that is written or the run is to stop or recorded.
    WriteAttempt(Box<AttemptRecord>),
    /// Begin an attempt that was announced by the record of the one before, unless it was begun.
    BeginAttempt {
        /// Attempt, from 2.
        attempt: u32,
    },
    /// Write down which Pod's program started first, with the attempt's Job.
    NoteStart {
        /// Attempt, from 1.
        attempt: u32,
        /// Uid of the Pod.
        uid: String,
        /// When.
        start_time: Option<Timestamp>,
    },
    /// See that the Job of an attempt, which was suspended while its program ran, makes no Pod any more, and write down
    /// that it was: in one.
    ClosePreempted {
        /// Attempt, from 1.
        attempt: u32,
        /// Uid of the Pod that ran.
        uid: Option<String>,
        /// When its program started.
        start_time: Option<Timestamp>,
    },
    /// Keep a result that is too large for the record beside it.
    StoreResult {
        /// Compact JSON.
        json: String,
    },
    /// Write the record, unless one is written.
    WriteRecord(Box<Record>),
    /// Report the outcome in the Job's conditions, release our hold and start the retention clock.
    Release {
        /// The record's outcome, for the condition.
        reason: String,
        /// One sentence.
        message: String,
        /// How long the run is kept from now.
        retention: Duration,
        /// How many attempts there were.
        attempts: u32,
    },
    /// Delete the run and everything it is made of.
    Delete,
}

impl Action {
    /// For logs and metrics: without what it holds, which may be a result.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

impl Action {
    /// What distinguishes one action from another that is done again: its kind, and the attempt that it is about.
    #[must_use]
    pub fn key(&self) -> ActionKey {
        let attempt = match self {
            Self::EndUnstarted { attempt }
            | Self::EndStarted { attempt }
            | Self::LowerDeadline { attempt, .. }
            | Self::NoteStart { attempt, .. }
            | Self::ClosePreempted { attempt, .. }
            | Self::BeginAttempt { attempt } => *attempt,
            Self::WriteAttempt(record) => record.attempt.number,
            Self::WriteStop(_)
            | Self::StoreResult { .. }
            | Self::WriteRecord(_)
            | Self::Release { .. }
            | Self::Delete => 0,
        };
        ActionKey(std::mem::discriminant(self), attempt)
    }
}

/// See [`Action::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActionKey(Discriminant<Action>, u32);

/// What to do about a run now, and when to look again although nothing has changed.
pub type RunPlan = crate::reconcile::Plan<Action>;

/// What to do about the run that these facts are of, and of which `verdict` was found in the same look.
#[must_use]
pub fn plan(facts: &RunFacts, verdict: &Verdict, now: Timestamp) -> RunPlan {
    if let Some(unknown) = &facts.unknown {
        return while_unknown(facts, unknown);
    }
    if let Some(record) = &facts.record {
        return after_record(facts, record, now);
    }
    // Before it is concluded that nothing runs any more.
    if let Some(preempted) = facts.present().and_then(|attempt| preemption(facts, attempt)) {
        return RunPlan::of(preempted);
    }
    if let Verdict::Settled(outcome, result) = verdict {
        if let Some(attempt) = facts.present()
            && let Some(record) = retry::next(facts, outcome, shown(attempt, Some(outcome)), now)
        {
            return RunPlan::of(Action::WriteAttempt(Box::new(record)));
        }
        return write_record(facts, outcome, result.as_deref().cloned(), now);
    }
    let Some(attempt) = facts.present() else {
        return facts.settled.last().map_or_else(RunPlan::default, |settled| between_attempts(facts, settled, now));
    };
    let mut plan = match (attempt.main.terminated(), &facts.stop) {
        // What is missing is its cause or its result.
        (Some(end), _) => settle_cause(facts, attempt, end, verdict, now),
        (None, Some(_)) => enforce_stop(attempt),
        (None, None) => watch_clocks(facts, attempt, now),
    };
    // What of earlier attempts came back with its node.
    for earlier in facts.attempts.iter().filter(|earlier| earlier.number < attempt.number) {
        let since = facts.settled.get(earlier.number as usize - 1).map_or(now, |settled| settled.record_time);
        plan = end_rest(facts, earlier, since, now).into_iter().fold(plan, beside);
    }
    if let Some(bound) = look_again(facts, now) {
        plan.wake_at = Some(plan.wake_at.unwrap_or(bound).min(bound));
    }
    plan
}

/// What keeps a Job that was suspended while its program ran from starting it again once it is let go on.
fn preemption(facts: &RunFacts, attempt: &AttemptFacts) -> Option<Action> {
    let runs = attempt.main.started() && !attempt.remembered.ended_untouched;
    let is_taken = runs && (facts.suspended || attempt.is_preempted());
    // A stop has its own way to end what runs, but for a Job that is held back only until its queue lets it go.
    let is_free = facts.stop.is_none() || facts.suspended;
    let is_open = !attempt.closed && !attempt.has_ended() && is_free && facts.deletion_of(attempt).is_none();
    (is_taken && is_open).then(|| Action::ClosePreempted {
        attempt: attempt.number,
        uid: attempt.uid.clone(),
        start_time: attempt.started_at(),
    })
}

/// Only a stop that is known is enforced as long as something that decides is not.
fn while_unknown(facts: &RunFacts, unknown: &Unexamined) -> RunPlan {
    let live = facts.present().filter(|attempt| attempt.main.terminated().is_none() && !unknown.nothing_lives);
    match live.filter(|_| facts.stop.is_some() && facts.record.is_none()) {
        Some(attempt) => enforce_stop(attempt),
        None => RunPlan::default(),
    }
}

fn write_record(facts: &RunFacts, outcome: &Outcome, mut result: Option<ResultInfo>, now: Timestamp) -> RunPlan {
    let mut actions = Vec::new();
    if let Some(found) = result.as_mut().and_then(|info| info.found.as_mut())
        && found.json.as_ref().is_some_and(|json| !fits_inline(json))
    {
        actions.extend(found.json.take().map(|json| Action::StoreResult { json }));
    }
    actions.push(Action::WriteRecord(Box::new(record(facts, outcome, result, now))));
    RunPlan { actions, wake_at: None }
}

/// The Pod's end carries the cause of a doubtful exit; other containers must not keep it from that.
fn settle_cause(
    facts: &RunFacts,
    attempt: &AttemptFacts,
    end: &Terminated,
    verdict: &Verdict,
    now: Timestamp,
) -> RunPlan {
    let keeps_on = attempt.others_running && !attempt.phase.is_over() && attempt.deleted_at.is_none();
    if !keeps_on || verdict.result_is_due() {
        return RunPlan::default();
    }
    match end.finished_at {
        Some(finished) if facts.stop.is_none() => end_others(facts, attempt, finished, now),
        _ => RunPlan::of(Action::EndStarted { attempt: attempt.number }),
    }
}

/// Ends what outlives `run`, a grace after `since`.
fn end_others(facts: &RunFacts, attempt: &AttemptFacts, since: Timestamp, now: Timestamp) -> RunPlan {
    let grace = SignedDuration::try_from(facts.submission.effective.termination_grace).unwrap_or(SignedDuration::MAX);
    match since.checked_add(grace) {
        Ok(due) if now < due => RunPlan::wake(due),
        _ => RunPlan::of(Action::EndStarted { attempt: attempt.number }),
    }
}

/// The record is durable: end what outlives `run`, see that nothing runs again, and let go once the
/// Job has ended, or never will.
fn after_record(facts: &RunFacts, record: &Record, now: Timestamp) -> RunPlan {
    let ended = facts.attempts.iter().all(AttemptFacts::has_ended);
    // A node that is lost may never say that its Job has ended.
    let last = facts.last_attempt().map_or(1, |attempt| attempt.number);
    // Nor does that of an earlier attempt that a queue took back.
    let is_put_away = |attempt: &AttemptFacts| attempt.number < last && attempt.closed && attempt.is_over();
    let is_done = |attempt: &AttemptFacts| attempt.has_ended() || is_out_of_reach(attempt) || is_put_away(attempt);
    let is_left = facts.attempts.iter().all(is_done);
    if !ended && facts.deleted_at.is_none() {
        let rests = facts.attempts.iter().filter_map(|attempt| end_rest(facts, attempt, record.record_time, now));
        if let Some(plan) = rests.reduce(beside) {
            return plan;
        }
    }
    let is_live = facts.attempts.iter().any(AttemptFacts::is_live);
    match facts.expire_time.filter(|_| facts.released) {
        // A TTL takes the rest. It never acts on a Job that did not finish.
        Some(_) if ended || facts.deleted_at.is_some() => RunPlan::default(),
        Some(expire_time) if now < expire_time => RunPlan::wake(expire_time),
        Some(_) => RunPlan::of(Action::Delete),
        None if is_left || facts.deleted_at.is_some() || (facts.suspended && !is_live) => release(facts, record),
        None => RunPlan::default(),
    }
}

/// Both: what the first plan has to do comes first, since the rest is left once something can't be done.
fn beside(mut plan: RunPlan, other: RunPlan) -> RunPlan {
    plan.actions.extend(other.actions);
    plan.wake_at = plan.wake_at.into_iter().chain(other.wake_at).min();
    plan
}

/// What is to be done about an attempt whose end was written at `since`, so that its Job ends; `None`: nothing.
fn end_rest(facts: &RunFacts, attempt: &AttemptFacts, since: Timestamp, now: Timestamp) -> Option<RunPlan> {
    if attempt.has_ended() {
        return None;
    }
    if attempt.others_running && attempt.main.terminated().is_some() {
        return Some(end_others(facts, attempt, since, now));
    }
    // Its queue may let it go on, or its Pod was not seen, or starts late.
    let plan = match attempt.main.terminated() {
        None => enforce_stop(attempt),
        Some(_) if attempt.deleted_at.is_some() || attempt.phase == AttemptPhase::Gone => close(attempt),
        Some(_) => RunPlan::default(),
    };
    Some(plan).filter(|plan| !plan.actions.is_empty())
}

/// One attempt is settled, and the next is announced: it begins once nothing of the other is left and its pause is over.
fn between_attempts(facts: &RunFacts, settled: &AttemptRecord, now: Timestamp) -> RunPlan {
    if let Some(time) = facts.deleted_at {
        return RunPlan::of(Action::WriteStop(deleted_outside(time)));
    }
    if let Some(plan) = total_clock(facts, now) {
        return plan;
    }
    if let Some(attempt) = retry::unended(facts, settled) {
        // Without a further change its Job says that it ended.
        let plan = end_rest(facts, attempt, settled.record_time, now).unwrap_or_default();
        return until_total_clock(facts, plan);
    }
    // What is lost with its node is not waited for, but ended there once the node is back.
    let lost = facts.attempt(settled.attempt.number).and_then(|lost| end_rest(facts, lost, settled.record_time, now));
    let lost = lost.unwrap_or_default();
    if now < settled.not_before {
        return until_total_clock(facts, beside(lost, RunPlan::wake(settled.not_before)));
    }
    let attempt = facts.present_number();
    // A daemon that was away tries first.
    if let Some(trouble) = facts.trouble.as_ref().filter(|_| now >= start_due(facts)) {
        let timeout = shown_duration(facts.submission.effective.start_timeout);
        let message = format!("attempt {attempt} did not begin within its start_timeout of {timeout}: {trouble}");
        return stop_for(StopCause::StartDeadline, Failure::new(FailureReason::StartDeadline, message), now);
    }
    beside(RunPlan::of(Action::BeginAttempt { attempt }), lost)
}

/// What is done once `total_timeout` has passed.
fn total_clock(facts: &RunFacts, now: Timestamp) -> Option<RunPlan> {
    let timeout = facts.submission.effective.total_timeout?;
    retry::total_due(facts).filter(|due| now >= *due)?;
    let message = format!("the run did not end within its total_timeout of {}", shown_duration(timeout));
    Some(stop_for(StopCause::TotalDeadline, Failure::new(FailureReason::TotalDeadline, message), now))
}

/// The plan, and a look when `total_timeout` passes.
fn until_total_clock(facts: &RunFacts, mut plan: RunPlan) -> RunPlan {
    if let Some(due) = retry::total_due(facts) {
        plan.wake_at = Some(plan.wake_at.unwrap_or(due).min(due));
    }
    plan
}

fn release(facts: &RunFacts, record: &Record) -> RunPlan {
    let reason = record.failure.as_ref().map_or_else(|| record.state.as_str(), |f| f.reason.as_str());
    RunPlan::of(Action::Release {
        reason: reason.to_owned(),
        message: record.message.clone(),
        retention: facts.submission.effective.retention,
        attempts: attempts_of(facts, record),
    })
}

/// The highest number of an attempt. A record may leave the earliest ones out, and one that began just before a stop may have
/// come after it was made.
fn attempts_of(facts: &RunFacts, record: &Record) -> u32 {
    let recorded = record.attempts.iter().map(|attempt| attempt.number);
    recorded.chain(facts.attempts.iter().map(|attempt| attempt.number)).max().unwrap_or(1)
}

/// What is done once the intent is written: the stop table (docs/architecture.md, "Stops").
fn enforce_stop(attempt: &AttemptFacts) -> RunPlan {
    if !attempt.main.started() || attempt.phase == AttemptPhase::Gone {
        return close(attempt);
    }
    if attempt.deleted_at.is_some() || attempt.phase.is_over() || is_out_of_reach(attempt) {
        return RunPlan::default();
    }
    RunPlan::of(Action::EndStarted { attempt: attempt.number })
}

/// Whether its node does not report, and ends the program as soon as it does.
fn is_out_of_reach(attempt: &AttemptFacts) -> bool {
    let is_ordered = attempt.deadline.is_some_and(|deadline| deadline <= Duration::from_secs(1));
    attempt.is_silent() && (is_ordered || attempt.deleted_at.is_some())
}

/// Sees that the Job makes no Pod, and that one that is there starts nothing.
fn close(attempt: &AttemptFacts) -> RunPlan {
    let is_going = attempt.deleted_at.is_some();
    let nothing_starts = attempt.closed && (!attempt.is_live() || is_going);
    // A Pod that is over ends its Job, unless it was taken from it.
    let ends_by_itself = matches!(attempt.phase, AttemptPhase::Succeeded | AttemptPhase::Failed) && !is_going;
    if nothing_starts || ends_by_itself || attempt.has_ended() {
        return RunPlan::default();
    }
    RunPlan::of(Action::EndUnstarted { attempt: attempt.number })
}

fn deleted_outside(time: Timestamp) -> StopIntent {
    StopIntent {
        cause: StopCause::External,
        reason: "its Job was deleted".to_owned(),
        actor: "external".to_owned(),
        request_time: time,
        failure: None,
        failure_class: None,
    }
}

fn watch_clocks(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> RunPlan {
    if let Some(time) = facts.deletion_of(attempt) {
        return RunPlan::of(Action::WriteStop(deleted_outside(time)));
    }
    total_clock(facts, now).unwrap_or_else(|| until_total_clock(facts, watch_attempt(facts, attempt, now)))
}

fn watch_attempt(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> RunPlan {
    if facts.suspended && !attempt.main.started() {
        return watch_queue(facts, now);
    }
    // Nor does a clock run while the Job of a Pod that is gone has yet to say why.
    if facts.suspended || attempt.phase == AttemptPhase::Gone {
        return RunPlan::default();
    }
    if attempt.main.started() {
        let live = attempt.is_live() && attempt.deleted_at.is_none();
        // What is first is done whatever becomes of the rest.
        let actions = lower_deadline(facts, attempt).into_iter().chain(note_start(attempt));
        return RunPlan { actions: actions.filter(|_| live).collect(), wake_at: None };
    }
    // Nothing starts in a Pod that is over; what its Job says of it is waited for.
    if attempt.phase.is_over() {
        return RunPlan::default();
    }
    let start_due = start_due(facts);
    if now >= start_due {
        return stop_for(StopCause::StartDeadline, start_deadline(facts, attempt), now);
    }
    match start_outlook(attempt, now) {
        StartOutlook::Open => RunPlan::wake(start_due),
        StartOutlook::GivenUpAt(due) => RunPlan::wake(due.min(start_due)),
        StartOutlook::GivenUp(failure) => stop_for(StopCause::StartFailure, failure, now),
    }
}

/// When `start_timeout` passes.
fn start_due(facts: &RunFacts) -> Timestamp {
    let timeout = SignedDuration::try_from(facts.submission.effective.start_timeout).unwrap_or(SignedDuration::MAX);
    facts.began_at().checked_add(timeout).unwrap_or(Timestamp::MAX)
}

/// In a queue no clock runs but the one that is set for it.
fn watch_queue(facts: &RunFacts, now: Timestamp) -> RunPlan {
    let Some(queue_timeout) = facts.submission.spec.queue_timeout else { return RunPlan::default() };
    let timeout = SignedDuration::try_from(queue_timeout).unwrap_or(SignedDuration::MAX);
    let due = facts.began_at().checked_add(timeout).unwrap_or(Timestamp::MAX);
    if now < due {
        return RunPlan::wake(due);
    }
    let message = format!("the run waited in its queue for its queue_timeout of {}", shown_duration(queue_timeout));
    stop_for(StopCause::QueueDeadline, Failure::new(FailureReason::QueueDeadline, message), now)
}

fn stop_for(cause: StopCause, failure: Failure, now: Timestamp) -> RunPlan {
    RunPlan::of(Action::WriteStop(StopIntent {
        cause,
        reason: failure.message,
        actor: "longshore".to_owned(),
        request_time: now,
        failure: Some(failure.reason),
        failure_class: Some(failure.failure_class).filter(|class| *class != failure.reason.class()),
    }))
}

/// Which Pod of a Job in a queue started first: the Job may be suspended and let go on while nobody looks.
fn note_start(attempt: &AttemptFacts) -> Option<Action> {
    let uid = attempt.uid.clone().filter(|_| attempt.in_queue && !attempt.start_noted)?;
    Some(Action::NoteStart { attempt: attempt.number, uid, start_time: attempt.started_at() })
}

/// The Pod's deadline, lowered to what is left of the run budget once `run` has started, so that
/// the kubelet ends it even if the daemon is down.
fn lower_deadline(facts: &RunFacts, attempt: &AttemptFacts) -> Option<Action> {
    let MainFacts::Running { .. } = attempt.main else {
        return None;
    };
    let (present, node_time, started) = (attempt.deadline?, attempt.node_time?, attempt.started_at()?);
    let wanted = budget_deadline(facts, node_time, started);
    (wanted < present && !wanted.is_zero())
        .then_some(Action::LowerDeadline { attempt: attempt.number, deadline: wanted })
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
