//! Cancelling a run.

use std::sync::Arc;

use jiff::Timestamp;

use super::etag::check_etag;
use crate::{Caller, Engine, EngineError};
use longshore_backend::BackendError;
use longshore_domain::name::RunName;
use longshore_domain::notation::violation::Violation;
use longshore_domain::run::facts::RunFacts;
use longshore_domain::run::plan::Action;
use longshore_domain::run::retry;
use longshore_domain::run::verdict::conclude;
use longshore_domain::run::{Run, STOP_REASON_MAX_BYTES, StopCause, StopIntent};

impl Engine {
    /// Asks for a stop; `etag`, if not empty, must be the present one. Idempotent: the first
    /// reason is kept, a finished run is answered as it is.
    ///
    /// # Errors
    /// There is no such run; it changed; the reason is too long; the backend failed.
    pub async fn cancel(
        &self,
        caller: &Caller,
        name: &RunName,
        reason: String,
        etag: &str,
    ) -> Result<Arc<Run>, EngineError> {
        if reason.len() > STOP_REASON_MAX_BYTES {
            let said = format!("{} bytes long; at most {STOP_REASON_MAX_BYTES} are kept", reason.len());
            return Err(EngineError::Invalid(Violation::new("reason", said).into()));
        }
        self.authorize(caller, name).await?;
        let observed = self.observed(name).await?;
        let run = observed.as_of(Timestamp::now());
        check_etag(&run, etag)?;
        // What has ended by itself has nothing left to stop, though its result may still be read.
        if run.state.is_terminal() || observed.facts.stop.is_some() || has_ended(&observed.facts) {
            return Ok(run);
        }
        let intent = StopIntent {
            cause: StopCause::Cancel,
            reason,
            actor: caller.identity.user.clone(),
            request_time: Timestamp::now(),
            failure: None,
            failure_class: None,
        };
        let runs = &self.inner.backend.runs;
        runs.act(name, &observed.facts.uid, &Action::WriteStop(intent)).await.map_err(|e| missing(e, name))?;
        // Read again rather than assumed: somebody else's reason may have been first.
        match runs.get(name).await? {
            Some(facts) => Ok(self.inner.runs.seen(facts).await.as_of(Timestamp::now())),
            None => Err(EngineError::RunNotFound(name.clone())),
        }
    }
}

/// Whether there is nothing left to stop: the program was seen to have ended, or nothing of it will
/// run, and nothing of it is tried again.
fn has_ended(facts: &RunFacts) -> bool {
    let ended = facts.present().and_then(|attempt| attempt.main.terminated()).filter(|end| end.started());
    let has_ended = ended.is_some() || conclude(facts, Timestamp::now()).is_some();
    has_ended && !ended.map_or_else(|| retry::is_left(facts), |end| retry::may_follow(facts, end.exit_code))
}

fn missing(error: BackendError, name: &RunName) -> EngineError {
    match error {
        BackendError::NotFound(_) => EngineError::RunNotFound(name.clone()),
        error => error.into(),
    }
}
