//! Runs, Jobs and Pods for tests, in the states in which a cluster shows them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Event,
    ObjectReference, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::api::names::{RUN_CONTAINER, annotation, label};
use crate::run::manifest::{self, ManifestContext};
use longshore_backend::Launch;
use longshore_domain::name::{NamespaceName, RunId, RunName};
use longshore_domain::run::digest::PayloadDigest;
use longshore_domain::run::facts::Submission;
use longshore_domain::run::profile::{InputDelivery, KubernetesProfile, Program};
use longshore_domain::run::retry::{AttemptRecord, RetryBudget};
use longshore_domain::run::spec::{ContainerWorkload, EffectiveSpec, Resources, RunSpec, Workload};
use longshore_domain::testing;

pub(crate) const JOB_UID: &str = "7c0d5a3e-0001-4a6e-9f57-0f5d0b9a1c01";
pub(crate) const POD_UID: &str = "7c0d5a3e-0002-4a6e-9f57-0f5d0b9a1c02";
pub(crate) const IMAGE: &str = "registry.example/tools/busybox:1.37";

/// `seconds` after the run was submitted.
pub(crate) fn at(seconds: i64) -> Timestamp {
    "2026-11-21T08:00:00.123456Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

pub(crate) fn context() -> ManifestContext {
    ManifestContext {
        instance: "longshore".to_owned(),
        kube_namespace: "longshore-runs".to_owned(),
        volumes: BTreeMap::new(),
    }
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// What `resolve` makes of a spec that sets nothing but an image and a command.
pub(crate) fn effective() -> EffectiveSpec {
    let container =
        ContainerWorkload { image: IMAGE.to_owned(), command: list(&["true"]), ..ContainerWorkload::default() };
    EffectiveSpec {
        workload: Workload::Container(container),
        resources: Resources {
            requests: map(&[("cpu", "100m"), ("memory", "128Mi"), ("ephemeral-storage", "64Mi")]),
            limits: map(&[("cpu", "1"), ("memory", "512Mi"), ("ephemeral-storage", "1Gi")]),
        },
        retention: Duration::from_secs(86_400),
        tmp_size: Some("64Mi".to_owned()),
        ..testing::effective()
    }
}

/// A launch of `effective`, without input and files.
pub(crate) fn launch_of(id: &str, effective: EffectiveSpec) -> Launch {
    let program = match &effective.workload {
        Workload::Container(container) => KubernetesProfile {
            image: container.image.clone(),
            command: container.command.clone(),
            args: container.args.clone(),
            working_dir: container.working_dir.clone(),
            ..KubernetesProfile::default()
        },
        Workload::Runner { .. } => KubernetesProfile { image: IMAGE.to_owned(), ..KubernetesProfile::default() },
    };
    Launch {
        name: RunName { namespace: NamespaceName::default_namespace(), run: RunId::parse(id).unwrap() },
        submission: Submission {
            spec: Arc::new(RunSpec { workload: Some(effective.workload.clone()), ..RunSpec::default() }),
            effective: Arc::new(effective),
            digest: PayloadDigest {
                sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
                fields: map(&[("workload", "60303ae22b998861")]),
            },
            create_time: at(0),
            submitter: "alice".to_owned(),
            result_marker: "::longshore-3f9c::".to_owned(),
            batch: None,
        },
        program: Program::Container(program),
        input_delivery: InputDelivery::File,
        input: None,
        files: Vec::new(),
        pod_annotations: Vec::new(),
    }
}

/// The smallest launch.
pub(crate) fn launch() -> Launch {
    launch_of("hello", effective())
}

/// The Job of a launch as the API server gives it back.
pub(crate) fn job_of(launch: &Launch) -> Job {
    let mut job = manifest::job(launch, &context()).unwrap();
    job.metadata.uid = Some(JOB_UID.to_owned());
    job.metadata.creation_timestamp = Some(Time(at(0)));
    job
}

/// Uid of the Job of a further attempt.
pub(crate) fn further_uid(number: u32) -> String {
    format!("7c0d5a3e-0001-4a6e-9f57-0f5d0b9a1d{number:02}")
}

/// The Job of a further attempt of this anchor's run as the API server gives it back.
pub(crate) fn further_of(anchor: &Job, number: u32) -> Job {
    let run = RunId::parse(anchor.metadata.name.as_deref().unwrap().strip_prefix("run-").unwrap()).unwrap();
    let mut job = manifest::further(anchor, &run, number).unwrap();
    job.metadata.uid = Some(further_uid(number));
    job.metadata.creation_timestamp = Some(Time(at(20 * i64::from(number))));
    job
}

/// The anchor once it is written how the attempts up to this number ended.
pub(crate) fn settled(mut anchor: Job, attempts: u32) -> Job {
    let annotations = anchor.metadata.annotations.get_or_insert_default();
    for number in 1..=attempts {
        annotations.insert(annotation::attempt(number), attempt_record(number).to_json().unwrap());
    }
    anchor
}

/// How an attempt ended after which another follows.
pub(crate) fn attempt_record(number: u32) -> AttemptRecord {
    let mut attempt = testing::derived(&testing::facts(), testing::at(1)).attempts.remove(0);
    (attempt.number, attempt.exit_code) = (number, Some(3));
    AttemptRecord { version: 1, attempt, budget: RetryBudget::Program, not_before: at(10), record_time: at(9) }
}

/// The same with conditions of status True.
pub(crate) fn with_conditions(mut job: Job, conditions: &[(&str, &str, i64)]) -> Job {
    let condition = |(type_, reason, seconds): &(&str, &str, i64)| JobCondition {
        type_: (*type_).to_owned(),
        status: "True".to_owned(),
        reason: Some((*reason).to_owned()),
        message: Some(format!("because of {reason}")),
        last_transition_time: Some(Time(at(*seconds))),
        last_probe_time: None,
    };
    let conditions = conditions.iter().map(condition).collect();
    job.status = Some(JobStatus { conditions: Some(conditions), ..JobStatus::default() });
    job
}

/// A Pod that the Job controller made, in `phase`, with these containers.
pub(crate) fn pod(job: &Job, phase: &str, containers: Vec<ContainerStatus>) -> Pod {
    let mut pod = manifest::pod_for_dry_run(job);
    pod.metadata.name = Some(format!("{}-x7k2p", job.metadata.name.as_deref().unwrap()));
    pod.metadata.uid = Some(POD_UID.to_owned());
    pod.metadata.creation_timestamp = Some(Time(at(1)));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(label::CONTROLLER_UID.to_owned(), job.metadata.uid.clone().unwrap());
    pod.status =
        Some(PodStatus { phase: Some(phase.to_owned()), container_statuses: Some(containers), ..PodStatus::default() });
    pod
}

/// The same with its node, where it arrived at second 2.
pub(crate) fn on_node(pod: Pod) -> Pod {
    let mut pod = with_condition(pod, "PodScheduled", "True", "", "");
    pod.spec.as_mut().unwrap().node_name = Some("node-a".to_owned());
    pod.status.as_mut().unwrap().start_time = Some(Time(at(2)));
    pod
}

/// The same with a condition that turned at second 2.
pub(crate) fn with_condition(mut pod: Pod, type_: &str, status: &str, reason: &str, message: &str) -> Pod {
    pod.status.as_mut().unwrap().conditions.get_or_insert_default().push(PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(at(2))),
        ..PodCondition::default()
    });
    pod
}

/// A container's status.
pub(crate) fn container(name: &str, state: ContainerState) -> ContainerStatus {
    ContainerStatus { name: name.to_owned(), state: Some(state), ..ContainerStatus::default() }
}

/// Container `run`.
pub(crate) fn run(state: ContainerState) -> Vec<ContainerStatus> {
    vec![container(RUN_CONTAINER, state)]
}

pub(crate) fn waiting(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message: Some(message.to_owned()) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

/// Running since second 3.
pub(crate) fn running() -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(Time(at(3))) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

/// Ended at second 9.
pub(crate) fn terminated(exit_code: i32, reason: &str) -> ContainerState {
    let end = ContainerStateTerminated {
        exit_code,
        reason: Some(reason.to_owned()),
        started_at: Some(Time(at(3))),
        finished_at: Some(Time(at(9))),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(end), ..ContainerState::default() }
}

/// An event of an old recorder, last seen at `seconds`.
pub(crate) fn event(kind: &str, uid: &str, reason: &str, message: &str, seconds: i64) -> Event {
    Event {
        involved_object: ObjectReference {
            kind: Some(kind.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        },
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        first_timestamp: Some(Time(at(0))),
        last_timestamp: Some(Time(at(seconds))),
        count: Some(1),
        metadata: ObjectMeta { creation_timestamp: Some(Time(at(0))), ..ObjectMeta::default() },
        ..Event::default()
    }
}
