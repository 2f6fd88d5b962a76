//! What canaries are: bounded as runs are, and no runs.

use std::collections::BTreeMap;

use super::pod::Canary;
use crate::api::names::label;
use crate::run::manifest::pod_security::broken_rules;
use crate::tests::fake::{FakeApi, Reply};
use longshore_domain::run::profile::{KubernetesProfile, Limits};
use longshore_domain::run::spec::NetworkMode;

#[tokio::test]
async fn a_canary_is_as_bounded_as_a_run_and_is_none() {
    let api = FakeApi::start(|_| Reply::Nothing);
    let cluster = api.cluster().await;
    let program = KubernetesProfile {
        image: "i:1".to_owned(),
        image_pull_policy: Some("Never".to_owned()),
        image_pull_secrets: vec!["pull".to_owned()],
        ..KubernetesProfile::default()
    };
    let canary =
        Canary { role: "connect", network: Some(NetworkMode::None), program: &program, command: vec!["/x".to_owned()] };
    let pod = canary.pod(&cluster, "runs", &Limits::default());
    assert_eq!(broken_rules(&serde_json::to_value(&pod).unwrap()), [""; 0]);
    let labels: BTreeMap<_, _> = pod.metadata.labels.clone().unwrap();
    assert_eq!(labels[label::INSTANCE], "longshore");
    assert_eq!(labels[label::NETWORK], "none");
    assert!(!labels.contains_key(label::RUN) && !labels.contains_key(label::ATTEMPT), "{labels:?}");
    let spec = pod.spec.clone().unwrap();
    assert!(spec.active_deadline_seconds.is_some_and(|seconds| seconds <= 600), "it ends by itself");
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert!(spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap().contains_key("memory"));
    let other = canary.pod(&cluster, "runs", &Limits::default());
    assert_ne!(pod.metadata.name, other.metadata.name);
}
