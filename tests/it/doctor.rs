//! `longshore doctor`: the executable, without a cluster.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli_client::{Told, command, told};

fn doctor(arguments: &[&str], dir: &TempDir) -> Told {
    let mut command = command(&[&["doctor"], arguments].concat());
    for variable in ["CONFIG", "KUBECONFIG", "CONTEXT", "INSTANCE", "BACKEND", "STATE_DIR"] {
        command.env_remove(format!("LONGSHORE_{variable}"));
    }
    command
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("HOME", dir.path())
        .env("XDG_STATE_HOME", dir.path().join("state"));
    told(command.output().unwrap())
}

fn findings(told: &Told) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    report["findings"].as_array().unwrap().clone()
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

#[test]
fn this_machine_is_looked_at_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let told = doctor(&["-o", "json"], &dir);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{}", told.stdout());
    let findings = findings(&told);
    for check in ["configuration", "backend", "state-directory", "sandbox", "inotify", "program"] {
        assert_eq!(of(&findings, check).len(), 1, "{check}: {findings:#?}");
    }
    assert_eq!(of(&findings, "backend")[0]["subject"], "local");
    assert!(!dir.path().join("state").exists());
    let table = doctor(&[], &dir);
    assert_eq!(table.code, 0);
    assert!(table.stdout().starts_with("STATUS"), "{}", table.stdout());
    assert!(table.stderr.contains("0 failed"), "{}", table.stderr);
    assert!(!table.stdout().contains('\x1b'), "no colours without a terminal");
}

#[test]
fn what_is_wrong_here_is_told_with_its_fix() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("longshore.toml");
    std::fs::write(&file, "[profiles.report.local]\ncommand = [\"no-such-program-at-all\"]\n").unwrap();
    let told = doctor(&["--config", file.to_str().unwrap()], &dir);
    assert_eq!(told.code, 1);
    assert!(
        told.stdout().contains("profile report: `no-such-program-at-all` is not on this machine\n    fix: "),
        "{}",
        told.stdout()
    );

    std::fs::write(&file, "lissten = 3\n").unwrap();
    let told = doctor(&["-o", "json", "--config", file.to_str().unwrap()], &dir);
    assert_eq!(told.code, 1);
    let findings = findings(&told);
    assert_eq!(
        (findings.len(), &findings[0]["check"], &findings[0]["status"]),
        (1, &json!("configuration"), &json!("failed"))
    );
    assert!(findings[0]["message"].as_str().unwrap().contains("did you mean `listen`"), "{findings:#?}");
}

#[test]
fn a_cluster_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody else gets this port while it is bound, and nobody listens on it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("https://{address}")}}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    let told = doctor(&["-o", "json", "--canary", "--kubeconfig", kubeconfig.to_str().unwrap()], &dir);
    assert_eq!(told.code, 1);
    let found = findings(&told);
    let [failed] = of(&found, "api-server")[..] else { panic!("{found:#?}") };
    assert_eq!(
        (failed["status"].as_str(), failed["subject"].as_str()),
        (Some("failed"), Some(&*format!("https://{address}")))
    );
    assert!(failed["message"].as_str().unwrap().contains("connection refused"), "{failed}");
    assert!(failed["fix"].as_str().unwrap().contains("--kubeconfig"), "{failed}");
    for check in ["clock", "rights", "namespace", "quota", "network-policy", "image"] {
        assert_eq!(of(&found, check)[0]["status"], "skipped", "{check}");
        assert!(of(&found, check)[0]["fix"].as_str().unwrap().contains("api-server"), "{check}");
    }

    let told = doctor(&["--kubeconfig", "/nonexistent"], &dir);
    assert_eq!(told.code, 1);
    assert!(told.stdout().contains("/nonexistent"), "{}", told.stdout());
}

#[test]
fn wrong_usage_is_not_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in [&["--canary-image", "i:1"][..], &["--nonsense"], &["-o", "yaml"]] {
        assert_eq!(doctor(wrong, &dir).code, 125, "{wrong:?}");
    }
}
