//! What one look shows, and what a later one can't take back.

use std::time::Duration;

use super::super::{Mentions, WaitCause};
use super::*;
use crate::run::view::StopCause;
use crate::testing::{at, attempt, explained, facts, intervened, stop, terminated};

fn with(attempt: AttemptFacts) -> RunFacts {
    RunFacts { attempts: vec![attempt], ..facts() }
}

fn running() -> AttemptFacts {
    AttemptFacts { phase: AttemptPhase::Running, main: MainFacts::Running { started_at: Some(at(10)) }, ..attempt() }
}

fn ended(exit_code: i32) -> AttemptFacts {
    AttemptFacts { phase: AttemptPhase::Running, main: MainFacts::Terminated(terminated(exit_code)), ..attempt() }
}

/// The attempt after these looks at it, a second each.
fn after(looks: impl IntoIterator<Item = RunFacts>) -> AttemptFacts {
    let mut known: Option<RunFacts> = None;
    for (second, seen) in looks.into_iter().enumerate() {
        known = Some(remember(known.as_ref(), seen, at(100 + i64::try_from(second).unwrap())));
    }
    known.unwrap().attempts.remove(0)
}

#[test]
fn started_and_ended_stay_what_they_were() {
    let emptied = AttemptFacts { phase: AttemptPhase::Failed, emptied: true, node: None, ..attempt() };
    let gone = AttemptFacts { phase: AttemptPhase::Gone, node_time: None, ..attempt() };
    let creating = AttemptFacts { main: MainFacts::Waiting(explained(WaitCause::Ordinary, "Word", "")), ..attempt() };
    for later in [emptied, gone, creating, attempt()] {
        let seen = after([with(running()), with(later.clone())]);
        assert_eq!(seen.main, MainFacts::Running { started_at: Some(at(10)) }, "{later:?}");
        assert_eq!((seen.node.as_deref(), seen.node_time), (Some("node"), Some(at(2))));
        let seen = after([with(ended(3)), with(later.clone())]);
        assert_eq!(seen.main, MainFacts::Terminated(terminated(3)), "{later:?}");
        assert!(seen.remembered.ended_untouched);
    }
    // Another end than the first is none; but what was made up gives way.
    let unknown = Terminated { cause: EndCause::Unknown, started_at: None, ..terminated(137) };
    let made_up = AttemptFacts { main: MainFacts::Terminated(unknown), ..running() };
    assert_eq!(after([with(ended(3)), with(made_up.clone())]).main, MainFacts::Terminated(terminated(3)));
    assert_eq!(after([with(made_up.clone()), with(ended(3))]).main, MainFacts::Terminated(terminated(3)));
    let lost = after([with(running()), with(made_up)]);
    assert_eq!(lost.main.terminated().map(|end| (end.code(), end.started_at)), Some((None, Some(at(10)))));
    assert!(!lost.remembered.ended_untouched);
}

#[test]
fn what_ran_is_not_said_to_have_failed_to_start() {
    let refused = Terminated { cause: EndCause::NotStarted, ..terminated(128) };
    let refused = AttemptFacts { phase: AttemptPhase::Failed, main: MainFacts::Terminated(refused), ..attempt() };
    assert!(after([with(running()), with(refused)]).main.started());
}

#[test]
fn the_first_cause_stays() {
    let evicted = AttemptFacts {
        ended_by: intervened(PlatformCause::Evicted, "Word", "low on memory"),
        disruption: intervened(PlatformCause::Evicted, "Word", "m"),
        deleted_at: Some(at(12)),
        ..running()
    };
    let later = AttemptFacts { disruption: intervened(PlatformCause::Orphaned, "Word", "m"), ..running() };
    let seen = after([with(evicted.clone()), with(later)]);
    assert_eq!(seen.ended_by, evicted.ended_by);
    assert_eq!((seen.disruption, seen.deleted_at), (evicted.disruption, Some(at(12))));

    let stop_mentions = Mentions { secret: true, ..Mentions::default() };
    let stopped =
        RunFacts { stop: Some(stop(StopCause::Cancel, 5)), stop_mentions, deleted_at: Some(at(6)), ..facts() };
    let other = RunFacts { stop: Some(stop(StopCause::StartDeadline, 9)), ..facts() };
    let merged = remember(Some(&stopped), other.clone(), at(10));
    assert_eq!((merged.stop, merged.deleted_at), (stopped.stop.clone(), Some(at(6))));
    assert_eq!(merged.stop_mentions, stop_mentions);
    let merged = remember(Some(&facts()), stopped.clone(), at(10));
    assert_eq!((merged.stop, merged.stop_mentions), (stopped.stop.clone(), stop_mentions));
    let successor = RunFacts { uid: "another".to_owned(), ..facts() };
    assert_eq!(remember(Some(&stopped), successor, at(10)).stop, None, "another run of that name");
}

#[test]
fn the_order_of_versions_shows_what_ended_a_program() {
    let ordered = |attempt: AttemptFacts| AttemptFacts { deadline: Some(Duration::from_secs(1)), ..attempt };
    let deleted = |attempt: AttemptFacts| AttemptFacts { deleted_at: Some(at(15)), ..attempt };
    let cancelled = |attempt: AttemptFacts| RunFacts { stop: Some(stop(StopCause::Cancel, 15)), ..with(attempt) };
    for (looks, untouched) in [
        (vec![with(ended(0))], true),
        // It ended before what was ordered was there; then it was cleaned up.
        (vec![cancelled(ended(0)), cancelled(deleted(ordered(ended(0))))], true),
        (vec![cancelled(running()), cancelled(ordered(ended(0)))], false),
        (vec![with(running()), with(deleted(ended(0)))], false),
        (vec![with(deleted(ended(0)))], false),
        (vec![with(AttemptFacts { ended_by: intervened(PlatformCause::Deadline, "Word", ""), ..ended(0) })], false),
    ] {
        assert_eq!(after(looks.clone()).remembered.ended_untouched, untouched, "{looks:?}");
    }
    // Without a Pod an order leaves no mark.
    let local = |attempt: AttemptFacts| AttemptFacts { pod: None, ..attempt };
    assert!(!after([cancelled(local(ended(0)))]).remembered.ended_untouched);
    assert!(after([with(local(ended(0))), cancelled(local(ended(0)))]).remembered.ended_untouched);

    let over = AttemptFacts { phase: AttemptPhase::Failed, ..running() };
    let seen = after([with(over), with(AttemptFacts { phase: AttemptPhase::Failed, ..ended(0) })]);
    assert!(seen.remembered.over_while_running && !seen.remembered.ended_untouched);
    let seen = after([with(deleted(running())), with(deleted(ended(0)))]);
    assert!(seen.remembered.deleted_while_running && !seen.remembered.ended_untouched);
}

#[test]
fn waiting_for_an_end_counts_from_the_first_look() {
    let over = AttemptFacts { phase: AttemptPhase::Failed, ..running() };
    assert_eq!(after([with(over.clone()), with(over.clone())]).remembered.unended_since, Some(at(100)));
    assert_eq!(after([with(over), with(ended(0))]).remembered.unended_since, None);
    let deleted = AttemptFacts { deleted_at: Some(at(3)), ..attempt() };
    assert_eq!(after([with(attempt()), with(deleted)]).remembered.unended_since, Some(at(101)));
}

#[test]
fn a_second_pod_does_not_make_the_first_undone() {
    let second = AttemptFacts { uid: Some("second".to_owned()), ..attempt() };
    let seen = after([with(running()), with(second.clone())]);
    assert_eq!((seen.phase, seen.uid.as_deref(), seen.main.started()), (AttemptPhase::Gone, Some("pod-uid"), true));
    let gone = AttemptFacts { phase: AttemptPhase::Gone, ..attempt() };
    let absent = AttemptFacts { phase: AttemptPhase::Absent, uid: None, ..attempt() };
    assert_eq!(after([with(gone), with(absent.clone())]).phase, AttemptPhase::Absent, "its Job makes another");
    assert_eq!(after([with(running()), with(absent)]).phase, AttemptPhase::Gone);
    assert_eq!(after([with(attempt()), with(second)]).uid.as_deref(), Some("second"), "nothing ran in the first");
}

#[test]
fn suspension_of_what_runs_is_a_disruption() {
    let deleted = |attempt: AttemptFacts| AttemptFacts { deleted_at: Some(at(15)), ..attempt };
    let suspended = |attempt: AttemptFacts| RunFacts { suspended: true, ..with(attempt) };
    let word = |looks: Vec<RunFacts>| after(looks).disruption.map(|disruption| disruption.reason);
    // It stays, even if the Job is resumed before the Pod is gone.
    assert_eq!(word(vec![suspended(deleted(running())), with(deleted(ended(143)))]).as_deref(), Some(SUSPENDED));
    assert_eq!(word(vec![suspended(deleted(attempt()))]), None, "nothing ran");
    assert_eq!(word(vec![with(ended(0)), suspended(deleted(ended(0)))]), None, "it had ended");
}
