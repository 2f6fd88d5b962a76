//! Jobs of further attempts.

use super::*;
use crate::api::names::label;
use crate::run::index::Leftover;
use crate::testing::{further_of, further_uid, settled};
use longshore_domain::run::facts::{JobEndCause, RunFacts};

fn anchor() -> Job {
    settled(hello(), 1)
}

fn second() -> Job {
    further_of(&anchor(), 2)
}

fn second_pod() -> Pod {
    let mut pod = running_pod(&second());
    pod.metadata.uid = Some("second-pod".to_owned());
    pod
}

fn first_pod() -> Pod {
    on_node(pod(&anchor(), "Failed", run(terminated(3, "Error"))))
}

impl Driver {
    /// The one run that is reported.
    fn facts(&mut self) -> RunFacts {
        let events = self.events();
        let [FactsEvent::Upsert(facts)] = events.as_slice() else { panic!("{events:?}") };
        facts.as_ref().clone()
    }
}

fn retried() -> Driver {
    Driver::synced(vec![anchor(), second()], vec![first_pod(), second_pod()])
}

#[test]
fn attempts_of_a_run_are_reported_together_with_their_pods() {
    let mut driver = Driver::new();
    driver.list(vec![anchor(), other(), second()], vec![second_pod(), first_pod()]);
    driver.open_all();
    let mut reported = driver.reported();
    reported.sort();
    assert_eq!(reported, ["hello Running running", "other Absent waiting", "synced"]);
    let mut ended = second_pod();
    ended.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
    driver.event("e", event("Pod", "second-pod", "Killing", "", 2));
    driver.pod(KindEvent::Applied(ended));
    let facts = driver.facts();
    let attempts: Vec<_> = facts.attempts.iter().map(|attempt| (attempt.number, attempt.phase)).collect();
    assert_eq!(attempts, [(1, AttemptPhase::Failed), (2, AttemptPhase::Succeeded)]);
    assert_eq!(facts.attempts[0].evidence.len() + 1, facts.attempts[1].evidence.len(), "each has its own Events");
}

/// Watches know no order, and a list may lack an anchor that lost its labels.
#[test]
fn a_job_that_comes_before_its_anchor_is_joined_to_it() {
    let mut driver = Driver::synced(vec![], vec![]);
    driver.pod(KindEvent::Applied(second_pod()));
    driver.job(KindEvent::Applied(further_of(&anchor(), 3)));
    driver.job(KindEvent::Applied(second()));
    assert_eq!(driver.reported(), Vec::<String>::new());
    driver.job(KindEvent::Deleted(further_of(&anchor(), 3)));
    driver.job(KindEvent::Applied(anchor()));
    let facts = driver.facts();
    assert_eq!(facts.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(facts.present().unwrap().phase, AttemptPhase::Running);
    // Whether they have an anchor is asked at once: after the list nothing else would show that they have none.
    let questions = driver.index.take_questions();
    assert!(questions.iter().all(|question| matches!(question, IndexQuestion::Leftover { .. })), "{questions:?}");
    assert_eq!(questions.len(), 2);
}

#[test]
fn a_job_of_an_earlier_run_of_the_name_is_not_this_runs() {
    let mut driver = retried();
    let mut successor = hello();
    successor.metadata.uid = Some("successor".to_owned());
    successor.metadata.creation_timestamp = Some(Time(at(100)));
    driver.job(KindEvent::Applied(successor.clone()));
    assert_eq!(driver.facts().attempts.len(), 1);
    // Nobody but us holds what is left of it.
    let leftover = Leftover { anchor: Arc::from("run-hello"), job: "run2-hello".to_owned(), uid: further_uid(2) };
    let question = IndexQuestion::Leftover { namespace: Arc::clone(&driver.target), leftover };
    assert_eq!(driver.index.take_questions(), std::slice::from_ref(&question));
    driver.job(KindEvent::Applied(second()));
    let mut orphan = second();
    orphan.metadata.owner_references = None;
    driver.job(KindEvent::Applied(orphan));
    assert_eq!(driver.reported(), Vec::<String>::new());
    // After a restart too.
    let mut driver = Driver::new();
    driver.job(KindEvent::Begin);
    driver.job(KindEvent::Item(successor));
    driver.job(KindEvent::Item(second()));
    driver.job(KindEvent::End);
    assert!(driver.index.take_questions().contains(&question));
    // What we don't hold goes by itself.
    let mut driver = Driver::new();
    let mut released = second();
    released.metadata.finalizers = None;
    driver.list(vec![released], vec![]);
}

#[test]
fn a_job_that_lost_its_owner_stays_with_its_run() {
    let mut orphan = second();
    orphan.metadata.owner_references = None;
    let mut driver = Driver::synced(vec![anchor(), orphan], vec![]);
    let mut changed = anchor();
    changed.spec.as_mut().unwrap().parallelism = Some(0);
    driver.job(KindEvent::Applied(changed));
    assert_eq!(driver.facts().attempts.len(), 2);
}

#[test]
fn a_further_job_that_went_has_ended() {
    let gone = |driver: &mut Driver| {
        let facts = driver.facts();
        let attempt = facts.present().unwrap().clone();
        let end = attempt.job_end.unwrap();
        assert_eq!((end.final_, end.complete, end.cause), (true, false, JobEndCause::Other));
        assert_eq!((end.reason.as_str(), attempt.number), ("JobGone", 2));
        attempt.job_deleted_at.unwrap()
    };
    // Somebody deleted it.
    let mut driver = retried();
    let mut deleted = second();
    deleted.metadata.deletion_timestamp = Some(Time(at(50)));
    driver.job(KindEvent::Applied(deleted.clone()));
    assert_eq!(driver.facts().present().unwrap().job_deleted_at, Some(at(50)));
    driver.job(KindEvent::Deleted(deleted));
    assert_eq!(gone(&mut driver), at(50));
    driver.pod(KindEvent::Deleted(second_pod()));
    assert_eq!(driver.facts().present().unwrap().phase, AttemptPhase::Gone);
    // Nobody saw it go.
    let mut driver = retried();
    driver.list(vec![anchor()], vec![first_pod(), second_pod()]);
    gone(&mut driver);
    driver.list(vec![anchor()], vec![first_pod(), second_pod()]);
    assert_eq!(driver.reported(), Vec::<String>::new(), "it is reported once");
}

#[test]
fn a_further_job_that_leaves_the_watch_is_asked_about() {
    let mut driver = retried();
    driver.job(KindEvent::Deleted(second()));
    assert_eq!(driver.reported(), Vec::<String>::new(), "it may only have lost its labels");
    let questions = driver.index.take_questions();
    let [IndexQuestion::Left(left)] = questions.as_slice() else { panic!("{questions:?}") };
    assert_eq!((&*left.job, left.uid.as_str()), ("run2-hello", further_uid(2).as_str()));
    assert_eq!(left.labels.get(label::ATTEMPT).map(String::as_str), Some("2"));
    assert_eq!(left.secrets, Vec::<String>::new(), "those are the anchor's");
    let answer = |there| {
        let namespace = Arc::clone(&left.namespace);
        Signal::Answer(IndexAnswer::Left { namespace, uid: left.uid.clone(), there })
    };
    driver.index.apply(answer(true));
    driver.job(KindEvent::Applied(second()));
    assert_eq!(driver.reported(), Vec::<String>::new(), "nothing has changed");
    driver.job(KindEvent::Deleted(second()));
    driver.index.apply(answer(false));
    assert!(driver.facts().present().unwrap().job_end.is_some());
}

#[test]
fn a_run_goes_with_its_anchor_and_what_is_held_of_it_is_asked_about() {
    let mut driver = retried();
    driver.delete(anchor());
    assert_eq!(driver.reported(), ["hello gone"]);
    let questions = driver.index.take_questions();
    assert!(matches!(questions.as_slice(), [IndexQuestion::Leftover { .. }]), "{questions:?}");
    driver.job(KindEvent::Applied(second()));
    driver.pod(KindEvent::Applied(second_pod()));
    driver.job(KindEvent::Deleted(second()));
    assert_eq!(driver.reported(), Vec::<String>::new());
    assert!(!driver.memory.pod_was_seen(&further_uid(2)));
}

#[test]
fn what_goes_without_its_dependents_leaves_further_jobs_that_nobody_holds() {
    let released = |has_clock: bool| {
        let mut job = second();
        job.metadata.finalizers = None;
        job.spec.as_mut().unwrap().ttl_seconds_after_finished = has_clock.then_some(60);
        job
    };
    let left_by = |finalizer: Option<&str>, has_clock: bool| {
        let mut first = anchor();
        first.metadata.finalizers = finalizer.map(|finalizer| vec![finalizer.to_owned()]);
        let mut driver = Driver::synced(vec![first.clone(), released(has_clock)], vec![]);
        first.metadata.deletion_timestamp = Some(Time(at(90)));
        driver.job(KindEvent::Applied(first.clone()));
        driver.job(KindEvent::Deleted(first));
        for question in driver.index.take_questions() {
            if let IndexQuestion::Left(left) = question {
                let answer = IndexAnswer::Left { namespace: left.namespace, uid: left.uid, there: false };
                driver.index.apply(Signal::Answer(answer));
            }
        }
        driver.index.take_questions().len()
    };
    assert_eq!(left_by(Some("orphan"), false), 1);
    assert_eq!(left_by(Some("orphan"), true), 0, "it goes by its own clock");
    assert_eq!(left_by(None, false), 0, "it goes with its owner");
    // The same where nobody watched.
    let listed = |owned: bool| {
        let mut driver = Driver::new();
        let mut job = released(false);
        job.metadata.owner_references = job.metadata.owner_references.filter(|_| owned);
        driver.job(KindEvent::Begin);
        driver.job(KindEvent::Item(job));
        driver.job(KindEvent::End);
        let questions = driver.index.take_questions();
        questions.iter().any(|question| matches!(question, IndexQuestion::Leftover { .. }))
    };
    assert!(listed(false) && !listed(true));
}

#[test]
fn a_further_job_that_ended_without_a_known_pod_is_asked_about_first() {
    let mut driver = Driver::synced(vec![anchor(), second()], vec![first_pod()]);
    driver.job(KindEvent::Applied(with_conditions(second(), &[("Failed", "BackoffLimitExceeded", 60)])));
    assert_eq!(driver.reported(), Vec::<String>::new());
    let (namespace, uid) = (Arc::clone(&driver.target), further_uid(2));
    assert_eq!(
        driver.index.take_questions(),
        [IndexQuestion::Pods { namespace: Arc::clone(&namespace), uid: uid.clone() }]
    );
    driver.index.apply(Signal::Answer(IndexAnswer::Pods { namespace, uid, pods: vec![second_pod()] }));
    assert_eq!(driver.facts().present().unwrap().phase, AttemptPhase::Running);
}

#[test]
fn events_of_all_attempts_are_forgotten_with_the_record() {
    let mut driver = retried();
    driver.event("e", event("Pod", "second-pod", "Killing", "", 2));
    assert_eq!(driver.memory.of(&further_uid(2)).events.len(), 1);
    let mut recorded = anchor();
    recorded.metadata.annotations.as_mut().unwrap().insert(annotation::RECORD.to_owned(), "{}".to_owned());
    driver.job(KindEvent::Applied(recorded));
    driver.event("late", event("Pod", "second-pod", "Late", "", 3));
    assert_eq!(driver.memory.of(&further_uid(2)).events, []);
}
