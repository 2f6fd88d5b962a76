//! What is done to things of a kind, and what is known of them beside facts.

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::kind::Kind;
use super::observed::Observed;
use super::readiness::Readiness;
use super::table::Table;
use longshore_backend::BackendError;
use longshore_domain::reconcile::Event;

/// Reaches the backend for the reconciler of one kind. Only the reconciler's loop calls what takes `memo`.
pub(crate) trait Driver: Send + Sync + 'static {
    type Kind: Kind;
    /// What the driver remembers of one thing, as long as that is there.
    type Memo: Default + Send;
    /// What was found out beside facts.
    type Finding: Send;

    /// Reports every thing, beginning with those that are there. Never ends; after [`Event::Broken`] everything is reported
    /// again, up to [`Event::Synced`].
    fn watch(&self) -> BoxStream<'static, EventOf<Self::Kind>>;

    /// Reads one from the authority. `None`: there is none.
    fn get(&self, name: &NameOf<Self>) -> impl Future<Output = Result<Option<FactsOf<Self>>, BackendError>> + Send;

    /// Does one thing to what has this name and uid. `NotFound` if it is gone or is another.
    fn act(
        &self,
        name: &NameOf<Self>,
        uid: &str,
        action: &ActionOf<Self>,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Adds to facts what this process knows and the backend does not; `trouble` is what keeps an action from being done,
    /// in a sentence for callers.
    fn amend(&self, memo: &mut Self::Memo, trouble: Option<&str>, facts: &mut FactsOf<Self>);

    /// Was taken in and is in the table: reports what that is to people and metrics.
    fn taken_in(&self, known: Option<&Observed<Self::Kind>>, observed: &Observed<Self::Kind>, ready: &Readiness);

    /// Begins what has to be found out in other ways than by facts, if it is to be begun now. What comes of it goes to
    /// [`Self::found`], and the thing is looked at again.
    fn beside(
        &self,
        memo: &mut Self::Memo,
        observed: &Observed<Self::Kind>,
        table: &Table<Self::Kind>,
    ) -> Option<BoxFuture<'static, Self::Finding>>;

    fn found(&self, memo: &mut Self::Memo, finding: Self::Finding);

    /// An action has failed this often in a row, and not for a moment only. Whether the thing can go on without it, as
    /// noted in `memo`: then it is looked at again at once.
    fn goes_on_without(
        &self,
        memo: &mut Self::Memo,
        action: &ActionOf<Self>,
        error: &BackendError,
        failures: u32,
    ) -> bool;

    /// What has this uid is gone.
    fn gone(&self, uid: &str);
}

pub(crate) type NameOf<D> = <<D as Driver>::Kind as Kind>::Name;
pub(crate) type FactsOf<D> = <<D as Driver>::Kind as Kind>::Facts;
pub(crate) type ActionOf<D> = <<D as Driver>::Kind as Kind>::Action;
pub(crate) type EventOf<K> = Event<<K as Kind>::Facts, <K as Kind>::Name>;
