//! What Kubernetes' Events say: they explain, they don't decide.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Event;

use super::{cut, words};
use crate::api::names::RUN_CONTAINER;
use longshore_domain::run::Evidence;
use longshore_domain::run::facts::Explanation;

/// Most entries of evidence that are kept of one attempt.
const EVIDENCE_MAX: usize = 20;

/// The Job controller could not create the Pod: quota, admission, a missing service account.
pub(super) const FAILED_CREATE: &str = "FailedCreate";

/// What the Job controller's `SuccessfulCreate` says before the Pod's name.
const CREATED_POD: &str = "Created pod: ";

/// What every attempt's ordinary course brings: Job, Pod and timeline report it too, so that each
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
    /// Whether it warns of something.
    pub warning: bool,
    /// Whether it says that container `run` was started. That is reported elsewhere too, so it is
    /// not evidence; but a kubelet may have thrown its own word of it away.
    pub started: bool,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Uid of the object.
    pub uid: String,
    /// Its name.
    pub name: String,
}

/// What an event brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Something that explains.
    Fact(EventFact),
    /// The Job's controller made the Pod of this name: all that is left of one that came and went while nobody looked.
    PodCreated(String),
}

/// Reads an event about a Job or a Pod. `None`: it is about something else, does not say about which, or says what that
/// object reports too.
#[must_use]
pub fn said(event: &Event) -> Option<(Subject, Said)> {
    let about = match event.involved_object.kind.as_deref() {
        Some("Job") => About::Job,
        Some("Pod") => About::Pod,
        _ => return None,
    };
    let reason = event.reason.as_deref().unwrap_or_default();
    let warning = event.type_.as_deref() == Some("Warning");
    let started = (about, reason) == (About::Pod, "Started") && is_about_run(event);
    let uid = event.involved_object.uid.clone().filter(|uid| !uid.is_empty())?;
    let subject = Subject { uid, name: event.involved_object.name.clone().unwrap_or_default() };
    if !warning && !started && ORDINARY.contains(&(about, reason)) {
        let pod = event.message.as_deref()?.strip_prefix(CREATED_POD)?;
        return (about == About::Job).then(|| (subject, Said::PodCreated(pod.to_owned())));
    }
    let fact = EventFact {
        about,
        reason: reason.to_owned(),
        message: cut(event.message.as_deref().unwrap_or_default()),
        time: last_seen(event),
        count: count(event),
        warning,
        started,
    };
    Some((subject, Said::Fact(fact)))
}

fn is_about_run(event: &Event) -> bool {
    let field = format!("spec.containers{{{RUN_CONTAINER}}}");
    event.involved_object.field_path.as_deref() == Some(field.as_str())
}

/// The Event that container `run` was started.
pub(super) fn run_started(events: &[EventFact]) -> Option<&EventFact> {
    events.iter().find(|event| event.started)
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
pub(super) fn creation_failure(job: &Job, events: &[EventFact]) -> Option<Explanation> {
    let newest = failed_creates(events).max_by_key(|event| event.time)?;
    Some(words::explanation(job, newest.reason.clone(), newest.message.clone(), newest.time))
}

/// What was said last of a Job that is held back: the queue's words, or the controller's.
pub(super) fn held_back(job: &Job, events: &[EventFact]) -> Option<Explanation> {
    let of_job = events.iter().filter(|event| event.about == About::Job && event.reason != FAILED_CREATE);
    let newest = of_job.max_by_key(|event| event.time)?;
    Some(words::explanation(job, newest.reason.clone(), newest.message.clone(), newest.time))
}

/// What an Event warns of while a Pod that has its node is made ready: a sandbox or a volume that
/// can't be made. Once anything else is reported of the Pod that trouble has passed.
///
/// Left out is what the Pod's own status reports: no node, an image that can't be pulled.
pub(super) fn trouble(job: &Job, events: &[EventFact]) -> Option<Explanation> {
    const REPORTED_ELSEWHERE: [&str; 4] = ["FailedScheduling", "BackOff", "Failed", "InspectFailed"];
    let of_pod = || events.iter().filter(|event| event.about == About::Pod);
    let is_trouble = |event: &&EventFact| event.warning && !REPORTED_ELSEWHERE.contains(&event.reason.as_str());
    let newest = of_pod().filter(is_trouble).max_by_key(|event| event.time)?;
    let passed = of_pod().any(|event| !event.warning && event.time > newest.time);
    (!passed).then(|| words::explanation(job, newest.reason.clone(), newest.message.clone(), newest.time))
}

fn failed_creates(events: &[EventFact]) -> impl Iterator<Item = &EventFact> {
    events.iter().filter(|event| event.about == About::Job && event.reason == FAILED_CREATE)
}

/// The newest events, oldest first, then `waiting`: what is still waited for, unless an event says
/// the same. At most [`EVIDENCE_MAX`] together.
pub(super) fn evidence(events: &[EventFact], waiting: Option<&Explanation>) -> Vec<Evidence> {
    let is_news = |event: &&EventFact| !is_failed_create(event) && !event.started;
    let mut evidence: Vec<Evidence> = events.iter().filter(is_news).map(evidence_of).collect();
    evidence.extend(failed_creates_together(events));
    evidence.sort_by_key(|entry| entry.report_time);
    if let Some(waiting) = waiting {
        let is_known = |entry: &Evidence| entry.reason == waiting.reason && entry.message == waiting.message;
        if !evidence.iter().any(is_known) {
            let Explanation { reason, message, time, .. } = waiting.clone();
            evidence.push(Evidence { report_time: time, reason, message, count: 1 });
        }
    }
    evidence.drain(..evidence.len().saturating_sub(EVIDENCE_MAX));
    evidence
}

fn evidence_of(event: &EventFact) -> Evidence {
    let EventFact { about: _, reason, message, time, count, warning: _, started: _ } = event.clone();
    Evidence { report_time: time, reason, message, count }
}

fn is_failed_create(event: &EventFact) -> bool {
    event.about == About::Job && event.reason == FAILED_CREATE
}

/// Each `FailedCreate` names another Pod that never was, so Kubernetes counts none of them
/// together; reported once, in the newest words.
fn failed_creates_together(events: &[EventFact]) -> Option<Evidence> {
    let newest = failed_creates(events).max_by_key(|event| event.time)?;
    let count = failed_creates(events).fold(0_u32, |sum, event| sum.saturating_add(event.count));
    Some(Evidence { count, ..evidence_of(newest) })
}
