mod attempts;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::memory::Memory;
use super::{Index, IndexAnswer, IndexQuestion, Signal, WatchedKind};
use crate::api::list_watch::KindEvent;
use crate::api::names::annotation;
use crate::testing::{
    JOB_UID, POD_UID, at, effective, event, job_of, launch, launch_of, on_node, pod, run, running, terminated, waiting,
    with_conditions,
};
use longshore_backend::NamespaceMap;
use longshore_domain::name::NamespaceName;
use longshore_domain::run::facts::{AttemptPhase, FactsEvent, MainFacts};
use longshore_domain::run::spec::Input;

/// An index of one namespace, driven as the watches drive it.
struct Driver {
    index: Index,
    memory: Arc<Memory>,
    target: Arc<str>,
}

impl Driver {
    fn new() -> Self {
        let memory = Arc::new(Memory::default());
        let namespaces = NamespaceMap::new([(NamespaceName::default_namespace(), "longshore-runs".to_owned())]);
        let index = Index::new(&namespaces, Arc::clone(&memory), Duration::from_secs(600));
        Self { index, memory, target: Arc::from("longshore-runs") }
    }

    /// One that was reported this, and is synced.
    fn synced(jobs: Vec<Job>, pods: Vec<Pod>) -> Self {
        let mut driver = Self::new();
        driver.list(jobs, pods);
        driver.open_all();
        assert_eq!(driver.reported().last(), Some(&"synced".to_owned()));
        driver
    }

    fn job(&mut self, event: KindEvent<Job>) {
        self.index.apply(Signal::Job(Arc::clone(&self.target), Box::new(event)));
    }

    fn pod(&mut self, event: KindEvent<Pod>) {
        self.index.apply(Signal::Pod(Arc::clone(&self.target), Box::new(event)));
    }

    /// Deletes a Job as everybody can see it: it is announced, then done.
    fn delete(&mut self, mut job: Job) {
        job.metadata.deletion_timestamp = Some(Time(at(50)));
        self.job(KindEvent::Applied(job.clone()));
        self.reported();
        self.job(KindEvent::Deleted(job));
    }

    fn event(&mut self, name: &str, mut event: Event) {
        event.metadata.name = Some(name.to_owned());
        self.index.apply(Signal::Event(Arc::clone(&self.target), Box::new(KindEvent::Applied(event))));
    }

    fn list(&mut self, jobs: Vec<Job>, pods: Vec<Pod>) {
        self.job(KindEvent::Begin);
        jobs.into_iter().for_each(|job| self.job(KindEvent::Item(job)));
        self.job(KindEvent::End);
        self.pod(KindEvent::Begin);
        pods.into_iter().for_each(|pod| self.pod(KindEvent::Item(pod)));
        self.pod(KindEvent::End);
        // Each list leaves out what has lost its labels.
        assert_eq!(self.index.take_questions(), [IndexQuestion::Stripped { namespace: Arc::clone(&self.target) }]);
    }

    fn open_all(&mut self) {
        self.index.take_unwatched();
        self.job(KindEvent::Open);
        self.index.take_unwatched();
        self.pod(KindEvent::Open);
        self.index.take_unwatched();
        self.index.apply(Signal::Event(Arc::clone(&self.target), Box::new(KindEvent::Open)));
    }

    fn events(&mut self) -> Vec<FactsEvent> {
        std::iter::from_fn(|| self.index.next()).collect()
    }

    /// What there is to report, in short.
    fn reported(&mut self) -> Vec<String> {
        let short = |event: FactsEvent| match event {
            FactsEvent::Upsert(facts) => {
                let attempt = facts.last_attempt().unwrap();
                let main = match &attempt.main {
                    MainFacts::Waiting(_) => "waiting",
                    MainFacts::Running { .. } => "running",
                    MainFacts::Terminated(_) => "terminated",
                };
                format!("{} {:?} {main}", facts.name.run, attempt.phase)
            }
            FactsEvent::Gone(name) => format!("{} gone", name.run),
            FactsEvent::Synced => "synced".to_owned(),
            FactsEvent::Broken(why) => format!("broken: {why}"),
        };
        self.events().into_iter().map(short).collect()
    }
}

fn hello() -> Job {
    job_of(&launch())
}

fn other() -> Job {
    let mut job = job_of(&launch_of("other", effective()));
    job.metadata.uid = Some("other-uid".to_owned());
    job
}

fn pending(job: &Job) -> Pod {
    pod(job, "Pending", Vec::new())
}

fn running_pod(job: &Job) -> Pod {
    on_node(pod(job, "Running", run(running())))
}

#[test]
fn nothing_is_reported_before_everything_is_known() {
    let mut driver = Driver::new();
    assert_eq!(driver.index.take_unwatched(), [(Arc::from("longshore-runs"), WatchedKind::Jobs)]);
    driver.job(KindEvent::Begin);
    driver.job(KindEvent::Item(hello()));
    driver.job(KindEvent::End);
    driver.job(KindEvent::Open);
    assert_eq!(driver.index.take_unwatched(), [(Arc::from("longshore-runs"), WatchedKind::Pods)]);
    driver.pod(KindEvent::Begin);
    driver.pod(KindEvent::Item(running_pod(&hello())));
    driver.pod(KindEvent::End);
    driver.pod(KindEvent::Open);
    assert_eq!(driver.index.take_unwatched(), [(Arc::from("longshore-runs"), WatchedKind::Events)]);
    assert_eq!(driver.reported(), Vec::<String>::new());
    driver.index.apply(Signal::Event(Arc::clone(&driver.target), Box::new(KindEvent::Open)));
    assert_eq!(driver.reported(), ["hello Running running", "synced"]);
    assert_eq!(driver.index.take_unwatched(), []);
}

#[test]
fn without_namespaces_there_is_nothing_to_wait_for() {
    let mut index = Index::new(&NamespaceMap::default(), Arc::default(), Duration::from_secs(600));
    assert_eq!(index.next(), Some(FactsEvent::Synced));
    assert_eq!(index.next(), None);
}

#[test]
fn only_changes_of_facts_are_reported() {
    let job = hello();
    let mut driver = Driver::synced(vec![job.clone()], vec![]);
    let mut touched = job.clone();
    touched.metadata.resource_version = Some("17".to_owned());
    touched.metadata.managed_fields = Some(Vec::new());
    driver.job(KindEvent::Applied(touched));
    assert_eq!(driver.reported(), Vec::<String>::new());
    driver.pod(KindEvent::Applied(pending(&job)));
    driver.pod(KindEvent::Applied(running_pod(&job)));
    assert_eq!(driver.reported(), ["hello Running running"], "changes in quick succession are one");
    let mut moved = running_pod(&job);
    moved.status.as_mut().unwrap().pod_ip = Some("10.0.0.7".to_owned());
    driver.pod(KindEvent::Applied(moved));
    assert_eq!(driver.reported(), Vec::<String>::new());
}

#[test]
fn a_pod_that_comes_before_its_job_is_joined_to_it() {
    let mut driver = Driver::synced(vec![], vec![]);
    driver.event("e1", event("Pod", POD_UID, "Pulling", "Pulling image", 2));
    driver.pod(KindEvent::Applied(running_pod(&hello())));
    assert_eq!(driver.reported(), Vec::<String>::new());
    driver.job(KindEvent::Applied(hello()));
    let events = driver.events();
    let [FactsEvent::Upsert(facts)] = events.as_slice() else { panic!("{events:?}") };
    let attempt = facts.last_attempt().unwrap();
    assert_eq!(attempt.phase, AttemptPhase::Running);
    assert_eq!(attempt.evidence.len(), 1, "{:?}", attempt.evidence);
}

#[test]
fn a_pod_that_went_was_there() {
    let job = hello();
    let mut driver = Driver::synced(vec![job.clone()], vec![running_pod(&job)]);
    // What is reported last of a Pod may be the first that is reported of its end.
    let mut last = on_node(pod(&job, "Running", run(terminated(143, "Error"))));
    last.metadata.deletion_timestamp = Some(Time(at(9)));
    driver.pod(KindEvent::Deleted(last));
    let events = driver.events();
    let [FactsEvent::Upsert(facts)] = events.as_slice() else { panic!("{events:?}") };
    let attempt = facts.last_attempt().unwrap();
    assert_eq!((attempt.phase, attempt.job_end.as_ref()), (AttemptPhase::Gone, None));
    assert_eq!(attempt.main.terminated().map(|end| end.exit_code), Some(143));
    assert_eq!((attempt.uid.as_deref(), attempt.deleted_at), (Some(POD_UID), Some(at(9))));
    // Kept for as long as the Job.
    driver.delete(job);
    assert_eq!((driver.reported(), driver.memory.last_pod(JOB_UID)), (vec!["hello gone".to_owned()], None));
}

#[test]
fn nobody_can_say_of_a_pod_that_went_unseen_that_it_was_deleted() {
    let job = hello();
    let mut driver = Driver::synced(vec![job.clone()], vec![running_pod(&job)]);
    driver.list(vec![job.clone()], vec![]);
    let events = driver.events();
    let [FactsEvent::Upsert(facts)] = events.as_slice() else { panic!("{events:?}") };
    let attempt = facts.last_attempt().unwrap();
    assert_eq!((attempt.phase, attempt.uid.as_deref()), (AttemptPhase::Gone, Some(POD_UID)));
    assert!(attempt.deleted_at.is_none() && attempt.main.started());
    driver.list(vec![job], vec![]);
    assert_eq!(driver.reported(), Vec::<String>::new(), "it is reported once");
}

#[test]
fn an_answer_older_than_a_pods_end_brings_it_not_back() {
    let job = hello();
    let ended = with_conditions(job.clone(), &[("Failed", "BackoffLimitExceeded", 9)]);
    let mut driver = Driver::synced(vec![job.clone()], vec![]);
    driver.job(KindEvent::Applied(ended));
    driver.reported();
    assert_eq!(driver.index.take_questions().len(), 1);
    driver.pod(KindEvent::Applied(running_pod(&job)));
    driver.pod(KindEvent::Deleted(running_pod(&job)));
    assert_eq!(driver.reported(), ["hello Gone running"]);
    let (namespace, pods) = (Arc::clone(&driver.target), vec![running_pod(&job)]);
    driver.index.apply(Signal::Answer(IndexAnswer::Pods { namespace, uid: JOB_UID.to_owned(), pods }));
    assert_eq!(driver.reported(), Vec::<String>::new());
}

#[test]
fn a_later_pod_takes_the_place_of_an_earlier_and_never_the_other_way_round() {
    let job = hello();
    let early = running_pod(&job);
    let mut late = pending(&job);
    late.metadata.uid = Some("late".to_owned());
    late.metadata.creation_timestamp = Some(Time(at(100)));
    let mut driver = Driver::synced(vec![job], vec![early.clone()]);
    driver.pod(KindEvent::Applied(late));
    assert_eq!(driver.reported(), ["hello Pending waiting"]);
    driver.pod(KindEvent::Applied(early.clone()));
    driver.pod(KindEvent::Deleted(early));
    assert_eq!(driver.reported(), Vec::<String>::new());
}

#[test]
fn what_a_list_does_not_have_is_gone() {
    let mut driver = Driver::synced(vec![hello(), other()], vec![running_pod(&hello())]);
    driver.list(vec![hello()], vec![]);
    assert_eq!(driver.reported(), ["other gone", "hello Gone running"]);
}

#[test]
fn a_run_of_the_same_name_is_another_run() {
    let job = hello();
    let mut driver = Driver::synced(vec![job.clone()], vec![running_pod(&job)]);
    let mut successor = hello();
    successor.metadata.uid = Some("second".to_owned());
    driver.job(KindEvent::Applied(successor));
    driver.job(KindEvent::Deleted(job.clone()));
    driver.pod(KindEvent::Applied(running_pod(&job)));
    assert_eq!(driver.reported(), ["hello Absent waiting"], "neither the old Pod nor the old Job's end counts");
    assert!(!driver.memory.pod_was_seen(JOB_UID));
}

#[test]
fn jobs_that_are_no_runs_are_left_alone() {
    let mut unreadable = other();
    unreadable.metadata.labels.as_mut().unwrap().insert("longshore.dev/run".to_owned(), "of-another-name".to_owned());
    let mut driver = Driver::synced(vec![], vec![]);
    driver.job(KindEvent::Applied(Job::default()));
    driver.job(KindEvent::Applied(unreadable.clone()));
    driver.job(KindEvent::Deleted(unreadable));
    assert_eq!(driver.reported(), Vec::<String>::new());
}

#[test]
fn trouble_is_reported_once_and_healed_with_everything_reported_again() {
    let job = hello();
    let mut driver = Driver::synced(vec![job.clone(), other()], vec![]);
    driver.pod(KindEvent::Trouble("no route".to_owned()));
    driver.job(KindEvent::Trouble("no route either".to_owned()));
    driver.job(KindEvent::Trouble("still none".to_owned()));
    assert_eq!(driver.reported(), ["broken: no route"]);
    driver.list(vec![job.clone()], vec![running_pod(&job)]);
    driver.job(KindEvent::Open);
    assert_eq!(driver.reported(), ["other gone"], "half of what is there is not reported");
    driver.pod(KindEvent::Open);
    assert_eq!(driver.reported(), ["hello Running running", "synced"]);
    driver.job(KindEvent::Open);
    assert_eq!(driver.reported(), Vec::<String>::new());
}

#[test]
fn events_that_may_not_be_read_hold_nothing_up() {
    let mut driver = Driver::new();
    driver.list(vec![hello()], vec![]);
    driver.job(KindEvent::Open);
    driver.pod(KindEvent::Open);
    assert_eq!(driver.reported(), Vec::<String>::new());
    driver.index.apply(Signal::Event(Arc::clone(&driver.target), Box::new(KindEvent::Trouble("forbidden".to_owned()))));
    assert_eq!(driver.reported(), ["hello Absent waiting", "synced"]);
}

#[test]
fn events_are_kept_until_there_is_a_record() {
    let mut driver = Driver::synced(vec![hello()], vec![]);
    driver.event("e", event("Job", JOB_UID, "FailedCreate", "exceeded quota", 2));
    driver.event("x", event("Job", "stranger", "FailedCreate", "not ours", 2));
    let events = driver.events();
    let [FactsEvent::Upsert(facts)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(facts.last_attempt().unwrap().waiting.as_ref().unwrap().message, "exceeded quota");
    let mut recorded = hello();
    recorded.metadata.annotations.as_mut().unwrap().insert(annotation::RECORD.to_owned(), "{}".to_owned());
    driver.job(KindEvent::Applied(recorded));
    driver.event("late", event("Job", JOB_UID, "Late", "", 3));
    assert_eq!(driver.memory.of(JOB_UID).events, []);
}

/// What its Events say of a Pod that came and went while nobody looked.
#[test]
fn a_pod_that_nobody_saw_has_a_name_and_may_have_started() {
    let normal = |event: Event| Event { type_: Some("Normal".to_owned()), ..event };
    let created = || normal(event("Job", JOB_UID, "SuccessfulCreate", "Created pod: run-hello-x7k2p", 1));
    let of_pod = |name: &str, reason: &str| {
        let mut event = normal(event("Pod", "unseen-uid", reason, "", 2));
        event.involved_object.name = Some(name.to_owned());
        event.involved_object.field_path = Some("spec.containers{run}".to_owned());
        event
    };
    let reported_after = |failed: i32, events: Vec<Event>| {
        let mut job = with_conditions(hello(), &[("Failed", "DeadlineExceeded", 9)]);
        job.status.as_mut().unwrap().failed = Some(failed);
        let mut driver = Driver::new();
        driver.list(vec![job], vec![]);
        for (i, event) in events.into_iter().enumerate() {
            driver.event(&format!("e{i}"), event);
        }
        driver.open_all();
        let reported = driver.events();
        let [FactsEvent::Upsert(facts), FactsEvent::Synced] = reported.as_slice() else { panic!("{reported:?}") };
        let attempt = facts.last_attempt().unwrap();
        assert_eq!((attempt.phase, attempt.uid.as_ref()), (AttemptPhase::Gone, None));
        (attempt.unseen, attempt.pod.clone(), attempt.main.started())
    };
    let (name, started) = ("run-hello-x7k2p", "Started");
    let named = |started| (true, Some(name.to_owned()), started);
    assert_eq!(reported_after(0, vec![]), (false, None, false), "there was none");
    // Events come late, and go.
    assert_eq!(reported_after(1, vec![]), (true, None, false));
    assert_eq!(reported_after(1, vec![created()]), named(false));
    assert_eq!(reported_after(1, vec![created(), of_pod(name, "Pulled")]), named(false));
    assert_eq!(reported_after(1, vec![created(), of_pod(name, started)]), named(true));
    assert_eq!(reported_after(1, vec![of_pod(name, started), created()]), named(true), "in any order");
    // A Job of this name that there was before had a Pod too.
    assert_eq!(reported_after(1, vec![created(), of_pod("run-hello-qqqqq", started)]), named(false));
    // Where a Pod is seen, the Event says nothing new.
    let mut driver = Driver::synced(vec![hello()], vec![running_pod(&hello())]);
    driver.event("e", created());
    assert_eq!((driver.reported(), driver.memory.of(JOB_UID).unseen_pod), (vec![], None));
    // And before it is seen there is none yet.
    let mut driver = Driver::synced(vec![hello()], vec![]);
    driver.event("e", created());
    assert_eq!(driver.reported(), Vec::<String>::new());
    driver.pod(KindEvent::Applied(running_pod(&hello())));
    assert_eq!(
        (driver.reported(), driver.memory.of(JOB_UID).unseen_pod),
        (vec!["hello Running running".to_owned()], None)
    );
}

#[test]
fn a_job_that_ended_without_a_known_pod_is_asked_about_first() {
    let job = hello();
    let ended = with_conditions(job.clone(), &[("Failed", "BackoffLimitExceeded", 9)]);
    let mut driver = Driver::synced(vec![job.clone()], vec![]);
    driver.job(KindEvent::Applied(ended.clone()));
    assert_eq!(driver.reported(), Vec::<String>::new(), "the Pod may be there without our knowing");
    let namespace = Arc::clone(&driver.target);
    let question = IndexQuestion::Pods { namespace: Arc::clone(&namespace), uid: JOB_UID.to_owned() };
    assert_eq!(driver.index.take_questions(), [question]);
    let pods = vec![on_node(pod(&job, "Failed", run(terminated(3, "Error"))))];
    driver.index.apply(Signal::Answer(IndexAnswer::Pods { namespace, uid: JOB_UID.to_owned(), pods }));
    assert_eq!(driver.reported(), ["hello Failed terminated"]);
    // At the start the Pods were listed after the Jobs: what they don't have is not there.
    let mut driver = Driver::new();
    driver.list(vec![ended], vec![]);
    driver.open_all();
    assert_eq!(driver.reported(), ["hello Gone waiting", "synced"]);
}

#[test]
fn a_kubelet_that_misses_something_has_the_input_looked_for_once() {
    let mut launch = launch();
    launch.input = Some(Input::Raw(b"x".to_vec()));
    let job = job_of(&launch);
    let stuck = |message: &str| pod(&job, "Pending", run(waiting("CreateContainerConfigError", message)));
    let mut driver = Driver::synced(vec![job.clone()], vec![]);
    driver.pod(KindEvent::Applied(stuck("no Secret")));
    driver.pod(KindEvent::Applied(stuck("still none")));
    driver.reported();
    driver.pod(KindEvent::Applied(stuck("for ever none")));
    driver.reported();
    let questions = driver.index.take_questions();
    let [IndexQuestion::Input { namespace, uid, .. }] = questions.as_slice() else { panic!("{questions:?}") };
    let answer = IndexAnswer::Input { namespace: Arc::clone(namespace), uid: uid.clone(), there: true };
    driver.index.apply(Signal::Answer(answer));
    let events = driver.events();
    let [FactsEvent::Upsert(facts)] = events.as_slice() else { panic!("{events:?}") };
    assert!(facts.last_attempt().unwrap().input_ready);
}

#[test]
fn a_job_that_leaves_the_watch_is_asked_about_before_it_is_reported_as_gone() {
    let job = hello();
    let left = |driver: &mut Driver| {
        driver.job(KindEvent::Deleted(job.clone()));
        assert_eq!(driver.reported(), Vec::<String>::new(), "it may only have lost its labels");
        let questions = driver.index.take_questions();
        let [IndexQuestion::Left(left)] = questions.as_slice() else { panic!("{questions:?}") };
        assert_eq!((&*left.job, left.uid.as_str()), ("run-hello", JOB_UID));
        assert_eq!(left.labels.get("longshore.dev/run").map(String::as_str), Some("hello"));
        assert_eq!(left.secrets, ["run-hello-result"]);
        let namespace = Arc::clone(&left.namespace);
        move |there| Signal::Answer(IndexAnswer::Left { namespace, uid: JOB_UID.to_owned(), there })
    };
    // It is there: with its labels the watch reports it again.
    let mut driver = Driver::synced(vec![job.clone()], vec![running_pod(&job)]);
    let answer = left(&mut driver);
    driver.index.apply(answer(true));
    driver.job(KindEvent::Applied(job.clone()));
    assert_eq!(driver.reported(), Vec::<String>::new(), "nothing has changed");
    // It is gone.
    let answer = left(&mut driver);
    driver.index.apply(answer(false));
    assert_eq!(driver.reported(), ["hello gone"]);
    // The watch may be faster than the answer.
    let mut driver = Driver::synced(vec![job.clone()], vec![]);
    let answer = left(&mut driver);
    driver.job(KindEvent::Applied(job.clone()));
    driver.index.apply(answer(false));
    assert_eq!(driver.reported(), Vec::<String>::new());
}
