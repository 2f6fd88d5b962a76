//! Every right that Longshore uses, by name, and which of them are missing
//! (SelfSubjectAccessReview). The table is what the chart's Roles and docs/kubernetes.md have.

use std::fmt;

use futures::future::BoxFuture;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use super::check::RIGHTS as CHECK;
use super::{CALLS, Examination, all};
use crate::api::client::Cluster;
use crate::api::error::CallError;
use crate::api::review::resource_attributes;
use longshore_runtime::finding::Finding;

/// What a right is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Runs, in each of their Kubernetes namespaces: never to be left out.
    Runs,
    /// Callers that are authenticated by TokenReview; in the whole cluster.
    TokenReview,
    /// Callers that are authorised by LocalSubjectAccessReview; in each namespace of runs.
    AccessReview,
    /// `longshore doctor`, in each namespace of runs.
    Doctor,
}

/// One line of a Role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleRule {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resource, with its subresource: `jobs/status`.
    pub resource: &'static str,
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// What needs it.
    pub need: Need,
    /// What does not work without it.
    pub purpose: &'static str,
}

/// What a canary needs beyond being made and read.
pub(super) const CANARY_VERB: &str = "delete";

/// All rights, and no others: the table of docs/kubernetes.md, "Rights".
pub const RIGHTS: &[RoleRule] = &[
    RoleRule {
        group: "batch",
        resource: "jobs",
        verbs: &["create", "get", "list", "watch", "patch", "delete"],
        need: Need::Runs,
        purpose: "runs are Jobs",
    },
    RoleRule {
        group: "batch",
        resource: "jobs/status",
        verbs: &["get", "patch"],
        need: Need::Runs,
        purpose: "a Job reports the run's outcome in a condition",
    },
    RoleRule {
        group: "",
        resource: "pods",
        verbs: &["get", "list", "watch", "patch", "create", "delete"],
        need: Need::Runs,
        purpose: "states of runs are read off Pods, clocks and cancels are written on them, dry runs create them, and \
                  those that a Job left behind are deleted",
    },
    RoleRule {
        group: "",
        resource: "pods/log",
        verbs: &["get"],
        need: Need::Runs,
        purpose: "output and results are read from logs",
    },
    RoleRule {
        group: "",
        resource: "events",
        verbs: &["list", "watch"],
        need: Need::Runs,
        purpose: "Events say why a run does not start",
    },
    RoleRule {
        group: "",
        resource: "secrets",
        verbs: &["create", "get", "delete"],
        need: Need::Runs,
        purpose: "input, files and large results are kept in Secrets, and those that a Job left behind are deleted",
    },
    RoleRule {
        group: "authentication.k8s.io",
        resource: "tokenreviews",
        verbs: &["create"],
        need: Need::TokenReview,
        purpose: "callers are authenticated by TokenReview",
    },
    RoleRule {
        group: "authorization.k8s.io",
        resource: "localsubjectaccessreviews",
        verbs: &["create"],
        need: Need::AccessReview,
        purpose: "callers are authorised by LocalSubjectAccessReview",
    },
    RoleRule {
        group: "",
        resource: "namespaces",
        verbs: &["get"],
        need: Need::Doctor,
        purpose: "the doctor reads the namespace's labels",
    },
    RoleRule {
        group: "",
        resource: "resourcequotas",
        verbs: &["list"],
        need: Need::Doctor,
        purpose: "the doctor reads quotas",
    },
    RoleRule {
        group: "",
        resource: "limitranges",
        verbs: &["list"],
        need: Need::Doctor,
        purpose: "the doctor reads LimitRanges",
    },
];

impl RoleRule {
    /// The doctor's own rule for `resource`.
    pub(super) fn of_doctor(resource: &str) -> Option<&'static Self> {
        RIGHTS.iter().find(|rule| rule.need == Need::Doctor && rule.resource == resource)
    }

    /// What to put into which Role, for these of its verbs.
    pub(super) fn how_to_grant(&self, verbs: &[&str], kube_namespace: &str) -> String {
        let role = match self.need {
            Need::TokenReview => "a ClusterRole".to_owned(),
            _ => format!("the Role in namespace {kube_namespace}"),
        };
        format!(
            "add to {role} that is bound to this account:\n  - apiGroups: [\"{}\"]\n    resources: [\"{}\"]\n    \
             verbs: [{}]",
            self.group,
            self.resource,
            verbs.iter().map(|verb| format!("\"{verb}\"")).collect::<Vec<_>>().join(", ")
        )
    }
}

/// One verb on one resource, somewhere: `jobs/status patch in longshore-runs`.
#[derive(Clone, Copy, Debug)]
struct NamespacedRight<'a> {
    rule: &'static RoleRule,
    verb: &'static str,
    /// `None`: the whole cluster.
    namespace: Option<&'a str>,
}

impl fmt::Display for NamespacedRight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.rule.resource, self.verb, self.namespace.unwrap_or("the cluster"))
    }
}

/// What the API server said to one.
enum RightVerdict {
    Allowed,
    /// Not allowed; what the authorizer said beside that.
    Missing(String),
    /// It could not be asked.
    Unasked(CallError),
}

/// The rights that are needed in one Kubernetes namespace.
pub(super) async fn in_namespace(
    cluster: &Cluster,
    kube_namespace: &str,
    wanted: &Examination,
    who: &str,
) -> Vec<Finding> {
    let needed = |need: Need| match need {
        Need::Runs => true,
        Need::AccessReview => wanted.access_review,
        // Its checks say themselves what they may not read.
        Need::Doctor | Need::TokenReview => false,
    };
    examine(cluster, Some(kube_namespace), needed, who).await
}

/// The rights that are needed in the whole cluster.
pub(super) async fn cluster_wide(cluster: &Cluster, wanted: &Examination, who: &str) -> Vec<Finding> {
    examine(cluster, None, |need| need == Need::TokenReview && wanted.token_review, who).await
}

async fn examine(
    cluster: &Cluster,
    namespace: Option<&str>,
    needed: impl Fn(Need) -> bool + Send,
    who: &str,
) -> Vec<Finding> {
    let mut calls: Vec<BoxFuture<'_, _>> = Vec::new();
    for rule in RIGHTS.iter().filter(|rule| needed(rule.need)) {
        for &verb in rule.verbs {
            let right = NamespacedRight { rule, verb, namespace };
            calls.push(Box::pin(async move { (right, ask(cluster, right).await) }));
        }
    }
    let verdicts = all(calls, CALLS).await;
    judge(&verdicts, namespace.unwrap_or("the cluster"), who)
}

/// The rule by which canaries are deleted again, if that may not be done.
pub(super) async fn missing_for_canaries(cluster: &Cluster, kube_namespace: &str) -> Option<&'static RoleRule> {
    let rule = RIGHTS.iter().find(|rule| rule.resource == "pods")?;
    let right = NamespacedRight { rule, verb: CANARY_VERB, namespace: Some(kube_namespace) };
    matches!(ask(cluster, right).await, RightVerdict::Missing(_)).then_some(rule)
}

async fn ask(cluster: &Cluster, right: NamespacedRight<'_>) -> RightVerdict {
    let NamespacedRight { rule, verb, namespace } = right;
    let attributes = resource_attributes(verb, rule.group, rule.resource, namespace);
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    match cluster.call(api.create(&PostParams::default(), &review)).await {
        Err(error) => RightVerdict::Unasked(error),
        Ok(review) => match review.status {
            Some(status) if status.allowed => RightVerdict::Allowed,
            status => {
                let status = status.unwrap_or_default();
                RightVerdict::Missing(status.evaluation_error.or(status.reason).unwrap_or_default())
            }
        },
    }
}

/// One finding for each that is missing; one for all if none is.
fn judge(verdicts: &[(NamespacedRight<'_>, RightVerdict)], place: &str, who: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unasked = None;
    for (right, verdict) in verdicts {
        match verdict {
            RightVerdict::Allowed => {}
            RightVerdict::Missing(said) => {
                let mut message = format!("not allowed for {who}; needed since {}", right.rule.purpose);
                if !said.is_empty() {
                    message.push_str(&format!(" (the API server says: {said})"));
                }
                let fix = right.rule.how_to_grant(&[right.verb], right.namespace.unwrap_or_default());
                findings.push(Finding::failed(CHECK, right.to_string(), message).fix(fix));
            }
            RightVerdict::Unasked(error) => {
                unasked = Some(unasked.map_or((error, 1), |(first, count)| (first, count + 1)))
            }
        }
    }
    if let Some((error, count)) = unasked {
        let message = format!("{count} of {} rights could not be asked for: {}", verdicts.len(), error.message());
        let finding = Finding::warning(CHECK, place, message).fix(
            "every account may ask for its own rights through the ClusterRole system:basic-user: is it bound to \
             system:authenticated?",
        );
        findings.push(finding.unanswered());
    }
    if findings.is_empty() && !verdicts.is_empty() {
        findings.push(Finding::ok(CHECK, place, format!("all {} that are needed", verdicts.len())));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resource, verbs and need, as docs/kubernetes.md writes them.
    fn documented() -> Vec<(String, String, Option<String>)> {
        let page = include_str!("../../../../docs/kubernetes.md");
        let section = page.split("\n## Rights\n").nth(1).unwrap().split("\n## ").next().unwrap();
        // The rights of accounts of the chart's own follow.
        let own = section.split("\n| account |").next().unwrap();
        let rows = own.lines().filter(|line| line.starts_with("| `"));
        let cells =
            rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
        cells.map(|cells| (cells[0].clone(), cells[1].clone(), cells.get(2).cloned())).collect()
    }

    #[test]
    fn the_page_has_the_same_table() {
        let documented_row = |rule: &RoleRule| {
            let group = if rule.group.is_empty() { String::new() } else { format!(" ({})", rule.group) };
            let need = match rule.need {
                Need::Runs => None,
                Need::TokenReview => Some("TokenReview"),
                Need::AccessReview => Some("LocalSubjectAccessReview"),
                Need::Doctor => Some("`longshore doctor`"),
            };
            (format!("`{}`{group}", rule.resource), rule.verbs.join(", "), need.map(str::to_owned))
        };
        let plain = |(resource, verbs, need): (String, String, Option<String>)| {
            let note = verbs.find(" (").unwrap_or(verbs.len());
            (resource, verbs[..note].to_owned(), need)
        };
        let documented: Vec<_> = documented().into_iter().map(plain).collect();
        assert_eq!(documented, RIGHTS.iter().map(documented_row).collect::<Vec<_>>());
    }

    #[test]
    fn the_role_of_the_page_has_what_runs_need() {
        let page = include_str!("../../../../docs/kubernetes.md");
        let section = page.split("\n## Rights\n").nth(1).unwrap();
        let list = |text: &str| text.trim_matches(|c| c == '[' || c == ']').replace('"', "");
        let value =
            |line: &str, key: &str| line.trim().trim_start_matches("- ").strip_prefix(key).map(|v| list(v.trim()));
        let lines: Vec<&str> =
            section.split("rules:\n").nth(1).unwrap().split("\n---").next().unwrap().lines().collect();
        let role: Vec<_> = lines
            .chunks_exact(3)
            .map(|rule| {
                ["apiGroups:", "resources:", "verbs:"]
                    .iter()
                    .zip(rule)
                    .map(|(k, l)| value(l, k).unwrap())
                    .collect::<Vec<_>>()
            })
            .collect();
        let runs = RIGHTS.iter().filter(|rule| rule.need == Need::Runs);
        let expected: Vec<_> =
            runs.map(|rule| vec![rule.group.to_owned(), rule.resource.to_owned(), rule.verbs.join(", ")]).collect();
        assert_eq!(role, expected);
    }

    /// The rules of the Roles and ClusterRoles that the daemon of the plain manifests is bound to.
    fn granted() -> Vec<(String, String, Vec<String>)> {
        let manifests = include_str!("../../../../deploy/manifests/longshore.yaml");
        let documents = manifests.split("\n---\n").filter(|text| !text.trim().is_empty());
        let mut granted = Vec::new();
        for document in documents.map(|text| serde_saphyr::from_str::<serde_json::Value>(text).unwrap()) {
            let is_role = matches!(document["kind"].as_str(), Some("Role" | "ClusterRole"));
            if !is_role || document["metadata"]["name"].as_str().unwrap().ends_with("-caller") {
                continue;
            }
            let texts = |value: &serde_json::Value| -> Vec<String> {
                value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
            };
            for rule in document["rules"].as_array().unwrap() {
                for (group, resource) in texts(&rule["apiGroups"])
                    .iter()
                    .flat_map(|g| texts(&rule["resources"]).into_iter().map(move |r| (g.clone(), r)))
                {
                    granted.push((group, resource, texts(&rule["verbs"])));
                }
            }
        }
        granted.sort();
        granted
    }

    #[test]
    fn the_chart_grants_what_is_used_and_nothing_else() {
        let mut used: Vec<_> = RIGHTS
            .iter()
            .map(|rule| {
                let verbs: Vec<_> = rule.verbs.iter().map(|verb| (*verb).to_owned()).collect();
                (rule.group.to_owned(), rule.resource.to_owned(), verbs)
            })
            .collect();
        used.sort();
        assert_eq!(granted(), used);
    }

    #[test]
    fn no_right_stands_twice() {
        let all = RIGHTS.iter().flat_map(|rule| rule.verbs.iter().map(move |verb| (rule.group, rule.resource, verb)));
        let all: Vec<_> = all.collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
