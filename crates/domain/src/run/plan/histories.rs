//! Histories of what a cluster shows of a run, generated: looks that lag, repeat, come out of order
//! or show an emptied status, stops and suspensions in between, and daemons that are started again.
//! Whatever they are, what was reported stays true.

use proptest::prelude::*;

use super::super::derive::derive;
use super::super::facts::{AttemptPhase, EndCause, JobEnd, JobEndCause, MainFacts, PlatformCause, WaitCause, remember};
use super::super::verdict::judge;
use super::*;
use crate::run::view::Run;
use crate::testing::{at, attempt, explained, facts, intervened, stop, terminated};

/// One thing that happens.
#[derive(Clone, Debug)]
enum HistoryStep {
    /// The Pod changes to this.
    Pod(Box<AttemptFacts>),
    /// The Job ends like this.
    JobEnds(JobEnd),
    /// A queue takes the Job back, or lets it go.
    Suspend(bool),
    /// Somebody deletes the Job.
    DeleteJob,
    /// Somebody takes our finaliser away.
    StripHold,
    /// A caller cancels.
    Cancel,
    /// Time passes, in seconds.
    Pass(i64),
    /// The daemon looks, at a Pod and a Job of some versions ago, and acts or fails to.
    Look { pod: usize, job: usize, acts: bool },
    /// The daemon is started again.
    Restart,
}

/// The Job as it is, apart from its Pod.
#[derive(Clone, Debug)]
struct Job {
    stop: Option<StopIntent>,
    record: Option<Record>,
    held: bool,
    suspended: bool,
    deleted_at: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    end: Option<JobEnd>,
    closed: bool,
}

struct World {
    now: i64,
    pods: Vec<AttemptFacts>,
    jobs: Vec<Job>,
    known: Option<RunFacts>,
    /// Whether this daemon has written a record that it has not seen yet: until then it reports
    /// nothing newer.
    wrote: bool,
    /// What was reported as terminal.
    terminal: Option<Run>,
    /// When the program was reported to have started, in this daemon's life.
    started: Option<Timestamp>,
    deleted: bool,
}

impl World {
    fn new() -> Self {
        let absent = AttemptFacts { phase: AttemptPhase::Absent, uid: None, pod: None, ..attempt() };
        let job = Job {
            stop: None,
            record: None,
            held: true,
            suspended: false,
            deleted_at: None,
            expire_time: None,
            end: None,
            closed: false,
        };
        Self {
            now: 1,
            pods: vec![absent],
            jobs: vec![job],
            known: None,
            wrote: false,
            terminal: None,
            started: None,
            deleted: false,
        }
    }

    fn job(&self) -> Job {
        self.jobs.last().unwrap().clone()
    }

    fn change(&mut self, change: impl FnOnce(&mut Job)) {
        let mut job = self.job();
        change(&mut job);
        self.jobs.push(job);
    }

    fn step(&mut self, step: HistoryStep) {
        let now = at(self.now);
        match step {
            HistoryStep::Pod(pod) => self.pods.push(*pod),
            HistoryStep::JobEnds(end) => self.change(|job| {
                if job.end.as_ref().is_none_or(|end| !end.final_) {
                    job.end = Some(end);
                }
            }),
            HistoryStep::Suspend(suspended) => self.change(|job| job.suspended = suspended),
            HistoryStep::DeleteJob => self.change(|job| job.deleted_at = job.deleted_at.or(Some(now))),
            HistoryStep::StripHold => self.change(|job| job.held = false),
            HistoryStep::Cancel => self.change(|job| {
                if job.record.is_none() {
                    job.stop.get_or_insert_with(|| StopIntent { request_time: now, ..stop(StopCause::Cancel, 0) });
                }
            }),
            HistoryStep::Pass(seconds) => self.now += seconds,
            HistoryStep::Look { pod, job, acts } => self.look(pod, job, acts),
            HistoryStep::Restart => {
                self.known = None;
                self.wrote = false;
                self.started = None;
            }
        }
    }

    /// What is seen: the newest after a start, since that begins with a list.
    fn seen(&self, pod: usize, job: usize) -> RunFacts {
        let fresh = self.known.is_none();
        let back = |len: usize, versions: usize| len - 1 - if fresh { 0 } else { versions.min(len - 1) };
        let pod = self.pods[back(self.pods.len(), pod)].clone();
        let job = self.jobs[back(self.jobs.len(), job)].clone();
        RunFacts {
            stop: job.stop,
            record: job.record,
            released: !job.held && job.expire_time.is_some(),
            suspended: job.suspended,
            admitted_at: None,
            deleted_at: job.deleted_at,
            expire_time: job.expire_time,
            attempts: vec![AttemptFacts { job_end: job.end, closed: job.closed, ..pod }],
            ..facts()
        }
    }

    fn look(&mut self, pod: usize, job: usize, acts: bool) {
        if self.deleted {
            return;
        }
        let now = at(self.now);
        let seen = remember(self.known.as_ref(), self.seen(pod, job), now);
        if self.wrote && seen.record.is_none() {
            return;
        }
        let verdict = judge(&seen, now);
        let run = derive(&seen, &verdict, now);
        self.check(&seen, &run);
        let plan = plan(&seen, &verdict, now);
        self.known = Some(seen.clone());
        for action in plan.actions {
            self.check_action(&seen, &action);
            if acts {
                self.act(action);
            }
        }
    }

    fn check(&mut self, seen: &RunFacts, run: &Run) {
        assert_eq!(run.state.is_terminal(), seen.record.is_some(), "terminal is what is recorded: {run:?}");
        if let Some(before) = &self.terminal {
            let reported = |run: &Run| (run.state, run.failure.clone(), run.message.clone(), run.exit_code);
            assert_eq!(reported(before), reported(run), "terminal never changes");
            assert_eq!((&before.timeline, &before.attempts), (&run.timeline, &run.attempts));
        } else if run.state.is_terminal() {
            self.terminal = Some(run.clone());
        }
        let started = run.attempts[0].start_time;
        assert!(self.started.is_none() || self.started == started, "started is never unseen: {seen:?}");
        self.started = started;
        if let (Some(first), Some(reported)) = (&self.job().stop, &run.stop) {
            assert_eq!(first, reported, "the first stop's cause stays");
        }
    }

    fn check_action(&self, seen: &RunFacts, action: &Action) {
        let last = seen.last_attempt().unwrap();
        match action {
            Action::WriteStop(_) => assert!(seen.stop.is_none() && seen.record.is_none()),
            Action::WriteRecord(_) | Action::StoreResult { .. } => assert!(seen.record.is_none()),
            Action::EndUnstarted { .. } | Action::EndStarted { .. } => assert!(
                seen.stop.is_some() || seen.record.is_some() || last.main.terminated().is_some(),
                "nothing is ended before the intent is written: {seen:?}"
            ),
            Action::LowerDeadline { .. } => assert!(seen.record.is_none() && last.main.terminated().is_none()),
            Action::Release { .. } => assert!(seen.record.is_some()),
            Action::Delete => assert!(seen.expire_time.is_some_and(|expire| expire <= at(self.now))),
        }
    }

    fn act(&mut self, action: Action) {
        let now = at(self.now);
        match action {
            Action::WriteStop(intent) => self.change(|job| {
                job.stop.get_or_insert(intent);
            }),
            Action::WriteRecord(record) => {
                self.wrote = true;
                self.change(|job| {
                    job.record.get_or_insert(*record);
                });
            }
            Action::Release { retention, .. } => self.change(|job| {
                job.held = false;
                let expire = now.checked_add(SignedDuration::try_from(retention).unwrap()).unwrap();
                job.expire_time.get_or_insert(expire);
            }),
            Action::EndUnstarted { .. } => self.change(|job| job.closed = true),
            Action::Delete => self.deleted = true,
            Action::EndStarted { .. } | Action::LowerDeadline { .. } | Action::StoreResult { .. } => {}
        }
    }
}

fn job_end() -> impl Strategy<Value = JobEnd> {
    let cause = prop_oneof![
        Just(Some(JobEndCause::PodFailed)),
        Just(Some(JobEndCause::Deadline)),
        Just(Some(JobEndCause::Disruption)),
        Just(None),
    ];
    (cause, any::<bool>()).prop_map(|(cause, final_)| JobEnd {
        complete: cause.is_none(),
        final_,
        cause: cause.unwrap_or(JobEndCause::Other),
        reason: "Word".to_owned(),
        message: "words".to_owned(),
        time: Some(at(50)),
    })
}

fn main() -> impl Strategy<Value = MainFacts> {
    let waits = prop_oneof![
        Just(WaitCause::Ordinary),
        Just(WaitCause::ImagePull),
        Just(WaitCause::ContainerConfig { own_input: false }),
    ];
    let code = prop_oneof![Just(0), Just(3), Just(137), Just(143)];
    let cause = prop_oneof![
        4 => Just(EndCause::Exited),
        1 => Just(EndCause::OutOfMemory),
        1 => Just(EndCause::Unknown),
        1 => Just(EndCause::NotStarted),
    ];
    prop_oneof![
        Just(MainFacts::Waiting(None)),
        (waits, any::<bool>()).prop_map(|(cause, refusal)| {
            MainFacts::Waiting(explained(cause, "Word", "words").map(|mut why| {
                why.mentions.refusal = refusal;
                why
            }))
        }),
        Just(MainFacts::Running { started_at: Some(at(10)) }),
        (code, cause).prop_map(|(code, cause)| {
            MainFacts::Terminated(super::super::facts::Terminated { cause, ..terminated(code) })
        }),
    ]
}

fn pod() -> impl Strategy<Value = AttemptFacts> {
    use AttemptPhase::{Absent, Failed, Gone, Pending, Running, Succeeded, Unknown};
    let phase = prop_oneof![
        Just(Absent),
        Just(Pending),
        Just(Running),
        Just(Succeeded),
        Just(Failed),
        Just(Gone),
        Just(Unknown)
    ];
    let status = prop_oneof![
        3 => Just(None),
        1 => Just(intervened(PlatformCause::Deadline, "Deadline", "m")),
        1 => Just(intervened(PlatformCause::Evicted, "Word", "m")),
        1 => Just(intervened(PlatformCause::NodeShutdown, "Word", "m")),
    ];
    let disruption = prop_oneof![
        3 => Just(None),
        1 => Just(intervened(PlatformCause::Evicted, "Word", "m")),
        1 => Just(intervened(PlatformCause::Preempted, "Word", "m")),
    ];
    let uid = prop_oneof![5 => Just("pod-uid"), 1 => Just("second")];
    let flags = any::<(bool, bool, bool, bool)>();
    (phase, main(), status, disruption, uid, flags).prop_map(
        |(phase, main, ended_by, disruption, uid, (deleted, emptied, ordered, silent))| AttemptFacts {
            phase,
            main,
            ended_by,
            disruption,
            uid: Some(uid.to_owned()),
            deleted_at: deleted.then(|| at(15)),
            emptied,
            deadline: Some(Duration::from_secs(if ordered { 1 } else { 3901 })),
            silent_since: silent.then(|| at(12)),
            ..attempt()
        },
    )
}

fn step() -> impl Strategy<Value = HistoryStep> {
    prop_oneof![
        6 => pod().prop_map(|pod| HistoryStep::Pod(Box::new(pod))),
        1 => job_end().prop_map(HistoryStep::JobEnds),
        1 => any::<bool>().prop_map(HistoryStep::Suspend),
        1 => Just(HistoryStep::DeleteJob),
        1 => Just(HistoryStep::StripHold),
        1 => Just(HistoryStep::Cancel),
        2 => (0_i64..400).prop_map(HistoryStep::Pass),
        9 => (0_usize..4, 0_usize..4, prop::bool::weighted(0.8))
            .prop_map(|(pod, job, acts)| HistoryStep::Look { pod, job, acts }),
        1 => Just(HistoryStep::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn what_was_reported_stays_true(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
    }

    /// However it came to it: once nothing of a run is left, or its Pod is over for good, it is
    /// recorded and released.
    #[test]
    fn every_history_comes_to_its_end(steps in prop::collection::vec(step(), 0..40), end in job_end(), last in pod()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        let gone = AttemptFacts { phase: AttemptPhase::Gone, ..last };
        world.step(HistoryStep::Pod(Box::new(gone)));
        world.step(HistoryStep::JobEnds(JobEnd { final_: true, ..end }));
        for _ in 0..6 {
            world.step(HistoryStep::Look { pod: 0, job: 0, acts: true });
            world.step(HistoryStep::Pass(30));
        }
        prop_assert!(world.deleted || world.job().record.is_some(), "{:?}", world.known);
        prop_assert!(world.deleted || !world.job().held, "{:?}", world.known);
    }
}
