//! What is left of a run whose Job went without its dependents (`kubectl delete --cascade=orphan`), or whose further
//! attempts are still held: nobody else would ever delete it.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use serde_json::Value;

use super::identity::belongs_to;
use super::index::Leftover;
use super::runs::{hold_of, let_go_patch};
use crate::api::client::Cluster;
use crate::api::error::Target;
use crate::api::owned::{has_all, installation_labels, is_owned_by, pods_of};
use longshore_backend::BackendError;

/// How often our hold is taken off a Job whose finalisers somebody else moves meanwhile.
const TRIES: u32 = 5;

/// Deletes the Pods and Secrets that were made for the Job with this uid and have no owner any more.
/// What the Job still owns goes with it, and what is not labelled as ours is left alone.
///
/// # Errors
/// If the cluster can't be asked, or refuses.
pub(crate) async fn sweep(
    cluster: &Cluster,
    namespace: &str,
    job_uid: &str,
    secrets: &[String],
) -> Result<(), BackendError> {
    let pods = pods_of(cluster, namespace, job_uid).await;
    let pods = pods.map_err(|error| error.to_backend(Target::new("list", "Pod", namespace, "")))?;
    for Pod { metadata, .. } in pods.into_iter().filter(|pod| is_orphan(cluster, &pod.metadata, job_uid)) {
        let name = metadata.name.clone().unwrap_or_default();
        let deleted = cluster.call(cluster.pods(namespace).delete(&name, &this(&metadata))).await;
        match deleted {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error.to_backend(Target::new("delete", "Pod", namespace, &name))),
        }
    }
    for name in secrets {
        let target = Target::new("read", "Secret", namespace, name);
        let found = cluster.read(target, cluster.secrets(namespace).get(name)).await?;
        let Some(Secret { metadata, .. }) = found.filter(|secret| is_orphan(cluster, &secret.metadata, job_uid)) else {
            continue;
        };
        match cluster.call(cluster.secrets(namespace).delete(name, &this(&metadata))).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error.to_backend(Target::new("delete", "Secret", namespace, name))),
        }
    }
    Ok(())
}

/// Deletes the Job of a further attempt whose run is gone, and takes our hold off it. One that is another's by now, or whose
/// run is there, stays.
///
/// # Errors
/// If the cluster can't be asked, or refuses.
pub(crate) async fn let_go(cluster: &Cluster, namespace: &str, leftover: &Leftover) -> Result<(), BackendError> {
    let Leftover { anchor, job: name, uid } = leftover;
    let target = Target::new("delete", "Job", namespace, name);
    let (jobs, ours) = (cluster.jobs(namespace), installation_labels(&cluster.instance));
    let is_left = |job: &Job| job.metadata.uid.as_ref() == Some(uid) && has_all(job.metadata.labels.as_ref(), &ours);
    for _ in 0..TRIES {
        let Some(job) = cluster.read(target, jobs.get(name)).await?.filter(is_left) else { return Ok(()) };
        let found = cluster.read(Target::new("read", "Job", namespace, anchor), jobs.get(anchor)).await?;
        if found.is_some_and(|found| belongs_to(&job, &found)) {
            return Ok(());
        }
        let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..this(&job.metadata) };
        match cluster.call(jobs.delete(name, &params)).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
            Err(error) => return Err(error.to_backend(target)),
        }
        let Some(hold) = hold_of(&job) else { return Ok(()) };
        let patch = Value::Array(let_go_patch(uid, Some(hold)));
        match cluster.json_patch::<Job>(namespace, name, &patch).await {
            Ok(_) => {
                tracing::info!(%namespace, job = %name, "a Job whose run is gone is let go");
                return Ok(());
            }
            Err(error) if error.is_not_found() => return Ok(()),
            // Somebody moved the finalisers.
            Err(error) if error.is_conflict() || error.is_invalid() => {}
            Err(error) => return Err(error.to_backend(target)),
        }
    }
    Err(BackendError::Conflict(target.object()))
}

fn is_orphan(cluster: &Cluster, metadata: &ObjectMeta, job_uid: &str) -> bool {
    has_all(metadata.labels.as_ref(), &installation_labels(&cluster.instance))
        && !is_owned_by(metadata, job_uid)
        && metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
}

/// Deletes this very object, and not another that has its name by now.
fn this(metadata: &ObjectMeta) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions { uid: metadata.uid.clone(), resource_version: None })
}
