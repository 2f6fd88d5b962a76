//! The roles of a backend, for runs as processes of this machine. What waits for a disk is done apart from the
//! caller's task.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::blocking::blocking;
use crate::run::runs::LocalRuns;
use crate::{log, run};
use longshore_backend::{BackendError, Created, Launch, LogItem, LogOptions, LogSource, Logs, Preview, Runs};
use longshore_domain::name::RunName;
use longshore_domain::run::facts::{FactsEvent, RunFacts};
use longshore_domain::run::plan::Action;
use longshore_domain::run::rundir;

#[derive(Debug)]
pub(crate) struct LocalRoles(pub(crate) Arc<LocalRuns>);

#[async_trait]
impl Runs for LocalRoles {
    async fn create(&self, launch: &Launch) -> Result<Created, BackendError> {
        let (local, launch) = (Arc::clone(&self.0), launch.clone());
        blocking("creating a run", move || {
            let created = local.create(&launch)?;
            if let Created::New(_) = created
                && let Some(contents) = local.contents(&launch.name)?
            {
                local.attend(&contents);
            }
            Ok(created)
        })
        .await
    }

    async fn complete(&self, launch: &Launch) -> Result<(), BackendError> {
        // The input came into being with the run. All that a crash can have left undone is the shim.
        let (local, name) = (Arc::clone(&self.0), launch.name.clone());
        blocking("completing a run", move || {
            let contents = local.contents(&name)?.ok_or_else(|| BackendError::NotFound(name.to_string()))?;
            local.attend(&contents);
            Ok(())
        })
        .await
    }

    async fn preview(&self, launch: &Launch) -> Result<Preview, BackendError> {
        let (local, launch) = (Arc::clone(&self.0), launch.clone());
        blocking("previewing a run", move || {
            let mut preview = local.launcher.preview(&launch, &local.store.dir(&launch.name))?;
            if let (Some(verdict), Some(wait)) = (preview.verdicts.first_mut(), local.queue.expected_wait()) {
                verdict.message = format!("{}; {wait}", verdict.message);
            }
            Ok(preview)
        })
        .await
    }

    async fn get(&self, name: &RunName) -> Result<Option<RunFacts>, BackendError> {
        Ok(self.0.read(name).await?.map(|contents| self.0.facts(&contents)))
    }

    async fn act(&self, name: &RunName, uid: &str, action: &Action) -> Result<(), BackendError> {
        self.0.answers(name)?;
        let (local, name, uid, action) = (Arc::clone(&self.0), name.clone(), uid.to_owned(), action.clone());
        blocking("acting on a run", move || local.act(&name, &uid, action)).await
    }

    async fn read_result(&self, name: &RunName, uid: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let (local, name, uid) = (Arc::clone(&self.0), name.clone(), uid.to_owned());
        blocking("reading a result", move || {
            local.own(&name, &uid)?;
            local.store.read(&name, rundir::STORED_RESULT)
        })
        .await
    }

    fn watch(&self) -> BoxStream<'static, FactsEvent> {
        run::watch::watch(Arc::clone(&self.0))
    }
}

#[async_trait]
impl Logs for LocalRoles {
    fn rotates(&self) -> bool {
        false
    }

    async fn open(
        &self,
        source: &LogSource,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        log::open(Arc::clone(&self.0), source.clone(), *options).await
    }
}
