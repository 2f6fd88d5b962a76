//! The Job of a further attempt. Program, input and files of a run are not kept, so it is made of the first one's Job: what
//! ran is what runs again, whatever the configuration says by now.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ManifestError, job_spec, pod, queued};
use crate::api::job;
use crate::api::names::{HOLD_FINALIZER, RUN_CONTAINER, annotation, label, variable};
use crate::api::owned::owner;
use longshore_domain::name::RunId;
use longshore_domain::run::spec::EffectiveSpec;
use longshore_domain::run::stored;

/// What keys and gates of Kueue's begin with.
const QUEUE_PREFIX: &str = "kueue.x-k8s.io/";

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
    let effective = job::annotation(anchor, annotation::SPEC).and_then(|spec| stored::decode(spec).ok());
    let effective = effective.map(|(_, effective)| effective);
    take_back_admission(&mut template, effective.as_ref());
    let uid = metadata.uid.as_deref().ok_or_else(|| missing("uid"))?;
    let queue = metadata.labels.as_ref().and_then(|labels| labels.get(label::QUEUE)).map(String::as_str);
    let queue = queue.or_else(|| effective.as_ref()?.queue_name.as_deref());
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

/// Takes back what a queue puts into the template of a Job that it admits: the flavor's node selector and tolerations, gates,
/// and names of that very Workload. Another attempt is admitted by itself, and Kueue refuses a template that says otherwise.
fn take_back_admission(template: &mut PodTemplateSpec, effective: Option<&EffectiveSpec>) {
    let metadata = template.metadata.get_or_insert_default();
    let maps = [&mut metadata.labels, &mut metadata.annotations].into_iter().flatten();
    let was_admitted = maps.map(take_back).fold(false, |any, one| any | one);
    let Some(spec) = &mut template.spec else { return };
    let gates = spec.scheduling_gates.get_or_insert_default();
    let all = gates.len();
    gates.retain(|gate| !gate.name.starts_with(QUEUE_PREFIX));
    let was_gated = gates.len() < all;
    spec.scheduling_gates = spec.scheduling_gates.take().filter(|gates| !gates.is_empty());
    let is_queued = effective.is_some_and(|effective| effective.queue_name.is_some());
    if let Some(effective) = effective.filter(|_| was_admitted || was_gated || is_queued) {
        let (node_selector, tolerations) = pod::placement(&effective.placement);
        (spec.node_selector, spec.tolerations) = (node_selector, tolerations);
    }
}

/// Removes what is Kueue's; whether there was something.
fn take_back(map: &mut BTreeMap<String, String>) -> bool {
    let all = map.len();
    map.retain(|key, _| !key.starts_with(QUEUE_PREFIX));
    map.len() < all
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
    let kept = |key: &str| match key.starts_with(annotation::PREFIX) {
        true => [annotation::DIGEST, annotation::INPUT].contains(&key),
        false => !key.starts_with(QUEUE_PREFIX),
    };
    let all = anchor.annotations.iter().flatten();
    all.filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}
