use std::sync::Arc;

use super::*;
use crate::reconcile::{Held, ReconcileMetrics, Table, TableChange, order_key};
use longshore_domain::run::derive;
use longshore_domain::run::facts::{AttemptPhase, MainFacts, PlatformCause, RunFacts};
use longshore_domain::run::{Evidence, RunState, StopCause};
use longshore_domain::testing::{at, facts, intervened, stop, terminated};

fn table() -> Table<RunKind> {
    Table::new(ReconcileMetrics::default())
}

fn named(id: &str) -> RunName {
    RunName::parse(&format!("namespaces/default/runs/{id}")).unwrap()
}

fn live(id: &str) -> RunFacts {
    RunFacts { name: named(id), ..facts() }
}

/// A run to which nothing more happens, with something in each field that may have something then.
pub(super) fn settled(id: &str, exit_code: i32) -> RunFacts {
    let mut facts = RunFacts { stop: Some(stop(StopCause::Cancel, 20)), ..live(id) };
    let attempt = facts.attempts.last_mut().unwrap();
    let mut end = terminated(exit_code);
    end.message = vec![0, 159, 146, 150];
    attempt.main = MainFacts::Terminated(end);
    attempt.phase = if exit_code == 0 { AttemptPhase::Succeeded } else { AttemptPhase::Failed };
    attempt.disruption = intervened(PlatformCause::Preempted, "Word", "more important");
    attempt.deadline = Some(std::time::Duration::from_millis(1500));
    attempt.evidence =
        vec![Evidence { report_time: Some(at(3)), reason: "Pulled".to_owned(), message: "m".to_owned(), count: 2 }];
    attempt.remembered.unended_since = Some("2025-01-01T00:00:00.123456789Z".parse().unwrap());
    let (outcome, result) = longshore_domain::testing::settled(&facts, at(30)).unwrap();
    let record = derive::record(&facts, &outcome, result, at(31));
    RunFacts { record: Some(record), released: true, expire_time: Some(at(100)), ..facts }
}

fn observed(facts: RunFacts) -> Arc<ObservedRun> {
    Arc::new(ObservedRun::new(facts, at(40)))
}

fn is_packed(table: &Table<RunKind>, id: &str) -> bool {
    table.is_packed(&named(id))
}

#[test]
fn what_is_settled_is_packed_and_comes_back_as_it_was() {
    let table = table();
    for exit_code in [0, 3] {
        let before = observed(settled("a", exit_code));
        table.upsert(Arc::clone(&before));
        assert!(is_packed(&table, "a"));
        let after = table.get(&named("a")).unwrap();
        assert_eq!((&after.facts, &after.view, after.seen()), (&before.facts, &before.view, before.seen()));
    }
    assert_eq!((table.finished(), table.live_of("")), (1, 0));
}

#[test]
fn what_may_change_or_can_not_be_packed_stays_open() {
    let unknown = longshore_domain::run::facts::Unexamined { why: "EIO".to_owned(), nothing_lives: true };
    for facts in [
        live("a"),
        RunFacts { released: false, ..settled("a", 0) },
        RunFacts { deleted_at: Some(at(50)), ..settled("a", 0) },
        RunFacts { unknown: Some(unknown), ..settled("a", 0) },
        RunFacts { trouble: Some("t".to_owned()), ..settled("a", 0) },
    ] {
        let table = table();
        table.upsert(observed(settled("a", 0)));
        table.upsert(observed(facts.clone()));
        assert!(!is_packed(&table, "a"), "{facts:?}");
        assert_eq!(table.get(&named("a")).unwrap().facts, facts);
    }
}

#[test]
fn a_packed_run_is_open_for_as_long_as_somebody_follows_it() {
    let table = table();
    table.upsert(observed(settled("a", 0)));
    let follow = table.follow(&named("a")).unwrap();
    assert_eq!(follow.borrow().facts, settled("a", 0));
    table.pack();
    assert!(!is_packed(&table, "a") && table.has_to_pack());
    let other = table.follow(&named("a")).unwrap();
    drop(follow);
    // What changes meanwhile is reported.
    table.upsert(observed(RunFacts { expire_time: Some(at(200)), ..settled("a", 0) }));
    assert!(other.has_changed().unwrap());
    table.pack();
    assert!(!is_packed(&table, "a"));
    drop(other);
    table.pack();
    assert!(is_packed(&table, "a") && !table.has_to_pack());
    assert_eq!(table.get(&named("a")).unwrap().facts.expire_time, Some(at(200)));
}

#[test]
fn who_follows_a_run_to_its_end_does_not_keep_it_open() {
    let table = table();
    table.upsert(observed(live("a")));
    let follow = table.follow(&named("a")).unwrap();
    table.upsert(observed(settled("a", 0)));
    assert!(follow.borrow().view.state.is_terminal() && table.has_to_pack());
    drop(follow);
    table.pack();
    assert!(is_packed(&table, "a"));
}

#[test]
fn a_follower_sees_that_a_packed_run_is_gone() {
    let table = table();
    table.upsert(observed(settled("a", 0)));
    let follow = table.follow(&named("a")).unwrap();
    let (_, mut changes) = table.subscribe(|_| true);
    table.remove(&named("a"));
    assert!(follow.has_changed().is_err());
    assert!(matches!(changes.try_recv(), Ok(TableChange::Deleted(run)) if run.name == named("a")));
    table.upsert(observed(settled("b", 0)));
    table.remove(&named("b"));
    assert!(table.get(&named("b")).is_none() && !table.has_to_pack());
}

#[test]
fn pages_choose_among_open_and_packed_runs() {
    let table = table();
    for id in ["a", "b", "c", "d"] {
        table.upsert(observed(if id == "b" { live(id) } else { settled(id, 3) }));
    }
    let names =
        |page: Vec<Held<RunKind>>| page.iter().map(|held| held.traits().name.run.to_string()).collect::<Vec<_>>();
    let (page, more) = table.page(None, 2, |_| true);
    assert_eq!((names(page), more), (vec!["a".to_owned(), "b".to_owned()], true));
    let b = table.get(&named("b")).unwrap();
    let (page, more) = table.page(Some(&order_key::<RunKind>(RunKind::place(&b.view))), 2, |_| true);
    assert_eq!((names(page), more), (vec!["c".to_owned(), "d".to_owned()], false));
    let (page, more) = table.page(None, 9, |run| run.state == RunState::Cancelled);
    assert_eq!((names(page), more), (vec!["a".to_owned(), "c".to_owned(), "d".to_owned()], false));
    let traits = |held: &Held<RunKind>| {
        let RunTraits { state, create_time, labels, profile, failure_class, .. } = held.traits();
        (state, create_time, labels.clone(), profile.map(str::to_owned), failure_class)
    };
    for held in table.page(None, 9, |_| true).0 {
        let packed = traits(&held);
        let known = held.observed().unwrap();
        let open = Held::Open(Arc::new(ObservedRun::new(known.facts.clone(), at(40))));
        assert_eq!(packed, traits(&open), "{}", known.view.name);
    }
}
