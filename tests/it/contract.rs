//! What every backend must do, whatever it runs on: one suite for all of them.
//!
//! A test binary makes a [`Subject`] and says `contract_tests!(its_constructor)`. Scripts are for
//! `sh`, so a cluster needs no more than an image that has one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use longshore::backend::{Backend, BackendError, Created, Launch, LogItem, LogOptions, LogSource};
use longshore::domain::log::{LogPiece, LogPosition, LogStream};
use longshore::domain::name::{NamespaceName, RunId, RunName};
use longshore::domain::run::digest::PayloadDigest;
use longshore::domain::run::facts::{AttemptPhase, EndCause, FactsEvent, MainFacts, RunFacts, Submission, Terminated};
use longshore::domain::run::plan::Action;
use longshore::domain::run::profile::{InputDelivery, Program};
use longshore::domain::run::record::{RECORD_VERSION, Record};
use longshore::domain::run::spec::{EffectiveSpec, EnvSource, EnvVar, File, Input, Resources, Workload};
use longshore::domain::run::{RunState, StopCause, StopIntent, Timeline};
use longshore::domain::testing;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A backend under test.
pub(crate) struct Subject {
    /// The backend.
    pub(crate) backend: Backend,
    /// A namespace that it has.
    pub(crate) namespace: NamespaceName,
    /// Makes ids unique where runs of other tests live too.
    pub(crate) suffix: String,
    /// How `sh -c <script>` is executed.
    pub(crate) program: fn(&str) -> Program,
    /// What is cleaned up with it.
    pub(crate) _guard: Box<dyn std::any::Any + Send + Sync>,
}

macro_rules! contract_tests {
    ($subject:path) => {
        $crate::contract::contract_tests!($subject:
            a_run_is_created_once
            of_many_creators_one_wins
            success_is_reported
            an_exit_code_is_reported
            a_signal_is_reported_as_128_and_its_number
            a_missing_program_never_started
            output_is_exact
            a_follower_gets_everything
            reading_goes_on_where_it_stopped
            input_and_files_are_found
            the_environment_is_the_spec_s
            the_result_file_is_the_message
            a_stop_is_written_once
            a_running_program_is_ended
            a_program_that_ignores_sigterm_is_killed
            the_run_clock_ends_it
            a_late_watch_reports_the_same
            a_run_is_recorded_released_and_deleted
            another_uid_is_another_run
        );
    };
    ($subject:path: $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            if let Some(subject) = $subject().await {
                $crate::contract::$case(&subject).await;
            }
        }
    )*};
}
pub(crate) use contract_tests;

impl Subject {
    /// A run of `script` with a clock of 60 s and a grace of 1 s.
    pub(crate) fn launch(&self, id: &str, script: &str) -> Launch {
        let name =
            RunName { namespace: self.namespace.clone(), run: RunId::parse(&format!("{id}{}", self.suffix)).unwrap() };
        Launch {
            name,
            submission: submission(),
            program: (self.program)(script),
            input_delivery: InputDelivery::File,
            input: None,
            files: Vec::new(),
            pod_annotations: Vec::new(),
        }
    }

    pub(crate) async fn create(&self, launch: &Launch) -> RunFacts {
        match self.backend.runs.create(launch).await.unwrap() {
            Created::New(facts) => *facts,
            other => panic!("not new: {other:?}"),
        }
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch { events: self.backend.runs.watch() }
    }

    /// Runs `launch` to its end.
    pub(crate) async fn run(&self, launch: &Launch) -> RunFacts {
        let mut watch = self.watch();
        self.create(launch).await;
        watch.until(&launch.name, "over", is_over).await
    }

    /// Runs `script` to its end.
    pub(crate) async fn run_script(&self, id: &str, script: &str) -> RunFacts {
        self.run(&self.launch(id, script)).await
    }

    pub(crate) async fn act(&self, facts: &RunFacts, action: Action) {
        self.backend.runs.act(&facts.name, &facts.uid, &action).await.unwrap();
    }

    /// The output from `from` on, until the stream ends; a gap is a failure.
    pub(crate) async fn read(&self, facts: &RunFacts, from: Option<LogPosition>, follow: bool) -> Vec<LogPiece> {
        let attempt = facts.last_attempt().unwrap();
        let source = LogSource {
            run: facts.name.clone(),
            run_uid: facts.uid.clone(),
            attempt: attempt.number,
            attempt_uid: attempt.uid.clone().unwrap_or_default(),
            pod: attempt.pod.clone().unwrap_or_default(),
            container: "run".to_owned(),
        };
        let options = LogOptions { from, follow, at_file_end: false };
        let items = self.backend.logs.open(&source, &options).await.unwrap();
        let pieces = items.map(|item| match item.unwrap() {
            LogItem::Piece(piece) => piece,
            LogItem::Gap(gap) => panic!("{gap:?}"),
        });
        tokio::time::timeout(PATIENCE, pieces.collect()).await.expect("the stream ends")
    }

    /// All output as text.
    pub(crate) async fn output(&self, facts: &RunFacts) -> String {
        String::from_utf8(text(&self.read(facts, None, false).await, None)).unwrap()
    }
}

/// The events of one watch.
pub(crate) struct Watch {
    events: BoxStream<'static, FactsEvent>,
}

impl Watch {
    pub(crate) async fn next(&mut self) -> FactsEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
        event.expect("an event in time").expect("a watch never ends")
    }

    /// Waits until the run's facts are as wanted.
    pub(crate) async fn until(&mut self, name: &RunName, what: &str, wanted: impl Fn(&RunFacts) -> bool) -> RunFacts {
        let mut last = None;
        let wait = async {
            loop {
                match self.events.next().await.expect("a watch never ends") {
                    FactsEvent::Upsert(facts) if facts.name == *name => {
                        if wanted(&facts) {
                            return *facts;
                        }
                        last = Some(facts);
                    }
                    FactsEvent::Broken(why) => panic!("the watch broke: {why}"),
                    _ => {}
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(facts) => facts,
            Err(_) => panic!("{name} did not become {what}; last: {last:#?}"),
        }
    }
}

pub(crate) fn is_over(facts: &RunFacts) -> bool {
    facts.last_attempt().is_some_and(|attempt| attempt.phase.is_over())
}

pub(crate) fn is_running(facts: &RunFacts) -> bool {
    facts.last_attempt().is_some_and(|attempt| matches!(attempt.main, MainFacts::Running { .. }))
}

fn end(facts: &RunFacts) -> &Terminated {
    facts.last_attempt().unwrap().main.terminated().expect("terminated")
}

/// The bytes of one stream, or of both.
fn text(pieces: &[LogPiece], stream: Option<LogStream>) -> Vec<u8> {
    let wanted = pieces.iter().filter(|piece| stream.is_none() || piece.stream == stream);
    wanted.flat_map(|piece| piece.data.to_vec()).collect()
}

fn submission() -> Submission {
    Submission {
        spec: Arc::default(),
        effective: Arc::new(effective()),
        digest: PayloadDigest { sha256: "0".repeat(64), fields: BTreeMap::new() },
        create_time: Timestamp::now().round(jiff::Unit::Microsecond).unwrap(),
        submitter: "contract".to_owned(),
        result_marker: "marker".to_owned(),
        batch: None,
    }
}

fn effective() -> EffectiveSpec {
    let quantities = |cpu: &str, memory: &str, disk: &str| {
        let pairs = [("cpu", cpu), ("memory", memory), ("ephemeral-storage", disk)];
        pairs.map(|(name, amount)| (name.to_owned(), amount.to_owned())).into()
    };
    EffectiveSpec {
        workload: Workload::Runner { profile: "contract".to_owned() },
        resources: Resources { requests: quantities("10m", "16Mi", "1Mi"), limits: quantities("1", "128Mi", "64Mi") },
        start_timeout: Duration::from_secs(60),
        run_timeout: Duration::from_secs(60),
        termination_grace: Duration::from_secs(1),
        tmp_size: Some("8Mi".to_owned()),
        ..testing::effective()
    }
}

pub(crate) fn stop(actor: &str) -> StopIntent {
    let (cause, reason) = (StopCause::Cancel, "enough".to_owned());
    let time = Timestamp::from_second(1_700_000_000).unwrap();
    StopIntent { cause, reason, actor: actor.to_owned(), request_time: time, failure: None, failure_class: None }
}

fn record(message: &str) -> Record {
    Record {
        version: RECORD_VERSION,
        state: RunState::Succeeded,
        failure: None,
        stop: None,
        message: message.to_owned(),
        timeline: Timeline::default(),
        attempts: Vec::new(),
        result: None,
        record_time: Timestamp::from_second(1_700_000_000).unwrap(),
    }
}

// === The cases ===

pub(crate) async fn a_run_is_created_once(subject: &Subject) {
    let launch = subject.launch("once", "exit 0");
    let mut watch = subject.watch();
    let created = subject.create(&launch).await;
    assert_eq!(created.submission, launch.submission);
    let other = subject.launch("once", "exit 1");
    let Created::Exists(found) = subject.backend.runs.create(&other).await.unwrap() else { panic!("created twice") };
    assert_eq!((&found.uid, &found.submission), (&created.uid, &launch.submission));
    subject.backend.runs.complete(&launch).await.unwrap();
    let read = subject.backend.runs.get(&launch.name).await.unwrap().expect("it is there");
    assert_eq!(read.uid, created.uid);
    let none = subject.launch("none", "exit 0").name;
    assert!(subject.backend.runs.get(&none).await.unwrap().is_none());
    let over = watch.until(&launch.name, "over", is_over).await;
    assert_eq!(over.last_attempt().unwrap().phase, AttemptPhase::Succeeded);
}

pub(crate) async fn of_many_creators_one_wins(subject: &Subject) {
    let launch = subject.launch("many", "echo ran");
    let mut watch = subject.watch();
    let creations = (0..8).map(|_| subject.backend.runs.create(&launch));
    let created = futures::future::join_all(creations).await;
    let new = created.iter().filter(|created| matches!(created, Ok(Created::New(_)))).count();
    let exists = created.iter().filter(|created| matches!(created, Ok(Created::Exists(_)))).count();
    assert_eq!((new, exists), (1, 7), "{created:?}");
    let facts = watch.until(&launch.name, "over", is_over).await;
    assert_eq!(subject.output(&facts).await, "ran\n");
}

pub(crate) async fn success_is_reported(subject: &Subject) {
    let launch = subject.launch("ok", "sleep 0.1");
    let mut watch = subject.watch();
    subject.create(&launch).await;
    watch.until(&launch.name, "running", is_running).await;
    let facts = watch.until(&launch.name, "over", is_over).await;
    let attempt = facts.last_attempt().unwrap();
    assert_eq!((attempt.number, attempt.phase), (1, AttemptPhase::Succeeded));
    assert!(attempt.node.is_some() && attempt.uid.is_some());
    let end = end(&facts);
    assert_eq!((end.exit_code, end.cause), (0, EndCause::Exited));
    assert!(end.started_at.unwrap() <= end.finished_at.unwrap());
}

pub(crate) async fn an_exit_code_is_reported(subject: &Subject) {
    let facts = subject.run_script("seven", "exit 7").await;
    assert_eq!(facts.last_attempt().unwrap().phase, AttemptPhase::Failed);
    assert_eq!((end(&facts).exit_code, end(&facts).cause), (7, EndCause::Exited));
}

pub(crate) async fn a_signal_is_reported_as_128_and_its_number(subject: &Subject) {
    // The shell's child ends by the signal and the shell passes it on, so that process 1 is not it.
    let facts = subject.run_script("signal", "sh -c 'kill -KILL $$'; exit $?").await;
    assert_eq!(end(&facts).exit_code, 137);
}

pub(crate) async fn a_missing_program_never_started(subject: &Subject) {
    let mut launch = subject.launch("missing", "exit 0");
    let command = match &mut launch.program {
        Program::Container(container) => &mut container.command,
        Program::Process(process) => &mut process.command,
    };
    *command = vec!["/no/such/program".to_owned()];
    let facts = subject.run(&launch).await;
    let attempt = facts.last_attempt().unwrap();
    assert_eq!(attempt.phase, AttemptPhase::Failed);
    assert!(!attempt.main.started(), "{:?}", attempt.main);
    let message = String::from_utf8_lossy(&end(&facts).message).into_owned();
    assert!(message.to_lowercase().contains("no such file"), "{message}");
}

pub(crate) async fn output_is_exact(subject: &Subject) {
    let script = r#"
        printf 'first\n\nthird'; printf ' goes on\n'
        printf 'to err\n' >&2
        awk 'BEGIN { for (i = 0; i < 40000; i++) printf "x"; printf "\n" }'
        printf '\377\001no newline'
    "#;
    let facts = subject.run_script("exact", script).await;
    let pieces = subject.read(&facts, None, false).await;
    let mut stdout = b"first\n\nthird goes on\n".to_vec();
    stdout.extend([b'x'; 40_000]);
    stdout.extend(b"\n\xff\x01no newline");
    if subject.backend.capabilities.split_streams {
        assert!(text(&pieces, Some(LogStream::Stdout)) == stdout);
        assert_eq!(text(&pieces, Some(LogStream::Stderr)), b"to err\n");
    } else {
        assert_eq!(text(&pieces, None).len(), stdout.len() + b"to err\n".len());
    }
}

pub(crate) async fn a_follower_gets_everything(subject: &Subject) {
    let launch = subject.launch("follow", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done");
    let mut watch = subject.watch();
    let created = subject.create(&launch).await;
    let running = watch.until(&launch.name, "running", |facts| is_running(facts) || is_over(facts)).await;
    assert_eq!(running.uid, created.uid);
    let mut pieces = subject.read(&running, None, true).await;
    let over = watch.until(&launch.name, "over", is_over).await;
    // A follow may end early; the rest is had by a plain read from its last position.
    let last = pieces.last().map(LogPiece::end);
    pieces.extend(subject.read(&over, last, false).await);
    assert_eq!(text(&pieces, None), b"1\n2\n3\n4\n5\n");
}

pub(crate) async fn reading_goes_on_where_it_stopped(subject: &Subject) {
    let facts = subject.run_script("resume", "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; printf end").await;
    let all = subject.read(&facts, None, false).await;
    let whole = text(&all, None);
    assert_eq!(whole.len(), 9 * 7 + 3);
    for (count, piece) in all.iter().enumerate() {
        let rest = subject.read(&facts, Some(piece.end()), false).await;
        assert_eq!(text(&all[..=count], None).len() + text(&rest, None).len(), whole.len(), "after piece {count}");
        assert!(whole.ends_with(&text(&rest, None)), "after piece {count}");
    }
}

pub(crate) async fn input_and_files_are_found(subject: &Subject) {
    let script = r#"cat "$LONGSHORE_INPUT"; "$LONGSHORE_FILES/bin/tool"; cat "$LONGSHORE_FILES/data""#;
    let launch = Launch {
        input: Some(Input::Json("{\"a\":1}\n".to_owned())),
        files: vec![
            File { path: "bin/tool".to_owned(), mode: Some(0o555), content: b"#!/bin/sh\necho tool\n".to_vec() },
            File { path: "data".to_owned(), mode: None, content: b"data\n".to_vec() },
        ],
        ..subject.launch("input", script)
    };
    let facts = subject.run(&launch).await;
    assert_eq!(subject.output(&facts).await, "{\"a\":1}\ntool\ndata\n");
    let launch = Launch {
        input: Some(Input::Raw(b"in a variable".to_vec())),
        input_delivery: InputDelivery::Env("GIVEN".to_owned()),
        ..subject.launch("inputenv", "echo \"$GIVEN ${LONGSHORE_INPUT-unset}\"")
    };
    let facts = subject.run(&launch).await;
    assert_eq!(subject.output(&facts).await, "in a variable unset\n");
    if subject.backend.capabilities.stdin_input {
        let input = Some(Input::Raw(b"on stdin".to_vec()));
        let launch = Launch { input, input_delivery: InputDelivery::Stdin, ..subject.launch("inputstdin", "cat") };
        let facts = subject.run(&launch).await;
        assert_eq!(subject.output(&facts).await, "on stdin");
    }
}

pub(crate) async fn the_environment_is_the_spec_s(subject: &Subject) {
    let variable =
        |name: &str, value: &str| EnvVar { name: name.to_owned(), source: EnvSource::Value(value.to_owned()) };
    let mut launch = subject.launch("env", "echo \"$A|$LONGSHORE_RUN|$LONGSHORE_ATTEMPT\"");
    Arc::make_mut(&mut launch.submission.effective).env =
        vec![variable("A", "b $(c) 'd'"), variable("LONGSHORE_RUN", "mine")];
    let facts = subject.run(&launch).await;
    assert_eq!(subject.output(&facts).await, format!("b $(c) 'd'|{}|1\n", launch.name.run));
}

pub(crate) async fn the_result_file_is_the_message(subject: &Subject) {
    let facts = subject.run_script("result", r#"printf '{"answer": 42}' > "$LONGSHORE_RESULT"; exit 3"#).await;
    assert_eq!(end(&facts).message, b"{\"answer\": 42}");
    assert_eq!(end(&facts).exit_code, 3);
}

pub(crate) async fn a_stop_is_written_once(subject: &Subject) {
    let launch = subject.launch("stop", "sleep 60");
    let mut watch = subject.watch();
    let facts = subject.create(&launch).await;
    subject.act(&facts, Action::WriteStop(stop("first"))).await;
    subject.act(&facts, Action::WriteStop(stop("second"))).await;
    let facts = watch.until(&launch.name, "stopped", |facts| facts.stop.is_some()).await;
    assert_eq!(facts.stop, Some(stop("first")));
    end_attempt(subject, &mut watch, &facts).await;
}

/// Orders the end of the run and waits for it, as the reconciler does.
async fn end_attempt(subject: &Subject, watch: &mut Watch, facts: &RunFacts) -> RunFacts {
    let mut facts = subject.backend.runs.get(&facts.name).await.unwrap().expect("it is there");
    while !is_over(&facts) {
        let attempt = facts.last_attempt().unwrap();
        let action = match attempt.main.started() {
            true => Action::EndStarted { attempt: attempt.number },
            false => Action::EndUnstarted { attempt: attempt.number },
        };
        subject.act(&facts, action.clone()).await;
        // Twice is once.
        subject.act(&facts, action).await;
        facts = watch.until(&facts.name, "changed", |seen| *seen != facts).await;
    }
    facts
}

pub(crate) async fn a_running_program_is_ended(subject: &Subject) {
    let script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let launch = subject.launch("term", script);
    let mut watch = subject.watch();
    subject.create(&launch).await;
    let running = watch.until(&launch.name, "running", is_running).await;
    wait_for_output(subject, &running, b"ready\n").await;
    subject.act(&running, Action::WriteStop(stop("somebody"))).await;
    let over = end_attempt(subject, &mut watch, &running).await;
    assert_eq!(end(&over).exit_code, 5);
    assert_eq!(over.stop, Some(stop("somebody")));
    assert_eq!(subject.output(&over).await, "ready\nbye\n");
}

async fn wait_for_output(subject: &Subject, facts: &RunFacts, wanted: &[u8]) {
    let wait = async {
        while text(&subject.read(facts, None, false).await, None) != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the output comes");
}

pub(crate) async fn a_program_that_ignores_sigterm_is_killed(subject: &Subject) {
    let launch = subject.launch("kill", "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    let mut watch = subject.watch();
    subject.create(&launch).await;
    let running = watch.until(&launch.name, "running", is_running).await;
    wait_for_output(subject, &running, b"ready\n").await;
    subject.act(&running, Action::WriteStop(stop("somebody"))).await;
    let over = end_attempt(subject, &mut watch, &running).await;
    assert_eq!(end(&over).exit_code, 137);
}

pub(crate) async fn the_run_clock_ends_it(subject: &Subject) {
    let mut launch = subject.launch("clock", "sleep 600");
    Arc::make_mut(&mut launch.submission.effective).run_timeout = Duration::from_secs(1);
    let mut watch = subject.watch();
    subject.create(&launch).await;
    let lowered = watch.until(&launch.name, "running", |facts| is_running(facts) || is_over(facts)).await;
    if is_running(&lowered) {
        // As the reconciler does where the backend's clock began before the program.
        let deadline = Duration::from_secs(2);
        subject.act(&lowered, Action::LowerDeadline { attempt: 1, deadline }).await;
    }
    let over = watch.until(&launch.name, "over", is_over).await;
    let attempt = over.last_attempt().unwrap();
    assert_eq!((attempt.phase, attempt.is_by_deadline()), (AttemptPhase::Failed, true));
    assert!(over.stop.is_none());
}

pub(crate) async fn a_late_watch_reports_the_same(subject: &Subject) {
    let facts = subject.run_script("late", "echo done").await;
    let mut late = subject.watch();
    let mut seen = None;
    loop {
        match late.next().await {
            FactsEvent::Upsert(printed) if printed.name == facts.name => seen = Some(*printed),
            FactsEvent::Synced => break,
            FactsEvent::Broken(why) => panic!("{why}"),
            _ => {}
        }
    }
    let seen = seen.expect("reported before the end of what was there");
    assert_eq!((&seen.uid, &seen.submission), (&facts.uid, &facts.submission));
    assert_eq!(end(&seen), end(&facts));
    // It goes on.
    let next = subject.launch("later", "exit 0");
    subject.create(&next).await;
    late.until(&next.name, "over", is_over).await;
}

pub(crate) async fn a_run_is_recorded_released_and_deleted(subject: &Subject) {
    let mut watch = subject.watch();
    let launch = subject.launch("record", "exit 0");
    let facts = subject.create(&launch).await;
    watch.until(&launch.name, "over", is_over).await;
    subject.act(&facts, Action::StoreResult { json: "{\"large\":true}".to_owned() }).await;
    subject.act(&facts, Action::StoreResult { json: "{\"large\":true}".to_owned() }).await;
    let stored = subject.backend.runs.read_result(&facts.name, &facts.uid).await.unwrap();
    assert_eq!(stored.as_deref(), Some(b"{\"large\":true}".as_slice()));
    subject.act(&facts, Action::WriteRecord(Box::new(record("first")))).await;
    subject.act(&facts, Action::WriteRecord(Box::new(record("second")))).await;
    let retention = Duration::from_secs(3600);
    let release =
        Action::Release { reason: "Succeeded".to_owned(), message: "fine".to_owned(), retention, attempts: 1 };
    subject.act(&facts, release.clone()).await;
    subject.act(&facts, release).await;
    let released = watch.until(&launch.name, "released", |facts| facts.released).await;
    assert_eq!(released.record, Some(record("first")));
    assert!(released.expire_time.is_some_and(|time| time > Timestamp::now()));
    subject.act(&facts, Action::Delete).await;
    loop {
        if watch.next().await == FactsEvent::Gone(launch.name.clone()) {
            break;
        }
    }
    assert!(subject.backend.runs.get(&launch.name).await.unwrap().is_none());
    let again = subject.run(&launch).await;
    assert_ne!(again.uid, facts.uid);
}

pub(crate) async fn another_uid_is_another_run(subject: &Subject) {
    let facts = subject.run_script("uid", "exit 0").await;
    let act = subject.backend.runs.act(&facts.name, "another", &Action::Delete).await;
    assert!(matches!(act, Err(BackendError::NotFound(_))), "{act:?}");
    assert!(subject.backend.runs.get(&facts.name).await.unwrap().is_some());
}
