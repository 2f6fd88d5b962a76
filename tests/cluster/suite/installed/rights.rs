//! The rights of the daemon: exactly those that it uses, and each reported by name if it is
//! missing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, PolicyRule, Role};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};

use super::release::{AUDIENCE, NAME, Printed, Release, installed, output_of};
use crate::case::Case;
use crate::cluster;
use crate::support::daemon::{Daemon, longshore};
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
pub(super) async fn doctor(kubeconfig: &Path, config: &Path, flags: &[&str]) -> (Printed, Vec<Value>) {
    let mut command = longshore(["doctor", "--output", "json", "--kubeconfig"]);
    command.arg(kubeconfig).arg("--config").arg(config).args(flags);
    let printed = output_of(command).await;
    let report: Value = serde_json::from_str(&printed.stdout).unwrap_or_else(|error| panic!("{error}: {printed:?}"));
    let findings = report["findings"].as_array().expect("findings").clone();
    (printed, findings)
}

fn missing(findings: &[Value]) -> Vec<String> {
    let rights = findings.iter().filter(|f| f["check"] == "rights" && f["status"] == "failed");
    rights.map(|finding| finding["subject"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn each_right_that_is_missing_is_named() {
    installed("rights", json!({}), async |release| {
        let (kubeconfig, config) = as_the_daemon(release).await;
        let (printed, findings) = doctor(&kubeconfig, &config, &[]).await;
        assert_eq!((printed.code, missing(&findings)), (Some(0), Vec::new()), "{printed:?}");
        release.account("robot").await;
        release.let_call("robot", "default").await;
        let robot = release.token("robot", AUDIENCE).await;
        share_a_secret(release).await;

        let namespace = release.runs("default");
        let jobs = release.api::<Job>(&namespace);
        let roles = release.api::<Role>(&namespace);
        let whole = roles.get(NAME).await.expect("the Role").rules.expect("rules");
        // What only the doctor reads is reported by its own checks.
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
                    let (printed, findings) = doctor(&kubeconfig, &config, &[]).await;
                    let missing = missing(&findings);
                    (!missing.is_empty()).then_some((printed.code, missing))
                })
                .await;
                let [only] = named.1.as_slice() else { panic!("{verb} {resource}: {named:?}") };
                assert_eq!(named.0, Some(1));
                let words: Vec<&str> = only.split(|c: char| !c.is_alphanumeric() && c != '/' && c != '-').collect();
                assert!(words.contains(&verb.as_str()) && words.contains(&resource.as_str()), "{only}");
                the_error_names(&kubeconfig, &config, &robot, &jobs, (&resource, verb)).await;
            }
        }
        // What only the doctor reads: it shows what it could not look at, and why.
        for rule in whole.iter().filter(|rule| !needed(rule)) {
            let rest: Vec<PolicyRule> = whole.iter().filter(|other| *other != rule).cloned().collect();
            set(release, &namespace, &rest).await;
            for resource in rule.resources.clone().unwrap_or_default() {
                let words = format!("{resource} may not be read with these credentials");
                until(&words, async || {
                    let (_, findings) = doctor(&kubeconfig, &config, &[]).await;
                    findings.iter().any(|f| f["status"] == "skipped" && f["message"] == words.as_str()).then_some(())
                })
                .await;
            }
        }
        set(release, &namespace, &whole).await;

        // Of the whole cluster: who calls.
        let bindings: Api<ClusterRoleBinding> = Api::all(release.kube.clone());
        let reviews = format!("{}-{NAME}-token-review", release.namespace);
        bindings.delete(&reviews, &DeleteParams::default()).await.expect("delete the binding");
        let named = until("tokenreviews to be missing", async || {
            Some(missing(&doctor(&kubeconfig, &config, &[]).await.1)).filter(|missing| !missing.is_empty())
        })
        .await;
        assert!(named.len() == 1 && named[0].contains("tokenreviews create"), "{named:?}");
        the_error_names(&kubeconfig, &config, &robot, &jobs, ("tokenreviews", "create")).await;

        // Without all rights some of their Jobs are held still.
        let mut command = longshore(["release", "--delete", "--instance", PROBE, "--kubeconfig"]);
        command.arg(cluster::kubeconfig()).arg("--config").arg(&config);
        let printed = output_of(command).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
    })
    .await;
}

async fn set(release: &Release, namespace: &str, rules: &[PolicyRule]) {
    let patch = Patch::Merge(json!({ "rules": rules }));
    release.api::<Role>(namespace).patch(NAME, &PatchParams::default(), &patch).await.expect("patch the Role");
}

/// A Secret that runs may read.
async fn share_a_secret(release: &Release) {
    let secret = json!({
        "metadata": {"name": "shared", "labels": {"longshore.dev/allow-runs": "true"}},
        "stringData": {"key": "value"},
    });
    release.create("", "v1", "secrets", &release.runs("default"), secret).await;
}

/// Calls for which a daemon needs every right that it has: a dry run; an input, a Secret and a result
/// beyond the record; a replay; a stop; an end; what is left of a Job that was deleted without it.
async fn exercise(id: &str, jobs: &Api<Job>, cli: impl AsyncFn(&[&str]) -> Printed) {
    let image = cluster::busybox();
    let shell = |flags: &[&'static str], script: &'static str| {
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        let begin = ["run", "--image", image.as_str()].map(str::to_owned).into_iter();
        begin.chain(flags).chain(["--", "/bin/sh", "-c", script].map(str::to_owned)).collect::<Vec<_>>()
    };
    let call = async |arguments: &[String]| cli(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    call(&shell(&["--dry-run"], "true")).await;
    let big = "head -c 40000 /dev/zero | tr '\\0' x | sed 's/^/{\"big\":\"/; s/$/\"}/' > /tmp/r; cat /tmp/r; sleep 0.5";
    let mut whole = shell(&["--input", "{}", "--env-secret", "KEY=shared/key", "--result-rule", "optional"], big);
    whole.splice(1..1, ["--id".to_owned(), id.to_owned()]);
    call(&whole).await;
    call(&whole).await;
    let running = async |name: &str| {
        until("the run to be running", async || {
            let got: Value = serde_json::from_str(&cli(&["get", name, "--output", "json"]).await.stdout).ok()?;
            (got["state"] == "RUN_STATE_RUNNING").then_some(())
        })
        .await;
    };
    let live = call(&shell(&["--detach"], "sleep 1000")).await.stdout;
    running(live.trim()).await;
    cli(&["cancel", live.trim()]).await;
    cli(&["wait", live.trim()]).await;
    cli(&["rm", id]).await;
    let left = call(&shell(&["--detach", "--input", "{}"], "trap 'exit 3' TERM; sleep 1000 & wait")).await.stdout;
    running(left.trim()).await;
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    // Without the right to create it there is none.
    let _ = jobs.delete(&Case::job_name(left.trim()), &orphan).await;
}

/// The rights without which a call fails at once, and not something that goes on behind it.
const OF_CALLS: [(&str, &str); 5] =
    [("jobs", "create"), ("pods", "create"), ("secrets", "create"), ("secrets", "get"), ("jobs", "delete")];

/// A daemon with the rights of the installed one, and runs of its own, names in its log the one that is
/// missing as it is missed; and the caller learns that it is not theirs.
async fn the_error_names(kubeconfig: &Path, config: &Path, token: &str, jobs: &Api<Job>, right: (&str, &str)) {
    let mut args: Vec<OsString> = Vec::new();
    args.extend(["--backend", "kubernetes", "--listen", "127.0.0.1:0", "--admin-listen", "off"].map(Into::into));
    args.extend(["--log-format", "json", "--instance", PROBE, "--kubeconfig"].map(Into::into));
    args.extend([kubeconfig.into(), "--config".into(), config.into()]);
    let daemon = Daemon::start(args).await;
    let address = format!("http://{}", daemon.address());
    let (resource, verb) = right;
    let words = format!(r#"cannot {verb} resource \"{resource}\""#);
    let said = Mutex::new(String::new());
    let cli = async |arguments: &[&str]| {
        let mut command = longshore(arguments);
        command.env("LONGSHORE_SERVER", &address).env("LONGSHORE_TOKEN", token);
        let printed = output_of(command).await;
        said.lock().unwrap().push_str(&printed.stderr);
        printed
    };
    let id = format!("{}-{verb}", resource.replace('/', "-"));
    let using = async {
        exercise(&id, jobs, &cli).await;
        std::future::pending::<()>().await;
    };
    let what = format!("the log to say `{words}`");
    let named = until(&what, async || {
        let printed = !OF_CALLS.contains(&right) || said.lock().unwrap().contains("Longshore lacks a right");
        (printed && daemon.output().contains(&words)).then_some(())
    });
    tokio::select! {
        () = using => {}
        () = named => {}
    }
}

/// The installation of the daemons that lack a right.
const PROBE: &str = "probe";

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
        share_a_secret(release).await;
        let jobs = release.api::<Job>(&release.runs("default"));
        exercise("whole", &jobs, async |arguments| {
            let printed = release.cli(&robot, arguments).await;
            assert!(printed.code == Some(0) || arguments[0] == "wait", "{arguments:?}: {printed:?}");
            printed
        })
        .await;
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
