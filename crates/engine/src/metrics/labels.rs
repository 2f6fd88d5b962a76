//! The words that the engine's metrics are labelled with: all of ours, so that there are never more
//! series than stand here.

use prometheus_client::encoding::EncodeLabelSet;

use crate::observed::Observed;
use crate::{EngineError, Submitted};
use longshore_backend::BackendError;
use longshore_domain::log::LogGapCause;
use longshore_domain::result::{ResultSource, ResultState};
use longshore_domain::run::RunState;
use longshore_domain::run::failure::{FailureClass, FailureReason};

/// What a label says where there is nothing to say.
pub(super) const NONE: &str = "NONE";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct StateLabels {
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct StageLabels {
    pub(super) stage: &'static str,
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

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ActionLabels {
    pub(super) action: &'static str,
    pub(super) outcome: &'static str,
}

/// Who reads output from the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogReader {
    /// The one read of an attempt that all its followers share.
    Feed,
    /// A caller's own: without `follow`, or to catch up.
    Caller,
    /// The result reader's own, once the feed has left it behind.
    Result,
}

impl LogReader {
    pub(super) const ALL: [Self; 3] = [Self::Feed, Self::Caller, Self::Result];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Caller => "caller",
            Self::Result => "result",
        }
    }
}

pub(super) const GAP_CAUSES: [LogGapCause; 6] = [
    LogGapCause::Rotated,
    LogGapCause::Changed,
    LogGapCause::Deleted,
    LogGapCause::Unreadable,
    LogGapCause::NotWritten,
    LogGapCause::NotFollowed,
];

pub(super) fn gap_cause(cause: LogGapCause) -> &'static str {
    match cause {
        LogGapCause::Rotated => "rotated",
        LogGapCause::Changed => "changed",
        LogGapCause::Deleted => "deleted",
        LogGapCause::Unreadable => "unreadable",
        LogGapCause::NotWritten => "not_written",
        LogGapCause::NotFollowed => "not_followed",
    }
}

pub(super) const STATES: [RunState; 9] = [
    RunState::Queued,
    RunState::Pending,
    RunState::Starting,
    RunState::Running,
    RunState::Finishing,
    RunState::Cancelling,
    RunState::Succeeded,
    RunState::Failed,
    RunState::Cancelled,
];

pub(super) const REASONS: [FailureReason; 25] = [
    FailureReason::NonzeroExit,
    FailureReason::Signalled,
    FailureReason::OomKilled,
    FailureReason::RunDeadline,
    FailureReason::StartDeadline,
    FailureReason::QueueDeadline,
    FailureReason::ImagePull,
    FailureReason::ImageInvalid,
    FailureReason::ConfigError,
    FailureReason::Unschedulable,
    FailureReason::Quota,
    FailureReason::AdmissionDenied,
    FailureReason::Evicted,
    FailureReason::Preempted,
    FailureReason::NodeLost,
    FailureReason::NodeShutdown,
    FailureReason::EphemeralStorage,
    FailureReason::ResultMissing,
    FailureReason::ResultInvalid,
    FailureReason::ResultUnavailable,
    FailureReason::RunnerReported,
    FailureReason::Deleted,
    FailureReason::Lost,
    FailureReason::TotalDeadline,
    FailureReason::Internal,
];

/// Every result that is reported of a run that is over.
pub(super) const RESULTS: [ResultLabels; 6] = [
    ResultLabels { state: "FOUND", source: "FILE" },
    ResultLabels { state: "FOUND", source: "MARKED_LINE" },
    ResultLabels { state: "FOUND", source: "SCAN" },
    ResultLabels { state: "MISSING", source: NONE },
    ResultLabels { state: "INVALID", source: NONE },
    ResultLabels { state: "UNAVAILABLE", source: NONE },
];

pub(super) fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::User => "USER",
        FailureClass::Infra => "INFRA",
        FailureClass::Platform => "PLATFORM",
        FailureClass::Policy => "POLICY",
    }
}

pub(super) fn result_state(state: ResultState) -> &'static str {
    match state {
        ResultState::Pending => "PENDING",
        ResultState::Found => "FOUND",
        ResultState::Missing => "MISSING",
        ResultState::Invalid => "INVALID",
        ResultState::Unavailable => "UNAVAILABLE",
    }
}

pub(super) fn result_source(source: ResultSource) -> &'static str {
    match source {
        ResultSource::File => "FILE",
        ResultSource::MarkedLine => "MARKED_LINE",
        ResultSource::Scan => "SCAN",
    }
}

/// What may come of a submit; the last: its caller left before.
pub(super) const SUBMITS: [&str; 8] =
    ["created", "replayed", "validated", "invalid", "denied", "refused", "failed", ABANDONED];

pub(super) const ABANDONED: &str = "abandoned";

pub(super) fn submit(ended: &Result<Submitted, EngineError>) -> &'static str {
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

pub(super) const ACTIONS: [&str; 10] = [
    "write_stop",
    "end_unstarted",
    "end_started",
    "lower_deadline",
    "write_attempt",
    "begin_attempt",
    "store_result",
    "write_record",
    "release",
    "delete",
];

/// What may come of an action.
pub(super) const ACTED: [&str; 4] = ["done", "gone", "transient", "refused"];

pub(super) fn acted(ended: &Result<(), BackendError>) -> &'static str {
    match ended {
        Ok(()) => "done",
        Err(BackendError::NotFound(_)) => "gone",
        Err(error) if error.is_transient() => "transient",
        Err(_) => "refused",
    }
}

/// How far a run is whose objects may still be held.
pub(super) const STAGES: [&str; 3] = ["live", "unrecorded", "recorded"];

/// What a row of the table counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(super) state: RunState,
    pub(super) stage: Option<&'static str>,
}

impl Counted {
    pub(crate) fn of(observed: &Observed) -> Self {
        Self { state: observed.run.state, stage: stage(observed) }
    }

    /// Of a run that is released.
    pub(crate) fn released(state: RunState) -> Self {
        Self { state, stage: None }
    }
}

/// `None` once it is released.
fn stage(observed: &Observed) -> Option<&'static str> {
    let facts = &observed.facts;
    match (facts.released, facts.record.is_some(), observed.run.state == RunState::Finishing) {
        (true, ..) => None,
        (false, true, _) => Some("recorded"),
        (false, false, true) => Some("unrecorded"),
        (false, false, false) => Some("live"),
    }
}
