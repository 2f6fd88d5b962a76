use super::super::facts::{AttemptPhase, JobEnd, JobEndCause, WaitCause, remember};
use super::super::record::INLINE_RESULT_MAX_BYTES;
use super::super::spec::ResultMode;
use super::*;
use crate::result::{FoundResult, ResultDialect, ResultOutcome, ResultSource};
use crate::run::view::RunState;
use crate::testing::{at, attempt, explained, facts, planned, stop, terminated};
use std::sync::Arc;

fn with(attempt: AttemptFacts) -> RunFacts {
    RunFacts { attempts: vec![attempt], ..facts() }
}

fn running() -> AttemptFacts {
    AttemptFacts { phase: AttemptPhase::Running, main: MainFacts::Running { started_at: Some(at(10)) }, ..attempt() }
}

fn ended(exit_code: i32) -> AttemptFacts {
    AttemptFacts { phase: AttemptPhase::Succeeded, main: MainFacts::Terminated(terminated(exit_code)), ..attempt() }
}

/// The end of a Job that has done well.
fn complete() -> JobEnd {
    JobEnd {
        complete: true,
        final_: true,
        cause: JobEndCause::Other,
        reason: String::new(),
        message: String::new(),
        time: None,
    }
}

fn only(plan: RunPlan) -> Action {
    assert_eq!(plan.actions.len(), 1, "{plan:?}");
    plan.actions.into_iter().next().unwrap()
}

#[test]
fn nothing_is_done_before_the_intent_is_written() {
    assert_eq!(planned(&facts(), at(5)), RunPlan { actions: vec![], wake_at: Some(at(300)) });
    let Action::WriteStop(intent) = only(planned(&facts(), at(300))) else { panic!("no intent") };
    assert_eq!((intent.cause, intent.failure), (StopCause::StartDeadline, Some(FailureReason::StartDeadline)));
    let external = RunFacts { deleted_at: Some(at(7)), ..with(running()) };
    let Action::WriteStop(intent) = only(planned(&external, at(8))) else { panic!("no intent") };
    assert_eq!((intent.cause, intent.actor.as_str(), intent.request_time), (StopCause::External, "external", at(7)));
}

#[test]
fn the_start_clock_takes_the_cause_that_is_known() {
    let unscheduled =
        AttemptFacts { waiting: explained(WaitCause::Unschedulable, "NoNode", "0/1 nodes are available"), ..attempt() };
    let Action::WriteStop(intent) = only(planned(&with(unscheduled), at(301))) else { panic!("no intent") };
    assert_eq!(intent.failure, Some(FailureReason::Unschedulable));
    assert!(intent.reason.contains("start_timeout of 5m") && intent.reason.contains("0/1 nodes"), "{}", intent.reason);
    let ours = AttemptFacts {
        main: MainFacts::Waiting(explained(
            WaitCause::ContainerConfig { own_input: false },
            "Word",
            "secret not found",
        )),
        input_ready: false,
        ..attempt()
    };
    let Action::WriteStop(intent) = only(planned(&with(ours), at(301))) else { panic!("no intent") };
    assert_eq!(intent.failure, Some(FailureReason::StartDeadline), "our own Secret is late: not the caller's fault");
}

#[test]
fn the_stop_table() {
    let stopped = |attempt| RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(attempt) };
    assert_eq!(only(planned(&stopped(running()), at(16))), Action::EndStarted { attempt: 1 });
    assert_eq!(only(planned(&stopped(attempt()), at(16))), Action::EndUnstarted { attempt: 1 });
    let absent = AttemptFacts { phase: AttemptPhase::Absent, ..attempt() };
    assert_eq!(only(planned(&stopped(absent), at(16))), Action::EndUnstarted { attempt: 1 });
    let going = AttemptFacts { deleted_at: Some(at(16)), ..running() };
    assert_eq!(planned(&stopped(going), at(17)), RunPlan::default());
    // Closed, but its Pod is still there: it may start.
    let closed = AttemptFacts { closed: true, ..attempt() };
    assert_eq!(only(planned(&stopped(closed.clone()), at(17))), Action::EndUnstarted { attempt: 1 });
    let mut going = AttemptFacts { deleted_at: Some(at(16)), ..closed };
    going.remembered.unended_since = Some(at(16));
    assert_eq!(planned(&stopped(going), at(17)), RunPlan { actions: vec![], wake_at: Some(at(36)) });
    // At its deadline a Pod is over a second before its program is.
    let over = AttemptFacts { phase: AttemptPhase::Failed, ..running() };
    assert_eq!(planned(&stopped(over), at(17)).actions, []);
    let started = AttemptFacts { closed: true, ..running() };
    assert_eq!(only(planned(&stopped(started), at(17))), Action::EndStarted { attempt: 1 }, "it started nevertheless");
}

#[test]
fn the_run_clock_is_lowered_to_what_is_left_of_the_budget() {
    // On its node since 2, started at 10: 8 s of the budget's start are gone. A second more, since
    // both are whole seconds.
    assert_eq!(
        only(planned(&with(running()), at(11))),
        Action::LowerDeadline { attempt: 1, deadline: Duration::from_secs(3609) }
    );
    let lowered = AttemptFacts { deadline: Some(Duration::from_secs(3609)), ..running() };
    assert_eq!(planned(&with(lowered), at(11)), RunPlan::default());
    let no_deadline = AttemptFacts { deadline: None, ..running() };
    assert_eq!(planned(&with(no_deadline), at(11)), RunPlan::default());
}

#[test]
fn the_end_is_recorded_then_released() {
    let done = with(ended(0));
    let Action::WriteRecord(record) = only(planned(&done, at(21))) else { panic!("no record") };
    assert_eq!((record.state, record.record_time), (RunState::Succeeded, at(21)));
    let recorded = RunFacts { record: Some(*record), ..done };
    assert_eq!(planned(&recorded, at(22)), RunPlan::default(), "the Job has not ended yet");
    let mut over = recorded.clone();
    over.attempts[0].job_end = Some(complete());
    assert!(matches!(only(planned(&over, at(23))), Action::Release { reason, .. } if reason == "SUCCEEDED"));
    over.released = true;
    assert!(
        matches!(only(planned(&over, at(24))), Action::Release { .. }),
        "somebody took our hold away, and no retention runs"
    );
    over.expire_time = Some(at(4000));
    assert_eq!(planned(&over, at(24)), RunPlan::default());
    let deleted = RunFacts { deleted_at: Some(at(22)), ..recorded };
    assert!(matches!(only(planned(&deleted, at(23))), Action::Release { .. }));
}

#[test]
fn what_outlives_run_is_ended_after_a_grace() {
    let sidecar = AttemptFacts { phase: AttemptPhase::Running, others_running: true, ..ended(0) };
    let done = with(sidecar);
    let Action::WriteRecord(record) = only(planned(&done, at(21))) else { panic!("no record") };
    let recorded = RunFacts { record: Some(*record), ..done };
    assert_eq!(planned(&recorded, at(25)).wake_at, Some(at(31)));
    assert_eq!(only(planned(&recorded, at(31))), Action::EndStarted { attempt: 1 });
}

#[test]
fn a_large_result_is_kept_beside_the_record() {
    let found = |bytes: usize| FoundResult {
        json: Some("x".repeat(bytes)),
        size_bytes: bytes as u64,
        sha256: String::new(),
        source: ResultSource::Scan,
        dialect: ResultDialect::Json,
        byte_range: None,
        warnings: Vec::new(),
    };
    let mut done = with(ended(0));
    Arc::make_mut(&mut done.submission.effective).result.mode = ResultMode::Required;
    assert_eq!(planned(&done, at(21)), RunPlan::default(), "the result is not read yet");
    let quotes = FoundResult { json: Some("\"".repeat(INLINE_RESULT_MAX_BYTES / 2 + 1)), ..found(0) };
    done.result = Some(ResultOutcome::Found(quotes));
    assert_eq!(planned(&done, at(21)).actions.len(), 2, "a quote takes two bytes of the record");
    done.result = Some(ResultOutcome::Found(found(INLINE_RESULT_MAX_BYTES)));
    assert_eq!(planned(&done, at(21)).actions.len(), 1);
    done.result = Some(ResultOutcome::Found(found(INLINE_RESULT_MAX_BYTES + 1)));
    let actions = planned(&done, at(21)).actions;
    assert!(matches!(&actions[0], Action::StoreResult { json } if json.len() == INLINE_RESULT_MAX_BYTES + 1));
    let Action::WriteRecord(record) = &actions[1] else { panic!("no record") };
    assert_eq!(record.result.as_ref().unwrap().found.as_ref().unwrap().json, None);
}

#[test]
fn a_doubtful_exit_does_not_wait_for_what_outlives_it() {
    let sidecar = AttemptFacts { phase: AttemptPhase::Running, others_running: true, ..ended(137) };
    assert_eq!(planned(&with(sidecar.clone()), at(25)), RunPlan { actions: vec![], wake_at: Some(at(30)) });
    assert_eq!(only(planned(&with(sidecar.clone()), at(30))), Action::EndStarted { attempt: 1 });
    let stopped = RunFacts { stop: Some(stop(StopCause::Cancel, 22)), ..with(sidecar.clone()) };
    assert_eq!(only(planned(&stopped, at(23))), Action::EndStarted { attempt: 1 });
    let alone = AttemptFacts { others_running: false, ..sidecar.clone() };
    assert_eq!(planned(&with(alone), at(60)), RunPlan::default());
    let going = AttemptFacts { deleted_at: Some(at(22)), ..sidecar };
    assert_eq!(planned(&with(going), at(60)), RunPlan::default());
}

#[test]
fn what_is_held_back_is_recorded_at_once_and_kept() {
    let absent = AttemptFacts { phase: AttemptPhase::Absent, ..attempt() };
    let held = RunFacts { suspended: true, ..with(absent) };
    assert_eq!(planned(&held, at(1000)), RunPlan::default(), "no clock of ours runs in a queue");
    let deleted = RunFacts { deleted_at: Some(at(7)), ..held.clone() };
    assert!(matches!(only(planned(&deleted, at(8))), Action::WriteStop(intent) if intent.cause == StopCause::External));

    let cancelled = RunFacts { stop: Some(stop(StopCause::Cancel, 5)), ..held };
    let Action::WriteRecord(record) = only(planned(&cancelled, at(6))) else { panic!("no record") };
    assert_eq!(record.state, RunState::Cancelled);
    let mut recorded = RunFacts { record: Some(*record), ..cancelled };
    // Nothing starts if the queue lets it go, and it is kept as long as any other.
    assert_eq!(only(planned(&recorded, at(7))), Action::EndUnstarted { attempt: 1 });
    recorded.attempts[0].closed = true;
    assert!(matches!(only(planned(&recorded, at(7))), Action::Release { .. }));
    recorded.attempts[0].phase = AttemptPhase::Gone;
    assert!(matches!(only(planned(&recorded, at(7))), Action::Release { .. }));
    let mut released = RunFacts { released: true, expire_time: Some(at(3607)), ..recorded.clone() };
    assert_eq!(planned(&released, at(8)), RunPlan { actions: vec![], wake_at: Some(at(3607)) });
    assert_eq!(only(planned(&released, at(3607))), Action::Delete, "a TTL does not act on it");
    released.suspended = false;
    assert_eq!(planned(&released, at(8)).wake_at, Some(at(3607)));
    let deleting = RunFacts { deleted_at: Some(at(8)), ..recorded.clone() };
    assert!(matches!(only(planned(&deleting, at(9))), Action::Release { .. }));

    // Let go of by its queue before that was done: it must not run.
    recorded.suspended = false;
    recorded.attempts[0] = AttemptFacts { phase: AttemptPhase::Absent, ..attempt() };
    assert_eq!(only(planned(&recorded, at(9))), Action::EndUnstarted { attempt: 1 });
    recorded.attempts = vec![running()];
    assert_eq!(only(planned(&recorded, at(9))), Action::EndStarted { attempt: 1 });
}

#[test]
fn the_clock_of_a_queue_runs_in_it_and_that_of_the_start_after_it() {
    let mut queued = RunFacts { suspended: true, ..facts() };
    Arc::make_mut(&mut queued.submission.spec).queue_timeout = Some(Duration::from_secs(100));
    let created = queued.submission.create_time;
    let after = |seconds: i64| created + SignedDuration::from_secs(seconds);
    assert_eq!(planned(&queued, after(99)), RunPlan { actions: vec![], wake_at: Some(after(100)) });
    let Action::WriteStop(intent) = only(planned(&queued, after(100))) else { panic!("no stop") };
    assert_eq!((intent.cause, intent.failure), (StopCause::QueueDeadline, Some(FailureReason::QueueDeadline)));
    // It has left the queue at the last moment.
    let admitted = RunFacts { suspended: false, admitted_at: Some(after(100)), ..queued };
    let start = SignedDuration::try_from(admitted.submission.effective.start_timeout).unwrap();
    assert_eq!(planned(&admitted, after(101)).wake_at, Some(after(100) + start));
    let Action::WriteStop(intent) = only(planned(&admitted, after(100) + start)) else { panic!("no stop") };
    assert_eq!(intent.cause, StopCause::StartDeadline);
}

#[test]
fn suspension_of_a_running_job_closes_its_attempt_and_keeps_its_record() {
    let killed = AttemptFacts { phase: AttemptPhase::Failed, deleted_at: Some(at(15)), ..ended(143) };
    let mut suspended = RunFacts { suspended: true, ..with(killed) };
    assert_eq!(only(planned(&suspended, at(21))), preempted(&suspended), "a resume starts nothing");
    suspended.attempts[0].closed = true;
    let Action::WriteRecord(record) = only(planned(&suspended, at(21))) else { panic!("no record") };
    assert_eq!(record.failure.as_ref().map(|f| f.reason), Some(FailureReason::Preempted));
    let mut recorded = RunFacts { record: Some(*record), ..suspended };
    recorded.attempts[0].closed = false;
    assert_eq!(only(planned(&recorded, at(22))), Action::EndUnstarted { attempt: 1 }, "its queue may resume it");
    recorded.attempts[0].closed = true;
    assert!(matches!(only(planned(&recorded, at(23))), Action::Release { .. }));
    recorded.attempts[0] = AttemptFacts { phase: AttemptPhase::Gone, closed: true, ..running() };
    assert!(matches!(only(planned(&recorded, at(23))), Action::Release { .. }));
}

#[test]
fn no_clock_runs_out_on_a_pod_that_is_gone() {
    let gone = AttemptFacts { phase: AttemptPhase::Gone, ..attempt() };
    assert_eq!(planned(&with(gone), at(5000)), RunPlan::default());
}

/// Its Job may never end, so that nothing would ever let it go.
#[test]
fn what_is_lost_with_its_node_is_ended_there_and_let_go() {
    let silent = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        silent_since: Some(at(40)),
        lost_at: Some(at(640)),
        deadline: Some(Duration::from_secs(3900)),
        ..attempt()
    };
    let lost = with(silent);
    let Some(Action::WriteRecord(record)) = planned(&lost, at(640)).actions.pop() else { panic!() };
    let mut recorded = RunFacts { record: Some(*record), ..lost };
    assert_eq!(planned(&recorded, at(641)).actions, [Action::EndStarted { attempt: 1 }]);
    recorded.attempts[0].deadline = Some(Duration::from_secs(1));
    assert!(matches!(planned(&recorded, at(642)).actions.as_slice(), [Action::Release { .. }]));
    (recorded.released, recorded.expire_time) = (true, Some(at(5000)));
    assert_eq!(planned(&recorded, at(643)), RunPlan::wake(at(5000)));
    assert_eq!(planned(&recorded, at(5000)).actions, [Action::Delete], "no TTL acts on a Job that has not ended");
}

fn preempted(facts: &RunFacts) -> Action {
    let attempt = &facts.attempts[0];
    Action::ClosePreempted { attempt: 1, uid: attempt.uid.clone(), start_time: attempt.started_at() }
}

/// Nobody lets its Job go on, so that it never ends.
#[test]
fn what_a_queue_keeps_of_an_earlier_attempt_does_not_keep_the_run() {
    let mut facts = with(AttemptFacts { phase: AttemptPhase::Gone, closed: true, ..running() });
    facts.attempts.push(AttemptFacts { number: 2, job_end: Some(complete()), ..ended(0) });
    let Action::WriteRecord(record) = only(planned(&with(ended(0)), at(30))) else { panic!("no record") };
    facts.record = Some(*record);
    assert!(matches!(only(planned(&facts, at(31))), Action::Release { attempts: 2, .. }));
    facts.attempts[0].closed = false;
    assert_eq!(planned(&facts, at(31)).actions, [Action::EndUnstarted { attempt: 1 }]);
}

#[test]
fn a_cancelled_run_whose_job_is_suspended_meanwhile_starts_nothing_either() {
    let cancelled = RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(running()) };
    let mut suspended = RunFacts { suspended: true, ..cancelled };
    assert_eq!(only(planned(&suspended, at(16))), preempted(&suspended));
    suspended.attempts[0].closed = true;
    assert_eq!(only(planned(&suspended, at(16))), Action::EndStarted { attempt: 1 });
}

#[test]
fn a_start_in_a_queue_is_written_down_so_that_a_second_one_is_known() {
    let mut queued = with(AttemptFacts { in_queue: true, ..running() });
    let noted = Action::NoteStart { attempt: 1, uid: "pod-uid".to_owned(), start_time: Some(at(10)) };
    assert!(planned(&queued, at(11)).actions.contains(&noted));
    queued.attempts[0].start_noted = true;
    assert!(!planned(&queued, at(11)).actions.contains(&noted));
    assert!(!planned(&with(running()), at(11)).actions.contains(&noted), "outside queues nothing starts twice");
}

/// Its queue let the Job go on before it was closed.
#[test]
fn a_second_pod_of_a_job_is_reported_and_ended() {
    let first = with(running());
    let mut second = AttemptFacts { uid: Some("second".to_owned()), ..running() };
    let unexplained = remember(Some(&first), with(second.clone()), at(30));
    assert_eq!(unexplained.attempts[0].disruption, None, "outside a queue no cause is made up");
    second.in_queue = true;
    let facts = remember(Some(&first), with(second), at(30));
    let attempt = &facts.attempts[0];
    assert_eq!(
        (attempt.uid.as_deref(), attempt.further_uids.as_slice()),
        (Some("pod-uid"), &["second".to_owned()][..])
    );
    assert_eq!(only(planned(&facts, at(30))), preempted(&facts));
    let mut closed = facts;
    closed.attempts[0].closed = true;
    let Action::WriteRecord(record) = only(planned(&closed, at(31))) else { panic!("no record") };
    assert_eq!(record.attempts[0].further_uids, ["second"]);
    let failure = record.failure.as_ref().unwrap();
    assert_eq!(failure.reason, FailureReason::Preempted);
    assert!(failure.message.contains("started it 1 more time(s)"), "{}", failure.message);
    let recorded = RunFacts { record: Some(*record), ..closed };
    assert_eq!(planned(&recorded, at(32)).actions, []);
}
