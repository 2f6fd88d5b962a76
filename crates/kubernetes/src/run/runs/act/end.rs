//! How attempts are ended: the stop table (docs/architecture.md, "Stops").

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::super::facts::has_started;
use super::super::super::memory::PodRef;
use super::super::super::start::StartNote;
use super::super::KubernetesRuns;
use super::gone;
use super::write::unwritable;
use crate::api::conditions::is_over;
use crate::api::error::Target;
use crate::api::job::{annotation_path, is_suspended};
use crate::api::names::annotation;
use crate::api::owned::pods_of;
use longshore_backend::BackendError;
use longshore_domain::name::RunName;

impl KubernetesRuns {
    /// Sees that nothing starts any more: the Job makes no Pod and has the one that is there deleted,
    /// and its deadline passes, which ends it as failed even where it is held back now and resumed
    /// later. The deadline alone acts a second late, and a container starts in a third of one.
    ///
    /// The caller's view may lag: what has started meanwhile is ended in the way that keeps its log,
    /// which would go with its Pod.
    pub(super) async fn end_unstarted(&self, name: &RunName, uid: &str, attempt: u32) -> Result<(), BackendError> {
        let job = self.attempt(name, uid, attempt).await?;
        // What a Job that is gone has made goes after it.
        let Some(job) = job.filter(|job| !is_over(job)) else { return Ok(()) };
        let (namespace, job_name) = (self.cluster.target(&name.namespace)?, name.run.job_name(attempt));
        let pod = self.read_pod(namespace, job.metadata.uid.as_deref().unwrap_or_default()).await?;
        let pod = pod.filter(|pod| !pod_is_over(pod));
        if let Some(pod) = pod.as_ref().filter(|pod| has_started(pod)) {
            return self.limit(namespace, pod, 1).await;
        }
        if !is_closed(&job) {
            let patch = json!([
                {"op": "test", "path": "/metadata/uid", "value": job.metadata.uid},
                {"op": "add", "path": "/spec/parallelism", "value": 0},
                {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1},
            ]);
            match self.cluster.json_patch::<Job>(namespace, &job_name, &patch).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() && attempt <= 1 => return Err(gone(name)),
                // The run is its anchor, and what is gone needs no end.
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error.to_backend(Target::new("stop", "Job", namespace, &job_name))),
            }
        }
        match &pod {
            Some(pod) => self.limit(namespace, pod, 1).await,
            None => Ok(()),
        }
    }

    /// Sees that a Job that was suspended while its program ran makes no Pod any more, and that this is why: in one patch,
    /// so that another daemon that finds it closed knows it. A Pod that it has made meanwhile is deleted for it.
    ///
    /// The caller's view of the Job may lag behind that of its Pod: what was let go on by its queue and has just started is
    /// left alone, and so is what has ended by itself.
    pub(super) async fn close_preempted(
        &self,
        name: &RunName,
        uid: &str,
        attempt: u32,
        ran: Option<StartNote>,
    ) -> Result<(), BackendError> {
        let job = self.attempt(name, uid, attempt).await?;
        let Some(job) = job.filter(|job| !is_over(job) && !is_closed(job)) else { return Ok(()) };
        let (namespace, job_name) = (self.cluster.target(&name.namespace)?, name.run.job_name(attempt));
        let pod = self.read_pod(namespace, job.metadata.uid.as_deref().unwrap_or_default()).await?;
        let is_suspended = is_suspended(&job);
        if !was_preempted(is_suspended, pod.as_ref(), ran.as_ref()) {
            return Ok(());
        }
        let mut patch = vec![json!({"op": "test", "path": "/metadata/uid", "value": job.metadata.uid})];
        if is_suspended {
            patch.push(json!({"op": "test", "path": "/spec/suspend", "value": true}));
        }
        if let Some(note) = ran.filter(|_| StartNote::of(&job).is_none()) {
            let note = serde_json::to_string(&note).map_err(|error| unwritable(name, &error))?;
            patch.push(json!({"op": "add", "path": annotation_path(annotation::START), "value": note}));
        }
        patch.extend([
            json!({"op": "add", "path": annotation_path(annotation::PREEMPTED), "value": Timestamp::now().to_string()}),
            json!({"op": "add", "path": "/spec/parallelism", "value": 0}),
            json!({"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1}),
        ]);
        let target = Target::new("close", "Job", namespace, &job_name);
        match self.cluster.json_patch::<Job>(namespace, &job_name, &Value::Array(patch)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() && attempt <= 1 => Err(gone(name)),
            Err(error) if error.is_not_found() => Ok(()),
            // It was let go on meanwhile.
            Err(error) if error.is_conflict() || error.is_invalid() => Err(BackendError::Conflict(target.object())),
            Err(error) => Err(error.to_backend(target)),
        }
    }

    async fn limit(&self, namespace: &str, pod: &Pod, seconds: i64) -> Result<(), BackendError> {
        let (Some(name), Some(uid)) = (pod.metadata.name.clone(), pod.metadata.uid.clone()) else { return Ok(()) };
        if !needs_limit(pod, &uid, seconds) {
            return Ok(());
        }
        self.patch_limit(namespace, &PodRef { name, uid }, seconds).await
    }

    /// Lowers the deadline of an attempt's Pod to `seconds` from its start on the node; the kubelet
    /// then sends SIGTERM, waits and kills, and Pod, exit code and log stay. It can only be lowered,
    /// and a Pod that is gone or over needs no end.
    pub(super) async fn limit_pod(
        &self,
        name: &RunName,
        uid: &str,
        attempt: u32,
        seconds: i64,
    ) -> Result<(), BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let job_uid = match attempt {
            0 | 1 => uid.to_owned(),
            _ => match self.attempt(name, uid, attempt).await? {
                Some(job) => job.metadata.uid.unwrap_or_default(),
                None => return Ok(()),
            },
        };
        for pod in self.pods_to_limit(namespace, &job_uid).await? {
            self.patch_limit(namespace, &pod, seconds).await?;
        }
        Ok(())
    }

    async fn patch_limit(&self, namespace: &str, pod: &PodRef, seconds: i64) -> Result<(), BackendError> {
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": pod.uid},
            {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": seconds},
        ]);
        let target = Target::new("stop", "Pod", namespace, &pod.name);
        match self.cluster.json_patch::<Pod>(namespace, &pod.name, &patch).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            // The Pod is another, or its deadline is lower already.
            Err(error) if error.is_invalid() => {
                let found = self.cluster.read(target, self.cluster.pods(namespace).get(&pod.name)).await?;
                match found.is_some_and(|found| needs_limit(&found, &pod.uid, seconds)) {
                    true => Err(error.to_backend(target)),
                    false => Ok(()),
                }
            }
            Err(error) => Err(error.to_backend(target)),
        }
    }

    /// The Pod that the watch knows, or else whatever Pods the Job has.
    async fn pods_to_limit(&self, namespace: &str, job_uid: &str) -> Result<Vec<PodRef>, BackendError> {
        if let Some(pod) = self.memory.pod(job_uid) {
            return Ok(vec![pod]);
        }
        let pods = pods_of(&self.cluster, namespace, job_uid).await;
        let pods = pods.map_err(|error| error.to_backend(Target::new("list", "Pod", namespace, "")))?;
        Ok(pods
            .into_iter()
            .filter_map(|pod| Some(PodRef { name: pod.metadata.name?, uid: pod.metadata.uid? }))
            .collect())
    }
}

/// Whether what ran was taken away, by the objects as they are: `pod` is the Job's newest, `ran` the one that ran.
fn was_preempted(is_suspended: bool, pod: Option<&Pod>, ran: Option<&StartNote>) -> bool {
    let Some(pod) = pod else { return true };
    let is_another = ran.is_some_and(|ran| pod.metadata.uid.as_deref() != Some(&ran.uid));
    let is_going = pod.metadata.deletion_timestamp.is_some();
    is_another || is_going || (is_suspended && !pod_is_over(pod))
}

/// Whether the Job makes no Pod any more, and its deadline passes as soon as it counts.
fn is_closed(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|spec| spec.parallelism == Some(0) && spec.active_deadline_seconds == Some(1))
}

fn pod_is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether this Pod still has to be limited to `seconds`.
fn needs_limit(pod: &Pod, uid: &str, seconds: i64) -> bool {
    let deadline = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    pod.metadata.uid.as_deref() == Some(uid)
        && pod.metadata.deletion_timestamp.is_none()
        && !pod_is_over(pod)
        && deadline.is_none_or(|deadline| deadline > seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn only_what_was_taken_away_is_closed_for_it() {
        let ran = StartNote { uid: "first".to_owned(), start_time: None };
        let pod = |uid: &str, phase: &str, is_going: bool| {
            let mut pod = Pod::default();
            pod.metadata.uid = Some(uid.to_owned());
            pod.metadata.deletion_timestamp = is_going.then_some(Time(Timestamp::UNIX_EPOCH));
            pod.status.get_or_insert_default().phase = Some(phase.to_owned());
            pod
        };
        let closed = |is_suspended, pod: &Pod| was_preempted(is_suspended, Some(pod), Some(&ran));
        assert!(closed(true, &pod("first", "Running", false)), "its deletion comes");
        assert!(!closed(false, &pod("first", "Running", false)), "its queue let it go, and the view lagged");
        assert!(!closed(true, &pod("first", "Failed", false)), "it ended by itself");
        assert!(closed(true, &pod("first", "Failed", true)));
        assert!(closed(false, &pod("second", "Pending", false)), "let go on before it was closed");
        assert!(was_preempted(true, None, Some(&ran)) && was_preempted(false, None, None));
    }

    #[test]
    fn a_limit_is_needed_only_by_the_same_live_pod_with_a_later_deadline() {
        let mut pod = Pod::default();
        pod.metadata.uid = Some("u".to_owned());
        pod.spec.get_or_insert_default().active_deadline_seconds = Some(60);
        assert!(needs_limit(&pod, "u", 30));
        assert!(!needs_limit(&pod, "u", 60));
        assert!(!needs_limit(&pod, "other", 30));
        pod.status.get_or_insert_default().phase = Some("Failed".to_owned());
        assert!(!needs_limit(&pod, "u", 30));
    }
}
