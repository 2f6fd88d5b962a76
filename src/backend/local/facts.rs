//! Facts from what a run's directory holds. Pure.

use jiff::Timestamp;

use crate::domain::facts::{
    AttemptFacts, AttemptPhase, Explanation, JobEnd, MainFacts, NOT_EXECUTED, Remembered, RunFacts, Terminated,
};
use crate::domain::record::Record;
use crate::domain::run::{Evidence, StopIntent};
use crate::domain::rundir::{Exit, ExitReason, ProcessIdentity, Released, Started, StoredRun};

/// What a run's directory holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contents {
    /// Its path.
    pub(super) directory: String,
    /// What was created.
    pub(super) run: StoredRun,
    /// Who supervises it.
    pub(super) shim: Option<ProcessIdentity>,
    /// Whether that process lives; looked at before anything below.
    pub(super) shim_alive: bool,
    /// That the program was, or was about to be, started.
    pub(super) started: Option<Started>,
    /// The program, or its sandbox.
    pub(super) child: Option<ProcessIdentity>,
    /// How it ended.
    pub(super) exit: Option<Exit>,
    /// The stop that was asked for.
    pub(super) stop: Option<StopIntent>,
    /// The record.
    pub(super) record: Option<Record>,
    /// That nothing more is to be done.
    pub(super) released: Option<Released>,
}

/// Where a run's process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// A shim is to be started: there never was one, or it died before it started the program.
    Unattended,
    /// A shim is about to start the program.
    Starting,
    /// The program runs.
    Running,
    /// The shim died, and left nothing that says how the program ended.
    Lost,
    /// Over.
    Over,
}

impl Contents {
    /// Where its process stands.
    pub(super) fn stand(&self) -> Stand {
        match (&self.exit, &self.started, self.shim_alive) {
            (Some(_), _, _) => Stand::Over,
            (None, Some(_), true) => Stand::Running,
            (None, Some(_), false) => Stand::Lost,
            (None, None, true) => Stand::Starting,
            (None, None, false) => Stand::Unattended,
        }
    }

    /// The facts; `node` is this machine's name.
    pub(super) fn facts(&self, node: &str) -> RunFacts {
        RunFacts {
            name: self.run.name.clone(),
            uid: self.run.uid.clone(),
            submission: self.run.submission.clone(),
            stop: self.stop.clone(),
            record: self.record.clone(),
            released: self.released.is_some(),
            suspended: false,
            damage: None,
            trouble: None,
            deleted_at: None,
            expire_time: self.released.as_ref().map(|released| released.expire_time),
            attempts: vec![self.attempt(node)],
            result: None,
            reported: None,
        }
    }

    fn attempt(&self, node: &str) -> AttemptFacts {
        let started_at = self.started.as_ref().map(|started| started.time);
        let deadline_exceeded = self.exit.as_ref().is_some_and(|exit| exit.reason == ExitReason::DeadlineExceeded);
        AttemptFacts {
            number: 1,
            job: self.directory.clone(),
            create_time: Some(self.run.submission.create_time),
            job_end: self.exit.as_ref().map(job_end).or_else(|| (self.stand() == Stand::Lost).then(lost_end)),
            job_deadline: None,
            closed: false,
            phase: self.phase(),
            uid: Some(self.run.attempt_uid()),
            pod: None,
            node: self.shim.as_ref().map(|_| node.to_owned()),
            schedule_time: self.shim.as_ref().map(|shim| shim.time),
            // The clock runs from the start itself, so there is never a deadline to be lowered.
            node_time: started_at,
            deadline: started_at.map(|_| self.run.execution.run_timeout),
            deleted_at: None,
            status_reason: deadline_exceeded.then(|| "DeadlineExceeded".to_owned()),
            status_message: deadline_exceeded.then(|| "the process was active longer than its deadline".to_owned()),
            disruption: None,
            silent_since: None,
            emptied: false,
            waiting: None,
            main: self.main(started_at),
            others_running: false,
            input_ready: true,
            evidence: self.evidence(),
            remembered: Remembered::default(),
        }
    }

    fn phase(&self) -> AttemptPhase {
        match (self.stand(), &self.exit) {
            (Stand::Unattended | Stand::Starting, _) => AttemptPhase::Pending,
            (Stand::Running, _) => AttemptPhase::Running,
            (Stand::Over, Some(exit)) => match exit.reason {
                ExitReason::Completed => AttemptPhase::Succeeded,
                ExitReason::Error | ExitReason::DeadlineExceeded | ExitReason::StartError => AttemptPhase::Failed,
                ExitReason::NotStarted => AttemptPhase::Gone,
            },
            (Stand::Lost | Stand::Over, _) => AttemptPhase::Gone,
        }
    }

    fn main(&self, started_at: Option<Timestamp>) -> MainFacts {
        match (&self.exit, self.stand()) {
            (Some(exit), _) if exit.reason == ExitReason::NotStarted => MainFacts::Waiting(None),
            (Some(exit), _) => MainFacts::Terminated(terminated(exit)),
            (None, Stand::Running | Stand::Lost) => MainFacts::Running { started_at },
            (None, Stand::Unattended) => MainFacts::Waiting(Some(Explanation {
                reason: "Starting".to_owned(),
                message: "the process that supervises the run is being started".to_owned(),
                time: None,
            })),
            (None, Stand::Starting | Stand::Over) => MainFacts::Waiting(None),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        if self.stand() != Stand::Lost {
            return Vec::new();
        }
        vec![Evidence { report_time: None, reason: LOST.to_owned(), message: LOST_MESSAGE.to_owned(), count: 1 }]
    }
}

/// What is said where the shim left nothing.
const LOST: &str = "ShimLost";
const LOST_MESSAGE: &str = "the process that supervised the run was killed, or the machine was restarted";

/// Nothing more will come of a run whose shim is gone.
fn lost_end() -> JobEnd {
    let (reason, message) = (LOST.to_owned(), LOST_MESSAGE.to_owned());
    JobEnd { complete: false, final_: true, reason, message, time: None }
}

fn job_end(exit: &Exit) -> JobEnd {
    let complete = exit.reason == ExitReason::Completed;
    let reason = match exit.reason {
        ExitReason::Completed => "CompletionsReached",
        ExitReason::NotStarted | ExitReason::DeadlineExceeded => "DeadlineExceeded",
        ExitReason::Error | ExitReason::StartError => "BackoffLimitExceeded",
    };
    JobEnd { complete, final_: true, reason: reason.to_owned(), message: String::new(), time: Some(exit.finished_at) }
}

fn terminated(exit: &Exit) -> Terminated {
    let reason = match exit.reason {
        ExitReason::StartError => NOT_EXECUTED,
        _ if exit.exit_code == 0 => "Completed",
        _ => "Error",
    };
    Terminated {
        exit_code: exit.exit_code,
        signal: exit.signal,
        reason: reason.to_owned(),
        message: exit.message.clone(),
        started_at: exit.started_at,
        finished_at: Some(exit.finished_at),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::domain::facts::Submission;
    use crate::domain::name::RunName;
    use crate::domain::rundir::{Execution, SPEC_VERSION};
    use crate::domain::spec::{EffectiveSpec, NetworkMode, ResultMode, ResultScan, RunSpec, Workload};

    pub(in crate::backend::local) fn effective() -> EffectiveSpec {
        EffectiveSpec {
            workload: Workload::Runner { profile: "sh".to_owned() },
            env: Vec::new(),
            resources: crate::domain::spec::Resources::default(),
            run_as_user: 65_532,
            run_as_group: 65_532,
            fs_group: 65_532,
            read_only_root_filesystem: true,
            runtime_class_name: None,
            start_timeout: Duration::from_secs(60),
            run_timeout: Duration::from_secs(60),
            termination_grace: Duration::from_secs(1),
            retention: Duration::from_secs(60),
            volumes: Vec::new(),
            network_mode: NetworkMode::None,
            placement: crate::domain::spec::Placement::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            result_mode: ResultMode::None,
            result_scan: ResultScan::Off,
            result_dialect: None,
            tmp_size: Some("1Mi".to_owned()),
        }
    }

    pub(in crate::backend::local) fn submission() -> Submission {
        Submission {
            spec: RunSpec::default(),
            effective: effective(),
            digest: crate::domain::digest::PayloadDigest::default(),
            create_time: at(1),
            submitter: "me".to_owned(),
            result_marker: "marker".to_owned(),
        }
    }

    pub(in crate::backend::local) fn stored(id: &str) -> StoredRun {
        StoredRun {
            version: SPEC_VERSION,
            uid: "uid".to_owned(),
            name: RunName::parse(&format!("namespaces/default/runs/{id}")).unwrap(),
            submission: submission(),
            execution: Execution {
                owner: None,
                sandbox: None,
                argv: vec!["true".to_owned()],
                env: Vec::new(),
                input_env: None,
                input_stdin: false,
                fault: None,
                run_timeout: Duration::from_secs(60),
                termination_grace: Duration::from_secs(1),
            },
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn created() -> Contents {
        Contents {
            directory: "/state/default/a".to_owned(),
            run: stored("a"),
            shim: None,
            shim_alive: false,
            started: None,
            child: None,
            exit: None,
            stop: None,
            record: None,
            released: None,
        }
    }

    fn attended(alive: bool) -> Contents {
        let shim = ProcessIdentity { pid: 7, start_time: 1, boot_id: "b".to_owned(), time: at(2) };
        Contents { shim: Some(shim), shim_alive: alive, ..created() }
    }

    fn started(alive: bool) -> Contents {
        Contents { started: Some(Started { time: at(3) }), ..attended(alive) }
    }

    fn ended(reason: ExitReason, exit_code: i32) -> Contents {
        let exit =
            Exit { reason, exit_code, started_at: Some(at(3)), message: b"m".to_vec(), ..Exit::not_started(at(4)) };
        Contents { exit: Some(exit), ..started(false) }
    }

    #[test]
    fn phases_by_what_is_there() {
        let cases = [
            (created(), Stand::Unattended, AttemptPhase::Pending, false),
            (attended(true), Stand::Starting, AttemptPhase::Pending, false),
            (attended(false), Stand::Unattended, AttemptPhase::Pending, false),
            (started(true), Stand::Running, AttemptPhase::Running, true),
            (started(false), Stand::Lost, AttemptPhase::Gone, true),
            (ended(ExitReason::Completed, 0), Stand::Over, AttemptPhase::Succeeded, true),
            (ended(ExitReason::Error, 7), Stand::Over, AttemptPhase::Failed, true),
            (ended(ExitReason::DeadlineExceeded, 143), Stand::Over, AttemptPhase::Failed, true),
            (ended(ExitReason::StartError, 128), Stand::Over, AttemptPhase::Failed, false),
            (ended(ExitReason::NotStarted, 0), Stand::Over, AttemptPhase::Gone, false),
        ];
        for (contents, stand, phase, ran) in cases {
            let facts = contents.facts("here");
            let attempt = facts.last_attempt().unwrap();
            assert_eq!((contents.stand(), attempt.phase, attempt.main.started()), (stand, phase, ran), "{contents:?}");
            assert_eq!(attempt.uid.as_deref(), Some("uid-1"));
        }
    }

    #[test]
    fn an_end_is_told_with_its_message_and_times() {
        let facts = ended(ExitReason::Error, 7).facts("here");
        let attempt = facts.last_attempt().unwrap();
        let end = attempt.main.terminated().unwrap();
        assert_eq!((end.exit_code, end.reason.as_str(), end.message.as_slice()), (7, "Error", b"m".as_slice()));
        assert_eq!((end.started_at, end.finished_at), (Some(at(3)), Some(at(4))));
        assert!(attempt.job_end.as_ref().is_some_and(|end| end.final_ && !end.complete));
        assert_eq!(attempt.node.as_deref(), Some("here"));
    }

    #[test]
    fn a_deadline_is_told_in_the_words_of_kubernetes() {
        let facts = ended(ExitReason::DeadlineExceeded, 0).facts("here");
        let attempt = facts.last_attempt().unwrap();
        assert_eq!(attempt.status_reason.as_deref(), Some("DeadlineExceeded"));
        assert_eq!((attempt.node_time, attempt.deadline), (Some(at(3)), Some(Duration::from_secs(60))));
    }

    #[test]
    fn release_starts_the_retention_clock() {
        let released = Some(Released { expire_time: at(9) });
        let facts = Contents { released, ..ended(ExitReason::Completed, 0) }.facts("here");
        assert_eq!((facts.released, facts.expire_time), (true, Some(at(9))));
    }
}
