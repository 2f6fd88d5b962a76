//! What this process knows of runs beside their Job and Pod objects; shared by the watch, which
//! learns it, and the calls, which use it. All of it may be forgotten: it saves questions.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::facts::EventFact;

/// Most events that are kept of one run.
const EVENTS_MAX: usize = 16;

/// By uid of the Job.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    jobs: Mutex<HashMap<String, JobMemory>>,
}

/// What is known of one Job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct JobMemory {
    /// Its Pod, while there is one.
    pub(crate) pod: Option<PodRef>,
    /// Whether there ever was one.
    pub(crate) pod_was_seen: bool,
    /// Name of a Pod that there is said to have been, as long as none was seen.
    pub(crate) unseen_pod: Option<String>,
    /// The last state of a Pod that is gone, until there is another.
    pub(crate) last_pod: Option<Arc<Pod>>,
    /// Whether its input Secret was seen or written.
    pub(crate) input_confirmed: bool,
    /// What was said about it, oldest first.
    pub(crate) events: Vec<EventFact>,
    /// Names of the Event objects, in the order of `events`.
    names: Vec<String>,
}

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodRef {
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Memory {
    pub(crate) fn of(&self, job_uid: &str) -> JobMemory {
        self.lock().get(job_uid).cloned().unwrap_or_default()
    }

    pub(crate) fn pod(&self, job_uid: &str) -> Option<PodRef> {
        self.lock().get(job_uid)?.pod.clone()
    }

    pub(crate) fn set_pod(&self, job_uid: &str, pod: PodRef) {
        let mut jobs = self.lock();
        let job = jobs.entry(job_uid.to_owned()).or_default();
        job.pod_was_seen = true;
        job.unseen_pod = None;
        job.last_pod = None;
        job.pod = Some(pod);
    }

    /// Keeps the name of a Pod that was not seen.
    pub(crate) fn name_pod(&self, job_uid: &str, pod: String) {
        self.lock().entry(job_uid.to_owned()).or_default().unseen_pod = Some(pod);
    }

    pub(crate) fn unseen_pod(&self, job_uid: &str) -> Option<String> {
        self.lock().get(job_uid)?.unseen_pod.clone()
    }

    /// Keeps the last state of the Job's Pod, which is gone; until the Job goes too.
    pub(crate) fn lose_pod(&self, job_uid: &str, last: Arc<Pod>) {
        let mut jobs = self.lock();
        let job = jobs.entry(job_uid.to_owned()).or_default();
        job.pod_was_seen = true;
        job.unseen_pod = None;
        job.last_pod = Some(last);
        job.pod = None;
    }

    pub(crate) fn last_pod(&self, job_uid: &str) -> Option<Arc<Pod>> {
        self.lock().get(job_uid)?.last_pod.clone()
    }

    pub(crate) fn confirm_input(&self, job_uid: &str) {
        self.lock().entry(job_uid.to_owned()).or_default().input_confirmed = true;
    }

    pub(crate) fn input_confirmed(&self, job_uid: &str) -> bool {
        self.lock().get(job_uid).is_some_and(|job| job.input_confirmed)
    }

    pub(crate) fn pod_was_seen(&self, job_uid: &str) -> bool {
        self.lock().get(job_uid).is_some_and(|job| job.pod_was_seen)
    }

    /// Keeps an event, in place of an earlier state of the same Event object.
    pub(crate) fn add_event(&self, job_uid: &str, name: &str, event: EventFact) {
        let mut jobs = self.lock();
        let job = jobs.entry(job_uid.to_owned()).or_default();
        if let Some(at) = job.names.iter().position(|known| known == name) {
            job.names.remove(at);
            job.events.remove(at);
        } else if job.events.len() >= EVENTS_MAX {
            job.names.remove(0);
            job.events.remove(0);
        }
        job.names.push(name.to_owned());
        job.events.push(event);
    }

    /// Forgets the events of a run whose record has what was worth keeping.
    pub(crate) fn drop_events(&self, job_uid: &str) {
        if let Some(job) = self.lock().get_mut(job_uid) {
            job.names = Vec::new();
            job.events = Vec::new();
        }
    }

    pub(crate) fn forget(&self, job_uid: &str) {
        self.lock().remove(job_uid);
    }

    /// Forgets every Job that `known` does not have.
    pub(crate) fn retain(&self, known: &HashSet<&str>) {
        self.lock().retain(|uid, _| known.contains(uid.as_str()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, JobMemory>> {
        // Nothing that runs under the lock leaves it half-done.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::facts::About;

    fn event(reason: &str, count: u32) -> EventFact {
        EventFact {
            about: About::Pod,
            reason: reason.to_owned(),
            message: String::new(),
            time: None,
            count,
            warning: false,
            started: false,
        }
    }

    #[test]
    fn an_event_that_repeats_is_kept_once() {
        let memory = Memory::default();
        memory.add_event("j", "e1", event("BackOff", 1));
        memory.add_event("j", "e2", event("Pulling", 1));
        memory.add_event("j", "e1", event("BackOff", 2));
        let counts: Vec<_> = memory.of("j").events.into_iter().map(|event| (event.reason, event.count)).collect();
        assert_eq!(counts, [("Pulling".to_owned(), 1), ("BackOff".to_owned(), 2)]);
    }

    #[test]
    fn events_are_bounded_and_the_newest_stay() {
        let memory = Memory::default();
        for n in 0..100 {
            memory.add_event("j", &format!("e{n}"), event(&format!("r{n}"), 1));
        }
        let events = memory.of("j").events;
        assert_eq!(events.len(), EVENTS_MAX);
        assert_eq!(events.last().map(|event| event.reason.as_str()), Some("r99"));
    }

    #[test]
    fn a_pod_that_went_was_seen() {
        let memory = Memory::default();
        assert!(!memory.pod_was_seen("j"));
        memory.set_pod("j", PodRef { name: "p".into(), uid: "u".into() });
        memory.lose_pod("j", Arc::default());
        assert!(memory.pod_was_seen("j"));
        assert_eq!((memory.pod("j"), memory.last_pod("j")), (None, Some(Arc::default())));
        memory.set_pod("j", PodRef { name: "p2".into(), uid: "u2".into() });
        assert_eq!(memory.last_pod("j"), None);
    }
}
