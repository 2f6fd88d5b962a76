//! Whether the LimitRanges of a namespace let a run in that sets no requests and limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource;
use kube::Api;
use kube::api::ListParams;

use super::check::LIMIT_RANGE;
use super::{RoleRule, unread};
use crate::api::client::Cluster;
use longshore_domain::notation::quantity::Quantity;
use longshore_domain::run::profile::Limits;
use longshore_runtime::finding::Finding;

pub(super) async fn examine(cluster: &Cluster, kube_namespace: &str, limits: &Limits) -> Vec<Finding> {
    let api: Api<LimitRange> = Api::namespaced(cluster.client.clone(), kube_namespace);
    match cluster.call(api.list(&ListParams::default())).await {
        Ok(ranges) => judge(kube_namespace, &ranges.items, limits),
        Err(error) => {
            let rule = RoleRule::of_doctor("limitranges");
            rule.map(|rule| unread(LIMIT_RANGE, kube_namespace, rule, &error)).into_iter().collect()
        }
    }
}

fn judge(kube_namespace: &str, ranges: &[LimitRange], limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    for range in ranges {
        let name = range.metadata.name.as_deref().unwrap_or_default();
        let items = range.spec.iter().flat_map(|spec| &spec.limits);
        // A run's Pod has one container, so both are judged alike.
        for item in items.filter(|item| matches!(item.type_.as_str(), "Container" | "Pod")) {
            for (resource, what) in conflicts(item, limits) {
                let subject = format!("{resource} of {kube_namespace}/{name}");
                findings
                    .push(Finding::failed(LIMIT_RANGE, subject, format!("{what}: such runs would be refused")).fix(
                    "set limits.default_requests and limits.default_limits in the configuration to what the LimitRange \
                     allows, or change the LimitRange",
                ));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(LIMIT_RANGE, kube_namespace, "default requests and limits are allowed"));
    }
    findings
}

/// Resources whose defaults are outside, and how.
fn conflicts(item: &LimitRangeItem, limits: &Limits) -> Vec<(String, String)> {
    let kind = &item.type_;
    let mut found = Vec::new();
    each(item.min.as_ref(), &limits.default_requests, |resource, least, request| {
        if request < least {
            found.push((resource.to_owned(), format!("the default request is below the minimum of a {kind}")));
        }
    });
    each(item.max.as_ref(), &limits.default_limits, |resource, most, limit| {
        if limit > most {
            found.push((resource.to_owned(), format!("the default limit is above the maximum of a {kind}")));
        }
    });
    each(item.max_limit_request_ratio.as_ref(), &limits.default_limits, |resource, ratio, limit| {
        let Some(request) = limits.default_requests.get(resource).and_then(|text| millis(text)) else { return };
        if limit * 1000 > ratio * request {
            let what = format!("the default limit is more times the default request than a {kind} may have");
            found.push((resource.to_owned(), what));
        }
    });
    found
}

/// Bound and default of every resource that has both.
fn each(
    bounds: Option<&BTreeMap<String, resource::Quantity>>,
    defaults: &BTreeMap<String, String>,
    mut judge: impl FnMut(&str, i128, i128),
) {
    for (resource, bound) in bounds.into_iter().flatten() {
        if let (Some(bound), Some(own)) = (millis(&bound.0), defaults.get(resource).and_then(|text| millis(text))) {
            judge(resource, bound, own);
        }
    }
}

fn millis(text: &str) -> Option<i128> {
    Quantity::parse(text).ok().map(|quantity| i128::from(quantity.millis()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use longshore_runtime::finding::Status;

    #[test]
    fn defaults_outside_of_a_range() {
        let judged = |item: Value| {
            let range = serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": {"limits": [item]}})).unwrap();
            judge("runs", &[range], &Limits::default())
        };
        for fine in [
            json!({"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1", "memory": "512Mi"}}),
            json!({"type": "Container", "default": {"cpu": "1m"}, "maxLimitRequestRatio": {"cpu": "10"}}),
            json!({"type": "PersistentVolumeClaim", "max": {"storage": "1"}}),
            json!({"type": "Pod", "max": {"example.com/gpu": "0"}}),
        ] {
            let findings = judged(fine);
            assert_eq!((findings.len(), findings[0].status), (1, Status::Ok), "{findings:?}");
        }
        for (refused, resource) in [
            (json!({"type": "Container", "min": {"cpu": "101m"}}), "cpu of runs/r"),
            (json!({"type": "Pod", "max": {"memory": "511Mi"}}), "memory of runs/r"),
            (json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "9"}}), "cpu of runs/r"),
        ] {
            let findings = judged(refused);
            assert_eq!((findings.len(), findings[0].status), (1, Status::Failed), "{findings:?}");
            assert_eq!(findings[0].subject, resource);
        }
    }
}
