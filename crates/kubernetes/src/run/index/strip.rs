//! Takes from objects what facts are not made of: a watch keeps thousands of them.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::names::label;

/// `job` without its template and bookkeeping.
pub(super) fn job(mut job: Job) -> Box<Job> {
    metadata(&mut job.metadata);
    if let Some(spec) = &mut job.spec {
        spec.template = PodTemplateSpec::default();
        spec.pod_failure_policy = None;
        spec.selector = None;
    }
    if let Some(status) = &mut job.status {
        status.uncounted_terminated_pods = None;
    }
    Box::new(job)
}

/// `pod` with its states, but without what it was made from.
pub(super) fn pod(mut pod: Pod) -> Box<Pod> {
    metadata(&mut pod.metadata);
    pod.metadata.annotations = None;
    if let Some(labels) = &mut pod.metadata.labels {
        labels.retain(|key, _| key == label::CONTROLLER_UID);
    }
    pod.spec = pod.spec.map(|spec| PodSpec {
        active_deadline_seconds: spec.active_deadline_seconds,
        node_name: spec.node_name,
        termination_grace_period_seconds: spec.termination_grace_period_seconds,
        init_containers: spec.init_containers.map(|all| all.into_iter().map(container).collect()),
        containers: spec.containers.into_iter().map(container).collect(),
        ..PodSpec::default()
    });
    if let Some(status) = &mut pod.status {
        status.host_ip = None;
        status.host_ips = None;
        status.pod_ip = None;
        status.pod_ips = None;
        status.qos_class = None;
        let containers = [&mut status.container_statuses, &mut status.init_container_statuses];
        containers.into_iter().flatten().flatten().for_each(container_status);
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_probe_time = None;
        }
    }
    Box::new(pod)
}

fn metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.owner_references = None;
    metadata.resource_version = None;
    metadata.generation = None;
    metadata.generate_name = None;
    metadata.self_link = None;
}

fn container(container: Container) -> Container {
    let Container { name, restart_policy, termination_message_path, termination_message_policy, .. } = container;
    Container { name, restart_policy, termination_message_path, termination_message_policy, ..Container::default() }
}

fn container_status(status: &mut ContainerStatus) {
    status.allocated_resources = None;
    status.allocated_resources_status = None;
    status.container_id = None;
    status.image = String::new();
    status.image_id = String::new();
    status.resources = None;
    status.user = None;
    status.volume_mounts = None;
}
