//! Events: they explain, and may come before what they are about.

use std::collections::VecDeque;

use super::super::super::facts::{About, EventFact, Subject};
use super::super::super::identity::named;
use super::super::super::memory::Memory;
use super::{JobRef, NamespaceIndex, RunChange};
use crate::api::job::is_annotated;
use crate::api::names::annotation;

/// Most events that are kept for objects that were not reported yet. Watches know no order among
/// them; most of what is here is about objects that are not ours.
const STRAY_EVENTS_MAX: usize = 256;

/// An Event, and what it is about.
#[derive(Debug)]
pub(in super::super) struct StrayEvent {
    pub(in super::super) subject: Subject,
    /// Name of the Event object.
    pub(in super::super) name: String,
    pub(in super::super) fact: EventFact,
}

impl NamespaceIndex {
    pub(in super::super) fn put_event(&mut self, event: StrayEvent, memory: &Memory) -> RunChange {
        let owner = self.owners.get(&event.subject.uid).cloned().or_else(|| self.owner_of_unseen(&event, memory));
        let Some(owner) = owner else {
            if self.stray_events.len() >= STRAY_EVENTS_MAX {
                self.stray_events.pop_front();
            }
            self.stray_events.push_back(event);
            return RunChange::None;
        };
        self.keep_event(&owner, &event.name, event.fact, memory)
    }

    /// The Job with this uid is said to have made this Pod. Where that was seen there is nothing new in it.
    pub(in super::super) fn name_pod(&mut self, job_uid: &str, pod: String, memory: &Memory) -> RunChange {
        let Some(owner) = self.owners.get(job_uid).cloned() else { return RunChange::None };
        let is_seen = memory.pod_was_seen(job_uid) || self.job(&owner).is_none_or(|job| job.pod.is_some());
        if is_seen || self.is_recorded(&owner) {
            return RunChange::None;
        }
        memory.name_pod(job_uid, pod);
        for event in std::mem::take(&mut self.stray_events) {
            self.put_event(event, memory);
        }
        RunChange::One(owner.anchor)
    }

    /// The Job of a Pod that was never seen, by the name that the Job's controller says that it gave it.
    fn owner_of_unseen(&self, event: &StrayEvent, memory: &Memory) -> Option<JobRef> {
        let (job, _) = event.subject.name.rsplit_once('-').filter(|_| event.fact.about == About::Pod)?;
        let (number, run) = named(job)?;
        let (anchor, run) = self.runs.get_key_value(format!("run-{run}").as_str())?;
        (memory.unseen_pod(&run.job(number)?.uid)? == event.subject.name)
            .then(|| JobRef { anchor: anchor.clone(), number })
    }

    fn keep_event(&mut self, owner: &JobRef, name: &str, event: EventFact, memory: &Memory) -> RunChange {
        // What was worth keeping of a run that has a record is in the record.
        match self.job(owner).filter(|_| !self.is_recorded(owner)) {
            Some(job) => {
                memory.add_event(&job.uid, name, event);
                RunChange::One(owner.anchor.clone())
            }
            None => RunChange::None,
        }
    }

    pub(super) fn adopt_events(&mut self, uid: &str, owner: &JobRef, memory: &Memory) {
        let strays = std::mem::take(&mut self.stray_events);
        let (own, strays): (VecDeque<_>, VecDeque<_>) = strays.into_iter().partition(|event| event.subject.uid == uid);
        self.stray_events = strays;
        for event in own {
            self.keep_event(owner, &event.name, event.fact, memory);
        }
    }

    fn is_recorded(&self, owner: &JobRef) -> bool {
        self.runs.get(&owner.anchor).is_some_and(|run| is_annotated(&run.anchor.job, annotation::RECORD))
    }
}
