//! The role [`Runs`] on a cluster: reads, and where the writes begin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use self::begins::Begins;
use super::facts::{ObservedObjects, run_facts};
use super::identity::belongs_to;
use super::manifest::ManifestContext;
use super::memory::{JobMemory, Memory};
use super::watch::watch;
use crate::api::client::Cluster;
use crate::api::error::{Target, chain};
use crate::api::job::is_annotated;
use crate::api::names::{annotation, result_secret_name};
use crate::api::owned::{is_owned_by, pods_of, run_labels};
use longshore_backend::{BackendError, Created, Launch, Preview, Runs};
use longshore_domain::name::{NamespaceName, RunId, RunName};
use longshore_domain::run::facts::{FactsEvent, RunFacts};
use longshore_domain::run::plan::Action;
use longshore_domain::run::profile::Volume;
use longshore_domain::run::record::Record;

mod act;
mod begins;
mod create;
mod preview;
mod secrets;

pub(crate) use act::{hold_of, let_go_patch, release_patch};

/// Bound of every method: the trait promises 30 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(28);
/// Key of the result in its Secret.
const RESULT_KEY: &str = "result.json";
/// More attempts than the largest budgets allow (20 of either kind): somebody wrote an annotation of ours.
const ATTEMPTS_MAX: u32 = 41;

/// Creates, observes and acts on runs as Jobs.
#[derive(Clone, Debug)]
pub(crate) struct KubernetesRuns {
    cluster: Arc<Cluster>,
    memory: Arc<Memory>,
    volumes: BTreeMap<String, Volume>,
    begins: Arc<Begins>,
}

#[async_trait]
impl Runs for KubernetesRuns {
    async fn create(&self, launch: &Launch) -> Result<Created, BackendError> {
        bounded(&launch.name, "create", Box::pin(self.create_run(launch))).await
    }

    async fn complete(&self, launch: &Launch) -> Result<(), BackendError> {
        bounded(&launch.name, "complete", Box::pin(self.complete_run(launch))).await
    }

    async fn preview(&self, launch: &Launch) -> Result<Preview, BackendError> {
        bounded(&launch.name, "preview", Box::pin(self.preview_run(launch))).await
    }

    async fn get(&self, name: &RunName) -> Result<Option<RunFacts>, BackendError> {
        bounded(name, "read", Box::pin(self.get_run(name))).await
    }

    async fn act(&self, name: &RunName, uid: &str, action: &Action) -> Result<(), BackendError> {
        bounded(name, "act on", Box::pin(self.act_on(name, uid, action))).await
    }

    async fn read_result(&self, name: &RunName, uid: &str) -> Result<Option<Vec<u8>>, BackendError> {
        bounded(name, "read the result of", Box::pin(self.read_result_of(name, uid))).await
    }

    fn watch(&self) -> BoxStream<'static, FactsEvent> {
        watch(Arc::clone(&self.cluster), Arc::clone(&self.memory)).boxed()
    }
}

async fn bounded<T>(
    name: &RunName,
    verb: &str,
    call: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(BackendError::Unavailable {
            what: format!("{verb} {name}"),
            message: format!("not done within {} s", CALL_TIMEOUT.as_secs()),
        }),
    }
}

impl KubernetesRuns {
    pub(crate) fn new(cluster: Arc<Cluster>, memory: Arc<Memory>, volumes: BTreeMap<String, Volume>) -> Self {
        Self { cluster, memory, volumes, begins: Arc::default() }
    }

    fn manifest_context(&self, kube_namespace: &str) -> ManifestContext {
        ManifestContext {
            instance: self.cluster.instance.clone(),
            kube_namespace: kube_namespace.to_owned(),
            volumes: self.volumes.clone(),
        }
    }

    async fn get_run(&self, name: &RunName) -> Result<Option<RunFacts>, BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let job_name = name.run.job_name(1);
        let target = Target::new("read", "Job", namespace, &job_name);
        let job = self.cluster.read(target, self.cluster.jobs(namespace).get_status(&job_name)).await?;
        match job.filter(|job| self.is_ours(job, &name.run)) {
            Some(job) => self.observe(name, namespace, job).await.map(Some),
            None => Ok(None),
        }
    }

    /// The Job of a run, if there is one of ours.
    async fn read_job(&self, namespace: &str, job_name: &str) -> Result<Option<Job>, BackendError> {
        let target = Target::new("read", "Job", namespace, job_name);
        self.cluster.read(target, self.cluster.jobs(namespace).get(job_name)).await
    }

    /// Whether this Job is this run's. A label of ours that somebody took away does not make it
    /// another's: what else was written at its creation says whose it is.
    fn is_ours(&self, job: &Job, run: &RunId) -> bool {
        let label = |key: &str| job.metadata.labels.as_ref()?.get(key);
        let expected = run_labels(&self.cluster.instance, run);
        let is_marked = is_annotated(job, annotation::DIGEST);
        let has_all = expected.iter().all(|(key, _)| label(key).is_some());
        (has_all || is_marked) && expected.iter().all(|(key, value)| label(key).is_none_or(|found| found == value))
    }

    /// Facts of the run of this anchor, with its further Jobs and all Pods as they are now and the Events that the watch has
    /// seen: a list of Events by object would read every Event of the namespace.
    async fn observe(&self, name: &RunName, namespace: &str, anchor: Job) -> Result<RunFacts, BackendError> {
        let mut further = Vec::new();
        for number in 2..=attempts_of(&anchor) {
            let job = self.read_job(namespace, &name.run.job_name(number)).await?;
            if let Some(job) = job.filter(|job| self.is_ours(job, &name.run) && belongs_to(job, &anchor)) {
                further.push(self.look_at(namespace, job).await?);
            }
        }
        facts(&name.namespace, &self.look_at(namespace, anchor).await?, &further, self.cluster.node_lost_after)
    }

    async fn look_at(&self, namespace: &str, job: Job) -> Result<SeenJob, BackendError> {
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        let pod = self.read_pod(namespace, uid).await?;
        let mut known = self.memory.of(uid);
        known.pod_was_seen |= pod.is_some();
        Ok(SeenJob { job, pod, known })
    }

    /// The Job's present Pod. The one that the watch knows costs one object to read; a list by
    /// label reads through all Pods of the namespace.
    async fn read_pod(&self, namespace: &str, job_uid: &str) -> Result<Option<Pod>, BackendError> {
        if let Some(known) = self.memory.pod(job_uid) {
            let target = Target::new("read", "Pod", namespace, &known.name);
            let pod = self.cluster.read(target, self.cluster.pods(namespace).get(&known.name)).await?;
            if let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_ref() == Some(&known.uid)) {
                return Ok(Some(pod));
            }
        }
        let pods = pods_of(&self.cluster, namespace, job_uid).await;
        let pods = pods.map_err(|error| error.to_backend(Target::new("list", "Pod", namespace, "")))?;
        Ok(pods.into_iter().max_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp)))
    }

    async fn read_result_of(&self, name: &RunName, uid: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let secret_name = result_secret_name(&name.run);
        let target = Target::new("read", "Secret", namespace, &secret_name);
        let secret = self.cluster.read(target, self.cluster.secrets(namespace).get(&secret_name)).await?;
        // A run that was deleted and submitted again may still find the Secret of its predecessor.
        let Some(secret) = secret.filter(|secret| is_owned_by(&secret.metadata, uid)) else { return Ok(None) };
        match secret.data.and_then(|mut data| data.remove(RESULT_KEY)) {
            Some(bytes) => Ok(Some(bytes.0)),
            None => {
                let message = format!("it has no key {RESULT_KEY}");
                Err(BackendError::Corrupt { what: target.object(), message })
            }
        }
    }
}

/// A Job as it was read.
struct SeenJob {
    job: Job,
    pod: Option<Pod>,
    known: JobMemory,
}

fn facts(
    name: &NamespaceName,
    anchor: &SeenJob,
    further: &[SeenJob],
    node_lost_after: Duration,
) -> Result<RunFacts, BackendError> {
    let input_confirmed = anchor.known.input_confirmed;
    let further: Vec<_> = further.iter().map(|seen| observed(seen, input_confirmed)).collect();
    let facts = run_facts(name, &observed(anchor, input_confirmed), &further, node_lost_after);
    facts.map_err(|error| BackendError::Corrupt {
        what: format!("Job {}", anchor.job.metadata.name.as_deref().unwrap_or_default()),
        message: chain(&error),
    })
}

fn observed(SeenJob { job, pod, known }: &SeenJob, input_confirmed: bool) -> ObservedObjects<'_> {
    ObservedObjects {
        job,
        pod: pod.as_ref(),
        last_pod: known.last_pod.as_deref(),
        events: &known.events,
        input_confirmed,
        pod_was_seen: known.pod_was_seen,
        unseen_pod: known.unseen_pod.as_deref(),
    }
}

/// The highest number that an attempt of this anchor's run can have: that of its record, or the one that was announced last.
fn attempts_of(anchor: &Job) -> u32 {
    let annotations = anchor.metadata.annotations.as_ref();
    let record = annotations.and_then(|all| Record::from_json(all.get(annotation::RECORD)?).ok());
    let recorded = record.into_iter().flat_map(|record| record.attempts).map(|attempt| attempt.number);
    let announced = annotations.into_iter().flat_map(BTreeMap::keys);
    let announced = announced.filter_map(|key| key.strip_prefix(annotation::ATTEMPT_PREFIX)?.parse::<u32>().ok());
    recorded.chain(announced.map(|number| number.saturating_add(1))).max().unwrap_or(1).min(ATTEMPTS_MAX)
}
