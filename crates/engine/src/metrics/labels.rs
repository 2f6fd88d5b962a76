//! The words that the engine's metrics are labelled with: all of ours, so that there are never more
//! series than stand here.

use prometheus_client::encoding::EncodeLabelSet;
use strum::{IntoStaticStr, VariantArray};

use crate::{EngineError, Submitted};
use longshore_backend::BackendError;
use longshore_domain::result::{ResultSource, ResultState};

/// What a label says where there is nothing to say.
pub(super) const NONE: &str = "NONE";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct EndLabels {
    pub(super) state: &'static str,
    pub(super) class: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) state: &'static str,
    pub(super) source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ReaderLabels {
    pub(super) reader: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct GapLabels {
    pub(super) reader: &'static str,
    pub(super) cause: &'static str,
}

/// Who reads output from the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum LogReader {
    /// The one read of an attempt that all its followers share.
    Feed,
    /// A caller's own: without `follow`, or to catch up.
    Caller,
    /// The result reader's own, once the feed has left it behind.
    Result,
}

impl LogReader {
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Every result that is reported of a run that is over.
pub(super) fn results() -> impl Iterator<Item = ResultLabels> {
    let found = ResultSource::VARIANTS
        .iter()
        .map(|source| ResultLabels { state: ResultState::Found.into(), source: source.into() });
    let none = |state: &&ResultState| !matches!(state, ResultState::Pending | ResultState::Found);
    found.chain(
        ResultState::VARIANTS.iter().filter(none).map(|state| ResultLabels { state: state.into(), source: NONE }),
    )
}

/// What may come of a submit; the last: its caller left before.
pub(super) const SUBMITS: [&str; 8] =
    ["created", "replayed", "validated", "invalid", "denied", "refused", "failed", ABANDONED];

pub(super) const ABANDONED: &str = "abandoned";

pub(super) fn submit(ended: Result<&Submitted, &EngineError>) -> &'static str {
    match ended {
        Ok(Submitted { preview: Some(_), .. }) => "validated",
        Ok(Submitted { replayed: true, .. }) => "replayed",
        Ok(Submitted { .. }) => "created",
        Err(EngineError::PermissionDenied { .. }) => "denied",
        Err(EngineError::RateLimited(_) | EngineError::TooManyRuns { .. } | EngineError::DeleteInProgress(_)) => {
            "refused"
        }
        Err(EngineError::NotServing(_)) => "failed",
        Err(EngineError::Backend(error)) => match error {
            BackendError::InvalidField { .. } => "invalid",
            BackendError::Rejected { .. } | BackendError::Exhausted { .. } | BackendError::AdmissionDenied { .. } => {
                "refused"
            }
            BackendError::NotFound(_)
            | BackendError::NamespaceNotReady(_)
            | BackendError::Conflict(_)
            | BackendError::Denied { .. }
            | BackendError::Throttled { .. }
            | BackendError::Unavailable { .. }
            | BackendError::Io { .. }
            | BackendError::Unreadable { .. }
            | BackendError::Corrupt { .. } => "failed",
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
        ) => "invalid",
    }
}

/// How far a run is whose objects may still be held; see [`crate::observed::stage`].
pub(super) const STAGES: [&str; 3] = ["live", "unrecorded", "recorded"];
