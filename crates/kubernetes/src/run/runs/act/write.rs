//! What is kept with a run, in annotations of its anchor: the intent to stop, how attempts ended, and the record. Of two
//! writers the first wins, by the resource version.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::super::super::identity::belongs_to;
use super::super::super::start::StartNote;
use super::super::KubernetesRuns;
use super::{TRIES, gone};
use crate::api::error::Target;
use crate::api::job::{self, is_annotated};
use crate::api::names::annotation;
use longshore_backend::BackendError;
use longshore_domain::name::RunName;
use longshore_domain::run::StopIntent;
use longshore_domain::run::record::Record;
use longshore_domain::run::retry::AttemptRecord;

impl KubernetesRuns {
    /// Writes the intent to stop, unless there is one.
    pub(super) async fn write_stop(&self, name: &RunName, uid: &str, stop: &StopIntent) -> Result<(), BackendError> {
        let _not_while_an_attempt_begins = self.begins.stop(name).await;
        let written =
            |anchor: &Job| says(anchor, annotation::STOP, |text| serde_json::from_str::<StopIntent>(text).ok());
        let text = serde_json::to_string(stop).map_err(|error| unwritable(name, &error))?;
        self.annotate_unless(name, uid, written, &json!({annotation::STOP: text})).await
    }

    /// Marks a run as taken over by a replay, so that who submitted it first does not take it back.
    ///
    /// # Errors
    /// [`BackendError::Conflict`] if it is being deleted.
    pub(in super::super) async fn adopt(&self, name: &RunName, uid: &str) -> Result<(), BackendError> {
        for _ in 0..TRIES {
            let anchor = self.anchor(name, uid).await?;
            if anchor.metadata.deletion_timestamp.is_some() {
                break;
            }
            let mark = json!({annotation::ADOPTED: Timestamp::now().to_string()});
            if is_annotated(&anchor, annotation::ADOPTED) || self.annotate(name, &anchor, &mark).await? {
                return Ok(());
            }
        }
        Err(self.too_busy(name)?)
    }

    /// Writes how an attempt ended after which another follows; not once the run is to stop, to go, or has its record.
    pub(super) async fn write_attempt(
        &self,
        name: &RunName,
        uid: &str,
        record: &AttemptRecord,
    ) -> Result<(), BackendError> {
        let number = record.attempt.number;
        let text = record.to_json().map_err(|error| unwritable(name, &error))?;
        let no_more = |anchor: &Job| is_ending(anchor) || is_settled(anchor, number);
        self.annotate_unless(name, uid, no_more, &json!({annotation::attempt(number): text})).await
    }

    /// Writes the record, which has all attempts, in place of what was kept of each, unless there is one.
    ///
    /// # Errors
    /// [`BackendError::Conflict`] if another attempt has been announced since and may begin: the next look shows it.
    pub(super) async fn write_record(&self, name: &RunName, uid: &str, record: &Record) -> Result<(), BackendError> {
        let text = record.to_json().map_err(|error| unwritable(name, &error))?;
        let last = record.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(1);
        for _ in 0..TRIES {
            let anchor = self.anchor(name, uid).await?;
            if is_recorded(&anchor) {
                return Ok(());
            }
            if self.goes_on(name, &anchor, last).await? {
                return Err(self.too_busy(name)?);
            }
            let kept = anchor.metadata.annotations.iter().flat_map(BTreeMap::keys);
            let kept = kept.filter(|key| key.starts_with(annotation::ATTEMPT_PREFIX));
            let mut annotations: serde_json::Map<_, _> = kept.map(|key| (key.clone(), Value::Null)).collect();
            annotations.insert(annotation::RECORD.to_owned(), json!(text));
            if self.annotate(name, &anchor, &Value::Object(annotations)).await? {
                return Ok(());
            }
        }
        Err(self.too_busy(name)?)
    }

    /// Whether another attempt follows the one of this number: it is announced, and the run is not to stop, or it has begun.
    async fn goes_on(&self, name: &RunName, anchor: &Job, number: u32) -> Result<bool, BackendError> {
        if !is_settled(anchor, number) {
            return Ok(false);
        }
        if !is_annotated(anchor, annotation::STOP) {
            return Ok(true);
        }
        let namespace = self.cluster.target(&name.namespace)?;
        let next = self.read_job(namespace, &name.run.job_name(number.saturating_add(1))).await?;
        Ok(next.is_some_and(|next| self.is_ours(&next, &name.run) && belongs_to(&next, anchor)))
    }

    async fn annotate_unless(
        &self,
        name: &RunName,
        uid: &str,
        needless: impl Fn(&Job) -> bool,
        annotations: &Value,
    ) -> Result<(), BackendError> {
        for _ in 0..TRIES {
            let anchor = self.anchor(name, uid).await?;
            if needless(&anchor) || self.annotate(name, &anchor, annotations).await? {
                return Ok(());
            }
        }
        Err(self.too_busy(name)?)
    }

    /// Writes which Pod of an attempt's Job started first.
    pub(super) async fn note_start(
        &self,
        name: &RunName,
        uid: &str,
        attempt: u32,
        note: &StartNote,
    ) -> Result<(), BackendError> {
        let text = serde_json::to_string(note).map_err(|error| unwritable(name, &error))?;
        for _ in 0..TRIES {
            // What is gone starts nothing again.
            let Some(job) = self.attempt(name, uid, attempt).await? else { return Ok(()) };
            if StartNote::of(&job).is_some() || self.annotate(name, &job, &json!({annotation::START: text})).await? {
                return Ok(());
            }
        }
        Err(self.too_busy(name)?)
    }

    /// Writes annotations of a Job of the run, as long as it is what was read. `false`: it is not.
    async fn annotate(&self, name: &RunName, job: &Job, annotations: &Value) -> Result<bool, BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let job_name = job.metadata.name.clone().unwrap_or_default();
        let patch = json!({"metadata": {
            "resourceVersion": job.metadata.resource_version,
            "annotations": annotations,
        }});
        let jobs = self.cluster.jobs(namespace);
        match self.cluster.call(jobs.patch(&job_name, &PatchParams::default(), &Patch::Merge(&patch))).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            // The next look shows which it was.
            Err(error) if error.is_not_found() && job_name != name.run.job_name(1) => Ok(false),
            Err(error) if error.is_not_found() => Err(gone(name)),
            Err(error) => Err(error.to_backend(Target::new("annotate", "Job", namespace, &job_name))),
        }
    }

    fn too_busy(&self, name: &RunName) -> Result<BackendError, BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        Ok(BackendError::Conflict(Target::new("annotate", "Job", namespace, &name.run.job_name(1)).object()))
    }
}

/// Whether no further attempt may begin.
pub(super) fn is_ending(anchor: &Job) -> bool {
    is_annotated(anchor, annotation::STOP)
        || is_annotated(anchor, annotation::RECORD)
        || anchor.metadata.deletion_timestamp.is_some()
}

/// Whether it is written how the attempt of this number ended, which announces the next.
pub(super) fn is_settled(anchor: &Job, number: u32) -> bool {
    says(anchor, &annotation::attempt(number), |text| AttemptRecord::from_json(text).ok())
}

fn is_recorded(anchor: &Job) -> bool {
    says(anchor, annotation::RECORD, |text| Record::from_json(text).ok())
}

/// Whether the Job has this annotation, and it can be read: what somebody else wrote there is written over.
fn says<T>(job: &Job, key: &str, read: impl Fn(&str) -> Option<T>) -> bool {
    job::annotation(job, key).and_then(read).is_some()
}

pub(super) fn unwritable(name: &RunName, error: &serde_json::Error) -> BackendError {
    BackendError::Rejected { what: format!("write an annotation of {name}"), message: error.to_string() }
}
