//! Whether NetworkPolicies are enforced: of two callers, the one under mode NONE must not reach a
//! listening Pod, and the one under CLUSTER must.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;

use super::pod::{Canary, container};
use super::{CanaryLost, Cluster, Examination, Finding, Progress, interrupted, phase, until, with_pod};
use crate::doctor::check::NETWORK_POLICY;
use longshore_domain::run::profile::KubernetesProfile;
use longshore_domain::run::spec::NetworkMode;

/// This program in the image.
const PROGRAM: &str = "/usr/local/bin/longshore";
/// Where the listener listens: a user's port, since it is not root.
const PORT: u16 = 7429;
/// Exit code of a caller that did not get through (`runner canary connect`).
const BLOCKED: i32 = 1;

/// Whether a caller got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Reached,
    Blocked,
}

/// What a Pod of the pair came to.
#[derive(Debug, PartialEq, Eq)]
enum Came<T> {
    /// There.
    To(T),
    /// Not that far; why.
    Short(String),
}

pub(super) async fn examine(
    cluster: &Cluster,
    kube_namespace: &str,
    wanted: &Examination,
    progress: Progress<'_>,
) -> Vec<Finding> {
    let Some(program) = program(wanted) else {
        return vec![
            Finding::skipped(NETWORK_POLICY, kube_namespace, "no image is known that has this program")
                .fix("set profiles.sql.kubernetes.image, or give --canary-image IMAGE"),
        ];
    };
    if wanted.stop.is_cancelled() {
        return vec![interrupted(NETWORK_POLICY, kube_namespace, "interrupted")];
    }
    progress(&format!("trying NetworkPolicies in {kube_namespace}: a listener"));
    let listener = canary("listen", None, &program, &["listen", "--port", &PORT.to_string()]);
    let listener = listener.pod(cluster, kube_namespace, &wanted.limits);
    let mut findings = Vec::new();
    let (address, left) = match super::make(cluster, &listener).await {
        Ok(()) => {
            let address = until(cluster, wanted, &listener, listening).await;
            let called = match address {
                Ok(Came::To(address)) => {
                    progress(&format!("trying NetworkPolicies in {kube_namespace}: two callers"));
                    Ok(call_both(cluster, kube_namespace, wanted, &program, address, &mut findings).await)
                }
                Ok(Came::Short(why)) => {
                    Ok(Finding::failed(NETWORK_POLICY, kube_namespace, format!("the listener ended: {why}"))
                        .fix(format!("does {} have this version of longshore at {PROGRAM}?", program.image)))
                }
                Err(lost) => Err(lost),
            };
            (called, super::delete(cluster, &listener).await)
        }
        Err(error) if error.is_ambiguous() => (Err(CanaryLost::Call(error)), super::delete(cluster, &listener).await),
        Err(error) => (Err(CanaryLost::Call(error)), None),
    };
    let finding = address.unwrap_or_else(|lost| lost.finding(NETWORK_POLICY, kube_namespace, kube_namespace));
    findings.insert(0, finding);
    findings.extend(left);
    findings
}

/// The image with this program, and how it is pulled.
fn program(wanted: &Examination) -> Option<KubernetesProfile> {
    let sql = wanted.profiles.get("sql").and_then(|profile| profile.kubernetes.clone());
    match &wanted.canary_image {
        // Pulled as that of the profile, since it is likely from the same place.
        Some(image) => Some(KubernetesProfile { image: image.clone(), ..sql.unwrap_or_default() }),
        None => sql,
    }
}

fn canary<'a>(
    role: &'static str,
    network: Option<NetworkMode>,
    program: &'a KubernetesProfile,
    args: &[&str],
) -> Canary<'a> {
    let command = [PROGRAM, "runner", "canary"].iter().chain(args).map(|&word| word.to_owned()).collect();
    Canary { role, network, program, command }
}

/// Both callers at a time, so that both meet the same state of the network.
async fn call_both(
    cluster: &Cluster,
    kube_namespace: &str,
    wanted: &Examination,
    program: &KubernetesProfile,
    address: SocketAddr,
    findings: &mut Vec<Finding>,
) -> Finding {
    let call = async |mode: NetworkMode| {
        let canary = canary("connect", Some(mode), program, &["connect", &address.to_string()]);
        let pod = canary.pod(cluster, kube_namespace, &wanted.limits);
        with_pod(cluster, wanted, &pod, called).await
    };
    let ((none, first), (within, second)) = tokio::join!(call(NetworkMode::None), call(NetworkMode::Cluster));
    findings.extend(first.into_iter().chain(second));
    match (none, within) {
        (Ok(Came::To(none)), Ok(Came::To(within))) => {
            judge(kube_namespace, none, within, wanted.network_policies_installed)
        }
        (Err(lost), _) | (_, Err(lost)) => lost.finding(NETWORK_POLICY, kube_namespace, kube_namespace),
        (Ok(Came::Short(why)), _) | (_, Ok(Came::Short(why))) => {
            Finding::failed(NETWORK_POLICY, kube_namespace, format!("a caller ended before it could report: {why}"))
                .fix(format!("does {} have this version of longshore at {PROGRAM}?", program.image))
        }
    }
}

/// The listener's address, once it runs.
fn listening(pod: &Pod) -> Option<Came<SocketAddr>> {
    if matches!(phase(pod), "Failed" | "Succeeded") {
        return Some(Came::Short(how_it_ended(pod)));
    }
    container(pod)?.state.as_ref()?.running.as_ref()?;
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(Came::To(SocketAddr::new(ip, PORT)))
}

/// What a caller's exit code says.
fn called(pod: &Pod) -> Option<Came<Reach>> {
    let Some(ended) = container(pod).and_then(|container| container.state.as_ref()?.terminated.as_ref()) else {
        return matches!(phase(pod), "Failed" | "Succeeded").then(|| Came::Short(how_it_ended(pod)));
    };
    match ended.exit_code {
        0 => Some(Came::To(Reach::Reached)),
        BLOCKED => Some(Came::To(Reach::Blocked)),
        _ => Some(Came::Short(how_it_ended(pod))),
    }
}

fn how_it_ended(pod: &Pod) -> String {
    match container(pod).and_then(|container| container.state.as_ref()?.terminated.as_ref()) {
        Some(ended) => {
            let words = [ended.reason.as_deref(), ended.message.as_deref()].into_iter().flatten().collect::<Vec<_>>();
            format!("exit code {} {}", ended.exit_code, words.join(": ")).trim_end().to_owned()
        }
        None => super::why_waiting(pod),
    }
}

fn judge(kube_namespace: &str, none: Reach, within: Reach, installed: bool) -> Finding {
    const INSTALL: &str = "install a network plugin that enforces NetworkPolicies (Calico, Cilium, kube-router, or your \
                           provider's setting for it), and the policies of the chart, which select the label \
                           longshore.dev/network";
    let what = "a Pod under mode NONE reaches another Pod";
    match (none, within) {
        (Reach::Blocked, Reach::Reached) if installed => {
            Finding::ok(NETWORK_POLICY, kube_namespace, "enforced: NONE does not reach another Pod, CLUSTER does")
        }
        (Reach::Blocked, Reach::Reached) => Finding::warning(
            NETWORK_POLICY,
            kube_namespace,
            "enforced, but the configuration says that they are not there",
        )
        .fix("set kubernetes.network_policies = \"installed\": only then a run may ask for a network mode"),
        (Reach::Reached, _) if installed => Finding::failed(
            NETWORK_POLICY,
            kube_namespace,
            format!("not enforced: {what}, though the configuration says that policies are installed"),
        )
        .fix(format!(
            "{INSTALL}; until then set kubernetes.network_policies = \"none\", so that no run relies on them"
        )),
        (Reach::Reached, _) => Finding::warning(
            NETWORK_POLICY,
            kube_namespace,
            format!("not enforced: {what}; the configuration does not claim otherwise"),
        )
        .fix(format!("{INSTALL}; then set kubernetes.network_policies = \"installed\"")),
        (Reach::Blocked, Reach::Blocked) => Finding::failed(
            NETWORK_POLICY,
            kube_namespace,
            "a Pod under mode CLUSTER does not reach another Pod of this namespace either",
        )
        .fix(
            "a policy of this namespace denies too much (all ingress to its Pods?), or the Pod network is broken: \
                     `kubectl get networkpolicies` shows what is there. Mode CLUSTER cannot work like this",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use longshore_runtime::finding::Status;

    #[test]
    fn verdicts_on_a_pair() {
        use Reach::{Blocked, Reached};
        for (none, within, installed, status, word) in [
            (Blocked, Reached, true, Status::Ok, "enforced"),
            (Blocked, Reached, false, Status::Warning, "says that they are not there"),
            (Reached, Reached, true, Status::Failed, "not enforced"),
            (Reached, Reached, false, Status::Warning, "not enforced"),
            (Reached, Blocked, true, Status::Failed, "not enforced"),
            (Blocked, Blocked, true, Status::Failed, "CLUSTER does not reach"),
        ] {
            let finding = judge("runs", none, within, installed);
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.message.contains(word), "{finding:?}");
            assert_eq!(finding.fix.is_empty(), status == Status::Ok, "{finding:?}");
        }
    }

    fn pod(phase: &str, state: Value) -> Pod {
        let container =
            json!({"name": "run", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        serde_json::from_value(json!({
            "metadata": {}, "status": {"phase": phase, "podIP": "10.0.0.7", "containerStatuses": [container]},
        }))
        .unwrap()
    }

    #[test]
    fn exit_codes_of_callers() {
        let ended = |code: i32| called(&pod("Running", json!({"terminated": {"exitCode": code, "reason": "Error"}})));
        assert_eq!(ended(0), Some(Came::To(Reach::Reached)));
        assert_eq!(ended(1), Some(Came::To(Reach::Blocked)));
        for other in [2, 125, 127, 128, 137] {
            assert!(
                matches!(ended(other), Some(Came::Short(_))),
                "{other}: an image without the program blocks nothing"
            );
        }
        assert_eq!(called(&pod("Running", json!({"running": {}}))), None);
    }

    #[test]
    fn a_listener_runs_before_it_is_called() {
        assert_eq!(
            listening(&pod("Running", json!({"running": {}}))),
            Some(Came::To("10.0.0.7:7429".parse().unwrap()))
        );
        assert_eq!(listening(&pod("Pending", json!({"waiting": {"reason": "ContainerCreating"}}))), None);
        let ended = listening(&pod("Failed", json!({"terminated": {"exitCode": 128, "reason": "StartError"}})));
        assert_eq!(ended, Some(Came::Short("exit code 128 StartError".to_owned())));
    }
}
