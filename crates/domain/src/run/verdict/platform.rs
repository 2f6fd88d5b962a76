//! What the platform, or somebody outside Longshore, did to an attempt, and who has to act on it.

use std::time::Duration;

use super::super::facts::{AttemptFacts, Intervention, JobEndCause, PlatformCause, RunFacts, Terminated};
use super::super::failure::{Failure, FailureClass, FailureReason};
use super::deadline::{WHOLE_SECOND, budget_deadline, is_by_deadline};
use super::{responsible, waiting};
use crate::run::view::shown_duration;

/// What is not known of a program on a node that does not report.
pub(super) const MAY_RUN: &str = "the program may still be running there";

pub(super) fn overran(facts: &RunFacts) -> String {
    let timeout = shown_duration(facts.submission.effective.run_timeout);
    format!("the program ran longer than its run_timeout of {timeout} and was stopped")
}

/// What the platform did to the attempt, by the cause that it gives, by what it announced, or by its Job's deadline.
/// `None`: nothing that is known.
pub(super) fn failure(facts: &RunFacts, attempt: &AttemptFacts) -> Option<Failure> {
    let started = attempt.main.started();
    if let Some(Intervention { cause, reason, message, .. }) = &attempt.ended_by {
        match cause {
            PlatformCause::Deadline if !started => {
                return Some(foreign_deadline(facts, attempt).unwrap_or_else(|| never_started(facts, attempt)));
            }
            // What outlived the program was ended by the deadline, or by our order, and not the program.
            PlatformCause::Deadline if !is_by_deadline(facts, attempt) => {}
            PlatformCause::Deadline => {
                let overran = || Failure::new(FailureReason::RunDeadline, overran(facts));
                return Some(foreign_deadline(facts, attempt).unwrap_or_else(overran));
            }
            PlatformCause::Evicted if is_own_limit(attempt) => {
                return Some(Failure::new(FailureReason::EphemeralStorage, message));
            }
            PlatformCause::Evicted | PlatformCause::EvictedByRefusal => {
                return Some(Failure::new(FailureReason::Evicted, message));
            }
            PlatformCause::NodeLost => return Some(Failure::new(FailureReason::NodeLost, message)),
            PlatformCause::NodeShutdown => return Some(Failure::new(FailureReason::NodeShutdown, message)),
            PlatformCause::Preempted => return Some(Failure::new(FailureReason::Preempted, message)),
            // Refused by its node, or by the same node once more after the kubelet was started again.
            cause if attempt.emptied || *cause == PlatformCause::Refused => {
                let said = format!("{reason}: {message}");
                return Some(if started {
                    Failure::new(FailureReason::Evicted, said)
                } else {
                    Failure::new(FailureReason::Unschedulable, said).of_class(FailureClass::Infra)
                });
            }
            _ => {}
        }
    }
    if let Some(condition) = &attempt.disruption {
        return Some(disruption(attempt, condition));
    }
    (attempt.deleted_at.is_some() && facts.stop.is_none()).then(|| job_deadline(attempt)).flatten()
}

/// Whether an evicted Pod exceeded a limit of its own. The kubelet marks what it evicts for its node's sake by a
/// condition, and what it refuses, also after it ran, by emptying the Pod's status or by its words
/// ([`PlatformCause::EvictedByRefusal`]).
fn is_own_limit(attempt: &AttemptFacts) -> bool {
    attempt.disruption.is_none() && !attempt.emptied && attempt.main.started()
}

/// The start clock passed; why, and who has to act.
fn never_started(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    let failure = waiting::start_deadline(facts, attempt);
    responsible::assign(failure, waiting::mentions(attempt), &facts.submission)
}

/// A kubelet that still reports the end of a program has killed it; only one that says nothing any
/// more is lost.
fn disruption(attempt: &AttemptFacts, condition: &Intervention) -> Failure {
    let is_reported = attempt.main.terminated().and_then(Terminated::code).is_some();
    let unheard = attempt.main.started() && !is_reported;
    let reason = match condition.cause {
        PlatformCause::Preempted | PlatformCause::Suspended => FailureReason::Preempted,
        _ if unheard && attempt.silent_since.is_some() => FailureReason::NodeLost,
        // Pods of nodes that are no more.
        PlatformCause::Orphaned if unheard => FailureReason::NodeLost,
        _ => FailureReason::Evicted,
    };
    let again = match attempt.further_uids.len() {
        0 => String::new(),
        more => format!("; the Job was let go on and started it {more} more time(s), which was ended"),
    };
    Failure::new(reason, format!("{}: {}{again}", condition.reason, condition.message))
}

/// Its node counts as lost: nobody knows whether the program still runs there.
pub(super) fn lost(attempt: &AttemptFacts) -> Failure {
    let time = attempt.silent_since.zip(attempt.lost_at).map(|(since, lost)| lost.duration_since(since));
    let time = time.and_then(|time| Duration::try_from(time).ok()).unwrap_or_default();
    let message = format!("its node has not reported for {}; {MAY_RUN}", shown_duration(time));
    Failure::new(FailureReason::NodeLost, message)
}

/// Somebody deleted the Pod.
pub(super) fn deleted(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    if attempt.silent_since.is_some() && attempt.main.started() && attempt.main.terminated().is_none() {
        return Failure::new(
            FailureReason::NodeLost,
            "its node had ceased to report when its Pod was deleted, so how the program ended is not known",
        );
    }
    if facts.suspended && attempt.main.started() {
        return Failure::new(FailureReason::Preempted, "its Job was suspended while the program ran");
    }
    Failure::new(FailureReason::Deleted, "the Pod was deleted by somebody outside Longshore")
}

/// The Pod's deadline, if it is none that Longshore sets.
fn foreign_deadline(facts: &RunFacts, attempt: &AttemptFacts) -> Option<Failure> {
    let present = attempt.deadline.filter(|_| facts.stop.is_none() && attempt.pod.is_some())?;
    let effective = &facts.submission.effective;
    let template = effective.start_timeout.saturating_add(effective.run_timeout).saturating_add(WHOLE_SECOND);
    let own = match (attempt.node_time, attempt.started_at()) {
        (Some(node_time), Some(started)) => budget_deadline(facts, node_time, started).min(template),
        // No clock of ours has lowered it before the start.
        (_, None) if !attempt.main.started() => template,
        _ => return None,
    };
    (present < own).then(|| set_by_others(attempt, "Pod", present))
}

/// The Job's deadline: none is ours unless a stop is.
fn job_deadline(attempt: &AttemptFacts) -> Option<Failure> {
    attempt.job_deadline.map(|deadline| set_by_others(attempt, "Job", deadline))
}

fn set_by_others(attempt: &AttemptFacts, kind: &str, deadline: Duration) -> Failure {
    let reason = if attempt.main.started() { FailureReason::RunDeadline } else { FailureReason::StartDeadline };
    let deadline = shown_duration(deadline);
    let message =
        format!("the activeDeadlineSeconds of {deadline} that somebody outside Longshore set on its {kind} passed");
    Failure::new(reason, message)
}

/// An attempt whose Pod left no trace of how it ended.
pub(super) fn vanished(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    if facts.suspended && attempt.main.started() {
        return deleted(facts, attempt);
    }
    let Some(job) = &attempt.job_end else {
        return Failure::new(FailureReason::Lost, "the run disappeared; how it ended is not known");
    };
    match job.cause {
        JobEndCause::Disruption => Failure::new(FailureReason::Evicted, job.message.clone()),
        JobEndCause::Deadline => match job_deadline(attempt).filter(|_| facts.stop.is_none()) {
            Some(failure) => failure,
            None => never_started(facts, attempt),
        },
        JobEndCause::PodFailed => Failure::new(
            FailureReason::Lost,
            "its Job reports that the Pod failed; it was deleted before the program's end was observed",
        ),
        JobEndCause::Other => Failure::new(FailureReason::Lost, format!("{}: {}", job.reason, job.message)),
    }
}
