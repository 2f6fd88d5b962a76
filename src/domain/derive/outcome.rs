//! How an attempt ended: believed as soon as it is certain, never before.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::facts::{AttemptFacts, AttemptPhase, Explanation, NOT_EXECUTED, RunFacts, Terminated};
use super::super::failure::{Failure, FailureReason};
use super::super::run::{RunState, StopCause, StopIntent, shown_duration};
use super::{responsible, waiting};

/// How long before its deadline a program that a signal killed may still have been killed by it.
const DEADLINE_SLACK: SignedDuration = SignedDuration::from_secs(2);

/// How a run ended, its result apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Terminal state.
    pub state: RunState,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// One sentence.
    pub message: String,
    /// Exit code of the program, if it ended.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// When the program ended.
    pub finish_time: Option<Timestamp>,
    /// Whether the program ever ran, so that there may be output.
    pub ran: bool,
}

/// How the run ended, once that is certain.
///
/// An exit is believed at once where nothing else can have been its cause (DESIGN §4 "Exact and
/// fast"); everything else waits until the Pod is over, which carries the cause.
#[must_use]
pub fn conclude(facts: &RunFacts) -> Option<Outcome> {
    let mut outcome = end(facts)?;
    outcome.failure = outcome.failure.map(|failure| responsible::assign(failure, &facts.submission));
    Some(outcome)
}

fn end(facts: &RunFacts) -> Option<Outcome> {
    let attempt = facts.last_attempt()?;
    if let Some(end) = attempt.main.terminated()
        && is_plain_exit(facts, attempt, end)
    {
        return Some(own_exit(attempt, end));
    }
    if super::is_over(facts, attempt) {
        return Some(after_the_end(facts, attempt));
    }
    facts.stop.as_ref()?;
    // A container that never started can't start once its Pod is being deleted: there is nothing
    // to wait for, though a stalled pull may keep the Pod for minutes.
    let stopped_before_start = !attempt.main.started() && attempt.deleted_at.is_some();
    // A Job that is held back or being deleted makes no Pod and gets no condition.
    let never_will = attempt.phase == AttemptPhase::Absent && (facts.suspended || facts.deleted_at.is_some());
    (stopped_before_start || never_will).then(|| after_the_end(facts, attempt))
}

/// Whether this exit can only be the program's own doing.
fn is_plain_exit(facts: &RunFacts, attempt: &AttemptFacts, end: &Terminated) -> bool {
    (0..=127).contains(&end.exit_code)
        && attempt.main.started()
        && signal(end).is_none()
        && end.reason != "OOMKilled"
        && facts.stop.is_none()
        && facts.deleted_at.is_none()
        && attempt.deleted_at.is_none()
        && attempt.disruption.is_none()
        && attempt.status_reason.is_none()
        && !is_at_deadline(facts, attempt, end)
}

/// The Pod's deadline as the run budget sets it, counted from the node's taking the Pod on: what
/// was spent before the start, and the budget; never more than the template says.
pub(crate) fn budget_deadline(facts: &RunFacts, node_time: Timestamp, started: Timestamp) -> Duration {
    let effective = &facts.submission.effective;
    let before = u64::try_from(started.duration_since(node_time).as_secs()).unwrap_or(0);
    Duration::from_secs(before).min(effective.start_timeout) + effective.run_timeout
}

/// When the kubelet ends the program by its Pod's deadline. One of a second is our own order to end
/// (`EndStarted`), which says nothing of the budget.
fn deadline_time(facts: &RunFacts, attempt: &AttemptFacts, end: &Terminated) -> Option<Timestamp> {
    let (present, node_time) = (attempt.deadline?, attempt.node_time?);
    let deadline = match end.started_at {
        Some(started) if present <= Duration::from_secs(1) => budget_deadline(facts, node_time, started),
        _ => present,
    };
    node_time.checked_add(SignedDuration::try_from(deadline).ok()?).ok()
}

/// Whether this may be the end by the Pod's deadline.
///
/// Both times are the kubelet's, in whole seconds, and it never kills early: what exits by a code
/// of its own in an earlier second was not asked to. A signal kill is given [`DEADLINE_SLACK`], for
/// a node whose clock was set meanwhile, so that no end by the deadline is told as another's. Where
/// a time is missing, only exit 0 is the program's own.
fn is_at_deadline(facts: &RunFacts, attempt: &AttemptFacts, end: &Terminated) -> bool {
    let killed = end.reason != "OOMKilled" && (end.exit_code >= 128 || signal(end).is_some());
    let slack = if killed { DEADLINE_SLACK } else { SignedDuration::ZERO };
    match (deadline_time(facts, attempt, end), end.finished_at) {
        (Some(due), Some(finished)) => due.duration_since(finished) <= slack,
        _ => end.exit_code != 0 && attempt.status_reason.is_some(),
    }
}

/// Whether the program ended before the stop was asked for, or although it was.
///
/// A kubelet's times are whole seconds: of one in the same second nobody can tell, unless the Pod
/// succeeded and nobody did anything to it (our stops leave it `Failed`). Clocks of node and daemon
/// are taken to be the same.
fn ended_before_stop(attempt: &AttemptFacts, end: &Terminated, stop: &StopIntent) -> bool {
    let earlier = end.finished_at.is_some_and(|finished| match finished.subsec_nanosecond() {
        0 => finished.as_second() < stop.request_time.as_second(),
        _ => finished < stop.request_time,
    });
    let untouched = attempt.status_reason.is_none() && attempt.disruption.is_none() && attempt.deleted_at.is_none();
    earlier || (untouched && attempt.phase == AttemptPhase::Succeeded)
}

/// Whether the Pod's deletion was asked for before the program ended. Both times are whole
/// seconds: equal is taken for the deletion's doing.
fn ended_by_deletion(attempt: &AttemptFacts, end: &Terminated) -> bool {
    attempt.deleted_at.is_some_and(|asked| end.finished_at.is_none_or(|finished| finished >= asked))
}

/// The signal that ended the program: as the backend tells it, else from the exit code.
pub(super) fn signal(end: &Terminated) -> Option<i32> {
    end.signal.or_else(|| (129..=192).contains(&end.exit_code).then(|| end.exit_code - 128))
}

/// The outcome of an attempt of which nothing runs any more.
fn after_the_end(facts: &RunFacts, attempt: &AttemptFacts) -> Outcome {
    let end = attempt.main.terminated().filter(|_| attempt.main.started());
    if end.is_none() && is_complete_without_pod(attempt) {
        return succeeded("the Job is complete; its Pod was gone before its exit was seen", None);
    }
    if let Some(stop) = &facts.stop
        && !end.is_some_and(|end| ended_before_stop(attempt, end, stop))
    {
        return stopped(facts, attempt, stop, end);
    }
    let Some(end) = end else {
        return failed(attempt, without_exit(facts, attempt), None);
    };
    let deleted = ended_by_deletion(attempt, end);
    // Exit 0 before the deadline wins whatever the phase says later.
    if end.exit_code == 0 && !deleted && !is_at_deadline(facts, attempt, end) {
        return own_exit(attempt, end);
    }
    match platform_failure(facts, attempt) {
        Some(failure) => failed(attempt, failure, Some(end)),
        None if deleted => failed(attempt, pod_deleted(), Some(end)),
        None => own_exit(attempt, end),
    }
}

/// Whether the Job says that its Pod succeeded, and the Pod is not there to say how. None of our
/// stops lets a Pod succeed.
fn is_complete_without_pod(attempt: &AttemptFacts) -> bool {
    attempt.phase == AttemptPhase::Gone && attempt.job_end.as_ref().is_some_and(|end| end.complete)
}

fn succeeded(message: &str, finish_time: Option<Timestamp>) -> Outcome {
    Outcome {
        state: RunState::Succeeded,
        failure: None,
        message: message.to_owned(),
        exit_code: Some(0),
        signal: None,
        finish_time,
        ran: true,
    }
}

/// The outcome when the program's own exit is what happened.
fn own_exit(attempt: &AttemptFacts, end: &Terminated) -> Outcome {
    if end.exit_code == 0 {
        return succeeded("the program exited with 0", end.finished_at);
    }
    let failure = match (end.reason.as_str(), signal(end)) {
        ("OOMKilled", _) => Failure::new(
            FailureReason::OomKilled,
            "the program used more memory than its limit and was killed; raise resources.limits[\"memory\"]",
        ),
        ("ContainerStatusUnknown", _) => {
            Failure::new(FailureReason::NodeLost, "the node lost track of the container, so how it ended is not known")
        }
        (_, Some(signal)) => Failure::new(
            FailureReason::Signalled,
            format!("the program was ended by signal {signal}{}", signal_name(signal)),
        ),
        _ => Failure::new(FailureReason::NonzeroExit, format!("the program exited with {}", end.exit_code)),
    };
    failed(attempt, failure, Some(end))
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

fn failed(attempt: &AttemptFacts, failure: Failure, end: Option<&Terminated>) -> Outcome {
    let failure = failure.with_exit(end.map(|e| e.exit_code), end.and_then(signal));
    Outcome {
        state: RunState::Failed,
        message: failure.message.clone(),
        exit_code: failure.exit_code,
        signal: failure.signal,
        finish_time: end.and_then(|e| e.finished_at),
        ran: end.is_some() || attempt.main.started(),
        failure: Some(failure),
    }
}

/// The outcome of a run that we stopped.
fn stopped(facts: &RunFacts, attempt: &AttemptFacts, stop: &StopIntent, end: Option<&Terminated>) -> Outcome {
    if !stop.cause.is_cancel() {
        let reason = stop.failure.unwrap_or(match stop.cause {
            StopCause::RunDeadline => FailureReason::RunDeadline,
            StopCause::QueueDeadline => FailureReason::QueueDeadline,
            _ => FailureReason::StartDeadline,
        });
        let message = if stop.cause == StopCause::RunDeadline { run_deadline(facts) } else { stop.reason.clone() };
        return failed(attempt, Failure::new(reason, message), end);
    }
    let by = match (stop.cause, stop.actor.as_str()) {
        (StopCause::External, _) => " by somebody outside Longshore",
        (_, "") => "",
        (_, actor) => &format!(" by {actor}"),
    };
    let why = if stop.reason.is_empty() { String::new() } else { format!(": {}", stop.reason) };
    Outcome {
        state: RunState::Cancelled,
        failure: None,
        message: format!("cancelled{by}{why}"),
        exit_code: end.map(|e| e.exit_code),
        signal: end.and_then(signal),
        finish_time: end.and_then(|e| e.finished_at),
        ran: attempt.main.started(),
    }
}

fn run_deadline(facts: &RunFacts) -> String {
    let timeout = shown_duration(facts.submission.effective.run_timeout);
    format!("the program ran longer than its run_timeout of {timeout} and was stopped")
}

/// What the platform did to the attempt, by its Pod's reason, its DisruptionTarget condition or
/// its Job's. These strings are literals of Kubernetes without a promise: unknown ones fall through.
fn platform_failure(facts: &RunFacts, attempt: &AttemptFacts) -> Option<Failure> {
    let message = attempt.status_message.as_deref().unwrap_or_default();
    match attempt.status_reason.as_deref() {
        Some("DeadlineExceeded") if !attempt.main.started() => return Some(waiting::start_deadline(facts, attempt)),
        // What outlived the program was ended by the deadline, or by our order, and not the program.
        Some("DeadlineExceeded")
            if attempt.main.terminated().is_some_and(|end| !is_at_deadline(facts, attempt, end)) => {}
        Some("DeadlineExceeded") => return Some(Failure::new(FailureReason::RunDeadline, run_deadline(facts))),
        Some("Evicted") if message.contains("ephemeral") => {
            return Some(Failure::new(FailureReason::EphemeralStorage, message));
        }
        Some("Evicted") => return Some(Failure::new(FailureReason::Evicted, message)),
        Some("NodeLost") => return Some(Failure::new(FailureReason::NodeLost, message)),
        Some("NodeShutdown" | "Terminated" | "Shutdown") => {
            return Some(Failure::new(FailureReason::NodeShutdown, message));
        }
        Some("Preempting" | "Preempted") => return Some(Failure::new(FailureReason::Preempted, message)),
        Some(reason @ ("NodeAffinity" | "UnexpectedAdmissionError")) => {
            return Some(Failure::new(FailureReason::Unschedulable, format!("{reason}: {message}")));
        }
        Some(reason) if reason.starts_with("OutOf") => {
            return Some(Failure::new(FailureReason::Unschedulable, format!("{reason}: {message}")));
        }
        _ => {}
    }
    attempt.disruption.as_ref().map(disruption)
}

fn disruption(condition: &Explanation) -> Failure {
    let reason = match condition.reason.as_str() {
        "PreemptionByScheduler" => FailureReason::Preempted,
        "DeletionByTaintManager" | "DeletionByPodGC" => FailureReason::NodeLost,
        _ => FailureReason::Evicted,
    };
    Failure::new(reason, format!("{}: {}", condition.reason, condition.message))
}

/// A container that the runtime could not start, or a process of this machine.
fn start_error(end: &Terminated) -> Failure {
    let said = String::from_utf8_lossy(&end.message);
    let said = said.trim();
    let detail = if said.is_empty() { end.reason.as_str() } else { said };
    // A process has no image.
    if end.reason == NOT_EXECUTED {
        return Failure::new(FailureReason::ConfigError, format!("the program could not be started: {detail}"));
    }
    Failure::new(FailureReason::ImageInvalid, format!("the container could not be started: {detail}"))
}

/// Why an attempt is over of which no exit of the program is known.
fn without_exit(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    if let Some(failure) = platform_failure(facts, attempt) {
        return failure;
    }
    if let Some(never_started) = attempt.main.terminated() {
        return start_error(never_started);
    }
    if attempt.deleted_at.is_some() {
        return pod_deleted();
    }
    match attempt.phase {
        AttemptPhase::Absent | AttemptPhase::Gone => vanished(facts, attempt),
        _ => unknown_cause(attempt),
    }
}

fn pod_deleted() -> Failure {
    Failure::new(FailureReason::Deleted, "the Pod was deleted by somebody outside Longshore")
}

/// A Pod that is over and still there, whose program never ended: by the Pod's own word if it has
/// one, else by what stood in the way of the start (an init container, of an admission webhook say).
fn unknown_cause(attempt: &AttemptFacts) -> Failure {
    let message = attempt.status_message.as_deref().unwrap_or_default();
    if let Some(reason) = &attempt.status_reason {
        return Failure::new(FailureReason::Lost, format!("the Pod ended with {reason}: {message}"));
    }
    if let Some(failure) = waiting::known_cause(attempt) {
        return failure;
    }
    match (&attempt.waiting, message) {
        (Some(wait), _) => Failure::new(
            FailureReason::ConfigError,
            format!("the program could not be started: {}: {}", wait.reason, wait.message),
        ),
        (None, "") => Failure::new(FailureReason::Lost, "the Pod ended without a word of how the program did"),
        (None, message) => Failure::new(FailureReason::Lost, message),
    }
}

/// An attempt whose Pod left no trace of how it ended.
fn vanished(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    let Some(job) = &attempt.job_end else {
        return Failure::new(FailureReason::Lost, "the run vanished without a trace of how it ended");
    };
    match job.reason.as_str() {
        "PodFailurePolicy" if job.message.contains("DisruptionTarget") => {
            Failure::new(FailureReason::Evicted, job.message.clone())
        }
        "DeadlineExceeded" => waiting::start_deadline(facts, attempt),
        "BackoffLimitExceeded" => pod_deleted(),
        reason => Failure::new(FailureReason::Lost, format!("{reason}: {}", job.message)),
    }
}

#[cfg(test)]
mod tests;
