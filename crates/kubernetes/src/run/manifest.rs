//! The objects that a run becomes (docs/kubernetes.md, "What a run becomes"). Pure: the same launch
//! gives the same manifest.

mod further;
mod input;
mod pod;
mod variable;
mod yaml;

#[cfg(test)]
pub(crate) mod pod_security;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::names::{HOLD_FINALIZER, annotation, input_secret_name, label};
use crate::api::owned::run_labels;
use longshore_backend::Launch;
use longshore_domain::run::profile::Volume;
use longshore_domain::run::stored;

pub use further::further;
pub use input::{input_secret, needs_input};
pub use yaml::preview_yaml;

/// What manifests need beside the run: the installation's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestContext {
    /// Name of this installation: a label value.
    pub instance: String,
    /// Where the objects go.
    pub kube_namespace: String,
    /// The configured volumes, by name.
    pub volumes: BTreeMap<String, Volume>,
}

/// Why a run can't be written as a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is to be executed as a process.
    #[error("{run} has no image: it can't run on Kubernetes")]
    NotAContainer {
        /// The run.
        run: String,
    },
    /// Its input is to come on standard input, which a Job's Pod does not have.
    #[error("{run} wants its input on standard input, which only the local backend gives")]
    StandardInput {
        /// The run.
        run: String,
    },
    /// A volume is not configured.
    #[error("volume `{volume}` is not configured")]
    UnknownVolume {
        /// Its name.
        volume: String,
    },
    /// A volume is configured for the local backend only.
    #[error("volume `{volume}` has neither `persistent_volume_claim` nor `config_map`")]
    NotMountable {
        /// Its name.
        volume: String,
    },
    /// The spec can't be kept.
    #[error("the spec of {run} can't be written as an annotation")]
    Spec {
        /// The run.
        run: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The payload's digests can't be kept.
    #[error("the payload digest of {run} can't be written as an annotation")]
    Digest {
        /// The run.
        run: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The Job of the first attempt is not what it was made as.
    #[error("the Job of the first attempt of {run} has no {what}, so that no further attempt can be made from it")]
    Anchor {
        /// The run.
        run: String,
        /// What it lacks.
        what: &'static str,
    },
    /// Which run of a batch it is can't be kept.
    #[error("the batch of {run} can't be written as an annotation")]
    Batch {
        /// The run.
        run: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An object can't be shown.
    #[error("{object} can't be written as YAML")]
    Yaml {
        /// Kind and name.
        object: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The Job of a run, which is that of its first attempt; [`further`] makes those of others.
///
/// It carries everything that is needed to adopt the run after a restart, and our hold; neither a
/// TTL nor a deadline of its own, since both would delete the Pod and its log with it.
///
/// # Errors
/// If the launch asks for what a Pod can't do; `resolve` refuses such runs before.
pub fn job(launch: &Launch, ctx: &ManifestContext) -> Result<Job, ManifestError> {
    let labels = labels(launch, ctx);
    let queue = launch.submission.effective.queue_name.as_deref();
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            annotations: Some(pod_annotations(launch)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod::spec(launch, ctx)?),
    };
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(launch.name.run.job_name(1)),
            namespace: Some(ctx.kube_namespace.clone()),
            labels: Some(queued(labels, queue)),
            annotations: Some(job_annotations(launch)?),
            finalizers: Some(vec![HOLD_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(job_spec(template, queue)),
        status: None,
    })
}

/// The labels of a Job that waits in this queue, if it does.
fn queued(mut labels: BTreeMap<String, String>, queue: Option<&str>) -> BTreeMap<String, String> {
    labels.extend(queue.map(|queue| (label::QUEUE.to_owned(), queue.to_owned())));
    labels
}

/// What makes a Job one attempt.
fn job_spec(template: PodTemplateSpec, queue: Option<&str>) -> JobSpec {
    JobSpec {
        // Nothing starts before the queue lets it, nor where nobody looks after the queue.
        suspend: queue.map(|_| true),
        completions: Some(1),
        parallelism: Some(1),
        // The daemon makes retries: the Job controller would run cancelled, timed-out and even
        // succeeded work again.
        backoff_limit: Some(0),
        pod_replacement_policy: Some("Failed".to_owned()),
        pod_failure_policy: Some(fail_on_disruption()),
        template,
        ..JobSpec::default()
    }
}

/// A Pod of the Job's template, for a dry run: Pod Security, LimitRange and quota judge Pods only.
#[must_use]
pub fn pod_for_dry_run(job: &Job) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let metadata = ObjectMeta {
        generate_name: job.metadata.name.as_ref().map(|name| format!("{name}-")),
        namespace: job.metadata.namespace.clone(),
        ..template.metadata.unwrap_or_default()
    };
    Pod { metadata, spec: template.spec, status: None }
}

/// Ends the Job for good when the platform takes the Pod away; the condition's reason then
/// distinguishes that from the program's own failure, even if the Pod is gone.
fn fail_on_disruption() -> PodFailurePolicy {
    let disrupted =
        PodFailurePolicyOnPodConditionsPattern { type_: "DisruptionTarget".to_owned(), status: "True".to_owned() };
    PodFailurePolicy {
        rules: vec![PodFailurePolicyRule {
            action: "FailJob".to_owned(),
            on_exit_codes: None,
            on_pod_conditions: Some(vec![disrupted]),
        }],
    }
}

/// The user's labels under ours, for Job and Pod alike.
fn labels(launch: &Launch, ctx: &ManifestContext) -> BTreeMap<String, String> {
    let effective = &launch.submission.effective;
    let mut labels = effective.labels.clone();
    labels.extend(run_labels(&ctx.instance, &launch.name.run));
    labels.insert(label::ATTEMPT.to_owned(), "1".to_owned());
    labels.insert(label::NETWORK.to_owned(), effective.network_mode.as_str().to_owned());
    labels
}

/// The user's annotations under ours.
fn job_annotations(launch: &Launch) -> Result<BTreeMap<String, String>, ManifestError> {
    let submission = &launch.submission;
    let run = || launch.name.to_string();
    let spec = stored::encode(&submission.spec, &submission.effective)
        .map_err(|source| ManifestError::Spec { run: run(), source })?;
    let digest =
        serde_json::to_string(launch.digest()).map_err(|source| ManifestError::Digest { run: run(), source })?;
    let mut annotations = submission.effective.annotations.clone();
    annotations.extend([
        (annotation::DIGEST.to_owned(), digest),
        (annotation::SPEC.to_owned(), spec),
        (annotation::CREATE_TIME.to_owned(), format!("{:.6}", submission.create_time)),
        (annotation::SUBMITTER.to_owned(), submission.submitter.clone()),
        (annotation::MARKER.to_owned(), submission.result_marker.clone()),
    ]);
    if let Some(batch) = &submission.batch {
        let batch = serde_json::to_string(batch).map_err(|source| ManifestError::Batch { run: run(), source })?;
        annotations.insert(annotation::BATCH.to_owned(), batch);
    }
    if input::needs_input(launch) {
        let name = input_secret_name(&launch.name.run, launch.digest());
        annotations.insert(annotation::INPUT.to_owned(), name);
    }
    Ok(annotations)
}

/// The listed ones of the user's annotations, and what keeps autoscalers away from a run that is not
/// repeated once it is evicted.
fn pod_annotations(launch: &Launch) -> BTreeMap<String, String> {
    let listed = |key: &String| launch.pod_annotations.contains(key);
    let given = &launch.submission.effective.annotations;
    let mut annotations: BTreeMap<_, _> =
        given.iter().filter(|(key, _)| listed(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    if launch.submission.effective.infra_retries == 0 {
        annotations.insert(annotation::SAFE_TO_EVICT.to_owned(), "false".to_owned());
        annotations.insert(annotation::DO_NOT_DISRUPT.to_owned(), "true".to_owned());
    }
    annotations
}
