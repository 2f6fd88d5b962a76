//! Which failures are tried again and when, and what a run looks like from one attempt to the next.

use std::sync::Arc;

use super::*;
use crate::run::facts::{
    AttemptFacts, AttemptPhase, EndCause, JobEnd, JobEndCause, MainFacts, PlatformCause, Remembered, Terminated,
};
use crate::run::plan::{Action, RunPlan};
use crate::run::spec::{EffectiveSpec, RetryOn};
use crate::run::{Run, StopCause};
use crate::testing::{at, attempt, derived, facts, intervened, planned, stop, terminated};

fn with(change: impl FnOnce(&mut EffectiveSpec), attempt: AttemptFacts) -> RunFacts {
    let mut facts = RunFacts { attempts: vec![attempt], ..facts() };
    change(Arc::make_mut(&mut facts.submission.effective));
    facts
}

fn twice(spec: &mut EffectiveSpec) {
    (spec.max_retries, spec.infra_retries) = (2, 1);
}

/// Over, with its Job.
fn exited(end: Terminated) -> AttemptFacts {
    let job_end = JobEnd {
        complete: end.exit_code == 0,
        final_: true,
        cause: JobEndCause::PodFailed,
        reason: "Word".to_owned(),
        message: "words".to_owned(),
        time: Some(at(21)),
    };
    let phase = if end.exit_code == 0 { AttemptPhase::Succeeded } else { AttemptPhase::Failed };
    AttemptFacts { phase, main: MainFacts::Terminated(end), job_end: Some(job_end), ..attempt() }
}

fn shut_down() -> AttemptFacts {
    AttemptFacts {
        ended_by: intervened(PlatformCause::NodeShutdown, "Terminated", "the node was shut down"),
        ..exited(terminated(137))
    }
}

fn only(plan: RunPlan) -> Action {
    assert_eq!(plan.actions.len(), 1, "{plan:?}");
    plan.actions.into_iter().next().unwrap()
}

fn announced(facts: &RunFacts) -> Option<AttemptRecord> {
    match planned(facts, at(30)).actions.as_slice() {
        [Action::WriteAttempt(record)] => Some((**record).clone()),
        [Action::WriteRecord(_)] => None,
        other => panic!("{other:?}"),
    }
}

fn budget_of(facts: &RunFacts) -> Option<RetryBudget> {
    announced(facts).map(|record| record.budget)
}

/// The run after its attempt was written down as `announced` has it.
fn settled(facts: &RunFacts) -> RunFacts {
    let mut facts = facts.clone();
    let record = announced(&facts).unwrap();
    facts.settled.push(record);
    facts
}

#[test]
fn each_failure_is_charged_to_one_budget_or_to_none() {
    use FailureReason::{NonzeroExit, OomKilled};
    use RetryBudget::{Infra, Program};
    let rule = |reasons: &[FailureReason], exit_codes: &[i32]| {
        let rule = RetryOn { reasons: reasons.to_vec(), exit_codes: exit_codes.to_vec() };
        move |spec: &mut EffectiveSpec| {
            twice(spec);
            spec.retry_on = rule;
        }
    };
    let oom = || exited(Terminated { cause: EndCause::OutOfMemory, ..terminated(137) });
    assert_eq!(budget_of(&with(twice, exited(terminated(3)))), Some(Program));
    assert_eq!(budget_of(&with(twice, exited(terminated(139)))), Some(Program), "by a signal");
    assert_eq!(budget_of(&with(twice, exited(terminated(0)))), None, "a success is never tried again");
    assert_eq!(budget_of(&with(twice, shut_down())), Some(Infra));
    assert_eq!(budget_of(&with(twice, oom())), None, "only where it is asked for");
    assert_eq!(budget_of(&with(rule(&[OomKilled], &[]), oom())), Some(Program));
    assert_eq!(budget_of(&with(rule(&[OomKilled], &[9]), oom())), Some(Program), "codes are about the program's own");
    assert_eq!(budget_of(&with(rule(&[OomKilled], &[]), exited(terminated(3)))), None);
    assert_eq!(budget_of(&with(rule(&[], &[3, 75]), exited(terminated(75)))), Some(Program));
    assert_eq!(budget_of(&with(rule(&[], &[75]), exited(terminated(3)))), None);
    assert_eq!(budget_of(&with(rule(&[NonzeroExit], &[]), exited(terminated(139)))), None);
    assert_eq!(budget_of(&with(|spec| spec.max_retries = 2, shut_down())), None, "a budget pays for its own only");
    assert_eq!(budget_of(&with(|spec| spec.infra_retries = 2, exited(terminated(3)))), None);
    assert_eq!(budget_of(&with(|_| (), exited(terminated(3)))), None);
}

#[test]
fn nothing_follows_what_was_to_end() {
    let failed = with(twice, exited(terminated(3)));
    assert!(announced(&failed).is_some());
    assert!(announced(&RunFacts { stop: Some(stop(StopCause::Cancel, 25)), ..failed.clone() }).is_none());
    assert!(announced(&RunFacts { damage: Some("edited".to_owned()), ..failed.clone() }).is_none());
    let deleted = AttemptFacts { job_deleted_at: Some(at(25)), ..exited(terminated(3)) };
    assert!(announced(&with(twice, deleted)).is_none());
    let total = |seconds| {
        with(
            |spec| {
                twice(spec);
                spec.total_timeout = Some(Duration::from_secs(seconds));
            },
            exited(terminated(3)),
        )
    };
    assert!(announced(&total(31)).is_none(), "the next one would begin at 31");
    assert!(announced(&total(32)).is_some());
}

#[test]
fn budgets_are_spent() {
    let mut facts = with(twice, exited(terminated(3)));
    let second =
        |number, facts: &RunFacts| AttemptFacts { number, uid: Some("other".to_owned()), ..facts.attempts[0].clone() };
    for number in [2, 3] {
        facts = settled(&facts);
        facts.attempts.push(second(number, &facts));
    }
    assert!(announced(&facts).is_none(), "two further attempts were made");
    facts.attempts[2] = AttemptFacts { number: 3, ..shut_down() };
    assert_eq!(budget_of(&facts), Some(RetryBudget::Infra), "the other budget is left");
}

#[test]
fn pauses_double_and_are_shortened_by_up_to_a_half() {
    for number in 1..40 {
        let whole = Duration::from_secs(1 << (number - 1).min(16)).min(PAUSE_MAX);
        let pause = pause("uid", number);
        assert!(pause >= PAUSE_MIN && pause >= whole / 2 && pause <= whole, "{number}: {pause:?}");
        assert_eq!(pause, super::pause("uid", number), "each server comes to the same");
    }
    assert_ne!(pause("uid", 9), pause("other", 9));
}

#[test]
fn from_one_attempt_to_the_next() {
    let first = with(twice, exited(terminated(3)));
    let between = settled(&first);
    let not_before = between.settled[0].not_before;
    assert_eq!(not_before, at(31));
    let Run { state, waiting_reason, message, retry_time, exit_code, timeline, .. } = derived(&between, at(28));
    assert_eq!((state, waiting_reason.as_deref()), (RunState::Pending, Some("RETRY_BACKOFF")));
    assert_eq!(message, "attempt 1 failed: the program exited with 3; attempt 2 begins in 3s");
    assert_eq!((retry_time, exit_code, timeline.start_time), (Some(not_before), None, None));
    assert_eq!(planned(&between, at(30)), RunPlan { actions: vec![], wake_at: Some(not_before) });
    assert_eq!(planned(&between, at(31)).actions, [Action::BeginAttempt { attempt: 2 }]);

    let mut unended = between.clone();
    unended.attempts[0].job_end = None;
    assert_eq!(planned(&unended, at(40)), RunPlan::default(), "one attempt lives at a time");
    unended.attempts[0].others_running = true;
    assert_eq!(planned(&unended, at(40)).actions, [Action::EndStarted { attempt: 1 }]);

    let mut second = between.clone();
    second.attempts.push(AttemptFacts { number: 2, uid: Some("other".to_owned()), ..attempt() });
    let run = derived(&second, at(32));
    assert_eq!((run.state, run.retry_time), (RunState::Starting, None));
    assert!(run.message.starts_with("attempt 2: "), "{}", run.message);
    assert_eq!(run.attempts.len(), 2);
    assert_eq!(run.attempts[0].failure.as_ref().unwrap().exit_code, Some(3));
    assert_eq!(planned(&second, at(32)).wake_at, Some(at(331)), "the start clock begins anew");
    second.attempts[1].create_time = Some(at(900));
    assert_eq!(planned(&second, at(901)).wake_at, Some(at(1200)), "once it is there, however late");

    second.attempts[1] = AttemptFacts { number: 2, ..exited(terminated(0)) };
    let Action::WriteRecord(record) = only(planned(&second, at(50))) else { panic!("no record") };
    assert_eq!((record.state, record.attempts.len()), (RunState::Succeeded, 2));
    let recorded = RunFacts { record: Some(*record), settled: Vec::new(), ..second };
    let Action::Release { attempts, .. } = only(planned(&recorded, at(51))) else { panic!("no release") };
    assert_eq!(attempts, 2);
    assert_eq!(derived(&recorded, at(52)).attempts[0].exit_code, Some(3));
}

#[test]
fn a_stop_between_two_attempts_ends_the_run_at_once() {
    let between = settled(&with(twice, exited(terminated(3))));
    let cancelled = RunFacts { stop: Some(stop(StopCause::Cancel, 30)), ..between.clone() };
    let Action::WriteRecord(record) = only(planned(&cancelled, at(30))) else { panic!() };
    assert_eq!(record.state, RunState::Cancelled);
    assert_eq!(record.message, "cancelled by alice: enough; attempt 2 had not begun");
    assert_eq!((record.attempts.len(), record.timeline.start_time), (1, Some(at(10))));

    let deleted = RunFacts { deleted_at: Some(at(30)), ..between.clone() };
    assert!(
        matches!(planned(&deleted, at(30)).actions.as_slice(), [Action::WriteStop(stop)] if stop.cause == StopCause::External)
    );

    let mut late = between;
    Arc::make_mut(&mut late.submission.effective).total_timeout = Some(Duration::from_secs(60));
    assert_eq!(planned(&late, at(30)).wake_at, Some(at(31)));
    let Action::WriteStop(intent) = only(planned(&late, at(60))) else { panic!() };
    assert_eq!((intent.cause, intent.failure), (StopCause::TotalDeadline, Some(FailureReason::TotalDeadline)));
    late.stop = Some(intent);
    let Action::WriteRecord(record) = only(planned(&late, at(61))) else { panic!() };
    let failure = record.failure.unwrap();
    assert_eq!((record.state, failure.reason), (RunState::Failed, FailureReason::TotalDeadline));
    assert_eq!(failure.message, "the run did not end within its total_timeout of 1m; attempt 2 had not begun");
}

#[test]
fn an_attempt_that_can_not_begin_is_waited_for_as_long_as_for_any_start() {
    let between = settled(&with(twice, exited(terminated(3))));
    let not_before = between.settled[0].not_before;
    let start_timeout = SignedDuration::try_from(between.submission.effective.start_timeout).unwrap();
    let due = not_before + start_timeout;
    // A daemon that was away tries first.
    assert_eq!(only(planned(&between, due)), Action::BeginAttempt { attempt: 2 });
    let trouble = "the next attempt can't begin yet: its name is taken".to_owned();
    let kept = RunFacts { trouble: Some(trouble.clone()), ..between };
    let just_before = due - SignedDuration::from_secs(1);
    assert_eq!(only(planned(&kept, just_before)), Action::BeginAttempt { attempt: 2 });
    let Action::WriteStop(stop) = only(planned(&kept, due)) else { panic!() };
    assert_eq!((stop.cause, stop.failure), (StopCause::StartDeadline, Some(FailureReason::StartDeadline)));
    assert!(stop.reason.contains(&trouble), "{}", stop.reason);
}

#[test]
fn the_next_attempt_waits_until_nothing_of_the_one_before_can_run() {
    let is_begun = |before: AttemptFacts| {
        let mut between = settled(&with(twice, exited(terminated(3))));
        between.attempts = vec![before];
        match planned(&between, at(40)).actions.as_slice() {
            [Action::BeginAttempt { attempt: 2 }] => true,
            [] | [Action::EndUnstarted { attempt: 1 }] => false,
            other => panic!("{other:?}"),
        }
    };
    assert!(is_begun(exited(terminated(3))));
    let unended = || AttemptFacts { job_end: None, ..exited(terminated(3)) };
    assert!(!is_begun(unended()), "its Job has yet to say so");
    // A queue took it back: its Job never ends, and is closed instead.
    let gone = || AttemptFacts { phase: AttemptPhase::Gone, ..unended() };
    assert!(!is_begun(gone()));
    assert!(is_begun(AttemptFacts { closed: true, ..gone() }));
    let mut waits = settled(&with(twice, exited(terminated(3))));
    waits.attempts = vec![gone()];
    let message = derived(&waits, at(40)).message;
    assert!(message.ends_with("attempt 2 begins once the Job run-a has ended"), "{message}");
}

#[test]
fn what_was_lost_with_its_node_is_not_waited_for() {
    let lost = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        deleted_at: Some(at(15)),
        silent_since: Some(at(12)),
        remembered: Remembered { unended_since: Some(at(0)), ..Remembered::default() },
        ..attempt()
    };
    let between = settled(&with(twice, lost));
    assert_eq!(between.settled[0].attempt.failure.as_ref().unwrap().reason, FailureReason::NodeLost);
    assert_eq!(only(planned(&between, at(40))), Action::BeginAttempt { attempt: 2 });
    // Without a deletion its node ends it as soon as it is back.
    let mut silent = between;
    silent.attempts[0].deleted_at = None;
    let plan = planned(&silent, at(40));
    assert_eq!(plan.actions, [Action::BeginAttempt { attempt: 2 }, Action::EndStarted { attempt: 1 }]);
    assert_eq!(planned(&silent, at(30)).actions, [Action::EndStarted { attempt: 1 }], "in the pause, too");
    // It is back: nothing begins beside it.
    silent.attempts[0].silent_since = None;
    assert_eq!(planned(&silent, at(40)).actions, [Action::EndStarted { attempt: 1 }]);
    // Back while the next one runs, it is ended.
    let second = AttemptFacts {
        number: 2,
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(41)) },
        ..attempt()
    };
    silent.attempts.push(second);
    assert!(planned(&silent, at(42)).actions.contains(&Action::EndStarted { attempt: 1 }));
}

/// Its Job makes no Pod any more, and never says that it ended.
#[test]
fn a_job_that_is_deleted_before_it_made_a_pod_ends_the_run() {
    let mut facts = settled(&with(twice, exited(terminated(3))));
    let second = AttemptFacts {
        number: 2,
        job: "run2-a".to_owned(),
        phase: AttemptPhase::Absent,
        job_deleted_at: Some(at(35)),
        uid: None,
        pod: None,
        ..attempt()
    };
    facts.attempts.push(second);
    assert_eq!(derived(&facts, at(36)).state, RunState::Cancelling);
    let Action::WriteStop(intent) = only(planned(&facts, at(36))) else { panic!() };
    assert_eq!(intent.cause, StopCause::External);
    facts.stop = Some(intent);
    let Action::WriteRecord(record) = only(planned(&facts, at(37))) else { panic!() };
    assert_eq!((record.state, record.attempts.len()), (RunState::Cancelled, 2));
    let recorded = RunFacts { record: Some(*record), settled: Vec::new(), ..facts };
    assert!(matches!(only(planned(&recorded, at(38))), Action::Release { attempts: 2, .. }));
}

/// A record leaves the earliest attempts out where it would be too large.
#[test]
fn every_attempt_is_released() {
    let failed = with(|_| (), exited(terminated(3)));
    let Action::WriteRecord(record) = only(planned(&failed, at(30))) else { panic!() };
    let mut recorded = RunFacts { record: Some(*record), ..failed };
    recorded.attempts.push(AttemptFacts { number: 2, ..exited(terminated(3)) });
    assert!(matches!(only(planned(&recorded, at(31))), Action::Release { attempts: 2, .. }));
}

#[test]
fn the_total_clock_ends_what_runs() {
    let running = AttemptFacts {
        phase: AttemptPhase::Running,
        main: MainFacts::Running { started_at: Some(at(10)) },
        ..attempt()
    };
    let facts = with(|spec| spec.total_timeout = Some(Duration::from_secs(90)), running);
    assert_eq!(planned(&facts, at(20)).wake_at, Some(at(90)));
    let Action::WriteStop(intent) = only(planned(&facts, at(90))) else { panic!() };
    assert_eq!(intent.reason, "the run did not end within its total_timeout of 1m 30s");
    let stopped = RunFacts { stop: Some(intent), ..facts };
    assert_eq!(planned(&stopped, at(91)).actions, [Action::EndStarted { attempt: 1 }]);
}

#[test]
fn an_exit_waits_for_its_cause_where_that_decides_about_another_attempt() {
    let exits = |code| AttemptFacts { phase: AttemptPhase::Running, job_end: None, ..exited(terminated(code)) };
    assert!(planned(&with(twice, exits(3)), at(21)).actions.is_empty());
    assert!(matches!(planned(&with(twice, exits(0)), at(21)).actions.as_slice(), [Action::WriteRecord(_)]));
    assert!(matches!(planned(&with(|_| (), exits(3)), at(21)).actions.as_slice(), [Action::WriteRecord(_)]));
}

/// Attempts outlive the server that wrote them: this has to stay readable.
#[test]
fn what_is_written_of_an_attempt_is_read_again() {
    let mut record = announced(&with(twice, exited(terminated(3)))).unwrap();
    let text = record.to_json().unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"version":1,"attempt":{"number":1,"uid":"pod-uid","job":"run-a","pod":"run-a-x","node":"node","#,
            r#""create_time":"2027-01-15T08:00:00Z","start_time":"2027-01-15T08:00:10Z","#,
            r#""finish_time":"2027-01-15T08:00:20Z","exit_code":3,"failure":{"reason":"NONZERO_EXIT","#,
            r#""failure_class":"USER","message":"the program exited with 3","exit_code":3}},"budget":"PROGRAM","#,
            r#""not_before":"2027-01-15T08:00:31Z","record_time":"2027-01-15T08:00:30Z"}"#,
        )
    );
    assert_eq!(AttemptRecord::from_json(&text).unwrap(), record);
    record.version = 2;
    let error = AttemptRecord::from_json(&record.to_json().unwrap()).unwrap_err();
    assert!(error.to_string().contains("has version 2"), "{error}");
}
