//! How an attempt ended: believed as soon as it is certain, never before.

use jiff::{SignedDuration, Timestamp};

use super::super::facts::{AttemptFacts, Explanation, RunFacts, Terminated};
use super::super::failure::{Failure, FailureReason};
use super::super::run::{RunState, StopCause, StopIntent, shown_duration};
use super::waiting;

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
    let attempt = facts.last_attempt()?;
    if let Some(end) = attempt.main.terminated()
        && is_plain_exit(facts, attempt, end)
    {
        return Some(own_exit(attempt, end));
    }
    if super::is_over(attempt) {
        return Some(after_the_end(facts, attempt));
    }
    // A container that never started can't start once its Pod is being deleted: there is nothing
    // to wait for, though a stalled pull may keep the Pod for minutes.
    let stopped_before_start = !attempt.main.started() && facts.stop.is_some() && attempt.deleted_at.is_some();
    stopped_before_start.then(|| after_the_end(facts, attempt))
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
        && ended_before_deadline(attempt, end)
}

/// Whether the program ended before its Pod's deadline. The times are whole seconds: equal is not
/// before.
fn ended_before_deadline(attempt: &AttemptFacts, end: &Terminated) -> bool {
    match (attempt.deadline, attempt.node_time, end.finished_at) {
        (Some(deadline), Some(start), Some(finished)) => {
            SignedDuration::try_from(deadline).is_ok_and(|d| finished.duration_since(start) < d)
        }
        _ => true,
    }
}

/// The signal that ended the program: as the backend tells it, else from the exit code.
pub(super) fn signal(end: &Terminated) -> Option<i32> {
    end.signal.or_else(|| (129..=192).contains(&end.exit_code).then(|| end.exit_code - 128))
}

/// The outcome of an attempt of which nothing runs any more.
fn after_the_end(facts: &RunFacts, attempt: &AttemptFacts) -> Outcome {
    let end = attempt.main.terminated().filter(|_| attempt.main.started());
    if let Some(end) = end {
        let before_stop = facts.stop.as_ref().is_none_or(|stop| end.finished_at.is_some_and(|at| at < stop.time));
        let undisturbed = attempt.disruption.is_none() && attempt.status_reason.is_none();
        // Exit 0 before the deadline wins whatever the phase says later.
        if end.exit_code == 0 && before_stop && ended_before_deadline(attempt, end) {
            return own_exit(attempt, end);
        }
        if end.exit_code != 0 && before_stop && undisturbed && facts.stop.is_some() {
            return own_exit(attempt, end);
        }
    }
    if let Some(stop) = &facts.stop {
        return stopped(facts, attempt, stop, end);
    }
    if let Some(failure) = platform_failure(facts, attempt) {
        return failed(attempt, failure, end);
    }
    match (end, attempt.main.terminated()) {
        (Some(end), _) => own_exit(attempt, end),
        (None, Some(never_started)) => failed(attempt, start_error(never_started), None),
        (None, None) => failed(attempt, vanished(facts, attempt), None),
    }
}

/// The outcome when the program's own exit is what happened.
fn own_exit(attempt: &AttemptFacts, end: &Terminated) -> Outcome {
    if end.exit_code == 0 {
        return Outcome {
            state: RunState::Succeeded,
            failure: None,
            message: "the program exited with 0".to_owned(),
            exit_code: Some(0),
            signal: None,
            finish_time: end.finished_at,
            ran: true,
        };
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
        Some("DeadlineExceeded") if attempt.main.started() => {
            return Some(Failure::new(FailureReason::RunDeadline, run_deadline(facts)));
        }
        Some("DeadlineExceeded") => return Some(waiting::start_deadline(facts, attempt)),
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

/// A container that the runtime could not start.
fn start_error(end: &Terminated) -> Failure {
    let said = String::from_utf8_lossy(&end.message);
    let said = said.trim();
    let detail = if said.is_empty() { end.reason.as_str() } else { said };
    Failure::new(FailureReason::ImageInvalid, format!("the container could not be started: {detail}"))
}

/// An attempt whose Pod left no trace of how it ended.
fn vanished(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    if attempt.deleted_at.is_some() {
        return Failure::new(FailureReason::Deleted, "the Pod was deleted by somebody outside Longshore");
    }
    let Some(job) = &attempt.job_end else {
        return Failure::new(FailureReason::Lost, "the run vanished without a trace of how it ended");
    };
    match job.reason.as_str() {
        "PodFailurePolicy" if job.message.contains("DisruptionTarget") => {
            Failure::new(FailureReason::Evicted, job.message.clone())
        }
        "DeadlineExceeded" => waiting::start_deadline(facts, attempt),
        "BackoffLimitExceeded" => {
            Failure::new(FailureReason::Deleted, "the Pod was deleted by somebody outside Longshore")
        }
        reason => Failure::new(FailureReason::Lost, format!("{reason}: {}", job.message)),
    }
}
