//! What a submit came to: as it is answered, and as it is counted.

use std::sync::Arc;

use crate::error::EngineError;
use crate::metrics::SubmitOutcome;
use longshore_backend::{BackendError, Preview};
use longshore_domain::run::Run;

/// See [`Engine::submit`](crate::Engine::submit).
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The run.
    pub run: Arc<Run>,
    /// Whether it was there already.
    pub replayed: bool,
    /// With `validate_only`: what would be made.
    pub preview: Option<Preview>,
}

/// By who has to act.
pub(crate) fn submit_outcome(ended: Result<&Submitted, &EngineError>) -> SubmitOutcome {
    match ended {
        Ok(Submitted { preview: Some(_), .. }) => SubmitOutcome::Validated,
        Ok(Submitted { replayed: true, .. }) => SubmitOutcome::Replayed,
        Ok(Submitted { .. }) => SubmitOutcome::Created,
        Err(EngineError::PermissionDenied { .. }) => SubmitOutcome::Denied,
        Err(EngineError::RateLimited(_) | EngineError::TooManyRuns { .. } | EngineError::DeleteInProgress(_)) => {
            SubmitOutcome::Refused
        }
        Err(EngineError::NotServing(_)) => SubmitOutcome::Failed,
        Err(EngineError::Backend(error)) => match error {
            BackendError::InvalidField { .. } => SubmitOutcome::Invalid,
            BackendError::Rejected { .. } | BackendError::Exhausted { .. } | BackendError::AdmissionDenied { .. } => {
                SubmitOutcome::Refused
            }
            BackendError::NotFound(_)
            | BackendError::NamespaceNotReady(_)
            | BackendError::Conflict(_)
            | BackendError::Denied { .. }
            | BackendError::Throttled { .. }
            | BackendError::Unavailable { .. }
            | BackendError::Io { .. }
            | BackendError::Unreadable { .. }
            | BackendError::Corrupt { .. } => SubmitOutcome::Failed,
        },
        // Of the caller's own making.
        Err(
            EngineError::Invalid(_)
            | EngineError::RunNotFound(_)
            | EngineError::NamespaceNotFound(_)
            | EngineError::PayloadMismatch { .. }
            | EngineError::NameTaken { .. }
            | EngineError::NotTerminal { .. }
            | EngineError::EtagMismatch { .. }
            | EngineError::NoSuchAttempt { .. }
            | EngineError::NoResult { .. },
        ) => SubmitOutcome::Invalid,
    }
}
