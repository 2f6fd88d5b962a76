//! Deleting a run.

use std::sync::Arc;

use jiff::Timestamp;

use super::etag::check_etag;
use crate::{Caller, Engine, EngineError};
use longshore_backend::BackendError;
use longshore_domain::name::RunName;
use longshore_domain::run::Run;
use longshore_domain::run::facts::RunFacts;
use longshore_domain::run::plan::Action;

impl Engine {
    /// Deletes a finished run, its record and its idempotency key; also one of which nothing lives and
    /// whose end can't be read. Answers the run if something that is not ours still holds it.
    ///
    /// # Errors
    /// There is no such run (unless `allow_missing`); it is live; it changed; the backend failed.
    pub async fn delete(
        &self,
        caller: &Caller,
        name: &RunName,
        allow_missing: bool,
        etag: &str,
    ) -> Result<Option<Arc<Run>>, EngineError> {
        self.authorize(caller, name).await?;
        let observed = match self.observed(name).await {
            Err(EngineError::RunNotFound(_)) if allow_missing => return Ok(None),
            other => other?,
        };
        check_etag(&observed.view, etag)?;
        if !observed.view.state.is_terminal() && !is_unreadable(&observed.facts) {
            return Err(EngineError::NotTerminal { name: name.clone(), state: observed.view.state });
        }
        let uid = observed.facts.uid.clone();
        match self.inner.backend.runs.act(name, &uid, &Action::Delete).await {
            Ok(()) | Err(BackendError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // Asked rather than assumed: a finaliser of somebody else's may hold it.
        match self.inner.backend.runs.get(name).await? {
            Some(facts) if facts.uid == uid => Ok(Some(self.inner.runs.seen(facts).await.as_of(Timestamp::now()))),
            _ => {
                self.inner.runs.deleted(name.clone(), uid).await;
                Ok(None)
            }
        }
    }
}

/// Whether nothing of the run lives, and how it ended can't be read: it will not become terminal.
fn is_unreadable(facts: &RunFacts) -> bool {
    facts.unknown.as_ref().is_some_and(|unknown| unknown.nothing_lives)
}

#[cfg(test)]
mod tests;
