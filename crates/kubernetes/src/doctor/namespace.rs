//! Whether a Kubernetes namespace of runs is there, and what its Pod Security labels enforce.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use super::check::{NAMESPACE, POD_SECURITY};
use super::{RoleRule, unread};
use crate::api::client::Cluster;
use longshore_runtime::finding::Finding;

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const ENFORCE_VERSION: &str = "pod-security.kubernetes.io/enforce-version";

pub(super) async fn examine(cluster: &Cluster, kube_namespace: &str) -> Vec<Finding> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let answer = cluster.call(api.get(kube_namespace)).await;
    let found = match answer {
        Ok(found) => found,
        Err(error) if error.code() == Some(404) => return vec![missing(kube_namespace)],
        Err(error) => {
            let rule = RoleRule::of_doctor("namespaces");
            return rule.map(|rule| unread(NAMESPACE, kube_namespace, rule, &error)).into_iter().collect();
        }
    };
    if found.metadata.deletion_timestamp.is_some() {
        return vec![ending(kube_namespace, &cluster.instance)];
    }
    let labels = found.metadata.labels.unwrap_or_default();
    vec![Finding::ok(NAMESPACE, kube_namespace, "it is there"), judge_labels(kube_namespace, &labels)]
}

fn missing(kube_namespace: &str) -> Finding {
    Finding::failed(NAMESPACE, kube_namespace, "this Kubernetes namespace does not exist").fix(format!(
        "kubectl create namespace {kube_namespace}\nkubectl label namespace {kube_namespace} {ENFORCE}=restricted\n\
         or name another one: namespaces.NAME.kubernetes_namespace in the configuration"
    ))
}

fn ending(kube_namespace: &str, instance: &str) -> Finding {
    Finding::failed(NAMESPACE, kube_namespace, "it is being deleted, and takes nothing new").fix(format!(
        "if it does not end, Jobs may hold it whose record only the daemon can write. If that is gone for good, \
         release them, with the same kubeconfig:\n\
         longshore release --instance {instance} --kubernetes-namespace {kube_namespace} --delete\n\
         then: kubectl create namespace {kube_namespace}"
    ))
}

/// What the labels make of a Pod that is not as ours are: nothing may run here that is less bounded.
fn judge_labels(kube_namespace: &str, labels: &BTreeMap<String, String>) -> Finding {
    let version = labels.get(ENFORCE_VERSION).map_or("latest", String::as_str);
    let message = match labels.get(ENFORCE).map(String::as_str) {
        Some("restricted") => {
            return Finding::ok(
                POD_SECURITY,
                kube_namespace,
                format!("`restricted` is enforced, at version {version}"),
            );
        }
        Some(other) => format!("`{other}` is enforced, not `restricted`"),
        None => "no Pod Security level is enforced".to_owned(),
    };
    Finding::warning(
        POD_SECURITY,
        kube_namespace,
        format!("{message}: anyone who may create Pods here is less restricted than runs are"),
    )
    .fix(format!("kubectl label --overwrite namespace {kube_namespace} {ENFORCE}=restricted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_runtime::finding::Status;

    #[test]
    fn what_holds_a_namespace_is_let_go_by_its_own_instance() {
        let fix = ending("runs", "longshore.ci").fix;
        assert!(
            fix.contains("\nlongshore release --instance longshore.ci --kubernetes-namespace runs --delete\n"),
            "{fix}"
        );
        assert!(fix.ends_with("kubectl create namespace runs"), "{fix}");
    }

    #[test]
    fn labels() {
        for (enforced, status) in [
            (Some("restricted"), Status::Ok),
            (Some("baseline"), Status::Warning),
            (Some("privileged"), Status::Warning),
            (Some("Restricted"), Status::Warning),
            (None, Status::Warning),
        ] {
            let labels = enforced.map(|level| (ENFORCE.to_owned(), level.to_owned())).into_iter().collect();
            let finding = judge_labels("runs", &labels);
            assert_eq!(finding.status, status, "{finding:?}");
            assert_eq!(finding.fix.contains("kubectl label"), status != Status::Ok, "{finding:?}");
        }
        let pinned = [(ENFORCE, "restricted"), (ENFORCE_VERSION, "v1.31")];
        let pinned = pinned.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert!(judge_labels("runs", &pinned).message.contains("v1.31"));
    }
}
