//! The runs of one Kubernetes namespace, and which objects belong to which.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::super::memory::Memory;
use super::run::{IndexedJob, IndexedRun};
use super::{Leftover, RunsByJob, WatchedKind};
use longshore_domain::name::{NamespaceName, RunName};

mod events;
mod jobs;
mod pods;

pub(super) use self::events::StrayEvent;
use self::jobs::StrayJob;

/// What a signal changed.
#[derive(Debug)]
pub(super) enum RunChange {
    None,
    /// The run of this anchor.
    One(Arc<str>),
    /// The runs of these anchors.
    Many(Vec<Arc<str>>),
    /// Some runs are gone.
    Gone {
        /// Those that had been reported.
        names: Vec<RunName>,
        /// Anchors of others, that changed.
        changed: Vec<Arc<str>>,
    },
}

/// Where the watch of one kind stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KindState {
    /// Not begun.
    Idle,
    /// Begun, but what is there was not reported.
    Starting,
    /// What was reported is the present.
    Current,
    /// The cluster can't be asked.
    Troubled,
}

/// The Job of one attempt of a run.
#[derive(Clone, Debug)]
pub(super) struct JobRef {
    /// Name of the anchor.
    pub(super) anchor: Arc<str>,
    /// The attempt's, from 1.
    number: u32,
}

/// The runs of one Kubernetes namespace.
#[derive(Debug)]
pub(super) struct NamespaceIndex {
    pub(super) name: NamespaceName,
    pub(super) runs: RunsByJob,
    /// Which Job a uid belongs to: its own, or its Pod's.
    owners: HashMap<String, JobRef>,
    /// Jobs of further attempts whose anchor was not reported yet, or is another's, by its name.
    stray_jobs: HashMap<Arc<str>, Vec<StrayJob>>,
    /// Jobs whose run is gone, or may be.
    leftovers: Vec<Leftover>,
    /// Pods of Jobs that were not reported yet, by uid of the Job.
    stray_pods: HashMap<String, Pod>,
    /// Events of objects that were not reported yet.
    stray_events: VecDeque<StrayEvent>,
    /// Number of the present list.
    job_list: u64,
    pod_list: u64,
    states: [KindState; 3],
}

impl NamespaceIndex {
    pub(super) fn new(name: NamespaceName) -> Self {
        Self {
            name,
            runs: RunsByJob::new(),
            owners: HashMap::new(),
            stray_jobs: HashMap::new(),
            leftovers: Vec::new(),
            stray_pods: HashMap::new(),
            stray_events: VecDeque::new(),
            job_list: 0,
            pod_list: 0,
            states: [KindState::Idle; 3],
        }
    }

    fn state(&mut self, kind: WatchedKind) -> &mut KindState {
        let [jobs, pods, events] = &mut self.states;
        match kind {
            WatchedKind::Jobs => jobs,
            WatchedKind::Pods => pods,
            WatchedKind::Events => events,
        }
    }

    /// Sets the state of a kind; whether it is another.
    pub(super) fn set(&mut self, kind: WatchedKind, state: KindState) -> bool {
        let old = std::mem::replace(self.state(kind), state);
        old != state
    }

    /// Kinds whose watch is to begin now.
    pub(super) fn take_unwatched(&mut self) -> impl Iterator<Item = WatchedKind> + use<> {
        let [jobs, pods, events] = self.states;
        let kind = match (jobs, pods, events) {
            (KindState::Idle, ..) => Some(WatchedKind::Jobs),
            (KindState::Current, KindState::Idle, _) => Some(WatchedKind::Pods),
            (KindState::Current, KindState::Current, KindState::Idle) => Some(WatchedKind::Events),
            _ => None,
        };
        if let Some(kind) = kind {
            self.set(kind, KindState::Starting);
        }
        kind.into_iter()
    }

    /// Whether what is known here is the present. Events only explain, so their trouble is none.
    pub(super) fn is_current(&self) -> bool {
        let [jobs, pods, events] = self.states;
        jobs == KindState::Current
            && pods == KindState::Current
            && matches!(events, KindState::Current | KindState::Troubled)
    }

    /// The Job with this uid.
    pub(super) fn find(&self, job_uid: &str) -> Option<JobRef> {
        let owner = self.owners.get(job_uid)?;
        self.job(owner).filter(|job| job.uid == job_uid).map(|_| owner.clone())
    }

    fn job(&self, owner: &JobRef) -> Option<&IndexedJob> {
        self.runs.get(&owner.anchor)?.job(owner.number)
    }

    pub(super) fn job_mut(&mut self, owner: &JobRef) -> Option<&mut IndexedJob> {
        self.runs.get_mut(&owner.anchor)?.job_mut(owner.number)
    }

    fn remove(&mut self, anchor: &Arc<str>, memory: &Memory) -> Option<IndexedRun> {
        let run = self.runs.remove(anchor)?;
        for job in run.jobs() {
            self.disown(job, memory);
        }
        let is_orphan = releases_dependents(&run.anchor.job);
        let left = run.further.iter().filter_map(|job| Leftover::of(&job.job, &job.uid, anchor, is_orphan));
        self.leftovers.extend(left);
        Some(run)
    }

    fn disown(&mut self, job: &IndexedJob, memory: &Memory) {
        for uid in &job.uids {
            self.owners.remove(uid);
        }
        memory.forget(&job.uid);
    }
}

/// Whether what it owns is released before it goes (`--cascade=orphan`).
fn releases_dependents(job: &Job) -> bool {
    job.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == "orphan")
}
