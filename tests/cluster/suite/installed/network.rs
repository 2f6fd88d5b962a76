//! What runs reach, by their network mode.

use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::release::{AUDIENCE, Release, installed};
use super::rights::{configuration, doctor};
use crate::cluster;
use crate::support::wait::until;

/// Where clouds serve the credentials of their machines; an address of this node's.
const METADATA: &str = "169.254.169.254";

/// A Pod that listens, and a Service before it, in a namespace that no policy is about: both addresses.
async fn listener(release: &Release) -> (String, String) {
    let namespace = release.runs("target");
    release.make_namespace(&namespace).await;
    let pod = json!({
        "metadata": {"name": "target", "labels": {"app": "target"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "listen", "image": cluster::busybox(), "command": ["/bin/sh", "-c", "exec nc -ll -p 8080 -e echo hello"],
        }]},
    });
    release.create("", "v1", "pods", &namespace, pod).await;
    let service = json!({
        "metadata": {"name": "target"},
        "spec": {"selector": {"app": "target"}, "ports": [{"port": 8080}]},
    });
    release.create("", "v1", "services", &namespace, service).await;
    let pods = release.api::<Pod>(&namespace);
    let address = until("the listener to run", async || {
        let status = pods.get("target").await.ok()?.status?;
        (status.phase.as_deref() == Some("Running")).then_some(status.pod_ip?)
    })
    .await;
    let service = release.api::<Service>(&namespace).get("target").await.expect("the Service");
    (address, service.spec.and_then(|spec| spec.cluster_ip).expect("an address"))
}

/// A script that prints which of these addresses it reaches, as an object. It waits first: a policy
/// controller knows a Pod's address only after it has started.
fn probe(targets: &[(&str, String, u16)]) -> String {
    let mut script = "reach() { nc -w 3 \"$2\" \"$3\" </dev/null >/dev/null 2>&1 && echo \"\\\"$1\\\": true,\" || echo \"\\\"$1\\\": false,\"; }\nsleep 5\n{ echo '{'\n".to_owned();
    for (name, address, port) in targets {
        script.push_str(&format!("reach '{name}' {address} {port}\n"));
    }
    script + "echo '\"done\": true}'; } > \"$LONGSHORE_RESULT\""
}

async fn reached(release: &Release, token: &str, mode: &str, script: &str) -> Value {
    let image = cluster::busybox();
    let printed = release
        .cli(
            token,
            &[
                "run",
                "--result",
                "--result-rule",
                "required",
                "--network",
                mode,
                "--image",
                &image,
                "--",
                "/bin/sh",
                "-c",
                script,
            ],
        )
        .await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    serde_json::from_str(&printed.stdout).unwrap_or_else(|error| panic!("{error}: {printed:?}"))
}

/// The same script in a Pod of a namespace that no policy is about.
async fn reached_without_policies(release: &Release, script: &str) -> Value {
    let namespace = release.runs("target");
    let pod = json!({
        "metadata": {"name": "free"},
        "spec": {"restartPolicy": "Never", "containers": [{
            "name": "probe", "image": cluster::busybox(), "command": ["/bin/sh", "-c", script],
            "env": [{"name": "LONGSHORE_RESULT", "value": "/dev/termination-log"}],
        }]},
    });
    release.create("", "v1", "pods", &namespace, pod).await;
    let pods = release.api::<Pod>(&namespace);
    let message = until("the probe to end", async || {
        let status = pods.get("free").await.ok()?.status?;
        let ended = status.container_statuses?.first()?.state.clone()?.terminated?;
        Some(ended.message.unwrap_or_default())
    })
    .await;
    serde_json::from_str(&message).unwrap_or_else(|error| panic!("{error}: {message}"))
}

#[tokio::test]
async fn runs_reach_what_their_mode_says() {
    installed("network", json!({}), async |release| {
        release.account("robot").await;
        release.let_call("robot", "default").await;
        let token = release.token("robot", AUDIENCE).await;
        let (pod, service) = listener(release).await;
        // Somebody who would answer there.
        let metadata = TcpListener::bind((METADATA, 0)).await.expect("an address of this node");
        let port = metadata.local_addr().unwrap().port();
        let answering = tokio::spawn(async move { while metadata.accept().await.is_ok() {} });
        let mut targets = vec![("pod", pod, 8080), ("service", service, 8080), ("metadata", METADATA.to_owned(), port)];
        for (address, port) in release.api_server().await {
            targets.push(("API server", address, u16::try_from(port).unwrap()));
        }
        let names = ["API server (Service)", "API server"];
        for (target, name) in targets.iter_mut().skip(3).zip(names) {
            target.0 = name;
        }
        let script = probe(&targets);
        let (none, cluster_mode) =
            futures::join!(reached(release, &token, "none", &script), reached(release, &token, "cluster", &script));
        // Else nothing would be shown by not reaching it.
        let free = reached_without_policies(release, &script).await;
        for name in ["pod", "service", "metadata", names[0], names[1]] {
            assert_eq!(free[name], json!(true), "a Pod that no policy is about does not reach {name}: {free}");
            assert_eq!(none[name], json!(false), "a run under NONE reaches {name}: {none}");
        }
        for name in ["pod", "service"] {
            assert_eq!(cluster_mode[name], json!(true), "a run under CLUSTER does not reach {name}: {cluster_mode}");
        }
        for name in ["metadata", names[0], names[1]] {
            assert_eq!(cluster_mode[name], json!(false), "a run under CLUSTER reaches {name}: {cluster_mode}");
        }
        answering.abort();

        // The doctor's canaries report the same, and that the image can be pulled.
        let flags = ["--canary", "--canary-image", &cluster::longshore_image()];
        let (printed, findings) = doctor(&cluster::kubeconfig(), &configuration(release), &flags).await;
        for check in ["network-policy", "image"] {
            let found: Vec<_> = findings.iter().filter(|finding| finding["check"] == check).collect();
            assert!(!found.is_empty() && found.iter().all(|f| f["status"] == "ok"), "{check}: {found:?} {printed:?}");
        }
    })
    .await;
}
