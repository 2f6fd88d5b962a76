//! Whether another attempt follows one that failed, and when. Pure: a second server comes to the same.
//!
//! The program is executed at most once by each attempt. Another is announced by a record of its own, the first that is
//! written, and begun only after that: a crash in between leaves either a run that is between two attempts, or one whose
//! attempt has its name.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::budget::is_budget_left;
pub use super::budget::{is_left, may_follow};
use super::facts::{AttemptFacts, RunFacts};
use super::failure::{FailureClass, FailureReason};
use super::settled::VERSION;
pub use super::settled::{AttemptRecord, RetryBudget};
use super::verdict::Outcome;
use crate::run::view::{Attempt, RunState};

/// How much of what the cluster said is kept with an attempt after which another follows.
const EVIDENCE_MAX: usize = 4;
/// Longest texts that are kept with it, in bytes.
const TEXT_MAX: usize = 512;
/// The longest pause before an attempt.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// The shortest.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// What is to be written if another attempt follows the present one, which ended with `outcome` and is shown as
/// `attempt`.
///
/// Nothing follows a stop, whatever asked for it, a deletion, a success, or an end after which the next attempt would
/// begin past `total_timeout`.
#[must_use]
pub fn next(facts: &RunFacts, outcome: &Outcome, attempt: Attempt, now: Timestamp) -> Option<AttemptRecord> {
    let is_ending = facts.stop.is_some()
        || facts.record.is_some()
        || facts.damage.is_some()
        || facts.present().map_or(facts.deleted_at, |attempt| facts.deletion_of(attempt)).is_some();
    if is_ending || outcome.state != RunState::Failed {
        return None;
    }
    let budget = budget(facts, outcome)?;
    let pause = SignedDuration::try_from(pause(&facts.uid, facts.present_number())).unwrap_or(SignedDuration::MAX);
    let not_before = now.checked_add(pause).ok()?;
    (total_due(facts).is_none_or(|due| not_before < due)).then(|| AttemptRecord {
        version: VERSION,
        attempt: shortened(attempt),
        budget,
        not_before,
        record_time: now,
    })
}

/// When `total_timeout` passes, if one is set.
#[must_use]
pub fn total_due(facts: &RunFacts) -> Option<Timestamp> {
    let timeout = SignedDuration::try_from(facts.submission.effective.total_timeout?).unwrap_or(SignedDuration::MAX);
    Some(facts.submission.create_time.checked_add(timeout).unwrap_or(Timestamp::MAX))
}

/// The attempt of this record, as long as the next one has to wait for it: something that it began may still run, or its
/// Job may make another Pod. What is lost with its node is not waited for, since its end may never be reported; only
/// runs that may be repeated go on after that.
pub(crate) fn unended<'a>(facts: &'a RunFacts, settled: &AttemptRecord) -> Option<&'a AttemptFacts> {
    let reason = settled.attempt.failure.as_ref().map(|failure| failure.reason);
    facts.attempt(settled.attempt.number).filter(|attempt| {
        let is_closed = attempt.closed && attempt.is_over();
        let is_lost = reason == Some(FailureReason::NodeLost) && attempt.is_silent();
        !attempt.has_ended() && !is_closed && !is_lost
    })
}

/// What another attempt would be charged to, if something is left of it. A failure is charged to one only.
fn budget(facts: &RunFacts, outcome: &Outcome) -> Option<RetryBudget> {
    let failure = outcome.failure.as_ref()?;
    // The program exited with 0: what was lost is its output, and trying that again is asked for by name.
    let is_infra = failure.failure_class == FailureClass::Infra && failure.reason != FailureReason::ResultUnavailable;
    let budget = if is_infra {
        RetryBudget::Infra
    } else if facts.submission.effective.retry_on.covers(failure.reason, failure.exit_code) {
        RetryBudget::Program
    } else {
        return None;
    };
    is_budget_left(facts, budget).then_some(budget)
}

/// The pause after the attempt of this number: doubled with each, from a second on, and shortened by up to a half, so
/// that runs that failed together do not come back together.
fn pause(uid: &str, number: u32) -> Duration {
    let doublings = number.saturating_sub(1).min(16);
    let whole = PAUSE_MAX.min(PAUSE_MIN.saturating_mul(1 << doublings));
    let digest = Sha256::digest(format!("{uid}/{number}"));
    let share = f64::from(digest.first().copied().unwrap_or_default()) / 255.0;
    whole.mul_f64(0.5 + share / 2.0).max(PAUSE_MIN)
}

fn shortened(mut attempt: Attempt) -> Attempt {
    // The last words are about the end.
    let surplus = attempt.evidence.len().saturating_sub(EVIDENCE_MAX);
    attempt.evidence.drain(..surplus);
    let messages = attempt.evidence.iter_mut().map(|evidence| &mut evidence.message);
    for message in messages.chain(attempt.failure.as_mut().map(|failure| &mut failure.message)) {
        *message = longshore_text::cut(message, TEXT_MAX);
    }
    attempt
}

#[cfg(test)]
mod tests;
