//! What is observed of a run, in words that every backend shares.
//!
//! A backend fills this from what it sees (Job, Pod and Events; or a run directory) and nothing
//! else; [`super::verdict`], [`super::derive`] and [`super::plan`] decide from it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::batch::BatchItem;
use super::record::Record;
use super::settled::AttemptRecord;
use super::spec::{EffectiveSpec, RunSpec};
use crate::name::RunName;
use crate::result::{Reported, ResultOutcome};
use crate::run::view::{Attempt, Evidence, StopIntent};

mod cause;
mod remember;

pub use cause::{EndCause, Explanation, Intervention, JobEndCause, Mentions, PlatformCause, WaitCause};
pub use remember::{Remembered, remember, suspended};

/// What is observed of one run. As JSON it is kept in memory once nothing more happens to the run, by this process for
/// itself; then nothing is in what is skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Its name.
    pub name: RunName,
    /// Identity over time: uid of the anchor Job.
    pub uid: String,
    /// What was submitted.
    pub submission: Submission,
    /// The stop intent, if one is written.
    pub stop: Option<StopIntent>,
    /// What the words of the stop are about, where it states a failure.
    pub stop_mentions: Mentions,
    /// The terminal record, if one is written.
    pub record: Option<Record>,
    /// Whether our hold is gone: nothing more is to be done for this run.
    pub released: bool,
    /// Whether a queue holds it back.
    pub suspended: bool,
    /// When a queue let it go, if one held it back and says when.
    pub admitted_at: Option<Timestamp>,
    /// What of it was changed by somebody else and can't be read: the rest goes on without.
    pub damage: Option<String>,
    /// What keeps the stop or the record from being written, or the next attempt from beginning. Backends leave it `None`.
    #[serde(skip)]
    pub trouble: Option<String>,
    /// What decides about the run and could not be looked at. As long as that is so the run keeps its
    /// state: nothing is concluded, and nothing recorded.
    #[serde(skip)]
    pub unknown: Option<Unexamined>,
    /// How earlier attempts ended after each of which another was announced, oldest first: those with the numbers 1 to
    /// as many as there are. Backends leave it empty once the record is written, which has them.
    #[serde(default)]
    pub settled: Vec<AttemptRecord>,
    /// When somebody asked to delete the anchor.
    pub deleted_at: Option<Timestamp>,
    /// When the record may go, if a retention clock runs.
    pub expire_time: Option<Timestamp>,
    /// The attempts that were started, oldest first; never empty.
    pub attempts: Vec<AttemptFacts>,
    /// What the engine read as result, if it did. Backends leave it `None`.
    #[serde(skip)]
    pub result: Option<ResultOutcome>,
    /// The error or timeout that the runner reported in its result, if its profile declares that it
    /// does. The engine sets it with `result`.
    #[serde(skip)]
    pub reported: Option<Reported>,
}

impl RunFacts {
    /// Of a run of which nothing was seen yet.
    #[must_use]
    pub fn blank(name: RunName, uid: String, submission: Submission) -> Self {
        Self {
            name,
            uid,
            submission,
            stop: None,
            stop_mentions: Mentions::default(),
            record: None,
            released: false,
            suspended: false,
            admitted_at: None,
            damage: None,
            trouble: None,
            unknown: None,
            settled: Vec::new(),
            deleted_at: None,
            expire_time: None,
            attempts: Vec::new(),
            result: None,
            reported: None,
        }
    }

    /// The last attempt.
    #[must_use]
    pub fn last_attempt(&self) -> Option<&AttemptFacts> {
        self.attempts.last()
    }

    /// The attempt that the run stands with: the one after those that are settled, or the last of a run that is
    /// recorded. `None`: it is announced and not begun.
    #[must_use]
    pub fn present(&self) -> Option<&AttemptFacts> {
        if self.record.is_some() { self.last_attempt() } else { self.attempt(self.present_number()) }
    }

    /// The number of the attempt that the run stands with, begun or not.
    #[must_use]
    pub fn present_number(&self) -> u32 {
        u32::try_from(self.settled.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// From when on the present attempt may start: the end of its queue, or the submit, or of a further one its begin,
    /// which comes late where nobody was there to make it.
    #[must_use]
    pub fn began_at(&self) -> Timestamp {
        let announced = self.settled.last().map_or(self.submission.create_time, |settled| settled.not_before);
        let begun = self.present().filter(|attempt| attempt.number > 1).and_then(|attempt| attempt.create_time);
        self.admitted_at.unwrap_or_else(|| begun.map_or(announced, |begun| begun.max(announced)))
    }

    /// When somebody asked to delete the Job of this attempt, or the run with it.
    #[must_use]
    pub fn deletion_of(&self, attempt: &AttemptFacts) -> Option<Timestamp> {
        self.deleted_at.or(attempt.job_deleted_at)
    }

    /// The attempt with this number, if there is one.
    #[must_use]
    pub fn attempt(&self, number: u32) -> Option<&AttemptFacts> {
        self.attempts.iter().find(|attempt| attempt.number == number)
    }

    /// Takes over the stop of another look at the same run, unless one is known: the first decides.
    pub fn take_stop(&mut self, other: &Self) {
        if self.stop.is_none() {
            self.stop.clone_from(&other.stop);
            self.stop_mentions = other.stop_mentions;
        }
    }

    /// Whether nothing of it lives, and how it ended can't be read and has not been for so long that nobody waits for
    /// it any more.
    #[must_use]
    pub fn is_let_go(&self) -> bool {
        self.released && self.unknown.as_ref().is_some_and(|unknown| unknown.nothing_lives)
    }
}

/// Why something that decides about a run is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexamined {
    /// What could not be looked at, and the system's words.
    pub why: String,
    /// Whether it is certain all the same that nothing of the run lives.
    pub nothing_lives: bool,
}

/// What was submitted, as it is kept with the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// What was asked for, without input, files and secrets. Shared with what is derived from it, since it is
    /// most of what a run takes.
    pub spec: Arc<RunSpec>,
    /// What was applied.
    pub effective: Arc<EffectiveSpec>,
    /// Digests of the payload.
    pub digest: super::digest::PayloadDigest,
    /// When, at µs.
    pub create_time: Timestamp,
    /// Who.
    pub submitter: String,
    /// `$LONGSHORE_RESULT_MARKER` of this run.
    pub result_marker: String,
    /// Which run of a batch it is, if it was submitted with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchItem>,
}

impl Submission {
    /// What is assumed of a run whose submission can't be read any more, so that it can be
    /// reported, stopped and released: clocks that never pass, and no result.
    #[must_use]
    pub fn unreadable(create_time: Timestamp) -> Self {
        const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);
        let effective = EffectiveSpec {
            start_timeout: FOR_EVER,
            run_timeout: FOR_EVER,
            termination_grace: Duration::from_secs(30),
            retention: Duration::from_secs(86_400),
            ..EffectiveSpec::empty()
        };
        Self {
            spec: Arc::default(),
            effective: Arc::new(effective),
            digest: super::digest::PayloadDigest::default(),
            create_time,
            submitter: String::new(),
            result_marker: String::new(),
            batch: None,
        }
    }
}

/// What is observed of one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptFacts {
    /// From 1.
    pub number: u32,
    /// Name of the Job, or the run's directory.
    pub job: String,
    /// When the Job was created.
    pub create_time: Option<Timestamp>,
    /// How the Job ended, if it did.
    pub job_end: Option<JobEnd>,
    /// The Job's own `activeDeadlineSeconds`; Longshore sets none but with a stop.
    pub job_deadline: Option<Duration>,
    /// Whether the Job makes no Pod any more (`parallelism: 0`).
    pub closed: bool,
    /// Whether a queue may suspend its Job and let it go on.
    #[serde(default)]
    pub in_queue: bool,
    /// Whether its start is written down, so that a second one is known for what it is.
    #[serde(default)]
    pub start_noted: bool,
    /// Uids of further Pods of the same Job whose program started: a queue took the first one's away and let the Job go on
    /// before it was closed.
    #[serde(default)]
    pub further_uids: Vec<String>,
    /// Where the Pod stands.
    pub phase: AttemptPhase,
    /// Uid of the Pod, or identity of the process.
    pub uid: Option<String>,
    /// Name of the Pod.
    pub pod: Option<String>,
    /// Node.
    pub node: Option<String>,
    /// When it got a node.
    pub schedule_time: Option<Timestamp>,
    /// When the node took it on (`pod.status.startTime`); its deadline counts from here.
    pub node_time: Option<Timestamp>,
    /// The Pod's `activeDeadlineSeconds`.
    pub deadline: Option<Duration>,
    /// When somebody asked to delete the Pod.
    pub deleted_at: Option<Timestamp>,
    /// When somebody asked to delete its Job, where that is not the anchor.
    #[serde(default)]
    pub job_deleted_at: Option<Timestamp>,
    /// What the platform gives as the cause of its end.
    pub ended_by: Option<Intervention>,
    /// What the platform says of it without giving a cause.
    pub remark: Option<String>,
    /// What the platform announces that it does to it, or somebody else.
    pub disruption: Option<Intervention>,
    /// The report that its node ends it. A kubelet that is restarted on a node under pressure refuses the Pods that run
    /// there; they get a cause of their end only once their programs have ended.
    pub eviction: Option<Intervention>,
    /// Since when the Pod's node does not report any more, by the control plane's word, although
    /// the last it reported is that `run` runs.
    pub silent_since: Option<Timestamp>,
    /// From when on a node that is still silent counts as lost.
    #[serde(default)]
    pub lost_at: Option<Timestamp>,
    /// Whether the Pod is over and says nothing of container `run`: its node refused it, or has
    /// thrown away what it knew.
    pub emptied: bool,
    /// Whether there was a Pod that nobody saw: whether its program ever ran is then not known.
    pub unseen: bool,
    /// Why it has no node or no Pod yet, or an init container stands still.
    pub waiting: Option<Explanation>,
    /// Container `run`.
    pub main: MainFacts,
    /// Whether another container of ours or of an admission webhook still runs, or waits to.
    pub others_running: bool,
    /// Whether the input Secret is known to be there (or not needed).
    pub input_ready: bool,
    /// What the cluster said, oldest first.
    pub evidence: Vec<Evidence>,
    /// Whether a pull of its image was begun and is not done, by what the cluster said.
    pub is_pulling: bool,
    /// What earlier looks have shown. Backends leave it empty; see [`remember`].
    pub remembered: Remembered,
}

impl AttemptFacts {
    /// Of an attempt of which nothing was seen yet, and that needs no input.
    #[must_use]
    pub fn blank(number: u32, job: String) -> Self {
        Self {
            number,
            job,
            create_time: None,
            job_end: None,
            job_deadline: None,
            closed: false,
            in_queue: false,
            start_noted: false,
            further_uids: Vec::new(),
            phase: AttemptPhase::Absent,
            uid: None,
            pod: None,
            node: None,
            schedule_time: None,
            node_time: None,
            deadline: None,
            deleted_at: None,
            job_deleted_at: None,
            ended_by: None,
            remark: None,
            disruption: None,
            eviction: None,
            silent_since: None,
            lost_at: None,
            emptied: false,
            unseen: false,
            waiting: None,
            main: MainFacts::Waiting(None),
            others_running: false,
            input_ready: true,
            evidence: Vec::new(),
            is_pulling: false,
            remembered: Remembered::default(),
        }
    }

    /// What a record says of an attempt of which nothing else is left: it is over.
    #[must_use]
    pub fn of_record(attempt: &Attempt) -> Self {
        let complete = attempt.exit_code == Some(0);
        let main = match (attempt.start_time, attempt.exit_code) {
            (None, _) => MainFacts::Waiting(None),
            (Some(_), code) => MainFacts::Terminated(Terminated {
                exit_code: code.unwrap_or_default(),
                cause: if code.is_some() { EndCause::Exited } else { EndCause::Unknown },
                signal: attempt.signal,
                started_at: attempt.start_time,
                finished_at: attempt.finish_time,
                ..Terminated::default()
            }),
        };
        Self {
            create_time: attempt.create_time,
            job_end: Some(JobEnd {
                complete,
                final_: true,
                cause: JobEndCause::Other,
                reason: String::new(),
                message: String::new(),
                time: attempt.finish_time,
            }),
            closed: true,
            phase: match attempt.start_time {
                Some(_) if complete => AttemptPhase::Succeeded,
                Some(_) => AttemptPhase::Failed,
                None => AttemptPhase::Gone,
            },
            uid: attempt.uid.clone(),
            pod: attempt.pod.clone(),
            node: attempt.node.clone(),
            unseen: attempt.unseen,
            further_uids: attempt.further_uids.clone(),
            main,
            evidence: attempt.evidence.clone(),
            ..Self::blank(attempt.number, attempt.job.clone())
        }
    }

    /// Whether the Pod shows that somebody or something other than the program ended it, or asked to.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.deleted_at.is_some() || self.disruption.is_some() || self.ended_by.is_some()
    }

    /// Whether no container runs or will run, and it is known whether one did: of a Pod that nobody saw that is so once
    /// its Job's own end is final, since then the Job has counted it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_uncounted = self.uid.is_none() && self.job_end.as_ref().is_some_and(|end| !end.final_);
        self.phase.is_over() && !is_uncounted
    }

    /// Whether its Job makes nothing run any more. One that is being deleted makes no Pod, and may never say that it ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.job_end.as_ref().is_some_and(|end| end.final_) || (self.job_deleted_at.is_some() && !self.is_live())
    }

    /// Whether its Job was suspended while its program ran.
    #[must_use]
    pub fn is_preempted(&self) -> bool {
        self.disruption.as_ref().is_some_and(|disruption| disruption.cause == PlatformCause::Suspended)
    }

    /// Whether `run` runs as far as is known, on a node that does not report any more.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silent_since.is_some() && matches!(self.main, MainFacts::Running { .. }) && self.is_live()
    }

    /// Whether its node has been silent for so long that it counts as lost.
    #[must_use]
    pub fn is_lost(&self, now: Timestamp) -> bool {
        self.is_silent() && self.lost_at.is_some_and(|lost| now >= lost)
    }

    /// Whether its Pod is there and not over.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.phase != AttemptPhase::Absent && !self.phase.is_over()
    }

    /// When its program started, if it did.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        match &self.main {
            MainFacts::Waiting(_) => None,
            MainFacts::Running { started_at } => *started_at,
            MainFacts::Terminated(end) => end.started_at.filter(|_| end.started()),
        }
    }

    /// Whether the platform says that its deadline ended it.
    #[must_use]
    pub fn is_by_deadline(&self) -> bool {
        self.ended_by.as_ref().is_some_and(|ended| ended.cause == PlatformCause::Deadline)
    }
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnd {
    /// Whether it is `Complete`; else it `Failed`.
    pub complete: bool,
    /// Whether nothing runs any more (`Complete`, `Failed`), not only `FailureTarget` or
    /// `SuccessCriteriaMet`.
    pub final_: bool,
    /// Why, if it is not complete.
    pub cause: JobEndCause,
    /// The backend's word for it.
    pub reason: String,
    /// The backend's sentence.
    pub message: String,
    /// When.
    pub time: Option<Timestamp>,
}

/// Where an attempt's Pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AttemptPhase {
    /// There is no Pod yet.
    Absent,
    /// `Pending`.
    Pending,
    /// `Running`.
    Running,
    /// `Succeeded`.
    Succeeded,
    /// `Failed`.
    Failed,
    /// `Unknown`.
    Unknown,
    /// There was a Pod, and it is gone; or its Job ended without one. Local: the shim is gone and
    /// left nothing.
    Gone,
}

impl AttemptPhase {
    /// Whether no container runs or will run.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Gone)
    }
}

/// Container `run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MainFacts {
    /// Not created yet.
    Waiting(Option<Explanation>),
    /// Runs.
    Running {
        /// Since when.
        started_at: Option<Timestamp>,
    },
    /// Has ended.
    Terminated(Terminated),
}

impl MainFacts {
    /// How it ended, if it did.
    #[must_use]
    pub fn terminated(&self) -> Option<&Terminated> {
        match self {
            Self::Terminated(terminated) => Some(terminated),
            _ => None,
        }
    }

    /// Whether the program ever ran. A container or a process that could not be started did not.
    #[must_use]
    pub fn started(&self) -> bool {
        match self {
            Self::Waiting(_) => false,
            Self::Running { .. } => true,
            Self::Terminated(end) => end.started(),
        }
    }
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminated {
    /// Exit code (128 + signal if a signal ended it).
    pub exit_code: i32,
    /// Signal, where the backend distinguishes it from the exit code.
    pub signal: Option<i32>,
    /// What that comes down to.
    pub cause: EndCause,
    /// The backend's word for it.
    pub detail: String,
    /// The termination message: what was written to `$LONGSHORE_RESULT`.
    #[serde(with = "crate::notation::base64")]
    pub message: Vec<u8>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Terminated {
    /// Whether the program ever ran: the runtime may have been unable to start the container.
    #[must_use]
    pub fn started(&self) -> bool {
        !matches!(self.cause, EndCause::NotStarted | EndCause::NotExecuted)
    }

    /// The exit code, if it is the program's.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        (self.cause != EndCause::Unknown).then_some(self.exit_code)
    }
}

/// What a backend's watch of runs emits.
pub type FactsEvent = crate::reconcile::Event<RunFacts, RunName>;
