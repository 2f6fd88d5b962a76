//! Every system call of the backend and of its shim fails in turn, with what a machine answers that is
//! short of something or broken: no run changes its state, is killed, left out, or run twice.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::BoxStream;
use jiff::Timestamp;
use rustix::io::Errno;
use tempfile::TempDir;

use crate::blocking::lock;
use crate::config::{DEFAULT_LOG_MAX_BYTES, DEFAULT_MAX_PROCESSES, LocalConfig};
use crate::metrics::LocalMetrics;
use crate::open::open_local;
use crate::roles::LocalRoles;
use crate::run::facts::tests::submission;
use crate::run::retention::Room;
use crate::run::runs::LocalRuns;
use crate::sandbox::find::DEFAULT_PATH;
use crate::sys::Sys;
use crate::sys::fault::Faults;
use longshore_backend::{BackendError, Created, Launch, Runs};
use longshore_domain::name::RunName;
use longshore_domain::run::derive::record;
use longshore_domain::run::facts::{AttemptPhase, FactsEvent, MainFacts, RunFacts, remember};
use longshore_domain::run::plan::Action;
use longshore_domain::run::profile::{InputDelivery, LocalProfile, Program};
use longshore_domain::run::verdict::conclude;
use longshore_domain::run::{RunState, StopCause, StopIntent};
use longshore_domain::testing::{derived, planned};

/// What fails calls.
const ERRNOS: [Errno; 5] = [Errno::MFILE, Errno::IO, Errno::ACCESS, Errno::NOMEM, Errno::NOSPC];
/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many shims are started at once.
const AT_ONCE: usize = 20;

/// A state directory with a backend whose calls can be made to fail.
struct Machine {
    dir: TempDir,
    local: Arc<LocalRuns>,
    faults: Arc<Faults>,
}

impl Machine {
    /// The shim is this test binary: it fails by the plan that stands beside the run's directory, once.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("shim");
        let own = std::env::current_exe().unwrap();
        let text = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\nif [ -e \"$2.fault\" ]; then LONGSHORE_TEST_FAULT=$(cat \"$2.fault\"); \
             export LONGSHORE_TEST_FAULT; rm \"$2.fault\"; fi\nLONGSHORE_TEST_SHIM=\"$2\" exec '{}' --exact \
             shim::tests::as_shim --ignored --test-threads=1\n",
            own.display()
        );
        std::fs::write(&shim, text).unwrap();
        std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self::with_shim(dir, shim).await
    }

    /// Nothing is ever started.
    async fn without_shims() -> Self {
        Self::with_shim(tempfile::tempdir().unwrap(), PathBuf::from("/no/such/longshore")).await
    }

    async fn with_shim(dir: TempDir, executable: PathBuf) -> Self {
        let root = dir.path().join("state");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join("default")).unwrap();
        let path = DEFAULT_PATH.to_owned();
        let config = LocalConfig {
            root,
            enter: executable.clone(),
            executable,
            path,
            volumes: BTreeMap::new(),
            sandbox: false,
            log_max_bytes: DEFAULT_LOG_MAX_BYTES,
            max_processes: DEFAULT_MAX_PROCESSES,
            max_concurrent_runs: 1000,
            room: Room::default(),
        };
        let faults = Arc::new(Faults::default());
        let sys = Sys::with_faults(Arc::clone(&faults));
        let (local, _) = open_local(config, LocalMetrics::default(), sys).await.unwrap();
        Self { dir, local, faults }
    }

    fn runs(&self) -> LocalRoles {
        LocalRoles(Arc::clone(&self.local))
    }

    fn beside(&self, id: &str, what: &str) -> PathBuf {
        self.dir.path().join(format!("state/default/{id}.{what}"))
    }

    /// A run that marks that it ran, waits for its gate if it has one, and exits with 3.
    fn launch(&self, id: &str, gate: bool) -> Launch {
        let here = self.dir.path().display();
        let wait = if gate {
            format!("while [ ! -e {here}/go ]; do [ -d {here} ] || exit 9; sleep 0.05; done; ")
        } else {
            String::new()
        };
        let script = format!("echo ran >> {here}/ran-{id}; {wait}exit 3");
        let mut submission = submission();
        Arc::make_mut(&mut submission.effective).run_timeout = 2 * PATIENCE;
        Launch {
            name: name(id),
            submission,
            program: Program::Process(LocalProfile {
                command: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
                mounts: Vec::new(),
            }),
            input_delivery: InputDelivery::File,
            input: None,
            files: Vec::new(),
            pod_annotations: Vec::new(),
        }
    }

    /// How often the program of this run was executed.
    fn executed(&self, id: &str) -> usize {
        std::fs::read_to_string(self.dir.path().join(format!("ran-{id}"))).map_or(0, |text| text.lines().count())
    }

    async fn facts(&self, id: &str) -> RunFacts {
        self.runs().get(&name(id)).await.unwrap().expect("the run")
    }

    /// Waits until the runs are so. Nothing may be reported to be gone or lost meanwhile, nor go back.
    async fn until(&self, ids: &[String], what: &str, is_so: impl Fn(&RunFacts) -> bool) {
        let mut watch = self.runs().watch();
        let mut known: HashMap<RunName, RunFacts> = HashMap::new();
        let wait = async {
            while !ids.iter().all(|id| known.get(&name(id)).is_some_and(&is_so)) {
                match watch.next().await.expect("the watch goes on") {
                    FactsEvent::Upsert(facts) => {
                        let before = known.get(&facts.name).map(state);
                        let facts = remember(known.get(&facts.name), *facts, Timestamp::now());
                        not_lost(&facts);
                        assert!(before.is_none_or(|before| before <= state(&facts)), "{before:?}, then {facts:?}");
                        known.insert(facts.name.clone(), facts);
                    }
                    FactsEvent::Gone(name) => panic!("{name} is reported to be gone"),
                    FactsEvent::Synced | FactsEvent::Broken(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }
}

fn name(id: &str) -> RunName {
    RunName::parse(&format!("namespaces/default/runs/{id}")).unwrap()
}

/// Where a run stands, in the order of a run's life.
fn state(facts: &RunFacts) -> usize {
    let order = [
        RunState::Queued,
        RunState::Pending,
        RunState::Starting,
        RunState::Running,
        RunState::Cancelling,
        RunState::Finishing,
    ];
    let state = derived(facts, Timestamp::now()).state;
    order.iter().position(|one| *one == state).unwrap_or(order.len())
}

fn not_lost(facts: &RunFacts) {
    let attempt = facts.last_attempt().unwrap();
    assert!(attempt.evidence.is_empty(), "it is reported to be lost: {facts:?}");
}

fn ended(facts: &RunFacts) -> bool {
    facts.last_attempt().is_some_and(|attempt| matches!(attempt.main, MainFacts::Terminated(_)))
}

fn exit_code(facts: &RunFacts) -> Option<i32> {
    facts.last_attempt()?.main.terminated().map(|end| end.exit_code)
}

fn stop_intent() -> StopIntent {
    StopIntent {
        cause: StopCause::Cancel,
        reason: "enough".to_owned(),
        actor: "me".to_owned(),
        request_time: Timestamp::now(),
        failure: None,
        failure_class: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_whose_call_fails_changes_nothing() {
    let machine = Machine::new().await;
    let ids = ["running", "over", "released"].map(str::to_owned);
    for id in &ids {
        machine.runs().create(&machine.launch(id, id == "running")).await.unwrap();
    }
    machine.until(&ids[..1], "running", |facts| facts.last_attempt().unwrap().main.started()).await;
    machine.until(&ids[1..], "over", ended).await;
    let facts = machine.facts("released").await;
    let outcome = conclude(&facts, Timestamp::now()).unwrap();
    for action in [
        Action::WriteRecord(Box::new(record(&facts, &outcome, None, Timestamp::now()))),
        Action::Release {
            reason: String::new(),
            message: String::new(),
            retention: Duration::from_secs(600),
            attempts: 1,
        },
    ] {
        machine.runs().act(&facts.name, &facts.uid, &action).await.unwrap();
    }
    for id in &ids {
        let known = machine.facts(id).await;
        for remembers in [true, false] {
            for errno in ERRNOS {
                for nth in 0.. {
                    if !remembers {
                        lock(&machine.local.seen).clear();
                    }
                    machine.faults.arm(nth..=nth, errno);
                    let read = machine.runs().get(&known.name).await;
                    let fired = machine.faults.disarm();
                    let at = format!("{id}, call {nth} ({fired:?}): {errno}");
                    match read {
                        Ok(facts) => {
                            let facts = facts.unwrap_or_else(|| panic!("{at}: it is left out"));
                            not_lost(&facts);
                            let changed = facts.unknown.is_none();
                            assert!(!changed || state(&facts) == state(&known), "{at}: {facts:?}");
                            assert!(remembers || changed || state(&facts) <= state(&known), "{at}: {facts:?}");
                            assert!(!remembers || facts.uid == known.uid, "{at}: {facts:?}");
                            let (now, due) = (Timestamp::now(), planned(&facts, Timestamp::now()).actions);
                            assert!(due.is_empty() || due.len() == planned(&known, now).actions.len(), "{at}: {due:?}");
                        }
                        Err(error) => assert!(matches!(error, BackendError::Unavailable { .. }), "{at}: {error}"),
                    }
                    if fired.is_none() {
                        assert!(nth > 10, "calls were made to fail");
                        break;
                    }
                }
            }
        }
        assert_eq!(machine.facts(id).await, known, "nothing stays of it");
    }
    std::fs::write(machine.dir.path().join("go"), "").unwrap();
    machine.until(&ids[..1], "over", ended).await;
    for id in &ids {
        assert_eq!((exit_code(&machine.facts(id).await), machine.executed(id)), (Some(3), 1), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_does_not_answer_holds_up_no_other() {
    let machine = Machine::new().await;
    let ids = ["hangs", "answers"].map(str::to_owned);
    for id in &ids {
        machine.runs().create(&machine.launch(id, false)).await.unwrap();
    }
    machine.until(&ids, "over", ended).await;
    let known = machine.facts("hangs").await;
    machine.faults.hang("open");
    let mut hangs = std::pin::pin!(machine.facts("hangs"));
    tokio::select! {
        biased;
        facts = &mut hangs => panic!("it was answered: {facts:?}"),
        facts = async {
            // The other begins once this one hangs.
            while !machine.faults.hangs() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            machine.facts("answers").await
        } => assert_eq!(facts.unknown, None),
    }
    let facts = hangs.await;
    assert!(facts.unknown.as_ref().is_some_and(|unknown| unknown.why.contains("did not answer within")), "{facts:?}");
    assert_eq!((state(&facts), &facts.uid), (state(&known), &known.uid), "nothing is taken back");
    // One that waits is enough: nobody else does, and nothing is begun there.
    assert!(machine.facts("hangs").await.unknown.is_some());
    let order = Action::EndStarted { attempt: 1 };
    let refused = machine.runs().act(&known.name, &known.uid, &order).await.unwrap_err();
    assert!(matches!(&refused, BackendError::Unavailable { .. }), "{refused}");
    machine.faults.go_on();
    let again = async {
        while machine.facts("hangs").await.unknown.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it answers again");
    assert_eq!(machine.facts("hangs").await, known);
}

/// The first event of a watch that is what is waited for. The watch does not break before.
async fn next_event(watch: &mut BoxStream<'static, FactsEvent>, what: &str, is_it: impl Fn(&FactsEvent) -> bool) {
    let wait = async {
        loop {
            let event = watch.next().await.expect("the watch goes on");
            assert!(!matches!(event, FactsEvent::Broken(_)), "{what}: {event:?}");
            if is_it(&event) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn until_gauge(gauge: &prometheus_client::metrics::gauge::Gauge, is_it: impl Fn(i64) -> bool, what: &str) {
    let wait = async {
        while !is_it(gauge.get()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}: {}", gauge.get()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_inotify_changes_are_looked_for_and_it_is_used_again_once_there_is_some() {
    for (call, errno) in [("inotify_init1", Errno::MFILE), ("inotify_add_watch", Errno::NOSPC)] {
        let machine = Machine::without_shims().await;
        machine.faults.refuse(call, errno);
        let mut watch = machine.runs().watch();
        next_event(&mut watch, call, |event| matches!(event, FactsEvent::Synced)).await;
        // Somebody else's: this process learns of it in no other way.
        let other = machine.launch("other", false);
        machine.runs().create(&other).await.unwrap();
        next_event(&mut watch, call, |event| matches!(event, FactsEvent::Upsert(facts) if facts.name == other.name))
            .await;
        // The state directory, its namespace, and the run.
        until_gauge(&machine.local.metrics.polled, |polled| polled == 3, call).await;
        machine.faults.disarm();
        until_gauge(&machine.local.metrics.polled, |polled| polled == 0, call).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_cannot_be_listed_is_left_out_and_the_others_go_on() {
    let machine = Machine::without_shims().await;
    let at = |name: &str| machine.dir.path().join("state").join(name);
    let mode = |mode: u32| {
        for name in ["a", "z"] {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    std::fs::create_dir(at("a")).unwrap();
    std::fs::create_dir(at("z")).unwrap();
    // What others can write is not read, whichever user runs the tests.
    mode(0o777);
    machine.runs().create(&machine.launch("before", false)).await.unwrap();
    let mut watch = machine.runs().watch();
    let mut seen = false;
    let synced = async {
        // It passes, or it does not: that takes a few seconds.
        loop {
            match watch.next().await.expect("the watch goes on") {
                FactsEvent::Upsert(facts) => seen |= facts.name == name("before"),
                FactsEvent::Synced => return,
                FactsEvent::Gone(name) => panic!("{name} is reported to be gone"),
                FactsEvent::Broken(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, synced).await.expect("the others are known");
    assert!(seen);
    assert_eq!(machine.local.metrics.unlisted.get(), 2);
    machine.runs().create(&machine.launch("after", false)).await.unwrap();
    next_event(
        &mut watch,
        "the others",
        |event| matches!(event, FactsEvent::Upsert(facts) if facts.name == name("after")),
    )
    .await;
    mode(0o700);
    until_gauge(&machine.local.metrics.unlisted, |unlisted| unlisted == 0, "they are listed again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_on_which_every_call_fails_for_a_while_loses_nothing() {
    let mut machines = Vec::new();
    for errno in ERRNOS {
        // All are there before any starts a shim: a file that a fork has open for writing can't be executed.
        machines.push((errno, Machine::new().await));
    }
    let each = machines.into_iter().map(async |(errno, machine)| {
        let ids = ["one", "two", "three"].map(str::to_owned);
        for id in &ids {
            machine.runs().create(&machine.launch(id, true)).await.unwrap();
        }
        machine.until(&ids, "running", |facts| facts.last_attempt().unwrap().main.started()).await;
        let watching = machine.until(&ids, "over", ended);
        let failing = async {
            machine.faults.arm(0..=u64::MAX, errno);
            // Some looks at each, and a scan.
            let wait = async {
                while machine.faults.calls() < 15 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(PATIENCE, wait).await.expect("they are looked at");
            machine.faults.disarm();
            for id in &ids {
                let facts = machine.facts(id).await;
                assert_eq!((state(&facts), exit_code(&facts)), (3, None), "{errno}: {facts:?}");
            }
            std::fs::write(machine.dir.path().join("go"), "").unwrap();
        };
        tokio::join!(watching, failing);
        for id in &ids {
            assert_eq!((exit_code(&machine.facts(id).await), machine.executed(id)), (Some(3), 1), "{errno}: {id}");
        }
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_whose_call_fails_is_done_when_it_is_repeated() {
    // Each on a machine of its own, since all wait more than they work.
    let each = ERRNOS.map(async |errno| {
        let machine = Machine::without_shims().await;
        let runs = machine.runs();
        let mut number = 0;
        let mut fails = [0; 6];
        for (step, failed) in fails.iter_mut().enumerate() {
            for nth in 0.. {
                number += 1;
                let launch = machine.launch(&format!("r{number}"), false);
                let fired = act_through(&runs, &machine.faults, &launch, step, nth, errno).await;
                if fired.is_none() {
                    break;
                }
                *failed += 1;
            }
        }
        assert!(fails.iter().all(|failed| *failed > 0), "{errno}: {fails:?}");
    });
    join_all(each).await;
}

/// Takes a run through its life, with one failing call in one step of it. Answers which failed.
async fn act_through(
    runs: &LocalRoles,
    faults: &Faults,
    launch: &Launch,
    step: usize,
    nth: u64,
    errno: Errno,
) -> Option<&'static str> {
    let mut fired = None;
    let at = |step: usize| format!("step {step}, call {nth}: {errno}");
    if step == 0 {
        faults.arm(nth..=nth, errno);
        let _ = runs.create(launch).await;
        fired = faults.disarm();
    }
    let created = runs.create(launch).await.unwrap_or_else(|error| panic!("{}: {error}", at(0)));
    let (Created::New(facts) | Created::Exists(facts)) = created else { panic!("{}: {created:?}", at(0)) };
    let intent = stop_intent();
    let retention = Duration::from_secs(600);
    for now in 1..6 {
        let facts = runs.get(&launch.name).await.unwrap().unwrap_or_else(|| *facts.clone());
        let action = match now {
            1 => Action::WriteStop(intent.clone()),
            2 => Action::EndUnstarted { attempt: 1 },
            3 => {
                let outcome = conclude(&facts, Timestamp::now()).unwrap_or_else(|| panic!("{}: {facts:?}", at(now)));
                Action::WriteRecord(Box::new(record(&facts, &outcome, None, Timestamp::now())))
            }
            4 => Action::Release { reason: String::new(), message: String::new(), retention, attempts: 1 },
            _ => Action::Delete,
        };
        if now == step {
            faults.arm(nth..=nth, errno);
            let _ = runs.act(&facts.name, &facts.uid, &action).await;
            fired = faults.disarm();
        }
        match runs.act(&facts.name, &facts.uid, &action).await {
            Ok(()) => {}
            Err(BackendError::NotFound(_)) if now == 5 => {}
            Err(error) => panic!("{} ({fired:?}): {error}", at(now)),
        }
        let after = runs.get(&launch.name).await.unwrap();
        match (now, after) {
            (5, None) => {}
            (1, Some(facts)) => assert_eq!(facts.stop.as_ref(), Some(&intent), "{}", at(now)),
            (2, Some(facts)) => assert_eq!(facts.last_attempt().unwrap().phase, AttemptPhase::Gone, "{}", at(now)),
            (3, Some(facts)) => assert!(facts.record.is_some(), "{}", at(now)),
            (4, Some(facts)) => assert!(facts.released, "{}", at(now)),
            (_, after) => panic!("{} ({fired:?}): {after:?}", at(now)),
        }
    }
    fired
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shim_whose_call_fails_runs_its_program_once_and_reports_its_end() {
    let machine = Machine::new().await;
    machine.runs().create(&machine.launch("clean", false)).await.unwrap();
    machine.until(&["clean".to_owned()], "over", ended).await;
    let path = machine.beside("clean", "calls");
    let count = async {
        loop {
            match std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok()) {
                Some(calls) => return calls,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let calls = tokio::time::timeout(PATIENCE, count).await.expect("the shim ends");
    assert!(calls > 30, "{calls}");
    let faults = (0..calls).flat_map(|nth| ERRNOS.map(|errno| (nth, errno.raw_os_error())));
    let faults: Vec<(String, u64, i32)> = faults.map(|(nth, errno)| (format!("f{nth}-{errno}"), nth, errno)).collect();
    for batch in faults.chunks(AT_ONCE) {
        for (id, nth, errno) in batch {
            std::fs::write(machine.beside(id, "fault"), format!("{nth} {errno}")).unwrap();
            machine.runs().create(&machine.launch(id, false)).await.unwrap();
        }
        let ids: Vec<String> = batch.iter().map(|(id, ..)| id.clone()).collect();
        machine.until(&ids, "over", ended).await;
        for id in &ids {
            assert_eq!((exit_code(&machine.facts(id).await), machine.executed(id)), (Some(3), 1), "{id}");
        }
    }
}

/// Calls of a start for each finished run: its directory before and after, and one file that is opened, looked
/// at and read.
const CALLS_PER_RUN: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_reads_one_file_of_each_finished_run() {
    const RUNS: u64 = 40;
    let machine = Machine::without_shims().await;
    let runs = machine.runs();
    for number in 0..RUNS {
        let launch = machine.launch(&format!("r{number}"), false);
        runs.create(&launch).await.unwrap();
        finish(&runs, &launch.name).await;
    }
    drop(runs);
    let before = machine.facts("r7").await;
    // The first look makes the summaries.
    let (_, machine) = reopened(machine).await;
    let (calls, machine) = reopened(machine).await;
    assert_eq!(machine.facts("r7").await, before);
    assert!(lock(&machine.local.seen).is_empty(), "nothing of finished runs is kept in mind");
    println!("{calls} calls for {RUNS} finished runs");
    let least = CALLS_PER_RUN * RUNS;
    assert!((least..least + 30).contains(&calls), "{calls} calls for {RUNS} runs");
}

/// Ends a run that was never started, and lets it go.
async fn finish(runs: &LocalRoles, name: &RunName) {
    for step in 0..4 {
        let facts = runs.get(name).await.unwrap().unwrap();
        let action = match step {
            0 => Action::WriteStop(stop_intent()),
            1 => Action::EndUnstarted { attempt: 1 },
            2 => {
                let outcome = conclude(&facts, Timestamp::now()).unwrap();
                Action::WriteRecord(Box::new(record(&facts, &outcome, None, Timestamp::now())))
            }
            _ => {
                let retention = Duration::from_secs(600);
                Action::Release { reason: String::new(), message: String::new(), retention, attempts: 1 }
            }
        };
        runs.act(name, &facts.uid, &action).await.unwrap();
    }
}

/// The same state directory opened once more, and looked at until all runs are known. Answers how many calls that
/// took.
async fn reopened(machine: Machine) -> (u64, Machine) {
    let Machine { dir, local, .. } = machine;
    let left = Arc::downgrade(&local);
    drop(local);
    // Its watcher drops it, too.
    let closed = async {
        while left.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("nobody uses it any more");
    let machine = Machine::with_shim(dir, PathBuf::from("/no/such/longshore")).await;
    let opened = machine.faults.calls();
    let mut watch = machine.runs().watch();
    let synced = async { while !matches!(watch.next().await.expect("the watch goes on"), FactsEvent::Synced) {} };
    tokio::time::timeout(PATIENCE, synced).await.expect("all runs are known");
    (machine.faults.calls() - opened, machine)
}
