use super::super::facts::{AttemptPhase, JobEnd};
use super::super::failure::FailureReason;
use super::super::result::{FoundResult, ResultDialect, ResultOutcome, ResultSource};
use super::super::run::RunState;
use super::super::spec::ResultMode;
use super::super::testing::{at, attempt, explained, facts, stop, terminated};
use super::*;

fn with(attempt: AttemptFacts) -> RunFacts {
    RunFacts { attempts: vec![attempt], ..facts() }
}

fn running() -> AttemptFacts {
    AttemptFacts { phase: AttemptPhase::Running, main: MainFacts::Running { started_at: Some(at(10)) }, ..attempt() }
}

fn ended(exit_code: i32) -> AttemptFacts {
    AttemptFacts { phase: AttemptPhase::Succeeded, main: MainFacts::Terminated(terminated(exit_code)), ..attempt() }
}

fn only(plan: Plan) -> Action {
    assert_eq!(plan.actions.len(), 1, "{plan:?}");
    plan.actions.into_iter().next().unwrap()
}

#[test]
fn nothing_is_done_before_the_intent_is_written() {
    assert_eq!(plan(&facts(), at(5)), Plan { actions: vec![], wake_at: Some(at(300)) });
    let Action::WriteStop(intent) = only(plan(&facts(), at(300))) else { panic!("no intent") };
    assert_eq!((intent.cause, intent.failure), (StopCause::StartDeadline, Some(FailureReason::StartDeadline)));
    let external = RunFacts { deleted_at: Some(at(7)), ..with(running()) };
    let Action::WriteStop(intent) = only(plan(&external, at(8))) else { panic!("no intent") };
    assert_eq!((intent.cause, intent.actor.as_str(), intent.time), (StopCause::External, "external", at(7)));
}

#[test]
fn the_start_clock_takes_the_cause_that_is_known() {
    let unscheduled = AttemptFacts { waiting: explained("Unschedulable", "0/1 nodes are available"), ..attempt() };
    let Action::WriteStop(intent) = only(plan(&with(unscheduled), at(301))) else { panic!("no intent") };
    assert_eq!(intent.failure, Some(FailureReason::Unschedulable));
    assert!(intent.reason.contains("start_timeout of 5m") && intent.reason.contains("0/1 nodes"), "{}", intent.reason);
    let ours = AttemptFacts {
        main: MainFacts::Waiting(explained("CreateContainerConfigError", "secret not found")),
        input_ready: false,
        ..attempt()
    };
    let Action::WriteStop(intent) = only(plan(&with(ours), at(301))) else { panic!("no intent") };
    assert_eq!(intent.failure, Some(FailureReason::StartDeadline), "our own Secret is late: not the caller's fault");
}

#[test]
fn the_stop_table() {
    let stopped = |attempt| RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(attempt) };
    assert_eq!(only(plan(&stopped(running()), at(16))), Action::EndStarted { attempt: 1 });
    assert_eq!(only(plan(&stopped(attempt()), at(16))), Action::EndUnstarted { attempt: 1 });
    let absent = AttemptFacts { phase: AttemptPhase::Absent, ..attempt() };
    assert_eq!(only(plan(&stopped(absent), at(16))), Action::EndUnstarted { attempt: 1 });
    let going = AttemptFacts { deleted_at: Some(at(16)), ..running() };
    assert_eq!(plan(&stopped(going), at(17)), Plan::default());
}

#[test]
fn the_run_clock_is_lowered_to_what_is_left_of_the_budget() {
    // On its node since 2, started at 10: 8 s of the budget's start are gone.
    assert_eq!(
        only(plan(&with(running()), at(11))),
        Action::LowerDeadline { attempt: 1, deadline: Duration::from_secs(3608) }
    );
    let lowered = AttemptFacts { deadline: Some(Duration::from_secs(3608)), ..running() };
    assert_eq!(plan(&with(lowered), at(11)), Plan::default());
    let no_deadline = AttemptFacts { deadline: None, ..running() };
    assert_eq!(plan(&with(no_deadline), at(11)), Plan::default());
}

#[test]
fn the_end_is_recorded_then_released() {
    let done = with(ended(0));
    let Action::WriteRecord(record) = only(plan(&done, at(21))) else { panic!("no record") };
    assert_eq!((record.state, record.record_time), (RunState::Succeeded, at(21)));
    let recorded = RunFacts { record: Some(*record), ..done };
    assert_eq!(plan(&recorded, at(22)), Plan::default(), "the Job has not ended yet");
    let mut over = recorded.clone();
    over.attempts[0].job_end = Some(JobEnd {
        complete: true,
        final_: true,
        reason: "CompletionsReached".to_owned(),
        message: String::new(),
        time: None,
    });
    assert!(matches!(only(plan(&over, at(23))), Action::Release { reason, .. } if reason == "SUCCEEDED"));
    over.released = true;
    assert_eq!(plan(&over, at(24)), Plan::default());
    let deleted = RunFacts { deleted_at: Some(at(22)), ..recorded };
    assert!(matches!(only(plan(&deleted, at(23))), Action::Release { .. }));
}

#[test]
fn what_outlives_run_is_ended_after_a_grace() {
    let sidecar = AttemptFacts { phase: AttemptPhase::Running, others_running: true, ..ended(0) };
    let done = with(sidecar);
    let Action::WriteRecord(record) = only(plan(&done, at(21))) else { panic!("no record") };
    let recorded = RunFacts { record: Some(*record), ..done };
    assert_eq!(plan(&recorded, at(25)).wake_at, Some(at(31)));
    assert_eq!(only(plan(&recorded, at(31))), Action::EndStarted { attempt: 1 });
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
    done.submission.effective.result_mode = ResultMode::Required;
    assert_eq!(plan(&done, at(21)), Plan::default(), "the result is not read yet");
    done.result = Some(ResultOutcome::Found(found(INLINE_RESULT_MAX_BYTES)));
    assert_eq!(plan(&done, at(21)).actions.len(), 1);
    done.result = Some(ResultOutcome::Found(found(INLINE_RESULT_MAX_BYTES + 1)));
    let actions = plan(&done, at(21)).actions;
    assert!(matches!(&actions[0], Action::StoreResult { json } if json.len() == INLINE_RESULT_MAX_BYTES + 1));
    let Action::WriteRecord(record) = &actions[1] else { panic!("no record") };
    assert_eq!(record.result.as_ref().unwrap().found.as_ref().unwrap().json, None);
}
