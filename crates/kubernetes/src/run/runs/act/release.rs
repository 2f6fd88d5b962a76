//! How a run is let go, or deleted: what is held of it is released, the anchor last.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::super::super::orphans;
use super::super::{KubernetesRuns, attempts_of};
use super::TRIES;
use crate::api::conditions;
use crate::api::error::{CallError, Target};
use crate::api::job::{self, annotation_path, is_annotated};
use crate::api::names::{HOLD_FINALIZER, RECORDED_CONDITION, annotation, result_secret_name};
use longshore_backend::BackendError;
use longshore_domain::name::RunName;

/// Longest message of a condition, in bytes (Kubernetes allows 32 KiB).
const CONDITION_MESSAGE_MAX: usize = 1024;

impl KubernetesRuns {
    /// Takes our hold off the Jobs of further attempts, which go with the anchor. One that was released from it
    /// (`--cascade=orphan`) is deleted.
    pub(super) async fn release_further(&self, name: &RunName, uid: &str, attempts: u32) -> Result<(), BackendError> {
        for number in 2..=attempts {
            self.release_attempt(name, uid, number).await?;
        }
        Ok(())
    }

    async fn release_attempt(&self, name: &RunName, uid: &str, number: u32) -> Result<(), BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let job_name = name.run.job_name(number);
        let target = Target::new("release", "Job", namespace, &job_name);
        let mut refusal = BackendError::Conflict(target.object());
        for _ in 0..TRIES {
            let Some(job) = self.attempt(name, uid, number).await? else { return Ok(()) };
            let is_free = job.metadata.owner_references.as_ref().is_none_or(Vec::is_empty);
            if is_free && job.metadata.deletion_timestamp.is_none() {
                self.delete_job(namespace, &job_name, &job).await?;
            }
            let Some(hold) = hold_of(&job) else { return Ok(()) };
            let job_uid = job.metadata.uid.as_deref().unwrap_or_default();
            let patch = Value::Array(let_go_patch(job_uid, Some(hold)));
            match self.patch_held(target, &patch).await? {
                None => return Ok(()),
                Some(moved) => refusal = moved,
            }
        }
        Err(refusal)
    }

    /// Reports the outcome in the Job's conditions; then releases our hold and starts the retention
    /// clock, in one patch. Where somebody else has taken the hold away only the clock is started.
    pub(super) async fn release(
        &self,
        name: &RunName,
        uid: &str,
        reason: &str,
        message: &str,
        retention: Duration,
    ) -> Result<(), BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let job_name = name.run.job_name(1);
        let target = Target::new("release", "Job", namespace, &job_name);
        let reporting = Target::new("report the outcome on", "Job", namespace, &job_name);
        let mut refusal = BackendError::Conflict(target.object());
        for _ in 0..TRIES {
            // Without a hold it may go at any time.
            let Some(job) = self.find_anchor(name, uid).await? else { return Ok(()) };
            let hold = hold_of(&job);
            if hold.is_none() && is_annotated(&job, annotation::EXPIRE) {
                return Ok(());
            }
            if job.metadata.deletion_timestamp.is_some() {
                self.sweep_orphans(name, namespace, &job).await?;
            }
            if conditions::stated(&job, RECORDED_CONDITION).is_none() {
                match self.report_condition(namespace, &job_name, uid, reason, message).await {
                    Ok(()) => {}
                    Err(error) if error.is_not_found() => return Ok(()),
                    // Another Job has the name: the next look shows it.
                    Err(error) if error.is_conflict() || error.is_invalid() => {
                        refusal = error.to_backend(reporting);
                        continue;
                    }
                    Err(error) => return Err(error.to_backend(reporting)),
                }
            }
            let patch = release_patch(&job, uid, hold, retention, Timestamp::now());
            match self.patch_held(target, &patch).await? {
                None => return Ok(()),
                Some(moved) => refusal = moved,
            }
        }
        Err(refusal)
    }

    /// Deletes what no longer belongs to a Job that is being deleted, before nobody knows of it.
    async fn sweep_orphans(&self, name: &RunName, namespace: &str, job: &Job) -> Result<(), BackendError> {
        let input = job::annotation(job, annotation::INPUT).map(str::to_owned);
        let secrets: Vec<String> = input.into_iter().chain([result_secret_name(&name.run)]).collect();
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        match orphans::sweep(&self.cluster, namespace, uid, &secrets).await {
            // A right that is missing must not keep the Job.
            Err(error @ BackendError::Denied { .. }) => {
                tracing::warn!(run = %name, %error, "what the Job left behind can't be deleted");
                Ok(())
            }
            ended => ended,
        }
    }

    async fn report_condition(
        &self,
        namespace: &str,
        job_name: &str,
        uid: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), CallError> {
        let patch = condition_patch(uid, reason, message, Timestamp::now());
        let jobs = self.cluster.jobs(namespace);
        let (params, patch) = (PatchParams::default(), Patch::Strategic(&patch));
        self.cluster.call(jobs.patch_status(job_name, &params, &patch)).await.map(|_| ())
    }

    /// Deletes the anchor with all that it owns, and takes our hold away from it and from further Jobs, which could not go
    /// with it otherwise.
    pub(super) async fn delete(&self, name: &RunName, uid: &str) -> Result<(), BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let job_name = name.run.job_name(1);
        let target = Target::new("delete", "Job", namespace, &job_name);
        let mut refusal = BackendError::Conflict(target.object());
        for _ in 0..TRIES {
            let Some(job) = self.find_anchor(name, uid).await? else { return Ok(()) };
            self.release_further(name, uid, attempts_of(&job)).await?;
            if job.metadata.deletion_timestamp.is_none() {
                self.delete_job(namespace, &job_name, &job).await?;
            }
            let Some(hold) = hold_of(&job) else { return Ok(()) };
            let patch = Value::Array(let_go_patch(uid, Some(hold)));
            match self.patch_held(target, &patch).await? {
                None => return Ok(()),
                Some(moved) => refusal = moved,
            }
        }
        Err(refusal)
    }

    /// Deletes a run that was just made, unless a replay has taken it over: that changes the resource version, as its
    /// controller does, so that another look decides.
    pub(in super::super) async fn delete_unadopted(&self, name: &RunName, uid: &str) -> Result<(), BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let job_name = name.run.job_name(1);
        for _ in 0..TRIES {
            let Some(job) = self.find_anchor(name, uid).await? else { return Ok(()) };
            if is_annotated(&job, annotation::ADOPTED) {
                return Ok(());
            }
            let resource_version = job.metadata.resource_version.clone();
            let preconditions = Preconditions { uid: job.metadata.uid, resource_version };
            let params = DeleteParams::background().preconditions(preconditions);
            match self.cluster.call(self.cluster.jobs(namespace).delete(&job_name, &params)).await {
                // Its hold keeps it; what is being deleted is not taken over any more.
                Ok(_) => return self.delete(name, uid).await,
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.to_backend(Target::new("delete", "Job", namespace, &job_name))),
            }
        }
        Err(BackendError::Conflict(Target::new("delete", "Job", namespace, &job_name).object()))
    }

    /// Patches a Job that we hold. `None`: done, or it is gone. Else what refused it: somebody moved the finalisers, so that
    /// another look decides.
    async fn patch_held(&self, target: Target<'_>, patch: &Value) -> Result<Option<BackendError>, BackendError> {
        match self.cluster.json_patch::<Job>(target.kube_namespace, target.name, patch).await {
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.is_conflict() || error.is_invalid() => Ok(Some(error.to_backend(target))),
            Err(error) => Err(error.to_backend(target)),
        }
    }

    /// Deletes this very Job. The default would leave its Pods running.
    async fn delete_job(&self, namespace: &str, job_name: &str, job: &Job) -> Result<(), BackendError> {
        let preconditions = Preconditions { uid: job.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        match self.cluster.call(self.cluster.jobs(namespace).delete(job_name, &params)).await {
            Ok(_) => Ok(()),
            // Gone, or another's by now.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error.to_backend(Target::new("delete", "Job", namespace, job_name))),
        }
    }
}

/// Where our hold stands among the finalisers.
pub(crate) fn hold_of(job: &Job) -> Option<usize> {
    job.metadata.finalizers.as_ref()?.iter().position(|finalizer| finalizer == HOLD_FINALIZER)
}

fn hold_path(hold: usize) -> String {
    format!("/metadata/finalizers/{hold}")
}

/// Takes our hold away, from the very Job that was read, if it has one.
pub(crate) fn let_go_patch(uid: &str, hold: Option<usize>) -> Vec<Value> {
    let mut patch = vec![json!({"op": "test", "path": "/metadata/uid", "value": uid})];
    if let Some(hold) = hold {
        patch.push(json!({"op": "test", "path": hold_path(hold), "value": HOLD_FINALIZER}));
        patch.push(json!({"op": "remove", "path": hold_path(hold)}));
    }
    patch
}

/// Takes our hold away and starts the retention clock. A TTL counts from the Job's end, which may be long ago: other
/// attempts followed that of the anchor, or its record was late.
pub(crate) fn release_patch(job: &Job, uid: &str, hold: Option<usize>, retention: Duration, now: Timestamp) -> Value {
    let since_end = conditions::end_time(job).and_then(|end| Duration::try_from(now.duration_since(end)).ok());
    let seconds = retention.saturating_add(since_end.unwrap_or_default()).as_secs();
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    let expire = now.checked_add(retention).unwrap_or(Timestamp::MAX);
    let expire = Timestamp::from_second(expire.as_second()).unwrap_or(expire).to_string();
    let mut patch = let_go_patch(uid, hold);
    patch.push(json!({"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": seconds}));
    if job.metadata.annotations.is_none() {
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    patch.push(json!({"op": "add", "path": annotation_path(annotation::EXPIRE), "value": expire}));
    Value::Array(patch)
}

/// The uid can't be changed, so that a Job with another refuses the patch.
fn condition_patch(uid: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    json!({"metadata": {"uid": uid}, "status": {"conditions": [{
        "type": RECORDED_CONDITION,
        "status": "True",
        "reason": condition_reason(reason),
        "message": longshore_text::cut(message, CONDITION_MESSAGE_MAX),
        "lastProbeTime": now,
        "lastTransitionTime": now,
    }]}})
}

/// A reason as Kubernetes asks for: `^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`.
fn condition_reason(reason: &str) -> &str {
    let bytes = reason.as_bytes();
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let valid = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(word)
        && bytes.iter().all(|byte| word(byte) || matches!(byte, b',' | b':'));
    if valid { reason } else { "Recorded" }
}

#[cfg(test)]
mod tests_of_patches {
    use super::*;
    use k8s_openapi::api::batch::v1::JobCondition;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn job(finalizers: &[&str]) -> Job {
        let mut job = Job::default();
        job.metadata.finalizers = Some(finalizers.iter().map(|f| (*f).to_owned()).collect());
        job.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        job
    }

    #[test]
    fn the_release_removes_our_hold_and_no_other() {
        let job = job(&["batch.kubernetes.io/job-tracking", HOLD_FINALIZER]);
        let hold = hold_of(&job);
        let now: Timestamp = "2026-11-21T10:00:00.5Z".parse().unwrap();
        let patch = release_patch(&job, "u", hold, Duration::from_secs(3600), now);
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/metadata/finalizers/1", "value": HOLD_FINALIZER},
                {"op": "remove", "path": "/metadata/finalizers/1"},
                {"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": 3600},
                {"op": "add", "path": "/metadata/annotations/longshore.dev~1expire-time", "value": "2026-11-21T11:00:00Z"},
            ])
        );
        assert_eq!(hold_of(&self::job(&["foregroundDeletion"])), None);
    }

    #[test]
    fn the_retention_counts_from_the_release_and_not_from_the_end_of_the_first_attempt() {
        let now: Timestamp = "2026-11-21T10:00:00.5Z".parse().unwrap();
        let mut job = job(&[HOLD_FINALIZER]);
        let ended: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        job.status.get_or_insert_default().conditions = Some(vec![JobCondition {
            type_: "Failed".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(ended)),
            ..JobCondition::default()
        }]);
        let patch = release_patch(&job, "u", Some(0), Duration::from_secs(3600), now);
        let seconds = patch.pointer("/3/value").and_then(Value::as_i64);
        assert_eq!(seconds, Some(7200 + 3600));
        assert_eq!(patch.pointer("/4/value").and_then(Value::as_str), Some("2026-11-21T11:00:00Z"));
    }

    #[test]
    fn reasons_are_what_kubernetes_takes() {
        for good in ["SUCCEEDED", "OOM_KILLED", "A", "A:b,c_"] {
            assert_eq!(condition_reason(good), good);
        }
        for bad in ["", "1a", "a b", "a:", "ä", "a-b"] {
            assert_eq!(condition_reason(bad), "Recorded", "{bad}");
        }
    }
}
