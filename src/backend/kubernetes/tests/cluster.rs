//! What only a real cluster can show. Ignored: needs `$KUBECONFIG`, a Kubernetes namespace in
//! `$LONGSHORE_TEST_NAMESPACE`, and an image with a shell in `$LONGSHORE_TEST_IMAGE`.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::backend::kubernetes::support::{effective, launch_of, list};
use crate::backend::kubernetes::{KubernetesConfig, REQUEST_TIMEOUT, connect};
use crate::backend::{Backend, Created, Launch, LogItem, LogOptions, LogSource, NamespaceMap};
use crate::domain::facts::{FactsEvent, MainFacts, RunFacts};
use crate::domain::name::NamespaceName;
use crate::domain::plan::Action;
use crate::domain::profile::Program;
use crate::domain::record::{RECORD_VERSION, Record};
use crate::domain::run::{RunState, StopCause, StopIntent, Timeline};
use crate::domain::spec::{Input, Workload};

const BOUND: Duration = Duration::from_secs(60);

async fn backend() -> Backend {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let namespace = std::env::var("LONGSHORE_TEST_NAMESPACE").unwrap();
    let namespaces = NamespaceMap::new([(NamespaceName::default_namespace(), namespace)]);
    connect(KubernetesConfig {
        kubeconfig: None,
        context: None,
        in_cluster: false,
        instance: "backend-test".to_owned(),
        namespaces,
        volumes: std::collections::BTreeMap::new(),
        network_policies_installed: false,
        request_timeout: REQUEST_TIMEOUT,
    })
    .await
    .unwrap()
}

fn shell(id: &str, script: &str) -> Launch {
    let mut effective = effective();
    let image = std::env::var("LONGSHORE_TEST_IMAGE").unwrap();
    let Workload::Container(container) = &mut effective.workload else { panic!() };
    container.image = image.clone();
    container.command = list(&["sh", "-c", script]);
    let id = format!("{id}-{}", Timestamp::now().as_millisecond());
    let mut launch = launch_of(&id, effective);
    launch.submission.create_time = Timestamp::now();
    if let Program::Container(program) = &mut launch.program {
        program.image_pull_policy = Some("IfNotPresent".to_owned());
    }
    launch
}

async fn until(
    events: &mut BoxStream<'static, FactsEvent>,
    launch: &Launch,
    what: &str,
    mut done: impl FnMut(&RunFacts) -> bool,
) -> RunFacts {
    timeout(BOUND, async {
        loop {
            match events.next().await.unwrap() {
                FactsEvent::Upsert(facts) if facts.name == launch.name && done(&facts) => return *facts,
                FactsEvent::Broken(why) => panic!("broken: {why}"),
                _ => {}
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{what} was not seen"))
}

async fn synced(backend: &Backend) -> BoxStream<'static, FactsEvent> {
    let mut events = backend.runs.watch();
    timeout(BOUND, async { while events.next().await.unwrap() != FactsEvent::Synced {} }).await.unwrap();
    events
}

fn source(facts: &RunFacts) -> LogSource {
    let attempt = facts.last_attempt().unwrap();
    LogSource {
        run: facts.name.clone(),
        run_uid: facts.uid.clone(),
        attempt: 1,
        attempt_uid: attempt.uid.clone().unwrap(),
        pod: attempt.pod.clone().unwrap(),
        container: "run".to_owned(),
    }
}

async fn read(backend: &Backend, facts: &RunFacts, options: LogOptions) -> (String, Option<LogOptions>) {
    let mut items = backend.logs.open(&source(facts), &options).await.unwrap();
    let mut text = String::new();
    let mut last = None;
    while let Some(item) = timeout(BOUND, items.next()).await.unwrap() {
        match item.unwrap() {
            LogItem::Piece(piece) => {
                text.push_str(&String::from_utf8_lossy(&piece.data));
                last = Some(LogOptions { from: Some(piece.end()), follow: false });
            }
            LogItem::Gap(gap) => text.push_str(&format!("<gap {}>", gap.cause)),
        }
    }
    (text, last)
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_run_from_submit_to_release() {
    let backend = backend().await;
    let mut events = synced(&backend).await;
    let mut launch = shell("whole", "cat $LONGSHORE_INPUT; echo; for i in 1 2 3; do echo line $i; sleep 0.3; done");
    launch.input = Some(Input::Json("{\"a\":1}".to_owned()));
    let preview = backend.runs.preview(&launch).await.unwrap();
    assert!(preview.verdicts.iter().all(|verdict| verdict.accepted), "{preview:?}");
    let Created::New(new) = backend.runs.create(&launch).await.unwrap() else { panic!() };
    let mut again = launch.clone();
    again.submission.create_time = Timestamp::now();
    let Created::Exists(found) = backend.runs.create(&again).await.unwrap() else { panic!() };
    assert_eq!(found.uid, new.uid);
    backend.runs.complete(&again).await.unwrap();

    let ended =
        until(&mut events, &launch, "end", |facts| facts.last_attempt().unwrap().main.terminated().is_some()).await;
    assert_eq!(ended.last_attempt().unwrap().main.terminated().unwrap().exit_code, 0);
    let (text, last) = read(&backend, &ended, LogOptions::default()).await;
    assert_eq!(text, "{\"a\":1}\nline 1\nline 2\nline 3\n");
    let (rest, _) = read(&backend, &ended, last.unwrap()).await;
    assert_eq!(rest, "");

    let explained = |facts: &RunFacts| !facts.last_attempt().unwrap().evidence.is_empty();
    if !explained(&ended) {
        until(&mut events, &launch, "events", explained).await;
    }
    let facts = backend.runs.get(&launch.name).await.unwrap().unwrap();
    assert!(explained(&facts), "no events");

    let record = Record {
        version: RECORD_VERSION,
        state: RunState::Succeeded,
        failure: None,
        stop: None,
        message: "fine".to_owned(),
        timeline: Timeline::default(),
        attempts: Vec::new(),
        result: None,
        record_time: Timestamp::now(),
    };
    let act = async |action: Action| backend.runs.act(&launch.name, &new.uid, &action).await.unwrap();
    act(Action::StoreResult { json: "{\"x\":1}".to_owned() }).await;
    act(Action::StoreResult { json: "{\"x\":1}".to_owned() }).await;
    act(Action::WriteRecord(Box::new(record.clone()))).await;
    until(&mut events, &launch, "Job end", |facts| {
        facts.last_attempt().unwrap().job_end.as_ref().is_some_and(|end| end.final_)
    })
    .await;
    let release =
        Action::Release { reason: "SUCCEEDED".into(), message: "fine".into(), retention: Duration::from_secs(600) };
    act(release.clone()).await;
    act(release).await;
    assert_eq!(backend.runs.read_result(&launch.name, &new.uid).await.unwrap().unwrap(), b"{\"x\":1}");
    let facts = backend.runs.get(&launch.name).await.unwrap().unwrap();
    assert!(facts.released);
    assert_eq!(facts.record, Some(record));
    assert!(facts.expire_time.is_some());
    act(Action::Delete).await;
    act(Action::Delete).await;
    timeout(BOUND, async { while events.next().await.unwrap() != FactsEvent::Gone(launch.name.clone()) {} })
        .await
        .unwrap();
    assert_eq!(backend.runs.get(&launch.name).await.unwrap(), None);
}

fn stop(reason: &str) -> StopIntent {
    StopIntent {
        cause: StopCause::Cancel,
        reason: reason.into(),
        actor: "a".into(),
        time: Timestamp::now(),
        failure: None,
    }
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_running_run_is_stopped_with_its_log_kept() {
    let backend = backend().await;
    let mut events = synced(&backend).await;
    let launch = shell("stop", "trap 'echo bye; exit 3' TERM; echo begun; while true; do sleep 0.2; done");
    let Created::New(new) = backend.runs.create(&launch).await.unwrap() else { panic!() };
    let running = until(&mut events, &launch, "running", |facts| {
        matches!(facts.last_attempt().unwrap().main, MainFacts::Running { .. })
    })
    .await;
    let act = async |action: Action| backend.runs.act(&launch.name, &new.uid, &action).await.unwrap();
    act(Action::LowerDeadline { attempt: 1, deadline: Duration::from_secs(500) }).await;
    act(Action::LowerDeadline { attempt: 1, deadline: Duration::from_secs(600) }).await;
    act(Action::WriteStop(stop("first"))).await;
    act(Action::WriteStop(stop("second"))).await;
    let follow = LogOptions { from: None, follow: true };
    let (followed, ()) = tokio::join!(read(&backend, &running, follow), act(Action::EndStarted { attempt: 1 }));
    assert_eq!(followed.0, "begun\nbye\n");
    act(Action::EndStarted { attempt: 1 }).await;
    let ended =
        until(&mut events, &launch, "end", |facts| facts.last_attempt().unwrap().main.terminated().is_some()).await;
    assert_eq!(ended.stop.as_ref().unwrap().reason, "first");
    let attempt = backend.runs.get(&launch.name).await.unwrap().unwrap().attempts.remove(0);
    assert_eq!(attempt.main.terminated().unwrap().exit_code, 3);
    let (text, _) = read(&backend, &ended, LogOptions::default()).await;
    assert_eq!(text, "begun\nbye\n");
    act(Action::Delete).await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn what_never_started_is_ended_through_its_job() {
    let backend = backend().await;
    let mut events = synced(&backend).await;
    let mut launch = shell("unstarted", "true");
    launch.submission.effective.placement.node_selector.insert("no".into(), "such-node".into());
    let Created::New(new) = backend.runs.create(&launch).await.unwrap() else { panic!() };
    until(&mut events, &launch, "unschedulable", |facts| {
        facts.last_attempt().unwrap().waiting.as_ref().is_some_and(|waiting| waiting.reason == "Unschedulable")
    })
    .await;
    for _ in 0..2 {
        backend.runs.act(&launch.name, &new.uid, &Action::EndUnstarted { attempt: 1 }).await.unwrap();
    }
    until(&mut events, &launch, "end", |facts| {
        let attempt = facts.last_attempt().unwrap();
        attempt.job_end.is_some() && (attempt.deleted_at.is_some() || attempt.phase.is_over())
    })
    .await;
    backend.runs.act(&launch.name, &new.uid, &Action::Delete).await.unwrap();
}
