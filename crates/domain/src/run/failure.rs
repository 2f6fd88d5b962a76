//! Why a run did not succeed.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// Why a run did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened.
    pub reason: FailureReason,
    /// Who has to act.
    pub failure_class: FailureClass,
    /// One or two sentences for people.
    pub message: String,
    /// Exit code of the program (128 + signal if a signal ended it), if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

impl Failure {
    /// A failure for `reason`, with the class that goes with it.
    #[must_use]
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, failure_class: reason.class(), message: message.into(), exit_code: None, signal: None }
    }

    /// The same, of another class than goes with the reason.
    #[must_use]
    pub fn of_class(mut self, class: FailureClass) -> Self {
        self.failure_class = class;
        self
    }

    /// The same, with how the program ended.
    #[must_use]
    pub fn with_exit(mut self, exit_code: Option<i32>, signal: Option<i32>) -> Self {
        self.exit_code = exit_code;
        self.signal = signal;
        self
    }

    /// Whether the same request may succeed when submitted again unchanged.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.failure_class == FailureClass::Infra
            || (self.failure_class == FailureClass::Policy
                && matches!(
                    self.reason,
                    FailureReason::Unschedulable | FailureReason::Quota | FailureReason::QueueDeadline
                ))
    }
}

/// Who has to act on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureClass {
    /// The caller's program or request.
    User,
    /// Nodes, network, registry, storage.
    Infra,
    /// Longshore or its configuration.
    Platform,
    /// A rule that somebody set.
    Policy,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureReason {
    /// The program exited with a non-zero code.
    NonzeroExit,
    /// A signal that neither we nor the platform sent.
    Signalled,
    /// Over the memory limit.
    OomKilled,
    /// `run_timeout` passed.
    RunDeadline,
    /// `start_timeout` passed, cause unknown.
    StartDeadline,
    /// `queue_timeout` passed.
    QueueDeadline,
    /// The image could not be pulled.
    ImagePull,
    /// The image is not usable.
    ImageInvalid,
    /// The container could not be configured.
    ConfigError,
    /// No node fits.
    Unschedulable,
    /// A quota refused the Pod.
    Quota,
    /// An admission rule refused the Pod.
    AdmissionDenied,
    /// The Pod was evicted.
    Evicted,
    /// A Pod of higher priority took its place.
    Preempted,
    /// Its node went away.
    NodeLost,
    /// Its node was shut down.
    NodeShutdown,
    /// Over the ephemeral-storage limit.
    EphemeralStorage,
    /// A required result was not given.
    ResultMissing,
    /// A required result is not usable.
    ResultInvalid,
    /// The output was lost before a required result could be read.
    ResultUnavailable,
    /// The runner reported an error in its result.
    RunnerReported,
    /// Somebody deleted what the run was made of.
    Deleted,
    /// The run vanished without a trace of how it ended.
    Lost,
    /// `total_timeout` passed.
    TotalDeadline,
    /// A fault of Longshore.
    Internal,
}

impl FailureClass {
    /// The name on the wire without its prefix: `USER`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl FailureReason {
    /// The class that goes with the reason.
    #[must_use]
    pub fn class(self) -> FailureClass {
        match self {
            Self::NonzeroExit
            | Self::Signalled
            | Self::OomKilled
            | Self::ImageInvalid
            | Self::ConfigError
            | Self::EphemeralStorage
            | Self::ResultMissing
            | Self::ResultInvalid
            | Self::RunnerReported => FailureClass::User,
            Self::ImagePull
            | Self::Evicted
            | Self::Preempted
            | Self::NodeLost
            | Self::NodeShutdown
            | Self::ResultUnavailable
            | Self::Deleted
            | Self::Lost => FailureClass::Infra,
            Self::Internal => FailureClass::Platform,
            Self::RunDeadline
            | Self::StartDeadline
            | Self::QueueDeadline
            | Self::TotalDeadline
            | Self::Unschedulable
            | Self::Quota
            | Self::AdmissionDenied => FailureClass::Policy,
        }
    }

    /// The name on the wire without its prefix: `OOM_KILLED`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
