//! Why a run does not run yet, in the backend's own words, and what that means for its clocks.

use jiff::{SignedDuration, Timestamp};

use super::super::facts::{AttemptFacts, AttemptPhase, Explanation, MainFacts, Mentions, RunFacts, WaitCause};
use super::super::failure::{Failure, FailureClass, FailureReason};
use crate::run::view::{RunState, shown_duration};

/// State, word and sentence of an attempt that has not been concluded.
pub(crate) fn explain(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> (RunState, Option<String>, String) {
    let word = reason(attempt).map(|e| e.reason.clone());
    if facts.unknown.as_ref().is_some_and(|unknown| unknown.nothing_lives) {
        return (RunState::Finishing, word, "nothing of it is running any more".to_owned());
    }
    if let Some(stop) = &facts.stop {
        let why = if stop.reason.is_empty() { String::new() } else { format!(": {}", stop.reason) };
        let silent = silence(facts, attempt, now).map(|silence| format!("; {silence}")).unwrap_or_default();
        return (RunState::Cancelling, word, format!("stopping{why}{silent}"));
    }
    if facts.deletion_of(attempt).is_some() {
        return (RunState::Cancelling, word, "somebody outside Longshore deleted its Job; stopping".to_owned());
    }
    if facts.suspended && !attempt.main.started() {
        return queued(facts, attempt, now);
    }
    if let Some((word, message)) = ended_by_platform(attempt) {
        return (RunState::Finishing, Some(word), message);
    }
    match &attempt.main {
        MainFacts::Running { .. } if attempt.phase == AttemptPhase::Gone => {
            (RunState::Finishing, word, "its Pod is gone; waiting for its Job's status".to_owned())
        }
        MainFacts::Waiting(_) if attempt.phase == AttemptPhase::Gone => {
            (RunState::Finishing, word, "its Pod is gone; waiting for its Job's status".to_owned())
        }
        MainFacts::Terminated(_) if attempt.main.started() || attempt.phase.is_over() => {
            (RunState::Finishing, word, "the program has ended; the cause is being settled".to_owned())
        }
        MainFacts::Running { .. } => (RunState::Running, None, running(facts, attempt, now)),
        _ => not_started(attempt, facts.began_at(), now),
    }
}

/// In the words of the queue, where it has some.
fn queued(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> (RunState, Option<String>, String) {
    let said = match &attempt.main {
        MainFacts::Waiting(waiting) => waiting.as_ref().or(attempt.waiting.as_ref()),
        _ => None,
    };
    match said {
        Some(explanation) if attempt.pod.is_none() => {
            let time = spent(Some(facts.began_at()), now).map(|time| format!(" (for {time})"));
            let message = format!("{}{}", explanation.message, time.unwrap_or_default());
            (RunState::Queued, Some(explanation.reason.clone()), message)
        }
        _ => (RunState::Queued, Some("Suspended".to_owned()), "held back by a queue".to_owned()),
    }
}

fn running(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> String {
    let running = match spent(attempt.started_at(), now) {
        Some(time) => format!("running for {time}"),
        None => "running".to_owned(),
    };
    match silence(facts, attempt, now) {
        Some(silence) => format!("{running}, as far as is known: {silence}"),
        None => running,
    }
}

/// Since when its node does not report, which clock has passed meanwhile that only the node enforces, and when it counts as
/// lost.
fn silence(facts: &RunFacts, attempt: &AttemptFacts, now: Timestamp) -> Option<String> {
    let since = attempt.silent_since.filter(|_| attempt.is_silent())?;
    let time = spent(Some(since), now).map(|time| format!(" for {time}")).unwrap_or_default();
    let mut said = format!("its node has not reported{time}");
    let timeout = facts.submission.effective.run_timeout;
    let due =
        attempt.started_at().and_then(|started| started.checked_add(SignedDuration::try_from(timeout).ok()?).ok());
    if let Some(passed) = due.and_then(|due| spent(Some(due), now).filter(|_| due <= now)) {
        let timeout = shown_duration(timeout);
        said.push_str(&format!("; its run_timeout of {timeout} passed {passed} ago, and only the node enforces it"));
    }
    if let Some(left) = attempt.lost_at.filter(|lost| *lost > now).and_then(|lost| spent(Some(now), lost)) {
        said.push_str(&format!("; it counts as lost in {left}"));
    }
    Some(said)
}

/// Word and sentence, if the platform, or somebody outside Longshore, is ending the program.
fn ended_by_platform(attempt: &AttemptFacts) -> Option<(String, String)> {
    if attempt.phase == AttemptPhase::Gone || matches!(attempt.main, MainFacts::Terminated(_)) {
        return None;
    }
    let said = |reason: &str, message: &str| {
        let said = if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
        let what = if attempt.main.started() { "the program is being ended" } else { "its Pod is being taken away" };
        Some((reason.to_owned(), format!("{what}: {said}")))
    };
    if let Some(condition) = &attempt.disruption {
        return said(&condition.reason, &condition.message);
    }
    if let Some(ended) = &attempt.ended_by {
        return said(&ended.reason, &ended.message);
    }
    if let Some(eviction) = &attempt.eviction {
        return said(&eviction.reason, &eviction.message);
    }
    attempt.deleted_at?;
    said("Deleted", "somebody outside Longshore deleted its Pod")
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

/// How long ago `since` was, for people; nothing for less than a second.
fn spent(since: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let seconds = since.map(|since| now.duration_since(since).as_secs()).filter(|s| *s > 0)?;
    Some(shown_duration(std::time::Duration::from_secs(seconds.unsigned_abs())))
}

/// Why the container does not run yet, if something says so.
fn reason(attempt: &AttemptFacts) -> Option<&Explanation> {
    match &attempt.main {
        // Words of the ordinary course say less than what stands in its way: an init container, or
        // what an Event warns of.
        MainFacts::Waiting(Some(explanation)) if explanation.cause == WaitCause::Ordinary => {
            attempt.waiting.as_ref().or(Some(explanation))
        }
        MainFacts::Waiting(Some(explanation)) => Some(explanation),
        MainFacts::Waiting(None) => attempt.waiting.as_ref(),
        _ => None,
    }
}

/// What the words are about that say why the container does not run yet.
pub(super) fn mentions(attempt: &AttemptFacts) -> Mentions {
    reason(attempt).map(|explanation| explanation.mentions).unwrap_or_default()
}

/// Whether the image is not there yet, so that no container can start from it.
pub(super) fn is_pulling(attempt: &AttemptFacts) -> bool {
    use WaitCause::{ImageAbsent, ImageName, ImagePull, RegistryUnavailable};
    let pulls = |explanation: &Explanation| {
        matches!(explanation.cause, ImagePull | RegistryUnavailable | ImageAbsent | ImageName)
    };
    // A pull that stalls is one that was begun and not done.
    matches!(&attempt.main, MainFacts::Waiting(waiting) if attempt.is_pulling || waiting.as_ref().is_some_and(pulls))
}

/// The failure that the present waiting reason stands for, if it is a known cause.
#[must_use]
pub fn known_cause(attempt: &AttemptFacts) -> Option<Failure> {
    let explanation = reason(attempt)?;
    let message = explanation.message.as_str();
    let said =
        if message.is_empty() { explanation.reason.clone() } else { format!("{}: {message}", explanation.reason) };
    let reason = match explanation.cause {
        WaitCause::ImagePull | WaitCause::RegistryUnavailable | WaitCause::ImageInspection => FailureReason::ImagePull,
        WaitCause::ImageName | WaitCause::ImageAbsent | WaitCause::Container | WaitCause::NoCommand => {
            FailureReason::ImageInvalid
        }
        // It was there once.
        WaitCause::ContainerConfig { own_input: true } | WaitCause::VolumeSource { own_input: true }
            if attempt.input_ready =>
        {
            FailureReason::Deleted
        }
        WaitCause::ContainerConfig { .. } if attempt.input_ready => FailureReason::ConfigError,
        // A name that is not there is the request's; all else is the node's or its storage's.
        WaitCause::VolumeSource { .. } | WaitCause::VolumeClaim => FailureReason::ConfigError,
        WaitCause::MemoryLimit => {
            let said = format!("{said}; raise resources.limits[\"memory\"]");
            return Some(Failure::new(FailureReason::ConfigError, said));
        }
        WaitCause::Volume | WaitCause::Node | WaitCause::ControlPlane => return Some(infra(said)),
        WaitCause::Unschedulable => FailureReason::Unschedulable,
        WaitCause::Quota => FailureReason::Quota,
        // The profile's, or of an admission webhook.
        WaitCause::InitContainer => {
            return Some(Failure::new(FailureReason::ConfigError, message).of_class(FailureClass::Platform));
        }
        WaitCause::ClusterSetup => {
            return Some(Failure::new(FailureReason::ConfigError, said).of_class(FailureClass::Platform));
        }
        WaitCause::AdmissionDenied => FailureReason::AdmissionDenied,
        WaitCause::Refused => FailureReason::ConfigError,
        WaitCause::Ordinary | WaitCause::ContainerConfig { .. } | WaitCause::Other => return None,
    };
    Some(Failure::new(reason, said))
}

/// Not started in time, and for a reason that no caller can fix.
fn infra(said: String) -> Failure {
    Failure::new(FailureReason::StartDeadline, said).of_class(FailureClass::Infra)
}

/// How long an image that its registry refuses may still turn up before the run is given up.
const PULL_PATIENCE: SignedDuration = SignedDuration::from_secs(15);
/// How long a Pod may stand by what its spec or its image says before the run is given up.
const SPEC_PATIENCE: SignedDuration = SignedDuration::from_secs(3);

/// What is to be made of the cause why a Pod has not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartOutlook {
    /// None is known that waiting could not remove.
    Open,
    /// The cause is given until then to go away.
    GivenUpAt(Timestamp),
    /// It has lasted too long.
    GivenUp(Failure),
}

/// A cause that waiting does not remove, once it has lasted: a name that is none, an image that has
/// no command, must not be pulled and is not there, or that its registry does not have or does not
/// give.
///
/// Events and waiting words only explain; a failure concluded from one needs a condition that
/// persists and a clock (docs/architecture.md, "Clocks"). A pull that is backed off has been tried and
/// will be tried again, so the patience counts from when the words began, where the backend says so.
/// A container's waiting reason has no time of its own; then it counts from the Pod's getting its
/// node, and a first refusal that comes later than that (a slow init container, a long queue of
/// pulls) ends the run at once.
pub(crate) fn start_outlook(attempt: &AttemptFacts, now: Timestamp) -> StartOutlook {
    match permanent_failure(attempt) {
        None => StartOutlook::Open,
        Some((due, _)) if now < due => StartOutlook::GivenUpAt(due),
        Some((_, failure)) => StartOutlook::GivenUp(failure),
    }
}

/// The failure, and from when on it is one.
fn permanent_failure(attempt: &AttemptFacts) -> Option<(Timestamp, Failure)> {
    if attempt.phase != AttemptPhase::Pending || attempt.main.started() {
        return None;
    }
    let explanation = reason(attempt)?;
    let failure = known_cause(attempt)?;
    let patience = match explanation.cause {
        WaitCause::ImageName | WaitCause::ImageAbsent | WaitCause::NoCommand => SPEC_PATIENCE,
        WaitCause::ImagePull if explanation.mentions.refusal => PULL_PATIENCE,
        _ => return None,
    };
    let since = explanation.time.or(attempt.schedule_time).or(attempt.create_time)?;
    Some((since.checked_add(patience).ok()?, failure))
}

/// The failure of a run whose start clock passed: the cause that is known, else the clock itself.
pub(crate) fn start_deadline(facts: &RunFacts, attempt: &AttemptFacts) -> Failure {
    let timeout = shown_duration(facts.submission.effective.start_timeout);
    let clock = format!("the program did not start within its start_timeout of {timeout}");
    match known_cause(attempt) {
        Some(cause) => Failure { message: format!("{clock}: {}", cause.message), ..cause },
        None => match reason(attempt) {
            Some(e) if e.message.is_empty() => {
                Failure::new(FailureReason::StartDeadline, format!("{clock}; last seen: {}", e.reason))
            }
            Some(e) => {
                Failure::new(FailureReason::StartDeadline, format!("{clock}; last seen: {}: {}", e.reason, e.message))
            }
            None => Failure::new(FailureReason::StartDeadline, clock),
        },
    }
}
