//! What comes in besides calls, and what goes out besides answers: signals, open files, lines of the log.

use std::collections::BTreeSet;

use longshore::domain::run::rundir::{CHILD, ProcessIdentity, SHIM};
use longshore::proto::v1::{CancelRunRequest, GetRunRequest, ResultMode, ResultScan, RunSpec, SubmitRunRequest};
use rustix::process::Signal;

use crate::fixture::{Local, script};
use crate::support::client::{Client, follow, submit_request};
use crate::support::daemon::Daemon;
use crate::support::spec::{env, result_rule};
use crate::support::strict::Strict;
use crate::support::wait::until;

/// What would be a line of its own, end a terminal's colour, or turn what follows around.
pub(crate) const NASTY: &str =
    "x\n{\"level\":\"ERROR\",\"message\":\"made up\"}\r\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\u{7f}";

/// Fails unless each line is an object of its own, of the daemon's making.
pub(crate) fn assert_strict(output: &str) {
    for line in output.lines() {
        assert!(!line.chars().any(|c| c.is_control() || "\u{202e}\u{2028}".contains(c)), "{line:?}");
        serde_json::from_str::<Strict>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line.starts_with("{\"timestamp\":"), "{line}");
    }
}

#[tokio::test]
async fn no_text_from_outside_makes_a_log_line_and_no_result_is_in_one() {
    let mut local = Local::start_logging("trace", ["--admin-listen", "off"]).await;
    let client = local.client().await;
    let secret = "9f8e7d6c";
    let spec = RunSpec {
        result: result_rule(ResultMode::Required, ResultScan::LastObject),
        env: vec![env("SCRIPT", &format!("printf '{{\"key\":\"%s\"}}\\n' {secret}"))],
        ..script("")
    };
    client.run(spec.clone()).await;
    // One that is kept beside the record.
    let large = format!("printf '{{\"key\":\"{secret}'; head -c 100000 /dev/zero | tr '\\0' {secret}; echo '\"}}'");
    client.run(RunSpec { env: vec![env("SCRIPT", &large)], ..spec }).await;
    let name = client.submit(script("gate never")).await.name;
    let request = CancelRunRequest { name: name.clone(), reason: NASTY.to_owned(), ..CancelRunRequest::default() };
    drop(client.runs.clone().cancel_run(request).await);
    client.cancel(&name, "made up\nby hand").await;
    client.wait_terminal(&name).await;
    for text in [NASTY, "namespaces/default/runs/\n"] {
        drop(client.try_get(text).await.expect_err("no name"));
        let named = SubmitRunRequest { run_id: text.to_owned(), ..submit_request(script("")) };
        client.try_submit(named).await.expect_err("no id");
        let spec = RunSpec { env: vec![env(text, text)], ..script("") };
        client.try_submit(submit_request(spec)).await.expect_err("no variable");
        let request = GetRunRequest { name: text.to_owned(), ..GetRunRequest::default() };
        drop(client.runs.clone().get_run(request).await);
    }
    local.daemon.terminate();
    local.daemon.ended().await;

    let output = local.daemon.output();
    assert!(output.lines().count() > 100, "all that is logged is looked at");
    assert_strict(&output);
    assert!(!output.contains(secret), "a result is in the log");
}

#[tokio::test]
async fn no_error_names_a_file_of_the_servers_machine() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.run(script("echo out")).await.name;
    let log = local.run_dir(&name).join(longshore::domain::run::rundir::LOG);
    // Neither a log nor nothing: reading it fails.
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    let mut printed = Vec::new();
    if let Ok(mut events) = client.runs.clone().stream_logs(follow(&name)).await.map(tonic::Response::into_inner) {
        loop {
            match events.message().await {
                Ok(Some(event)) => printed.push(format!("{event:?}")),
                Ok(None) => break,
                Err(status) => {
                    printed.push(format!("{status:?} {}", String::from_utf8_lossy(status.details())));
                    break;
                }
            }
        }
    }
    let state = local.state();
    let state = state.to_str().unwrap();
    assert!(!printed.is_empty() && !printed.iter().any(|text| text.contains(state)), "{printed:?}");
}

#[tokio::test]
async fn a_signal_reloads_or_drains_and_never_just_kills() {
    for end in [Signal::QUIT, Signal::INT] {
        let mut local = Local::start().await;
        let client = local.client().await;
        let name = client.submit(script("echo 1; gate go")).await.name;
        let mut log = client.open_logs(follow(&name)).await;
        log.until("1\n").await;
        for (signal, word) in [
            (Signal::HUP, "reading tokens and certificates again"),
            (Signal::USR1, "SIGUSR1"),
            (Signal::USR2, "SIGUSR2"),
        ] {
            local.daemon.signal(signal);
            until(word, async || local.daemon.output().contains(word).then_some(())).await;
        }
        assert!(client.try_get(&name).await.is_ok(), "it goes on");
        local.daemon.signal(end);
        let first = log.rest().await;
        assert!(matches!(first.closing, Some(crate::support::logs::Closing::Reconnect(_))), "{:?}", first.closing);
        let status = local.daemon.ended().await;
        assert!(status.success(), "{status:?}");
        local.open("go");
        local.daemon.revive().await;
        local.client().await.wait_terminal(&name).await;
    }
}

/// The sockets that a process has open.
fn sockets(pid: i32) -> BTreeSet<String> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets.map(|path| path.display().to_string()).filter(|path| path.starts_with("socket:")).collect()
}

#[tokio::test]
async fn neither_a_shim_nor_a_program_holds_the_daemons_sockets() {
    let mut local = Local::start().await;
    let client: Client = local.client().await;
    let names = [client.submit(script("gate never")).await.name, client.submit(script("gate never")).await.name];
    let own = sockets(local.daemon.pid().as_raw_nonzero().get());
    assert!(own.len() > 1, "a listener and a connection: {own:?}");
    for name in &names {
        for file in [SHIM, CHILD] {
            let path = local.run_dir(name).join(file);
            let text = until("its process to be known", async || std::fs::read(&path).ok()).await;
            let process: ProcessIdentity = serde_json::from_slice(&text).unwrap();
            let inherited: Vec<_> = sockets(process.pid).intersection(&own).cloned().collect();
            assert!(inherited.is_empty(), "{file}: {inherited:?}");
        }
    }
    // So the port is free as soon as the daemon is gone, whatever goes on running.
    let address = local.daemon.address();
    local.daemon.kill().await;
    drop(std::net::TcpListener::bind(address).expect("nobody has the port"));
    local.daemon.revive().await;
    local.finish().await;
}

#[tokio::test]
async fn localhost_is_an_address() {
    let dir = tempfile::TempDir::with_prefix("longshore-door-").unwrap();
    let mut args: Vec<std::ffi::OsString> = ["--backend", "local", "--log-format", "json"].map(Into::into).to_vec();
    args.extend(["--listen", "localhost:0", "--admin-listen", "localhost:0", "--state-dir"].map(Into::into));
    args.push(dir.path().join("state").into());
    let daemon = Daemon::start(args).await;
    assert!(daemon.address().ip().is_loopback() && daemon.admin().ip().is_loopback());
}
