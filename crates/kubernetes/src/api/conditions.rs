//! What the conditions of Jobs and Pods state.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};

/// Types of a Job's conditions.
pub(crate) mod job {
    /// It has ended well.
    pub(crate) const COMPLETE: &str = "Complete";
    /// It has ended otherwise.
    pub(crate) const FAILED: &str = "Failed";
    /// It will be [`COMPLETE`] once its Pods are over.
    pub(crate) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
    /// It will be [`FAILED`] once its Pods are over.
    pub(crate) const FAILURE_TARGET: &str = "FailureTarget";
    /// It is, or was, held back.
    pub(crate) const SUSPENDED: &str = "Suspended";
}

/// The Job's condition of this type, whatever it states.
pub(crate) fn stated<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    job.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// The Job's condition of this type, if it is true.
pub(crate) fn holds<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Whether the Job has ended, its Pods included.
pub(crate) fn is_over(job: &Job) -> bool {
    [job::COMPLETE, job::FAILED].into_iter().any(|type_| holds(job, type_).is_some())
}

/// When the Job ended, its Pods included, as the controller has it that deletes finished Jobs: by the time of the condition.
pub(crate) fn end_time(job: &Job) -> Option<Timestamp> {
    let end = [job::COMPLETE, job::FAILED].into_iter().find_map(|type_| holds(job, type_))?;
    end.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether it is certain how the Job ends.
pub(crate) fn has_ended(job: &Job) -> bool {
    is_over(job)
        || [job::FAILURE_TARGET, job::SUCCESS_CRITERIA_MET].into_iter().any(|type_| holds(job, type_).is_some())
}

/// The Pod's condition of this type, if its status is `value`.
pub(crate) fn of_pod<'a>(status: &'a PodStatus, type_: &str, value: &str) -> Option<&'a PodCondition> {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().find(|condition| condition.type_ == type_ && condition.status == value)
}
