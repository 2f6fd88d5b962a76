//! What no real backend can be made to emit at will. The rest through gRPC.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::reconcile::Reconciled;
use longshore_backend::{Created, Launch, LogItem, LogOptions, LogSource, Logs, Preview};
use longshore_domain::run::facts::{AttemptFacts, AttemptPhase};
use longshore_domain::run::{RunState, StopCause};
use longshore_domain::testing::on_kubernetes;
use longshore_domain::testing::{at, attempt, facts, stop, terminated};

/// Reports what a test says, has nothing, and says whose log it is asked for.
struct Scripted(Mutex<Option<mpsc::Receiver<FactsEvent>>>, mpsc::Sender<LogSource>);

fn nothing<T>() -> Result<T, BackendError> {
    Err(BackendError::NotFound("anything".to_owned()))
}

#[async_trait]
impl Runs for Scripted {
    async fn create(&self, _: &Launch) -> Result<Created, BackendError> {
        nothing()
    }

    async fn complete(&self, _: &Launch) -> Result<(), BackendError> {
        nothing()
    }

    async fn preview(&self, _: &Launch) -> Result<Preview, BackendError> {
        nothing()
    }

    async fn get(&self, _: &RunName) -> Result<Option<RunFacts>, BackendError> {
        nothing()
    }

    async fn act(&self, _: &RunName, _: &str, _: &Action) -> Result<(), BackendError> {
        Err(BackendError::AdmissionDenied { what: "annotate Job a".to_owned(), message: "frozen".to_owned() })
    }

    async fn read_result(&self, _: &RunName, _: &str) -> Result<Option<Vec<u8>>, BackendError> {
        nothing()
    }

    fn watch(&self) -> BoxStream<'static, FactsEvent> {
        let events = self.0.lock().unwrap().take().expect("it is watched once");
        Box::pin(ReceiverStream::new(events))
    }
}

#[async_trait]
impl Logs for Scripted {
    fn rotates(&self) -> bool {
        true
    }

    async fn open(
        &self,
        source: &LogSource,
        _: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        // Not every test listens.
        let _ = self.1.try_send(source.clone());
        nothing()
    }
}

fn started() -> (Reconciled<RunDriver>, mpsc::Sender<FactsEvent>) {
    let (runs, emit, _) = started_with_logs();
    (runs, emit)
}

fn started_with_logs() -> (Reconciled<RunDriver>, mpsc::Sender<FactsEvent>, mpsc::Receiver<LogSource>) {
    let (emit, events) = mpsc::channel(8);
    let (asked, opened) = mpsc::channel(64);
    let scripted = Arc::new(Scripted(Mutex::new(Some(events)), asked));
    let (runs, logs): (Arc<dyn Runs>, Arc<dyn Logs>) = (Arc::<Scripted>::clone(&scripted), scripted);
    let metrics = EngineMetrics::new(&mut Registry::default());
    let hub = Hub::new(logs, metrics.clone());
    let results = Reading::new(hub.clone(), Duration::from_secs(10), &on_kubernetes());
    let driver = RunDriver::new(runs, hub, results, metrics.clone());
    (Reconciled::start(driver, metrics.reconcile().clone()), emit, opened)
}

fn run(id: &str, uid: &str) -> RunFacts {
    let name = RunName::parse(&format!("namespaces/default/runs/{id}")).unwrap();
    RunFacts { name, uid: uid.to_owned(), ..facts() }
}

fn upsert(facts: RunFacts) -> FactsEvent {
    FactsEvent::Upsert(Box::new(facts))
}

async fn reported(table: &Table<RunKind>, facts: &RunFacts) {
    while table.get(&facts.name).is_none_or(|known| known.facts.uid != facts.uid) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_deleted_run_is_gone_at_once_and_comes_back_as_another_only() {
    let (runs, emit) = started();
    let table = runs.table();
    let (old, other, new) = (run("a", "1"), run("b", "2"), run("a", "3"));
    emit.send(upsert(old.clone())).await.unwrap();
    reported(table, &old).await;
    runs.deleted(old.name.clone(), old.uid.clone()).await;
    assert!(table.get(&old.name).is_none(), "a caller that was answered that it is deleted does not see it");
    // What was on its way is reported late, by the watch and by a read.
    emit.send(upsert(old.clone())).await.unwrap();
    runs.seen(old.clone()).await;
    emit.send(upsert(other.clone())).await.unwrap();
    reported(table, &other).await;
    assert!(table.get(&old.name).is_none());
    emit.send(upsert(new.clone())).await.unwrap();
    reported(table, &new).await;
    // Of the first, and too late to mean the second.
    runs.deleted(old.name.clone(), old.uid.clone()).await;
    reported(table, &new).await;
}

#[tokio::test]
async fn what_was_seen_to_start_stays_started() {
    let (runs, emit) = started();
    let table = runs.table();
    let mut running = run("a", "1");
    running.attempts[0].phase = AttemptPhase::Running;
    running.attempts[0].main = MainFacts::Running { started_at: Some(at(10)) };
    emit.send(upsert(running.clone())).await.unwrap();
    reported(table, &running).await;
    let emptied = run("a", "1");
    emit.send(upsert(RunFacts { suspended: true, ..emptied })).await.unwrap();
    while !table.get(&running.name).is_some_and(|known| known.facts.suspended) {
        tokio::task::yield_now().await;
    }
    let known = table.get(&running.name).unwrap();
    assert_eq!((known.view.state, known.view.timeline.start_time), (RunState::Running, Some(at(10))));
}

#[tokio::test]
async fn a_record_that_can_not_be_written_is_reported_and_nothing_is_terminal() {
    let (runs, emit) = started();
    let table = runs.table();
    let mut ended = run("a", "1");
    ended.attempts[0].phase = AttemptPhase::Failed;
    ended.attempts[0].main = MainFacts::Terminated(terminated(3));
    emit.send(upsert(ended.clone())).await.unwrap();
    let trouble = |known: &ObservedRun| known.view.message.contains("how it ended can't be recorded yet");
    while !table.get(&ended.name).is_some_and(|known| trouble(&known)) {
        tokio::task::yield_now().await;
    }
    let known = table.get(&ended.name).unwrap();
    assert_eq!((known.view.state, known.view.exit_code), (RunState::Finishing, Some(3)));
    assert!(known.view.message.contains("frozen"), "{}", known.view.message);
}

#[tokio::test]
async fn what_starts_although_it_is_to_be_stopped_is_followed_at_once() {
    let (_runs, emit, mut opened) = started_with_logs();
    let runs = |facts: RunFacts| {
        let main = MainFacts::Running { started_at: None };
        RunFacts { attempts: vec![AttemptFacts { main, phase: AttemptPhase::Running, ..attempt() }], ..facts }
    };
    let stopped = |facts: RunFacts| RunFacts { stop: Some(stop(StopCause::Cancel, 5)), ..facts };
    // This one ran before: its Pod stays, with its log.
    let before = run("before", "1");
    for facts in [before.clone(), runs(before.clone()), stopped(runs(before))] {
        emit.send(upsert(facts)).await.unwrap();
    }
    // And this one was stopped before it ran.
    let after = run("after", "2");
    for facts in [after.clone(), stopped(after.clone()), stopped(runs(after))] {
        emit.send(upsert(facts)).await.unwrap();
    }
    assert_eq!(opened.recv().await.unwrap().run_uid, "2");
}
