//! What Kubernetes' Events say: they explain, they don't decide.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use super::cut;
use crate::domain::facts::Explanation;
use crate::domain::run::Evidence;

/// Most entries of evidence that are kept of one attempt.
const EVIDENCE_MAX: usize = 20;

/// The Job controller could not create the Pod: quota, admission, a missing service account.
pub(super) const FAILED_CREATE: &str = "FailedCreate";

/// What every attempt's ordinary course brings: Job, Pod and timeline tell it too, so that each
/// such event would be a change of the run that says nothing new.
const ORDINARY: [(About, &str); 4] =
    [(About::Job, "SuccessfulCreate"), (About::Pod, "Scheduled"), (About::Pod, "Created"), (About::Pod, "Started")];

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// The Job.
    Job,
    /// The Pod.
    Pod,
}

/// One thing that Kubernetes said about a Job or a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFact {
    /// About what.
    pub about: About,
    /// In one word.
    pub reason: String,
    /// In a sentence, at most 1 KiB.
    pub message: String,
    /// When last.
    pub time: Option<Timestamp>,
    /// How often.
    pub count: u32,
}

/// Reads an event about a Job or a Pod, with the uid of that object. `None`: it is about something
/// else, does not say about which, or says what that object tells too.
#[must_use]
pub fn event_fact(event: &Event) -> Option<(String, EventFact)> {
    let about = match event.involved_object.kind.as_deref() {
        Some("Job") => About::Job,
        Some("Pod") => About::Pod,
        _ => return None,
    };
    let reason = event.reason.as_deref().unwrap_or_default();
    if event.type_.as_deref() != Some("Warning") && ORDINARY.contains(&(about, reason)) {
        return None;
    }
    let uid = event.involved_object.uid.clone().filter(|uid| !uid.is_empty())?;
    let fact = EventFact {
        about,
        reason: reason.to_owned(),
        message: cut(event.message.as_deref().unwrap_or_default()),
        time: last_seen(event),
        count: count(event),
    };
    Some((uid, fact))
}

/// Old recorders write first and last timestamps, new ones `eventTime` and a series.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = || event.last_timestamp.as_ref().map(|time| time.0);
    let only = || event.event_time.as_ref().map(|time| time.0);
    let first = || event.first_timestamp.as_ref().map(|time| time.0);
    let created = || event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    series.or_else(last).or_else(only).or_else(first).or_else(created)
}

fn count(event: &Event) -> u32 {
    let series = event.series.as_ref().and_then(|series| series.count);
    let count = series.or(event.count).unwrap_or(1);
    u32::try_from(count).unwrap_or(1).max(1)
}

/// Why the Pod could not be created, by the newest attempt to.
pub(super) fn creation_failure(events: &[EventFact]) -> Option<Explanation> {
    let newest = failed_creates(events).max_by_key(|event| event.time)?;
    Some(Explanation { reason: newest.reason.clone(), message: newest.message.clone(), time: newest.time })
}

fn failed_creates(events: &[EventFact]) -> impl Iterator<Item = &EventFact> {
    events.iter().filter(|event| event.about == About::Job && event.reason == FAILED_CREATE)
}

/// The newest events, oldest first, then `waiting`: what is still waited for, unless an event says
/// the same. At most [`EVIDENCE_MAX`] together.
pub(super) fn evidence(events: &[EventFact], waiting: Option<&Explanation>) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> = events.iter().filter(|event| !is_failed_create(event)).map(told).collect();
    evidence.extend(failed_creates_together(events));
    evidence.sort_by_key(|entry| entry.report_time);
    if let Some(waiting) = waiting {
        let told = |entry: &Evidence| entry.reason == waiting.reason && entry.message == waiting.message;
        if !evidence.iter().any(told) {
            let Explanation { reason, message, time } = waiting.clone();
            evidence.push(Evidence { report_time: time, reason, message, count: 1 });
        }
    }
    evidence.drain(..evidence.len().saturating_sub(EVIDENCE_MAX));
    evidence
}

fn told(event: &EventFact) -> Evidence {
    let EventFact { about: _, reason, message, time, count } = event.clone();
    Evidence { report_time: time, reason, message, count }
}

fn is_failed_create(event: &EventFact) -> bool {
    event.about == About::Job && event.reason == FAILED_CREATE
}

/// Each `FailedCreate` names another Pod that never was, so Kubernetes counts none of them
/// together; told once, in the newest words.
fn failed_creates_together(events: &[EventFact]) -> Option<Evidence> {
    let newest = failed_creates(events).max_by_key(|event| event.time)?;
    let count = failed_creates(events).fold(0_u32, |sum, event| sum.saturating_add(event.count));
    Some(Evidence { count, ..told(newest) })
}
