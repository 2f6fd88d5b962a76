//! Failures of runs, and their reasons, both ways.

use longshore_api::enums::WireEnum;
use longshore_api::v1;
use longshore_domain::run::failure::{Failure, FailureClass, FailureReason};

pub(crate) fn failure(failure: &Failure) -> v1::Failure {
    let failure_class = match failure.failure_class {
        FailureClass::User => v1::FailureClass::User,
        FailureClass::Infra => v1::FailureClass::Infra,
        FailureClass::Platform => v1::FailureClass::Platform,
        FailureClass::Policy => v1::FailureClass::Policy,
    };
    v1::Failure {
        failure_class: failure_class.into(),
        reason: failure_reason(failure.reason).into(),
        message: failure.message.clone(),
        exit_code: failure.exit_code,
        signal: failure.signal,
        retryable: failure.retryable(),
    }
}

pub(crate) fn failure_reason(reason: FailureReason) -> v1::FailureReason {
    match reason {
        FailureReason::NonzeroExit => v1::FailureReason::NonzeroExit,
        FailureReason::Signalled => v1::FailureReason::Signalled,
        FailureReason::OomKilled => v1::FailureReason::OomKilled,
        FailureReason::RunDeadline => v1::FailureReason::RunDeadline,
        FailureReason::StartDeadline => v1::FailureReason::StartDeadline,
        FailureReason::QueueDeadline => v1::FailureReason::QueueDeadline,
        FailureReason::ImagePull => v1::FailureReason::ImagePull,
        FailureReason::ImageInvalid => v1::FailureReason::ImageInvalid,
        FailureReason::ConfigError => v1::FailureReason::ConfigError,
        FailureReason::Unschedulable => v1::FailureReason::Unschedulable,
        FailureReason::Quota => v1::FailureReason::Quota,
        FailureReason::AdmissionDenied => v1::FailureReason::AdmissionDenied,
        FailureReason::Evicted => v1::FailureReason::Evicted,
        FailureReason::Preempted => v1::FailureReason::Preempted,
        FailureReason::NodeLost => v1::FailureReason::NodeLost,
        FailureReason::NodeShutdown => v1::FailureReason::NodeShutdown,
        FailureReason::EphemeralStorage => v1::FailureReason::EphemeralStorage,
        FailureReason::ResultMissing => v1::FailureReason::ResultMissing,
        FailureReason::ResultInvalid => v1::FailureReason::ResultInvalid,
        FailureReason::ResultUnavailable => v1::FailureReason::ResultUnavailable,
        FailureReason::RunnerReported => v1::FailureReason::RunnerReported,
        FailureReason::Deleted => v1::FailureReason::Deleted,
        FailureReason::Lost => v1::FailureReason::Lost,
        FailureReason::TotalDeadline => v1::FailureReason::TotalDeadline,
        FailureReason::Internal => v1::FailureReason::Internal,
    }
}

/// The reason of this number; both have one name.
pub(crate) fn failure_reason_from(reason: v1::FailureReason) -> Option<FailureReason> {
    reason.short_name().parse().ok()
}
