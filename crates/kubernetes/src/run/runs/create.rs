//! How a run comes to be: Job first, then its Secret; every step may be repeated.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::PostParams;
use tokio::time::sleep;

use super::super::manifest;
use super::super::memory::JobMemory;
use super::{KubernetesRuns, SeenJob, facts};
use crate::api::error::{CallError, Target, chain};
use crate::api::names::label;
use longshore_backend::{BackendError, Created, Launch};

/// Pause before a POST is repeated whose fate is unknown, unless the API server said another.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that is waited for; the caller comes again after a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a Job is posted at most.
pub(super) const POSTS_MAX: u32 = 2;

/// What came of posting the Job.
enum Posted {
    /// It is new.
    New(Job),
    /// Something has its name.
    Found(Job),
}

impl KubernetesRuns {
    pub(super) async fn create_run(&self, launch: &Launch) -> Result<Created, BackendError> {
        let namespace = self.cluster.target(&launch.name.namespace)?;
        let context = self.manifest_context(namespace);
        let job = manifest::job(launch, &context).map_err(|error| unwritable(launch, &error))?;
        if let Err(refusal) = self.check_secret_refs(namespace, launch).await {
            // A replay must find its run, whatever became of the Secret since.
            return match self.read_job(namespace, &launch.name.run.job_name(1)).await? {
                Some(found) => self.found(namespace, launch, found).await,
                None => Err(refusal),
            };
        }
        let job = match self.post(namespace, launch, &job).await? {
            Posted::New(job) => job,
            Posted::Found(found) => return self.found(namespace, launch, found).await,
        };
        if let Err(error) = self.write_input(namespace, launch, &job).await {
            self.undo(launch, &job, &error).await;
            return Err(error);
        }
        let known = self.memory.of(job.metadata.uid.as_deref().unwrap_or_default());
        let seen = SeenJob { job, pod: None, known };
        facts(&launch.name.namespace, &seen, &[], self.cluster.node_lost_after)
            .map(|facts| Created::New(Box::new(facts)))
    }

    pub(super) async fn complete_run(&self, launch: &Launch) -> Result<(), BackendError> {
        let namespace = self.cluster.target(&launch.name.namespace)?;
        let job = self.read_job(namespace, &launch.name.run.job_name(1)).await?;
        let Some(job) = job.filter(|job| self.is_ours(job, &launch.name.run)) else {
            return Err(BackendError::NotFound(launch.name.to_string()));
        };
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        if manifest::needs_input(launch) && !self.memory.input_confirmed(uid) {
            self.adopt(&launch.name, uid).await?;
        }
        self.write_input(namespace, launch, &job).await
    }

    /// Posts the Job. A POST whose fate is unknown is repeated only after a look at what is there:
    /// the name is deterministic, so no Job can come twice.
    async fn post(&self, namespace: &str, launch: &Launch, job: &Job) -> Result<Posted, BackendError> {
        let name = launch.name.run.job_name(1);
        let target = Target::new("create", "Job", namespace, &name);
        let jobs = self.cluster.jobs(namespace);
        let mut posts = 0;
        loop {
            posts += 1;
            let error = match self.cluster.call(jobs.create(&PostParams::default(), job)).await {
                Ok(job) => return Ok(Posted::New(job)),
                Err(error) if error.is_already_exists() || error.is_ambiguous() => error,
                Err(error) => return Err(error.to_backend(target)),
            };
            if error.is_ambiguous() {
                sleep(pause(&error)).await;
            }
            match self.read_job(namespace, &name).await? {
                Some(found) if self.was_just_made(&found, launch) => return Ok(Posted::New(found)),
                Some(found) => return Ok(Posted::Found(found)),
                None if posts < POSTS_MAX => {}
                None => return Err(error.to_backend(target)),
            }
        }
    }

    /// Whether `found` is what a POST of this very call made: no other has its creation time.
    fn was_just_made(&self, found: &Job, launch: &Launch) -> bool {
        let seen = SeenJob { job: found.clone(), pod: None, known: JobMemory::default() };
        self.is_ours(found, &launch.name.run)
            && facts(&launch.name.namespace, &seen, &[], self.cluster.node_lost_after).is_ok_and(|facts| {
                facts.submission.create_time.as_microsecond() == launch.submission.create_time.as_microsecond()
                    && facts.submission.digest == *launch.digest()
            })
    }

    async fn found(&self, namespace: &str, launch: &Launch, found: Job) -> Result<Created, BackendError> {
        if !self.is_ours(&found, &launch.name.run) {
            return Ok(Created::Taken { what: taken_by(namespace, &found) });
        }
        let facts = self.observe(&launch.name, namespace, found).await?;
        Ok(Created::Exists(Box::new(facts)))
    }

    /// Takes back a new Job whose input was refused for good: it could never start. A failure that may pass leaves the Job,
    /// which a replay completes; so does a replay that has taken it over since, and may have been answered.
    async fn undo(&self, launch: &Launch, job: &Job, error: &BackendError) {
        if error.is_transient() {
            return;
        }
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        if let Err(failure) = self.delete_unadopted(&launch.name, uid).await {
            tracing::warn!(run = %launch.name, %failure, "a Job without its input could not be taken back");
        }
    }
}

pub(super) fn pause(error: &CallError) -> Duration {
    error.retry_after().unwrap_or(PAUSE).min(PAUSE_MAX)
}

pub(super) fn taken_by(namespace: &str, job: &Job) -> String {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let labels = job.metadata.labels.as_ref();
    let value = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    match (value(label::MANAGED_BY), value(label::INSTANCE)) {
        (Some(label::MANAGED_BY_VALUE), Some(instance)) => {
            format!("Job {namespace}/{name} of the Longshore installation `{instance}`")
        }
        _ => format!("Job {namespace}/{name} of another owner"),
    }
}

pub(super) fn unwritable(launch: &Launch, error: &manifest::ManifestError) -> BackendError {
    BackendError::Rejected { what: format!("create {}", launch.name), message: chain(error) }
}
