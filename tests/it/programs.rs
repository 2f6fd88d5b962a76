//! Programs of profiles that can't be executed, as a newcomer has them: the doctor names each with
//! the way out, and so does the run that fails of it. What the doctor proposes helps.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use longshore::proto::v1::{FailureClass, FailureReason, GetServerInfoRequest, ResultState, Run, RunState};
use serde_json::Value;
use tempfile::TempDir;

use crate::doctor::{doctor, findings};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::spec::runner;
use crate::support::wait::until;

/// A directory as somebody has one at home, with a configuration in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(TempDir::with_prefix("longshore-it-").unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        // Links resolved, as the server says it.
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn configure(&self, text: &str) {
        self.write("longshore.toml", text, 0o644);
    }

    /// What the doctor finds about each profile: name, status, message, fix.
    fn doctor(&self) -> Vec<(String, String, String, String)> {
        let config = self.at("longshore.toml");
        let printed = doctor(&["-o", "json", "--backend", "local", "--config", config.to_str().unwrap()], &self.0);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of_profile = |finding: &Value| {
            let profile = finding["subject"].as_str()?.strip_prefix("profile ")?.to_owned();
            Some((profile, text(&finding["status"]), text(&finding["message"]), text(&finding["fix"])))
        };
        findings(&printed).iter().filter_map(of_profile).collect()
    }

    async fn serve(&self) -> Daemon {
        let mut args: Vec<OsString> =
            ["--backend", "local", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--log-format", "json"]
                .map(OsString::from)
                .to_vec();
        args.extend(["--state-dir".into(), self.at("state").into_os_string()]);
        args.extend(["--config".into(), self.at("longshore.toml").into_os_string()]);
        Daemon::start(args).await
    }
}

/// Whether runs are isolated there.
async fn is_sandboxed(client: &Client) -> bool {
    let info = client.server.clone().get_server_info(GetServerInfoRequest {}).await.unwrap().into_inner();
    info.isolation.is_some_and(|isolation| isolation.kind == "bwrap")
}

#[track_caller]
fn assert_names(run: &Run, parts: [&str; 2]) {
    assert_eq!(run.state(), RunState::Failed, "{run:?}");
    let failure = run.failure.as_ref().expect("a failure");
    assert_eq!(
        (failure.reason(), failure.failure_class()),
        (FailureReason::ConfigError, FailureClass::Platform),
        "{failure:?}"
    );
    for part in parts {
        assert!(failure.message.contains(part), "{part} is not in {failure:?}");
    }
    assert!(!failure.message.contains("image") && !failure.message.contains("container"), "{failure:?}");
}

/// Profile, command, what is wrong, the way out.
const BROKEN: [(&str, &str, &str, &str); 7] = [
    ("missing", "no-such-program", "in any directory of PATH", "install it"),
    ("no-bit", "bin/no-bit", "has no execute permission", "chmod +x "),
    ("no-line", "bin/no-line", "is a text file without a `#!` line", "#!/usr/bin/env python3"),
    ("crlf", "bin/crlf", "ends in CR LF", "sed -i"),
    ("interpreter", "bin/interpreter", "the interpreter `/no/such/python`", "install it"),
    ("env", "bin/env", "`no-such-python`, which is to execute", "install it"),
    ("directory", "bin/", "is a directory", "name a file"),
];

async fn broken_programs_are_named(bwrap: &str) {
    let home = Home::new();
    home.write("bin/no-bit", "#!/bin/sh\n", 0o644);
    home.write("bin/no-line", "print('hello')\n", 0o755);
    home.write("bin/crlf", "#!/bin/sh\r\necho\r\n", 0o755);
    home.write("bin/interpreter", "#!/no/such/python\n", 0o755);
    home.write("bin/env", "#!/usr/bin/env no-such-python\n", 0o755);
    home.write("bin/fine", "#!/bin/sh\necho it runs\n", 0o755);
    let profile = |(name, command): (&str, &str)| format!("[profiles.{name}.local]\ncommand = [\"{command}\"]\n");
    let commands = BROKEN.map(|(name, command, ..)| (name, command)).into_iter().chain([("fine", "bin/fine")]);
    home.configure(&format!("[local]\nbwrap = \"{bwrap}\"\n{}", commands.map(profile).collect::<String>()));
    let found = home.doctor();
    let daemon = home.serve().await;
    let client = daemon.client().ready().await;
    if bwrap == "auto" && !is_sandboxed(&client).await {
        eprintln!("skipped: bwrap does not work here");
        return;
    }
    for (name, _, what, fix) in BROKEN {
        let of_profile: Vec<_> = found.iter().filter(|finding| finding.0 == name).collect();
        let [(_, status, message, way_out)] = of_profile[..] else { panic!("{name}: {found:?}") };
        assert_eq!(status, "failed", "{name}");
        assert!(message.contains(what) && way_out.contains(fix), "{name}: {message} | {way_out}");
        assert_names(&client.run(runner(name)).await, [what, fix]);
    }
    // The log says so from the start.
    until("the checks of the start", async || {
        let log = daemon.output();
        let is_named = |name: &str| log.contains(&format!("\"subject\":\"profile {name}\""));
        BROKEN.iter().all(|(name, ..)| is_named(name)).then_some(())
    })
    .await;
    assert!(!daemon.output().contains("\"subject\":\"profile fine\""));
    // Named by a path from the configuration file's directory.
    let run = client.run(runner("fine")).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    assert_eq!(client.logs(&run.name).await.text(), "it runs\n");
    assert!(found.iter().any(|(name, status, ..)| name == "fine" && status == "ok"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_programs_are_named_without_a_sandbox() {
    broken_programs_are_named("off").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_programs_are_named_in_a_sandbox() {
    broken_programs_are_named("auto").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_environment_at_home_runs_once_it_is_mounted_as_the_doctor_says() {
    let home = Home::new();
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(home.at("venv")).output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: python3 cannot make virtual environments here");
        return;
    }
    let lib = std::fs::read_dir(home.at("venv/lib")).unwrap().next().unwrap().unwrap().file_name();
    home.write(&format!("venv/lib/{}/site-packages/greeting.py", lib.display()), "TEXT = 'hello'\n", 0o644);
    let report = "import json, os, greeting, helper\nopen(os.environ['LONGSHORE_RESULT'], 'w').write(json.dumps(helper.made(greeting.TEXT)))\n";
    home.write("app/report.py", report, 0o644);
    home.write("app/helper.py", "def made(text):\n    return {'text': text}\n", 0o644);
    let script = home.at("app/report.py").display().to_string();
    let profile = |mounts: &str| {
        let command = format!("command = [\"venv/bin/python\", \"{script}\"]\n{mounts}");
        home.configure(&format!(
            "[profiles.report.local]\n{command}\n[profiles.report.defaults]\nresult = \"required\"\n"
        ));
    };
    profile("");
    let found = home.doctor();
    let daemon = home.serve().await;
    let client = daemon.client().ready().await;
    if !is_sandboxed(&client).await {
        eprintln!("skipped: bwrap does not work here");
        return;
    }
    let what = "is part of the virtual environment";
    let Some((.., fix)) = found.iter().find(|finding| finding.0 == "report" && finding.2.contains(what)) else {
        panic!("{found:?}")
    };
    assert_names(&client.run(runner("report")).await, [what, fix]);
    drop(daemon);

    let proposed = fix.split_once("mounts = [").and_then(|(_, list)| list.strip_suffix(']')).expect("the line to add");
    profile(&format!("mounts = [{proposed}, \"app\"]"));
    let found = home.doctor();
    assert!(found.iter().filter(|finding| finding.0 == "report").all(|finding| finding.1 == "ok"), "{found:?}");
    let daemon = home.serve().await;
    let client = daemon.client().ready().await;
    let run = client.run(runner("report")).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}\n{}", client.logs(&run.name).await.text());
    let result = run.result.expect("a result");
    assert_eq!((result.state(), result.json.as_str()), (ResultState::Found, r#"{"text":"hello"}"#));
}
