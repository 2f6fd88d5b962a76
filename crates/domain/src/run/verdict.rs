//! `judge(&RunFacts, now) -> Verdict`: what one look at a run finds, once, for [`super::derive`] and [`super::plan`].
//!
//! [`outcome`] concludes how the last attempt ended, `due` says when it is over, `platform` what the platform did to it,
//! `responsible` who has to act, and `waiting` what stands in the way of a start.

use jiff::Timestamp;

use super::facts::RunFacts;
use super::failure::{Failure, FailureReason};
use super::spec::ResultMode;
use crate::result::{Reported, ResultError, ResultErrorKind, ResultInfo, ResultOutcome, ResultState};
use crate::run::view::RunState;

mod deadline;
mod due;
mod outcome;
mod platform;
mod responsible;
mod waiting;

pub use deadline::WHOLE_SECOND;
pub(crate) use deadline::{budget_deadline, signal};
pub(crate) use due::look_again;
pub use outcome::{Outcome, conclude};
pub use waiting::known_cause;
pub(crate) use waiting::{StartOutlook, explain, start_deadline, start_outlook};

/// What one look at a run finds.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// How it ended is recorded: nothing is concluded any more.
    Recorded,
    /// It has not ended, or that is not certain.
    Open,
    /// Its program has ended, and its result has to be read.
    Ended(Box<Outcome>),
    /// Outcome and result are final, and are to be recorded.
    Settled(Box<Outcome>, Option<Box<ResultInfo>>),
}

impl Verdict {
    /// Whether the program has ended, and its result has to be read now.
    #[must_use]
    pub fn result_is_due(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

/// What this look at a run finds. `now` bounds what is waited for.
#[must_use]
pub fn judge(facts: &RunFacts, now: Timestamp) -> Verdict {
    if facts.record.is_some() {
        return Verdict::Recorded;
    }
    conclude(facts, now).map_or(Verdict::Open, |outcome| settle(facts, outcome))
}

/// The outcome with the result, if that is final.
fn settle(facts: &RunFacts, mut outcome: Outcome) -> Verdict {
    let mode = facts.submission.effective.result.mode;
    if mode == ResultMode::None {
        return Verdict::Settled(Box::new(outcome), None);
    }
    let mut info = match &facts.result {
        Some(result) => result.to_info(),
        None if !outcome.ran => never_ran(facts).to_info(),
        None => return Verdict::Ended(Box::new(outcome)),
    };
    if let Some(reported) = &facts.reported {
        apply_report(&mut outcome, &mut info, reported);
    }
    if mode == ResultMode::Required
        && outcome.state == RunState::Succeeded
        && let Some(failure) = result_failure(&info)
    {
        outcome.state = RunState::Failed;
        outcome.message.clone_from(&failure.message);
        outcome.failure = Some(failure.with_exit(outcome.exit_code, outcome.signal));
    }
    Verdict::Settled(Box::new(outcome), Some(Box::new(info)))
}

fn never_ran(facts: &RunFacts) -> ResultOutcome {
    match facts.present_number() {
        1 => ResultOutcome::never_ran(),
        number => ResultOutcome::None(ResultError {
            kind: ResultErrorKind::Empty,
            message: format!("attempt {number} never ran"),
            position: None,
        }),
    }
}

/// What the runner reported explains an exit code of its own; the code decides, and whatever else
/// ended the program (a signal, its memory, a clock, a cancel) is not the runner's to report.
fn apply_report(outcome: &mut Outcome, info: &mut ResultInfo, reported: &Reported) {
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
