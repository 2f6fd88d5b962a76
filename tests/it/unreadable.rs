//! What can't be looked at is neither dead nor gone: runs keep their state, and are reported with the cause.

use std::path::Path;

use longshore::domain::run::rundir::{self, ProcessIdentity};
use longshore::proto::v1::{
    FailureReason, ListRunsRequest, LogEndReason, LogGapCause, Run, RunSpec, RunState, StreamLogsRequest,
};
use longshore::sys::{Probe, Sys};
use tonic::Code;

use crate::doctor::{doctor, findings};
use crate::fixture::{Local, script};
use crate::support::client::{Client, DEFAULT, follow};
use crate::support::logs::Closing;
use crate::support::spec::seconds;
use crate::support::wait::until;

/// So few that nothing more can be opened. What is open stays so.
const NONE: Option<u64> = Some(3);

async fn list(client: &Client) -> Vec<Run> {
    let request = ListRunsRequest { parent: DEFAULT.to_owned(), ..ListRunsRequest::default() };
    client.runs.clone().list_runs(request).await.expect("ListRuns").into_inner().runs
}

#[tokio::test]
async fn a_daemon_without_files_loses_no_run_and_kills_none() {
    let local = Local::start().await;
    let client = local.client().await;
    let mut names = Vec::new();
    for number in 0..12 {
        let text = format!("mark {number}; gate {}; echo done", if number == 0 { "first" } else { "rest" });
        names.push(client.submit(script(&text)).await.name);
    }
    for name in &names {
        client.wait_state(name, RunState::Running).await;
    }
    let limit = local.daemon.limit_files(NONE);
    let first = local.run_dir(&names[0]);
    local.open("first");
    until("the first run's end", async || first.join(rundir::EXIT).exists().then_some(())).await;
    // Every run is looked at in vain, more than once, and says so.
    for name in &names {
        let said = client.wait_until(name, "to be unknown", |run| run.message.contains("can't be read")).await;
        assert!(said.message.contains("Too many open files"), "{said:?}");
        assert!(matches!(said.state(), RunState::Running | RunState::Finishing), "{said:?}");
    }
    assert_eq!(list(&client).await.len(), names.len());
    local.daemon.limit_files(limit);
    let run = client.wait_terminal(&names[0]).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    for name in &names[1..] {
        client.wait_until(name, "to be known again", |run| !run.message.contains("can't be read")).await;
        assert_eq!(client.get(name).await.state(), RunState::Running);
    }
    local.open("rest");
    for name in &names {
        let run = client.wait_terminal(name).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        assert_eq!(client.logs(name).await.text(), "done\n");
    }
}

#[tokio::test]
async fn what_vanishes_while_the_watch_is_broken_is_gone_when_it_heals() {
    let local = Local::start().await;
    let client = local.client().await;
    let gone = client.run(script("echo gone")).await.name;
    let kept = client.run(script("echo kept")).await.name;
    let limit = local.daemon.limit_files(NONE);
    until("the watch to break", async || local.daemon.output().contains("the backend watch failed").then_some(()))
        .await;
    std::fs::remove_dir_all(local.run_dir(&gone)).unwrap();
    assert_eq!(list(&client).await.len(), 2, "nothing is gone because it can't be read");
    local.daemon.limit_files(limit);
    until("the run to be gone", async || (list(&client).await.len() == 1).then_some(())).await;
    assert_eq!(client.try_get(&gone).await.expect_err("it is gone").code(), Code::NotFound);
    assert_eq!(client.get(&kept).await.state(), RunState::Succeeded);
}

/// Puts something in place of a file.
type Break = fn(&Path);

fn garbage(path: &Path) {
    std::fs::write(path, "{\"version\":").unwrap();
}

fn fifo(path: &Path) {
    std::fs::remove_file(path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

fn link(path: &Path) {
    std::fs::rename(path, path.with_extension("away")).unwrap();
    std::os::unix::fs::symlink(path.with_extension("away"), path).unwrap();
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_run_with_one_unreadable_file_is_still_there() {
    let mut local = Local::start_with(["--admin-listen", "127.0.0.1:0"]).await;
    let client = local.client().await;
    let cases: [(&str, Break, RunState); 7] = [
        (rundir::SPEC, garbage, RunState::Succeeded),
        (rundir::SPEC, fifo, RunState::Succeeded),
        (rundir::SPEC, link, RunState::Succeeded),
        (rundir::SPEC, remove, RunState::Succeeded),
        (rundir::EXIT, fifo, RunState::Succeeded),
        (rundir::RECORD, garbage, RunState::Finishing),
        (rundir::RECORD, fifo, RunState::Finishing),
    ];
    let mut names = Vec::new();
    for _ in &cases {
        names.push(client.submit(script("echo printed")).await.name);
    }
    for name in &names {
        client.wait_settled(name).await;
    }
    local.daemon.kill().await;
    for ((file, replace, _), name) in cases.iter().zip(&names) {
        replace(&local.run_dir(name).join(file));
        // What stands there as well would do.
        let _ = std::fs::remove_file(local.run_dir(name).join(rundir::SUMMARY));
    }
    doctor_names(&local, &names);
    local.daemon.revive().await;

    // It is ready, and leaves none out.
    let client = local.client().await;
    assert_eq!(list(&client).await.len(), names.len());
    crate::metrics::value(&local, "local_unreadable_runs", 7.0).await;
    for ((file, _, state), name) in cases.iter().zip(&names) {
        let run = client.get(name).await;
        assert_eq!(run.state(), *state, "{file}: {run:?}");
        if *state == RunState::Finishing {
            assert!(run.message.contains(&format!("`{file}`")), "{run:?}");
        }
        // Anyone who follows waits for the end, which for some of these does not come.
        let request = StreamLogsRequest { follow: false, ..follow(name) };
        assert_eq!(client.read_logs(request).await.text(), "printed\n", "{file}");
        client.delete(name).await.expect("DeleteRun");
        assert_eq!(client.try_get(name).await.expect_err("it is deleted").code(), Code::NotFound);
        assert!(!local.run_dir(name).exists());
    }
    crate::metrics::value(&local, "local_unreadable_runs", 0.0).await;
}

/// `longshore doctor` names each of these runs, and the way out.
fn doctor_names(local: &Local, runs: &[String]) {
    let state = local.state();
    let elsewhere = tempfile::tempdir().unwrap();
    let arguments = ["--backend", "local", "--state-dir", state.to_str().unwrap(), "-o", "json"];
    let findings = findings(&doctor(&arguments, &elsewhere));
    for name in runs {
        let id = name.rsplit('/').next().unwrap();
        let is_its = |finding: &&serde_json::Value| {
            finding["check"] == "runs" && finding["subject"].as_str().is_some_and(|subject| subject.ends_with(id))
        };
        let finding = findings.iter().find(is_its).unwrap_or_else(|| panic!("{name}: {findings:#?}"));
        let fix = finding["fix"].as_str().unwrap_or_default();
        assert!(finding["status"] == "warning" && fix.ends_with(&format!("longshore rm {id}")), "{finding}");
    }
}

#[tokio::test]
async fn a_finished_run_stands_in_one_file_and_in_its_others() {
    let mut local = Local::start_with(["--admin-listen", "127.0.0.1:0"]).await;
    let client = local.client().await;
    let names = [client.run(script("echo a; exit 3")).await.name, client.run(script("echo b; exit 3")).await.name];
    let mut before = Vec::new();
    for name in &names {
        before.push(client.wait_settled(name).await);
        let summary = local.run_dir(name).join(rundir::SUMMARY);
        until("its summary", async || summary.exists().then_some(())).await;
    }
    local.daemon.kill().await;
    for file in [rundir::SPEC, rundir::EXIT, rundir::RECORD, rundir::RELEASED] {
        garbage(&local.run_dir(&names[0]).join(file));
    }
    let summary = local.run_dir(&names[1]).join(rundir::SUMMARY);
    let text = std::fs::read_to_string(&summary).unwrap();
    garbage(&summary);
    local.daemon.revive().await;
    let client = local.client().await;
    crate::metrics::value(&local, "local_unreadable_runs", 0.0).await;
    for (name, before) in names.iter().zip(&before) {
        let run = client.get(name).await;
        assert_eq!((&run.etag, run.exit_code), (&before.etag, Some(3)), "{run:?}");
        assert_eq!(client.logs(name).await.text().len(), 2);
    }
    let again = || serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(&summary).ok()?).ok();
    let mut again = until("it to be made again", async || again()).await;
    let mut first: serde_json::Value = serde_json::from_str(&text).unwrap();
    // The file itself takes room, too.
    for summary in [&mut again, &mut first] {
        summary.as_object_mut().unwrap().remove("bytes");
    }
    assert_eq!(again, first);
}

#[tokio::test]
async fn a_live_run_whose_files_break_goes_on_and_ends_as_it_does() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let known = client.submit(script("mark known; gate go; exit 3")).await.name;
    let stopped = client.submit(script("trap 'exit 4' TERM; mark stopped; gate never")).await.name;
    local.marked("known").await;
    local.marked("stopped").await;
    client.wait_state(&known, RunState::Running).await;
    client.wait_state(&stopped, RunState::Running).await;
    // What was read before is known; what nobody can read is written anew.
    garbage(&local.run_dir(&known).join(rundir::SPEC));
    std::fs::write(local.run_dir(&stopped).join(rundir::STOP), "?").unwrap();
    local.open("go");
    let run = client.wait_terminal(&known).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(3)), "{run:?}");
    local.daemon.kill().await;
    local.daemon.revive().await;
    let client = local.client().await;
    let run = client.get(&known).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(3)), "{run:?}");
    client.cancel(&stopped, "enough").await;
    let run = client.wait_terminal(&stopped).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Cancelled, Some(4)), "{run:?}");
}

#[tokio::test]
async fn a_run_whose_end_nobody_can_read_is_let_go_of() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let run = client.run(script("echo printed")).await;
    client.wait_settled(&run.name).await;
    local.daemon.kill().await;
    for file in [rundir::EXIT, rundir::RECORD, rundir::RELEASED] {
        garbage(&local.run_dir(&run.name).join(file));
    }
    let _ = std::fs::remove_file(local.run_dir(&run.name).join(rundir::SUMMARY));
    local.daemon.revive().await;
    let client = local.client().await;
    let name = &run.name;
    let said = client.wait_until(name, "its message", |run| run.message.contains("`exit.json`")).await;
    assert_eq!((said.state(), said.uid.as_str()), (RunState::Finishing, run.uid.as_str()));
    let released = local.run_dir(name).join(rundir::RELEASED);
    let text = || std::fs::read_to_string(&released).unwrap();
    until("its retention to begin", async || text().contains("expire_time").then_some(())).await;
    // Anyone who follows does not wait for an end that nobody can read.
    let logs = client.read_logs(follow(name)).await;
    assert_eq!((logs.text().as_str(), logs.closing), ("printed\n", Some(Closing::End(LogEndReason::RunFinished))));
    assert!(logs.gaps.iter().any(|gap| gap.cause() == LogGapCause::Unreadable), "{:?}", logs.gaps);
}

#[tokio::test]
async fn a_stopped_shim_keeps_no_run_alive() {
    let local = Local::start().await;
    let client = local.client().await;
    let text = |mark: &str| format!("trap '' TERM; sh -c 'setsid sleep 600' & mark {mark}; gate never");
    let cancelled = RunSpec { termination_grace: seconds(1), ..script(&text("cancelled")) };
    let overrun = RunSpec { run_timeout: seconds(1), termination_grace: seconds(1), ..script(&text("overrun")) };
    let cancelled = client.submit(cancelled).await.name;
    local.marked("cancelled").await;
    client.wait_state(&cancelled, RunState::Running).await;
    let shim = process(&local, &cancelled, rundir::SHIM).await;
    stop(&shim);
    let program = process(&local, &cancelled, rundir::CHILD).await;
    client.cancel(&cancelled, "enough").await;

    let overrun = client.submit(overrun).await.name;
    let late = process(&local, &overrun, rundir::CHILD).await;
    stop(&process(&local, &overrun, rundir::SHIM).await);

    let run = client.wait_terminal(&cancelled).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Cancelled, Some(137)), "{run:?}");
    let run = client.wait_terminal(&overrun).await;
    assert_eq!(run.failure.as_ref().map(|failure| failure.reason()), Some(FailureReason::RunDeadline), "{run:?}");
    for gone in [&shim, &program, &late] {
        assert_eq!(Sys::default().look_at_process(gone), Probe::Gone);
    }
}

/// The process that a file of a run names.
async fn process(local: &Local, name: &str, file: &str) -> ProcessIdentity {
    let path = local.run_dir(name).join(file);
    until(&format!("{file} of {name}"), async || serde_json::from_slice(&std::fs::read(&path).ok()?).ok()).await
}

fn stop(process: &ProcessIdentity) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(process.pid).unwrap(), rustix::process::Signal::STOP)
        .unwrap();
}
