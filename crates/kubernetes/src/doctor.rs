//! What would keep runs from working on this cluster, found before a run finds it, each with its
//! fix. Asks the API server; judging is pure. Makes Pods only where that was asked for.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use super::KubernetesConfig;
use crate::api::client::Cluster;
use crate::api::error::CallError;
use longshore_domain::run::profile::{Limits, Profile};
use longshore_runtime::finding::{Finding, Progress, Status};

mod canary;
mod clock;
mod connection;
mod limits;
mod namespace;
mod quota;
mod rights;

pub use self::rights::{Need, RIGHTS, RoleRule};

/// Names of the checks.
mod check {
    pub(super) const API_SERVER: &str = "api-server";
    pub(super) const CLOCK: &str = "clock";
    pub(super) const RIGHTS: &str = "rights";
    pub(super) const NAMESPACE: &str = "namespace";
    pub(super) const POD_SECURITY: &str = "pod-security";
    pub(super) const QUOTA: &str = "quota";
    pub(super) const LIMIT_RANGE: &str = "limit-range";
    pub(super) const NETWORK_POLICY: &str = "network-policy";
    pub(super) const IMAGE: &str = "image";
    pub(super) const CANARY: &str = "canary";
}

/// How many calls are open at a time.
const CALLS: usize = 8;

/// How far an examination goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// What a start can afford: everything that only reads. What runs themselves may have used up is a warning.
    Start,
    /// Everything that changes nothing; of what does, that it was not tried.
    Reads,
    /// That, and Pods that are made and deleted.
    Canaries,
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Examination {
    /// How far it goes.
    pub extent: Extent,
    /// Whether callers are authenticated by TokenReview.
    pub token_review: bool,
    /// Whether callers are authorised by LocalSubjectAccessReview.
    pub access_review: bool,
    /// The configured profiles.
    pub profiles: BTreeMap<String, Profile>,
    /// Requests and limits of a run that sets none.
    pub limits: Limits,
    /// Whether the configuration says that the network modes are enforced.
    pub network_policies_installed: bool,
    /// Image with this program at `/usr/local/bin/longshore`. `None`: that of the profile `sql`.
    pub canary_image: Option<String>,
    /// Ends the waiting for canaries; they are deleted nevertheless.
    pub stop: CancellationToken,
}

/// Looks at the cluster that `config` names, with the credentials that it names: findings in the order of the checks,
/// and never none. `progress` gets which canaries are tried. Every call ends within `config.request_timeout`.
pub async fn examine(config: KubernetesConfig, wanted: &Examination, progress: Progress<'_>) -> Vec<Finding> {
    let in_cluster = config.in_cluster;
    let cluster = match Cluster::connect(config).await {
        Ok(cluster) => cluster,
        Err(error) => return cut_short(connection::unusable(&error), wanted.extent),
    };
    let connected = match connection::connect(&cluster).await {
        Ok(connected) => connected,
        Err(failed) => return cut_short(failed, wanted.extent),
    };
    let mut findings = vec![connected.finding, connected.clock];
    findings.extend(rights::cluster_wide(&cluster, wanted, &connected.who).await);
    for (_, namespace) in cluster.namespaces.iter() {
        findings.extend(rights::in_namespace(&cluster, namespace, wanted, &connected.who).await);
        let looked_at = namespace::examine(&cluster, namespace).await;
        // Lists of what is in a namespace that is not there are empty, and say nothing.
        let is_missing = looked_at.iter().any(|finding| finding.status == Status::Failed);
        findings.extend(looked_at);
        if !is_missing {
            let quotas = quota::examine(&cluster, namespace, &wanted.limits).await.into_iter();
            findings.extend(quotas.map(|finding| match wanted.extent {
                // The runs that a restart finds may be what fills it, and they end.
                Extent::Start => finding.at_most(Status::Warning),
                Extent::Reads | Extent::Canaries => finding,
            }));
            findings.extend(limits::examine(&cluster, namespace, &wanted.limits).await);
        }
    }
    match wanted.extent {
        Extent::Start => {}
        Extent::Reads => findings.extend([check::NETWORK_POLICY, check::IMAGE].map(|check| {
            let finding =
                Finding::skipped(check, "all namespaces", "not tried: it takes Pods that are made and deleted");
            // The daemon's own account may not delete them.
            finding.fix(if in_cluster {
                "from outside, with rights of your own: longshore doctor --canary --config FILE --kubeconfig FILE"
            } else {
                "longshore doctor --canary"
            })
        })),
        Extent::Canaries => findings.extend(canary::examine(&cluster, wanted, progress).await),
    }
    findings
}

/// What can't be asked when nothing can.
fn cut_short(failed: Finding, extent: Extent) -> Vec<Finding> {
    let mut rest =
        vec![check::CLOCK, check::RIGHTS, check::NAMESPACE, check::POD_SECURITY, check::QUOTA, check::LIMIT_RANGE];
    if extent >= Extent::Reads {
        rest.extend([check::NETWORK_POLICY, check::IMAGE]);
    }
    let skipped = rest.into_iter().map(|check| {
        Finding::skipped(check, "all namespaces", "the API server has to be asked")
            .fix("fix what `api-server` reports, then run this again")
    });
    std::iter::once(failed.unanswered()).chain(skipped).collect()
}

/// A few at a time, answers in order. Boxed: else the compiler can't see that the whole is `Send`.
async fn all<T>(calls: Vec<BoxFuture<'_, T>>, at_a_time: usize) -> Vec<T> {
    stream::iter(calls).buffered(at_a_time).collect().await
}

/// What could not be read: skipped where only the doctor's own right is short, else a warning.
fn unread(check: &'static str, kube_namespace: &str, rule: &RoleRule, error: &CallError) -> Finding {
    let resource = rule.resource;
    if error.is_forbidden() {
        let message = format!("{resource} may not be read with these credentials");
        return Finding::skipped(check, kube_namespace, message).fix(rule.how_to_grant(rule.verbs, kube_namespace));
    }
    Finding::warning(check, kube_namespace, format!("{resource} cannot be read: {}", error.message()))
        .fix("run this again; if it stays, see the API server's log")
        .unanswered()
}
