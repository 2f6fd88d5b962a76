//! `longshore doctor`, and the checks of a start: the executable, without a cluster.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use longshore::runtime::task;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::cli_client::{Printed, command, printed};
use crate::support::daemon::Daemon;
use crate::support::wait::until;

pub(crate) fn doctor(arguments: &[&str], dir: &TempDir) -> Printed {
    let mut command = command(&[&["doctor"], arguments].concat());
    for variable in ["CONFIG", "KUBECONFIG", "CONTEXT", "INSTANCE", "BACKEND", "STATE_DIR"] {
        command.env_remove(format!("LONGSHORE_{variable}"));
    }
    command
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("HOME", dir.path())
        .env("XDG_STATE_HOME", dir.path().join("state"));
    printed(command.output().unwrap())
}

/// Nobody else gets this port while it is bound, and nobody listens on it yet.
fn nobody_listens() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn kubeconfig(dir: &Path, server: &str) -> PathBuf {
    let path = dir.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

/// A configuration with TLS; the files are those of `write_certificate`.
fn configuration(dir: &Path) -> PathBuf {
    let path = dir.join("longshore.toml");
    let file = |name: &str| toml::Value::from(dir.join(name).to_str().unwrap());
    std::fs::write(&path, format!("[tls]\ncert_file = {}\nkey_file = {}\n", file("tls.crt"), file("tls.key"))).unwrap();
    path
}

/// A certificate that began and ends so many hours from now, and its key.
fn write_certificate(dir: &Path, began: u64, ends: u64) {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "short-lived");
    params.not_before = (SystemTime::now() - hours(began)).into();
    params.not_after = (SystemTime::now() + hours(ends)).into();
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
}

pub(crate) fn findings(printed: &Printed) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&printed.stdout).unwrap();
    report["findings"].as_array().unwrap().clone()
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

#[test]
fn this_machine_is_looked_at_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let printed = doctor(&["-o", "json"], &dir);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{}", printed.stdout());
    let findings = findings(&printed);
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
fn what_is_wrong_here_is_reported_with_its_fix() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("longshore.toml");
    std::fs::write(&file, "[profiles.report.local]\ncommand = [\"no-such-program-at-all\"]\n").unwrap();
    let printed = doctor(&["--config", file.to_str().unwrap()], &dir);
    assert_eq!(printed.code, 1);
    assert!(
        printed.stdout().contains("profile report: the program `no-such-program-at-all` is not found: ")
            && printed.stdout().contains("\n    fix: install it, or "),
        "{}",
        printed.stdout()
    );

    std::fs::write(&file, "lissten = 3\n").unwrap();
    let printed = doctor(&["-o", "json", "--config", file.to_str().unwrap()], &dir);
    assert_eq!(printed.code, 1);
    let findings = findings(&printed);
    assert_eq!(
        (findings.len(), &findings[0]["check"], &findings[0]["status"]),
        (1, &json!("configuration"), &json!("failed"))
    );
    assert!(findings[0]["message"].as_str().unwrap().contains("did you mean `listen`"), "{findings:#?}");
    assert_eq!(findings[0]["subject"], format!("{}:1", file.display()));

    std::fs::write(&file, "lissten = 3\n[limits]\nmax_user = \"x\"\ndefault_retention = \"soon\"\n").unwrap();
    let printed = doctor(&["--config", file.to_str().unwrap()], &dir);
    let table = printed.stdout();
    for (line, key) in [(1, "lissten"), (3, "limits.max_user"), (4, "limits.default_retention")] {
        let place = format!("{}:{line}: {key}: ", file.display());
        assert_eq!(table.matches(&place).count(), 1, "{place}: {table}");
    }
    assert_eq!(printed.stdout().matches("fix: ").count(), 1, "{table}");
}

#[test]
fn a_cluster_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, address) = nobody_listens();
    let kubeconfig = kubeconfig(dir.path(), &format!("https://{address}"));
    let printed = doctor(&["-o", "json", "--canary", "--kubeconfig", kubeconfig.to_str().unwrap()], &dir);
    assert_eq!(printed.code, 1);
    let found = findings(&printed);
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
    drop(socket);

    let printed = doctor(&["--kubeconfig", "/nonexistent"], &dir);
    assert_eq!(printed.code, 1);
    assert!(printed.stdout().contains("/nonexistent"), "{}", printed.stdout());
}

/// What `longshore serve` says that it does not start with.
fn refused_by_serve(arguments: &[&str], dir: &TempDir) -> String {
    let state = dir.path().join("state");
    let own = ["serve", "--backend", "local", "--state-dir", state.to_str().unwrap()];
    let mut command = command(&[&own, arguments].concat());
    let printed = printed(command.env_remove("LONGSHORE_CONFIG").output().unwrap());
    assert_eq!(printed.code, 125, "{arguments:?}: {}", printed.stderr);
    printed.stderr
}

#[test]
fn what_serve_refuses_the_doctor_finds() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let file = path("longshore.toml");
    let write = |text: String| std::fs::write(&file, text).unwrap();
    let policy = "[authorization]\nmode = \"policy\"\n";
    // Both refuse; the row of this check says the same words, and what to do.
    let judged = |arguments: &[&str], check: &str, word: &str, fix: &str| {
        let arguments = [&["--config", &file], arguments].concat();
        let serve = refused_by_serve(&arguments, &dir);
        assert!(serve.contains(word), "{word}: {serve}");
        let state = path("state");
        let printed =
            doctor(&[&["-o", "json", "--backend", "local", "--state-dir", &state], &arguments[..]].concat(), &dir);
        assert_eq!(printed.code, 1, "{word}: {}", printed.stdout());
        let found = findings(&printed);
        let failed: Vec<_> = found.iter().filter(|row| row["status"] == "failed").collect();
        let [row] = &failed[..] else { panic!("{word}: {failed:#?}") };
        assert_eq!(row["check"], check, "{row}");
        assert!(row["message"].as_str().unwrap().contains(word), "{row}");
        assert!(row["fix"].as_str().unwrap().contains(fix), "{row}");
    };

    write(String::new());
    let (open, everywhere) = (["--listen", "192.0.2.1:7420"], ["--listen", "0.0.0.0:0"]);
    judged(&open, "listen", "without authentication", "--insecure-no-auth");
    judged(&everywhere, "listen", "without authentication", "--insecure-no-auth");
    judged(
        &["--admin-listen", "127.0.0.1:7420"],
        "configuration",
        "is the address of `listen` already",
        "print-config",
    );

    let tokens = toml::Value::from(path("tokens.toml"));
    write(format!("{policy}[authentication]\ntoken_file = {tokens}\n"));
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "off"];
    judged(&free, "tokens", "No such file", "token create");
    std::fs::write(path("tokens.toml"), "[[tokens]]\nuser = 3\n").unwrap();
    judged(&free, "tokens", "line 2: expected [[tokens]]", "token create");
    write(format!("{policy}[authentication.token_review]\n"));
    judged(&free, "authentication", "authentication.token_review needs the kubernetes backend", "token_file");

    configuration(dir.path());
    write_certificate(dir.path(), 20, 1000);
    std::fs::write(path("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    judged(&free, "tls", "the key is not that of the certificate", "tls.cert_file");
    std::fs::remove_file(path("tls.key")).unwrap();
    judged(&free, "tls", "tls.key", "tls.cert_file");

    write(String::new());
    let state = dir.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    judged(&free, "state-directory", "writable by nobody else", "chmod go-w");
}

#[test]
fn wrong_usage_is_not_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in [&["--canary-image", "i:1"][..], &["--nonsense"], &["-o", "yaml"]] {
        assert_eq!(doctor(wrong, &dir).code, 125, "{wrong:?}");
    }
}

#[test]
fn certificates_are_where_the_daemon_is() {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path());
    let (_socket, address) = nobody_listens();
    let kubeconfig = kubeconfig(dir.path(), &format!("https://{address}"));
    let certificate = |arguments: &[&str]| {
        let printed = doctor(&[&["-o", "json", "--config", config.to_str().unwrap()], arguments].concat(), &dir);
        let findings = findings(&printed);
        let [found] = of(&findings, "certificate")[..] else { panic!("{findings:#?}") };
        (
            printed.code,
            found["status"].as_str().unwrap().to_owned(),
            found["fix"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let elsewhere = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    let (_, status, fix) = certificate(&elsewhere);
    assert_eq!(status, "skipped");
    assert!(fix.contains("exec deploy/longshore -- longshore doctor") && fix.contains("get secret"), "{fix}");
    let (code, status, _) = certificate(&["--backend", "local"]);
    assert_eq!((code, status.as_str()), (1, "failed"), "here it would not start");

    write_certificate(dir.path(), 20, 4);
    assert_eq!(certificate(&elsewhere).1, "warning");
    let (code, status, _) = certificate(&["--backend", "local"]);
    assert_eq!((code, status.as_str()), (0, "warning"));
}

/// A daemon and its files.
async fn start(dir: &TempDir, backend: &str, flags: &[&str]) -> Daemon {
    let state = dir.path().join("state");
    let mut args = vec!["--backend", backend, "--listen", "127.0.0.1:0", "--admin-listen", "off"];
    args.extend(["--log-format", "json", "--state-dir", state.to_str().unwrap()]);
    Daemon::start(args.iter().chain(flags).map(OsString::from)).await
}

/// The first line of this daemon's log that is looked for, once it is there.
async fn line(daemon: &Daemon, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    until(what, async || {
        let output = daemon.output();
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).find(&is_it)
    })
    .await
}

fn is_passed(line: &Value) -> bool {
    line["message"] == "self-checks passed"
}

#[tokio::test]
async fn a_start_looks_at_the_certificate_on_every_backend() {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path());
    let flags = ["--config", config.to_str().unwrap()];
    write_certificate(dir.path(), 20, 100);
    let daemon = start(&dir, "local", &flags).await;
    let passed = line(&daemon, "the checks to pass", is_passed).await;
    assert_eq!((&passed["checks"], &passed["skipped"]), (&json!(1), &json!(0)));
    drop(daemon);

    write_certificate(dir.path(), 20, 4);
    let daemon = start(&dir, "local", &flags).await;
    let printed = line(&daemon, "the certificate's end", |line| line["check"] == "certificate").await;
    assert_eq!(printed["level"], "WARN", "{printed}");
    assert!(printed["message"].as_str().unwrap().starts_with("short-lived: valid until"), "{printed}");
}

/// Answers as an API server that knows its version, gives no rights and has nothing else.
async fn serve_api(mut connection: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    // A byte at a time: the body, if there is one, begins behind the empty line.
    while !request.ends_with(b"\r\n\r\n") {
        request.push(connection.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = request.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    connection.read_exact(&mut body).await?;
    let (code, answer) = match request.split(' ').nth(1).unwrap_or_default() {
        "/version" => (
            200,
            json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
        ),
        path if path.contains("selfsubjectaccessreviews") => {
            (201, json!({"metadata": {}, "spec": {}, "status": {"allowed": false}}))
        }
        path => {
            let message = format!("{path} is forbidden");
            (
                403,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": message}),
            )
        }
    };
    let answer = answer.to_string();
    let length = answer.len();
    let head = "Content-Type: application/json\r\nConnection: close";
    let answer = format!("HTTP/1.1 {code} X\r\n{head}\r\nContent-Length: {length}\r\n\r\n{answer}");
    connection.write_all(answer.as_bytes()).await
}

#[tokio::test]
async fn a_start_asks_again_until_the_cluster_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, address) = nobody_listens();
    let kubeconfig = kubeconfig(dir.path(), &format!("http://{address}"));
    let daemon = start(&dir, "kubernetes", &["--kubeconfig", kubeconfig.to_str().unwrap()]).await;
    let away = line(&daemon, "the cluster to be missed", |line| line["check"] == "api-server").await;
    assert!(away["message"].as_str().unwrap().contains("connection refused"), "{away}");
    let skipped = line(&daemon, "what is skipped", |line| line["check"] == "rights").await;
    assert_eq!(skipped["level"], "INFO", "{skipped}");
    assert!(skipped["message"].as_str().unwrap().starts_with("skipped: "), "{skipped}");

    let listener = socket.listen(64).unwrap();
    let serving = task::spawn("api", async move {
        while let Ok((connection, _)) = listener.accept().await {
            task::spawn("api-call", serve_api(connection));
        }
    });
    let is_missing = |line: &Value| line["check"] == "rights" && line["subject"] == "jobs create in longshore-runs";
    let missing = line(&daemon, "rights to be asked", is_missing).await;
    assert_eq!(missing["level"], "ERROR", "{missing}");
    // These credentials may not read it, which is an answer.
    let quota =
        line(&daemon, "quotas to be asked", |line| line["check"] == "quota" && line["subject"] == "longshore-runs");
    assert_eq!(quota.await["level"], "INFO");
    assert!(!daemon.output().contains("self-checks passed"), "{}", daemon.output());
    serving.abort();
}
