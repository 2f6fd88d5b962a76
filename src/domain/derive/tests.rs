//! One table row per thing that can be observed of an end, and the words told on the way.

use std::time::Duration;

use super::super::facts::{NOT_EXECUTED, Terminated};
use super::super::failure::{FailureClass, FailureReason as Reason};
use super::super::result::{FoundResult, ReportedStatus, ResultDialect, ResultError, ResultErrorKind, ResultSource};
use super::super::run::StopCause;
use super::super::spec::Workload;
use super::super::testing::{at, attempt, explained, facts, stop, terminated};
use super::*;

fn told(facts: &RunFacts) -> Run {
    derive(facts, at(100))
}

fn with(attempt: AttemptFacts) -> RunFacts {
    RunFacts { attempts: vec![attempt], ..facts() }
}

fn ended(end: Terminated) -> AttemptFacts {
    AttemptFacts { phase: AttemptPhase::Running, main: MainFacts::Terminated(end), ..attempt() }
}

#[test]
fn the_way_to_running() {
    let absent = AttemptFacts { phase: AttemptPhase::Absent, schedule_time: None, node: None, ..attempt() };
    let unscheduled = AttemptFacts {
        phase: AttemptPhase::Pending,
        waiting: explained("Unschedulable", "0/1 nodes"),
        ..absent.clone()
    };
    let pulling = AttemptFacts {
        phase: AttemptPhase::Pending,
        main: MainFacts::Waiting(explained("ImagePullBackOff", "Back-off pulling image")),
        ..attempt()
    };
    let running = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        ..attempt()
    };
    for (attempt, state, word) in [
        (absent, RunState::Pending, None),
        (unscheduled, RunState::Pending, Some("Unschedulable")),
        (pulling, RunState::Starting, Some("ImagePullBackOff")),
        (running, RunState::Running, None),
    ] {
        let run = told(&with(attempt));
        assert_eq!((run.state, run.waiting_reason.as_deref()), (state, word), "{}", run.message);
    }
    let queued = told(&RunFacts { suspended: true, ..facts() });
    assert_eq!(queued.state, RunState::Queued);
}

#[test]
fn a_plain_exit_is_believed_at_once() {
    let run = told(&with(ended(terminated(0))));
    assert_eq!((run.state, run.exit_code), (RunState::Succeeded, Some(0)));
    assert_eq!(run.timeline.finish_time, Some(at(20)));
    let run = told(&with(ended(terminated(7))));
    assert_eq!(run.failure.map(|f| (f.reason, f.exit_code)), Some((Reason::NonzeroExit, Some(7))));
}

#[test]
fn an_exit_that_may_have_another_cause_waits_for_the_end_of_the_pod() {
    let doubtful = [
        ended(terminated(137)),
        ended(Terminated { reason: "OOMKilled".to_owned(), ..terminated(1) }),
        AttemptFacts { deleted_at: Some(at(15)), ..ended(terminated(0)) },
        AttemptFacts { disruption: explained("EvictionByEvictionAPI", ""), ..ended(terminated(1)) },
        AttemptFacts { status_reason: Some("Evicted".to_owned()), ..ended(terminated(1)) },
        // Node time 2 and a deadline of 18 s: equal to the end at 20, so not before it.
        AttemptFacts { deadline: Some(Duration::from_secs(18)), ..ended(terminated(0)) },
    ];
    for attempt in doubtful {
        let run = told(&with(attempt.clone()));
        assert!(!run.state.is_terminal(), "{attempt:?} was believed");
    }
    let stopped = RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(ended(terminated(0))) };
    assert!(!told(&stopped).state.is_terminal());
}

#[test]
fn what_the_end_of_the_pod_says() {
    let failed = |attempt: AttemptFacts| AttemptFacts { phase: AttemptPhase::Failed, ..attempt };
    let said = |reason: &str, message: &str| AttemptFacts {
        status_reason: Some(reason.to_owned()),
        status_message: Some(message.to_owned()),
        ..failed(ended(terminated(137)))
    };
    let disrupted = |word: &str| AttemptFacts { disruption: explained(word, "m"), ..failed(ended(terminated(143))) };
    let never_started =
        AttemptFacts { main: MainFacts::Waiting(explained("ErrImagePull", "no such image")), ..failed(attempt()) };
    let rows = [
        (failed(ended(terminated(137))), Reason::Signalled),
        (failed(ended(Terminated { reason: "OOMKilled".to_owned(), ..terminated(137) })), Reason::OomKilled),
        (
            failed(ended(Terminated { reason: "ContainerStatusUnknown".to_owned(), ..terminated(137) })),
            Reason::NodeLost,
        ),
        (failed(ended(Terminated { reason: "StartError".to_owned(), ..terminated(128) })), Reason::ImageInvalid),
        (failed(ended(Terminated { reason: NOT_EXECUTED.to_owned(), ..terminated(128) })), Reason::ConfigError),
        // Node time 2: killed at 20 by a deadline of 18 s.
        (AttemptFacts { deadline: Some(Duration::from_secs(18)), ..said("DeadlineExceeded", "") }, Reason::RunDeadline),
        (AttemptFacts { status_reason: Some("DeadlineExceeded".to_owned()), ..never_started }, Reason::ImagePull),
        (said("Evicted", "Pod ephemeral local storage usage exceeds the total limit"), Reason::EphemeralStorage),
        (said("Evicted", "The node was low on resource: memory"), Reason::Evicted),
        (said("NodeLost", ""), Reason::NodeLost),
        (said("Terminated", "Pod was terminated in response to imminent node shutdown"), Reason::NodeShutdown),
        (said("OutOfcpu", ""), Reason::Unschedulable),
        (said("UnexpectedAdmissionError", ""), Reason::Unschedulable),
        (disrupted("PreemptionByScheduler"), Reason::Preempted),
        (disrupted("DeletionByTaintManager"), Reason::NodeLost),
        (disrupted("EvictionByEvictionAPI"), Reason::Evicted),
        (disrupted("SomethingNew"), Reason::Evicted),
    ];
    for (attempt, reason) in rows {
        let run = told(&with(attempt.clone()));
        assert_eq!(run.failure.map(|f| f.reason), Some(reason), "{attempt:?}");
    }
}

#[test]
fn exit_0_before_the_deadline_wins_whatever_is_said_later() {
    let attempt = AttemptFacts {
        phase: AttemptPhase::Failed,
        status_reason: Some("DeadlineExceeded".to_owned()),
        deadline: Some(Duration::from_secs(60)),
        ..ended(terminated(0))
    };
    assert_eq!(told(&with(attempt.clone())).state, RunState::Succeeded);
    let late = AttemptFacts { deadline: Some(Duration::from_secs(5)), ..attempt };
    assert_eq!(told(&with(late)).failure.map(|f| f.reason), Some(Reason::RunDeadline));
}

#[test]
fn a_pod_that_is_gone_is_told_by_its_job() {
    let gone = |reason: &str, message: &str| AttemptFacts {
        phase: AttemptPhase::Gone,
        job_end: Some(super::super::facts::JobEnd {
            complete: false,
            final_: true,
            reason: reason.to_owned(),
            message: message.to_owned(),
            time: Some(at(30)),
        }),
        ..attempt()
    };
    for (attempt, reason) in [
        (gone("PodFailurePolicy", "Pod has condition DisruptionTarget matching"), Reason::Evicted),
        (gone("DeadlineExceeded", ""), Reason::StartDeadline),
        (gone("BackoffLimitExceeded", ""), Reason::Deleted),
        (gone("SomethingNew", ""), Reason::Lost),
    ] {
        let run = told(&with(attempt.clone()));
        assert_eq!(run.failure.map(|f| f.reason), Some(reason), "{attempt:?}");
    }
}

#[test]
fn a_cancel_is_told_on_the_way_and_at_the_end() {
    let running = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        ..attempt()
    };
    let cancelled = |attempt| RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(attempt) };
    assert_eq!(told(&cancelled(running)).state, RunState::Cancelling);
    let killed = AttemptFacts { phase: AttemptPhase::Failed, ..ended(terminated(143)) };
    let run = told(&cancelled(killed));
    assert_eq!((run.state, run.exit_code, run.failure), (RunState::Cancelled, Some(143), None));
    // Exit code 0 after the stop was asked for is the answer to SIGTERM, not a success.
    let obeyed = AttemptFacts { phase: AttemptPhase::Failed, ..ended(terminated(0)) };
    assert_eq!(told(&cancelled(obeyed.clone())).state, RunState::Cancelled);
    // What ended before anybody asked is not cancelled.
    let late = RunFacts { stop: Some(stop(StopCause::Cancel, 25)), ..with(obeyed) };
    assert_eq!(told(&late).state, RunState::Succeeded);
    let failed_before = AttemptFacts { phase: AttemptPhase::Failed, ..ended(terminated(3)) };
    let late = RunFacts { stop: Some(stop(StopCause::Cancel, 25)), ..with(failed_before) };
    assert_eq!(told(&late).failure.map(|f| f.reason), Some(Reason::NonzeroExit));
}

#[test]
fn what_never_started_is_over_as_soon_as_its_pod_is_being_deleted() {
    let pulling = AttemptFacts {
        phase: AttemptPhase::Pending,
        main: MainFacts::Waiting(explained("ContainerCreating", "")),
        deleted_at: Some(at(50)),
        ..attempt()
    };
    let cancelled = RunFacts { stop: Some(stop(StopCause::Cancel, 49)), ..with(pulling.clone()) };
    assert_eq!(told(&cancelled).state, RunState::Cancelled);
    let no_intent = with(pulling);
    assert_eq!(told(&no_intent).state, RunState::Cancelling, "its cause is not known yet");
}

#[test]
fn a_stop_by_a_clock_is_a_failure_with_its_cause() {
    let gone = AttemptFacts { phase: AttemptPhase::Gone, ..attempt() };
    let mut intent = stop(StopCause::StartDeadline, 15);
    intent.failure = Some(Reason::ImagePull);
    let run = told(&RunFacts { stop: Some(intent), ..with(gone) });
    assert_eq!((run.state, run.failure.map(|f| f.reason)), (RunState::Failed, Some(Reason::ImagePull)));
}

#[test]
fn what_a_profile_names_is_not_the_callers_to_correct() {
    let refused = |reason: &str, message: &str| {
        let mut intent = stop(StopCause::StartFailure, 15);
        intent.failure = Some(Reason::ImagePull);
        intent.reason = format!("{reason}: {message}");
        RunFacts { stop: Some(intent), ..with(AttemptFacts { phase: AttemptPhase::Gone, ..attempt() }) }
    };
    let unstarted = AttemptFacts {
        phase: AttemptPhase::Failed,
        ..ended(Terminated { reason: NOT_EXECUTED.to_owned(), message: b"no `report`".to_vec(), ..terminated(128) })
    };
    for mut facts in [refused("ImagePullBackOff", "manifest unknown"), with(unstarted)] {
        let class = |facts: &RunFacts| told(facts).failure.map(|failure| failure.failure_class);
        assert_eq!(class(&facts), Some(FailureClass::User));
        facts.submission.effective.workload = Workload::Runner { profile: "report".to_owned() };
        assert_eq!(class(&facts), Some(FailureClass::Platform));
        let (outcome, result) = settle(&facts).unwrap();
        let record = record(&facts, &outcome, result, at(21));
        assert_eq!(
            record.attempts[0].failure.as_ref().map(|failure| failure.failure_class),
            Some(FailureClass::Platform)
        );
    }
}

#[test]
fn a_result_is_settled_before_the_end_is_told() {
    let mut with_rule = with(ended(terminated(0)));
    with_rule.submission.effective.result_mode = ResultMode::Required;
    assert!(result_is_due(&with_rule));
    assert_eq!(settle(&with_rule), None);
    let run = told(&with_rule);
    assert_eq!(run.state, RunState::Finishing);
    assert_eq!((run.exit_code, run.timeline.finish_time), (Some(0), Some(at(20))), "exit and end are told at once");

    let kind = |kind| ResultOutcome::None(ResultError { kind, message: "m".to_owned(), position: None });
    for (outcome, reason) in [
        (kind(ResultErrorKind::Empty), Reason::ResultMissing),
        (kind(ResultErrorKind::Truncated), Reason::ResultInvalid),
        (ResultOutcome::Unavailable("cut".to_owned()), Reason::ResultUnavailable),
    ] {
        let facts = RunFacts { result: Some(outcome.clone()), ..with_rule.clone() };
        let (required, _) = settle(&facts).unwrap();
        assert_eq!(required.failure.map(|f| f.reason), Some(reason));
        let mut optional = facts.clone();
        optional.submission.effective.result_mode = ResultMode::Optional;
        assert_eq!(settle(&optional).unwrap().0.state, RunState::Succeeded);
        // A non-zero exit wins over result errors.
        let failed = RunFacts { attempts: vec![ended(terminated(9))], ..facts };
        assert_eq!(settle(&failed).unwrap().0.failure.map(|f| f.reason), Some(Reason::NonzeroExit));
        assert_eq!(told(&failed).state, RunState::Finishing, "the record is not written yet");
    }
}

#[test]
fn the_record_is_what_is_told_for_ever() {
    let facts = with(ended(terminated(7)));
    let (outcome, result) = settle(&facts).unwrap();
    let record = record(&facts, &outcome, result, at(21));
    let read = Record::from_json(&record.to_json().unwrap()).unwrap();
    assert_eq!(read, record);
    let before = told(&facts);
    let after = told(&RunFacts { record: Some(read), attempts: vec![attempt()], ..facts });
    assert_eq!((after.state, after.failure, after.exit_code), (before.state, before.failure, Some(7)));
}

#[test]
fn hopeless_images_are_given_up_after_a_while() {
    let patience = jiff::SignedDuration::from_secs(15);
    let waits = |reason: &str, message: &str| AttemptFacts {
        phase: AttemptPhase::Pending,
        main: MainFacts::Waiting(explained(reason, message)),
        ..attempt()
    };
    let refused = waits("ImagePullBackOff", "rpc error: manifest unknown: not found");
    assert_eq!(hopeless(&refused, at(5), patience), Some(Err(at(16))));
    assert_eq!(hopeless(&refused, at(16), patience).unwrap().unwrap().reason, Reason::ImagePull);
    assert_eq!(
        hopeless(&waits("InvalidImageName", ""), at(60), patience).unwrap().unwrap().reason,
        Reason::ImageInvalid
    );
    for patient in [waits("ImagePullBackOff", "connection reset by peer"), waits("ContainerCreating", "")] {
        assert_eq!(hopeless(&patient, at(600), patience), None);
    }
    // Words with a time of their own count from it.
    let mut late = refused;
    late.main = MainFacts::Waiting(
        explained("ErrImagePull", "not found").map(|e| super::super::facts::Explanation { time: Some(at(40)), ..e }),
    );
    assert_eq!(hopeless(&late, at(41), patience), Some(Err(at(55))));
}

/// A run whose runner reported this, ended like this.
fn reported(status: ReportedStatus, end: Terminated) -> RunFacts {
    let mut facts = with(AttemptFacts { phase: AttemptPhase::Failed, ..ended(end) });
    facts.submission.effective.result_mode = ResultMode::Required;
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
        let facts = reported(status, terminated(3));
        let (outcome, info) = settle(&facts).unwrap();
        let failure = outcome.failure.clone().unwrap();
        assert_eq!((failure.reason, failure.exit_code), (Reason::RunnerReported, Some(3)));
        assert_eq!(failure.message, format!("the runner reported {words}: T: m"));
        assert_eq!(outcome.message, failure.message);
        assert_eq!(info.clone().unwrap().state, ResultState::Found, "the object is kept");
        // The same once only the record is left, wherever the object is.
        let mut info = info;
        info.as_mut().and_then(|info| info.found.as_mut()).unwrap().json = None;
        let record = record(&facts, &outcome, info, at(21));
        let run = told(&RunFacts { record: Some(record), result: None, reported: None, ..facts });
        assert_eq!(run.failure, Some(failure));
        assert_eq!(run.attempts[0].failure.as_ref().map(|f| f.reason), Some(Reason::RunnerReported));
    }

    let by = |end| settle(&reported(ReportedStatus::Error, end)).unwrap().0.failure.map(|f| f.reason);
    assert_eq!(by(terminated(143)), Some(Reason::Signalled));
    assert_eq!(by(Terminated { reason: "OOMKilled".to_owned(), ..terminated(137) }), Some(Reason::OomKilled));
    assert_eq!(by(Terminated { signal: Some(9), ..terminated(1) }), Some(Reason::Signalled));
    let overdue =
        RunFacts { stop: Some(stop(StopCause::RunDeadline, 15)), ..reported(ReportedStatus::Timeout, terminated(3)) };
    assert_eq!(settle(&overdue).unwrap().0.failure.map(|f| f.reason), Some(Reason::RunDeadline));
    let cancelled =
        RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..reported(ReportedStatus::Error, terminated(3)) };
    assert_eq!(settle(&cancelled).unwrap().0.state, RunState::Cancelled);
}

#[test]
fn a_reported_error_does_not_outvote_exit_code_0() {
    let facts = reported(ReportedStatus::Error, terminated(0));
    let (outcome, info) = settle(&facts).unwrap();
    assert_eq!((outcome.state, outcome.failure), (RunState::Succeeded, None));
    let found = info.unwrap().found.unwrap();
    assert_eq!(found.warnings, ["the program exited with 0, but the runner reported an error: T: m"]);
    // Where the rest of the object is not usable, that is what fails the run.
    let broken = ResultError { kind: ResultErrorKind::Invalid, message: "m".to_owned(), position: None };
    let facts = RunFacts { result: Some(ResultOutcome::None(broken)), ..facts };
    assert_eq!(settle(&facts).unwrap().0.failure.map(|f| f.reason), Some(Reason::ResultInvalid));
}
