//! Labels of ours that somebody took away from a run's Job: without them no watch reports it.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::api::client::Cluster;
use crate::api::error::Target;
use crate::api::job::is_annotated;
use crate::api::names::{annotation, label};
use crate::api::owned::{has_all, installation_labels};
use longshore_backend::BackendError;
use longshore_domain::name::RunId;

/// Gives a Job its labels again. Whether it is there.
///
/// # Errors
/// If the cluster can't be asked, or refuses.
pub(crate) async fn put(
    cluster: &Cluster,
    namespace: &str,
    job: &str,
    uid: &str,
    labels: &BTreeMap<String, String>,
) -> Result<bool, BackendError> {
    let patch = json!({"metadata": {"uid": uid, "labels": labels}});
    let jobs = cluster.jobs(namespace);
    match cluster.call(jobs.patch(job, &PatchParams::default(), &Patch::Merge(&patch))).await {
        Ok(_) => {
            tracing::warn!(%namespace, %job, "labels were removed from a run's Job; they are restored");
            Ok(true)
        }
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(false),
        Err(error) => Err(error.to_backend(Target::new("label", "Job", namespace, job))),
    }
}

/// Looks through the Jobs that our selector does not find, and gives those of ours their labels again.
///
/// # Errors
/// If the cluster can't be asked, or refuses.
pub(crate) async fn restore(cluster: &Cluster, namespace: &str) -> Result<(), BackendError> {
    let instance = &cluster.instance;
    // Those of other installations have that label.
    let without_instance = format!("!{}", label::INSTANCE);
    let without_maker = format!("{}={instance},{}!={}", label::INSTANCE, label::MANAGED_BY, label::MANAGED_BY_VALUE);
    for selector in [without_instance, without_maker] {
        let mut next = Some(ListParams::default().labels(&selector));
        while let Some(params) = next {
            let (jobs, more) = cluster.jobs_page(namespace, params).await?;
            for job in &jobs {
                if let (Some(labels), Some(name), Some(uid)) =
                    (taken(job, instance), &job.metadata.name, &job.metadata.uid)
                {
                    put(cluster, namespace, name, uid, &labels).await?;
                }
            }
            next = more;
        }
    }
    Ok(())
}

/// The labels that this Job of ours lacks, by those of its Pod's template, which nobody can change.
fn taken(job: &Job, instance: &str) -> Option<BTreeMap<String, String>> {
    let ours = |key: &str| key == label::MANAGED_BY || key.starts_with(label::PREFIX);
    let template = job.spec.as_ref()?.template.metadata.as_ref()?.labels.as_ref()?;
    let name = RunId::parse(template.get(label::RUN)?).ok()?.job_name(template.get(label::ATTEMPT)?.parse().ok()?);
    let is_run = job.metadata.name.as_ref() == Some(&name) && is_annotated(job, annotation::DIGEST);
    if !is_run || !has_all(Some(template), &installation_labels(instance)) {
        return None;
    }
    let has = |key: &str| job.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let lacks = template.iter().filter(|(key, value)| ours(key) && has(key) != Some(value));
    let lacks: BTreeMap<_, _> = lacks.map(|(key, value)| (key.clone(), value.clone())).collect();
    (!lacks.is_empty()).then_some(lacks)
}
