//! Histories of what a cluster shows of a run, generated: looks that lag, repeat, come out of order
//! or show an emptied status, stops and suspensions in between, and daemons that are started again.
//! Whatever they are, what was reported stays true.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::derive::derive;
use super::super::facts::{
    AttemptPhase, EndCause, JobEnd, JobEndCause, MainFacts, PlatformCause, WaitCause, remember, suspended,
};
use super::super::verdict::judge;
use super::*;
use crate::run::failure::FailureClass;
use crate::run::view::{Attempt, Run};
use crate::testing::{at, attempt, explained, facts, intervened, stop, terminated};

/// One thing that happens.
#[derive(Clone, Debug)]
enum HistoryStep {
    /// The Pod of the newest attempt, or of one that many before it, changes to this.
    Pod(usize, Box<AttemptFacts>),
    /// The Job of such an attempt ends like this.
    JobEnds(usize, JobEnd),
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

/// The anchor as it is, and the Jobs of all attempts, apart from their Pods.
#[derive(Clone, Debug)]
struct Job {
    stop: Option<StopIntent>,
    record: Option<Record>,
    held: bool,
    suspended: bool,
    deleted_at: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    settled: Vec<AttemptRecord>,
    attempts: Vec<AttemptJob>,
}

#[derive(Clone, Debug, Default)]
struct AttemptJob {
    end: Option<JobEnd>,
    closed: bool,
    preempted: bool,
}

/// How often a run may be tried again.
#[derive(Clone, Copy, Debug)]
struct Budgets {
    program: u32,
    infra: u32,
    total: Option<u64>,
}

struct World {
    budgets: Budgets,
    now: i64,
    /// By attempt.
    pods: Vec<Vec<AttemptFacts>>,
    jobs: Vec<Job>,
    known: Option<RunFacts>,
    /// Whether this daemon has written a record that it has not seen yet: until then it reports
    /// nothing newer.
    wrote: bool,
    /// The same of attempts: how many are settled by what it wrote.
    wrote_settled: usize,
    /// What was reported as terminal.
    terminal: Option<Run>,
    /// When the program of which attempt was reported to have started, in this daemon's life.
    started: (u32, Option<Timestamp>),
    /// Attempts that were reported as settled.
    settled: Vec<Attempt>,
    deleted: bool,
}

impl World {
    fn new(budgets: Budgets) -> Self {
        let job = Job {
            stop: None,
            record: None,
            held: true,
            suspended: false,
            deleted_at: None,
            expire_time: None,
            settled: Vec::new(),
            attempts: vec![AttemptJob::default()],
        };
        Self {
            budgets,
            now: 1,
            pods: vec![vec![absent(1)]],
            jobs: vec![job],
            known: None,
            wrote: false,
            wrote_settled: 0,
            terminal: None,
            started: (1, None),
            settled: Vec::new(),
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
            HistoryStep::Pod(before, pod) => {
                let index = self.pods.len() - 1 - before.min(self.pods.len() - 1);
                let number = u32::try_from(index + 1).unwrap();
                let pod = *pod;
                let uid = pod.uid.as_ref().map(|uid| format!("{uid}-{number}"));
                self.pods[index].push(AttemptFacts { uid, ..numbered(number, pod) });
            }
            HistoryStep::JobEnds(before, end) => self.change(|job| {
                let index = job.attempts.len() - 1 - before.min(job.attempts.len() - 1);
                if job.attempts[index].end.as_ref().is_none_or(|end| !end.final_) {
                    job.attempts[index].end = Some(end);
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
                self.wrote_settled = 0;
                self.started = (1, None);
            }
        }
    }

    /// What is seen: the newest after a start, since that begins with a list.
    fn seen(&self, pod: usize, job: usize) -> RunFacts {
        let fresh = self.known.is_none();
        let back = |len: usize, versions: usize| len - 1 - if fresh { 0 } else { versions.min(len - 1) };
        let job = self.jobs[back(self.jobs.len(), job)].clone();
        let attempts = self.pods.iter().zip(job.attempts).map(|(pods, of)| AttemptFacts {
            job_end: of.end,
            closed: of.closed,
            ..preempted(pods[back(pods.len(), pod)].clone(), of.preempted)
        });
        let attempts = attempts.collect();
        let mut facts = facts();
        let effective = Arc::make_mut(&mut facts.submission.effective);
        (effective.max_retries, effective.infra_retries) = (self.budgets.program, self.budgets.infra);
        effective.total_timeout = self.budgets.total.map(Duration::from_secs);
        RunFacts {
            settled: if job.record.is_some() { Vec::new() } else { job.settled },
            stop: job.stop,
            record: job.record,
            released: !job.held && job.expire_time.is_some(),
            suspended: job.suspended,
            admitted_at: None,
            deleted_at: job.deleted_at,
            expire_time: job.expire_time,
            attempts,
            ..facts
        }
    }

    fn look(&mut self, pod: usize, job: usize, acts: bool) {
        if self.deleted {
            return;
        }
        let now = at(self.now);
        let seen = remember(self.known.as_ref(), self.seen(pod, job), now);
        let is_stale = self.wrote || seen.settled.len() < self.wrote_settled;
        if is_stale && seen.record.is_none() {
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
        let last = run.attempts.last().unwrap();
        let (number, started) = self.started;
        assert!(number != last.number || started.is_none() || started == last.start_time, "never unseen: {seen:?}");
        assert!(number <= last.number || self.known.is_none(), "attempts are not taken back: {seen:?}");
        self.started = (last.number, last.start_time);
        let numbers: Vec<_> = run.attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, (1..=last.number).collect::<Vec<_>>(), "{seen:?}");
        let settled = run.attempts.iter().zip(&self.settled);
        settled.for_each(|(reported, settled)| assert_eq!(reported, settled, "a settled attempt stays as it is"));
        let is_settled = seen.settled.len().max(self.settled.len());
        self.settled = run.attempts.iter().take(is_settled).cloned().collect();
        if let (Some(first), Some(reported)) = (&self.job().stop, &run.stop) {
            assert_eq!(first, reported, "the first stop's cause stays");
        }
    }

    fn check_action(&self, seen: &RunFacts, action: &Action) {
        let last = seen.last_attempt().unwrap();
        let job = self.job();
        match action {
            Action::WriteAttempt(record) => {
                assert!(seen.stop.is_none() && seen.record.is_none() && seen.deleted_at.is_none());
                assert_eq!(record.attempt.number, last.number);
                let failure = record.attempt.failure.as_ref().unwrap();
                assert!(record.attempt.exit_code != Some(0) || failure.failure_class != FailureClass::User, "{seen:?}");
                assert!(seen.settled.len() < (self.budgets.program + self.budgets.infra) as usize, "{seen:?}");
            }
            Action::BeginAttempt { attempt } => {
                assert!(seen.stop.is_none() && seen.record.is_none() && seen.deleted_at.is_none());
                let before = &job.attempts[*attempt as usize - 2];
                // Its Job has ended, or makes no Pod any more and the one it made is over.
                let is_over = before.end.as_ref().is_some_and(|end| end.final_)
                    || (before.closed && seen.attempt(*attempt - 1).is_some_and(AttemptFacts::is_over));
                let settled = &seen.settled.last().unwrap().attempt;
                let is_lost = settled.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::NodeLost);
                let is_lost = is_lost && seen.attempt(*attempt - 1).is_some_and(AttemptFacts::is_silent);
                assert!(is_over || is_lost, "one attempt lives at a time: {seen:?}");
                assert!(seen.settled.last().unwrap().not_before <= at(self.now));
                assert!(self.budgets.total.is_none_or(|total| self.now < i64::try_from(total).unwrap()));
            }
            Action::WriteStop(_) => assert!(seen.stop.is_none() && seen.record.is_none()),
            Action::WriteRecord(_) | Action::StoreResult { .. } => assert!(seen.record.is_none()),
            Action::EndUnstarted { attempt } | Action::EndStarted { attempt } => assert!(
                *attempt as usize <= seen.settled.len()
                    || seen.stop.is_some()
                    || seen.record.is_some()
                    || last.main.terminated().is_some(),
                "nothing is ended before the intent is written: {seen:?}"
            ),
            Action::LowerDeadline { .. } | Action::NoteStart { .. } => {
                assert!(seen.record.is_none() && last.main.terminated().is_none());
            }
            Action::ClosePreempted { attempt, .. } => {
                assert!(seen.record.is_none() && (seen.stop.is_none() || seen.suspended) && *attempt == last.number);
                assert!(last.main.started() && (seen.suspended || last.is_preempted()), "{seen:?}");
            }
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
            Action::WriteAttempt(record) => {
                let job = self.job();
                let is_next = job.settled.len() + 1 == record.attempt.number as usize;
                if is_next && job.stop.is_none() && job.record.is_none() && job.deleted_at.is_none() {
                    self.wrote_settled = record.attempt.number as usize;
                    self.change(|job| job.settled.push(*record));
                }
            }
            Action::BeginAttempt { attempt } => {
                let job = self.job();
                let is_next = job.attempts.len() + 1 == attempt as usize && job.settled.len() + 1 == attempt as usize;
                if is_next && job.stop.is_none() && job.record.is_none() && job.deleted_at.is_none() {
                    self.change(|job| job.attempts.push(AttemptJob::default()));
                    self.pods.push(vec![absent(attempt)]);
                }
            }
            Action::WriteRecord(record) => {
                // A record of an attempt that another server has taken for settled is of a run that was stopped.
                let job = self.job();
                let is_passed = job.settled.len() >= record.attempts.len();
                if is_passed && (job.stop.is_none() || job.attempts.len() > job.settled.len()) {
                    return;
                }
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
            Action::EndUnstarted { attempt } => {
                self.change(|job| job.attempts[attempt as usize - 1].closed = true);
            }
            Action::Delete => self.deleted = true,
            // By the Job as it is: a look may be older.
            Action::ClosePreempted { attempt, .. } if self.job().suspended => self.change(|job| {
                let job = &mut job.attempts[attempt as usize - 1];
                (job.closed, job.preempted) = (true, true);
            }),
            Action::ClosePreempted { .. } => {}
            Action::EndStarted { .. }
            | Action::LowerDeadline { .. }
            | Action::NoteStart { .. }
            | Action::StoreResult { .. } => {}
        }
    }
}

/// As its Job has it written.
fn preempted(attempt: AttemptFacts, is_preempted: bool) -> AttemptFacts {
    let disruption = attempt.disruption.clone().or_else(|| is_preempted.then(|| suspended(None)));
    AttemptFacts { disruption, ..attempt }
}

fn absent(number: u32) -> AttemptFacts {
    numbered(number, AttemptFacts { phase: AttemptPhase::Absent, uid: None, pod: None, ..attempt() })
}

fn numbered(number: u32, attempt: AttemptFacts) -> AttemptFacts {
    AttemptFacts { number, job: format!("run{number}-a"), ..attempt }
}

fn budgets() -> impl Strategy<Value = Budgets> {
    (0_u32..4, 0_u32..3, prop::option::weighted(0.3, 1_u64..2000)).prop_map(|(program, infra, total)| Budgets {
        program,
        infra,
        total,
    })
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
            lost_at: silent.then(|| at(312)),
            ..attempt()
        },
    )
}

fn before() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(0), 1 => 0_usize..3]
}

fn step() -> impl Strategy<Value = HistoryStep> {
    prop_oneof![
        6 => (before(), pod()).prop_map(|(before, pod)| HistoryStep::Pod(before, Box::new(pod))),
        2 => (before(), job_end()).prop_map(|(before, end)| HistoryStep::JobEnds(before, end)),
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
    fn what_was_reported_stays_true(budgets in budgets(), steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(budgets);
        for step in steps {
            world.step(step);
        }
    }

    /// However it came to it: once nothing of a run is left, or its Pod is over for good, it is
    /// recorded and released.
    #[test]
    fn every_history_comes_to_its_end(
        budgets in budgets(),
        steps in prop::collection::vec(step(), 0..40),
        end in job_end(),
        last in pod(),
    ) {
        let mut world = World::new(budgets);
        for step in steps {
            world.step(step);
        }
        let gone = AttemptFacts { phase: AttemptPhase::Gone, ..last };
        for _ in 0..=budgets.program + budgets.infra {
            world.step(HistoryStep::Pod(0, Box::new(gone.clone())));
            for before in 0..world.pods.len() {
                world.step(HistoryStep::JobEnds(before, JobEnd { final_: true, ..end.clone() }));
            }
            for _ in 0..6 {
                world.step(HistoryStep::Look { pod: 0, job: 0, acts: true });
                world.step(HistoryStep::Pass(70));
            }
        }
        prop_assert!(world.deleted || world.job().record.is_some(), "{:?}", world.known);
        prop_assert!(world.deleted || !world.job().held, "{:?}", world.known);
    }
}
