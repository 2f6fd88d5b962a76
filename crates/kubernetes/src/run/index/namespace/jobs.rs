//! Jobs: anchors, with which runs come and go, and those of further attempts.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;

use super::super::super::identity::{belongs_to, number_of, run_of};
use super::super::super::memory::Memory;
use super::super::run::{IndexedJob, IndexedRun};
use super::super::{LeftJob, Leftover, strip};
use super::{JobRef, KindState, NamespaceIndex, RunChange, releases_dependents};
use crate::api::job::{self, is_annotated};
use crate::api::names::{annotation, label, result_secret_name};
use longshore_domain::name::RunName;

/// Which Job it is.
struct JobIdentity {
    /// Name of the run's anchor.
    anchor: Arc<str>,
    name: RunName,
    number: u32,
    uid: String,
}

/// A Job of a further attempt that belongs to no run that is known.
#[derive(Debug)]
pub(super) struct StrayJob {
    number: u32,
    uid: String,
    /// With its owners.
    job: Box<Job>,
    job_list: u64,
}

impl StrayJob {
    fn leftover(&self, anchor: &Arc<str>) -> Option<Leftover> {
        let is_orphan = self.job.metadata.owner_references.as_ref().is_none_or(Vec::is_empty);
        Leftover::of(&self.job, &self.uid, anchor, is_orphan)
    }
}

impl NamespaceIndex {
    pub(in super::super) fn begin_jobs(&mut self) -> RunChange {
        self.job_list += 1;
        RunChange::None
    }

    pub(in super::super) fn put_job(&mut self, job: Job, memory: &Memory) -> RunChange {
        match self.identity(&job) {
            None => RunChange::None,
            Some(identity) if identity.number == 1 => self.put_anchor(identity, job, memory),
            Some(JobIdentity { anchor, number, uid, .. }) => {
                let stray = StrayJob { number, uid, job: with_owners(job), job_list: self.job_list };
                self.put_further(anchor, stray, memory)
            }
        }
    }

    fn put_anchor(&mut self, identity: JobIdentity, job: Job, memory: &Memory) -> RunChange {
        let JobIdentity { anchor, name, uid, .. } = identity;
        let job = strip::job(job);
        let is_recorded = is_annotated(&job, annotation::RECORD);
        let lists = (self.job_list, self.pod_list);
        if let Some(run) = self.runs.get_mut(&anchor)
            && run.anchor.uid == uid
        {
            if is_recorded {
                run.jobs().for_each(|job| memory.drop_events(&job.uid));
            }
            return if run.anchor.renew(job, lists.0) { RunChange::One(anchor) } else { RunChange::None };
        }
        let emitted = self.remove(&anchor, memory).is_some_and(|old| old.emitted);
        let run = IndexedRun::new(name, IndexedJob::new(1, Arc::clone(&anchor), uid.clone(), job, lists));
        self.runs.insert(Arc::clone(&anchor), IndexedRun { emitted, ..run });
        if is_recorded {
            memory.drop_events(&uid);
        }
        self.adopt(&uid, JobRef { anchor: Arc::clone(&anchor), number: 1 }, memory);
        for stray in self.stray_jobs.remove(&anchor).into_iter().flatten() {
            self.put_further(Arc::clone(&anchor), stray, memory);
        }
        RunChange::One(anchor)
    }

    fn put_further(&mut self, anchor: Arc<str>, stray: StrayJob, memory: &Memory) -> RunChange {
        let lists = (stray.job_list, self.pod_list);
        if let Some(run) = self.runs.get_mut(&anchor)
            && let Some(known) = run.further.iter_mut().find(|known| known.uid == stray.uid)
        {
            let job = without_owners(stray.job);
            return if known.renew(job, lists.0) { RunChange::One(anchor) } else { RunChange::None };
        }
        let strays = self.stray_jobs.entry(Arc::clone(&anchor)).or_default();
        strays.retain(|known| known.uid != stray.uid);
        let Some(run) = self.runs.get_mut(&anchor).filter(|run| belongs_to(&stray.job, &run.anchor.job)) else {
            // Of those that a list reports, its end shows which have no anchor.
            if self.states.first() == Some(&KindState::Current) {
                self.leftovers.extend(stray.leftover(&anchor));
            }
            strays.push(stray);
            return RunChange::None;
        };
        if strays.is_empty() {
            self.stray_jobs.remove(&anchor);
        }
        let StrayJob { number, uid, job, .. } = stray;
        let key = Arc::from(job.metadata.name.as_deref().unwrap_or_default());
        let at = run.further.partition_point(|known| known.number < number);
        let old = run.further.get(at).is_some_and(|known| known.number == number).then(|| run.further.remove(at));
        run.further.insert(at, IndexedJob::new(number, key, uid.clone(), without_owners(job), lists));
        if let Some(old) = old {
            self.disown(&old, memory);
        }
        self.adopt(&uid, JobRef { anchor: Arc::clone(&anchor), number }, memory);
        RunChange::One(anchor)
    }

    /// Takes over what was reported of a Job before it.
    fn adopt(&mut self, uid: &str, owner: JobRef, memory: &Memory) {
        self.owners.insert(uid.to_owned(), owner.clone());
        self.adopt_events(uid, &owner, memory);
        if let Some(pod) = self.stray_pods.remove(uid) {
            self.put_pod(pod, memory);
        }
    }

    /// What has to be found out about a Job that left the watch: nothing announced that it goes, so
    /// that it may only have lost its labels; or its dependents were released before it.
    pub(in super::super) fn left(&mut self, target: &Arc<str>, job: &Job) -> Option<LeftJob> {
        let owner = self.find(job.metadata.uid.as_deref()?)?;
        let run = self.runs.get_mut(&owner.anchor)?;
        let secrets = [result_secret_name(&run.name.run)];
        let known = run.job_mut(owner.number)?;
        let metadata = &known.job.metadata;
        if known.gone || (metadata.deletion_timestamp.is_some() && !releases_dependents(&known.job)) {
            return None;
        }
        let ours = |label: &str| label == label::MANAGED_BY || label.starts_with(label::PREFIX);
        let labels = metadata.labels.iter().flatten().filter(|(label, _)| ours(label));
        let labels = labels.map(|(label, value)| (label.clone(), value.clone())).collect();
        let input = job::annotation(&known.job, annotation::INPUT);
        let secrets = input.map(str::to_owned).into_iter().chain(secrets).filter(|_| owner.number == 1).collect();
        known.left = true;
        let (job, uid) = (Arc::clone(&known.key), known.uid.clone());
        Some(LeftJob { namespace: Arc::clone(target), job, uid, labels, secrets })
    }

    pub(in super::super) fn delete_job(&mut self, job: &Job, memory: &Memory) -> RunChange {
        let Some(uid) = job.metadata.uid.as_deref() else { return RunChange::None };
        if let Some(owner) = self.find(uid) {
            return self.forget(&owner, memory);
        }
        self.stray_jobs.retain(|_, strays| {
            strays.retain(|stray| stray.uid != uid);
            !strays.is_empty()
        });
        RunChange::None
    }

    /// Forgets a run whose anchor is known to be gone. That a further attempt's Job is gone is reported of its run.
    pub(in super::super) fn forget(&mut self, owner: &JobRef, memory: &Memory) -> RunChange {
        if owner.number == 1 {
            let gone = self.remove(&owner.anchor, memory).filter(|run| run.emitted);
            let names = gone.map(|run| run.name).into_iter().collect();
            return RunChange::Gone { names, changed: Vec::new() };
        }
        let Some(job) = self.job_mut(owner).filter(|job| !job.gone) else { return RunChange::None };
        job.lose();
        RunChange::One(Arc::clone(&owner.anchor))
    }

    /// Ends a list of the Jobs: what it did not have is gone. A further attempt's Job that has no anchor was left behind.
    pub(in super::super) fn sweep_jobs(&mut self, memory: &Memory) -> RunChange {
        let list = self.job_list;
        let missing = self.runs.iter().filter(|(_, run)| run.anchor.job_list != list);
        let missing: Vec<_> = missing.map(|(anchor, _)| Arc::clone(anchor)).collect();
        let removed = missing.iter().filter_map(|anchor| self.remove(anchor, memory));
        let names = removed.filter(|run| run.emitted).map(|run| run.name).collect();
        let mut changed = Vec::new();
        for (anchor, run) in &mut self.runs {
            for job in run.further.iter_mut().filter(|job| job.job_list != list && !job.gone) {
                job.lose();
                changed.push(Arc::clone(anchor));
            }
        }
        self.stray_jobs.retain(|_, strays| {
            strays.retain(|stray| stray.job_list == list);
            !strays.is_empty()
        });
        let strays =
            self.stray_jobs.iter().flat_map(|(anchor, strays)| strays.iter().map(move |stray| (anchor, stray)));
        self.leftovers.extend(strays.filter_map(|(anchor, stray)| stray.leftover(anchor)));
        RunChange::Gone { names, changed }
    }

    /// Jobs whose run is gone, or may be: nobody else lets them go.
    pub(in super::super) fn take_leftovers(&mut self) -> Vec<Leftover> {
        std::mem::take(&mut self.leftovers)
    }

    /// Which Job it is, if it is a run's. One of another name is taken for an anchor, which then can't be read.
    fn identity(&self, job: &Job) -> Option<JobIdentity> {
        job.metadata.labels.as_ref()?;
        let run = run_of(job)?;
        let number = number_of(job, &run).unwrap_or(1);
        let anchor = if number == 1 { job.metadata.name.clone()? } else { run.job_name(1) };
        let name = RunName { namespace: self.name.clone(), run };
        Some(JobIdentity { anchor: Arc::from(anchor), name, number, uid: job.metadata.uid.clone()? })
    }
}

/// A Job as it is kept, but with its owners.
fn with_owners(mut job: Job) -> Box<Job> {
    let owners = job.metadata.owner_references.take();
    let mut job = strip::job(job);
    job.metadata.owner_references = owners;
    job
}

fn without_owners(mut job: Box<Job>) -> Box<Job> {
    job.metadata.owner_references = None;
    job
}
