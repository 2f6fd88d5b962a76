//! Whether the quotas of a namespace leave room for a run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::ListParams;

use super::check::QUOTA;
use super::{RoleRule, unread};
use crate::api::client::Cluster;
use longshore_domain::notation::quantity::Quantity;
use longshore_domain::run::profile::Limits;
use longshore_runtime::finding::Finding;

/// Above this much of a quota, in percent, it is time to look.
const WARN_PERCENT: i128 = 80;

pub(super) async fn examine(cluster: &Cluster, kube_namespace: &str, limits: &Limits) -> Vec<Finding> {
    let api: Api<ResourceQuota> = Api::namespaced(cluster.client.clone(), kube_namespace);
    match cluster.call(api.list(&ListParams::default())).await {
        Ok(quotas) => judge(kube_namespace, &quotas.items, limits),
        Err(error) => {
            let rule = RoleRule::of_doctor("resourcequotas");
            rule.map(|rule| unread(QUOTA, kube_namespace, rule, &error)).into_iter().collect()
        }
    }
}

/// What one run that sets nothing takes, by the name that a quota has for it.
fn needs(limits: &Limits) -> BTreeMap<String, String> {
    let ones = ["pods", "count/pods", "count/jobs.batch", "secrets", "count/secrets"];
    let mut needs: BTreeMap<String, String> = ones.map(|name| (name.to_owned(), "1".to_owned())).into();
    for (resource, amount) in &limits.default_requests {
        // A quota's bare `cpu` means requests.
        needs.insert(resource.clone(), amount.clone());
        needs.insert(format!("requests.{resource}"), amount.clone());
    }
    for (resource, amount) in &limits.default_limits {
        needs.insert(format!("limits.{resource}"), amount.clone());
    }
    needs
}

/// Whether a quota counts runs: their Pods have requests and a deadline.
fn counts_runs(quota: &ResourceQuota) -> bool {
    let scopes = quota.spec.as_ref().and_then(|spec| spec.scopes.as_ref()).into_iter().flatten();
    let selected = quota.spec.as_ref().and_then(|spec| spec.scope_selector.as_ref()).is_some();
    // A selector chooses by priority class, which a run that sets nothing does not have.
    !selected && scopes.into_iter().all(|scope| matches!(scope.as_str(), "NotBestEffort" | "Terminating"))
}

fn judge(kube_namespace: &str, quotas: &[ResourceQuota], limits: &Limits) -> Vec<Finding> {
    let needs = needs(limits);
    let mut findings = Vec::new();
    for quota in quotas.iter().filter(|quota| counts_runs(quota)) {
        let name = quota.metadata.name.as_deref().unwrap_or_default();
        let status = quota.status.clone().unwrap_or_default();
        let used = status.used.unwrap_or_default();
        for (resource, hard) in status.hard.unwrap_or_default() {
            let Some(need) = needs.get(&resource) else { continue };
            let used = used.get(&resource).map_or("0", |used| used.0.as_str());
            let subject = format!("{resource} of {kube_namespace}/{name}");
            findings.extend(judge_one(subject, &resource, used, &hard.0, need));
        }
    }
    if findings.is_empty() {
        let message = if quotas.is_empty() {
            "no ResourceQuota: only the cluster's size bounds the runs here"
        } else {
            "there is room"
        };
        findings.push(Finding::ok(QUOTA, kube_namespace, message));
    }
    findings
}

/// `None`: there is room.
fn judge_one(subject: String, resource: &str, used: &str, hard: &str, need: &str) -> Option<Finding> {
    // Amounts that can't be read are the API server's own, and say nothing of room.
    let amount = |text: &str| Quantity::parse(text).ok().map(|quantity| i128::from(quantity.millis()));
    let (used_amount, hard_amount, need_amount) = (amount(used)?, amount(hard)?, amount(need)?);
    let usage = format!("{used} of {hard} used");
    let fix = match resource {
        "count/jobs.batch" | "count/pods" | "count/secrets" | "secrets" => {
            "finished runs count too until their retention is over: delete some (`longshore rm`), keep them for less \
             (limits.default_retention), or raise the quota"
        }
        _ => {
            "wait until runs end, cancel some, ask for less (limits.default_requests and default_limits), or raise the quota"
        }
    };
    if used_amount + need_amount > hard_amount {
        let message = format!(
            "{usage}: not enough for a run that takes {need}; it would stay PENDING and fail with \
                               QUOTA"
        );
        return Some(Finding::failed(QUOTA, subject, message).fix(fix));
    }
    (used_amount * 100 > hard_amount * WARN_PERCENT)
        .then(|| Finding::warning(QUOTA, subject, format!("{usage}, which is more than {WARN_PERCENT} %")).fix(fix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use longshore_runtime::finding::Status;

    fn quota(spec: serde_json::Value, hard: serde_json::Value, used: serde_json::Value) -> ResourceQuota {
        let quota = json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": hard, "used": used}});
        serde_json::from_value(quota).unwrap()
    }

    fn judged(resource: &str, used: &str, hard: &str) -> Status {
        let quota = quota(json!({}), json!({resource: hard}), json!({resource: used}));
        let findings = judge("runs", &[quota], &Limits::default());
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings[0].status
    }

    #[test]
    fn room_for_one_default_run() {
        use Status::{Failed, Ok, Warning};
        for (resource, used, hard, status) in [
            ("pods", "0", "10", Ok),
            ("pods", "8", "10", Ok),
            ("pods", "9", "10", Warning),
            ("pods", "10", "10", Failed),
            ("pods", "12", "10", Failed),
            ("pods", "0", "0", Failed),
            ("count/jobs.batch", "100", "100", Failed),
            ("secrets", "10", "10", Failed),
            // A run asks for 100m and may use 1.
            ("requests.cpu", "1900m", "2", Warning),
            ("requests.cpu", "1901m", "2", Failed),
            ("cpu", "1901m", "2", Failed),
            ("limits.cpu", "1", "2", Ok),
            ("limits.cpu", "1001m", "2", Failed),
            ("limits.memory", "512Mi", "1Gi", Ok),
            ("limits.memory", "513Mi", "1Gi", Failed),
            ("requests.ephemeral-storage", "0", "1Ti", Ok),
            // What no run takes, and what can't be read.
            ("services", "5", "5", Ok),
            ("pods", "many", "5", Ok),
        ] {
            assert_eq!(judged(resource, used, hard), status, "{used} of {hard} {resource}");
        }
    }

    #[test]
    fn quotas_for_other_pods_are_not_ours() {
        let full = |spec| quota(spec, json!({"pods": "1"}), json!({"pods": "1"}));
        let status = |spec| judge("runs", &[full(spec)], &Limits::default())[0].status;
        assert_eq!(status(json!({"scopes": ["Terminating", "NotBestEffort"]})), Status::Failed);
        for other in [
            json!({"scopes": ["BestEffort"]}),
            json!({"scopes": ["NotTerminating"]}),
            json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}}),
        ] {
            assert_eq!(status(other), Status::Ok);
        }
        assert!(judge("runs", &[], &Limits::default())[0].message.contains("no ResourceQuota"));
    }
}
