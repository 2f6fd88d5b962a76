//! Runs that are on their way out, which no real backend holds on to at will.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{AccessConfig, AccessMetrics, EngineConfig, EngineMetrics, Submit, UnreadSpec};
use longshore_backend::{Backend, Created, Launch, LogItem, LogOptions, LogSource, Logs, Preview, Runs};
use longshore_domain::name::NamespaceName;
use longshore_domain::notation::violation::Violations;
use longshore_domain::run::derive::record;
use longshore_domain::run::digest::PayloadDigest;
use longshore_domain::run::facts::{AttemptPhase, FactsEvent, MainFacts};
use longshore_domain::run::spec::{self, ContainerWorkload, RunSpec};
use longshore_domain::testing::{at, facts, on_kubernetes, settled, terminated};

/// Has this run, and one of its id is there already.
struct One(Mutex<Option<RunFacts>>);

impl One {
    fn run(&self) -> Option<RunFacts> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Runs for One {
    async fn create(&self, launch: &Launch) -> Result<Created, BackendError> {
        let mut new = facts();
        new.submission = launch.submission.clone();
        new.uid = "new".to_owned();
        Ok(self.run().map_or_else(|| Created::New(Box::new(new)), |run| Created::Exists(Box::new(run))))
    }

    async fn complete(&self, _: &Launch) -> Result<(), BackendError> {
        Ok(())
    }

    async fn preview(&self, _: &Launch) -> Result<Preview, BackendError> {
        Err(BackendError::NotFound("a preview".to_owned()))
    }

    async fn get(&self, _: &RunName) -> Result<Option<RunFacts>, BackendError> {
        Ok(self.run())
    }

    async fn act(&self, _: &RunName, _: &str, action: &Action) -> Result<(), BackendError> {
        if *action == Action::Delete
            && let Some(run) = self.0.lock().unwrap().as_mut()
        {
            run.deleted_at = Some(at(50));
        }
        Ok(())
    }

    async fn read_result(&self, _: &RunName, _: &str) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(None)
    }

    fn watch(&self) -> BoxStream<'static, FactsEvent> {
        stream::iter([FactsEvent::Synced]).chain(stream::pending()).boxed()
    }
}

#[async_trait]
impl Logs for One {
    fn rotates(&self) -> bool {
        false
    }

    async fn open(
        &self,
        _: &LogSource,
        _: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        Err(BackendError::NotFound("a log".to_owned()))
    }
}

fn spec() -> RunSpec {
    let image = ContainerWorkload { image: "image:1".to_owned(), ..ContainerWorkload::default() };
    RunSpec { workload: Some(spec::Workload::Container(image)), ..RunSpec::default() }
}

fn engine(one: &Arc<One>) -> Engine {
    let (runs, logs): (Arc<dyn Runs>, Arc<dyn Logs>) = (Arc::<One>::clone(one), Arc::<One>::clone(one));
    let rules = on_kubernetes();
    let capabilities = Arc::new(rules.capabilities.clone());
    Engine::start(EngineConfig {
        backend: Backend { capabilities, runs, logs, reviews: None },
        rules,
        namespaces: BTreeSet::from([NamespaceName::default_namespace()]),
        drain: CancellationToken::new(),
        result_deadline: Duration::from_secs(10),
        access: AccessConfig::default(),
        access_metrics: AccessMetrics::default(),
        metrics: EngineMetrics::new(&mut Registry::default()),
    })
}

/// A run of this test's spec that has ended and is recorded.
fn ended() -> RunFacts {
    let mut ended = facts();
    ended.submission.digest = PayloadDigest::of(&spec());
    ended.attempts[0].phase = AttemptPhase::Succeeded;
    ended.attempts[0].main = MainFacts::Terminated(terminated(0));
    let (outcome, result) = settled(&ended, at(30)).unwrap();
    RunFacts { record: Some(record(&ended, &outcome, result, at(30))), ..ended }
}

#[tokio::test]
async fn a_run_that_is_being_deleted_is_no_replay_and_its_id_is_free_once_it_is_gone() {
    let run = ended();
    let one = Arc::new(One(Mutex::new(Some(run.clone()))));
    let engine = engine(&one);
    let caller = Caller::default();
    let submit = async || {
        let submit = Submit {
            namespace: NamespaceName::default_namespace(),
            run_id: Some(run.name.run.clone()),
            request_id: None,
            spec: UnreadSpec::new(None, |_| spec()),
            violations: Violations::new(),
            validate_only: false,
        };
        engine.submit(&caller, submit).await
    };
    // Something that is not ours holds it.
    let held = engine.delete(&caller, &run.name, false, "").await.unwrap().expect("the run");
    assert_eq!((held.state, held.delete_time), (longshore_domain::run::RunState::Succeeded, Some(at(50))));
    assert_eq!(engine.get(&caller, &run.name).await.unwrap().delete_time, Some(at(50)));
    let refused = submit().await.unwrap_err();
    assert!(matches!(refused, EngineError::DeleteInProgress(_)), "{refused:?}");
    one.0.lock().unwrap().take();
    let submitted = submit().await.unwrap();
    assert_eq!((submitted.replayed, submitted.run.uid.as_str()), (false, "new"));
}

#[tokio::test]
async fn a_run_that_nothing_else_holds_is_gone_once_its_deletion_is_answered() {
    let run = ended();
    let one = Arc::new(One(Mutex::new(Some(run.clone()))));
    let engine = engine(&one);
    let caller = Caller::default();
    engine.get(&caller, &run.name).await.unwrap();
    one.0.lock().unwrap().take();
    assert!(engine.delete(&caller, &run.name, false, "").await.unwrap().is_none());
    assert!(matches!(engine.get(&caller, &run.name).await, Err(EngineError::RunNotFound(_))));
}
