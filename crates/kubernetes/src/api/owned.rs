//! What was made for a Job: by the label that its controller sets, and by owner references.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;

use super::client::Cluster;
use super::error::CallError;
use crate::api::names::label;

/// The Pods of the Job with this uid.
pub(crate) async fn pods_of(cluster: &Cluster, namespace: &str, job_uid: &str) -> Result<Vec<Pod>, CallError> {
    let params = ListParams::default().labels(&format!("{}={job_uid}", label::CONTROLLER_UID));
    let list = cluster.call(cluster.pods(namespace).list(&params)).await?;
    Ok(list.items)
}

/// Whether an owner reference has this uid.
pub(crate) fn is_owned_by(metadata: &ObjectMeta, uid: &str) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}
