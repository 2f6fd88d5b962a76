//! `derive(&RunFacts, now) -> Run`: what is told of a run is a pure function of what is observed.
//!
//! How the end of an attempt is concluded stands in [`outcome`]; the words that are told while it
//! has not ended in [`waiting`].

use jiff::Timestamp;

use super::facts::{AttemptFacts, MainFacts, RunFacts, Terminated};
use super::failure::{Failure, FailureReason};
use super::record::Record;
use super::result::{Reported, ResultInfo, ResultOutcome, ResultState};
use super::run::{Attempt, Run, RunState, Timeline, shown_duration};
use super::spec::ResultMode;

mod deadline;
mod due;
mod outcome;
mod platform;
mod responsible;
mod waiting;

pub use deadline::WHOLE_SECOND;
pub(crate) use deadline::budget_deadline;
pub(crate) use due::look_again;
pub use outcome::{Outcome, conclude};
pub(crate) use waiting::start_deadline;
pub use waiting::{hopeless, known_cause};

/// What is told of the run that these facts are of. `now` is used for the time spent waiting, and to
/// bound what is waited for.
///
/// A run is terminal only once its record stands: what is concluded without one can still be
/// concluded otherwise, after a crash or by another server, and the first record decides.
#[must_use]
pub fn derive(facts: &RunFacts, now: Timestamp) -> Run {
    if let Some(record) = &facts.record {
        return from_record(facts, record);
    }
    let mut run = from_observation(facts, now);
    // What an operator has to know first.
    for note in [&facts.trouble, &facts.damage].into_iter().flatten() {
        run.message = format!("{note}; {}", run.message);
    }
    if let Some(unknown) = &facts.unknown {
        run.message = format!("as last known, since this can't be looked at: {}; {}", unknown.why, run.message);
    }
    run
}

/// Whether the program of the last attempt has ended, and its result has to be read now.
#[must_use]
pub fn result_is_due(facts: &RunFacts, now: Timestamp) -> bool {
    facts.record.is_none()
        && facts.result.is_none()
        && facts.submission.effective.result.mode != ResultMode::None
        && conclude(facts, now).is_some_and(|outcome| outcome.ran)
}

/// Outcome and result, once both are final; `None` before.
#[must_use]
pub fn settle(facts: &RunFacts, now: Timestamp) -> Option<(Outcome, Option<ResultInfo>)> {
    let mut outcome = conclude(facts, now)?;
    let mode = facts.submission.effective.result.mode;
    if mode == ResultMode::None {
        return Some((outcome, None));
    }
    let mut info = match &facts.result {
        Some(result) => result.to_info(),
        None if !outcome.ran => ResultOutcome::never_ran().to_info(),
        None => return None,
    };
    if let Some(reported) = &facts.reported {
        tell_reported(&mut outcome, &mut info, reported);
    }
    if mode == ResultMode::Required
        && outcome.state == RunState::Succeeded
        && let Some(failure) = result_failure(&info)
    {
        outcome.state = RunState::Failed;
        outcome.message.clone_from(&failure.message);
        outcome.failure = Some(failure.with_exit(outcome.exit_code, outcome.signal));
    }
    Some((outcome, Some(info)))
}

/// What the runner reported explains an exit code of its own; the code decides, and whatever else
/// ended the program (a signal, its memory, a clock, a cancel) is not the runner's to tell.
fn tell_reported(outcome: &mut Outcome, info: &mut ResultInfo, reported: &Reported) {
    if outcome.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::NonzeroExit) {
        let failure = Failure::new(FailureReason::RunnerReported, reported.to_string());
        outcome.message.clone_from(&failure.message);
        outcome.failure = Some(failure.with_exit(outcome.exit_code, outcome.signal));
    } else if outcome.state == RunState::Succeeded
        && let Some(found) = &mut info.found
    {
        found.warnings.push(format!("the program exited with 0, but {reported}"));
    }
}

fn result_failure(info: &ResultInfo) -> Option<Failure> {
    use FailureReason::{ResultInvalid, ResultMissing, ResultUnavailable};
    let reason = match info.state {
        ResultState::Found | ResultState::Pending => return None,
        ResultState::Missing => ResultMissing,
        ResultState::Invalid => ResultInvalid,
        ResultState::Unavailable => ResultUnavailable,
    };
    let why = info.error.as_ref().map_or("it is not there", |e| e.message.as_str());
    Some(Failure::new(reason, format!("the program exited with 0, but its required result cannot be used: {why}")))
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

fn from_observation(facts: &RunFacts, now: Timestamp) -> Run {
    let Some(outcome) = conclude(facts, now) else { return live(facts, now) };
    let message = match settle(facts, now) {
        Some(_) if outcome.ran => "the program has ended; how it did is being recorded",
        Some(_) => "nothing of it runs; how it ended is being recorded",
        None => "the program has ended; its result is being read",
    };
    let result = (facts.submission.effective.result.mode != ResultMode::None).then(ResultInfo::pending);
    Run {
        state: RunState::Finishing,
        message: message.to_owned(),
        timeline: timeline(facts, Some(&outcome), None),
        attempts: attempts(facts, None),
        result,
        exit_code: outcome.exit_code,
        stop: facts.stop.clone(),
        ..skeleton(facts)
    }
}

fn live(facts: &RunFacts, now: Timestamp) -> Run {
    let base = skeleton(facts);
    let attempt = facts.last_attempt();
    let (state, word, message) = match attempt {
        None => (RunState::Pending, None, "not created yet".to_owned()),
        Some(attempt) => waiting::explain(facts, attempt, now),
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
        ..base
    }
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
    }
}

fn timeline(facts: &RunFacts, outcome: Option<&Outcome>, end_time: Option<Timestamp>) -> Timeline {
    let attempt = facts.last_attempt();
    let started = attempt.and_then(started_at);
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

/// When the program of this attempt started, if it did.
#[must_use]
pub fn started_at(attempt: &AttemptFacts) -> Option<Timestamp> {
    match &attempt.main {
        MainFacts::Waiting(_) => None,
        MainFacts::Running { started_at } => *started_at,
        MainFacts::Terminated(end) if attempt.main.started() => end.started_at,
        MainFacts::Terminated(_) => None,
    }
}

fn attempts(facts: &RunFacts, outcome: Option<&Outcome>) -> Vec<Attempt> {
    let last = facts.attempts.len();
    let one = |(index, attempt): (usize, &AttemptFacts)| {
        let end = attempt.main.terminated().filter(|_| attempt.main.started());
        Attempt {
            number: attempt.number,
            uid: attempt.uid.clone(),
            job: attempt.job.clone(),
            pod: attempt.pod.clone(),
            node: attempt.node.clone(),
            create_time: attempt.create_time,
            start_time: started_at(attempt),
            finish_time: end.and_then(|t| t.finished_at),
            exit_code: match end {
                Some(end) => end.code(),
                // A Job that is complete has an exit code though its Pod is gone.
                None => outcome.filter(|_| index + 1 == last).and_then(|o| o.exit_code),
            },
            signal: end.and_then(deadline::signal),
            failure: outcome.filter(|_| index + 1 == last).and_then(|o| o.failure.clone()),
            unseen: attempt.unseen && !attempt.main.started(),
            evidence: attempt.evidence.clone(),
        }
    };
    facts.attempts.iter().enumerate().map(one).collect()
}

/// How long ago `since` was, for people; nothing for less than a second.
fn spent(since: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let seconds = since.map(|since| now.duration_since(since).as_secs()).filter(|s| *s > 0)?;
    Some(shown_duration(std::time::Duration::from_secs(seconds.unsigned_abs())))
}

#[cfg(test)]
mod tests;
