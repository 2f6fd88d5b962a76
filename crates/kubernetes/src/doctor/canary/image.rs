//! Whether the image of a profile can be pulled: a Pod with it, and a command that does nothing.

use k8s_openapi::api::core::v1::Pod;

use super::pod::{Canary, container};
use super::{Cluster, Examination, Finding, Progress, interrupted, phase, why_waiting, with_pod};
use crate::doctor::check::IMAGE;
use longshore_domain::run::profile::{KubernetesProfile, Profile};

/// What became of an image.
#[derive(Debug, PartialEq, Eq)]
enum Pull {
    /// It is on a node.
    Done {
        /// Which.
        node: String,
    },
    /// Refused: a waiting reason, and the kubelet's words.
    Refused { reason: String, message: String },
    /// The Pod ended before the image was asked for.
    Ended { why: String },
}

pub(super) async fn examine(
    cluster: &Cluster,
    kube_namespace: &str,
    profile: &Profile,
    wanted: &Examination,
    progress: Progress<'_>,
) -> Vec<Finding> {
    let subject = format!("profile {} in {kube_namespace}", profile.name);
    let Some(program) = &profile.kubernetes else {
        let why = profile.unavailable_on("kubernetes").unwrap_or_default();
        let key = profile.missing.clone().unwrap_or_else(|| format!("profiles.{}.kubernetes", profile.name));
        return vec![Finding::skipped(IMAGE, subject, why).fix(format!("set {key}, if it is to be used here"))];
    };
    if wanted.stop.is_cancelled() {
        return vec![interrupted(IMAGE, &subject, "interrupted")];
    }
    progress(&format!("pulling the image of profile {} in {kube_namespace}", profile.name));
    // If the image has no such program its container does not start, but then it was pulled all the same.
    let canary = Canary { role: "image", network: None, program, command: vec!["/bin/true".to_owned()] };
    let pod = canary.pod(cluster, kube_namespace, &wanted.limits);
    let (pull, left) = with_pod(cluster, wanted, &pod, judge).await;
    let finding = match pull {
        Ok(pull) => finding_of(&subject, &profile.name, program, &pull),
        Err(lost) => lost.finding(IMAGE, &subject, kube_namespace),
    };
    std::iter::once(finding).chain(left).collect()
}

/// What the Pod reports of its image; `None`: nothing yet.
fn judge(pod: &Pod) -> Option<Pull> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let state = container(pod).and_then(|container| container.state.as_ref());
    if state.is_some_and(|state| state.running.is_some() || state.terminated.is_some()) {
        return Some(Pull::Done { node });
    }
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        let message = waiting.message.clone().unwrap_or_default();
        match waiting.reason.as_deref().unwrap_or_default() {
            reason @ ("ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed") => {
                return Some(Pull::Refused { reason: reason.to_owned(), message });
            }
            // These come after the image.
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "CrashLoopBackOff" => {
                return Some(Pull::Done { node });
            }
            _ => {}
        }
    }
    matches!(phase(pod), "Failed" | "Succeeded").then(|| {
        let status = pod.status.clone().unwrap_or_default();
        let why = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        Pull::Ended { why: if why.is_empty() { why_waiting(pod) } else { why } }
    })
}

fn finding_of(subject: &str, profile: &str, program: &KubernetesProfile, pull: &Pull) -> Finding {
    let image = &program.image;
    match pull {
        Pull::Done { node } => Finding::ok(IMAGE, subject, format!("{image} is on node {node}")),
        Pull::Ended { why } => {
            Finding::failed(IMAGE, subject, format!("the canary ended before {image} was pulled: {why}"))
                .fix("the node refused it for the reason given; a run would fail the same way")
        }
        Pull::Refused { reason, message } => {
            let detail = if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
            Finding::failed(IMAGE, subject, format!("{image} cannot be pulled: {detail}"))
                .fix(fix(profile, program, reason))
        }
    }
}

fn fix(profile: &str, program: &KubernetesProfile, reason: &str) -> String {
    let image = &program.image;
    let load = format!(
        "kind, what `make image` wrote: `kind load image-archive target-static/longshore-image.tar`, and what Docker \
         has: `kind load docker-image {image}`; k3s: `k3s ctr images import FILE`"
    );
    match reason {
        "InvalidImageName" => format!("profiles.{profile}.kubernetes.image is not a valid image reference: correct it"),
        "ErrImageNeverPull" => format!(
            "profiles.{profile}.kubernetes.image_pull_policy is Never, and the node does not have it: put it on every \
             node ({load})"
        ),
        _ if program.image_pull_secrets.is_empty() => format!(
            "is profiles.{profile}.kubernetes.image right, and can the nodes reach its registry? if that is private, name \
             a pull Secret in profiles.{profile}.kubernetes.image_pull_secrets; an image that is in no registry has to be \
             put on every node ({load}) with image_pull_policy IfNotPresent or Never"
        ),
        _ => format!(
            "is profiles.{profile}.kubernetes.image right, and can the nodes reach its registry? are the Secrets of \
             image_pull_secrets ({}) in this namespace, of type kubernetes.io/dockerconfigjson and valid?",
            program.image_pull_secrets.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(status: Value) -> Option<Pull> {
        let pod = json!({"metadata": {}, "spec": {"nodeName": "n1", "containers": []}, "status": status});
        judge(&serde_json::from_value(pod).unwrap())
    }

    fn state(state: Value) -> Option<Pull> {
        let container =
            json!({"name": "run", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        seen(json!({"phase": "Pending", "containerStatuses": [container]}))
    }

    #[test]
    fn a_pull_by_what_the_container_waits_for() {
        let done = Some(Pull::Done { node: "n1".to_owned() });
        assert_eq!(state(json!({"running": {}})), done);
        assert_eq!(state(json!({"terminated": {"exitCode": 128, "reason": "StartError"}})), done);
        assert_eq!(state(json!({"terminated": {"exitCode": 0}})), done);
        for after in ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"] {
            assert_eq!(state(json!({"waiting": {"reason": after}})), done, "{after}");
        }
        for not_yet in ["ContainerCreating", "PodInitializing", ""] {
            assert_eq!(state(json!({"waiting": {"reason": not_yet}})), None, "{not_yet}");
        }
        for refused in ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"] {
            let detail = state(json!({"waiting": {"reason": refused, "message": "why"}}));
            assert_eq!(detail, Some(Pull::Refused { reason: refused.to_owned(), message: "why".to_owned() }));
        }
        assert_eq!(seen(json!({"phase": "Pending"})), None);
        let ended = seen(json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough"}));
        assert_eq!(ended, Some(Pull::Ended { why: "OutOfcpu: Node didn't have enough".to_owned() }));
    }

    #[test]
    fn each_refusal_has_its_fix() {
        let mut program = KubernetesProfile { image: "i:1".to_owned(), ..KubernetesProfile::default() };
        assert!(fix("p", &program, "InvalidImageName").contains("profiles.p.kubernetes.image "));
        // What `make image` writes is in no Docker: the file is the one that the Makefile names.
        let makefile = include_str!("../../../../../Makefile");
        let file = makefile.lines().find_map(|line| line.strip_prefix("IMAGE_FILE ?= ")).unwrap();
        for reason in ["ErrImageNeverPull", "ErrImagePull"] {
            let detail = fix("p", &program, reason);
            assert!(detail.contains(&format!("`kind load image-archive {file}`")), "{detail}");
            assert!(detail.contains("`kind load docker-image i:1`"), "{detail}");
        }
        assert!(fix("p", &program, "ErrImagePull").contains("name a pull Secret"));
        program.image_pull_secrets = vec!["pull".to_owned()];
        assert!(fix("p", &program, "ErrImagePull").contains("(pull) in this namespace"));
    }
}
