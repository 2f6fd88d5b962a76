//! Cancelling and deleting all runs that match.

use futures::stream::{self, StreamExt};

use super::read::{RunFilter, matches};
use crate::observed::RunTraits;
use crate::{Caller, Engine, EngineError};
use longshore_domain::name::{NamespaceName, RunName};
use longshore_domain::notation::violation::Violation;

/// Runs that one call is about at most.
const MATCHED_MAX: usize = 500;
/// Runs that are cancelled or deleted at once.
const AT_ONCE: usize = 16;

/// Runs that are meant by a call, in one namespace.
#[derive(Clone, Debug)]
pub struct Matching {
    /// Where.
    pub namespace: NamespaceName,
    /// Which; never all.
    pub filter: RunFilter,
    /// Only say which.
    pub validate_only: bool,
}

/// What was done to the runs that matched.
#[derive(Debug)]
pub struct Matched {
    /// The runs, newest first, and what became of each.
    pub runs: Vec<(RunName, Result<(), EngineError>)>,
    /// Whether there are others that match.
    pub more: bool,
    /// How many match and are not finished.
    pub live: usize,
}

impl Engine {
    /// Asks the newest of the runs that match and that a cancel changes anything of for a stop, as
    /// [`cancel`](Self::cancel) does.
    ///
    /// # Errors
    /// A filter that leaves everything open; a namespace where the caller may not do it; not all runs are known yet.
    /// What becomes of a single run is its own.
    pub async fn cancel_matching(
        &self,
        caller: &Caller,
        matching: Matching,
        reason: &str,
    ) -> Result<Matched, EngineError> {
        let can_be_stopped = |run: &RunTraits<'_>| run.can_be_stopped;
        let cancel = |name: RunName| async move { self.cancel(caller, &name, reason.to_owned(), "").await.map(drop) };
        self.each_matching(caller, matching, can_be_stopped, cancel).await
    }

    /// Deletes the newest of the runs that match and are finished, as [`delete`](Self::delete) does.
    ///
    /// # Errors
    /// As [`cancel_matching`](Self::cancel_matching).
    pub async fn delete_matching(&self, caller: &Caller, matching: Matching) -> Result<Matched, EngineError> {
        let can_be_deleted = |run: &RunTraits<'_>| run.state.is_terminal() && !run.is_deleted;
        let delete = |name: RunName| async move { self.delete(caller, &name, true, "").await.map(drop) };
        self.each_matching(caller, matching, can_be_deleted, delete).await
    }

    /// Each is asked for its own right: that is what the audit shows of it.
    async fn each_matching<F: Future<Output = Result<(), EngineError>>>(
        &self,
        caller: &Caller,
        Matching { namespace, filter, validate_only }: Matching,
        is_wanted: impl Fn(&RunTraits<'_>) -> bool,
        act: impl Fn(RunName) -> F,
    ) -> Result<Matched, EngineError> {
        self.authorize_namespace(caller, &namespace).await?;
        if filter == RunFilter::default() {
            let said = "must not be empty; name labels, states, times, a profile or a failure class";
            return Err(EngineError::Invalid(Violation::new("filter", said).into()));
        }
        self.synced()?;
        let table = self.inner.runs.table();
        let is_meant = |run: RunTraits<'_>| run.name.namespace == namespace && matches(run, &filter);
        let (page, more) = table.page(None, MATCHED_MAX, |run| is_wanted(&run) && is_meant(run));
        let live = table.count(|run| !run.state.is_terminal() && is_meant(run));
        let names: Vec<_> = page.iter().map(|held| held.traits().name.clone()).collect();
        if validate_only {
            return Ok(Matched { runs: names.into_iter().map(|name| (name, Ok(()))).collect(), more, live });
        }
        let ended: Vec<_> = stream::iter(names.iter().cloned()).map(act).buffered(AT_ONCE).collect().await;
        Ok(Matched { runs: names.into_iter().zip(ended).collect(), more, live })
    }
}
