//! `derive(&RunFacts, &Verdict, now) -> Run`: what is reported of a run is a pure function of what is
//! observed.
//!
//! How it ended, and the words that are reported while it has not, are found below, in
//! [`super::verdict`].

use jiff::Timestamp;

use super::facts::{AttemptFacts, RunFacts, Terminated};
use super::record::Record;
use super::retry::{self, AttemptRecord, RetryBudget};
use super::settled::VERSION;
use super::spec::ResultMode;
use super::verdict::{Outcome, Verdict, explain, signal};
use crate::result::ResultInfo;
use crate::run::view::{Attempt, Run, RunState, Timeline, shown_duration};

/// The word for a run that waits for its next attempt.
const RETRY_BACKOFF: &str = "RETRY_BACKOFF";

/// What is reported of the run that these facts are of, and of which `verdict` was found in the same look. `now` is
/// used for the time spent waiting.
///
/// A run is terminal only once its record stands: what is concluded without one can still be
/// concluded otherwise, after a crash or by another server, and the first record decides.
#[must_use]
pub fn derive(facts: &RunFacts, verdict: &Verdict, now: Timestamp) -> Run {
    if let Some(record) = &facts.record {
        return from_record(facts, record);
    }
    let mut run = from_observation(facts, verdict, now);
    // What an operator has to know first.
    for note in [&facts.trouble, &facts.damage].into_iter().flatten() {
        run.message = format!("{note}; {}", run.message);
    }
    if let Some(unknown) = &facts.unknown {
        run.message = format!("last known state, since this can't be read: {}; {}", unknown.why, run.message);
    }
    run
}

/// The record of a run that is settled.
#[must_use]
pub fn record(facts: &RunFacts, outcome: &Outcome, result: Option<ResultInfo>, now: Timestamp) -> Record {
    Record {
        version: super::record::RECORD_VERSION,
        state: outcome.state,
        failure: outcome.failure.clone(),
        stop: facts.stop.clone(),
        message: outcome.message.clone(),
        timeline: timeline(facts, Some(outcome), Some(now)),
        attempts: attempts(facts, Some(outcome)),
        result,
        record_time: now,
    }
}

fn from_record(facts: &RunFacts, record: &Record) -> Run {
    let last = record.attempts.last();
    Run {
        state: record.state,
        waiting_reason: None,
        message: record.message.clone(),
        timeline: record.timeline.clone(),
        attempts: record.attempts.clone(),
        failure: record.failure.clone(),
        result: record.result.clone(),
        exit_code: last.and_then(|a| a.exit_code),
        stop: record.stop.clone(),
        expire_time: facts.expire_time,
        ..skeleton(facts)
    }
}

fn from_observation(facts: &RunFacts, verdict: &Verdict, now: Timestamp) -> Run {
    let (outcome, message) = match verdict {
        Verdict::Recorded | Verdict::Open => return live(facts, now),
        Verdict::Ended(outcome) => (outcome, "the program has ended; its result is being read"),
        Verdict::Settled(outcome, _) if outcome.ran => {
            (outcome, "the program has ended; its outcome is being recorded")
        }
        Verdict::Settled(outcome, _) => (outcome, "nothing of it is running; its outcome is being recorded"),
    };
    let result = (facts.submission.effective.result.mode != ResultMode::None).then(ResultInfo::pending);
    Run {
        state: RunState::Finishing,
        message: message.to_owned(),
        timeline: timeline(facts, Some(outcome), None),
        attempts: attempts(facts, None),
        result,
        exit_code: outcome.exit_code,
        stop: facts.stop.clone(),
        ..skeleton(facts)
    }
}

fn live(facts: &RunFacts, now: Timestamp) -> Run {
    let base = skeleton(facts);
    let attempt = facts.present();
    let (state, word, message) = match (attempt, facts.settled.last()) {
        (None, None) => (RunState::Pending, None, "not created yet".to_owned()),
        (None, Some(settled)) => between_attempts(facts, settled, now),
        (Some(attempt), None) => explain(facts, attempt, now),
        (Some(attempt), Some(_)) => {
            let (state, word, message) = explain(facts, attempt, now);
            (state, word, format!("attempt {}: {message}", attempt.number))
        }
    };
    let result = (facts.submission.effective.result.mode != ResultMode::None).then(ResultInfo::pending);
    let ended = attempt.filter(|a| a.main.started()).and_then(|a| a.main.terminated());
    Run {
        state,
        waiting_reason: word,
        message,
        timeline: timeline(facts, None, None),
        attempts: attempts(facts, None),
        result,
        exit_code: ended.and_then(Terminated::code),
        stop: facts.stop.clone(),
        retry_time: facts.settled.last().filter(|_| attempt.is_none()).map(|settled| settled.not_before),
        ..base
    }
}

/// While the next attempt is announced and not begun.
fn between_attempts(facts: &RunFacts, settled: &AttemptRecord, now: Timestamp) -> (RunState, Option<String>, String) {
    let number = settled.attempt.number;
    let why = settled.attempt.failure.as_ref().map_or("no cause is known", |failure| failure.message.as_str());
    if facts.stop.is_some() || facts.deleted_at.is_some() {
        return (RunState::Cancelling, None, format!("stopping after attempt {number}: {why}"));
    }
    let left = settled.not_before.duration_since(now);
    let when = match std::time::Duration::try_from(left) {
        Ok(left) if left.as_secs() > 0 => format!("begins in {}", shown_duration(left)),
        _ => match retry::unended(facts, settled) {
            Some(attempt) => format!("begins once the Job {} has ended", attempt.job),
            None => "begins now".to_owned(),
        },
    };
    let message = format!("attempt {number} failed: {why}; attempt {} {when}", number.saturating_add(1));
    (RunState::Pending, Some(RETRY_BACKOFF.to_owned()), message)
}

/// What stands for the record of attempt `number` where that is lost although another was begun after it, at `begun`: what
/// is seen of it, without its failure. A run that was damaged so is not tried again ([`retry::next`]), whatever this is charged to.
#[must_use]
pub fn presumed(number: u32, attempt: Option<&AttemptFacts>, begun: Timestamp) -> AttemptRecord {
    let blank = AttemptFacts::blank(number, String::new());
    let attempt = shown(attempt.unwrap_or(&blank), None);
    AttemptRecord { version: VERSION, attempt, budget: RetryBudget::Program, not_before: begun, record_time: begun }
}

/// What does not depend on where the run stands.
fn skeleton(facts: &RunFacts) -> Run {
    let submission = &facts.submission;
    Run {
        name: facts.name.clone(),
        uid: facts.uid.clone(),
        spec: submission.spec.clone(),
        effective: submission.effective.clone(),
        state: RunState::Pending,
        waiting_reason: None,
        message: String::new(),
        timeline: Timeline::default(),
        attempts: Vec::new(),
        failure: None,
        result: None,
        exit_code: None,
        stop: None,
        submitter: submission.submitter.clone(),
        payload_digest: submission.digest.sha256.clone(),
        expire_time: None,
        delete_time: facts.deleted_at,
        retry_time: None,
    }
}

fn timeline(facts: &RunFacts, outcome: Option<&Outcome>, end_time: Option<Timestamp>) -> Timeline {
    // Of a run that ended between two attempts the last one's times are all there are.
    let attempt = facts.present().or_else(|| end_time.and_then(|_| facts.last_attempt()));
    let started = attempt.and_then(AttemptFacts::started_at);
    let finished = attempt.and_then(|a| a.main.terminated()).filter(|_| attempt.is_some_and(|a| a.main.started()));
    Timeline {
        create_time: Some(facts.submission.create_time),
        admit_time: facts.admitted_at,
        schedule_time: attempt.and_then(|a| a.schedule_time),
        start_time: started,
        finish_time: outcome.and_then(|o| o.finish_time).or_else(|| finished.and_then(|t| t.finished_at)),
        end_time,
    }
}

/// Those that are settled as they were recorded, and the present one.
fn attempts(facts: &RunFacts, outcome: Option<&Outcome>) -> Vec<Attempt> {
    let settled = facts.settled.iter().map(|settled| settled.attempt.clone());
    let present = facts.present_number();
    let others = facts.attempts.iter().filter(|attempt| attempt.number >= present);
    settled.chain(others.map(|attempt| shown(attempt, outcome.filter(|_| attempt.number == present)))).collect()
}

/// An attempt as it is shown; with `outcome`, as it ended.
pub(super) fn shown(attempt: &AttemptFacts, outcome: Option<&Outcome>) -> Attempt {
    let end = attempt.main.terminated().filter(|_| attempt.main.started());
    Attempt {
        number: attempt.number,
        uid: attempt.uid.clone(),
        job: attempt.job.clone(),
        pod: attempt.pod.clone(),
        node: attempt.node.clone(),
        create_time: attempt.create_time,
        start_time: attempt.started_at(),
        finish_time: end.and_then(|t| t.finished_at),
        exit_code: match end {
            Some(end) => end.code(),
            // A Job that is complete has an exit code though its Pod is gone.
            None => outcome.and_then(|o| o.exit_code),
        },
        signal: end.and_then(signal),
        failure: outcome.and_then(|o| o.failure.clone()),
        unseen: attempt.unseen && !attempt.main.started(),
        further_uids: attempt.further_uids.clone(),
        evidence: attempt.evidence.clone(),
    }
}

#[cfg(test)]
mod tests;
