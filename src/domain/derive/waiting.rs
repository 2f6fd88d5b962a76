//! Why a run does not run yet, in the backend's own words, and what that means for its clocks.

use jiff::{SignedDuration, Timestamp};

use super::super::facts::{AttemptFacts, AttemptPhase, Explanation, MainFacts, RunFacts};
use super::super::failure::{Failure, FailureReason};
use super::super::run::{RunState, shown_duration};
use super::responsible::{is_missing_claim, is_refused_image};
use super::{is_over, spent, started_at};

/// State, word and sentence of an attempt that has not been concluded.
pub(super) fn explain(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> (RunState, Option<String>, String) {
    let word = reason(attempt).map(|e| e.reason.clone());
    if let Some(stop) = &facts.stop {
        let why = if stop.reason.is_empty() { String::new() } else { format!(": {}", stop.reason) };
        return (RunState::Cancelling, word, format!("stopping{why}"));
    }
    if attempt.deleted_at.is_some() || facts.deleted_at.is_some() {
        return (RunState::Cancelling, word, "somebody outside Longshore deleted it; stopping".to_owned());
    }
    if facts.suspended {
        return (RunState::Queued, Some("Suspended".to_owned()), "held back by a queue".to_owned());
    }
    match &attempt.main {
        MainFacts::Waiting(_) if attempt.phase == AttemptPhase::Gone => {
            (RunState::Finishing, word, "its Pod is gone; what its Job says of it is waited for".to_owned())
        }
        MainFacts::Terminated(_) if attempt.main.started() || is_over(facts, attempt) => {
            (RunState::Finishing, word, "the program has ended; the cause is being settled".to_owned())
        }
        MainFacts::Running { .. } => {
            let message = match spent(started_at(attempt), now) {
                Some(time) => format!("running for {time}"),
                None => "running".to_owned(),
            };
            (RunState::Running, None, message)
        }
        _ => not_started(attempt, facts.submission.create_time, now),
    }
}

fn not_started(attempt: &AttemptFacts, create_time: Timestamp, now: Timestamp) -> (RunState, Option<String>, String) {
    let explanation = reason(attempt);
    let has_node = attempt.node.is_some() || attempt.schedule_time.is_some();
    let state = if has_node && attempt.phase != AttemptPhase::Absent { RunState::Starting } else { RunState::Pending };
    let since = if state == RunState::Starting { attempt.schedule_time } else { attempt.create_time };
    let what = match explanation {
        Some(e) if e.message.is_empty() => e.reason.clone(),
        Some(e) => format!("{}: {}", e.reason, e.message),
        None if state == RunState::Starting => "the program is being started".to_owned(),
        None if attempt.phase == AttemptPhase::Absent => "no Pod yet".to_owned(),
        None => "waiting for a node".to_owned(),
    };
    let message = match spent(since.or(Some(create_time)), now) {
        Some(time) => format!("{what} (for {time})"),
        None => what,
    };
    (state, explanation.map(|e| e.reason.clone()), message)
}

/// Why the container does not run yet, if something says so.
fn reason(attempt: &AttemptFacts) -> Option<&Explanation> {
    match &attempt.main {
        // `run` is only initialising while an init container is what stands still.
        MainFacts::Waiting(Some(explanation)) if explanation.reason == "PodInitializing" => {
            attempt.waiting.as_ref().or(Some(explanation))
        }
        MainFacts::Waiting(Some(explanation)) => Some(explanation),
        MainFacts::Waiting(None) => attempt.waiting.as_ref(),
        _ => None,
    }
}

/// The failure that the present waiting reason stands for, if it is a known cause.
#[must_use]
pub fn known_cause(attempt: &AttemptFacts) -> Option<Failure> {
    let explanation = reason(attempt)?;
    let message = explanation.message.as_str();
    let said =
        if message.is_empty() { explanation.reason.clone() } else { format!("{}: {message}", explanation.reason) };
    let reason = match explanation.reason.as_str() {
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError" => FailureReason::ImagePull,
        "InvalidImageName" | "ErrImageNeverPull" | "CreateContainerError" | "RunContainerError" => {
            FailureReason::ImageInvalid
        }
        "CreateContainerConfigError" if attempt.input_ready => FailureReason::ConfigError,
        "FailedMount" | "FailedAttachVolume" => FailureReason::ConfigError,
        "Unschedulable" if is_missing_claim(message) => FailureReason::ConfigError,
        "Unschedulable" | "SchedulingGated" => FailureReason::Unschedulable,
        "FailedCreate" if message.contains("exceeded quota") => FailureReason::Quota,
        "FailedCreate" if message.contains("forbidden") || message.contains("denied") => FailureReason::AdmissionDenied,
        "FailedCreate" => FailureReason::ConfigError,
        _ => return None,
    };
    Some(Failure::new(reason, said))
}

/// A cause that no waiting mends, once it has lasted: a name that is none, an image that must not
/// be pulled and is not there, or one that its registry does not have or does not give.
///
/// Events and waiting words only explain; a failure concluded from one needs a condition that
/// persists and a clock (DESIGN §4). `ImagePullBackOff` says that the kubelet has tried and will
/// try again, so `patience` counts from when the words began, where the backend says so. A
/// container's waiting reason has no time of its own; then it counts from the Pod's getting its
/// node, and a first refusal that comes later than that (a slow init container, a long queue of
/// pulls) ends the run at once.
#[must_use]
pub fn hopeless(
    attempt: &AttemptFacts,
    now: Timestamp,
    patience: SignedDuration,
) -> Option<Result<Failure, Timestamp>> {
    if attempt.phase != AttemptPhase::Pending || attempt.main.started() {
        return None;
    }
    let explanation = reason(attempt)?;
    let failure = known_cause(attempt)?;
    let permanent = match explanation.reason.as_str() {
        "InvalidImageName" | "ErrImageNeverPull" => true,
        "ImagePullBackOff" | "ErrImagePull" => is_refused_image(&explanation.message),
        _ => false,
    };
    if !permanent {
        return None;
    }
    let since = explanation.time.or(attempt.schedule_time).or(attempt.create_time)?;
    let due = since.checked_add(patience).ok()?;
    Some(if now >= due { Ok(failure) } else { Err(due) })
}

/// The failure of a run whose start clock passed: the cause that is known, else the clock itself.
pub(crate) fn start_deadline(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    let timeout = shown_duration(facts.submission.effective.start_timeout);
    let clock = format!("the program did not start within its start_timeout of {timeout}");
    match known_cause(attempt) {
        Some(cause) => Failure::new(cause.reason, format!("{clock}: {}", cause.message)),
        None => match reason(attempt) {
            Some(e) => {
                Failure::new(FailureReason::StartDeadline, format!("{clock}; last seen: {} {}", e.reason, e.message))
            }
            None => Failure::new(FailureReason::StartDeadline, clock),
        },
    }
}
