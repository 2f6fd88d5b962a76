//! The canaries' Pods, which are bounded as a run's Pod is: what refuses them would refuse a run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerStatus, LocalObjectReference, Pod, PodSecurityContext, PodSpec,
    ResourceRequirements, SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::client::Cluster;
use crate::api::names::{RUN_CONTAINER, label};
use crate::api::owned::installation_labels;
use longshore_domain::run::profile::{KubernetesProfile, Limits};
use longshore_domain::run::spec::NetworkMode;

/// After this the kubelet ends one that we could not delete, in seconds. A listener has to outlive
/// two patiences: its callers may have to pull the image on another node.
const DEADLINE_SECONDS: i64 = 400;

/// What one canary is.
pub(super) struct Canary<'a> {
    /// What it is to find out: the value of its label.
    pub(super) role: &'static str,
    /// Network mode, which NetworkPolicies select. `None`: no mode.
    pub(super) network: Option<NetworkMode>,
    /// Image, and how it is pulled.
    pub(super) program: &'a KubernetesProfile,
    /// Program and arguments.
    pub(super) command: Vec<String>,
}

impl Canary<'_> {
    /// Its Pod, under a name that nothing has.
    pub(super) fn pod(&self, cluster: &Cluster, kube_namespace: &str, limits: &Limits) -> Pod {
        let mut labels = installation_labels(&cluster.instance);
        labels.insert(label::CANARY.to_owned(), self.role.to_owned());
        if let Some(network) = self.network {
            labels.insert(label::NETWORK.to_owned(), network.as_str().to_owned());
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let id = id.get(..12).unwrap_or(&id);
        Pod {
            metadata: ObjectMeta {
                name: Some(format!("longshore-canary-{}-{id}", self.role)),
                namespace: Some(kube_namespace.to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: Some(self.spec(limits)),
            status: None,
        }
    }

    fn spec(&self, limits: &Limits) -> PodSpec {
        let secrets: Vec<_> =
            self.program.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
        PodSpec {
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
            restart_policy: Some("Never".to_owned()),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(limits.default_user),
                run_as_group: Some(limits.default_user),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(1),
            containers: vec![Container {
                name: RUN_CONTAINER.to_owned(),
                image: Some(self.program.image.clone()),
                image_pull_policy: self.program.image_pull_policy.clone(),
                command: Some(self.command.clone()),
                resources: Some(resources(limits)),
                security_context: Some(SecurityContext {
                    allow_privilege_escalation: Some(false),
                    capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
                    read_only_root_filesystem: Some(true),
                    ..SecurityContext::default()
                }),
                ..Container::default()
            }],
            ..PodSpec::default()
        }
    }
}

fn resources(limits: &Limits) -> ResourceRequirements {
    let quantities =
        |given: &BTreeMap<String, String>| given.iter().map(|(k, v)| (k.clone(), Quantity(v.clone()))).collect();
    ResourceRequirements {
        requests: Some(quantities(&limits.default_requests)),
        limits: Some(quantities(&limits.default_limits)),
        claims: None,
    }
}

/// The status of its only container.
pub(super) fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}
