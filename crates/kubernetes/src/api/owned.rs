//! Whose an object is: the installation's and the run's by our labels, the Job's by its controller's label and by owner
//! references. Written and read here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::ListParams;

use super::client::Cluster;
use super::error::CallError;
use crate::api::names::label;
use longshore_domain::name::RunId;

/// The Pods of the Job with this uid.
pub(crate) async fn pods_of(cluster: &Cluster, kube_namespace: &str, job_uid: &str) -> Result<Vec<Pod>, CallError> {
    let params = ListParams::default().labels(&format!("{}={job_uid}", label::CONTROLLER_UID));
    let list = cluster.call(cluster.pods(kube_namespace).list(&params)).await?;
    Ok(list.items)
}

/// The labels of what an installation makes.
pub(crate) fn installation_labels(instance: &str) -> BTreeMap<String, String> {
    let labels = [(label::MANAGED_BY, label::MANAGED_BY_VALUE), (label::INSTANCE, instance)];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The labels of what an installation makes for a run.
pub(crate) fn run_labels(instance: &str, run: &RunId) -> BTreeMap<String, String> {
    let mut labels = installation_labels(instance);
    labels.insert(label::RUN.to_owned(), run.as_str().to_owned());
    labels
}

/// Whether these labels are among an object's.
pub(crate) fn has_all(labels: Option<&BTreeMap<String, String>>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// The reference to a run's Job, for what goes with it.
pub(crate) fn owner(run: &RunId, job_uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: run.job_name(1),
        uid: job_uid.to_owned(),
        ..OwnerReference::default()
    }
}

/// Whether an owner reference has this uid.
pub(crate) fn is_owned_by(metadata: &ObjectMeta, uid: &str) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}
