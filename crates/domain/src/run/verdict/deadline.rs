//! The Pod's deadline: what it has to be, and whether it is what ended a program.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::facts::{AttemptFacts, EndCause, RunFacts, Terminated};

/// How long before its deadline a program that a signal killed may still have been killed by it.
const DEADLINE_SLACK: SignedDuration = SignedDuration::from_secs(2);
/// What a deadline is longer than its budget: a Pod's times are whole seconds, so that the
/// difference of two of them is up to a second short.
pub const WHOLE_SECOND: Duration = Duration::from_secs(1);

/// The Pod's deadline as the run budget sets it, counted from the node's taking the Pod on: what
/// was spent before the start, the budget, and a second for times that are whole seconds.
pub(crate) fn budget_deadline(facts: &RunFacts, node_time: Timestamp, started: Timestamp) -> Duration {
    let effective = &facts.submission.effective;
    let before = u64::try_from(started.duration_since(node_time).as_secs()).unwrap_or(0);
    Duration::from_secs(before).min(effective.start_timeout) + effective.run_timeout + WHOLE_SECOND
}

/// When the kubelet ends the program by its Pod's deadline. One of a second is our own order to end
/// (`EndStarted`), which says nothing of the budget.
fn deadline_time(facts: &RunFacts, attempt: &AttemptFacts, end: &Terminated) -> Option<Timestamp> {
    let (present, node_time) = (attempt.deadline?, attempt.node_time?);
    let deadline = match end.started_at {
        Some(started) if attempt.pod.is_some() && present <= WHOLE_SECOND => budget_deadline(facts, node_time, started),
        _ => present,
    };
    node_time.checked_add(SignedDuration::try_from(deadline).ok()?).ok()
}

/// Whether this may be the end by the Pod's deadline.
///
/// What the order of the Pod's versions has shown decides; else its times do. Both are the
/// kubelet's, in whole seconds, and it never kills early: what exits by a code of its own in an
/// earlier second was not asked to, and of exit 0 in the same second that is assumed. A signal kill
/// is given [`DEADLINE_SLACK`], for a node whose clock was set meanwhile, so that no end by the
/// deadline is reported as another's. Where a time is missing, only exit 0 is the program's own.
pub(super) fn is_at_deadline(facts: &RunFacts, attempt: &AttemptFacts, end: &Terminated) -> bool {
    if attempt.remembered.over_while_running {
        return attempt.is_by_deadline();
    }
    let killed = end.cause != EndCause::OutOfMemory && (end.exit_code >= 128 || signal(end).is_some());
    let (Some(due), Some(finished)) = (deadline_time(facts, attempt, end), end.finished_at) else {
        return end.exit_code != 0 && attempt.ended_by.is_some();
    };
    let left = due.duration_since(finished);
    match end.exit_code {
        0 if attempt.pod.is_some() => left < SignedDuration::ZERO,
        _ if killed => left <= DEADLINE_SLACK,
        _ => left <= SignedDuration::ZERO,
    }
}

/// Whether this is the end by the Pod's deadline, by its reason and by how the program ended.
pub(super) fn is_by_deadline(facts: &RunFacts, attempt: &AttemptFacts) -> bool {
    attempt.main.terminated().is_none_or(|end| is_at_deadline(facts, attempt, end))
}

/// The signal that ended the program, where the backend reports it. An exit code above 128 alone
/// may as well be the program's own.
pub(crate) fn signal(end: &Terminated) -> Option<i32> {
    end.signal
}
