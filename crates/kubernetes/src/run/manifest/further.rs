//! The Job of a further attempt. Program, input and files of a run are not kept, so it is made of the first one's Job: what
//! ran is what runs again, whatever the configuration says by now.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ManifestError, job_spec, queued};
use crate::api::names::{HOLD_FINALIZER, RUN_CONTAINER, annotation, label, variable};
use crate::api::owned::owner;
use longshore_domain::name::RunId;

/// Labels that the API server sets on a Job's template: they name that very Job.
const OF_ONE_JOB: [&str; 4] = [label::CONTROLLER_UID, "batch.kubernetes.io/job-name", "controller-uid", "job-name"];

/// The Job of attempt `number` (from 2) of `run`, made of that of its first attempt as the API server has it.
///
/// It belongs to that Job, goes with it, and has our hold; neither a TTL, nor what is kept with the run. What a stop does to
/// the first Job (`parallelism: 0`, a deadline) is not taken over.
///
/// # Errors
/// If `anchor` lacks something that every Job of a run has.
pub fn further(anchor: &Job, run: &RunId, number: u32) -> Result<Job, ManifestError> {
    let metadata = &anchor.metadata;
    let missing = |what: &'static str| ManifestError::Anchor { run: run.to_string(), what };
    let mut template = anchor.spec.as_ref().map(|spec| spec.template.clone()).ok_or_else(|| missing("spec"))?;
    number_template(&mut template, number).map_err(missing)?;
    let uid = metadata.uid.as_deref().ok_or_else(|| missing("uid"))?;
    let queue = metadata.labels.as_ref().and_then(|labels| labels.get(label::QUEUE)).map(String::as_str);
    let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(run.job_name(number)),
            namespace: metadata.namespace.clone(),
            labels: Some(queued(labels, queue)),
            annotations: Some(annotations(metadata)),
            finalizers: Some(vec![HOLD_FINALIZER.to_owned()]),
            owner_references: Some(vec![owner(run, uid)]),
            ..ObjectMeta::default()
        },
        spec: Some(job_spec(template, queue)),
        status: None,
    })
}

/// Makes a template that of another attempt; else says what it lacks.
fn number_template(template: &mut PodTemplateSpec, number: u32) -> Result<(), &'static str> {
    let labels = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()).ok_or("labels")?;
    labels.retain(|key, _| !OF_ONE_JOB.contains(&key.as_str()));
    labels.insert(label::ATTEMPT.to_owned(), number.to_string());
    let containers = template.spec.as_mut().map(|spec| &mut spec.containers);
    let run = containers.into_iter().flatten().find(|container| container.name == RUN_CONTAINER);
    let env = run.ok_or("container `run`")?.env.get_or_insert_default();
    let variable = EnvVar { name: variable::ATTEMPT.to_owned(), value: Some(number.to_string()), ..EnvVar::default() };
    // Of two with one name the last wins.
    match env.iter_mut().rfind(|known| known.name == variable.name) {
        Some(known) => *known = variable,
        None => env.push(variable),
    }
    Ok(())
}

/// The user's annotations, and by which a Job is known as ours and its input is found.
fn annotations(anchor: &ObjectMeta) -> BTreeMap<String, String> {
    let kept =
        |key: &str| !key.starts_with(annotation::PREFIX) || [annotation::DIGEST, annotation::INPUT].contains(&key);
    let all = anchor.annotations.iter().flatten();
    all.filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}
