//! The rights of the daemon: exactly those that it uses, and each told by name if it is missing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::release::{AUDIENCE, NAME, Release, Told, installed, tell};
use crate::cluster;
use crate::support::daemon::longshore;
use crate::support::wait::until;

/// `jobs/status patch` and the like.
type Right = (String, String);

fn rights_of(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let of = |rule: &PolicyRule| {
        let resources = rule.resources.clone().unwrap_or_default();
        let verbs = rule.verbs.clone();
        resources
            .into_iter()
            .flat_map(move |r| verbs.clone().into_iter().map(move |v| (r.clone(), v)))
            .collect::<Vec<_>>()
    };
    rules.iter().flat_map(of).collect()
}

/// A kubeconfig of the daemon's own account, and its configuration.
async fn as_the_daemon(release: &Release) -> (PathBuf, PathBuf) {
    let text = std::fs::read_to_string(cluster::kubeconfig()).expect("the kubeconfig");
    let mut kubeconfig: Value = serde_saphyr::from_str(&text).expect("YAML");
    let token = release.token(NAME, "").await;
    kubeconfig["users"] = json!([{"name": kubeconfig["contexts"][0]["context"]["user"], "user": {"token": token}}]);
    let path = release.path("daemon.kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    (path, configuration(release))
}

/// The daemon's configuration, but for the files of its Pod.
pub(super) fn configuration(release: &Release) -> PathBuf {
    let config = release.path("daemon.toml");
    let namespaces = ["default", "other"]
        .map(|name| format!("[namespaces.{name}]\nkubernetes_namespace = \"{}\"\n", release.runs(name)));
    let image = cluster::longshore_image();
    let rest = format!(
        "[authentication.token_review]\n[authorization]\nmode = \"kubernetes\"\n\
         [kubernetes]\nnetwork_policies = \"installed\"\n[profiles.sql.kubernetes]\nimage = \"{image}\"\n"
    );
    std::fs::write(&config, format!("backend = \"kubernetes\"\n{}{rest}", namespaces.join(""))).unwrap();
    config
}

/// What `longshore doctor` finds.
pub(super) async fn doctor(kubeconfig: &Path, config: &Path, flags: &[&str]) -> (Told, Vec<Value>) {
    let mut command = longshore(["doctor", "--output", "json", "--kubeconfig"]);
    command.arg(kubeconfig).arg("--config").arg(config).args(flags);
    let told = tell(command).await;
    let report: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    let findings = report["findings"].as_array().expect("findings").clone();
    (told, findings)
}

fn missing(findings: &[Value]) -> Vec<String> {
    let rights = findings.iter().filter(|f| f["check"] == "rights" && f["status"] == "failed");
    rights.map(|finding| finding["subject"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn doctor_names_each_right_that_is_missing() {
    installed("rights", json!({}), async |release| {
        let (kubeconfig, config) = as_the_daemon(release).await;
        let (told, findings) = doctor(&kubeconfig, &config, &[]).await;
        assert_eq!((told.code, missing(&findings)), (Some(0), Vec::new()), "{told:?}");

        let namespace = release.runs("default");
        let roles = release.api::<Role>(&namespace);
        let whole = roles.get(NAME).await.expect("the Role").rules.expect("rules");
        // What only the doctor reads is told by its own checks.
        let needed = |rule: &PolicyRule| {
            let names = rule.resources.clone().unwrap_or_default();
            !names.iter().any(|name| matches!(name.as_str(), "namespaces" | "resourcequotas" | "limitranges"))
        };
        for (index, rule) in whole.iter().enumerate().filter(|(_, rule)| needed(rule)) {
            for verb in &rule.verbs {
                let mut rules = whole.clone();
                rules[index].verbs.retain(|kept| kept != verb);
                if rules[index].verbs.is_empty() {
                    rules.remove(index);
                }
                set(release, &namespace, &rules).await;
                let resource = rule.resources.clone().unwrap_or_default().join("");
                let named = until(&format!("{verb} {resource} to be missing"), async || {
                    let (told, findings) = doctor(&kubeconfig, &config, &[]).await;
                    let missing = missing(&findings);
                    (!missing.is_empty()).then_some((told.code, missing))
                })
                .await;
                let [only] = named.1.as_slice() else { panic!("{verb} {resource}: {named:?}") };
                assert_eq!(named.0, Some(1));
                let words: Vec<&str> = only.split(|c: char| !c.is_alphanumeric() && c != '/' && c != '-').collect();
                assert!(words.contains(&verb.as_str()) && words.contains(&resource.as_str()), "{only}");
            }
        }
        set(release, &namespace, &whole).await;
    })
    .await;
}

async fn set(release: &Release, namespace: &str, rules: &[PolicyRule]) {
    let patch = Patch::Merge(json!({ "rules": rules }));
    release.api::<Role>(namespace).patch(NAME, &PatchParams::default(), &patch).await.expect("patch the Role");
}

/// What the daemon's account did, as the API server's audit has it.
fn used(release: &Release, log: &Path) -> BTreeSet<Right> {
    let user = format!("system:serviceaccount:{}:{NAME}", release.namespace);
    let text = std::fs::read_to_string(log).expect("the audit log");
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = lines.filter(|event| event["user"]["username"] == user.as_str() && event["objectRef"].is_object());
    let mut used = BTreeSet::new();
    for event in own {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (resource, subresource) = (text(&event["objectRef"]["resource"]), text(&event["objectRef"]["subresource"]));
        let resource = if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") };
        // Every account may ask about itself.
        if !resource.starts_with("selfsubject") {
            assert_ne!(event["responseStatus"]["code"], 403, "a right that the chart does not grant: {event}");
            used.insert((resource, text(&event["verb"])));
        }
    }
    used
}

#[tokio::test]
async fn the_daemon_uses_what_it_may_and_nothing_else() {
    let Some(control) = std::env::var_os("LONGSHORE_TEST_CONTROL").filter(|path| !path.is_empty()) else {
        eprintln!("not looked at: without LONGSHORE_TEST_CONTROL there is no audit log to read");
        return;
    };
    let log = PathBuf::from(control).parent().expect("a directory").join("logs/audit.log");
    installed("audit", json!({}), async |release| {
        release.account("robot").await;
        release.let_call("robot", "default").await;
        let robot = release.token("robot", AUDIENCE).await;
        let secret = json!({
            "metadata": {"name": "shared", "labels": {"longshore.dev/allow-runs": "true"}},
            "stringData": {"key": "value"},
        });
        release.create("", "v1", "secrets", &release.runs("default"), secret).await;
        let image = cluster::busybox();
        let cli = async |arguments: &[&str]| {
            let told = release.cli(&robot, arguments).await;
            assert_eq!(told.code, Some(0), "{arguments:?}: {told:?}");
            told.stdout
        };
        let shell = |flags: &'static [&'static str], script: &'static str| {
            [&["run", "--image", image.as_str()][..], flags, &["--", "/bin/sh", "-c", script][..]].concat()
        };
        // A dry run; an input, a Secret and a result beyond the record; a replay; a stop; an end.
        cli(&shell(&["--dry-run"], "true")).await;
        let big =
            "head -c 40000 /dev/zero | tr '\\0' x | sed 's/^/{\"big\":\"/; s/$/\"}/' > /tmp/r; cat /tmp/r; sleep 0.5";
        let flags: &[&str] =
            &["--id", "whole", "--input", "{}", "--env-secret", "KEY=shared/key", "--result-rule", "optional"];
        cli(&shell(flags, big)).await;
        cli(&shell(flags, big)).await;
        let live = cli(&shell(&["--detach"], "sleep 1000")).await;
        until("the run to be running", async || {
            let got: Value = serde_json::from_str(&cli(&["get", live.trim(), "--output", "json"]).await).ok()?;
            (got["state"] == "RUN_STATE_RUNNING").then_some(())
        })
        .await;
        cli(&["cancel", live.trim()]).await;
        release.cli(&robot, &["wait", live.trim()]).await;
        cli(&["rm", "whole"]).await;
        let (kubeconfig, config) = as_the_daemon(release).await;
        doctor(&kubeconfig, &config, &[]).await;

        let roles = release.api::<Role>(&release.runs("default"));
        let mut granted = rights_of(&roles.get(NAME).await.expect("the Role").rules.expect("rules"));
        granted.insert(("tokenreviews".to_owned(), "create".to_owned()));
        // The audit is written a moment after the answer.
        until("everything that is granted to be used", async || {
            used(release, &log).is_superset(&granted).then_some(())
        })
        .await;
        assert_eq!(used(release, &log), granted);
    })
    .await;
}
