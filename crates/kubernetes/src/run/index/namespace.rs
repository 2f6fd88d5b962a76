//! The runs of one Kubernetes namespace, and which objects belong to which.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::facts::{About, EventFact, Subject, controller_uid, run_of};
use super::super::memory::{Memory, PodRef};
use super::{LeftJob, RunsByJob, WatchedKind, strip};
use crate::api::conditions::has_ended;
use crate::api::names::{annotation, label, result_secret_name};
use longshore_domain::name::{NamespaceName, RunName};

/// Most events that are kept for objects that were not reported yet. Watches know no order among
/// them; most of what is here is about objects that are not ours.
const STRAY_EVENTS_MAX: usize = 256;

/// Finaliser of a Job whose dependents are released before it goes (`--cascade=orphan`).
const ORPHANS: &str = "orphan";

/// What a signal changed.
#[derive(Debug)]
pub(super) enum RunChange {
    None,
    /// The run of this Job.
    One(Arc<str>),
    /// The runs of these Jobs.
    Many(Vec<Arc<str>>),
    /// These runs are gone, and had been reported.
    Gone(Vec<RunName>),
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

/// One run.
#[derive(Debug)]
pub(super) struct IndexedRun {
    pub(super) name: RunName,
    pub(super) uid: String,
    pub(super) job: Box<Job>,
    pub(super) pod: Option<Box<Pod>>,
    /// Hash of the facts that were reported last.
    pub(super) digest: Option<u64>,
    pub(super) emitted: bool,
    pub(super) queued: bool,
    pub(super) unreadable: bool,
    pub(super) input_asked: bool,
    /// Whether it is certain that a Pod of which nothing was reported is not there.
    pub(super) absence_known: bool,
    pub(super) absence_asked: bool,
    /// Whether it left the watch, and it is not known yet why.
    pub(super) left: bool,
    /// Uids of the Job and of every Pod that it had.
    uids: Vec<String>,
    job_list: u64,
    pod_list: u64,
}

impl IndexedRun {
    /// Whether the Job has ended, and its Pod may be there without our knowing of it.
    pub(super) fn pod_may_lag(&self, memory: &Memory) -> bool {
        has_ended(&self.job) && self.pod.is_none() && !self.absence_known && !memory.pod_was_seen(&self.uid)
    }

    fn pod_uid(&self) -> Option<&str> {
        self.pod.as_ref()?.metadata.uid.as_deref()
    }
}

/// An Event, and what it is about.
#[derive(Debug)]
pub(super) struct StrayEvent {
    pub(super) subject: Subject,
    /// Name of the Event object.
    pub(super) name: String,
    pub(super) fact: EventFact,
}

/// The runs of one Kubernetes namespace.
#[derive(Debug)]
pub(super) struct NamespaceIndex {
    pub(super) name: NamespaceName,
    pub(super) runs: RunsByJob,
    /// Which Job a uid belongs to: its own, or its Pod's.
    owners: HashMap<String, Arc<str>>,
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

    pub(super) fn begin_jobs(&mut self) -> RunChange {
        self.job_list += 1;
        RunChange::None
    }

    pub(super) fn begin_pods(&mut self) -> RunChange {
        self.pod_list += 1;
        self.stray_pods.clear();
        RunChange::None
    }

    pub(super) fn put_job(&mut self, job: Job, memory: &Memory) -> RunChange {
        let Some((key, name, uid)) = self.identity(&job) else { return RunChange::None };
        let job = strip::job(job);
        if has(&job, annotation::RECORD) {
            memory.drop_events(&uid);
        }
        if let Some(run) = self.runs.get_mut(&key)
            && run.uid == uid
        {
            run.job_list = self.job_list;
            run.left = false;
            if run.job == job {
                return RunChange::None;
            }
            // The Pod may have come and gone since its absence was known.
            run.absence_known &= has_ended(&run.job) || !has_ended(&job);
            run.job = job;
            return RunChange::One(key);
        }
        let emitted = self.remove(&key, memory).is_some_and(|old| old.emitted);
        let run = IndexedRun {
            name,
            uid: uid.clone(),
            job,
            pod: None,
            digest: None,
            emitted,
            queued: false,
            unreadable: false,
            input_asked: false,
            absence_known: false,
            absence_asked: false,
            left: false,
            uids: vec![uid.clone()],
            job_list: self.job_list,
            pod_list: self.pod_list,
        };
        self.runs.insert(Arc::clone(&key), run);
        self.owners.insert(uid.clone(), Arc::clone(&key));
        self.adopt_events(&uid, &key, memory);
        if let Some(pod) = self.stray_pods.remove(&uid) {
            self.put_pod(pod, memory);
        }
        RunChange::One(key)
    }

    /// What has to be found out about a Job that left the watch: nothing announced that it goes, so
    /// that it may only have lost its labels; or its dependents were released before it.
    pub(super) fn left(&mut self, target: &Arc<str>, job: &Job) -> Option<LeftJob> {
        let name = job.metadata.name.as_deref()?;
        let (key, run) = self.runs.get_key_value(name)?;
        let known = &run.job.metadata;
        let orphans = known.finalizers.iter().flatten().any(|finalizer| finalizer == ORPHANS);
        if known.uid != job.metadata.uid || (known.deletion_timestamp.is_some() && !orphans) {
            return None;
        }
        let key = Arc::clone(key);
        let ours = |label: &str| label == label::MANAGED_BY || label.starts_with(label::PREFIX);
        let labels = known.labels.iter().flatten().filter(|(label, _)| ours(label));
        let input = known.annotations.as_ref().and_then(|annotations| annotations.get(annotation::INPUT));
        let left = LeftJob {
            namespace: Arc::clone(target),
            job: Arc::clone(&key),
            uid: run.uid.clone(),
            labels: labels.map(|(label, value)| (label.clone(), value.clone())).collect(),
            secrets: input.cloned().into_iter().chain([result_secret_name(&run.name.run)]).collect(),
        };
        self.runs.get_mut(&key)?.left = true;
        Some(left)
    }

    /// Forgets a run whose Job is known to be gone.
    pub(super) fn forget(&mut self, key: &Arc<str>, memory: &Memory) -> RunChange {
        let gone = self.remove(key, memory).filter(|run| run.emitted);
        gone.map_or(RunChange::None, |run| RunChange::Gone(vec![run.name]))
    }

    pub(super) fn delete_job(&mut self, job: &Job, memory: &Memory) -> RunChange {
        let Some((key, _, uid)) = self.identity(job) else { return RunChange::None };
        if self.runs.get(&key).is_none_or(|run| run.uid != uid) {
            return RunChange::None;
        }
        self.forget(&key, memory)
    }

    /// Ends a list of the Jobs: what it did not have is gone.
    pub(super) fn sweep_jobs(&mut self, memory: &Memory) -> RunChange {
        let missing = self.runs.iter().filter(|(_, run)| run.job_list != self.job_list);
        let missing: Vec<_> = missing.map(|(key, _)| Arc::clone(key)).collect();
        let removed = missing.iter().filter_map(|key| self.remove(key, memory));
        RunChange::Gone(removed.filter(|run| run.emitted).map(|run| run.name).collect())
    }

    pub(super) fn put_pod(&mut self, pod: Pod, memory: &Memory) -> RunChange {
        let Some(job_uid) = controller_uid(&pod).map(str::to_owned) else { return RunChange::None };
        let Some(key) = self.owners.get(&job_uid).cloned() else {
            self.stray_pods.insert(job_uid, pod);
            return RunChange::None;
        };
        let Some(run) = self.runs.get_mut(&key) else { return RunChange::None };
        let (Some(name), Some(uid)) = (pod.metadata.name.clone(), pod.metadata.uid.clone()) else {
            return RunChange::None;
        };
        // A Job may make a second Pod after it lost the first: the newest is the one that counts.
        let last = memory.last_pod(&job_uid);
        if let Some(known) = run.pod.as_deref().or(last.as_deref())
            && known.metadata.uid.as_ref() != Some(&uid)
            && known.metadata.creation_timestamp > pod.metadata.creation_timestamp
        {
            return RunChange::None;
        }
        run.pod_list = self.pod_list;
        let pod = strip::pod(pod);
        if run.pod.as_ref() == Some(&pod) {
            return RunChange::None;
        }
        run.pod = Some(pod);
        memory.set_pod(&job_uid, PodRef { name, uid: uid.clone() });
        if !run.uids.contains(&uid) {
            run.uids.push(uid.clone());
        }
        self.owners.insert(uid.clone(), Arc::clone(&key));
        self.adopt_events(&uid, &key, memory);
        RunChange::One(key)
    }

    /// `pod` is gone; it is in its last state, which may say more than what was reported before.
    pub(super) fn delete_pod(&mut self, pod: Pod, memory: &Memory) -> RunChange {
        let (Some(job_uid), Some(uid)) = (controller_uid(&pod), pod.metadata.uid.as_deref()) else {
            return RunChange::None;
        };
        if self.stray_pods.get(job_uid).is_some_and(|stray| stray.metadata.uid.as_deref() == Some(uid)) {
            self.stray_pods.remove(job_uid);
        }
        let Some(key) = self.owners.get(job_uid).cloned() else { return RunChange::None };
        match self.runs.get_mut(&key) {
            Some(run) if run.pod_uid() == Some(uid) => {
                run.pod = None;
                memory.lose_pod(&run.uid, gone(strip::pod(pod)));
                RunChange::One(key)
            }
            _ => RunChange::None,
        }
    }

    /// Ends a list of the Pods: what it did not have is gone.
    pub(super) fn sweep_pods(&mut self, memory: &Memory) -> RunChange {
        // The first list of the Pods is younger than that of the Jobs.
        let first = self.pod_list == 1;
        let mut changed = Vec::new();
        for (key, run) in &mut self.runs {
            run.absence_known |= first;
            if run.pod_list != self.pod_list
                && let Some(pod) = run.pod.take()
            {
                // Nobody saw it go, so nobody can say that it was deleted.
                memory.lose_pod(&run.uid, Arc::from(pod));
                changed.push(Arc::clone(key));
            }
        }
        RunChange::Many(changed)
    }

    pub(super) fn put_event(&mut self, event: StrayEvent, memory: &Memory) -> RunChange {
        let owner = self.owners.get(&event.subject.uid).cloned().or_else(|| self.owner_of_unseen(&event, memory));
        let Some(key) = owner else {
            if self.stray_events.len() >= STRAY_EVENTS_MAX {
                self.stray_events.pop_front();
            }
            self.stray_events.push_back(event);
            return RunChange::None;
        };
        self.keep_event(&key, &event.name, event.fact, memory)
    }

    /// The Job with this uid is said to have made this Pod. Where that was seen there is nothing new in it.
    pub(super) fn name_pod(&mut self, job_uid: &str, pod: String, memory: &Memory) -> RunChange {
        let Some(key) = self.owners.get(job_uid).cloned() else { return RunChange::None };
        if self.runs.get(&key).is_none_or(|run| run.pod.is_some() || has(&run.job, annotation::RECORD))
            || memory.pod_was_seen(job_uid)
        {
            return RunChange::None;
        }
        memory.name_pod(job_uid, pod);
        for event in std::mem::take(&mut self.stray_events) {
            self.put_event(event, memory);
        }
        RunChange::One(key)
    }

    /// The Job of a Pod that was never seen, by the name that the Job's controller says that it gave it.
    fn owner_of_unseen(&self, event: &StrayEvent, memory: &Memory) -> Option<Arc<str>> {
        let (job, _) = event.subject.name.rsplit_once('-').filter(|_| event.fact.about == About::Pod)?;
        let (key, run) = self.runs.get_key_value(job)?;
        (memory.unseen_pod(&run.uid)? == event.subject.name).then(|| Arc::clone(key))
    }

    fn keep_event(&mut self, key: &Arc<str>, name: &str, event: EventFact, memory: &Memory) -> RunChange {
        // What was worth keeping of a run that has a record is in the record.
        match self.runs.get(key).filter(|run| !has(&run.job, annotation::RECORD)) {
            Some(run) => {
                memory.add_event(&run.uid, name, event);
                RunChange::One(Arc::clone(key))
            }
            None => RunChange::None,
        }
    }

    fn adopt_events(&mut self, uid: &str, key: &Arc<str>, memory: &Memory) {
        let strays = std::mem::take(&mut self.stray_events);
        let (own, strays): (VecDeque<_>, VecDeque<_>) = strays.into_iter().partition(|event| event.subject.uid == uid);
        self.stray_events = strays;
        for event in own {
            self.keep_event(key, &event.name, event.fact, memory);
        }
    }

    fn remove(&mut self, key: &Arc<str>, memory: &Memory) -> Option<IndexedRun> {
        let run = self.runs.remove(key)?;
        for uid in &run.uids {
            self.owners.remove(uid);
        }
        memory.forget(&run.uid);
        Some(run)
    }

    /// Name of the Job, name of the run and uid, if `job` is the anchor of a run.
    fn identity(&self, job: &Job) -> Option<(Arc<str>, RunName, String)> {
        let labels = job.metadata.labels.as_ref()?;
        if labels.get(label::ATTEMPT).is_some_and(|attempt| attempt != "1") {
            return None;
        }
        let run = run_of(job)?;
        let name = RunName { namespace: self.name.clone(), run };
        Some((Arc::from(job.metadata.name.as_deref()?), name, job.metadata.uid.clone()?))
    }
}

/// The last state of a Pod that was seen to go: it was deleted, at once if nothing said so before.
fn gone(mut pod: Box<Pod>) -> Arc<Pod> {
    if pod.metadata.deletion_timestamp.is_none() {
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
        pod.metadata.deletion_grace_period_seconds = None;
    }
    Arc::from(pod)
}

fn has(job: &Job, key: &str) -> bool {
    job.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key))
}
