//! Backend `local` with real processes: the contract, with and without a sandbox, and what only
//! this backend can be asked.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "all of this is tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use longshore::backend::local::{self, DEFAULT_PATH, LocalConfig, LocalMetrics, Room};
use longshore::backend::{Backend, BackendError, Created, Launch, LogItem, LogOptions, LogSource};
use longshore::domain::name::NamespaceName;
use longshore::domain::run::facts::{AttemptPhase, FactsEvent, MainFacts, RunFacts};
use longshore::domain::run::plan::Action;
use longshore::domain::run::profile::{InputDelivery, LocalProfile, Program};
use longshore::domain::run::rundir::{self, ProcessIdentity};
use longshore::domain::run::spec::Input;

use crate::contract::{Subject, is_over, is_running, stop};

/// How large a log may become here.
const LOG_MAX: u64 = 4 << 20;

async fn open(root: &Path, sandbox: bool) -> Backend {
    open_with(root, env!("CARGO_BIN_EXE_longshore"), sandbox).await
}

/// A backend that can start no shim: what it creates is as a crash just after the creation leaves it.
async fn subject_without_shims() -> (Subject, PathBuf) {
    let (subject, root) = subject(false).await;
    let Subject { backend, namespace, suffix, program, _guard } = subject;
    drop(backend);
    let backend = open_with(&root, "/no/such/longshore", false).await;
    (Subject { backend, namespace, suffix, program, _guard }, root)
}

/// The same directory with a backend that works.
async fn reopened(subject: Subject, root: &Path) -> Subject {
    let Subject { backend, namespace, suffix, program, _guard } = subject;
    drop(backend);
    Subject { backend: open(root, false).await, namespace, suffix, program, _guard }
}

pub(crate) async fn open_with(root: &Path, executable: &str, sandbox: bool) -> Backend {
    open_config(config(root, executable, sandbox)).await
}

pub(crate) fn config(root: &Path, executable: &str, sandbox: bool) -> LocalConfig {
    let path = format!("{DEFAULT_PATH}:{}", std::env::var("PATH").unwrap_or_default());
    let executable = PathBuf::from(executable);
    LocalConfig {
        root: root.to_owned(),
        executable,
        enter: PathBuf::from(env!("CARGO_BIN_EXE_longshore")),
        path,
        volumes: BTreeMap::new(),
        sandbox,
        log_max_bytes: LOG_MAX,
        max_processes: local::DEFAULT_MAX_PROCESSES,
        max_concurrent_runs: 1000,
        room: Room::default(),
    }
}

pub(crate) async fn open_config(config: LocalConfig) -> Backend {
    // What served the directory before may not have ended yet.
    for _ in 0..3000 {
        match local::open(config.clone(), LocalMetrics::default()).await {
            Err(BackendError::Rejected { message, .. }) if message.contains("another daemon") => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("the directory stays locked")
}

async fn subject(sandbox: bool) -> (Subject, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    // Not the temporary directory itself: the backend is to make its own.
    let root = dir.path().join("state");
    let backend = open(&root, sandbox).await;
    let program = |script: &str| {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        Program::Process(LocalProfile { command, ..LocalProfile::default() })
    };
    let namespace = NamespaceName::default_namespace();
    (Subject { backend, namespace, suffix: String::new(), program, _guard: Box::new(dir) }, root)
}

/// `None` where `bwrap` is not installed, or not allowed to work.
async fn sandboxed() -> Option<Subject> {
    let (subject, _) = subject(true).await;
    if subject.backend.capabilities.isolation == "bwrap" {
        return Some(subject);
    }
    eprintln!("skipped: {:?}", subject.backend.capabilities.notes);
    None
}

mod process {
    async fn plain() -> Option<crate::contract::Subject> {
        Some(super::subject(false).await.0)
    }

    crate::contract::contract_tests!(plain);
}

mod bwrap {
    crate::contract::contract_tests!(super::sandboxed);
}

fn shim_of(root: &Path, facts: &RunFacts) -> ProcessIdentity {
    let path = root.join("default").join(facts.name.run.as_str()).join(rundir::SHIM);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn alive(pid: i32) -> bool {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.state != 'Z')
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_is_a_lost_run_and_its_program_is_ended() {
    let (subject, root) = subject(false).await;
    let launch = subject.launch("lost", "echo $$; exec sleep 600");
    let mut watch = subject.watch();
    subject.create(&launch).await;
    let running = watch.until(&launch.name, "running", is_running).await;
    let dir = root.join("default/lost");
    wait_until("the program is known", || dir.join(rundir::CHILD).exists()).await;
    let child: ProcessIdentity = serde_json::from_slice(&std::fs::read(dir.join(rundir::CHILD)).unwrap()).unwrap();
    kill(shim_of(&root, &running).pid);
    let lost = watch.until(&launch.name, "lost", is_over).await;
    let attempt = lost.last_attempt().unwrap();
    assert_eq!(attempt.phase, AttemptPhase::Gone);
    assert!(matches!(attempt.main, MainFacts::Running { .. }));
    wait_until("the program has ended", || !alive(child.pid)).await;
    // Its output may lack its end, and says so.
    let source = LogSource {
        run: lost.name.clone(),
        run_uid: lost.uid.clone(),
        attempt: 1,
        attempt_uid: String::new(),
        pod: String::new(),
        container: "run".to_owned(),
    };
    let options = LogOptions { from: None, follow: true, at_file_end: false };
    let items: Vec<_> = subject.backend.logs.open(&source, &options).await.unwrap().collect().await;
    assert!(matches!(items.last(), Some(Ok(LogItem::Gap(_)))), "{items:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_sees_the_same_and_runs_go_on() {
    let (subject, root) = subject(false).await;
    let launch = subject.launch("live", "while [ ! -e \"$LONGSHORE_RESULT.go\" ]; do sleep 0.05; done; echo went on");
    let mut watch = subject.watch();
    subject.create(&launch).await;
    let running = watch.until(&launch.name, "running", is_running).await;
    drop(watch);
    let second = reopened(subject, &root).await;
    let mut watch = second.watch();
    let FactsEvent::Upsert(adopted) = watch.next().await else { panic!("nothing was reported") };
    assert_eq!(*adopted, running);
    assert_eq!(watch.next().await, FactsEvent::Synced);
    std::fs::write(root.join("default/live/result.go"), "").unwrap();
    let over = watch.until(&launch.name, "over", is_over).await;
    assert_eq!(second.output(&over).await, "went on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_never_attended_is_adopted_and_runs_once() {
    let (dead, root) = subject_without_shims().await;
    let launch = dead.launch("orphan", "echo ran");
    let Created::New(facts) = dead.backend.runs.create(&launch).await.unwrap() else { panic!("not new") };
    assert_eq!(facts.last_attempt().unwrap().phase, AttemptPhase::Pending);
    let subject = reopened(dead, &root).await;
    // Two look at it.
    let mut other = subject.watch();
    let mut watch = subject.watch();
    let over = watch.until(&launch.name, "over", is_over).await;
    assert_eq!(subject.output(&over).await, "ran\n");
    other.until(&launch.name, "over", is_over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ended_before_it_is_attended_never_runs() {
    let (dead, root) = subject_without_shims().await;
    let launch = dead.launch("early", "echo ran");
    let runs = &dead.backend.runs;
    let Created::New(facts) = runs.create(&launch).await.unwrap() else { panic!("not new") };
    runs.act(&facts.name, &facts.uid, &Action::WriteStop(stop("me"))).await.unwrap();
    runs.act(&facts.name, &facts.uid, &Action::EndUnstarted { attempt: 1 }).await.unwrap();
    let subject = reopened(dead, &root).await;
    let mut watch = subject.watch();
    let over = watch.until(&launch.name, "over", is_over).await;
    let attempt = over.last_attempt().unwrap();
    assert_eq!((attempt.phase, attempt.main.started()), (AttemptPhase::Gone, false));
    assert!(!root.join("default/early").join(rundir::STARTED).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_behind_neither_holds_the_end_nor_survives() {
    let (subject, _root) = subject(false).await;
    let script = "sleep 600 & setsid sh -c 'echo $$; exec sleep 600' & sleep 0.2; echo $!";
    let over = subject.run_script("behind", script).await;
    let output = subject.output(&over).await;
    let pids: Vec<i32> = output.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2, "{output}");
    assert_eq!(over.last_attempt().unwrap().phase, AttemptPhase::Succeeded);
    assert!(pids.iter().all(|pid| !alive(*pid)), "{pids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_run_is_swept() {
    let (subject, root) = subject(false).await;
    let facts = subject.run_script("old", "exit 0").await;
    let mut watch = subject.watch();
    let retention = Duration::ZERO;
    subject
        .act(&facts, Action::Release { reason: String::new(), message: String::new(), retention, attempts: 1 })
        .await;
    while watch.next().await != FactsEvent::Gone(facts.name.clone()) {}
    assert!(!root.join("default/old").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_break_everything_is_reported_again() {
    let (subject, root) = subject(false).await;
    let kept = subject.run_script("kept", "exit 0").await;
    let removed = subject.run_script("removed", "exit 0").await;
    let mut watch = subject.watch();
    while watch.next().await != FactsEvent::Synced {}
    let away = root.with_file_name("away");
    std::fs::rename(&root, &away).unwrap();
    while !matches!(watch.next().await, FactsEvent::Broken(_)) {}
    std::fs::remove_dir_all(away.join("default/removed")).unwrap();
    std::fs::rename(&away, &root).unwrap();
    let mut printed = Vec::new();
    loop {
        match watch.next().await {
            FactsEvent::Synced => break,
            FactsEvent::Broken(_) => printed.clear(),
            event => printed.push(event),
        }
    }
    assert!(printed.contains(&FactsEvent::Upsert(Box::new(kept))), "{printed:?}");
    assert!(printed.contains(&FactsEvent::Gone(removed.name)), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_a_run_at_once_one_does_and_the_others_find_it() {
    let (subject, _root) = subject_without_shims().await;
    let backend = &subject.backend;
    // Often, since one must look just as it comes.
    for round in 0..200 {
        let launch = subject.launch(&format!("r{round}"), "exit 0");
        let looks = (0..3).map(|_| async {
            while backend.runs.get(&launch.name).await.expect("it is there whole, or not at all").is_none() {}
        });
        let creates = (0..4).map(|_| backend.runs.create(&launch));
        let (_, created) = tokio::join!(join_all(looks), join_all(creates));
        let created: Vec<_> = created.into_iter().map(Result::unwrap).collect();
        assert_eq!(created.iter().filter(|c| matches!(c, Created::New(_))).count(), 1, "{created:?}");
        assert_eq!(created.iter().filter(|c| matches!(c, Created::Exists(_))).count(), 3, "{created:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_run_is_left_alone_and_its_name_is_taken() {
    let (subject, root) = subject(false).await;
    std::fs::create_dir_all(root.join("default/foreign/sub")).unwrap();
    let mut watch = subject.watch();
    assert_eq!(watch.next().await, FactsEvent::Synced);
    let created = subject.backend.runs.create(&subject.launch("foreign", "exit 0")).await.unwrap();
    assert!(matches!(created, Created::Taken { .. }), "{created:?}");
    assert!(root.join("default/foreign/sub").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn output_beyond_the_bound_of_a_log_is_not_kept_and_says_so() {
    let (subject, root) = subject(false).await;
    // 6 MiB, and the program goes on to its end.
    let script = "i=0; while [ $i -lt 96 ]; do head -c 65535 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done; exit 3";
    let over = subject.run_script("long", script).await;
    let size = std::fs::metadata(root.join("default/long").join(rundir::LOG)).unwrap().len();
    assert!((LOG_MAX - (128 << 10)..=LOG_MAX).contains(&size), "{size}");
    let source = LogSource {
        run: over.name.clone(),
        run_uid: over.uid.clone(),
        attempt: 1,
        attempt_uid: over.last_attempt().unwrap().uid.clone().unwrap_or_default(),
        pod: String::new(),
        container: "run".to_owned(),
    };
    let options = LogOptions { from: None, follow: true, at_file_end: false };
    let items: Vec<_> = subject.backend.logs.open(&source, &options).await.unwrap().collect().await;
    let (last, before) = items.split_last().unwrap();
    assert!(before.iter().all(|item| matches!(item, Ok(LogItem::Piece(_)))));
    let Ok(LogItem::Gap(gap)) = last else { panic!("{last:?}") };
    assert!(gap.message.contains("local.log_max_bytes"), "{gap:?}");
    assert!(matches!(over.last_attempt().unwrap().main, MainFacts::Terminated(ref end) if end.exit_code == 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_file_does_not_grow_beyond_its_bound() {
    for isolated in [false, true] {
        let (subject, root) = subject(isolated).await;
        // The shim looks every second; the program waits for it, and then for nothing.
        let script = "head -c 4194304 /dev/zero > \"$LONGSHORE_RESULT\"
            while [ \"$(wc -c < \"$LONGSHORE_RESULT\")\" -gt 1048576 ]; do sleep 0.05; done; echo cut";
        let over = subject.run_script("large", script).await;
        assert_eq!(subject.output(&over).await, "cut\n");
        let size = std::fs::metadata(root.join("default/large").join(rundir::RESULT)).unwrap().len();
        assert_eq!(size, rundir::RESULT_MAX_BYTES as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_can_t_open_the_sandbox() {
    let Some(subject) = sandboxed().await else { return };
    let launch = Launch {
        input: Some(Input::Raw(b"x\0--ro-bind\0/etc\0/mnt".to_vec())),
        input_delivery: InputDelivery::Env("X".to_owned()),
        ..subject.launch("nul", "ls /mnt")
    };
    let over = subject.run(&launch).await;
    assert!(!over.last_attempt().unwrap().main.started());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandboxed_program_has_its_own_world() {
    let Some(subject) = sandboxed().await else { return };
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    let script = format!(
        "id -u; id -g; hostname; ls {home} /var/run/docker.sock 2>/dev/null | wc -l; ls /proc | grep -c '^[0-9]'
         touch /x 2>/dev/null && echo writable; touch /tmp/x && echo tmp
         ls /sys/class/net 2>/dev/null; wc -l < /proc/net/route; cat /etc/shadow 2>/dev/null"
    );
    let over = subject.run_script("world", &script).await;
    let output = subject.output(&over).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(&lines[..4], ["65532", "65532", "world", "0"], "{output}");
    // Process 1, the shell, `ls` and `grep`.
    assert!(lines[4].parse::<u32>().unwrap() <= 5, "{output}");
    // Only the heading of the routing table: no network.
    assert_eq!(&lines[5..], ["tmp", "1"], "{output}");
}
