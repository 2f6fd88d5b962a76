//! What is done to a run's objects: the intent, the record and the release (docs/architecture.md,
//! "Intent, record, hold"). Everything may be repeated; the actor has read what it acts on.

use k8s_openapi::api::batch::v1::Job;

use super::super::start::StartNote;
use super::KubernetesRuns;
use crate::api::owned::is_owned_by;
use longshore_backend::BackendError;
use longshore_domain::name::RunName;
use longshore_domain::run::plan::Action;

mod begin;
mod end;
mod release;
mod write;

pub(crate) use release::{hold_of, let_go_patch, release_patch};

/// How often a write is tried against somebody else's, before the caller has to come again.
const TRIES: u32 = 5;

impl KubernetesRuns {
    pub(super) async fn act_on(&self, name: &RunName, uid: &str, action: &Action) -> Result<(), BackendError> {
        match action {
            Action::WriteStop(stop) => self.write_stop(name, uid, stop).await,
            Action::WriteAttempt(record) => self.write_attempt(name, uid, record).await,
            Action::BeginAttempt { attempt } => self.begin_attempt(name, uid, *attempt).await,
            Action::WriteRecord(record) => self.write_record(name, uid, record).await,
            Action::EndUnstarted { attempt } => self.end_unstarted(name, uid, *attempt).await,
            Action::EndStarted { attempt } => self.limit_pod(name, uid, *attempt, 1).await,
            Action::LowerDeadline { attempt, deadline } => {
                let seconds = i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX).max(1);
                self.limit_pod(name, uid, *attempt, seconds).await
            }
            Action::NoteStart { attempt, uid: pod, start_time } => {
                let note = StartNote { uid: pod.clone(), start_time: *start_time };
                self.note_start(name, uid, *attempt, &note).await
            }
            Action::ClosePreempted { attempt, uid: pod, start_time } => {
                let ran = pod.clone().map(|uid| StartNote { uid, start_time: *start_time });
                self.close_preempted(name, uid, *attempt, ran).await
            }
            Action::StoreResult { json } => self.store_result(name, uid, json).await,
            Action::Release { reason, message, retention, attempts } => {
                self.release_further(name, uid, *attempts).await?;
                self.release(name, uid, reason, message, *retention).await
            }
            Action::Delete => self.delete(name, uid).await,
        }
    }

    /// The anchor of the run with this uid.
    async fn anchor(&self, name: &RunName, uid: &str) -> Result<Job, BackendError> {
        self.find_anchor(name, uid).await?.ok_or_else(|| gone(name))
    }

    /// The same, if it is there.
    async fn find_anchor(&self, name: &RunName, uid: &str) -> Result<Option<Job>, BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let job = self.read_job(namespace, &name.run.job_name(1)).await?;
        Ok(job.filter(|job| job.metadata.uid.as_deref() == Some(uid)))
    }

    /// The Job of an attempt. `None`: it is not the anchor, and is gone.
    async fn attempt(&self, name: &RunName, uid: &str, attempt: u32) -> Result<Option<Job>, BackendError> {
        if attempt <= 1 {
            return self.anchor(name, uid).await.map(Some);
        }
        let namespace = self.cluster.target(&name.namespace)?;
        let job = self.read_job(namespace, &name.run.job_name(attempt)).await?;
        // One without an owner was released from the anchor.
        let is_its = |job: &Job| {
            is_owned_by(&job.metadata, uid) || job.metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
        };
        Ok(job.filter(|job| self.is_ours(job, &name.run) && is_its(job)))
    }
}

fn gone(name: &RunName) -> BackendError {
    BackendError::NotFound(name.to_string())
}
