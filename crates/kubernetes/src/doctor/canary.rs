//! Canaries: Pods that are made to see what becomes of them, and deleted whatever becomes of them.
//! They are not runs, have no owner, and end by themselves if we can't end them.

use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use tokio::time::{Instant, sleep};

use super::check::{CANARY, IMAGE, NETWORK_POLICY};
use super::{Examination, Finding, Progress, RIGHTS, all, rights};
use crate::api::client::Cluster;
use crate::api::conditions::of_pod;
use crate::api::error::CallError;
use crate::api::names::label;

mod image;
mod network;
mod pod;

/// How long one may take to become what it is waited for: images have to be pulled.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often one is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How many are tried at a time: they take quota, and nodes.
const AT_A_TIME: usize = 4;

/// Why one could not be waited for to the end.
enum CanaryLost {
    /// It could not be made, or not be read.
    Call(CallError),
    /// It is gone.
    Gone,
    /// Too slow; its last state.
    TimedOut(Box<Pod>),
    /// We were asked to stop.
    Stopped,
}

pub(super) async fn examine(cluster: &Cluster, wanted: &Examination, progress: Progress<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, namespace) in cluster.namespaces.iter() {
        if let Some(rule) = rights::missing_for_canaries(cluster, namespace).await {
            findings.extend([NETWORK_POLICY, IMAGE].map(|check| {
                let finding = Finding::skipped(check, namespace, "not tried: a canary could not be deleted again");
                finding.fix(rule.how_to_grant(&[rights::CANARY_VERB], namespace))
            }));
            continue;
        }
        sweep(cluster, namespace).await;
        findings.extend(network::examine(cluster, namespace, wanted, progress).await);
        let mut images: Vec<BoxFuture<'_, _>> = Vec::new();
        for profile in wanted.profiles.values() {
            images.push(Box::pin(image::examine(cluster, namespace, profile, wanted, progress)));
        }
        findings.extend(all(images, AT_A_TIME).await.into_iter().flatten());
    }
    findings
}

/// Makes `pod`, hands it to `watch` until that has seen enough, and deletes it. What can't be
/// deleted is a finding of its own.
async fn with_pod<T>(
    cluster: &Cluster,
    wanted: &Examination,
    pod: &Pod,
    watch: impl FnMut(&Pod) -> Option<T>,
) -> (Result<T, CanaryLost>, Option<Finding>) {
    let seen = match make(cluster, pod).await {
        Ok(()) => until(cluster, wanted, pod, watch).await,
        // Who knows whether it was made.
        Err(error) if error.is_ambiguous() => Err(CanaryLost::Call(error)),
        Err(error) => return (Err(CanaryLost::Call(error)), None),
    };
    (seen, delete(cluster, pod).await)
}

async fn make(cluster: &Cluster, pod: &Pod) -> Result<(), CallError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    cluster.call(cluster.pods(namespace).create(&PostParams::default(), pod)).await.map(drop)
}

/// Looks at `pod` until `watch` has seen enough.
async fn until<T>(
    cluster: &Cluster,
    wanted: &Examination,
    pod: &Pod,
    mut watch: impl FnMut(&Pod) -> Option<T>,
) -> Result<T, CanaryLost> {
    let (namespace, name) = place(pod);
    let end = Instant::now() + PATIENCE;
    loop {
        let found = match cluster.call(cluster.pods(namespace).get(name)).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Err(CanaryLost::Gone),
            Err(error) if error.is_ambiguous() && Instant::now() < end => {
                // It may answer the next time.
                sleep(LOOK).await;
                continue;
            }
            Err(error) => return Err(CanaryLost::Call(error)),
        };
        if let Some(seen) = watch(&found) {
            return Ok(seen);
        }
        if Instant::now() >= end {
            return Err(CanaryLost::TimedOut(Box::new(found)));
        }
        tokio::select! {
            () = wanted.stop.cancelled() => return Err(CanaryLost::Stopped),
            () = sleep(LOOK) => {}
        }
    }
}

async fn delete(cluster: &Cluster, pod: &Pod) -> Option<Finding> {
    let (namespace, name) = place(pod);
    let mut last = None;
    for _ in 0..3 {
        match cluster.call(cluster.pods(namespace).delete(name, &DeleteParams::default())).await {
            Ok(_) => return None,
            Err(error) if error.is_not_found() => return None,
            Err(error) => {
                let again = error.is_ambiguous();
                last = Some(error);
                if !again {
                    break;
                }
                sleep(LOOK).await;
            }
        }
    }
    last.map(|error| {
        let message = format!("this canary cannot be deleted: {}; it ends by itself", error.message());
        Finding::warning(CANARY, format!("Pod {namespace}/{name}"), message)
            .fix(format!("kubectl -n {namespace} delete pod {name}"))
    })
}

/// Deletes what an earlier doctor that was killed has left.
async fn sweep(cluster: &Cluster, kube_namespace: &str) {
    let params = ListParams::default().labels(&format!("{},{}", cluster.selector(), label::CANARY));
    // It is not a check: whatever is wrong with these calls shows in the canaries themselves.
    let Ok(pods) = cluster.call(cluster.pods(kube_namespace).list(&params)).await else { return };
    let over = pods.items.iter().filter(|pod| matches!(phase(pod), "Succeeded" | "Failed"));
    join_all(over.map(|pod| delete(cluster, pod))).await;
}

fn place(pod: &Pod) -> (&str, &str) {
    (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default())
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Why it has not come far, in Kubernetes' own words.
fn why_waiting(pod: &Pod) -> String {
    let waiting = pod::container(pod).and_then(|container| container.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        return waiting.message.as_ref().map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}"));
    }
    match pod.status.as_ref().and_then(|status| of_pod(status, "PodScheduled", "False")) {
        Some(condition) => {
            let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
            format!("{reason}: {}", condition.message.as_deref().unwrap_or("no node takes it"))
        }
        None => format!("its phase is {}", if phase(pod).is_empty() { "unknown" } else { phase(pod) }),
    }
}

/// What was not tried to its end.
fn interrupted(check: &'static str, subject: &str, message: &str) -> Finding {
    Finding::skipped(check, subject, message).fix("longshore doctor --canary, and let it end by itself")
}

impl CanaryLost {
    /// The finding of a check whose canary this happened to.
    fn finding(&self, check: &'static str, subject: &str, kube_namespace: &str) -> Finding {
        match self {
            Self::Stopped => interrupted(check, subject, "interrupted; its canaries were deleted"),
            Self::Gone => Finding::warning(check, subject, "somebody deleted the canary before it was done")
                .fix("try again; is there a controller or a policy that deletes Pods without an owner?"),
            Self::TimedOut(pod) => {
                let message =
                    format!("the canary did not get far within {} s: {}", PATIENCE.as_secs(), why_waiting(pod));
                Finding::failed(check, subject, message)
                    .fix("a run would wait as long; the message says for what: nodes, quota, an image, a volume")
            }
            Self::Call(error) if error.is_denied() => {
                let rule = RIGHTS.iter().find(|rule| rule.resource == "pods");
                Finding::skipped(
                    check,
                    subject,
                    format!("these credentials may not make or read a canary: {}", error.message()),
                )
                .fix(
                    rule.map(|rule| rule.how_to_grant(&["create", "get", "delete"], kube_namespace))
                        .unwrap_or_default(),
                )
            }
            Self::Call(error) => {
                Finding::failed(check, subject, format!("the canary cannot be made: {}", error.message()))
                    .fix("a run's Pod would be refused the same way: the message names the quota, LimitRange or policy")
            }
        }
    }
}

#[cfg(test)]
mod tests;
