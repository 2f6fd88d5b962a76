//! Joins what the watches report of Jobs, Pods and Events into facts of runs. Synchronous, no I/O:
//! what it has to know beside the watches it asks as a [`IndexQuestion`].

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};

use self::namespace::{KindState, NamespaceIndex, RunChange, StrayEvent};
pub(crate) use self::question::{IndexAnswer, IndexQuestion, LeftJob, Leftover};
use self::run::{IndexedJob, IndexedRun};
use super::facts::{CONFIG_ERROR, FactsError, ObservedObjects, Said, run_facts, said};
use super::memory::Memory;
use crate::api::job;
use crate::api::list_watch::KindEvent;
use crate::api::names::{RUN_CONTAINER, annotation};
use longshore_backend::NamespaceMap;
use longshore_domain::name::NamespaceName;
use longshore_domain::run::facts::{FactsEvent, RunFacts};

mod namespace;
mod question;
mod run;
mod strip;

#[cfg(test)]
mod tests;

/// A kind that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WatchedKind {
    Jobs,
    Pods,
    Events,
}

/// What a watch reported, in the Kubernetes namespace of this name.
#[derive(Debug)]
pub(crate) enum Signal {
    Job(Arc<str>, Box<KindEvent<Job>>),
    Pod(Arc<str>, Box<KindEvent<Pod>>),
    Event(Arc<str>, Box<KindEvent<Event>>),
    Answer(IndexAnswer),
}

/// All runs of this installation.
#[derive(Debug)]
pub(crate) struct Index {
    namespaces: BTreeMap<Arc<str>, NamespaceIndex>,
    memory: Arc<Memory>,
    node_lost_after: Duration,
    queue: VecDeque<Queued>,
    questions: Vec<IndexQuestion>,
    /// Whether everything was reported once.
    was_synced: bool,
    /// Whether what was reported is the present.
    synced: bool,
    broken: bool,
}

#[derive(Debug)]
enum Queued {
    /// Facts are made when they are taken, so that changes in quick succession are one.
    Run(Arc<str>, Arc<str>),
    Event(FactsEvent),
}

impl Index {
    pub(crate) fn new(namespaces: &NamespaceMap, memory: Arc<Memory>, node_lost_after: Duration) -> Self {
        let entries = namespaces.iter().map(|(name, target)| (Arc::from(target), NamespaceIndex::new(name.clone())));
        let mut index = Self {
            namespaces: entries.collect(),
            memory,
            node_lost_after,
            queue: VecDeque::new(),
            questions: Vec::new(),
            was_synced: false,
            synced: false,
            broken: false,
        };
        index.settle();
        index
    }

    /// What is to be watched from now on: Pods are listed after the Jobs and Events after the Pods,
    /// so that each finds what it belongs to.
    pub(crate) fn take_unwatched(&mut self) -> Vec<(Arc<str>, WatchedKind)> {
        let namespaces = self.namespaces.iter_mut();
        namespaces
            .flat_map(|(target, namespace)| namespace.take_unwatched().map(|kind| (Arc::clone(target), kind)))
            .collect()
    }

    /// What has to be found out.
    pub(crate) fn take_questions(&mut self) -> Vec<IndexQuestion> {
        std::mem::take(&mut self.questions)
    }

    /// What there is to report.
    pub(crate) fn next(&mut self) -> Option<FactsEvent> {
        while let Some(queued) = self.queue.pop_front() {
            let event = match queued {
                Queued::Event(event) => Some(event),
                Queued::Run(target, job) => self.emit(&target, &job),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    pub(crate) fn apply(&mut self, signal: Signal) {
        match signal {
            Signal::Job(target, event) => self.job_event(&target, *event),
            Signal::Pod(target, event) => self.pod_event(&target, *event),
            Signal::Event(target, event) => self.event_event(&target, *event),
            Signal::Answer(answer) => self.answer(answer),
        }
    }

    fn job_event(&mut self, target: &Arc<str>, event: KindEvent<Job>) {
        let Some(namespace) = self.namespaces.get_mut(target) else { return };
        let changes = match event {
            KindEvent::Begin => namespace.begin_jobs(),
            KindEvent::Item(job) | KindEvent::Applied(job) => namespace.put_job(job, &self.memory),
            KindEvent::Deleted(job) => match namespace.left(target, &job) {
                // It is reported as gone once that is known.
                Some(left) => {
                    self.questions.push(IndexQuestion::Left(Box::new(left)));
                    RunChange::None
                }
                None => namespace.delete_job(&job, &self.memory),
            },
            KindEvent::End => {
                let changes = namespace.sweep_jobs(&self.memory);
                self.questions.push(IndexQuestion::Stripped { namespace: Arc::clone(target) });
                self.forget_strangers();
                changes
            }
            KindEvent::Open => return self.open(target, WatchedKind::Jobs),
            KindEvent::Trouble(why) => return self.trouble(target, WatchedKind::Jobs, why),
        };
        self.ask_about_leftovers(target);
        self.changed(target, changes);
    }

    fn pod_event(&mut self, target: &Arc<str>, event: KindEvent<Pod>) {
        let Some(namespace) = self.namespaces.get_mut(target) else { return };
        let changes = match event {
            KindEvent::Begin => namespace.begin_pods(),
            KindEvent::Item(pod) | KindEvent::Applied(pod) => namespace.put_pod(pod, &self.memory),
            KindEvent::Deleted(pod) => namespace.delete_pod(pod, &self.memory),
            KindEvent::End => namespace.sweep_pods(&self.memory),
            KindEvent::Open => return self.open(target, WatchedKind::Pods),
            KindEvent::Trouble(why) => return self.trouble(target, WatchedKind::Pods, why),
        };
        self.changed(target, changes);
    }

    fn event_event(&mut self, target: &Arc<str>, event: KindEvent<Event>) {
        let Some(namespace) = self.namespaces.get_mut(target) else { return };
        let changes = match event {
            KindEvent::Item(event) | KindEvent::Applied(event) => {
                let Some((subject, said)) = said(&event) else { return };
                let name = event.metadata.name.unwrap_or_default();
                match said {
                    Said::Fact(fact) => namespace.put_event(StrayEvent { subject, name, fact }, &self.memory),
                    Said::PodCreated(pod) => namespace.name_pod(&subject.uid, pod, &self.memory),
                }
            }
            // Events expire; what they said stays true.
            KindEvent::Begin | KindEvent::End | KindEvent::Deleted(_) => return,
            KindEvent::Open => return self.open(target, WatchedKind::Events),
            KindEvent::Trouble(why) => return self.trouble(target, WatchedKind::Events, why),
        };
        self.changed(target, changes);
    }

    fn ask_about_leftovers(&mut self, target: &Arc<str>) {
        let leftovers = self.namespaces.get_mut(target).map(NamespaceIndex::take_leftovers).unwrap_or_default();
        let ask = |leftover| IndexQuestion::Leftover { namespace: Arc::clone(target), leftover };
        self.questions.extend(leftovers.into_iter().map(ask));
    }

    fn answer(&mut self, answer: IndexAnswer) {
        let (target, uid) = match &answer {
            IndexAnswer::Input { namespace, uid, .. }
            | IndexAnswer::Pods { namespace, uid, .. }
            | IndexAnswer::Left { namespace, uid, .. } => (Arc::clone(namespace), uid.clone()),
            IndexAnswer::Done => return,
        };
        let Some(namespace) = self.namespaces.get_mut(&target) else { return };
        let Some(owner) = namespace.find(&uid) else { return };
        let Some(job) = namespace.job_mut(&owner) else { return };
        match answer {
            // With its labels the watch reports it again.
            IndexAnswer::Left { there: true, .. } => return job.left = false,
            IndexAnswer::Done => {}
            // Reported by the watch again meanwhile, so that it is not gone.
            IndexAnswer::Left { .. } if !job.left => return,
            IndexAnswer::Left { .. } => {
                let change = namespace.forget(&owner, &self.memory);
                self.ask_about_leftovers(&target);
                return self.changed(&target, change);
            }
            IndexAnswer::Input { there, .. } => {
                if there {
                    self.memory.confirm_input(&uid);
                }
            }
            IndexAnswer::Pods { pods, .. } => {
                job.absence_known = true;
                job.absence_asked = false;
                // The list may be older than what the watch has reported of a Pod's end since.
                let last = self.memory.last_pod(&uid);
                let gone = |pod: &Pod| last.as_ref().is_some_and(|last| last.metadata.uid == pod.metadata.uid);
                for pod in pods.into_iter().filter(|pod| !gone(pod)) {
                    namespace.put_pod(pod, &self.memory);
                }
            }
        }
        self.changed(&target, RunChange::One(owner.anchor));
    }

    fn open(&mut self, target: &Arc<str>, kind: WatchedKind) {
        if let Some(namespace) = self.namespaces.get_mut(target) {
            namespace.set(kind, KindState::Current);
        }
        self.settle();
    }

    fn trouble(&mut self, target: &Arc<str>, kind: WatchedKind, why: String) {
        let Some(namespace) = self.namespaces.get_mut(target) else { return };
        let news = namespace.set(kind, KindState::Troubled);
        if kind == WatchedKind::Events {
            if news {
                tracing::warn!(namespace = %target, %why, "continuing without Events: what they explain stays \
                                                           unexplained");
            }
            return self.settle();
        }
        self.synced = false;
        if !self.broken {
            self.broken = true;
            self.queue.push_back(Queued::Event(FactsEvent::Broken(why)));
        }
    }

    /// Reports everything, once everything is known.
    fn settle(&mut self) {
        if self.synced || !self.namespaces.values().all(NamespaceIndex::is_current) {
            return;
        }
        for (target, namespace) in &mut self.namespaces {
            for (job, run) in &mut namespace.runs {
                run.digest = None;
                run.queued = true;
                self.queue.push_back(Queued::Run(Arc::clone(target), Arc::clone(job)));
            }
        }
        self.queue.push_back(Queued::Event(FactsEvent::Synced));
        self.synced = true;
        self.was_synced = true;
        self.broken = false;
    }

    fn changed(&mut self, target: &Arc<str>, change: RunChange) {
        match change {
            RunChange::None => {}
            RunChange::One(job) => self.enqueue(target, job),
            RunChange::Gone { names, changed } => {
                let gone = names.into_iter().map(|name| Queued::Event(FactsEvent::Gone(name)));
                self.queue.extend(gone);
                self.changed(target, RunChange::Many(changed));
            }
            RunChange::Many(jobs) => {
                for job in jobs {
                    self.enqueue(target, job);
                }
            }
        }
    }

    /// Until a namespace is known whole, half of its runs would be reported: they wait for
    /// `settle`.
    fn enqueue(&mut self, target: &Arc<str>, job: Arc<str>) {
        let Some(namespace) = self.namespaces.get_mut(target) else { return };
        if !self.was_synced || !namespace.is_current() {
            return;
        }
        let Some(run) = namespace.runs.get_mut(&job) else { return };
        if !std::mem::replace(&mut run.queued, true) {
            self.queue.push_back(Queued::Run(Arc::clone(target), job));
        }
    }

    fn emit(&mut self, target: &Arc<str>, job: &Arc<str>) -> Option<FactsEvent> {
        let namespace = self.namespaces.get_mut(target)?;
        let run = namespace.runs.get_mut(job)?;
        run.queued = false;
        let mut lags = false;
        for one in run.jobs_mut().filter(|one| one.pod_may_lag(&self.memory)) {
            lags = true;
            if !std::mem::replace(&mut one.absence_asked, true) {
                self.questions.push(IndexQuestion::Pods { namespace: Arc::clone(target), uid: one.uid.clone() });
            }
        }
        if lags {
            return None;
        }
        if let Some(secret) = missed_input(run, &self.memory) {
            run.input_asked = true;
            let (namespace, uid) = (Arc::clone(target), run.anchor.uid.clone());
            self.questions.push(IndexQuestion::Input { namespace, uid, secret });
        }
        match facts_of(&namespace.name, run, &self.memory, self.node_lost_after) {
            Ok(facts) => {
                let digest = Some(digest(&facts));
                let news = std::mem::replace(&mut run.digest, digest) != digest;
                run.emitted = true;
                run.unreadable = false;
                news.then(|| FactsEvent::Upsert(Box::new(facts)))
            }
            Err(error) => {
                if !std::mem::replace(&mut run.unreadable, true) {
                    tracing::warn!(%error, "a Job of this installation can't be read and is left alone");
                }
                None
            }
        }
    }

    /// Forgets what is remembered of Jobs that are no more.
    fn forget_strangers(&self) {
        let runs = self.namespaces.values().flat_map(|namespace| namespace.runs.values());
        let known: HashSet<&str> = runs.flat_map(IndexedRun::jobs).map(|job| job.uid.as_str()).collect();
        self.memory.retain(&known);
    }
}

/// The input Secret, if the kubelet says that something is missing and nobody has looked yet.
fn missed_input(run: &IndexedRun, memory: &Memory) -> Option<String> {
    if run.input_asked || memory.input_confirmed(&run.anchor.uid) || !run.jobs().any(misses_something) {
        return None;
    }
    job::annotation(&run.anchor.job, annotation::INPUT).map(str::to_owned)
}

fn misses_something(job: &IndexedJob) -> bool {
    let status = job.pod.as_ref().and_then(|pod| pod.status.as_ref());
    let mut containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let run = containers.find(|container| container.name == RUN_CONTAINER);
    let waiting = run.and_then(|run| run.state.as_ref()?.waiting.as_ref());
    waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(CONFIG_ERROR))
}

fn facts_of(
    namespace: &NamespaceName,
    run: &IndexedRun,
    memory: &Memory,
    node_lost_after: Duration,
) -> Result<RunFacts, FactsError> {
    let known: Vec<_> = run.jobs().map(|job| (job, memory.of(&job.uid))).collect();
    let input_confirmed = memory.input_confirmed(&run.anchor.uid);
    let mut observed: Vec<_> = known
        .iter()
        .map(|(job, known)| ObservedObjects {
            job: &job.job,
            pod: job.pod.as_deref(),
            last_pod: known.last_pod.as_deref(),
            events: &known.events,
            input_confirmed,
            pod_was_seen: known.pod_was_seen,
            unseen_pod: known.unseen_pod.as_deref(),
        })
        .collect();
    let anchor = observed.remove(0);
    run_facts(namespace, &anchor, &observed, node_lost_after)
}

/// A hash of facts, for equality only: keeping the facts themselves would double what a run costs.
fn digest(facts: &RunFacts) -> u64 {
    struct Sink(DefaultHasher);
    impl std::fmt::Write for Sink {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    // Writing to a hasher can't fail.
    let _ = write!(sink, "{facts:?}");
    sink.0.finish()
}

/// Runs by the name of their anchor.
type RunsByJob = HashMap<Arc<str>, IndexedRun>;
