//! One attempt: a Job's end, its Pod, and container `run` in it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{ObservedObjects, cut, deletion_asked, event, words};
use crate::api::conditions::job::{COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, SUSPENDED};
use crate::api::conditions::{self, holds, of_pod};
use crate::api::job::{self, is_annotated, is_suspended};
use crate::api::names::{RUN_CONTAINER, annotation, label, path};
use crate::run::start::StartNote;
use longshore_domain::run::facts::{
    AttemptFacts, AttemptPhase, EndCause, Explanation, Intervention, JobEnd, MainFacts, Remembered, Terminated,
    WaitCause, suspended,
};

pub(super) fn facts(number: u32, observed: &ObservedObjects<'_>, node_lost_after: Duration) -> AttemptFacts {
    let job = observed.job;
    let job_end = job_end(job);
    let note = StartNote::of(job);
    // Of another Pod that the same Job made after the first had started only that is reported.
    let is_first = |pod: &&Pod| note.as_ref().is_none_or(|note| pod.metadata.uid.as_ref() == Some(&note.uid));
    let another = observed.pod.filter(|pod| !is_first(pod));
    let further = another.filter(|pod| has_started(pod));
    // Written as it was closed for that.
    let is_marked = is_annotated(job, annotation::PREEMPTED);
    let has_run = note.is_some() || is_marked;
    let (pod, last_pod) = (observed.pod.filter(is_first), observed.last_pod.filter(is_first));
    let observed = &ObservedObjects { pod, last_pod, ..*observed };
    let there_was_one = observed.last_pod.is_some() || observed.pod_was_seen || job_end.is_some() || has_run;
    let phase = match phase(observed.pod, there_was_one) {
        AttemptPhase::Gone if job_end.is_none() && !has_run && makes_another(observed) => AttemptPhase::Absent,
        phase => phase,
    };
    // Of a Pod that is gone, all but its phase is reported as it was seen last.
    let pod = observed.pod.or(observed.last_pod);
    let status = pod.and_then(|pod| pod.status.as_ref());
    let emptied = matches!(phase, AttemptPhase::Succeeded | AttemptPhase::Failed)
        && status.is_some_and(|status| run_status(status).is_none());
    let main = match (main(job, pod), event::run_started(observed.events)) {
        // The Pod says nothing of it any more, so that the Event is all there is.
        (MainFacts::Waiting(_), Some(started)) if emptied || phase == AttemptPhase::Gone => {
            MainFacts::Running { started_at: started.time }
        }
        (main, _) => main,
    };
    let main = match main {
        MainFacts::Waiting(_) if has_run => {
            MainFacts::Running { started_at: note.as_ref().and_then(|note| note.start_time) }
        }
        main => main,
    };
    let preempted = another.is_some() || is_marked;
    let waiting = waiting(phase, status, observed);
    let last_wait = waiting.as_ref().or_else(|| unusual_wait(&main));
    let evidence = event::evidence(observed.events, last_wait);
    let ended_by = status.and_then(ended_by);
    let silent_since = status.filter(|_| matches!(main, MainFacts::Running { .. })).and_then(silent_since);
    AttemptFacts {
        number,
        job: job.metadata.name.clone().unwrap_or_default(),
        create_time: time(job.metadata.creation_timestamp.as_ref()),
        job_end,
        job_deadline: job.spec.as_ref().and_then(|spec| seconds(spec.active_deadline_seconds)),
        closed: job.spec.as_ref().is_some_and(|spec| spec.parallelism == Some(0)),
        phase,
        in_queue: conditions::stated(job, SUSPENDED).is_some() || is_labelled(job, label::QUEUE),
        start_noted: note.is_some(),
        further_uids: further.and_then(|pod| pod.metadata.uid.clone()).into_iter().collect(),
        uid: pod.and_then(|pod| pod.metadata.uid.clone()).or_else(|| note.as_ref().map(|note| note.uid.clone())),
        pod: match pod {
            Some(pod) => pod.metadata.name.clone(),
            None => observed.unseen_pod.filter(|_| phase == AttemptPhase::Gone).map(str::to_owned),
        },
        node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()).filter(|node| !node.is_empty()),
        schedule_time: status
            .and_then(|status| of_pod(status, "PodScheduled", "True"))
            .and_then(|scheduled| time(scheduled.last_transition_time.as_ref())),
        node_time: status.and_then(|status| time(status.start_time.as_ref())),
        // Of the anchor that is the run's.
        job_deleted_at: if number > 1 { deletion_asked(&job.metadata) } else { None },
        deadline: pod.and_then(deadline),
        deleted_at: pod.and_then(|pod| deletion_asked(&pod.metadata)),
        remark: status.filter(|_| ended_by.is_none()).and_then(|status| text(status.message.as_deref())),
        ended_by,
        disruption: status
            .and_then(|status| of_pod(status, "DisruptionTarget", "True"))
            .map(disruption)
            .or_else(|| preempted.then(|| suspended(preempted_at(job)))),
        eviction: words::eviction(&evidence),
        silent_since,
        lost_at: silent_since.and_then(|since| since.checked_add(node_lost_after).ok()),
        emptied,
        unseen: phase == AttemptPhase::Gone && pod.is_none() && (observed.unseen_pod.is_some() || had_pod(job)),
        is_pulling: words::is_pulling(&evidence),
        evidence,
        waiting,
        others_running: !phase.is_over() && status.is_some_and(others_running),
        input_ready: observed.input_confirmed || !has_input(job) || main.started(),
        main,
        remembered: Remembered::default(),
    }
}

/// Whether the Job counts a Pod that is over: all of them, once its own end is final.
fn had_pod(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| [status.failed, status.succeeded].iter().flatten().any(|count| *count > 0))
}

fn has_input(job: &Job) -> bool {
    is_annotated(job, annotation::INPUT)
}

fn is_labelled(job: &Job, key: &str) -> bool {
    job.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(key))
}

fn preempted_at(job: &Job) -> Option<Timestamp> {
    job::annotation(job, annotation::PREEMPTED)?.parse().ok()
}

/// The Job's end, by its strongest condition: a terminal one before one that only announces it.
fn job_end(job: &Job) -> Option<JobEnd> {
    let end = |complete: bool, final_: bool, condition: &JobCondition| {
        let reason = condition.reason.clone().unwrap_or_default();
        let message = cut(condition.message.as_deref().unwrap_or_default());
        let cause = words::job_end(&reason, &message);
        JobEnd { complete, final_, cause, reason, message, time: time(condition.last_transition_time.as_ref()) }
    };
    let completed = |condition: &JobCondition| JobEnd {
        time: time(job.status.as_ref().and_then(|status| status.completion_time.as_ref()))
            .or_else(|| time(condition.last_transition_time.as_ref())),
        ..end(true, true, condition)
    };
    None.or_else(|| holds(job, COMPLETE).map(completed))
        .or_else(|| holds(job, FAILED).map(|condition| end(false, true, condition)))
        .or_else(|| holds(job, FAILURE_TARGET).map(|condition| end(false, false, condition)))
        .or_else(|| holds(job, SUCCESS_CRITERIA_MET).map(|condition| end(true, false, condition)))
}

fn phase(pod: Option<&Pod>, there_was_one: bool) -> AttemptPhase {
    let Some(pod) = pod else {
        return if there_was_one { AttemptPhase::Gone } else { AttemptPhase::Absent };
    };
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        None | Some("" | "Pending") => AttemptPhase::Pending,
        Some("Running") => AttemptPhase::Running,
        Some("Succeeded") => AttemptPhase::Succeeded,
        Some("Failed") => AttemptPhase::Failed,
        Some(_) => AttemptPhase::Unknown,
    }
}

/// Whether the Job was held back while its Pod had not started, so that it makes another one when
/// it is let go: the Job controller counts no failure for it.
fn makes_another(observed: &ObservedObjects<'_>) -> bool {
    conditions::stated(observed.job, SUSPENDED).is_some() && observed.last_pod.is_none_or(|pod| !has_started(pod))
}

fn deadline(pod: &Pod) -> Option<Duration> {
    seconds(pod.spec.as_ref()?.active_deadline_seconds)
}

fn seconds(seconds: Option<i64>) -> Option<Duration> {
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

/// Since when the control plane says that the Pod is not ready although its containers are: it says so of every Pod of a
/// node whose kubelet does not report, and leaves the reason as it was. A kubelet that waits for a readiness gate gives one.
fn silent_since(status: &PodStatus) -> Option<Timestamp> {
    of_pod(status, "ContainersReady", "True")?;
    let ready = of_pod(status, "Ready", "False")?;
    let is_explained = ready.reason.as_ref().is_some_and(|reason| !reason.is_empty());
    time(ready.last_transition_time.as_ref().filter(|_| !is_explained))
}

fn run_status(status: &PodStatus) -> Option<&ContainerStatus> {
    let statuses = status.container_statuses.iter().flatten();
    statuses.into_iter().find(|container| container.name == RUN_CONTAINER)
}

/// Whether what the kubelet gives as termination message is our result file. An admission webhook
/// may have changed the policy; then it can be the end of the log.
fn reports_result_file(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.iter().find(|container| container.name == RUN_CONTAINER).is_some_and(|run| {
        run.termination_message_policy.as_deref().is_none_or(|policy| policy == "File")
            && run.termination_message_path.as_deref().is_none_or(|given| given == path::RESULT)
    })
}

/// Whether the program of this Pod ever ran.
pub(super) fn has_started(pod: &Pod) -> bool {
    let state = pod.status.as_ref().and_then(run_status).and_then(|run| run.state.as_ref());
    state.is_some_and(|state| match &state.terminated {
        Some(end) => terminated(end).started(),
        None => state.running.is_some(),
    })
}

/// Container `run`, found by its name: admission webhooks may have put others before it.
fn main(job: &Job, pod: Option<&Pod>) -> MainFacts {
    let run = pod.and_then(|pod| run_status(pod.status.as_ref()?));
    let (Some(pod), Some(state)) = (pod, run.and_then(|run| run.state.as_ref())) else {
        return MainFacts::Waiting(None);
    };
    if let Some(end) = &state.terminated {
        let mut end = terminated(end);
        // Without a start the message is the runtime's, and says why there was none.
        if end.started() && !reports_result_file(pod) {
            end.message = Vec::new();
        }
        return MainFacts::Terminated(end);
    }
    if let Some(running) = &state.running {
        return MainFacts::Running { started_at: time(running.started_at.as_ref()) };
    }
    MainFacts::Waiting(state.waiting.as_ref().and_then(|waiting| container_wait(job, waiting)))
}

fn terminated(end: &ContainerStateTerminated) -> Terminated {
    Terminated {
        exit_code: end.exit_code,
        signal: end.signal.filter(|signal| *signal != 0),
        cause: words::end(end.reason.as_deref().unwrap_or_default()),
        detail: end.reason.clone().unwrap_or_default(),
        message: end.message.clone().unwrap_or_default().into_bytes(),
        started_at: time(end.started_at.as_ref()),
        finished_at: time(end.finished_at.as_ref()),
    }
}

fn container_wait(job: &Job, waiting: &ContainerStateWaiting) -> Option<Explanation> {
    let reason = waiting.reason.clone().filter(|reason| !reason.is_empty())?;
    Some(words::explanation(job, reason, cut(waiting.message.as_deref().unwrap_or_default()), None))
}

fn unusual_wait(main: &MainFacts) -> Option<&Explanation> {
    match main {
        MainFacts::Waiting(waiting) => waiting.as_ref().filter(|waiting| waiting.cause != WaitCause::Ordinary),
        _ => None,
    }
}

/// Why there is no Pod, no node for it, or no end to its init containers.
fn waiting(phase: AttemptPhase, status: Option<&PodStatus>, observed: &ObservedObjects<'_>) -> Option<Explanation> {
    let job = observed.job;
    if phase == AttemptPhase::Absent {
        let held_back = || event::held_back(job, observed.events).filter(|_| is_suspended(job));
        return held_back().or_else(|| event::creation_failure(job, observed.events));
    }
    let status = status?;
    let unscheduled = of_pod(status, "PodScheduled", "False").map(|condition| {
        let (reason, message, time) = stated(condition);
        words::explanation(job, reason, message, time)
    });
    let initialising = || status.init_container_statuses.iter().flatten().find_map(|init| init_trouble(job, init));
    let warned = || (phase == AttemptPhase::Pending).then(|| event::trouble(job, observed.events)).flatten();
    unscheduled.or_else(initialising).or_else(warned)
}

/// What keeps an init container from being done, if it is not just running or being made.
fn init_trouble(job: &Job, container: &ContainerStatus) -> Option<Explanation> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    if let Some(waiting) = state.waiting.as_ref().and_then(|waiting| container_wait(job, waiting)) {
        let message = cut(&format!("init container `{name}`: {}", waiting.message));
        return (waiting.cause != WaitCause::Ordinary)
            .then(|| words::explanation(job, waiting.reason, message, waiting.time));
    }
    let end = state.terminated.as_ref().filter(|end| end.exit_code != 0)?;
    let reason = end.reason.clone().unwrap_or_default();
    let message = match words::end(&reason) {
        EndCause::OutOfMemory => format!("init container `{name}` used more memory than its limit and was killed"),
        _ => format!("init container `{name}` exited with {}", end.exit_code),
    };
    let time = time(end.finished_at.as_ref());
    Some(Explanation { cause: WaitCause::InitContainer, ..words::explanation(job, reason, message, time) })
}

/// Whether another container keeps the Pod from being over: it runs, or waits for an image that may
/// never come. Sidecars among the init containers don't count: the kubelet ends them by itself.
fn others_running(status: &PodStatus) -> bool {
    let others = status.container_statuses.iter().flatten().filter(|container| container.name != RUN_CONTAINER);
    others.into_iter().any(|other| other.state.as_ref().is_none_or(|state| state.terminated.is_none()))
}

/// Its reason, message and time.
fn stated(condition: &PodCondition) -> (String, String, Option<Timestamp>) {
    let reason = condition.reason.clone().unwrap_or_default();
    let message = cut(condition.message.as_deref().unwrap_or_default());
    (reason, message, time(condition.last_transition_time.as_ref()))
}

fn disruption(condition: &PodCondition) -> Intervention {
    let (reason, message, time) = stated(condition);
    Intervention { cause: words::disruption(&reason), reason, message, time }
}

fn ended_by(status: &PodStatus) -> Option<Intervention> {
    let reason = text(status.reason.as_deref())?;
    let message = text(status.message.as_deref()).unwrap_or_default();
    Some(Intervention { cause: words::pod_end(&reason, &message), reason, message, time: None })
}

/// A time that means something: container runtimes give the epoch for what never happened.
fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0).filter(|time| *time != Timestamp::UNIX_EPOCH)
}

fn text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(cut)
}
