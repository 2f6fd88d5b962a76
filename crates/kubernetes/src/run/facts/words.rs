//! What Kubernetes' words come down to: the one table of its reasons, and of what its messages are recognised by.
//!
//! They are literals without a promise, of the control plane, the kubelet, the container runtime and registries;
//! unknown ones are [`WaitCause::Other`], [`PlatformCause::Other`] and so on, and shown as they are.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use super::super::identity::named;
use longshore_domain::run::Evidence;
use longshore_domain::run::facts::{
    EndCause, Explanation, Intervention, JobEndCause, Mentions, PlatformCause, WaitCause,
};

/// Waiting reason of a container that lacks something which its configuration names, a Secret say.
pub(crate) const CONFIG_ERROR: &str = "CreateContainerConfigError";
/// Reason of Pods, and of Events about Pods, that the kubelet ends.
const EVICTED: &str = "Evicted";
/// How a kubelet begins its message on a Pod that it refuses.
const REJECTED: &str = "Pod was rejected: ";
/// How a registry or a kubelet refuses an image for good.
const IMAGE_REFUSALS: [&str; 6] =
    ["not found", "denied", "unauthorized", "forbidden", "no match for platform", "manifest unknown"];
/// That a webhook or the API server did not do its part.
const CONTROL_PLANE: [&str; 10] = [
    "failed calling webhook",
    "failed to call webhook",
    "Internal error occurred",
    "Timeout: ",
    "etcdserver: ",
    "context deadline exceeded",
    "connection refused",
    "the server is currently unable",
    "unexpected EOF",
    "i/o timeout",
];

/// Reason of a container's end.
pub(super) fn end(reason: &str) -> EndCause {
    match reason {
        "OOMKilled" => EndCause::OutOfMemory,
        "StartError" | "ContainerCannotRun" => EndCause::NotStarted,
        "ContainerStatusUnknown" => EndCause::Unknown,
        _ => EndCause::Exited,
    }
}

/// Why a Pod of `job` has not started, in these words.
pub(super) fn explanation(job: &Job, reason: String, message: String, time: Option<Timestamp>) -> Explanation {
    let cause = wait(job.metadata.name.as_deref().unwrap_or_default(), &reason, &message);
    let mentions = mentions(&format!("{reason}: {message}"));
    Explanation { cause, mentions, reason, message, time }
}

/// Why a Pod of the Job of this name has not started: a container's waiting reason, that of a condition or of an Event.
fn wait(job: &str, reason: &str, message: &str) -> WaitCause {
    let not_found = message.contains("not found");
    // The Secret with input and files is named after the run's first Job.
    let run = named(job).map(|(_, run)| run).unwrap_or_default();
    let own_input = || not_found && message.contains(&format!("\"run-{run}-input-"));
    match reason {
        "PodInitializing" | "ContainerCreating" => WaitCause::Ordinary,
        "ErrImagePull" | "ImagePullBackOff" => WaitCause::ImagePull,
        "RegistryUnavailable" => WaitCause::RegistryUnavailable,
        "ImageInspectError" => WaitCause::ImageInspection,
        "ErrImageNeverPull" => WaitCause::ImageAbsent,
        "InvalidImageName" => WaitCause::ImageName,
        "CreateContainerError" | "RunContainerError" if message.contains("no command specified") => {
            WaitCause::NoCommand
        }
        "CreateContainerError" | "RunContainerError" => WaitCause::Container,
        CONFIG_ERROR => WaitCause::ContainerConfig { own_input: own_input() },
        "FailedMount" if not_found => WaitCause::VolumeSource { own_input: own_input() },
        "FailedAttachVolume" if not_found => WaitCause::VolumeSource { own_input: false },
        "FailedMount" | "FailedAttachVolume" => WaitCause::Volume,
        "FailedCreatePodSandBox" if message.contains("OOM-killed") => WaitCause::MemoryLimit,
        "FailedCreatePodSandBox" | "FailedKillPod" | "NetworkNotReady" => WaitCause::Node,
        "Unschedulable" if not_found && message.contains("persistentvolumeclaim") => WaitCause::VolumeClaim,
        "Unschedulable" | "SchedulingGated" => WaitCause::Unschedulable,
        "FailedCreate" => refusal(message),
        _ => WaitCause::Other,
    }
}

/// Why the API server did not let the Job controller make the Pod.
fn refusal(message: &str) -> WaitCause {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["exceeded quota"]) {
        WaitCause::Quota
    } else if has(&CONTROL_PLANE) {
        WaitCause::ControlPlane
    } else if has(&["error looking up service account", "no PriorityClass with name", "because it is being terminated"])
        || (has(&["RuntimeClass"]) && has(&["not found"]))
    {
        WaitCause::ClusterSetup
    } else if has(&["forbidden", "denied"]) {
        WaitCause::AdmissionDenied
    } else {
        WaitCause::Refused
    }
}

/// What a text is about that states why something did not start.
pub(super) fn mentions(text: &str) -> Mentions {
    let lower = text.to_ascii_lowercase();
    Mentions {
        refusal: IMAGE_REFUSALS.iter().any(|word| lower.contains(word)),
        secret: lower.contains("secret"),
        volume: ["FailedMount", "MountVolume", "persistentvolumeclaim"].iter().any(|word| text.contains(word)),
    }
}

/// `pod.status.reason`.
pub(super) fn pod_end(reason: &str, message: &str) -> PlatformCause {
    match reason {
        "DeadlineExceeded" => PlatformCause::Deadline,
        EVICTED if message.starts_with(REJECTED) => PlatformCause::EvictedByRefusal,
        EVICTED => PlatformCause::Evicted,
        "NodeLost" => PlatformCause::NodeLost,
        "NodeShutdown" | "Terminated" | "Shutdown" => PlatformCause::NodeShutdown,
        "Preempting" | "Preempted" => PlatformCause::Preempted,
        "NodeAffinity" | "UnexpectedAdmissionError" | "TopologyAffinityError" => PlatformCause::Refused,
        reason if reason.starts_with("OutOf") => PlatformCause::Refused,
        _ => PlatformCause::Other,
    }
}

/// Reason of a Pod's condition `DisruptionTarget`.
pub(super) fn disruption(reason: &str) -> PlatformCause {
    match reason {
        "PreemptionByScheduler" => PlatformCause::Preempted,
        "JobSuspended" => PlatformCause::Suspended,
        "DeletionByPodGC" => PlatformCause::Orphaned,
        "EvictionByEvictionAPI" | "DeletionByTaintManager" | "TerminationByKubelet" => PlatformCause::Evicted,
        _ => PlatformCause::Other,
    }
}

/// Reason of a Job's condition that says that it ended.
pub(super) fn job_end(reason: &str, message: &str) -> JobEndCause {
    match reason {
        "PodFailurePolicy" if message.contains("DisruptionTarget") => JobEndCause::Disruption,
        "DeadlineExceeded" => JobEndCause::Deadline,
        "BackoffLimitExceeded" => JobEndCause::PodFailed,
        _ => JobEndCause::Other,
    }
}

/// The report that the kubelet ends the Pod.
pub(super) fn eviction(evidence: &[Evidence]) -> Option<Intervention> {
    let Evidence { report_time: time, reason, message, .. } = evidence.iter().find(|entry| entry.reason == EVICTED)?;
    let cause = PlatformCause::Evicted;
    Some(Intervention { cause, reason: reason.clone(), message: message.clone(), time: *time })
}

/// Whether a pull of an image was begun and is not done, by what was reported last of either.
pub(super) fn is_pulling(evidence: &[Evidence]) -> bool {
    let last = |word: &str| evidence.iter().rposition(|entry| entry.reason == word);
    last("Pulling") > last("Pulled")
}

#[cfg(test)]
mod tests;
