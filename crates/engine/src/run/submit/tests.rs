//! What no real backend can be made to say at will: that a generated id is taken.

use std::sync::Mutex;

use async_trait::async_trait;
use futures::stream::BoxStream;
use prometheus_client::registry::Registry;

use super::*;
use crate::access::AccessMetrics;
use crate::metrics::EngineMetrics;
use crate::{AccessConfig, EngineConfig};
use longshore_backend::{Backend, BackendError, LogItem, LogOptions, LogSource, Logs, Preview, Runs};
use longshore_domain::notation::violation::Violations;
use longshore_domain::run::facts::FactsEvent;
use longshore_domain::run::plan::Action;
use longshore_domain::run::spec::{self, ContainerWorkload};
use longshore_domain::testing::facts;
use longshore_domain::testing::on_kubernetes;

/// Has something else under the first names that are asked for.
struct Crowded {
    taken: Mutex<Vec<Created>>,
    asked: Mutex<Vec<RunId>>,
}

fn nothing<T>() -> Result<T, BackendError> {
    Err(BackendError::NotFound("anything".to_owned()))
}

#[async_trait]
impl Runs for Crowded {
    async fn create(&self, launch: &Launch) -> Result<Created, BackendError> {
        self.asked.lock().unwrap().push(launch.name.run.clone());
        let new = || Created::New(Box::new(RunFacts { name: launch.name.clone(), ..facts() }));
        Ok(self.taken.lock().unwrap().pop().unwrap_or_else(new))
    }

    async fn complete(&self, _: &Launch) -> Result<(), BackendError> {
        panic!("the other run's input is not ours")
    }

    async fn preview(&self, _: &Launch) -> Result<Preview, BackendError> {
        nothing()
    }

    async fn get(&self, _: &RunName) -> Result<Option<RunFacts>, BackendError> {
        nothing()
    }

    async fn act(&self, _: &RunName, _: &str, _: &Action) -> Result<(), BackendError> {
        nothing()
    }

    async fn read_result(&self, _: &RunName, _: &str) -> Result<Option<Vec<u8>>, BackendError> {
        nothing()
    }

    fn watch(&self) -> BoxStream<'static, FactsEvent> {
        Box::pin(futures::stream::iter([FactsEvent::Synced]))
    }
}

#[async_trait]
impl Logs for Crowded {
    fn rotates(&self) -> bool {
        true
    }

    async fn open(
        &self,
        _: &LogSource,
        _: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        nothing()
    }
}

/// Submits without an id where those are taken: the answer, and which ids were tried.
async fn submitted(taken: Vec<Created>) -> (Result<Submitted, EngineError>, Vec<RunId>) {
    let crowded = Arc::new(Crowded { taken: Mutex::new(taken), asked: Mutex::default() });
    let rules = on_kubernetes();
    let backend = Backend {
        capabilities: Arc::new(rules.capabilities.clone()),
        runs: Arc::<Crowded>::clone(&crowded),
        logs: Arc::<Crowded>::clone(&crowded),
        reviews: None,
    };
    let namespace = NamespaceName::default_namespace();
    let engine = Engine::start(EngineConfig {
        backend,
        rules,
        namespaces: [namespace.clone()].into(),
        drain: tokio_util::sync::CancellationToken::new(),
        result_deadline: std::time::Duration::from_secs(10),
        access: AccessConfig::default(),
        access_metrics: AccessMetrics::new(&mut Registry::default()),
        metrics: EngineMetrics::new(&mut Registry::default()),
    });
    let container = ContainerWorkload { image: "image:1".to_owned(), ..ContainerWorkload::default() };
    let spec = RunSpec { workload: Some(spec::Workload::Container(container)), ..RunSpec::default() };
    let spec = UnreadSpec::new(Some(SubmittedWorkload::Image("image:1".to_owned())), |_| spec);
    let (violations, validate_only) = (Violations::new(), false);
    let submit = Submit { namespace, run_id: None, request_id: None, spec, violations, validate_only };
    let answer = engine.submit(&Caller::default(), submit).await;
    let asked = crowded.asked.lock().unwrap().clone();
    (answer, asked)
}

#[tokio::test]
async fn a_generated_id_that_is_taken_is_drawn_again() {
    let taken = vec![Created::Taken { what: "a Job".to_owned() }, Created::Exists(Box::new(facts()))];
    let (answer, asked) = submitted(taken).await;
    let answer = answer.unwrap();
    assert!(!answer.replayed, "another run is no replay");
    assert_eq!(asked.len(), 3);
    assert_eq!(Some(&answer.run.name.run), asked.last());
    assert!(asked.iter().enumerate().all(|(index, id)| !asked[..index].contains(id)), "{asked:?}");
}

#[tokio::test]
async fn drawing_comes_to_an_end() {
    let taken = (0..10).map(|_| Created::Taken { what: "a Job".to_owned() }).collect();
    let (answer, asked) = submitted(taken).await;
    assert!(matches!(answer, Err(EngineError::NameTaken { .. })), "{answer:?}");
    assert_eq!(asked.len(), 5);
}
