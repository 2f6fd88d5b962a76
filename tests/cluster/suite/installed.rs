//! The chart, installed on the cluster: the kubelet probes it, callers show who they are, runs reach
//! what they may, and nothing is left behind.

mod manifests;
mod network;
mod release;
mod rights;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, Pod, Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster;
use crate::support::authority::Authority;
use crate::support::wait::until;
use release::{AUDIENCE, NAME, Printed, Release, installed};

/// Whether a data set may lie on the disk of a node: not in a cluster of somebody's, which has several.
fn with_claim() -> bool {
    cluster::has_control()
}

/// Data sets of the operator's in the namespace of runs: a ConfigMap, and a claim.
fn with_data() -> Value {
    let mut volumes = json!({"small": {"config_map": "colours"}});
    let mut mounts = json!([{"volume": "small", "mount_path": "/data/colours"}]);
    if with_claim() {
        volumes["large"] = json!({"persistent_volume_claim": "shapes"});
        mounts.as_array_mut().unwrap().push(json!({"volume": "large", "mount_path": "/data/shapes"}));
    }
    let defaults = json!({"env": {"LONGSHORE_DATA": "/data"}, "volumes": mounts});
    json!({"config": {"volumes": volumes, "profiles": {"sql": {"defaults": defaults}}}})
}

async fn provide_data(release: &Release) {
    let map = json!({"metadata": {"name": "colours"}, "data": {"colours.csv": "colour,n\nred,1\nblue,2\n"}});
    release.create("", "v1", "configmaps", &release.runs("default"), map).await;
    if with_claim() {
        provide_claim(release, &release.runs("default")).await;
    }
}

async fn provide_claim(release: &Release, runs: &str) {
    // On the node's disk, where nobody but a Pod that may do more than runs may writes it.
    let path = format!("/var/lib/{}", release.namespace);
    let writer = json!({
        "metadata": {"name": "writer"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "write", "image": cluster::busybox(),
                "command": ["/bin/sh", "-c", "printf 'shape,corners\\nsquare,4\\ntriangle,3\\n' > /disk/shapes.csv"],
                "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
            }],
            "volumes": [{"name": "disk", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}],
        },
    });
    release.create("", "v1", "pods", &release.namespace, writer).await;
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": release.namespace},
        "spec": {
            "capacity": {"storage": "1Mi"}, "accessModes": ["ReadOnlyMany"], "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": path}, "claimRef": {"namespace": runs, "name": "shapes"},
        },
    }))
    .expect("a volume");
    let volumes: Api<PersistentVolume> = Api::all(release.kube.clone());
    volumes.create(&PostParams::default(), &volume).await.expect("create a volume");
    let claim = json!({
        "metadata": {"name": "shapes"},
        "spec": {
            "accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": release.namespace,
            "resources": {"requests": {"storage": "1Mi"}},
        },
    });
    release.create("", "v1", "persistentvolumeclaims", runs, claim).await;
    let pods = release.api::<Pod>(&release.namespace);
    until("the data to be written", async || {
        let phase = pods.get("writer").await.ok()?.status?.phase?;
        (phase == "Succeeded").then_some(())
    })
    .await;
}

/// A query, and its rows.
const QUERIES: [(&str, &str); 2] = [
    (r#"{"dataset":"colours","sql":"select colour from colours order by n desc"}"#, r#"[["blue"],["red"]]"#),
    (r#"{"dataset":"shapes","sql":"select shape, corners from shapes"}"#, r#"[["square",4],["triangle",3]]"#),
];
const RUN: [&str; 5] = ["run", "--runner", "sql", "--result", "--input"];

#[track_caller]
fn assert_refused(printed: &Printed, code: &str) {
    assert_eq!(printed.code, Some(125), "{printed:?}");
    assert!(printed.stderr.contains(code), "{printed:?}");
}

#[tokio::test]
async fn callers_show_who_they_are() {
    installed("callers", with_data(), async |release| {
        let daemon = release.daemon().await;
        let ready = daemon.status.as_ref().and_then(|s| s.container_statuses.as_ref()).is_some_and(|c| c[0].ready);
        assert!(ready, "the kubelet finds it ready by gRPC: {daemon:?}");
        provide_data(release).await;
        release.helm(&["test", NAME, "--timeout", "170s"]).await;

        for account in ["robot", "stranger", "leaver"] {
            release.account(account).await;
        }
        release.let_call("robot", "default").await;
        release.let_call("leaver", "default").await;
        let robot = release.token("robot", AUDIENCE).await;
        for (query, rows) in QUERIES.into_iter().take(if with_claim() { 2 } else { 1 }) {
            let printed = release.cli(&robot, &[&RUN[..], &[query, "--output", "json"]].concat()).await;
            assert_eq!(printed.code, Some(0), "{printed:?}");
            let result: Value = serde_json::from_str(&printed.stdout).expect("the result");
            assert_eq!(result["rows"].to_string(), rows);
        }
        let run = [&RUN[..], &[QUERIES[0].0]].concat();
        let listed = release.cli(&robot, &["ls", "--output", "json"]).await;
        assert!(listed.stdout.contains(&format!("system:serviceaccount:{}:robot", release.namespace)), "{listed:?}");

        assert_refused(&release.cli("", &run).await, "UNAUTHENTICATED");
        let foreign = release.token("robot", "somebody-else").await;
        assert_refused(&release.cli(&foreign, &run).await, "UNAUTHENTICATED");
        assert_refused(&release.cli(&format!("{robot}x"), &run).await, "UNAUTHENTICATED");
        if cluster::has_control() {
            let line = format!("token {} robot {AUDIENCE} -3600", release.namespace);
            let expired = cluster::control(&line).await.pop().expect("a token");
            assert_refused(&release.cli(&expired, &run).await, "UNAUTHENTICATED");
        }
        // Known, but with no rights: the namespace is not there for them.
        let stranger = release.token("stranger", AUDIENCE).await;
        assert_refused(&release.cli(&stranger, &run).await, "NOT_FOUND");
        let elsewhere = release.cli(&robot, &["ls", "--namespace", "other"]).await;
        assert_refused(&elsewhere, "NOT_FOUND");
        let info = release.cli(&robot, &["info"]).await;
        assert!(info.stdout.contains("default") && !info.stdout.contains("other"), "{info:?}");

        let leaver = release.token("leaver", AUDIENCE).await;
        assert_eq!(release.cli(&leaver, &["ls"]).await.code, Some(0));
        release
            .api::<ServiceAccount>(&release.namespace)
            .delete("leaver", &DeleteParams::default())
            .await
            .expect("delete");
        until("the token of a deleted account to be refused", async || {
            let printed = release.cli(&leaver, &["ls"]).await;
            printed.stderr.contains("UNAUTHENTICATED").then_some(())
        })
        .await;

        // The claim goes with its namespace; the volume is the operator's.
        if with_claim() {
            let volumes: Api<PersistentVolume> = Api::all(release.kube.clone());
            volumes.delete(&release.namespace, &DeleteParams::default()).await.expect("delete the volume");
        }

        // Uninstalled with the daemon at zero replicas, and a run that goes on.
        let image = cluster::busybox();
        let live = release.cli(&robot, &["run", "--detach", "--image", &image, "--", "sleep", "1000"]).await;
        assert_eq!(live.code, Some(0), "{live:?}");
        let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
        let deployments = release.api::<Deployment>(&release.namespace);
        deployments.patch_scale(NAME, &PatchParams::default(), &none).await.expect("scale");
        release.helm(&["uninstall", NAME, "--wait", "--timeout", "170s"]).await;
        nothing_is_left(release).await;
    })
    .await;
}

#[tokio::test]
async fn a_run_outlives_an_upgrade_and_nothing_outlives_the_release() {
    installed("upgrade", json!({}), async |release| {
        release.account("robot").await;
        release.let_call("robot", "default").await;
        let robot = release.token("robot", AUDIENCE).await;
        let script = "echo begun; sleep 20; echo '{\"answer\": 42}' > \"$LONGSHORE_RESULT\"";
        let image = cluster::busybox();
        let spec = |script| {
            let flags = ["run", "--detach", "--image", &image, "--result-rule", "optional"];
            [&flags[..], &["--", "/bin/sh", "-c", script]].concat()
        };
        let printed = release.cli(&robot, &spec(script)).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let run = printed.stdout.trim().to_owned();
        let before = release.daemon().await.metadata.uid;

        release.helm_with("upgrade", &json!({"config": {"drain_timeout": "15s"}})).await;
        assert_ne!(release.daemon().await.metadata.uid, before, "another configuration makes another Pod");
        let printed = release.cli(&robot, &["wait", &run]).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let got = release.cli(&robot, &["get", &run, "--output", "json"]).await;
        let got: Value = serde_json::from_str(&got.stdout).expect("the run");
        assert_eq!(got["result"]["json"], json!({"answer": 42}), "{got}");

        // One that is live, one that is over.
        let live = release.cli(&robot, &spec("sleep 1000")).await;
        assert_eq!(live.code, Some(0), "{live:?}");
        release.helm(&["uninstall", NAME, "--wait", "--timeout", "170s"]).await;
        nothing_is_left(release).await;
    })
    .await;
}

#[tokio::test]
async fn certificates_and_static_tokens_under_a_policy() {
    installed("policy", json!({}), async |release| {
        let clients = Authority::new();
        release.secret("client-ca", json!({"ca.crt": clients.pem})).await;
        let (robot, robots) = release.static_token("robot").await;
        let (token, testers) = release.static_token("tester").await;
        release.secret("tokens", json!({"tokens.toml": format!("{robots}{testers}")})).await;
        release.secret("test-token", json!({"token": token})).await;
        // An upgrade that changes who is known and what decides: the same release, other locks.
        let mut values = json!({
            "authentication": {
                "tokenReview": {"enabled": false},
                "clientCertificates": {"caSecretName": "client-ca"},
                "tokens": {"secretName": "tokens"},
            },
            "authorization": {"mode": "policy", "rules": [
                {"users": ["robot", "tester"], "namespaces": ["default"], "verbs": ["submit", "get", "logs"], "profiles": ["sql"]},
                {"groups": ["builders"], "namespaces": ["*"], "verbs": ["*"]},
            ]},
            "test": {"tokenSecretName": "test-token"},
        });
        release.helm_with("upgrade", &values).await;
        release.helm(&["test", NAME, "--timeout", "170s"]).await;
        let tester = clients.client("tester", "testers");
        release.secret("test-client", json!({"tls.crt": tester.cert, "tls.key": tester.key})).await;
        values["test"] = json!({"clientCertSecretName": "test-client"});
        release.helm_with("upgrade", &values).await;
        release.helm(&["test", NAME, "--timeout", "170s"]).await;

        let sql = [&RUN[..], &[r#"{"dataset":"demo/shop","sql":"select count(*) as n from orders"}"#]].concat();
        let printed = release.cli(&robot, &sql).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let image = cluster::busybox();
        let shell = ["run", "--image", &image, "--", "/bin/true"];
        assert_refused(&release.cli(&robot, &shell).await, "PERMISSION_DENIED");
        assert_refused(&release.cli(&robot, &["ls", "--namespace", "other"]).await, "NOT_FOUND");

        let certified = async |authority: &Authority, group: &str, arguments: &[&str]| {
            let pair = authority.client("ann", group);
            let (cert, key) = (release.path("client.crt"), release.path("client.key"));
            std::fs::write(&cert, pair.cert).unwrap();
            std::fs::write(&key, pair.key).unwrap();
            let flags = ["--client-cert", cert.to_str().unwrap(), "--client-key", key.to_str().unwrap()];
            let (verb, others) = arguments.split_first().expect("a command");
            release.cli("", &[&[*verb], &flags[..], others].concat()).await
        };
        let printed = certified(&clients, "builders", &shell).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let printed = certified(&clients, "builders", &["ls", "--namespace", "other"]).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        assert_refused(&certified(&clients, "others", &sql).await, "NOT_FOUND");
        let foreign = certified(&Authority::new(), "builders", &["info"]).await;
        assert_eq!(foreign.code, Some(125), "{foreign:?}");

        // What the cluster knows counts for nothing here.
        release.account("robot").await;
        release.let_call("robot", "default").await;
        let account = release.token("robot", AUDIENCE).await;
        assert_refused(&release.cli(&account, &["ls"]).await, "UNAUTHENTICATED");

        let daemon = release.daemon().await.metadata.name.expect("a name");
        let log = release.api::<Pod>(&release.namespace).logs(&daemon, &LogParams::default()).await.expect("the log");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let audit: Vec<Value> = lines.filter(|line| line["target"] == "longshore::audit").collect();
        for (user, proof, reason) in [
            ("robot", "token_file", "authorization.rules[0]"),
            ("ann", "client_certificate", "authorization.rules[1]"),
        ] {
            let printed = audit.iter().any(|line| line["user"] == user && line["proof"] == proof && line["reason"] == reason);
            assert!(printed, "{user}: {audit:?}");
        }
        assert!(!log.contains(&robot) && !log.contains(&account), "a token is in the log");

        // Taken out of the Secret, which the kubelet brings in its own time, a token is nobody's.
        let without = Patch::Merge(json!({"stringData": {"tokens.toml": testers}}));
        let secrets = release.api::<Secret>(&release.namespace);
        secrets.patch("tokens", &PatchParams::default(), &without).await.expect("patch the Secret");
        until("the token to go", async || {
            let printed = release.cli(&robot, &["ls"]).await;
            printed.stderr.contains("UNAUTHENTICATED").then_some(())
        })
        .await;
        assert_eq!(release.cli(&token, &["ls"]).await.code, Some(0), "the other is still good");
        release.helm(&["uninstall", NAME, "--wait", "--timeout", "170s"]).await;
        nothing_is_left(release).await;
    })
    .await;
}

/// No namespace of runs, so no Job and no Pod in it either; and none of the daemon's objects.
async fn nothing_is_left(release: &Release) {
    let namespaces: Api<Namespace> = Api::all(release.kube.clone());
    for name in ["default", "other"] {
        let name = release.runs(name);
        until(&format!("namespace {name} to go"), async || match namespaces.get_opt(&name).await {
            Ok(None) => Some(()),
            _ => None,
        })
        .await;
    }
    let jobs: Vec<Job> = release.api::<Job>(&release.namespace).list(&ListParams::default()).await.expect("Jobs").items;
    assert!(jobs.is_empty(), "{jobs:?}");
    let accounts = release.api::<ServiceAccount>(&release.namespace).list(&ListParams::default()).await;
    let mut names: Vec<_> = accounts.expect("accounts").items.into_iter().filter_map(|a| a.metadata.name).collect();
    names.retain(|name| name.starts_with(NAME));
    assert!(names.is_empty(), "accounts: {names:?}");
}
