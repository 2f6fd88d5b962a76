//! Things of one kind, as the use cases reach them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, FactsOf, NameOf};
use super::kind::Kind;
use super::metrics::ReconcileMetrics;
use super::observed::Observed;
use super::readiness::Readiness;
use super::reconciler::{self, Message};
use super::table::Table;
use longshore_backend::BackendError;

/// Waiting messages for the reconciler.
const QUEUE: usize = 1024;
/// How long a wait may last, since balancers cut silent calls.
const WAIT_MAX: Duration = Duration::from_secs(50);

/// All things of one kind.
pub(crate) struct Reconciled<D: Driver> {
    driver: Arc<D>,
    table: Arc<Table<D::Kind>>,
    reconciler: mpsc::Sender<Message<D::Kind>>,
    ready: watch::Receiver<Readiness>,
}

impl<D: Driver> std::fmt::Debug for Reconciled<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciled").field("kind", &D::Kind::NOUN).finish_non_exhaustive()
    }
}

impl<D: Driver> Reconciled<D> {
    /// Starts the reconciler: it adopts what is there and watches from then on, until the end of the process.
    pub(crate) fn start(driver: D, metrics: ReconcileMetrics) -> Self {
        let (driver, table) = (Arc::new(driver), Arc::new(Table::new(metrics.clone())));
        let (reconciler, inbox) = mpsc::channel(QUEUE);
        let ready = reconciler::start(Arc::clone(&driver), Arc::clone(&table), metrics, inbox);
        Self { driver, table, reconciler, ready }
    }

    pub(crate) fn table(&self) -> &Table<D::Kind> {
        &self.table
    }

    /// Whether all are known; changes are reported.
    pub(crate) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.ready.clone()
    }

    /// The one with this name: as known, else as the backend says.
    pub(crate) async fn observed(&self, name: &NameOf<D>) -> Result<Option<Arc<Observed<D::Kind>>>, BackendError> {
        if let Some(known) = self.table.get(name) {
            return Ok(Some(known));
        }
        match self.driver.get(name).await? {
            Some(facts) => Ok(Some(self.seen(facts).await)),
            None => Ok(None),
        }
    }

    /// Waits until it has ended or `timeout` has passed (capped at 50 s), or `drain` is cancelled; answers it as it is then.
    /// `None`: it is not in the table.
    pub(crate) async fn wait(
        &self,
        name: &NameOf<D>,
        timeout: Duration,
        drain: &CancellationToken,
    ) -> Option<Arc<<D::Kind as Kind>::View>> {
        let mut follow = self.table.follow(name)?;
        tokio::select! {
            () = drain.cancelled() => {}
            () = tokio::time::sleep(timeout.min(WAIT_MAX)) => {}
            // An error means that it is gone: then the last of it is reported.
            _ = follow.wait_for(|observed| D::Kind::is_terminal(&observed.view)) => {}
        }
        let last = Arc::clone(&follow.borrow());
        Some(last.as_of(Timestamp::now()))
    }

    /// Reports facts that were just read from the authority, and waits until they are taken in.
    pub(crate) async fn seen(&self, facts: FactsOf<D>) -> Arc<Observed<D::Kind>> {
        let (reply, taken) = oneshot::channel();
        let fallback = facts.clone();
        if self.reconciler.send(Message::Seen(Box::new(facts), reply)).await.is_ok()
            && let Ok(observed) = taken.await
        {
            return observed;
        }
        Arc::new(Observed::new(fallback, Timestamp::now()))
    }

    /// Reports that what had this name and uid was deleted, and waits until nobody is reported of it any more.
    pub(crate) async fn deleted(&self, name: NameOf<D>, uid: String) {
        let (reply, taken) = oneshot::channel();
        // The reconciler ends with the process only.
        if self.reconciler.send(Message::Deleted(name, uid, reply)).await.is_ok() {
            let _ = taken.await;
        }
    }
}
