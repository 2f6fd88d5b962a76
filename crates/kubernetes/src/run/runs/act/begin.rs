//! How an attempt begins that was announced: its Job is posted, and closed if the run is to stop by then.

use k8s_openapi::api::batch::v1::Job;
use kube::api::PostParams;
use tokio::time::sleep;

use super::super::super::identity::belongs_to;
use super::super::super::index::Leftover;
use super::super::super::{manifest, orphans};
use super::super::KubernetesRuns;
use super::super::create::{POSTS_MAX, pause, taken_by};
use super::write::{is_ending, is_settled};
use crate::api::error::{Target, chain};
use longshore_backend::BackendError;
use longshore_domain::name::RunName;

impl KubernetesRuns {
    /// Begins an attempt, if the one before is settled, and the run is neither to stop nor to go. Of another process's stop
    /// that comes in between, the second look shows it: a Job that began meanwhile is closed at once.
    pub(super) async fn begin_attempt(&self, name: &RunName, uid: &str, number: u32) -> Result<(), BackendError> {
        let _no_stop_of_ours_meanwhile = self.begins.begin(name).await;
        let namespace = self.cluster.target(&name.namespace)?;
        let anchor = self.anchor(name, uid).await?;
        if is_ending(&anchor) {
            return Ok(());
        }
        // Somebody took away what announced it.
        if !is_settled(&anchor, number.saturating_sub(1)) {
            let anchor = name.run.job_name(1);
            return Err(BackendError::Conflict(Target::new("read", "Job", namespace, &anchor).object()));
        }
        let job = manifest::further(&anchor, &name.run, number).map_err(|error| BackendError::Rejected {
            what: format!("begin attempt {number} of {name}"),
            message: chain(&error),
        })?;
        let begun = self.post_further(name, namespace, &anchor, &job).await?;
        match self.anchor(name, uid).await {
            Ok(anchor) if is_ending(&anchor) => self.end_unstarted(name, uid, number).await,
            Ok(_) => Ok(()),
            // Nothing but us holds what has lost its run.
            Err(error @ BackendError::NotFound(_)) => {
                orphans::let_go(&self.cluster, namespace, &leftover(name, &begun)).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Posts the Job, or finds it: its name is deterministic, so that no second can come.
    async fn post_further(
        &self,
        name: &RunName,
        namespace: &str,
        anchor: &Job,
        job: &Job,
    ) -> Result<Job, BackendError> {
        let job_name = job.metadata.name.as_deref().unwrap_or_default();
        let target = Target::new("create", "Job", namespace, job_name);
        let jobs = self.cluster.jobs(namespace);
        let mut posts = 0;
        loop {
            posts += 1;
            let error = match self.cluster.call(jobs.create(&PostParams::default(), job)).await {
                Ok(job) => return Ok(job),
                Err(error) if error.is_already_exists() || error.is_ambiguous() => error,
                Err(error) => return Err(error.to_backend(target)),
            };
            if error.is_ambiguous() {
                sleep(pause(&error)).await;
            }
            match self.read_job(namespace, job_name).await? {
                Some(found) if !self.is_ours(&found, &name.run) => {
                    let message = format!("{} has its name", taken_by(namespace, &found));
                    return Err(BackendError::Rejected { what: target.to_string(), message });
                }
                Some(found) if belongs_to(&found, anchor) => return Ok(found),
                // Of an earlier run of this name, and about to go.
                Some(found) => {
                    orphans::let_go(&self.cluster, namespace, &leftover(name, &found)).await?;
                    return Err(BackendError::Conflict(target.object()));
                }
                None if posts < POSTS_MAX => {}
                None => return Err(error.to_backend(target)),
            }
        }
    }
}

fn leftover(name: &RunName, job: &Job) -> Leftover {
    Leftover {
        anchor: name.run.job_name(1).into(),
        job: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
    }
}
