//! The engine as its callers hold it, and what it is made of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::access::{AccessConfig, AccessControl, AccessMetrics, Caller};
use crate::error::EngineError;
use crate::log::Hub;
use crate::metrics::EngineMetrics;
use crate::reconcile::{Readiness, Reconciled};
use crate::result::Reading;
use crate::run::driver::RunDriver;
use crate::run::submit::checks_at_once;
use longshore_backend::Backend;
use longshore_domain::name::NamespaceName;
use longshore_domain::run::profile::Profile;
use longshore_domain::run::rules::Rules;

/// Stored results that are read at once, each of `max_result_bytes` at most.
pub const RESULTS_AT_ONCE: usize = 16;

/// Runs the use cases. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineConfig {
    /// Executes runs.
    pub backend: Backend,
    /// What specs are judged by.
    pub rules: Rules,
    /// Namespaces that are configured.
    pub namespaces: BTreeSet<NamespaceName>,
    /// Cancelled when the server shuts down: nothing is submitted any more, streams end with
    /// `Reconnect`.
    pub drain: CancellationToken,
    /// How long the output of a program that has ended may take to be read.
    pub result_deadline: Duration,
    /// Who may do what.
    pub access: AccessConfig,
    /// Counts that.
    pub access_metrics: AccessMetrics,
    /// Counts what happens.
    pub metrics: EngineMetrics,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) backend: Backend,
    pub(crate) rules: Rules,
    pub(crate) namespaces: BTreeSet<NamespaceName>,
    pub(crate) drain: CancellationToken,
    pub(crate) runs: Reconciled<RunDriver>,
    pub(crate) hub: Hub,
    pub(crate) access: AccessControl,
    /// Turns of requests to be checked.
    pub(crate) checks: Arc<Semaphore>,
    /// Turns of stored results to be read.
    pub(crate) results_read: Semaphore,
    pub(crate) metrics: EngineMetrics,
}

impl Engine {
    /// Starts the reconciler: it adopts what is there and watches from then on, until the end of
    /// the process.
    #[must_use]
    pub fn start(config: EngineConfig) -> Self {
        let EngineConfig { backend, rules, namespaces, drain, result_deadline, access, access_metrics, metrics } =
            config;
        let access = AccessControl::new(access, backend.reviews.clone(), access_metrics);
        let hub = Hub::new(Arc::clone(&backend.logs), metrics.clone());
        let results = Reading::new(hub.clone(), result_deadline, &rules);
        let driver = RunDriver::new(Arc::clone(&backend.runs), hub.clone(), results, metrics.clone());
        let runs = Reconciled::start(driver, metrics.reconcile().clone());
        let checks = Arc::new(Semaphore::new(checks_at_once()));
        let results_read = Semaphore::new(RESULTS_AT_ONCE);
        let inner = Inner { backend, rules, namespaces, drain, runs, hub, access, checks, results_read, metrics };
        Self { inner: Arc::new(inner) }
    }

    /// The rules that specs are judged by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    /// Whether all runs are known; changes are reported.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.inner.runs.readiness()
    }

    /// Profiles that may be used in `namespace`, each with why it is not available on this
    /// backend, if it is not.
    ///
    /// # Errors
    /// If there is no such namespace, or none that the caller may see.
    pub async fn profiles(
        &self,
        caller: &Caller,
        namespace: &NamespaceName,
    ) -> Result<Vec<(Profile, Option<String>)>, EngineError> {
        self.authorize_namespace(caller, namespace).await?;
        let backend = self.inner.rules.capabilities.backend;
        let offered = |profile: &Profile| (profile.clone(), profile.unavailable_on(backend));
        Ok(self.inner.rules.profiles.values().map(offered).collect())
    }

    pub(crate) fn known(&self, namespace: &NamespaceName) -> Result<(), EngineError> {
        if self.inner.namespaces.contains(namespace) {
            Ok(())
        } else {
            Err(EngineError::NamespaceNotFound(namespace.clone()))
        }
    }

    /// Refuses what is new while the server drains.
    pub(crate) fn accepts(&self) -> Result<(), EngineError> {
        if self.inner.drain.is_cancelled() { Err(EngineError::NotServing("draining")) } else { Ok(()) }
    }

    /// Refuses what needs all runs to be known while they are not.
    pub(crate) fn synced(&self) -> Result<(), EngineError> {
        match &*self.inner.runs.readiness().borrow() {
            Readiness::Starting => Err(EngineError::NotServing("starting")),
            // What was known stays known: it is reported, though it may be late.
            Readiness::Ready | Readiness::Broken(_) => Ok(()),
        }
    }
}
