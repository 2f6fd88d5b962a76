//! How an attempt ended: believed as soon as it is certain, never before.

use jiff::Timestamp;

use super::super::budget;
use super::super::facts::{AttemptFacts, AttemptPhase, EndCause, Mentions, RunFacts, Terminated};
use super::super::failure::{Failure, FailureReason};
use super::deadline::{is_at_deadline, signal};
use super::{due, platform, responsible, waiting};
use crate::run::view::{RunState, StopCause, StopIntent};

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
/// An exit is believed at once where nothing else can have been its cause; everything else waits
/// until the Pod is over, which carries the cause (docs/architecture.md, "When an end is believed").
/// `now` bounds the waiting for what a silent or slow kubelet may never report; see [`due`]. Where
/// something that decides could not be looked at, nothing is certain.
#[must_use]
pub fn conclude(facts: &RunFacts, now: Timestamp) -> Option<Outcome> {
    if facts.unknown.is_some() {
        return None;
    }
    let Some(attempt) = facts.present() else {
        return facts.stop.as_ref().filter(|_| !facts.settled.is_empty()).map(|stop| between_attempts(facts, stop));
    };
    if let Some(end) = attempt.main.terminated()
        && is_plain_exit(facts, attempt, end)
    {
        return Some(own_exit(facts, attempt, end));
    }
    if due::is_over(facts, attempt, now) {
        return Some(after_the_end(facts, attempt));
    }
    None
}

/// Whether this exit can only be the program's own doing.
fn is_plain_exit(facts: &RunFacts, attempt: &AttemptFacts, end: &Terminated) -> bool {
    let is_believed = end.exit_code == 0 || ((1..=127).contains(&end.exit_code) && !budget::is_left(facts));
    is_believed
        && attempt.main.started()
        && signal(end).is_none()
        && end.cause != EndCause::OutOfMemory
        && end.code().is_some()
        && (attempt.remembered.ended_untouched || is_untouched(facts, attempt))
        && !attempt.remembered.over_while_running
        && !is_at_deadline(facts, attempt, end)
}

fn is_untouched(facts: &RunFacts, attempt: &AttemptFacts) -> bool {
    facts.stop.is_none() && facts.deleted_at.is_none() && !attempt.is_marked() && attempt.eviction.is_none()
}

/// Whether the program ended by itself although a stop was asked for.
///
/// Clocks of node and daemon are two, so their times are not compared: what we order leaves its
/// mark on the Pod, a deadline that is exceeded or a deletion, and a Pod that is over without one
/// ended by itself. Only times finer than seconds are those of this machine.
fn ended_before_stop(attempt: &AttemptFacts, end: &Terminated, stop: &StopIntent) -> bool {
    attempt.remembered.ended_untouched
        || match end.finished_at {
            Some(finished) if finished.subsec_nanosecond() != 0 => finished < stop.request_time,
            _ => !attempt.is_marked() && matches!(attempt.phase, AttemptPhase::Succeeded | AttemptPhase::Failed),
        }
}

/// Whether the Pod's deletion was asked for before the program ended.
///
/// The order in which both were seen decides. Where both were there at the first look only their
/// times are left; they are whole seconds, and equal is taken for the deletion's doing.
fn ended_by_deletion(attempt: &AttemptFacts, end: &Terminated) -> bool {
    let by_time = |asked| end.finished_at.is_none_or(|finished| finished >= asked);
    let remembered = &attempt.remembered;
    !remembered.ended_untouched && (remembered.deleted_while_running || attempt.deleted_at.is_some_and(by_time))
}

/// The outcome of an attempt of which nothing runs any more.
fn after_the_end(facts: &RunFacts, attempt: &AttemptFacts) -> Outcome {
    let end = attempt.main.terminated().filter(|_| attempt.main.started());
    if end.is_none() && is_complete_without_pod(attempt) {
        return succeeded("the Job is complete; its Pod was gone before its exit was seen".to_owned(), None);
    }
    if let Some(stop) = &facts.stop
        && !end.is_some_and(|end| ended_before_stop(attempt, end, stop))
    {
        return stopped(facts, attempt, stop, end);
    }
    let Some(end) = end else {
        return failed(attempt, without_exit(facts, attempt), None);
    };
    if attempt.remembered.ended_untouched && end.cause != EndCause::Unknown && !is_at_deadline(facts, attempt, end) {
        return own_exit(facts, attempt, end);
    }
    let deleted = ended_by_deletion(attempt, end);
    // Exit 0 before the deadline wins whatever the phase says later.
    if end.exit_code == 0 && !deleted && !is_at_deadline(facts, attempt, end) {
        return own_exit(facts, attempt, end);
    }
    match platform::failure(facts, attempt) {
        Some(failure) => failed(attempt, failure, Some(end)),
        None if deleted => failed(attempt, platform::deleted(facts, attempt), Some(end)),
        None => own_exit(facts, attempt, end),
    }
}

/// Whether the Job says that its Pod succeeded, and the Pod is not there to say how. None of our
/// stops lets a Pod succeed.
fn is_complete_without_pod(attempt: &AttemptFacts) -> bool {
    attempt.phase == AttemptPhase::Gone && attempt.job_end.as_ref().is_some_and(|end| end.complete)
}

fn succeeded(message: String, finish_time: Option<Timestamp>) -> Outcome {
    Outcome {
        state: RunState::Succeeded,
        failure: None,
        message,
        exit_code: Some(0),
        signal: None,
        finish_time,
        ran: true,
    }
}

/// The outcome when the program's own exit is what happened.
fn own_exit(facts: &RunFacts, attempt: &AttemptFacts, end: &Terminated) -> Outcome {
    let out_of_memory = end.cause == EndCause::OutOfMemory;
    if end.exit_code == 0 {
        let warning = if out_of_memory {
            let limit = memory_limit(facts);
            format!("; a process that it had started used more memory than {limit} and was killed")
        } else {
            String::new()
        };
        return succeeded(format!("the program exited with 0{warning}"), end.finished_at);
    }
    let code = end.exit_code;
    let failure = if out_of_memory {
        let limit = memory_limit(facts);
        let what = match code {
            137 => format!("the program, or a process of it, used more memory than {limit} and was killed"),
            _ => format!(
                "a process of the program used more memory than {limit} and was killed; the program then exited with {code}"
            ),
        };
        Failure::new(FailureReason::OomKilled, format!("{what}; raise resources.limits[\"memory\"]"))
    } else if end.cause == EndCause::Unknown {
        Failure::new(FailureReason::Lost, "the node lost track of the container, so how it ended is not known")
    } else if let Some(signal) = signal(end) {
        let name = signal_name(signal).map(|name| format!(" ({name})")).unwrap_or_default();
        let message = format!("the program was ended by signal {signal}{name}");
        Failure::new(FailureReason::Signalled, message)
    } else if let Some(signal) = code.checked_sub(128).filter(|signal| (1..=31).contains(signal)) {
        let name = signal_name(signal).map(|name| format!(", {name}")).unwrap_or_default();
        let message = format!("the program exited with {code} (as after signal {signal}{name})");
        Failure::new(FailureReason::Signalled, message)
    } else {
        Failure::new(FailureReason::NonzeroExit, format!("the program exited with {code}"))
    };
    failed(attempt, failure, Some(end))
}

/// The memory that the run may use at most, for people.
fn memory_limit(facts: &RunFacts) -> String {
    match facts.submission.effective.resources.limits.get("memory") {
        Some(limit) => format!("its limit of {limit}"),
        None => "its limit".to_owned(),
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

fn failed(attempt: &AttemptFacts, failure: Failure, end: Option<&Terminated>) -> Outcome {
    let failure = failure.with_exit(end.and_then(Terminated::code), end.and_then(signal));
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

/// The outcome of a run that was stopped after one attempt and before the next.
fn between_attempts(facts: &RunFacts, stop: &StopIntent) -> Outcome {
    let number = facts.present_number();
    let (state, failure, message) = if stop.cause.is_cancel() {
        (RunState::Cancelled, None, format!("{}; attempt {number} had not begun", cancelled(stop)))
    } else {
        let failure = clock_failure(facts, stop);
        let message = format!("{}; attempt {number} had not begun", failure.message);
        (RunState::Failed, Some(Failure { message: message.clone(), ..failure }), message)
    };
    Outcome { state, failure, message, exit_code: None, signal: None, finish_time: None, ran: false }
}

/// The failure that a stop by a clock is.
fn clock_failure(facts: &RunFacts, stop: &StopIntent) -> Failure {
    let reason = stop.failure.unwrap_or(match stop.cause {
        StopCause::RunDeadline => FailureReason::RunDeadline,
        StopCause::QueueDeadline => FailureReason::QueueDeadline,
        StopCause::TotalDeadline => FailureReason::TotalDeadline,
        StopCause::StartDeadline | StopCause::StartFailure | StopCause::Cancel | StopCause::External => {
            FailureReason::StartDeadline
        }
    });
    let overran = stop.cause == StopCause::RunDeadline;
    let message = if overran { platform::overran(facts) } else { stop.reason.clone() };
    let failure = Failure::new(reason, message).of_class(stop.failure_class.unwrap_or_else(|| reason.class()));
    responsible::assign(failure, facts.stop_mentions, &facts.submission)
}

/// Who cancelled, and why.
fn cancelled(stop: &StopIntent) -> String {
    let by = match (stop.cause, stop.actor.as_str()) {
        (StopCause::External, _) => " by somebody outside Longshore",
        (_, "") => "",
        (_, actor) => &format!(" by {actor}"),
    };
    let why = if stop.reason.is_empty() { String::new() } else { format!(": {}", stop.reason) };
    format!("cancelled{by}{why}")
}

/// The outcome of a run that we stopped.
fn stopped(facts: &RunFacts, attempt: &AttemptFacts, stop: &StopIntent, end: Option<&Terminated>) -> Outcome {
    if !stop.cause.is_cancel() {
        return failed(attempt, clock_failure(facts, stop), end);
    }
    let unknown = if attempt.unseen && !attempt.main.started() {
        "; its Pod was created and deleted unobserved, so it is not known whether the program ran".to_owned()
    } else if attempt.is_silent() {
        format!("; its node does not report, so {}", platform::MAY_RUN)
    } else {
        String::new()
    };
    Outcome {
        state: RunState::Cancelled,
        failure: None,
        message: format!("{}{unknown}", cancelled(stop)),
        exit_code: end.and_then(Terminated::code),
        signal: end.and_then(signal),
        finish_time: end.and_then(|e| e.finished_at),
        ran: attempt.main.started(),
    }
}

/// A container that the runtime could not start, or a process of this machine.
fn start_error(facts: &RunFacts, end: &Terminated) -> Failure {
    let said = String::from_utf8_lossy(&end.message);
    let said = said.trim();
    let detail = if said.is_empty() { end.detail.as_str() } else { said };
    // A process has no image.
    let failure = if end.cause == EndCause::NotExecuted {
        Failure::new(FailureReason::ConfigError, format!("the program could not be started: {detail}"))
    } else {
        Failure::new(FailureReason::ImageInvalid, format!("the container could not be started: {detail}"))
    };
    responsible::assign(failure, Mentions::default(), &facts.submission)
}

/// Why an attempt is over of which no exit of the program is known.
fn without_exit(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    if let Some(failure) = platform::failure(facts, attempt) {
        return failure;
    }
    if let Some(never_started) = attempt.main.terminated() {
        return start_error(facts, never_started);
    }
    if attempt.deleted_at.is_some() {
        return platform::deleted(facts, attempt);
    }
    if attempt.is_silent() {
        return platform::lost(attempt);
    }
    match attempt.phase {
        AttemptPhase::Absent | AttemptPhase::Gone => platform::vanished(facts, attempt),
        _ => unknown_cause(facts, attempt),
    }
}

/// A Pod that is over and still there, whose program never ended: by the Pod's own word if it has
/// one, else by what stood in the way of the start (an init container, of an admission webhook say).
fn unknown_cause(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    if let Some(ended) = &attempt.ended_by {
        let said = format!("the Pod ended with {}: {}", ended.reason, ended.message);
        return Failure::new(FailureReason::Lost, said);
    }
    if attempt.main.started() {
        return Failure::new(FailureReason::Lost, "the Pod ended, and how the program ended was never reported");
    }
    if let Some(failure) = waiting::known_cause(attempt) {
        return responsible::assign(failure, waiting::mentions(attempt), &facts.submission);
    }
    if let Some(wait) = &attempt.waiting {
        let said = format!("the program could not be started: {}: {}", wait.reason, wait.message);
        return responsible::assign(Failure::new(FailureReason::ConfigError, said), wait.mentions, &facts.submission);
    }
    let remark = attempt.remark.as_deref().unwrap_or("the Pod ended without reporting how the program ended");
    Failure::new(FailureReason::Lost, remark)
}

#[cfg(test)]
mod tests;
