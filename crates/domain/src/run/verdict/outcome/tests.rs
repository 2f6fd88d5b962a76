//! Ends that have more than one possible cause.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::super::super::facts::{JobEnd, JobEndCause, MainFacts, PlatformCause, WaitCause};
use super::super::super::failure::FailureClass;
use super::*;
use crate::testing::{at, attempt, derived, explained, facts, intervened, stop, terminated};

fn with(attempt: AttemptFacts) -> RunFacts {
    RunFacts { attempts: vec![attempt], ..facts() }
}

fn over(phase: AttemptPhase, end: Terminated) -> AttemptFacts {
    AttemptFacts { phase, main: MainFacts::Terminated(end), ..attempt() }
}

fn at_millis(millis: i64) -> Timestamp {
    at(0).checked_add(SignedDuration::from_millis(millis)).unwrap()
}

/// State and failure of what must be concluded.
fn end_of(facts: &RunFacts) -> (RunState, Option<FailureReason>) {
    let outcome = conclude(facts, at(100)).unwrap_or_else(|| panic!("not concluded: {facts:?}"));
    (outcome.state, outcome.failure.map(|failure| failure.reason))
}

fn job_end(complete: bool) -> Option<JobEnd> {
    let (reason, message) = ("SomethingNew".to_owned(), String::new());
    let cause = JobEndCause::Other;
    Some(JobEnd { complete, final_: true, cause, reason, message, time: Some(at(30)) })
}

#[test]
fn pod_that_was_deleted_while_it_ran() {
    let deleted = |asked: i64, end: Terminated| AttemptFacts {
        deleted_at: Some(at(asked)),
        ..over(if end.exit_code == 0 { AttemptPhase::Succeeded } else { AttemptPhase::Failed }, end)
    };
    let evicted =
        AttemptFacts { disruption: intervened(PlatformCause::Evicted, "Word", ""), ..deleted(15, terminated(0)) };
    // The order that was seen counts, and not two clocks.
    let mut before = deleted(21, terminated(143));
    before.remembered.deleted_while_running = true;
    let mut after = deleted(15, terminated(3));
    after.remembered.ended_untouched = true;
    let failed = |reason| (RunState::Failed, Some(reason));
    for (attempt, expected) in [
        (deleted(15, terminated(143)), failed(FailureReason::Deleted)),
        (deleted(15, terminated(0)), failed(FailureReason::Deleted)),
        (deleted(20, terminated(1)), failed(FailureReason::Deleted)),
        (evicted, failed(FailureReason::Evicted)),
        (before, failed(FailureReason::Deleted)),
        (after, failed(FailureReason::NonzeroExit)),
        // It had ended when somebody cleaned up.
        (deleted(21, terminated(0)), (RunState::Succeeded, None)),
        (deleted(21, terminated(3)), failed(FailureReason::NonzeroExit)),
        (deleted(21, terminated(137)), failed(FailureReason::Signalled)),
    ] {
        assert_eq!(end_of(&with(attempt.clone())), expected, "{attempt:?}");
    }
}

#[test]
fn exit_before_a_cancel_is_the_programs_own() {
    // `EndStarted` has set the deadline to a second from the node's time, which passed long ago.
    let ordered = |attempt: AttemptFacts| AttemptFacts { deadline: Some(Duration::from_secs(1)), ..attempt };
    let said = |attempt: AttemptFacts| AttemptFacts {
        ended_by: intervened(PlatformCause::Deadline, "Word", ""),
        ..ordered(attempt)
    };
    let seen_first = |mut attempt: AttemptFacts| {
        attempt.remembered.ended_untouched = true;
        attempt
    };
    let precise = |millis: i64| Terminated { finished_at: Some(at_millis(millis)), ..terminated(3) };
    let (succeeded, failed) = (AttemptPhase::Succeeded, AttemptPhase::Failed);
    let own = (RunState::Failed, Some(FailureReason::NonzeroExit));
    let cancelled = (RunState::Cancelled, None);
    for (attempt, stop_millis, expected) in [
        (ordered(over(succeeded, terminated(0))), 20_900, (RunState::Succeeded, None)),
        (ordered(over(failed, terminated(3))), 19_000, own),
        // The clock of who asked may go before the node's, or after it: the Pod's own word decides.
        (said(over(failed, terminated(0))), 19_000, cancelled),
        (said(over(failed, terminated(0))), 25_000, cancelled),
        (said(over(failed, terminated(3))), 25_000, cancelled),
        (said(over(failed, terminated(143))), 25_000, cancelled),
        (said(seen_first(over(failed, terminated(137)))), 19_000, (RunState::Failed, Some(FailureReason::Signalled))),
        (said(seen_first(over(failed, terminated(0)))), 19_000, (RunState::Succeeded, None)),
        // A backend whose times are finer than seconds is believed.
        (ordered(over(failed, precise(20_300))), 20_900, own),
        (ordered(over(failed, precise(20_950))), 20_900, cancelled),
    ] {
        let intent = StopIntent { request_time: at_millis(stop_millis), ..stop(StopCause::Cancel, 0) };
        let facts = RunFacts { stop: Some(intent), ..with(attempt) };
        assert_eq!(end_of(&facts), expected, "{facts:?}");
    }
}

#[test]
fn deadline_kills_and_nothing_else_are_reported_as_the_deadlines() {
    let said = |deadline: u64, end: Terminated| AttemptFacts {
        ended_by: intervened(PlatformCause::Deadline, "Word", ""),
        deadline: Some(Duration::from_secs(deadline)),
        ..over(AttemptPhase::Failed, end)
    };
    let oom = Terminated { cause: EndCause::OutOfMemory, ..terminated(137) };
    // On its node since 2, ended at 20. Budgets that fit, so that no deadline is another's.
    for (attempt, expected) in [
        (said(18, terminated(137)), FailureReason::RunDeadline),
        (said(17, terminated(143)), FailureReason::RunDeadline),
        (said(20, terminated(137)), FailureReason::RunDeadline),
        (said(17, terminated(0)), FailureReason::RunDeadline),
        (said(18, terminated(3)), FailureReason::RunDeadline),
        // It ended by itself; a sidecar held the Pod until the deadline, or until our order.
        (said(21, terminated(137)), FailureReason::Signalled),
        (said(1, terminated(137)), FailureReason::Signalled),
        (said(19, terminated(3)), FailureReason::NonzeroExit),
        (said(19, oom.clone()), FailureReason::OomKilled),
        (said(1, oom), FailureReason::OomKilled),
    ] {
        assert_eq!(end_of(&with(attempt.clone())), (RunState::Failed, Some(expected)), "{attempt:?}");
    }
    // A budget of 9 s, and one for whole seconds, from the start at 10: our order hides a deadline
    // that really was one.
    let mut short = with(said(1, terminated(137)));
    Arc::make_mut(&mut short.submission.effective).run_timeout = Duration::from_secs(9);
    short.stop = Some(stop(StopCause::RunDeadline, 20));
    assert_eq!(end_of(&short), (RunState::Failed, Some(FailureReason::RunDeadline)));
    // Within the second of the deadline an exit with 0 is the program's own, unless it was seen to
    // be the answer to it.
    let in_its_second = said(18, terminated(0));
    assert_eq!(end_of(&with(in_its_second.clone())), (RunState::Succeeded, None));
    let mut answer = in_its_second;
    answer.remembered.over_while_running = true;
    assert_eq!(end_of(&with(answer)), (RunState::Failed, Some(FailureReason::RunDeadline)));
}

#[test]
fn complete_job_without_its_pod_has_succeeded() {
    let gone = AttemptFacts { phase: AttemptPhase::Gone, job_end: job_end(true), ..attempt() };
    let outcome = conclude(&with(gone), at(100)).unwrap();
    assert_eq!((outcome.state, outcome.exit_code, outcome.ran), (RunState::Succeeded, Some(0), true));
}

#[test]
fn pod_that_is_gone_waits_for_the_word_of_its_job() {
    let gone = AttemptFacts { phase: AttemptPhase::Gone, ..attempt() };
    assert_eq!(conclude(&with(gone.clone()), at(100)), None);
    assert_eq!(derived(&with(gone.clone()), at(100)).state, RunState::Finishing);
    let known = AttemptFacts { job_end: job_end(false), ..gone.clone() };
    assert_eq!(end_of(&with(known)), (RunState::Failed, Some(FailureReason::Lost)));
    let stopped = RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(gone) };
    assert_eq!(end_of(&stopped), (RunState::Cancelled, None));
}

#[test]
fn stop_of_what_is_held_back_or_deleted_is_over_at_once() {
    let absent = with(AttemptFacts { phase: AttemptPhase::Absent, ..attempt() });
    let suspended = RunFacts { suspended: true, ..absent.clone() };
    assert_eq!(conclude(&suspended, at(100)), None);
    let cancel = Some(stop(StopCause::Cancel, 5));
    assert_eq!(end_of(&RunFacts { stop: cancel.clone(), ..suspended }), (RunState::Cancelled, None));
    let deleted = RunFacts { deleted_at: Some(at(5)), stop: Some(stop(StopCause::External, 5)), ..absent.clone() };
    assert_eq!(end_of(&deleted), (RunState::Cancelled, None));
    assert_eq!(conclude(&RunFacts { stop: cancel, ..absent }, at(100)), None, "its Job may still make a Pod");
}

#[test]
fn failed_pod_whose_program_never_started() {
    let failed = |attempt: AttemptFacts| AttemptFacts { phase: AttemptPhase::Failed, ..attempt };
    let initialising =
        || AttemptFacts { main: MainFacts::Waiting(explained(WaitCause::Ordinary, "Word", "")), ..attempt() };
    let init = AttemptFacts {
        waiting: explained(WaitCause::InitContainer, "Error", "init container `mesh` exited with 1"),
        ..initialising()
    };
    let image = AttemptFacts {
        waiting: explained(WaitCause::ImagePull, "NoImage", "init container mesh: no"),
        ..initialising()
    };
    let unknown = AttemptFacts {
        ended_by: intervened(PlatformCause::Other, "SomethingNew", "words of the kubelet"),
        ..attempt()
    };
    for (attempt, reason, class, words) in [
        (init, FailureReason::ConfigError, FailureClass::Platform, "init container `mesh` exited with 1"),
        (image, FailureReason::ImagePull, FailureClass::Infra, "init container mesh"),
        (unknown, FailureReason::Lost, FailureClass::Infra, "SomethingNew: words of the kubelet"),
        (attempt(), FailureReason::Lost, FailureClass::Infra, "without reporting"),
    ] {
        let failure = conclude(&with(failed(attempt)), at(100)).unwrap().failure.unwrap();
        assert_eq!((failure.reason, failure.failure_class), (reason, class), "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
    }
}
