//! When an attempt is over: nothing of it runs or will run, and what says why is there, or is not
//! waited for any longer.

use jiff::{SignedDuration, Timestamp};

use super::super::facts::{AttemptFacts, AttemptPhase, MainFacts, RunFacts};
use super::waiting;

/// How long after a program's grace a kubelet may take to report its end.
const REPORT: SignedDuration = SignedDuration::from_secs(10);
/// How long a container that is being made may turn out to have started after all, once its Pod is
/// being deleted or is over. A kubelet's status lags 1 to 2 s, and on a busy node a container that
/// was on its way has started 5 s after the deletion. A Pod that does not start is gone well before.
const LAG: SignedDuration = SignedDuration::from_secs(20);

/// Whether nothing of the attempt runs or will run, and all that is needed to say why is there.
///
/// Pod and Job come from two watches without an order: of a Pod that is gone the Job's condition
/// says why, so it is waited for, unless we stopped the run and know why. Its controller sets it
/// within seconds; a Job that is being deleted is stopped by an intent of its own.
pub(super) fn is_over(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> bool {
    match attempt.phase {
        _ if attempt.is_lost(now) => true,
        AttemptPhase::Gone if !attempt.is_over() => false,
        AttemptPhase::Gone => {
            attempt.job_end.is_some()
                || facts.stop.is_some()
                || attempt.is_preempted()
                || (facts.suspended && attempt.main.started())
        }
        AttemptPhase::Absent => {
            attempt.job_end.as_ref().is_some_and(|end| end.final_)
                // A Job that is held back or being deleted makes no Pod and gets no condition.
                || (facts.stop.is_some() && (facts.suspended || facts.deletion_of(attempt).is_some()))
        }
        phase => match until(facts, attempt) {
            Wait::For(limit) => bound(attempt, limit).is_some_and(|bound| now >= bound),
            Wait::No => phase.is_over() || (facts.stop.is_some() && attempt.deleted_at.is_some()),
            Wait::Event => false,
        },
    }
}

/// When to look again at an attempt of which something is waited for only so long.
pub(crate) fn look_again(facts: &RunFacts, now: Timestamp) -> Option<Timestamp> {
    let attempt = facts.present()?;
    let bound = match until(facts, attempt) {
        Wait::For(limit) => bound(attempt, limit),
        Wait::No | Wait::Event => None,
    };
    let lost = attempt.lost_at.filter(|_| attempt.is_silent());
    bound.into_iter().chain(lost).filter(|bound| now < *bound).min()
}

/// What is still waited for.
enum Wait {
    /// Nothing.
    No,
    /// The kubelet's word on how the program ended, this long since it was to end.
    For(SignedDuration),
    /// Whatever comes next.
    Event,
}

fn until(facts: &RunFacts, attempt: &AttemptFacts) -> Wait {
    let over = matches!(attempt.phase, AttemptPhase::Succeeded | AttemptPhase::Failed);
    if attempt.phase == AttemptPhase::Gone || !(over || attempt.deleted_at.is_some()) {
        return Wait::Event;
    }
    match &attempt.main {
        // A Pod is over a second before its program is at each deadline. One that its node emptied
        // will not say more.
        MainFacts::Running { .. } if over && !attempt.emptied => Wait::For(grace(facts).saturating_add(REPORT)),
        MainFacts::Running { .. } if over => Wait::No,
        // Without a word of the kubelet's nobody else knows; with a node that reports, it will come.
        MainFacts::Running { .. } if attempt.silent_since.is_some() => Wait::For(grace(facts).saturating_add(REPORT)),
        MainFacts::Running { .. } => Wait::Event,
        MainFacts::Terminated(_) if over => Wait::No,
        // A container that the runtime could not start won't.
        MainFacts::Terminated(_) if facts.stop.is_some() && !attempt.main.started() => Wait::No,
        MainFacts::Terminated(_) => Wait::Event,
        // A pull that stalls may keep the Pod for minutes, and no container starts after it.
        MainFacts::Waiting(_) if waiting::is_pulling(attempt) || attempt.node.is_none() => {
            if over || facts.stop.is_some() { Wait::No } else { Wait::Event }
        }
        MainFacts::Waiting(_) if attempt.emptied => Wait::No,
        MainFacts::Waiting(_) if facts.stop.is_some() || (over && attempt.is_by_deadline()) => Wait::For(LAG),
        MainFacts::Waiting(_) if over => Wait::No,
        MainFacts::Waiting(_) => Wait::Event,
    }
}

fn bound(attempt: &AttemptFacts, limit: SignedDuration) -> Option<Timestamp> {
    attempt.remembered.unended_since?.checked_add(limit).ok()
}

fn grace(facts: &RunFacts) -> SignedDuration {
    SignedDuration::try_from(facts.submission.effective.termination_grace).unwrap_or(SignedDuration::MAX)
}
