//! One table row per thing that can be observed of an end, and the words reported on the way.

use std::sync::Arc;
use std::time::Duration;

use super::super::facts::{
    AttemptPhase, EndCause, Intervention, JobEnd, JobEndCause, MainFacts, Mentions, PlatformCause, Remembered,
    Terminated, WaitCause,
};
use super::super::failure::{FailureClass, FailureReason as Reason};
use super::super::spec::Workload;
use super::super::verdict::{StartOutlook, conclude, judge, known_cause, look_again, start_deadline, start_outlook};
use super::*;
use crate::result::{
    FoundResult, Reported, ReportedStatus, ResultDialect, ResultError, ResultErrorKind, ResultOutcome, ResultSource,
    ResultState,
};
use crate::run::view::{StopCause, StopIntent};
use crate::testing::{at, attempt, derived, explained, facts, intervened, settled, stop, terminated};

/// What is reported at 100, recorded by then if it is over.
fn reported(facts: &RunFacts) -> Run {
    let Some((outcome, result)) = settled(facts, at(100)) else { return derived(facts, at(100)) };
    let before = derived(facts, at(100));
    assert!(!before.state.is_terminal(), "terminal without a record: {before:?}");
    let record = record(facts, &outcome, result, at(100));
    let after = derived(&RunFacts { record: Some(record), ..facts.clone() }, at(100));
    assert_eq!((before.exit_code, before.timeline.finish_time), (after.exit_code, after.timeline.finish_time));
    after
}

fn with(attempt: AttemptFacts) -> RunFacts {
    RunFacts { attempts: vec![attempt], ..facts() }
}

fn ended(end: Terminated) -> AttemptFacts {
    AttemptFacts { phase: AttemptPhase::Running, main: MainFacts::Terminated(end), ..attempt() }
}

/// A Job that failed.
fn job_end(cause: JobEndCause, final_: bool) -> Option<JobEnd> {
    let (reason, message) = ("Word".to_owned(), "words".to_owned());
    Some(JobEnd { complete: false, final_, cause, reason, message, time: Some(at(30)) })
}

#[test]
fn the_way_to_running() {
    let absent = AttemptFacts { phase: AttemptPhase::Absent, schedule_time: None, node: None, ..attempt() };
    let unscheduled = AttemptFacts {
        phase: AttemptPhase::Pending,
        waiting: explained(WaitCause::Unschedulable, "NoNode", "0/1 nodes"),
        ..absent.clone()
    };
    let pulling = AttemptFacts {
        phase: AttemptPhase::Pending,
        main: MainFacts::Waiting(explained(WaitCause::ImagePull, "NoImage", "Back-off pulling image")),
        ..attempt()
    };
    let running = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        ..attempt()
    };
    for (attempt, state, word) in [
        (absent, RunState::Pending, None),
        (unscheduled, RunState::Pending, Some("NoNode")),
        (pulling, RunState::Starting, Some("NoImage")),
        (running, RunState::Running, None),
    ] {
        let run = reported(&with(attempt));
        assert_eq!((run.state, run.waiting_reason.as_deref()), (state, word), "{}", run.message);
    }
    let queued = reported(&RunFacts { suspended: true, ..facts() });
    assert_eq!((queued.state, queued.waiting_reason.as_deref()), (RunState::Queued, Some("Suspended")));
    // A queue that says why.
    let why = explained(WaitCause::Other, "Queued", "its turn comes");
    let waiting = AttemptFacts { phase: AttemptPhase::Pending, main: MainFacts::Waiting(why), ..attempt() };
    let queued = reported(&RunFacts { suspended: true, ..with(AttemptFacts { pod: None, ..waiting }) });
    assert_eq!((queued.state, queued.waiting_reason.as_deref()), (RunState::Queued, Some("Queued")));
    assert!(queued.message.starts_with("its turn comes"), "{}", queued.message);
}

/// What a kubelet that was restarted under pressure reports of a Pod that runs there.
fn refusal() -> Option<Intervention> {
    intervened(PlatformCause::Evicted, "Word", "The node had condition: [DiskPressure]. ")
}

#[test]
fn a_program_that_a_refusal_ends_is_being_ended() {
    let refused = AttemptFacts { eviction: refusal(), ..attempt() };
    let run = reported(&with(refused));
    assert_eq!(run.state, RunState::Finishing);
    assert!(run.message.contains("DiskPressure"), "{}", run.message);
}

#[test]
fn a_plain_exit_is_believed_at_once() {
    let run = reported(&with(ended(terminated(0))));
    assert_eq!((run.state, run.exit_code), (RunState::Succeeded, Some(0)));
    assert_eq!(run.timeline.finish_time, Some(at(20)));
    let run = reported(&with(ended(terminated(7))));
    assert_eq!(run.failure.map(|f| (f.reason, f.exit_code)), Some((Reason::NonzeroExit, Some(7))));
}

#[test]
fn an_exit_that_may_have_another_cause_waits_for_the_end_of_the_pod() {
    let doubtful = [
        ended(terminated(137)),
        ended(Terminated { cause: EndCause::OutOfMemory, ..terminated(1) }),
        AttemptFacts { deleted_at: Some(at(15)), ..ended(terminated(0)) },
        AttemptFacts { disruption: intervened(PlatformCause::Evicted, "Word", ""), ..ended(terminated(1)) },
        AttemptFacts { ended_by: intervened(PlatformCause::Evicted, "Word", ""), ..ended(terminated(1)) },
        // The Event comes first; phase and reason follow the program's end.
        AttemptFacts { eviction: refusal(), ..ended(terminated(3)) },
        // Node time 2 and a deadline of 18 s: equal to the end at 20, so not before it.
        AttemptFacts { deadline: Some(Duration::from_secs(18)), ..ended(terminated(1)) },
        AttemptFacts { deadline: Some(Duration::from_secs(17)), ..ended(terminated(0)) },
    ];
    for attempt in doubtful {
        let run = reported(&with(attempt.clone()));
        assert!(!run.state.is_terminal(), "{attempt:?} was believed");
    }
    let stopped = RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(ended(terminated(0))) };
    assert!(!reported(&stopped).state.is_terminal());
}

#[test]
fn what_the_end_of_the_pod_says() {
    let failed = |attempt: AttemptFacts| AttemptFacts { phase: AttemptPhase::Failed, ..attempt };
    let said = |cause: PlatformCause, message: &str| AttemptFacts {
        ended_by: intervened(cause, "Word", message),
        ..failed(ended(terminated(137)))
    };
    let disrupted = |cause: PlatformCause| AttemptFacts {
        disruption: intervened(cause, "Word", "m"),
        ..failed(ended(terminated(143)))
    };
    let never_started = AttemptFacts {
        main: MainFacts::Waiting(explained(WaitCause::ImagePull, "Word", "no such image")),
        ..failed(attempt())
    };
    let rows = [
        (failed(ended(terminated(137))), Reason::Signalled),
        (failed(ended(Terminated { cause: EndCause::OutOfMemory, ..terminated(137) })), Reason::OomKilled),
        (failed(ended(Terminated { cause: EndCause::Unknown, ..terminated(137) })), Reason::Lost),
        (failed(ended(Terminated { cause: EndCause::NotStarted, ..terminated(128) })), Reason::ImageInvalid),
        (failed(ended(Terminated { cause: EndCause::NotExecuted, ..terminated(128) })), Reason::ConfigError),
        // Node time 2: killed at 20 by a deadline of 18 s.
        (
            AttemptFacts { deadline: Some(Duration::from_secs(18)), ..said(PlatformCause::Deadline, "") },
            Reason::RunDeadline,
        ),
        (
            AttemptFacts { ended_by: intervened(PlatformCause::Deadline, "Word", ""), ..never_started },
            Reason::ImagePull,
        ),
        (
            said(PlatformCause::Evicted, "Usage of EmptyDir volume \"tmp\" exceeds the limit \"10Mi\"."),
            Reason::EphemeralStorage,
        ),
        (
            AttemptFacts {
                disruption: intervened(PlatformCause::Evicted, "Word", "m"),
                ..said(PlatformCause::Evicted, "low on ephemeral-storage")
            },
            Reason::Evicted,
        ),
        (
            AttemptFacts { emptied: true, ..said(PlatformCause::Evicted, "The node had condition: [DiskPressure].") },
            Reason::Evicted,
        ),
        (
            AttemptFacts {
                eviction: refusal(),
                ..said(PlatformCause::EvictedByRefusal, "Pod was rejected: The node had condition: [DiskPressure]. ")
            },
            Reason::Evicted,
        ),
        (said(PlatformCause::NodeLost, ""), Reason::NodeLost),
        (
            said(PlatformCause::NodeShutdown, "Pod was terminated in response to imminent node shutdown"),
            Reason::NodeShutdown,
        ),
        (said(PlatformCause::Refused, ""), Reason::Evicted),
        (said(PlatformCause::Preempted, ""), Reason::Preempted),
        (said(PlatformCause::Other, ""), Reason::Signalled),
        (disrupted(PlatformCause::Preempted), Reason::Preempted),
        (disrupted(PlatformCause::Suspended), Reason::Preempted),
        (disrupted(PlatformCause::Orphaned), Reason::Evicted),
        (disrupted(PlatformCause::Evicted), Reason::Evicted),
        (disrupted(PlatformCause::Other), Reason::Evicted),
    ];
    for (attempt, reason) in rows {
        let run = reported(&with(attempt.clone()));
        assert_eq!(run.failure.map(|f| f.reason), Some(reason), "{attempt:?}");
    }
}

#[test]
fn exit_0_before_the_deadline_wins_whatever_is_said_later() {
    let attempt = AttemptFacts {
        phase: AttemptPhase::Failed,
        ended_by: intervened(PlatformCause::Deadline, "Word", ""),
        deadline: Some(Duration::from_secs(60)),
        ..ended(terminated(0))
    };
    assert_eq!(reported(&with(attempt.clone())).state, RunState::Succeeded);
    let late = AttemptFacts { deadline: Some(Duration::from_secs(5)), ..attempt };
    assert_eq!(reported(&with(late)).failure.map(|f| f.reason), Some(Reason::RunDeadline));
}

#[test]
fn a_pod_that_is_gone_is_reported_by_its_job() {
    let gone = |cause| AttemptFacts { phase: AttemptPhase::Gone, job_end: job_end(cause, true), ..attempt() };
    for (attempt, reason) in [
        (gone(JobEndCause::Disruption), Reason::Evicted),
        (gone(JobEndCause::Deadline), Reason::StartDeadline),
        (gone(JobEndCause::PodFailed), Reason::Lost),
        (gone(JobEndCause::Other), Reason::Lost),
    ] {
        let run = reported(&with(attempt.clone()));
        assert_eq!(run.failure.map(|f| f.reason), Some(reason), "{attempt:?}");
    }
}

/// A cancelled run whose Pod, if there was one, nobody saw.
#[test]
fn of_a_pod_that_nobody_saw_it_is_said_that_it_may_have_run() {
    let gone = |unseen, final_| {
        let job_end = job_end(JobEndCause::Deadline, final_);
        let gone = AttemptFacts { uid: None, pod: None, node: None, unseen, job_end, ..attempt() };
        reported(&RunFacts {
            stop: Some(stop(StopCause::Cancel, 15)),
            ..with(AttemptFacts { phase: AttemptPhase::Gone, ..gone })
        })
    };
    assert_eq!(gone(false, false).state, RunState::Cancelling, "its Job has not counted its Pods yet");
    let never = gone(false, true);
    assert_eq!((never.state, never.message.contains("unseen")), (RunState::Cancelled, false), "{}", never.message);
    let unseen = gone(true, true);
    assert_eq!((unseen.state, unseen.attempts[0].unseen), (RunState::Cancelled, true));
    assert!(unseen.message.ends_with(
        "; its Pod was created and deleted unobserved, so it is not known whether the \
                                  program ran"
    ));
}

#[test]
fn a_cancel_is_reported_on_the_way_and_at_the_end() {
    let running = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        ..attempt()
    };
    let cancelled = |attempt| RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(attempt) };
    assert_eq!(reported(&cancelled(running)).state, RunState::Cancelling);
    let obeys = |code| AttemptFacts {
        phase: AttemptPhase::Failed,
        ended_by: intervened(PlatformCause::Deadline, "Word", ""),
        deadline: Some(Duration::from_secs(1)),
        ..ended(terminated(code))
    };
    let run = reported(&cancelled(obeys(143)));
    assert_eq!((run.state, run.exit_code, run.failure), (RunState::Cancelled, Some(143), None));
    // Exit code 0 after the stop was asked for is the answer to SIGTERM, not a success.
    assert_eq!(reported(&cancelled(obeys(0))).state, RunState::Cancelled);
    // What ended before anybody asked is not cancelled.
    let mut before = obeys(0);
    before.remembered.ended_untouched = true;
    let late = RunFacts { stop: Some(stop(StopCause::Cancel, 25)), ..with(before) };
    assert_eq!(reported(&late).state, RunState::Succeeded);
    let failed_before = AttemptFacts { phase: AttemptPhase::Failed, ..ended(terminated(3)) };
    let late = RunFacts { stop: Some(stop(StopCause::Cancel, 25)), ..with(failed_before) };
    assert_eq!(reported(&late).failure.map(|f| f.reason), Some(Reason::NonzeroExit));
}

#[test]
fn a_stalled_pull_is_over_as_soon_as_its_pod_is_being_deleted_and_nothing_else_is() {
    let deleted = |main| AttemptFacts {
        phase: AttemptPhase::Pending,
        main,
        deleted_at: Some(at(50)),
        remembered: Remembered { unended_since: Some(at(98)), ..Remembered::default() },
        ..attempt()
    };
    let waits = |cause| MainFacts::Waiting(explained(cause, "Word", ""));
    let cancelled = |attempt| RunFacts { stop: Some(stop(StopCause::Cancel, 49)), ..with(attempt) };
    let pulling = deleted(waits(WaitCause::ImagePull));
    assert_eq!(reported(&cancelled(pulling.clone())).state, RunState::Cancelled);
    assert_eq!(reported(&with(pulling)).state, RunState::Finishing, "its cause is not known yet");
    let mut stalled = deleted(waits(WaitCause::Ordinary));
    stalled.is_pulling = true;
    assert_eq!(reported(&cancelled(stalled.clone())).state, RunState::Cancelled);
    stalled.is_pulling = false;
    // It may have started a while before the kubelet says so.
    let creating = cancelled(stalled);
    assert_eq!(reported(&creating).state, RunState::Cancelling);
    assert_eq!(conclude(&creating, at(117)), None);
    assert!(conclude(&creating, at(118)).is_some(), "it is not waited for for ever");
    assert_eq!(look_again(&creating, at(100)), Some(at(118)));
}

#[test]
fn a_stop_by_a_clock_is_a_failure_with_its_cause() {
    let gone = AttemptFacts { phase: AttemptPhase::Gone, ..attempt() };
    let mut intent = stop(StopCause::StartDeadline, 15);
    intent.failure = Some(Reason::ImagePull);
    let run = reported(&RunFacts { stop: Some(intent), ..with(gone) });
    assert_eq!((run.state, run.failure.map(|f| f.reason)), (RunState::Failed, Some(Reason::ImagePull)));
}

#[test]
fn what_a_profile_names_is_not_the_callers_to_correct() {
    let mut intent = stop(StopCause::StartFailure, 15);
    intent.failure = Some(Reason::ImagePull);
    let refused = RunFacts {
        stop: Some(intent),
        stop_mentions: Mentions { refusal: true, ..Mentions::default() },
        ..with(AttemptFacts { phase: AttemptPhase::Gone, ..attempt() })
    };
    let unstarted = AttemptFacts {
        phase: AttemptPhase::Failed,
        ..ended(Terminated { cause: EndCause::NotExecuted, message: b"no `report`".to_vec(), ..terminated(128) })
    };
    for mut facts in [refused, with(unstarted)] {
        let class = |facts: &RunFacts| reported(facts).failure.map(|failure| failure.failure_class);
        assert_eq!(class(&facts), Some(FailureClass::User));
        Arc::make_mut(&mut facts.submission.effective).workload = Workload::Runner { profile: "report".to_owned() };
        assert_eq!(class(&facts), Some(FailureClass::Platform));
        let (outcome, result) = settled(&facts, at(100)).unwrap();
        let record = record(&facts, &outcome, result, at(21));
        assert_eq!(
            record.attempts[0].failure.as_ref().map(|failure| failure.failure_class),
            Some(FailureClass::Platform)
        );
    }
}

#[test]
fn a_result_is_settled_before_the_end_is_reported() {
    let mut with_rule = with(ended(terminated(0)));
    Arc::make_mut(&mut with_rule.submission.effective).result.mode = ResultMode::Required;
    assert!(judge(&with_rule, at(100)).result_is_due());
    assert_eq!(settled(&with_rule, at(100)), None);
    let run = reported(&with_rule);
    assert_eq!(run.state, RunState::Finishing);
    assert_eq!((run.exit_code, run.timeline.finish_time), (Some(0), Some(at(20))), "exit and end are reported at once");

    let kind = |kind| ResultOutcome::None(ResultError { kind, message: "m".to_owned(), position: None });
    for (outcome, reason) in [
        (kind(ResultErrorKind::Empty), Reason::ResultMissing),
        (kind(ResultErrorKind::Truncated), Reason::ResultInvalid),
        (ResultOutcome::Unavailable("cut".to_owned()), Reason::ResultUnavailable),
    ] {
        let facts = RunFacts { result: Some(outcome.clone()), ..with_rule.clone() };
        let (required, _) = settled(&facts, at(100)).unwrap();
        assert_eq!(required.failure.map(|f| f.reason), Some(reason));
        let mut optional = facts.clone();
        Arc::make_mut(&mut optional.submission.effective).result.mode = ResultMode::Optional;
        assert_eq!(settled(&optional, at(100)).unwrap().0.state, RunState::Succeeded);
        // A non-zero exit wins over result errors.
        let failed = RunFacts { attempts: vec![ended(terminated(9))], ..facts };
        assert_eq!(settled(&failed, at(100)).unwrap().0.failure.map(|f| f.reason), Some(Reason::NonzeroExit));
        assert_eq!(derived(&failed, at(100)).state, RunState::Finishing, "the record is not written yet");
    }
}

#[test]
fn the_record_is_what_is_reported_for_ever() {
    let facts = with(ended(terminated(7)));
    let (outcome, result) = settled(&facts, at(100)).unwrap();
    let record = record(&facts, &outcome, result, at(21));
    let read = Record::from_json(&record.to_json().unwrap()).unwrap();
    assert_eq!(read, record);
    let before = reported(&facts);
    let after = reported(&RunFacts { record: Some(read), attempts: vec![attempt()], ..facts });
    assert_eq!((after.state, after.failure, after.exit_code), (before.state, before.failure, Some(7)));
}

#[test]
fn images_that_can_never_be_pulled_are_given_up_after_a_while() {
    let waits = |cause, refusal| {
        let why = explained(cause, "Word", "words").map(|why| super::super::facts::Explanation {
            mentions: Mentions { refusal, ..Mentions::default() },
            ..why
        });
        AttemptFacts { phase: AttemptPhase::Pending, main: MainFacts::Waiting(why), ..attempt() }
    };
    let refused = waits(WaitCause::ImagePull, true);
    let given_up = |attempt: &AttemptFacts, now| match start_outlook(attempt, now) {
        StartOutlook::GivenUp(failure) => failure.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(start_outlook(&refused, at(5)), StartOutlook::GivenUpAt(at(16)));
    assert_eq!(given_up(&refused, at(16)), Reason::ImagePull);
    for cause in [WaitCause::ImageName, WaitCause::ImageAbsent, WaitCause::NoCommand] {
        let named = waits(cause, false);
        assert_eq!(start_outlook(&named, at(3)), StartOutlook::GivenUpAt(at(4)), "{cause:?}");
        assert_eq!(given_up(&named, at(4)), Reason::ImageInvalid);
    }
    for (cause, refusal) in [
        (WaitCause::ImagePull, false),
        (WaitCause::RegistryUnavailable, true),
        (WaitCause::Container, true),
        (WaitCause::Ordinary, true),
    ] {
        assert_eq!(start_outlook(&waits(cause, refusal), at(600)), StartOutlook::Open, "{cause:?}");
    }
    // Words with a time of their own count from it.
    let mut late = refused;
    let MainFacts::Waiting(Some(why)) = &mut late.main else { panic!("it waits") };
    why.time = Some(at(40));
    assert_eq!(start_outlook(&late, at(41)), StartOutlook::GivenUpAt(at(55)));
}

/// A run whose runner reported this, ended like this.
fn with_report(status: ReportedStatus, end: Terminated) -> RunFacts {
    let mut facts = with(AttemptFacts { phase: AttemptPhase::Failed, ..ended(end) });
    Arc::make_mut(&mut facts.submission.effective).result.mode = ResultMode::Required;
    facts.result = Some(ResultOutcome::Found(FoundResult {
        json: Some("{}".to_owned()),
        size_bytes: 2,
        sha256: String::new(),
        source: ResultSource::File,
        dialect: ResultDialect::Json,
        byte_range: None,
        warnings: Vec::new(),
    }));
    facts.reported = Some(Reported { status, error_type: "T".to_owned(), message: "m".to_owned() });
    facts
}

#[test]
fn what_the_runner_reported_explains_its_own_exit_code_only() {
    for (status, words) in [(ReportedStatus::Error, "an error"), (ReportedStatus::Timeout, "a timeout")] {
        let facts = with_report(status, terminated(3));
        let (outcome, info) = settled(&facts, at(100)).unwrap();
        let failure = outcome.failure.clone().unwrap();
        assert_eq!((failure.reason, failure.exit_code), (Reason::RunnerReported, Some(3)));
        assert_eq!(failure.message, format!("the runner reported {words}: T: m"));
        assert_eq!(outcome.message, failure.message);
        assert_eq!(info.clone().unwrap().state, ResultState::Found, "the object is kept");
        // The same once only the record is left, wherever the object is.
        let mut info = info;
        info.as_mut().and_then(|info| info.found.as_mut()).unwrap().json = None;
        let record = record(&facts, &outcome, info, at(21));
        let run = reported(&RunFacts { record: Some(record), result: None, reported: None, ..facts });
        assert_eq!(run.failure, Some(failure));
        assert_eq!(run.attempts[0].failure.as_ref().map(|f| f.reason), Some(Reason::RunnerReported));
    }

    let by = |end| settled(&with_report(ReportedStatus::Error, end), at(100)).unwrap().0.failure.map(|f| f.reason);
    assert_eq!(by(terminated(143)), Some(Reason::Signalled));
    assert_eq!(by(Terminated { cause: EndCause::OutOfMemory, ..terminated(137) }), Some(Reason::OomKilled));
    assert_eq!(by(Terminated { signal: Some(9), ..terminated(1) }), Some(Reason::Signalled));
    let ordered = |mut facts: RunFacts| {
        facts.attempts[0].ended_by = intervened(PlatformCause::Deadline, "Word", "");
        facts
    };
    let overdue = ordered(with_report(ReportedStatus::Timeout, terminated(3)));
    let overdue = RunFacts { stop: Some(stop(StopCause::RunDeadline, 15)), ..overdue };
    assert_eq!(settled(&overdue, at(100)).unwrap().0.failure.map(|f| f.reason), Some(Reason::RunDeadline));
    let cancelled = ordered(with_report(ReportedStatus::Error, terminated(3)));
    let cancelled = RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..cancelled };
    assert_eq!(settled(&cancelled, at(100)).unwrap().0.state, RunState::Cancelled);
}

#[test]
fn a_reported_error_does_not_outvote_exit_code_0() {
    let facts = with_report(ReportedStatus::Error, terminated(0));
    let (outcome, info) = settled(&facts, at(100)).unwrap();
    assert_eq!((outcome.state, outcome.failure), (RunState::Succeeded, None));
    let found = info.unwrap().found.unwrap();
    assert_eq!(found.warnings, ["the program exited with 0, but the runner reported an error: T: m"]);
    // Where the rest of the object is not usable, that is what fails the run.
    let broken = ResultError { kind: ResultErrorKind::Invalid, message: "m".to_owned(), position: None };
    let facts = RunFacts { result: Some(ResultOutcome::None(broken)), ..facts };
    assert_eq!(settled(&facts, at(100)).unwrap().0.failure.map(|f| f.reason), Some(Reason::ResultInvalid));
}

#[test]
fn who_has_to_act_on_a_pod_that_is_not_made() {
    let refused = |cause| {
        let absent = AttemptFacts { phase: AttemptPhase::Absent, ..attempt() };
        let waiting = explained(cause, "Word", "words");
        let failure = known_cause(&AttemptFacts { waiting, ..absent }).unwrap();
        (failure.failure_class, failure.reason, failure.retryable())
    };
    use FailureClass::{Infra, Platform, Policy, User};
    for (cause, expected) in [
        (WaitCause::ControlPlane, (Infra, Reason::StartDeadline, true)),
        (WaitCause::ClusterSetup, (Platform, Reason::ConfigError, false)),
        (WaitCause::AdmissionDenied, (Policy, Reason::AdmissionDenied, false)),
        (WaitCause::Quota, (Policy, Reason::Quota, true)),
        (WaitCause::Refused, (User, Reason::ConfigError, false)),
    ] {
        assert_eq!(refused(cause), expected, "{cause:?}");
    }
}

#[test]
fn what_stands_in_the_way_of_a_start_is_reported_and_is_the_cause_in_the_end() {
    let creating = |cause, reason: &str, message: &str| AttemptFacts {
        main: MainFacts::Waiting(explained(WaitCause::Ordinary, "Ordinary", "")),
        waiting: explained(cause, reason, message),
        ..attempt()
    };
    use FailureClass::{Infra, User};
    for (cause, class, expected) in [
        (WaitCause::MemoryLimit, User, Reason::ConfigError),
        (WaitCause::Node, Infra, Reason::StartDeadline),
        (WaitCause::VolumeSource { own_input: false }, User, Reason::ConfigError),
        (WaitCause::VolumeSource { own_input: true }, Infra, Reason::Deleted),
        (WaitCause::Volume, Infra, Reason::StartDeadline),
        (WaitCause::ContainerConfig { own_input: false }, User, Reason::ConfigError),
        (WaitCause::ContainerConfig { own_input: true }, Infra, Reason::Deleted),
    ] {
        let facts = with(creating(cause, "Word", "some words"));
        let run = reported(&facts);
        assert_eq!((run.state, run.waiting_reason.as_deref()), (RunState::Starting, Some("Word")));
        assert!(run.message.contains("Word: some words"), "{}", run.message);
        let failure = start_deadline(&facts, &facts.attempts[0]);
        assert_eq!((failure.failure_class, failure.reason), (class, expected), "{failure:?}");
        assert!(failure.message.contains("Word: some words"), "{failure:?}");
        assert!(failure.message.contains("start_timeout of 5m"), "{failure:?}");
    }
    // What was never there can't be gone.
    let early = |cause| known_cause(&AttemptFacts { input_ready: false, ..creating(cause, "Word", "words") });
    assert_eq!(early(WaitCause::ContainerConfig { own_input: true }), None);
    let failure = early(WaitCause::VolumeSource { own_input: true });
    assert_eq!(failure.map(|failure| failure.reason), Some(Reason::ConfigError));
    // A stop keeps the class that its cause had.
    let gone = with(AttemptFacts { phase: AttemptPhase::Gone, ..attempt() });
    let intent = StopIntent {
        failure: Some(Reason::StartDeadline),
        failure_class: Some(FailureClass::Infra),
        ..stop(StopCause::StartDeadline, 15)
    };
    let failure = reported(&RunFacts { stop: Some(intent), ..gone }).failure.unwrap();
    assert_eq!((failure.failure_class, failure.retryable()), (FailureClass::Infra, true));
}

#[test]
fn what_a_node_refuses_is_not_the_callers() {
    let refused = |cause| AttemptFacts {
        phase: AttemptPhase::Failed,
        emptied: true,
        ended_by: intervened(cause, "Word", "words"),
        ..attempt()
    };
    for (reason, expected) in [
        (PlatformCause::Evicted, Reason::Evicted),
        (PlatformCause::Refused, Reason::Unschedulable),
        (PlatformCause::Other, Reason::Unschedulable),
    ] {
        let failure = reported(&with(refused(reason))).failure.unwrap();
        assert_eq!((failure.reason, failure.failure_class), (expected, FailureClass::Infra), "{failure:?}");
        assert!(failure.retryable());
        // The same once the kubelet was started again under what ran: that was killed.
        let ran = AttemptFacts { main: MainFacts::Running { started_at: Some(at(10)) }, ..refused(reason) };
        let run = reported(&with(ran));
        assert_eq!((run.timeline.start_time, run.exit_code), (Some(at(10)), None));
        assert_eq!(run.failure.map(|failure| failure.reason), Some(Reason::Evicted));
    }
}

#[test]
fn while_the_platform_ends_a_run_its_words_are_reported() {
    let running = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        ..attempt()
    };
    let said = |cause, word: &str| AttemptFacts {
        phase: AttemptPhase::Failed,
        ended_by: intervened(cause, word, "words"),
        ..running.clone()
    };
    let disrupted = |cause, word: &str| AttemptFacts {
        deleted_at: Some(at(90)),
        disruption: intervened(cause, word, "words"),
        ..running.clone()
    };
    let deleted = AttemptFacts { deleted_at: Some(at(90)), ..running.clone() };
    for (attempt, word) in [
        (disrupted(PlatformCause::Evicted, "ByApi"), "ByApi"),
        (disrupted(PlatformCause::Preempted, "ByScheduler"), "ByScheduler"),
        (disrupted(PlatformCause::Other, "SomethingNew"), "SomethingNew"),
        (said(PlatformCause::Evicted, "ByKubelet"), "ByKubelet"),
        (said(PlatformCause::Deadline, "Deadline"), "Deadline"),
        (deleted, "Deleted"),
    ] {
        let mut attempt = attempt;
        attempt.remembered.unended_since = Some(at(99));
        let run = reported(&with(attempt));
        assert_eq!((run.state, run.waiting_reason.as_deref()), (RunState::Finishing, Some(word)), "{}", run.message);
    }
}

#[test]
fn an_end_that_is_not_reported_is_waited_for_but_not_for_ever() {
    let mut killed = AttemptFacts {
        phase: AttemptPhase::Failed,
        ended_by: intervened(PlatformCause::Deadline, "Word", ""),
        main: MainFacts::Running { started_at: Some(at(10)) },
        ..attempt()
    };
    killed.remembered.unended_since = Some(at(90));
    killed.remembered.over_while_running = true;
    // A grace of 10 s, and 10 s to report.
    assert_eq!(conclude(&with(killed.clone()), at(109)), None);
    assert_eq!(look_again(&with(killed.clone()), at(100)), Some(at(110)));
    let outcome = conclude(&with(killed.clone()), at(110)).unwrap();
    assert_eq!(outcome.failure.map(|f| (f.reason, f.exit_code)), Some((Reason::RunDeadline, None)));
    killed.main = MainFacts::Terminated(terminated(137));
    let outcome = conclude(&with(killed), at(91)).unwrap();
    assert_eq!(outcome.failure.map(|f| (f.reason, f.exit_code)), Some((Reason::RunDeadline, Some(137))));
}

#[test]
fn a_node_is_lost_only_if_its_kubelet_says_nothing_any_more() {
    let silent = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        silent_since: Some(at(40)),
        ..attempt()
    };
    let run = reported(&with(silent.clone()));
    assert_eq!(run.state, RunState::Running);
    assert!(run.message.contains("its node has not reported for 1m"), "{}", run.message);
    let mut deleted = AttemptFacts {
        deleted_at: Some(at(80)),
        disruption: intervened(PlatformCause::Evicted, "Word", "words"),
        ..silent.clone()
    };
    deleted.remembered.unended_since = Some(at(80));
    let reason = |attempt: &AttemptFacts, now| conclude(&with(attempt.clone()), now)?.failure.map(|f| f.reason);
    assert_eq!(reason(&deleted, at(99)), None);
    assert_eq!(reason(&deleted, at(100)), Some(Reason::NodeLost));
    let plainly = AttemptFacts { disruption: None, ..deleted.clone() };
    assert_eq!(reason(&plainly, at(100)), Some(Reason::NodeLost));
    // One that reports is not lost, however long it takes.
    let reports = AttemptFacts { silent_since: None, ..deleted.clone() };
    assert_eq!(reason(&reports, at(1000)), None);
    let killed = AttemptFacts {
        phase: AttemptPhase::Failed,
        main: MainFacts::Terminated(terminated(137)),
        silent_since: None,
        ..deleted
    };
    assert_eq!(reason(&killed, at(100)), Some(Reason::Evicted));
}

#[test]
fn a_node_that_is_silent_for_too_long_is_lost() {
    let silent = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        silent_since: Some(at(40)),
        lost_at: Some(at(640)),
        ..attempt()
    };
    let facts = with(silent.clone());
    assert_eq!((conclude(&facts, at(639)), look_again(&facts, at(100))), (None, Some(at(640))));
    let failure = conclude(&facts, at(640)).unwrap().failure.unwrap();
    assert_eq!(failure.reason, Reason::NodeLost);
    assert_eq!(failure.message, "its node has not reported for 10m; the program may still be running there");
    // It reports again.
    assert_eq!(conclude(&with(AttemptFacts { silent_since: None, ..silent.clone() }), at(1000)), None);

    let mut short = facts.clone();
    Arc::make_mut(&mut short.submission.effective).run_timeout = Duration::from_secs(60);
    assert_eq!(
        derived(&short, at(100)).message,
        "running for 1m 30s, as far as is known: its node has not reported for 1m; its run_timeout of 1m passed 30s \
         ago, and only the node enforces it; it counts as lost in 9m"
    );
    let cancelled = RunFacts { stop: Some(stop(StopCause::Cancel, 50)), ..facts };
    let message = derived(&cancelled, at(100)).message;
    assert_eq!(message, "stopping: enough; its node has not reported for 1m; it counts as lost in 9m");
    let outcome = conclude(&cancelled, at(640)).unwrap();
    assert_eq!(outcome.state, RunState::Cancelled);
    assert!(outcome.message.ends_with("so the program may still be running there"), "{}", outcome.message);
}

#[test]
fn a_deadline_that_somebody_else_set_is_reported_as_that() {
    let ended = |attempt: AttemptFacts| AttemptFacts { phase: AttemptPhase::Failed, ..attempt };
    let on_pod = AttemptFacts {
        ended_by: intervened(PlatformCause::Deadline, "Word", ""),
        deadline: Some(Duration::from_secs(13)),
        main: MainFacts::Terminated(Terminated { finished_at: Some(at(15)), ..terminated(143) }),
        ..attempt()
    };
    let on_job = AttemptFacts {
        job_deadline: Some(Duration::from_secs(13)),
        deleted_at: Some(at(13)),
        main: MainFacts::Terminated(terminated(143)),
        ..attempt()
    };
    for (attempt, kind) in [(on_pod, "Pod"), (on_job, "Job")] {
        let failure = reported(&with(ended(attempt))).failure.unwrap();
        let words =
            format!("the activeDeadlineSeconds of 13s that somebody outside Longshore set on its {kind} passed");
        assert_eq!((failure.reason, failure.message.as_str()), (Reason::RunDeadline, words.as_str()));
    }
    let gone = AttemptFacts {
        phase: AttemptPhase::Gone,
        job_deadline: Some(Duration::from_secs(5)),
        job_end: job_end(JobEndCause::Deadline, true),
        ..attempt()
    };
    let failure = reported(&with(gone)).failure.unwrap();
    assert_eq!(failure.reason, Reason::StartDeadline);
    assert!(failure.message.contains("somebody outside Longshore"), "{}", failure.message);
}

#[test]
fn no_more_is_reported_of_an_exit_than_is_known() {
    let failed = |end: Terminated| {
        let run = reported(&with(AttemptFacts { phase: AttemptPhase::Failed, ..ended(end) }));
        run.failure.unwrap_or_else(|| panic!("{}", run.message))
    };
    for (code, reason, message) in [
        (137, Reason::Signalled, "the program exited with 137 (as after signal 9, SIGKILL)"),
        (129, Reason::Signalled, "the program exited with 129 (as after signal 1, SIGHUP)"),
        (128, Reason::NonzeroExit, "the program exited with 128"),
        (160, Reason::NonzeroExit, "the program exited with 160"),
        (255, Reason::NonzeroExit, "the program exited with 255"),
    ] {
        let failure = failed(terminated(code));
        assert_eq!((failure.reason, failure.message.as_str(), failure.signal), (reason, message, None));
    }
    let by_signal = failed(Terminated { signal: Some(9), ..terminated(137) });
    assert_eq!(
        (by_signal.message.as_str(), by_signal.signal),
        ("the program was ended by signal 9 (SIGKILL)", Some(9))
    );

    let out_of_memory = |code| Terminated { cause: EndCause::OutOfMemory, ..terminated(code) };
    let failure = failed(out_of_memory(3));
    assert_eq!((failure.reason, failure.exit_code), (Reason::OomKilled, Some(3)));
    assert!(failure.message.contains("a process of the program") && failure.message.contains("exited with 3"));
    assert!(failed(out_of_memory(137)).message.contains("the program, or a process of it"));
    let fine = AttemptFacts { phase: AttemptPhase::Succeeded, ..ended(out_of_memory(0)) };
    let run = reported(&with(fine));
    assert_eq!(run.state, RunState::Succeeded);
    assert!(run.message.contains("more memory than its limit and"), "{}", run.message);
    let mut limited = with(AttemptFacts { phase: AttemptPhase::Failed, ..ended(out_of_memory(137)) });
    let effective = Arc::make_mut(&mut limited.submission.effective);
    effective.resources.limits.insert("memory".to_owned(), "256Mi".to_owned());
    let message = reported(&limited).message;
    assert!(message.contains("used more memory than its limit of 256Mi and was killed"), "{message}");
    let unknown = Terminated { cause: EndCause::Unknown, ..terminated(137) };
    assert_eq!(failed(unknown).exit_code, None);
}

#[test]
fn what_failed_unseen_and_left_no_pod_is_lost_and_not_deleted_by_somebody() {
    let gone = AttemptFacts { phase: AttemptPhase::Gone, job_end: job_end(JobEndCause::PodFailed, true), ..attempt() };
    let reason = |attempt: AttemptFacts| reported(&with(attempt)).failure.map(|f| f.reason);
    assert_eq!(reason(gone.clone()), Some(Reason::Lost));
    // Here it was seen to be deleted.
    assert_eq!(reason(AttemptFacts { deleted_at: Some(at(15)), ..gone }), Some(Reason::Deleted));
}
