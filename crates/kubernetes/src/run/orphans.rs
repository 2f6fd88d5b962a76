//! What is left of a run whose Job went without its dependents (`kubectl delete --cascade=orphan`):
//! nobody else would ever delete it.

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Preconditions};

use crate::api::client::Cluster;
use crate::api::error::Target;
use crate::api::owned::{has_all, installation_labels, is_owned_by, pods_of};
use longshore_backend::BackendError;

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

fn is_orphan(cluster: &Cluster, metadata: &ObjectMeta, job_uid: &str) -> bool {
    has_all(metadata.labels.as_ref(), &installation_labels(&cluster.instance))
        && !is_owned_by(metadata, job_uid)
        && metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
}

/// Deletes this very object, and not another that has its name by now.
fn this(metadata: &ObjectMeta) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions { uid: metadata.uid.clone(), resource_version: None })
}
