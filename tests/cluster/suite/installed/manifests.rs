//! The plain manifests, installed and removed by the very commands of their README.

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::process::Command;

use super::release::{AUDIENCE, Release, output_of};
use crate::cluster;
use crate::support::wait::until;

/// The first block of commands of a section of the README.
fn block(section: &str) -> String {
    let readme = include_str!("../../../../deploy/manifests/README.md");
    let text = readme.split(&format!("\n## {section}\n")).nth(1).expect("the section");
    text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block").to_owned()
}

/// Runs commands where the release's files are.
async fn shell(release: &Release, script: &str) {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(release.dir.path());
    command.env("KUBECONFIG", cluster::kubeconfig());
    let printed = output_of(command).await;
    assert_eq!(printed.code, Some(0), "{script}\n{}{}", printed.stdout, printed.stderr);
}

/// What the chart makes of each set of values that it is checked with, as the API server judges it.
async fn every_rendering_is_accepted(release: &Release) {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("helm/longshore");
    let mut sets: Vec<_> = std::fs::read_dir(chart.join("ci")).unwrap().map(|entry| entry.unwrap().path()).collect();
    sets.sort();
    // Not on a cluster of somebody's who may have them, with objects of theirs.
    let crds = cluster::crds();
    if let Some(dir) = &crds {
        shell(
            release,
            &format!("kubectl create -f {dir} && kubectl wait --for condition=established --timeout=60s -f {dir}"),
        )
        .await;
    }
    assert!(sets.len() >= 6, "{sets:?}");
    for values in sets {
        let (chart, values) = (chart.to_str().unwrap(), values.to_str().unwrap());
        let rendered = release.helm(&["template", "longshore", chart, "--no-hooks", "--values", values]).await.stdout;
        let documents = rendered.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).expect("YAML"));
        let known = documents.filter(|d| match d["kind"].as_str() {
            None => false,
            Some("Certificate" | "ServiceMonitor") => crds.is_some(),
            Some(_) => true,
        });
        let others: Vec<_> = known.collect();
        let named: BTreeSet<&str> = others.iter().filter_map(|d| d["metadata"]["namespace"].as_str()).collect();
        let namespaces: Vec<_> = named
            .into_iter()
            .filter(|name| *name != release.namespace)
            .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .collect();
        for (name, items) in [("namespaces.json", &namespaces), ("others.json", &others)] {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
            std::fs::write(release.path(name), list.to_string()).unwrap();
        }
        // What stands in a namespace is judged only where there is one.
        let any = !namespaces.is_empty();
        if any {
            shell(release, "kubectl create -f namespaces.json").await;
        }
        shell(
            release,
            "kubectl apply --server-side --force-conflicts --validate=strict --dry-run=server -f others.json",
        )
        .await;
        if any {
            shell(release, "kubectl delete -f namespaces.json").await;
        }
    }
    if let Some(dir) = crds {
        shell(release, &format!("kubectl delete -f {dir}")).await;
    }
}

#[tokio::test]
async fn the_manifests_come_and_go_by_their_readme() {
    // They have the names that they have: only one test can use them.
    let release = Release::in_namespace("longshore".to_owned()).await;
    every_rendering_is_accepted(&release).await;
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests/longshore.yaml");
    std::fs::copy(manifests, release.path("longshore.yaml")).unwrap();
    let install = block("Install").replace("registry.example.com/longshore:0.1.0", &cluster::longshore_image());
    shell(&release, &install).await;

    release.account("me").await;
    let bind = "kubectl -n longshore-runs create rolebinding me --role=longshore-caller --serviceaccount=longshore:me";
    shell(&release, bind).await;
    let token = release.token("me", AUDIENCE).await;
    let image = cluster::busybox();
    for (script, flags) in [("exit 0", &["run"][..]), ("sleep 1000", &["run", "--detach"])] {
        let printed = release.cli(&token, &[flags, &["--image", &image, "--", "/bin/sh", "-c", script]].concat()).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
    }

    shell(&release, &block("Uninstall")).await;
    let namespaces: Api<Namespace> = Api::all(release.kube.clone());
    for name in ["longshore-runs", "longshore"] {
        // The second may be the manifests' or ours.
        let _ = namespaces.delete(name, &DeleteParams::background()).await;
        until(&format!("namespace {name} to go"), async || match namespaces.get_opt(name).await {
            Ok(None) => Some(()),
            _ => None,
        })
        .await;
    }
}
