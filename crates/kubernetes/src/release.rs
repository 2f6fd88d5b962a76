//! Releases every Job of an installation, without its daemon: for uninstalling.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::KubernetesConfig;
use crate::api::client::{Cluster, JOBS_PAGE};
use crate::api::conditions::is_over;
use crate::api::error::Target;
use crate::api::names::label;
use crate::run::identity::named;
use crate::run::runs::{hold_of, release_patch};
use longshore_backend::BackendError;

/// How long what is released stays once it has ended, so that it can still be looked at.
const KEPT: Duration = Duration::from_secs(3600);
/// How long the daemon's Pods may take to go: its own drain, and a node that is slow.
const DOWN_MAX: Duration = Duration::from_secs(120);
/// How often they are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often a Job is tried whose finalisers somebody else moves meanwhile.
const TRIES: u32 = 5;

/// What came of a release.
#[derive(Debug, Default)]
pub struct ReleaseOutcome {
    /// How many Jobs of the installation were there.
    pub jobs: usize,
    /// What could not be released, and why.
    pub failures: Vec<BackendError>,
    /// If there was no Job: whose there are instead.
    pub other_instances: BTreeSet<String>,
}

/// Scales the daemon's Deployment to 0 and waits until none of its Pods is left: a daemon that is
/// still there would hold new Jobs. A Deployment that is not there is down.
///
/// # Errors
/// If it can't be scaled, or its Pods stay.
pub async fn scale_down(config: KubernetesConfig, kube_namespace: &str, name: &str) -> Result<(), BackendError> {
    let cluster = Cluster::connect(config).await?;
    let target = Target::new("scale", "Deployment", kube_namespace, name);
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), kube_namespace);
    let patch = Patch::Merge(serde_json::json!({"spec": {"replicas": 0}}));
    let params = PatchParams::default();
    let Some(scale) = cluster.read(target, deployments.patch_scale(name, &params, &patch)).await? else {
        return Ok(());
    };
    let selector = scale.status.and_then(|status| status.selector).filter(|selector| !selector.is_empty());
    let unselected =
        || BackendError::Corrupt { what: target.object(), message: "it has no selector of its Pods".to_owned() };
    let params = ListParams::default().labels(&selector.ok_or_else(unselected)?);
    let waiting = async {
        loop {
            let pods = cluster.call(cluster.pods(kube_namespace).list_metadata(&params)).await;
            let pods = pods.map_err(|error| error.to_backend(Target::new("list", "Pod", kube_namespace, "")))?;
            if pods.items.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let message = format!("its Pods are still there after {} s", DOWN_MAX.as_secs());
    tokio::time::timeout(DOWN_MAX, waiting)
        .await
        .unwrap_or_else(|_| Err(BackendError::Unavailable { what: target.object(), message }))
}

/// Per Job of the instance in these Kubernetes namespaces one patch sets its TTL and removes our hold; `delete` then deletes it,
/// live ones included. May be repeated. The daemon must be down: it would hold new Jobs.
///
/// # Errors
/// If the configuration can't be used or Jobs can't be listed.
pub async fn release(
    config: KubernetesConfig,
    namespaces: &[String],
    delete: bool,
) -> Result<ReleaseOutcome, BackendError> {
    let cluster = Cluster::connect(config).await?;
    let mut released = ReleaseOutcome::default();
    for namespace in namespaces {
        let mut next = Some(ListParams::default().labels(&cluster.selector()));
        while let Some(params) = next {
            let (jobs, more) = cluster.jobs_page(namespace, params).await?;
            for job in jobs {
                released.jobs += 1;
                if let Err(failure) = release_job(&cluster, namespace, job, delete).await {
                    released.failures.push(failure);
                }
            }
            next = more;
        }
    }
    if released.jobs == 0 {
        released.other_instances = instances(&cluster, namespaces).await?;
    }
    Ok(released)
}

/// The installations whose Jobs are in these namespaces, as far as a page of each reports.
async fn instances(cluster: &Cluster, namespaces: &[String]) -> Result<BTreeSet<String>, BackendError> {
    let any = format!("{}={},{}", label::MANAGED_BY, label::MANAGED_BY_VALUE, label::INSTANCE);
    let params = ListParams::default().labels(&any).limit(JOBS_PAGE);
    let mut found = BTreeSet::new();
    for namespace in namespaces {
        let list = cluster.call(cluster.jobs(namespace).list_metadata(&params)).await;
        let list = list.map_err(|error| error.to_backend(Target::new("list", "Job", namespace, "")))?;
        let labels = list.items.into_iter().filter_map(|job| job.metadata.labels);
        found.extend(labels.filter_map(|mut labels| labels.remove(label::INSTANCE)));
    }
    Ok(found)
}

/// Lets a Job go, with a clock of its own. The Job of a further attempt that still runs outlives that of the first, which
/// has ended and goes before it.
fn patch(job: &Job, uid: &str, hold: usize) -> Value {
    let mut patch = release_patch(job, uid, Some(hold), KEPT, Timestamp::now());
    let is_further = named(job.metadata.name.as_deref().unwrap_or_default()).is_some_and(|(number, _)| number > 1);
    let has_owner = job.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
    if let Value::Array(steps) = &mut patch
        && is_further
        && has_owner
        && !is_over(job)
    {
        steps.push(json!({"op": "remove", "path": "/metadata/ownerReferences"}));
    }
    patch
}

async fn release_job(cluster: &Cluster, kube_namespace: &str, mut job: Job, delete: bool) -> Result<(), BackendError> {
    let name = job.metadata.name.clone().unwrap_or_default();
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let target = Target::new("release", "Job", kube_namespace, &name);
    for tried in 0.. {
        let Some(hold) = hold_of(&job) else { break };
        match cluster.json_patch::<Job>(kube_namespace, &name, &patch(&job, &uid, hold)).await {
            Ok(_) => break,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if (error.is_conflict() || error.is_invalid()) && tried < TRIES => {
                match cluster.read(target, cluster.jobs(kube_namespace).get(&name)).await? {
                    Some(present) if present.metadata.uid.as_deref() == Some(&*uid) => job = present,
                    _ => return Ok(()),
                }
            }
            Err(error) => return Err(error.to_backend(target)),
        }
    }
    if !delete {
        return Ok(());
    }
    let preconditions = kube::api::Preconditions { uid: Some(uid), resource_version: None };
    let params = DeleteParams::background().preconditions(preconditions);
    match cluster.call(cluster.jobs(kube_namespace).delete(&name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error.to_backend(Target::new("delete", "Job", kube_namespace, &name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::HOLD_FINALIZER;
    use k8s_openapi::api::batch::v1::JobCondition;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    #[test]
    fn a_further_attempt_that_runs_outlives_the_first() {
        let detaches = |name: &str, is_over: bool| {
            let mut job = Job::default();
            job.metadata.name = Some(name.to_owned());
            job.metadata.finalizers = Some(vec![HOLD_FINALIZER.to_owned()]);
            job.metadata.owner_references = Some(vec![OwnerReference::default()]);
            let failed =
                JobCondition { type_: "Failed".to_owned(), status: "True".to_owned(), ..JobCondition::default() };
            job.status.get_or_insert_default().conditions = is_over.then(|| vec![failed]);
            let Value::Array(steps) = patch(&job, "uid", 0) else { panic!() };
            steps.contains(&json!({"op": "remove", "path": "/metadata/ownerReferences"}))
        };
        assert!(detaches("run2-hello", false));
        assert!(!detaches("run2-hello", true));
        assert!(!detaches("run-hello", false), "whatever owns it is not ours to change");
    }
}
