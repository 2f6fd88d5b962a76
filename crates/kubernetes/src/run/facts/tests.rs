use std::sync::Arc;

use k8s_openapi::api::core::v1::ContainerState;
use k8s_openapi::api::core::v1::{Event, EventSeries, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::*;
use crate::run::start::StartNote;
use crate::testing::{
    IMAGE, JOB_UID, POD_UID, at, attempt_record, container, effective, event, further_of, job_of, launch, launch_of,
    list, map, on_node, pod, run, running, settled, terminated, waiting, with_condition, with_conditions,
};
use longshore_domain::run::facts::{
    AttemptFacts, AttemptPhase, EndCause, Explanation, Intervention, JobEnd, JobEndCause, MainFacts, PlatformCause,
    WaitCause,
};
use longshore_domain::run::failure::FailureReason;
use longshore_domain::run::record::RECORD_VERSION;
use longshore_domain::run::spec::{EffectiveSpec, EnvSource, EnvVar, Input, Workload};
use longshore_domain::run::{RunState, StopCause, StopIntent, Timeline};

const LOST_AFTER: Duration = Duration::from_secs(600);

fn seen<'a>(job: &'a Job, pod: Option<&'a Pod>) -> ObservedObjects<'a> {
    ObservedObjects {
        job,
        pod,
        last_pod: None,
        events: &[],
        input_confirmed: false,
        pod_was_seen: false,
        unseen_pod: None,
    }
}

fn facts(observed: &ObservedObjects<'_>) -> RunFacts {
    run_facts(&NamespaceName::default_namespace(), observed, &[], LOST_AFTER).unwrap()
}

fn attempt(observed: &ObservedObjects<'_>) -> AttemptFacts {
    facts(observed).attempts.remove(0)
}

fn attempt_of(pod: &Pod) -> AttemptFacts {
    attempt(&seen(&job_of(&launch()), Some(pod)))
}

fn explanation(cause: WaitCause, reason: &str, message: &str, seconds: Option<i64>) -> Explanation {
    let mentions = words::mentions(message);
    Explanation { cause, mentions, reason: reason.to_owned(), message: message.to_owned(), time: seconds.map(at) }
}

fn annotate(job: &mut Job, key: &str, value: &str) {
    job.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

#[test]
fn everything_that_was_submitted_comes_back_from_the_job() {
    let variable = EnvVar {
        name: "TOKEN".to_owned(),
        source: EnvSource::SecretKeyRef { name: "shared".to_owned(), key: "token".to_owned() },
    };
    let mut launch = launch_of(
        "nightly-7",
        EffectiveSpec {
            env: vec![variable.clone()],
            labels: map(&[("team", "data")]),
            annotations: map(&[("example.com/a", "ü")]),
            tmp_size: None,
            run_timeout: Duration::from_secs(7),
            ..effective()
        },
    );
    let spec = Arc::make_mut(&mut launch.submission.spec);
    spec.env = vec![variable];
    spec.tmp_size = Some("0".to_owned());
    let job = job_of(&launch);
    let facts = facts(&seen(&job, None));
    assert_eq!(facts.submission, launch.submission);
    assert_eq!(facts.name, launch.name);
    assert_eq!(facts.uid, JOB_UID);
    assert_eq!(facts.stop, None);
    assert_eq!(facts.record, None);
    assert!(!facts.released && !facts.suspended);
    assert_eq!((facts.deleted_at, facts.expire_time), (None, None));
    assert_eq!(facts.attempts.len(), 1);
    assert_eq!(facts.attempts[0].number, 1);
    assert_eq!(facts.attempts[0].job, "run-nightly-7");
    assert_eq!(facts.attempts[0].create_time, Some(at(0)));
}

#[test]
fn intent_record_and_expiry_come_back() {
    let intent = StopIntent {
        cause: StopCause::StartDeadline,
        reason: "took too long".to_owned(),
        actor: "longshore".to_owned(),
        request_time: at(5),
        failure: Some(FailureReason::ImagePull),
        failure_class: None,
    };
    let record = Record {
        version: RECORD_VERSION,
        state: RunState::Failed,
        failure: None,
        stop: Some(intent.clone()),
        message: "gone".to_owned(),
        timeline: Timeline::default(),
        attempts: Vec::new(),
        result: None,
        record_time: at(6),
    };
    let mut job = job_of(&launch());
    annotate(&mut job, annotation::STOP, &serde_json::to_string(&intent).unwrap());
    annotate(&mut job, annotation::RECORD, &record.to_json().unwrap());
    annotate(&mut job, annotation::EXPIRE, "2026-11-22T08:00:00Z");
    job.metadata.finalizers = Some(list(&["foregroundDeletion"]));
    job.spec.as_mut().unwrap().suspend = Some(true);
    let facts = facts(&seen(&job, None));
    assert_eq!(facts.stop, Some(intent));
    assert_eq!(facts.record, Some(record));
    assert_eq!(facts.expire_time, Some("2026-11-22T08:00:00Z".parse().unwrap()));
    assert!(facts.released && facts.suspended);
}

#[test]
fn a_job_that_can_not_be_known_for_a_run_is_refused() {
    let error = |change: &dyn Fn(&mut Job)| {
        let mut job = job_of(&launch());
        change(&mut job);
        run_facts(&NamespaceName::default_namespace(), &seen(&job, None), &[], LOST_AFTER).unwrap_err().to_string()
    };
    let label = |value: &str| {
        error(&move |job| {
            job.metadata.labels.as_mut().unwrap().insert(label::RUN.to_owned(), value.to_owned());
        })
    };
    let unmarked = error(&|job| {
        job.metadata.labels.as_mut().unwrap().remove(label::RUN);
        job.metadata.annotations.as_mut().unwrap().remove(annotation::DIGEST);
    });
    assert_eq!(unmarked, format!("Job longshore-runs/run-hello has no label `{}`", label::RUN));
    let unreadable = format!("Job longshore-runs/run-hello: label `{}` can't be read", label::RUN);
    assert_eq!(label("Not-A-Run"), unreadable);
    assert_eq!(error(&|job| job.metadata.uid = None), "Job longshore-runs/run-hello has no field `metadata.uid`");
}

#[test]
fn damage_is_reported_and_the_rest_is_read() {
    let running = on_node(pod(&job_of(&launch()), "Running", run(running())));
    let damaged = |change: &dyn Fn(&mut Job)| {
        let mut job = job_of(&launch());
        change(&mut job);
        facts(&seen(&job, Some(&running)))
    };
    let ours =
        [annotation::SPEC, annotation::DIGEST, annotation::CREATE_TIME, annotation::SUBMITTER, annotation::MARKER];
    for key in ours {
        let facts = damaged(&|job| {
            job.metadata.annotations.as_mut().unwrap().remove(key);
        });
        let damage = facts.damage.clone().unwrap();
        assert!(damage.contains(&format!("Job longshore-runs/run-hello has no annotation `{key}`")), "{damage}");
        // It is reported for what it does, can be stopped, and is released in the end.
        let reported = longshore_domain::testing::derived(&facts, at(60));
        assert_eq!((reported.state, reported.timeline.start_time), (RunState::Running, Some(at(3))));
        assert!(reported.message.contains(&damage) && reported.message.contains("running for"), "{}", reported.message);
        assert_eq!(facts.submission.create_time.as_second(), at(0).as_second());
    }
    for key in [annotation::SPEC, annotation::DIGEST, annotation::CREATE_TIME] {
        let damage = damaged(&|job| annotate(job, key, "{nonsense")).damage.unwrap();
        assert!(damage.contains(&format!("annotation `{key}` can't be read")), "{damage}");
    }
    // As if they were not there: what is needed is written again.
    for key in [annotation::STOP, annotation::RECORD, annotation::EXPIRE, annotation::BATCH] {
        let facts = damaged(&|job| annotate(job, key, "{nonsense"));
        assert!(facts.damage.is_some_and(|damage| damage.contains(key)));
        assert_eq!((facts.stop, facts.record, facts.expire_time), (None, None, None));
        assert_eq!(facts.submission, launch().submission);
    }
    let unlabelled = damaged(&|job| {
        job.metadata.labels.as_mut().unwrap().remove(label::RUN);
    });
    assert_eq!((unlabelled.name, unlabelled.damage), (launch().name, None), "its name says which run it is");
    for value in ["0", "first"] {
        let facts = damaged(&|job| {
            job.metadata.labels.as_mut().unwrap().insert(label::ATTEMPT.to_owned(), value.to_owned());
        });
        assert_eq!((facts.attempts[0].number, facts.damage), (1, None));
    }
}

#[test]
fn attempts_that_ended_and_the_present_one_come_back() {
    let anchor = settled(job_of(&launch()), 1);
    let mut second = further_of(&anchor, 2);
    let ended = on_node(pod(&anchor, "Failed", run(terminated(3, "Error"))));
    let namespace = NamespaceName::default_namespace();
    let seen_so_far = |anchor: &Job, second: Option<&Job>| {
        let running = second.map(|second| on_node(pod(second, "Running", run(running()))));
        let further: Vec<_> = second.map(|second| seen(second, running.as_ref())).into_iter().collect();
        run_facts(&namespace, &seen(anchor, Some(&ended)), &further, LOST_AFTER).unwrap()
    };
    let announced = seen_so_far(&anchor, None);
    assert_eq!((announced.settled.as_slice(), announced.damage.as_ref()), ([attempt_record(1)].as_slice(), None));
    assert_eq!((announced.present_number(), announced.present()), (2, None), "it has not begun");
    let begun = seen_so_far(&anchor, Some(&second));
    let present = begun.present().unwrap();
    assert_eq!((present.number, present.job.as_str(), present.phase), (2, "run2-hello", AttemptPhase::Running));
    assert_eq!(begun.attempts[0].main.terminated().map(|end| end.exit_code), Some(3));
    // Only what is about the present attempt's Job holds the run back, and only the anchor's deletion is the run's.
    let mut suspended = anchor.clone();
    suspended.spec.as_mut().unwrap().suspend = Some(true);
    assert!(!seen_so_far(&suspended, Some(&second)).suspended);
    second.spec.as_mut().unwrap().suspend = Some(true);
    second.metadata.deletion_timestamp = Some(Time(at(40)));
    let deleted = seen_so_far(&anchor, Some(&second));
    assert!(deleted.suspended);
    assert_eq!((deleted.deleted_at, deleted.attempts[0].job_deleted_at), (None, None));
    assert_eq!(deleted.attempts[1].job_deleted_at, Some(at(40)));
    // A Job that is not this run's.
    let foreign = further_of(&job_of(&launch_of("other", effective())), 2);
    assert_eq!(
        run_facts(&namespace, &seen(&anchor, None), &[seen(&foreign, None)], LOST_AFTER).unwrap().attempts.len(),
        1
    );
}

#[test]
fn what_is_kept_of_attempts_ends_where_it_can_not_be_read() {
    let with = |number: u32, text: &str| {
        let mut job = settled(job_of(&launch()), 3);
        annotate(&mut job, &annotation::attempt(number), text);
        facts(&seen(&job, None))
    };
    for (number, text) in [(2, "{nonsense".to_owned()), (2, attempt_record(3).to_json().unwrap())] {
        let facts = with(number, &text);
        let damage = facts.damage.unwrap();
        assert!(damage.contains("annotation `longshore.dev/attempt-2` can't be read"), "{damage}");
        assert_eq!(facts.settled.len(), 1);
    }
    let mut gap = settled(job_of(&launch()), 3);
    gap.metadata.annotations.as_mut().unwrap().remove(&annotation::attempt(1));
    assert_eq!(facts(&seen(&gap, None)).settled, []);
}

#[test]
fn a_further_attempt_misses_the_input_of_its_run() {
    let anchor = job_of(&launch());
    let job = further_of(&anchor, 2);
    let stuck = waiting("CreateContainerConfigError", "secret \"run-hello-input-0123456789abcdef\" not found");
    let second = pod(&job, "Pending", run(stuck));
    let namespace = NamespaceName::default_namespace();
    let facts = run_facts(&namespace, &seen(&anchor, None), &[seen(&job, Some(&second))], LOST_AFTER).unwrap();
    let MainFacts::Waiting(Some(waiting)) = &facts.attempts[1].main else { panic!("{:?}", facts.attempts[1].main) };
    assert_eq!(waiting.cause, WaitCause::ContainerConfig { own_input: true });
}

#[test]
fn a_hold_that_somebody_took_away_is_not_a_release() {
    let mut job = job_of(&launch());
    job.metadata.finalizers = None;
    assert!(!facts(&seen(&job, None)).released, "no retention runs");
    annotate(&mut job, annotation::EXPIRE, "2026-11-22T08:00:00Z");
    assert!(facts(&seen(&job, None)).released);
}

#[test]
fn copy_of_a_job_is_not_taken_for_the_run() {
    let mut job = job_of(&launch());
    job.metadata.name = Some("run-hello-copy".to_owned());
    let error = run_facts(&NamespaceName::default_namespace(), &seen(&job, None), &[], LOST_AFTER).unwrap_err();
    assert_eq!(error.to_string(), "Job longshore-runs/run-hello-copy has the labels of Job run-hello, and is not it");
}

#[test]
fn time_of_creation_keeps_its_microseconds() {
    let mut launch = launch();
    launch.submission.create_time = "2026-11-21T08:00:00.000001999Z".parse().unwrap();
    let facts = facts(&seen(&job_of(&launch), None));
    assert_eq!(facts.submission.create_time, "2026-11-21T08:00:00.000001Z".parse().unwrap());
}

#[test]
fn pod_phases() {
    let job = job_of(&launch());
    let table = [
        ("", AttemptPhase::Pending),
        ("Pending", AttemptPhase::Pending),
        ("Running", AttemptPhase::Running),
        ("Succeeded", AttemptPhase::Succeeded),
        ("Failed", AttemptPhase::Failed),
        ("Unknown", AttemptPhase::Unknown),
        ("Levitating", AttemptPhase::Unknown),
    ];
    for (phase, expected) in table {
        assert_eq!(attempt_of(&pod(&job, phase, Vec::new())).phase, expected, "{phase}");
    }
    let bare = Pod { status: None, ..pod(&job, "", Vec::new()) };
    assert_eq!(attempt_of(&bare).phase, AttemptPhase::Pending);
}

#[test]
fn no_pod_is_absent_until_one_was_seen_or_the_job_has_ended() {
    let job = job_of(&launch());
    assert_eq!(attempt(&seen(&job, None)).phase, AttemptPhase::Absent);
    assert_eq!(attempt(&ObservedObjects { pod_was_seen: true, ..seen(&job, None) }).phase, AttemptPhase::Gone);
    let ended = with_conditions(job, &[("FailureTarget", "DeadlineExceeded", 4)]);
    assert_eq!(attempt(&seen(&ended, None)).phase, AttemptPhase::Gone);
}

#[test]
fn pod_that_is_gone_is_reported_as_it_was_seen_last() {
    let job = job_of(&launch());
    let containers = |state| vec![container("istio-proxy", running()), container("run", state)];
    let mut last = on_node(pod(&job, "Running", containers(running())));
    last.metadata.deletion_timestamp = Some(Time(at(40)));
    last.metadata.deletion_grace_period_seconds = Some(30);
    let gone = |last: &Pod| attempt(&ObservedObjects { last_pod: Some(last), pod_was_seen: true, ..seen(&job, None) });
    let there = attempt(&seen(&job, Some(&last)));
    assert!(there.others_running);
    // Nothing runs in it any more; all else is kept.
    let expected = AttemptFacts { phase: AttemptPhase::Gone, others_running: false, ..there };
    assert_eq!(gone(&last), expected);
    assert_eq!((expected.uid.as_deref(), expected.node.as_deref()), (Some(POD_UID), Some("node-a")));
    assert_eq!((expected.main, expected.deleted_at), (MainFacts::Running { started_at: Some(at(3)) }, Some(at(10))));
    last.status.as_mut().unwrap().container_statuses = Some(containers(terminated(143, "Error")));
    assert_eq!(gone(&last).main.terminated().map(|end| end.exit_code), Some(143));
    // A present Pod hides it, and one of another Job does not count.
    let next = pod(&job, "Pending", Vec::new());
    let observed = ObservedObjects { last_pod: Some(&last), ..seen(&job, Some(&next)) };
    assert_eq!(attempt(&observed), attempt(&seen(&job, Some(&next))));
    last.metadata.labels.as_mut().unwrap().remove(label::CONTROLLER_UID);
    assert_eq!(attempt(&ObservedObjects { last_pod: Some(&last), ..seen(&job, None) }).phase, AttemptPhase::Absent);
}

#[test]
fn pod_of_another_job_is_none_of_ours() {
    let job = job_of(&launch());
    let mut old = pod(&job, "Running", run(running()));
    let labels = old.metadata.labels.as_mut().unwrap();
    labels.insert(label::CONTROLLER_UID.to_owned(), "the-job-of-yesterday".to_owned());
    let facts = attempt_of(&old);
    assert_eq!((facts.phase, facts.uid, facts.main), (AttemptPhase::Absent, None, MainFacts::Waiting(None)));
    old.metadata.labels.as_mut().unwrap().remove(label::CONTROLLER_UID);
    assert_eq!(attempt_of(&old).phase, AttemptPhase::Absent);
}

#[test]
fn job_conditions() {
    let end = |complete, final_, cause, reason: &str, seconds| {
        let message = format!("because of {reason}");
        Some(JobEnd { complete, final_, cause, reason: reason.to_owned(), message, time: Some(at(seconds)) })
    };
    use JobEndCause::{Other, PodFailed};
    type Conditions<'a> = &'a [(&'a str, &'a str, i64)];
    let table: [(Conditions<'_>, Option<JobEnd>); 7] = [
        (&[], None),
        (&[("Suspended", "JobSuspended", 1)], None),
        (&[("longshore.dev/Recorded", "NONZERO_EXIT", 9)], None),
        (&[("FailureTarget", "PodFailurePolicy", 4)], end(false, false, Other, "PodFailurePolicy", 4)),
        (&[("SuccessCriteriaMet", "CompletionsReached", 4)], end(true, false, Other, "CompletionsReached", 4)),
        (
            &[("FailureTarget", "BackoffLimitExceeded", 4), ("Failed", "BackoffLimitExceeded", 6)],
            end(false, true, PodFailed, "BackoffLimitExceeded", 6),
        ),
        (&[("SuccessCriteriaMet", "CompletionsReached", 4), ("Complete", "", 6)], end(true, true, Other, "", 6)),
    ];
    for (conditions, expected) in table {
        let job = with_conditions(job_of(&launch()), conditions);
        assert_eq!(attempt(&seen(&job, None)).job_end, expected, "{conditions:?}");
    }
}

#[test]
fn conditions_that_do_not_hold_are_no_end() {
    let mut job = with_conditions(job_of(&launch()), &[("Complete", "", 6)]);
    job.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".to_owned();
    assert_eq!(attempt(&seen(&job, None)).job_end, None);
}

#[test]
fn completion_time_is_when_a_job_completed() {
    let mut job = with_conditions(job_of(&launch()), &[("Complete", "", 6)]);
    job.status.as_mut().unwrap().completion_time = Some(Time(at(5)));
    assert_eq!(attempt(&seen(&job, None)).job_end.unwrap().time, Some(at(5)));
}

#[test]
fn pod_without_a_node_says_why() {
    let job = job_of(&launch());
    for (reason, message) in [
        ("Unschedulable", "0/1 nodes are available: 1 Insufficient cpu."),
        ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"),
    ] {
        let facts = attempt_of(&with_condition(pod(&job, "Pending", vec![]), "PodScheduled", "False", reason, message));
        assert_eq!(facts.waiting, Some(explanation(WaitCause::Unschedulable, reason, message, Some(2))));
        assert_eq!((facts.node, facts.schedule_time, facts.node_time), (None, None, None));
        assert_eq!(facts.evidence[0].message, message);
    }
}

#[test]
fn scheduled_pod_reports_node_and_times() {
    let job = job_of(&launch());
    let facts = attempt_of(&on_node(pod(&job, "Pending", run(waiting("ContainerCreating", "")))));
    assert_eq!(facts.uid.as_deref(), Some(POD_UID));
    assert_eq!(facts.pod.as_deref(), Some("run-hello-x7k2p"));
    assert_eq!(facts.node.as_deref(), Some("node-a"));
    assert_eq!(facts.schedule_time, Some(at(2)));
    assert_eq!(facts.node_time, Some(at(2)));
    assert_eq!(facts.deadline, Some(Duration::from_secs(3901)));
    assert_eq!(facts.waiting, None);
    assert_eq!(facts.main, MainFacts::Waiting(Some(explanation(WaitCause::Ordinary, "ContainerCreating", "", None))));
    assert!(facts.evidence.is_empty(), "an ordinary wait is no evidence: {:?}", facts.evidence);
}

#[test]
fn image_that_cannot_be_pulled_is_reported_and_kept_as_evidence() {
    let job = job_of(&launch());
    let message = format!("Back-off pulling image \"{IMAGE}\"");
    let mut pod = on_node(pod(&job, "Pending", run(waiting("ImagePullBackOff", &message))));
    let reported = explanation(WaitCause::ImagePull, "ImagePullBackOff", &message, None);
    assert_eq!(attempt_of(&pod).main, MainFacts::Waiting(Some(reported.clone())));
    // The deadline ends the Pod; what it waited for stays in its status.
    let status = pod.status.as_mut().unwrap();
    status.phase = Some("Failed".to_owned());
    status.reason = Some("DeadlineExceeded".to_owned());
    status.message = Some("Pod was active on the node longer than the specified deadline".to_owned());
    let facts = attempt_of(&pod);
    assert_eq!(facts.phase, AttemptPhase::Failed);
    let ended = facts.ended_by.as_ref().unwrap();
    assert_eq!((ended.cause, ended.reason.as_str()), (PlatformCause::Deadline, "DeadlineExceeded"));
    assert_eq!(ended.message, "Pod was active on the node longer than the specified deadline");
    assert!(!facts.main.started());
    assert_eq!(facts.evidence.len(), 1);
    assert_eq!(
        (facts.evidence[0].reason.as_str(), facts.evidence[0].message.as_str()),
        ("ImagePullBackOff", &*message)
    );
}

#[test]
fn run_is_found_by_name_among_containers_that_others_put_in() {
    let job = job_of(&launch());
    let containers = vec![container("istio-proxy", running()), container("run", terminated(3, "Error"))];
    let facts = attempt_of(&on_node(pod(&job, "Running", containers)));
    let end = facts.main.terminated().unwrap();
    assert_eq!((end.exit_code, end.signal, end.detail.as_str()), (3, None, "Error"));
    assert_eq!((end.started_at, end.finished_at), (Some(at(3)), Some(at(9))));
    assert!(facts.others_running);
    let alone = vec![container("istio-proxy", terminated(0, "Completed")), container("run", running())];
    assert!(!attempt_of(&on_node(pod(&job, "Running", alone))).others_running);
    let unpullable =
        vec![container("istio-proxy", waiting("ImagePullBackOff", "")), container("run", terminated(0, ""))];
    assert!(attempt_of(&on_node(pod(&job, "Running", unpullable))).others_running, "it would wait for an hour");
    let foreign = on_node(pod(&job, "Running", vec![container("istio-proxy", terminated(0, "Completed"))]));
    assert_eq!(attempt_of(&foreign).main, MainFacts::Waiting(None));
}

#[test]
fn running_since() {
    let facts = attempt_of(&on_node(pod(&job_of(&launch()), "Running", run(running()))));
    assert_eq!(facts.main, MainFacts::Running { started_at: Some(at(3)) });
}

#[test]
fn ends_of_containers_keep_what_the_kubelet_said() {
    let job = job_of(&launch());
    for (code, reason, cause, started) in [
        (0, "Completed", EndCause::Exited, true),
        (137, "OOMKilled", EndCause::OutOfMemory, true),
        (137, "ContainerStatusUnknown", EndCause::Unknown, true),
        (128, "StartError", EndCause::NotStarted, false),
        (127, "ContainerCannotRun", EndCause::NotStarted, false),
    ] {
        let mut state = terminated(code, reason);
        state.terminated.as_mut().unwrap().message = Some("{\"rows\":1}".to_owned());
        let facts = attempt_of(&on_node(pod(&job, "Running", run(state))));
        let end = facts.main.terminated().unwrap();
        assert_eq!((end.exit_code, end.detail.as_str(), end.cause), (code, reason, cause));
        assert_eq!(facts.main.started(), started);
        assert_eq!(end.message, b"{\"rows\":1}");
    }
}

#[test]
fn container_that_never_started_has_no_start_time() {
    let mut state = terminated(128, "StartError");
    state.terminated.as_mut().unwrap().started_at = Some(Time(Timestamp::UNIX_EPOCH));
    state.terminated.as_mut().unwrap().signal = Some(0);
    let facts = attempt_of(&on_node(pod(&job_of(&launch()), "Failed", run(state))));
    let end = facts.main.terminated().unwrap();
    assert_eq!((end.started_at, end.finished_at, end.signal), (None, Some(at(9)), None));
}

#[test]
fn disruption_is_reported_only_if_it_holds() {
    let job = job_of(&launch());
    let base = || on_node(pod(&job, "Running", run(running())));
    let evicted = with_condition(base(), "DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting");
    let (reason, message) = ("EvictionByEvictionAPI".to_owned(), "Eviction API: evicting".to_owned());
    let reported = Intervention { cause: PlatformCause::Evicted, reason, message, time: Some(at(2)) };
    assert_eq!(attempt_of(&evicted).disruption, Some(reported));
    let spared = with_condition(base(), "DisruptionTarget", "False", "", "");
    assert_eq!(attempt_of(&spared).disruption, None);
}

#[test]
fn deletion_is_reported_from_when_it_was_asked_for() {
    let mut job = job_of(&launch());
    let mut pod = on_node(pod(&job, "Running", run(running())));
    pod.metadata.deletion_timestamp = Some(Time(at(40)));
    pod.metadata.deletion_grace_period_seconds = Some(30);
    assert_eq!(attempt_of(&pod).deleted_at, Some(at(10)));
    job.metadata.deletion_timestamp = Some(Time(at(12)));
    assert_eq!(facts(&seen(&job, Some(&pod))).deleted_at, Some(at(12)));
}

#[test]
fn init_containers_that_stand_still_are_explained() {
    let job = job_of(&launch());
    let with_init = |state: ContainerState| {
        let mut pod = on_node(pod(&job, "Pending", run(waiting("PodInitializing", ""))));
        let done = container("first", terminated(0, "Completed"));
        pod.status.as_mut().unwrap().init_container_statuses = Some(vec![done, container("mesh-init", state)]);
        attempt_of(&pod).waiting
    };
    assert_eq!(with_init(running()), None);
    assert_eq!(with_init(waiting("PodInitializing", "")), None);
    assert_eq!(
        with_init(waiting("ErrImagePull", "not found")),
        Some(explanation(WaitCause::ImagePull, "ErrImagePull", "init container `mesh-init`: not found", None))
    );
    assert_eq!(
        with_init(terminated(7, "Error")),
        Some(explanation(WaitCause::InitContainer, "Error", "init container `mesh-init` exited with 7", Some(9)))
    );
}

#[test]
fn input_is_ready_when_its_secret_is_known_or_run_has_started() {
    let plain = job_of(&launch());
    assert!(attempt(&seen(&plain, None)).input_ready);
    let mut launch = launch();
    launch.input = Some(Input::Raw(b"x".to_vec()));
    let job = job_of(&launch);
    let stuck =
        on_node(pod(&job, "Pending", run(waiting("CreateContainerConfigError", "secret \"run-hello\" not found"))));
    let before = attempt(&seen(&job, Some(&stuck)));
    assert!(!before.input_ready);
    assert!(matches!(before.main, MainFacts::Waiting(Some(why)) if why.reason == "CreateContainerConfigError"));
    assert!(attempt(&ObservedObjects { input_confirmed: true, ..seen(&job, Some(&stuck)) }).input_ready);
    let started = on_node(pod(&job, "Running", run(running())));
    assert!(attempt(&seen(&job, Some(&started))).input_ready);
}

fn fact(event: &Event) -> EventFact {
    match said(event) {
        Some((_, Said::Fact(fact))) => fact,
        other => panic!("{other:?}"),
    }
}

fn denied(pod: &str, seconds: i64) -> EventFact {
    let message = format!("Error creating: pods \"{pod}\" is forbidden: exceeded quota: small");
    fact(&event("Job", JOB_UID, "FailedCreate", &message, seconds))
}

#[test]
fn events_of_old_and_new_recorders() {
    let mut old = event("Pod", POD_UID, "Failed", "Error: ErrImagePull", 30);
    old.count = Some(4);
    let (subject, _) = said(&old).unwrap();
    assert_eq!(subject.uid, POD_UID);
    let reported = fact(&old);
    assert_eq!(
        (reported.about, reported.reason.as_str(), reported.count, reported.time),
        (About::Pod, "Failed", 4, Some(at(30)))
    );

    let once = Event { last_timestamp: None, first_timestamp: None, count: None, ..old.clone() };
    let once = Event { event_time: Some(MicroTime(at(31))), ..once };
    assert_eq!((fact(&once).count, fact(&once).time), (1, Some(at(31))));

    let series = EventSeries { count: Some(9), last_observed_time: Some(MicroTime(at(60))) };
    let again = Event { series: Some(series), ..once };
    assert_eq!((fact(&again).count, fact(&again).time), (9, Some(at(60))));
}

#[test]
fn events_about_other_things_are_left_out() {
    assert_eq!(said(&event("Node", "n", "NodeReady", "", 1)), None);
    assert_eq!(said(&event("Pod", "", "Pulled", "", 1)), None);
    assert_eq!(said(&Event::default()), None);
}

#[test]
fn events_of_the_ordinary_course_are_left_out_unless_they_warn() {
    let ordinary = [("Job", "SuccessfulCreate"), ("Pod", "Scheduled"), ("Pod", "Created"), ("Pod", "Started")];
    for (kind, reason) in ordinary {
        let normal = Event { type_: Some("Normal".to_owned()), ..event(kind, "u", reason, "", 1) };
        assert_eq!(said(&normal), None, "{reason}");
        let warning = Event { type_: Some("Warning".to_owned()), ..normal };
        assert!(said(&warning).is_some(), "{reason}");
    }
    let created = event("Job", JOB_UID, "SuccessfulCreate", "Created pod: run-hello-x7k2p", 1);
    let created = said(&Event { type_: Some("Normal".to_owned()), ..created }).unwrap();
    assert_eq!(created.1, Said::PodCreated("run-hello-x7k2p".to_owned()));
    for reason in ["Pulling", "Pulled", "Killing", "MissingClusterDNS", "BackOff"] {
        assert!(said(&event("Pod", "u", reason, "", 1)).is_some(), "{reason}");
    }
}

fn of_pod(type_: &str, reason: &str, message: &str, seconds: i64) -> EventFact {
    fact(&Event { type_: Some(type_.to_owned()), ..event("Pod", POD_UID, reason, message, seconds) })
}

#[test]
fn a_warning_explains_a_container_that_is_being_made_until_something_else_is_reported() {
    let job = job_of(&launch());
    let creating = on_node(pod(&job, "Pending", run(waiting("ContainerCreating", ""))));
    let waits = |pod: &Pod, events: &[EventFact]| attempt(&ObservedObjects { events, ..seen(&job, Some(pod)) }).waiting;
    let sandbox = of_pod("Warning", "FailedCreatePodSandBox", "container init was OOM-killed", 20);
    let reported =
        explanation(WaitCause::MemoryLimit, "FailedCreatePodSandBox", "container init was OOM-killed", Some(20));
    let pulling = |seconds| of_pod("Normal", "Pulling", "Pulling image", seconds);
    assert_eq!(waits(&creating, &[pulling(10), sandbox.clone()]), Some(reported));
    assert_eq!(waits(&creating, &[sandbox.clone(), pulling(30)]), None, "that has passed");
    for elsewhere in ["FailedScheduling", "BackOff", "Failed"] {
        assert_eq!(waits(&creating, &[of_pod("Warning", elsewhere, "m", 20)]), None);
    }
    let started = on_node(pod(&job, "Running", run(running())));
    assert_eq!(waits(&started, &[sandbox]), None);
}

#[test]
fn a_node_that_does_not_report_is_seen_by_what_the_control_plane_says_of_its_pods() {
    let job = job_of(&launch());
    let pod_of = |ready: &str, containers: &str, state| {
        let pod = with_condition(on_node(pod(&job, "Running", run(state))), "Ready", ready, "", "");
        let attempt = attempt_of(&with_condition(pod, "ContainersReady", containers, "", ""));
        attempt.silent_since.zip(attempt.lost_at)
    };
    assert_eq!(pod_of("False", "True", running()), Some((at(2), at(602))));
    assert_eq!(pod_of("True", "True", running()), None);
    let gated =
        with_condition(on_node(pod(&job, "Running", run(running()))), "Ready", "False", "ReadinessGatesNotReady", "");
    assert_eq!(attempt_of(&with_condition(gated, "ContainersReady", "True", "", "")).silent_since, None);
    // The kubelet says so of a container that an admission webhook put in.
    assert_eq!(pod_of("False", "False", running()), None);
    assert_eq!(pod_of("False", "True", terminated(0, "Completed")), None);
}

#[test]
fn what_a_node_threw_away_is_reported_as_that() {
    let job = job_of(&launch());
    assert!(attempt_of(&pod(&job, "Failed", Vec::new())).emptied);
    assert!(!attempt_of(&pod(&job, "Pending", Vec::new())).emptied);
    assert!(!attempt_of(&pod(&job, "Failed", run(terminated(1, "Error")))).emptied);
}

#[test]
fn an_event_says_that_run_had_started_where_its_pod_does_not_any_more() {
    let job = job_of(&launch());
    let started = |field: &str| {
        let mut event = Event { type_: Some("Normal".to_owned()), ..event("Pod", POD_UID, "Started", "", 3) };
        event.involved_object.field_path = Some(field.to_owned());
        event
    };
    assert_eq!(said(&started("spec.containers{istio-proxy}")), None);
    let events = [fact(&started("spec.containers{run}"))];
    let main = |pod: Option<&Pod>, pod_was_seen| {
        let reported = attempt(&ObservedObjects { events: &events, pod_was_seen, ..seen(&job, pod) });
        assert!(reported.evidence.is_empty(), "{:?}", reported.evidence);
        reported.main
    };
    let running = MainFacts::Running { started_at: Some(at(3)) };
    assert_eq!(main(Some(&pod(&job, "Failed", Vec::new())), true), running);
    assert_eq!(main(None, true), running);
    // It may come before the Pod says so, which then decides.
    let creating = on_node(pod(&job, "Pending", run(waiting("ContainerCreating", ""))));
    assert!(!main(Some(&creating), true).started());
}

#[test]
fn a_message_under_another_policy_is_no_result_file() {
    let job = job_of(&launch());
    let mut state = terminated(1, "Error");
    state.terminated.as_mut().unwrap().message = Some("{\"rows\":1}".to_owned());
    let message = |change: &dyn Fn(&mut k8s_openapi::api::core::v1::Container), state: &ContainerState| {
        let mut pod = on_node(pod(&job, "Running", run(state.clone())));
        change(&mut pod.spec.as_mut().unwrap().containers[0]);
        attempt_of(&pod).main.terminated().unwrap().message.len()
    };
    assert_eq!(message(&|_| {}, &state), 10);
    let fallback = |run: &mut k8s_openapi::api::core::v1::Container| {
        run.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    };
    assert_eq!(message(&fallback, &state), 0);
    assert_eq!(message(&|run| run.termination_message_path = Some("/dev/other".to_owned()), &state), 0);
    // Why a container could not be started is the runtime's word under any.
    state.terminated.as_mut().unwrap().reason = Some("StartError".to_owned());
    assert_eq!(message(&fallback, &state), 10);
}

#[test]
fn a_job_reports_its_deadline_and_whether_it_makes_pods() {
    let mut job = job_of(&launch());
    let reported = attempt(&seen(&job, None));
    assert_eq!((reported.job_deadline, reported.closed), (None, false));
    let spec = job.spec.as_mut().unwrap();
    (spec.active_deadline_seconds, spec.parallelism) = (Some(5), Some(0));
    let reported = attempt(&seen(&job, None));
    assert_eq!((reported.job_deadline, reported.closed), (Some(Duration::from_secs(5)), true));
}

#[test]
fn a_pod_that_was_taken_back_before_it_started_is_made_again() {
    let mut resumed = with_conditions(job_of(&launch()), &[("Suspended", "JobResumed", 5)]);
    resumed.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".to_owned();
    let gone =
        |last: &Pod| attempt(&ObservedObjects { last_pod: Some(last), pod_was_seen: true, ..seen(&resumed, None) });
    let creating = on_node(pod(&resumed, "Pending", run(waiting("ContainerCreating", ""))));
    assert_eq!(gone(&creating).phase, AttemptPhase::Absent);
    let started = on_node(pod(&resumed, "Running", run(running())));
    assert_eq!(gone(&started).phase, AttemptPhase::Gone, "what has started is not started again");
}

#[test]
fn newest_refusal_explains_a_pod_that_is_not_there() {
    let job = job_of(&launch());
    let events = [denied("run-hello-b", 20), denied("run-hello-c", 40), denied("run-hello-a", 10)];
    let none = attempt(&ObservedObjects { events: &events, ..seen(&job, None) });
    let newest = denied("run-hello-c", 40);
    assert_eq!(none.waiting, Some(explanation(WaitCause::Quota, "FailedCreate", &newest.message, Some(40))));
    assert_eq!(none.evidence.len(), 1, "{:?}", none.evidence);
    assert_eq!((none.evidence[0].count, none.evidence[0].message.as_str()), (3, newest.message.as_str()));
    // Once there is a Pod, the refusals are history.
    let pod = on_node(pod(&job, "Pending", run(waiting("ContainerCreating", ""))));
    let there = attempt(&ObservedObjects { events: &events, ..seen(&job, Some(&pod)) });
    assert_eq!(there.waiting, None);
    assert_eq!(there.evidence.len(), 1);
}

#[test]
fn evidence_is_in_order_and_bounded() {
    let job = job_of(&launch());
    let message = "m".repeat(5000);
    let events: Vec<EventFact> =
        (0..50).rev().map(|i| fact(&event("Pod", POD_UID, &format!("R{i:02}"), &message, i))).collect();
    let facts = attempt(&ObservedObjects { events: &events, ..seen(&job, None) });
    let reasons: Vec<&str> = facts.evidence.iter().map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons.len(), 20);
    assert_eq!((reasons[0], reasons[19]), ("R30", "R49"));
    assert!(facts.evidence.iter().all(|entry| entry.message.len() <= 1024 && entry.message.ends_with('…')));
}

#[test]
fn last_wait_is_reported_once_even_if_an_event_said_it_too() {
    let job = job_of(&launch());
    let said = [fact(&event("Pod", POD_UID, "ErrImagePull", "no such image", 4))];
    let pod = on_node(pod(&job, "Pending", run(waiting("ErrImagePull", "no such image"))));
    assert_eq!(attempt(&ObservedObjects { events: &said, ..seen(&job, Some(&pod)) }).evidence.len(), 1);
    assert_eq!(attempt(&seen(&job, Some(&pod))).evidence.len(), 1);
}

#[test]
fn long_text_is_cut_at_a_character() {
    let text = "ü".repeat(600);
    let short = cut(&text);
    assert!(short.len() <= 1024 && short.ends_with("ü…"), "{} bytes", short.len());
    assert_eq!(cut(&text[..1024]), text[..1024]);
}

#[test]
fn pod_without_status_or_spec_is_read_without_harm() {
    let job = job_of(&launch());
    let mut pod = Pod { spec: None, status: Some(PodStatus::default()), ..pod(&job, "", Vec::new()) };
    pod.metadata.name = None;
    let facts = attempt_of(&pod);
    assert_eq!((facts.phase, facts.deadline, facts.pod), (AttemptPhase::Pending, None, None));
}

#[test]
fn runner_workloads_come_back_too() {
    let launch =
        launch_of("r", EffectiveSpec { workload: Workload::Runner { profile: "sql".to_owned() }, ..effective() });
    assert_eq!(facts(&seen(&job_of(&launch), None)).submission, launch.submission);
}

/// A queue lets a Job go on that it had suspended: another Pod of the same Job starts.
#[test]
fn a_second_start_of_one_job_is_known_by_the_note_of_the_first() {
    let noted = |uid: &str| {
        let mut job = job_of(&launch());
        let note = StartNote { uid: uid.to_owned(), start_time: Some(at(7)) };
        let annotations = job.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::START.to_owned(), serde_json::to_string(&note).unwrap());
        job
    };
    let running = |job: &Job| on_node(pod(job, "Running", run(running())));
    let job = noted(POD_UID);
    let first = attempt(&seen(&job, Some(&running(&job))));
    assert!(first.start_noted && first.further_uids.is_empty() && first.disruption.is_none());
    assert_eq!((first.uid.as_deref(), first.phase), (Some(POD_UID), AttemptPhase::Running));

    let job = noted("first");
    let second = attempt(&seen(&job, Some(&running(&job))));
    assert_eq!((second.uid.as_deref(), second.phase), (Some("first"), AttemptPhase::Gone));
    assert_eq!(second.further_uids, [POD_UID]);
    assert_eq!(second.started_at(), Some(at(7)));
    assert!(second.is_preempted());
    let creating = on_node(pod(&job, "Pending", run(waiting("ContainerCreating", ""))));
    let creating = attempt(&seen(&job, Some(&creating)));
    assert_eq!(creating.further_uids, Vec::<String>::new(), "it has not started");
    assert!(creating.is_preempted(), "nor shall it");
    // Nor is it forgotten that the first one did.
    let mut suspended = noted("first");
    suspended.spec.as_mut().unwrap().suspend = Some(true);
    let gone = attempt(&seen(&suspended, None));
    assert_eq!((gone.phase, gone.started_at()), (AttemptPhase::Gone, Some(at(7))));
}

#[test]
fn what_was_closed_for_a_preemption_stays_preempted_for_another_daemon() {
    let mut job = job_of(&launch());
    let annotations = job.metadata.annotations.get_or_insert_default();
    annotations.insert(annotation::PREEMPTED.to_owned(), at(9).to_string());
    let closed = attempt(&seen(&job, None));
    assert!(closed.main.started() && closed.phase == AttemptPhase::Gone, "that it ran is known without a note");
    let disruption = closed.disruption.unwrap();
    assert_eq!((disruption.cause, disruption.time), (PlatformCause::Suspended, Some(at(9))));
}

#[test]
fn a_queue_says_why_a_job_is_held_back_and_when_it_let_it_go() {
    let mut job = job_of(&launch());
    job.spec.as_mut().unwrap().suspend = Some(true);
    let of_job = |reason: &str, message: &str, seconds| {
        let (_, Said::Fact(fact)) = said(&event("Job", JOB_UID, reason, message, seconds)).unwrap() else { panic!() };
        fact
    };
    let events = [of_job("Suspended", "Job suspended", 5), of_job("CreatedWorkload", "Created Workload: a/b", 8)];
    let waits = attempt(&ObservedObjects { events: &events, ..seen(&job, None) }).waiting.unwrap();
    assert_eq!((waits.reason.as_str(), waits.message.as_str()), ("CreatedWorkload", "Created Workload: a/b"));
    assert_eq!(facts(&seen(&job, None)).admitted_at, None);
    let mut resumed = with_conditions(job, &[("Suspended", "JobResumed", 12)]);
    resumed.spec.as_mut().unwrap().suspend = Some(false);
    resumed.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".to_owned();
    let facts = facts(&seen(&resumed, None));
    assert_eq!((facts.suspended, facts.admitted_at), (false, Some(at(12))));
}

/// As after a rollback to a version that does not read what a newer one wrote: the attempt that runs is not taken for over.
#[test]
fn a_lost_record_of_an_attempt_does_not_make_it_the_present_one() {
    let namespace = NamespaceName::default_namespace();
    for (note, expected) in [(Some("{}"), "can't be read"), (None, "does not say any more how attempt 1 ended")] {
        let mut anchor = job_of(&launch());
        if let Some(note) = note {
            anchor.metadata.annotations.as_mut().unwrap().insert(annotation::attempt(1), note.to_owned());
        }
        let second = further_of(&anchor, 2);
        let facts = run_facts(&namespace, &seen(&anchor, None), &[seen(&second, None)], LOST_AFTER).unwrap();
        assert_eq!((facts.present_number(), facts.settled.len()), (2, 1));
        let damage = facts.damage.unwrap();
        assert!(damage.contains(expected), "{damage}");
    }
}
