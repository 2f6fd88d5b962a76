//! Pods: joined to Jobs by the uid that the Job controller writes on them.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::super::facts::controller_uid;
use super::super::super::memory::{Memory, PodRef};
use super::super::strip;
use super::{NamespaceIndex, RunChange};

impl NamespaceIndex {
    pub(in super::super) fn begin_pods(&mut self) -> RunChange {
        self.pod_list += 1;
        self.stray_pods.clear();
        RunChange::None
    }

    pub(in super::super) fn put_pod(&mut self, pod: Pod, memory: &Memory) -> RunChange {
        let Some(job_uid) = controller_uid(&pod).map(str::to_owned) else { return RunChange::None };
        let Some(owner) = self.owners.get(&job_uid).cloned() else {
            self.stray_pods.insert(job_uid, pod);
            return RunChange::None;
        };
        let pod_list = self.pod_list;
        let Some(job) = self.job_mut(&owner) else { return RunChange::None };
        let (Some(name), Some(uid)) = (pod.metadata.name.clone(), pod.metadata.uid.clone()) else {
            return RunChange::None;
        };
        // A Job may make a second Pod after it lost the first: the newest is the one that counts.
        let last = memory.last_pod(&job_uid);
        if let Some(known) = job.pod.as_deref().or(last.as_deref())
            && known.metadata.uid.as_ref() != Some(&uid)
            && known.metadata.creation_timestamp > pod.metadata.creation_timestamp
        {
            return RunChange::None;
        }
        job.pod_list = pod_list;
        let pod = strip::pod(pod);
        if job.pod.as_ref() == Some(&pod) {
            return RunChange::None;
        }
        job.pod = Some(pod);
        memory.set_pod(&job_uid, PodRef { name, uid: uid.clone() });
        if !job.uids.contains(&uid) {
            job.uids.push(uid.clone());
        }
        self.owners.insert(uid.clone(), owner.clone());
        self.adopt_events(&uid, &owner, memory);
        RunChange::One(owner.anchor)
    }

    /// `pod` is gone; it is in its last state, which may say more than what was reported before.
    pub(in super::super) fn delete_pod(&mut self, pod: Pod, memory: &Memory) -> RunChange {
        let (Some(job_uid), Some(uid)) = (controller_uid(&pod), pod.metadata.uid.as_deref()) else {
            return RunChange::None;
        };
        if self.stray_pods.get(job_uid).is_some_and(|stray| stray.metadata.uid.as_deref() == Some(uid)) {
            self.stray_pods.remove(job_uid);
        }
        let Some(owner) = self.owners.get(job_uid).cloned() else { return RunChange::None };
        match self.job_mut(&owner) {
            Some(job) if job.pod_uid() == Some(uid) => {
                job.pod = None;
                memory.lose_pod(&job.uid, gone(strip::pod(pod)));
                RunChange::One(owner.anchor)
            }
            _ => RunChange::None,
        }
    }

    /// Ends a list of the Pods: what it did not have is gone.
    pub(in super::super) fn sweep_pods(&mut self, memory: &Memory) -> RunChange {
        // The first list of the Pods is younger than that of the Jobs.
        let first = self.pod_list == 1;
        let mut changed = Vec::new();
        for (anchor, run) in &mut self.runs {
            for job in run.jobs_mut() {
                job.absence_known |= first;
                if job.pod_list != self.pod_list
                    && let Some(pod) = job.pod.take()
                {
                    // Nobody saw it go, so nobody can say that it was deleted.
                    memory.lose_pod(&job.uid, Arc::from(pod));
                    changed.push(Arc::clone(anchor));
                }
            }
        }
        RunChange::Many(changed)
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
