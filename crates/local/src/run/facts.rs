//! Facts from what a run's directory holds. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use crate::sys::{Cause, Probe, Unknown};
use longshore_domain::name::RunName;
use longshore_domain::run::facts::{
    AttemptFacts, AttemptPhase, EndCause, Explanation, Intervention, JobEnd, JobEndCause, MainFacts, Mentions,
    PlatformCause, RunFacts, Submission, Terminated, Unexamined, WaitCause,
};
use longshore_domain::run::record::Record;
use longshore_domain::run::retry::AttemptRecord;
use longshore_domain::run::rundir::{Admitted, Child, Exit, ExitReason, KeptRun, ProcessIdentity, Released, Started};
use longshore_domain::run::{Attempt, Evidence, StopIntent};

/// What a run's directory holds, as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contents {
    /// Whose it is, by its path.
    pub(crate) name: RunName,
    /// Its path.
    pub(crate) directory: String,
    /// Which directory that is. `None`: it could not be looked at.
    pub(crate) id: Option<DirectoryId>,
    /// What was created. Never [`Probe::Gone`].
    pub(crate) run: Probe<Arc<KeptRun>>,
    /// Which attempt the files are of, and how those before it ended. Never [`Probe::Gone`].
    pub(crate) ledger: Probe<AttemptLedger>,
    /// Who supervises it.
    pub(crate) shim: Probe<ProcessIdentity>,
    /// Whether that process lives; looked at before anything below.
    pub(crate) shim_alive: Probe<()>,
    /// That it has waited for its turn.
    pub(crate) admitted: Probe<Admitted>,
    /// That the program was, or was about to be, started.
    pub(crate) started: Probe<Started>,
    /// What was started.
    pub(crate) child: Probe<Child>,
    /// Whether that process lives; looked at only where the shim does not, and nothing is known of the end.
    pub(crate) child_alive: Probe<()>,
    /// How it ended.
    pub(crate) exit: Probe<Exit>,
    /// Whether the order to end it stands.
    pub(crate) ordered: bool,
    /// The stop that was asked for.
    pub(crate) stop: Probe<StopIntent>,
    /// The record.
    pub(crate) record: Probe<Record>,
    /// That nothing more is to be done.
    pub(crate) released: Probe<Released>,
    /// What could not be looked at this time, though it may be known from before.
    pub(crate) unread: Vec<Unknown>,
    /// What its directory takes, in bytes, if that and all of this stands in one file, too.
    pub(crate) summarized: Option<u64>,
}

/// Which attempt a run's files are of, and what was written of attempts after each of which another was announced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AttemptLedger {
    /// From 1.
    pub(crate) number: u32,
    /// When it was begun. `None`: with the run.
    pub(crate) begun: Option<Timestamp>,
    /// Of the attempts 1 to as many as there are.
    pub(crate) settled: Vec<AttemptRecord>,
}

impl Default for AttemptLedger {
    fn default() -> Self {
        Self { number: 1, begun: None, settled: Vec::new() }
    }
}

impl AttemptLedger {
    /// Whether the files are of an attempt that is settled: the next one is announced and not begun.
    pub(crate) fn is_between(&self) -> bool {
        usize::try_from(self.number).is_ok_and(|number| number <= self.settled.len())
    }
}

/// Which directory this is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryId {
    /// Device and number of its inode.
    pub(crate) inode: (u64, u64),
    /// When it was made, if the file system knows: numbers are used again.
    pub(crate) created: Option<Timestamp>,
}

/// Where a run's process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// A shim is to be started: there never was one, or it died before it started the program.
    Unattended,
    /// A shim is about to start the program, or does.
    Starting,
    /// The program runs.
    Running,
    /// The shim died, and left nothing that says how the program ended.
    Lost,
    /// Over.
    Over,
    /// What would show it could not be read. Nothing follows from it.
    Unknown,
}

impl Contents {
    /// A run of which nothing at all could be looked at.
    pub(crate) fn unexamined(name: &RunName, directory: String, why: &Unknown) -> Self {
        fn unknown<T>(why: &Unknown) -> Probe<T> {
            Probe::Unknown(why.clone())
        }
        Self {
            name: name.clone(),
            directory,
            id: None,
            run: unknown(why),
            ledger: unknown(why),
            shim: unknown(why),
            shim_alive: unknown(why),
            admitted: unknown(why),
            started: unknown(why),
            child: unknown(why),
            child_alive: unknown(why),
            exit: unknown(why),
            ordered: false,
            stop: unknown(why),
            record: unknown(why),
            released: unknown(why),
            unread: vec![why.clone()],
            summarized: None,
        }
    }

    /// Fills what could not be read this time with what was seen before in the same directory. Every
    /// file is written once, but for the name of the shim: another one may have begun since.
    pub(crate) fn filled_from(mut self, before: &Self) -> Self {
        let same = self.id.is_none() || self.id == before.id;
        let another =
            matches!((&self.run, &before.run), (Probe::There(now), Probe::There(then)) if now.uid != then.uid);
        // The files of another attempt are others.
        let another = another
            || matches!((&self.ledger, &before.ledger), (Probe::There(now), Probe::There(then)) if now.number != then.number);
        if self.unread.is_empty() || !same || another {
            return self;
        }
        self.id = self.id.or(before.id);
        self.run = self.run.or_seen(&before.run);
        // One that was announced may have begun since.
        if !before.is_between() {
            self.ledger = self.ledger.or_seen(&before.ledger);
        }
        self.admitted = self.admitted.or_seen(&before.admitted);
        self.started = self.started.or_seen(&before.started);
        self.child = self.child.or_seen(&before.child);
        self.exit = self.exit.or_seen(&before.exit);
        self.ordered |= before.ordered;
        self.stop = self.stop.or_seen(&before.stop);
        self.record = self.record.or_seen(&before.record);
        self.released = self.released.or_seen(&before.released);
        self
    }

    /// Its identity over time.
    pub(crate) fn uid(&self) -> String {
        match (&self.run, self.id) {
            (Probe::There(run), _) => run.uid.clone(),
            (_, Some(DirectoryId { inode: (device, number), .. })) => format!("unreadable-{device:x}-{number:x}"),
            (_, None) => "unreadable".to_owned(),
        }
    }

    /// Where its process stands.
    pub(crate) fn stand(&self) -> Stand {
        match &self.ledger {
            Probe::There(ledger) if ledger.is_between() => return Stand::Over,
            Probe::There(_) => {}
            Probe::Gone | Probe::Unknown(_) => return Stand::Unknown,
        }
        match (&self.exit, &self.shim_alive) {
            (Probe::There(_), _) => Stand::Over,
            (_, Probe::There(())) if self.is_executed() => Stand::Running,
            (_, Probe::There(())) => Stand::Starting,
            (Probe::Gone, Probe::Gone) if self.has_started() => Stand::Lost,
            // Without its spec nothing can be started.
            (Probe::Gone, Probe::Gone) if self.started.is_gone() && self.run.is_there() => Stand::Unattended,
            _ => Stand::Unknown,
        }
    }

    /// Whether further attempts may be made.
    pub(crate) fn may_be_repeated(&self) -> bool {
        self.run.there().is_some_and(|run| run.submission.effective.may_be_repeated())
    }

    /// Whether its files are of this attempt, and nothing was written yet of how that ended.
    pub(crate) fn is_present(&self, attempt: u32) -> bool {
        self.ledger.there().is_some_and(|ledger| ledger.number == attempt && !ledger.is_between())
    }

    /// Whether this attempt is the next, is announced and was not begun.
    pub(crate) fn is_announced(&self, attempt: u32) -> bool {
        self.ledger.there().is_some_and(|ledger| ledger.number.checked_add(1) == Some(attempt) && ledger.is_between())
    }

    /// Whether an attempt is announced and not begun.
    pub(crate) fn is_between(&self) -> bool {
        self.ledger.there().is_some_and(AttemptLedger::is_between)
    }

    /// Whether another attempt is announced after the last of this record.
    pub(crate) fn goes_on_after(&self, record: &Record) -> bool {
        let settled = self.ledger.there().map_or(0, |ledger| ledger.settled.len());
        settled > 0 && record.attempts.len() <= settled
    }

    /// Whether nothing was begun for it yet, so that it may have to wait for its turn.
    pub(crate) fn may_wait(&self) -> bool {
        let is_malformed = self.admitted.unknown().is_some_and(|unknown| unknown.kind == Cause::Malformed);
        let was_admitted = self.admitted.is_there() || is_malformed;
        self.stand() == Stand::Unattended && self.shim.is_gone() && !was_admitted
    }

    /// Whether something of it runs or is to be started, or may be: it takes one of the places for runs.
    pub(crate) fn takes_place(&self) -> bool {
        !self.is_idle() && !self.may_wait()
    }

    /// Whether the program is executed, or may be.
    fn is_executed(&self) -> bool {
        match &self.child {
            Probe::There(child) => child.executed,
            Probe::Gone => false,
            // There is one.
            Probe::Unknown(_) => self.has_started(),
        }
    }

    /// Whether the mark of the start is there. It needs no content for that.
    fn has_started(&self) -> bool {
        self.started.is_there() || self.started.unknown().is_some_and(|unknown| unknown.kind == Cause::Malformed)
    }

    /// Whether nothing of it runs, for certain.
    pub(crate) fn is_idle(&self) -> bool {
        match self.stand() {
            Stand::Over | Stand::Lost => true,
            Stand::Unattended | Stand::Starting | Stand::Running => false,
            Stand::Unknown => self.shim_alive.is_gone() && self.child_alive.is_gone(),
        }
    }

    /// Why nothing may be concluded now, if something that decides is not known.
    pub(crate) fn unknown(&self) -> Option<&Unknown> {
        let living = self.shim_alive.unknown().filter(|_| self.stand() == Stand::Unknown);
        // Of these it is enough that they are there, or others can be written in their place.
        let lenient = [self.admitted.unknown(), self.started.unknown(), self.stop.unknown(), self.released.unknown()];
        let lenient = lenient.into_iter().flatten().find(|unknown| unknown.kind != Cause::Malformed);
        let decisive = [self.run.unknown(), self.ledger.unknown(), self.exit.unknown(), self.record.unknown()];
        decisive.into_iter().flatten().next().or(lenient).or(living)
    }

    /// The facts; `node` is this machine's name.
    pub(crate) fn facts(&self, node: &str) -> RunFacts {
        let unknown = self.unknown();
        let damage: Vec<String> =
            self.unread.iter().filter(|unread| Some(*unread) != unknown).map(ToString::to_string).collect();
        RunFacts {
            name: self.name.clone(),
            uid: self.uid(),
            submission: self.submission(),
            stop: self.stop.there().cloned(),
            stop_mentions: Mentions::default(),
            record: self.record.there().cloned(),
            released: self.released.is_there(),
            suspended: false,
            admitted_at: self.admitted.there().map(|admitted| admitted.time),
            damage: (!damage.is_empty())
                .then(|| format!("of what is kept with the run this can't be read: {}", damage.join(", "))),
            trouble: None,
            unknown: unknown.map(|why| Unexamined { why: why.to_string(), nothing_lives: self.is_idle() }),
            settled: self
                .ledger
                .there()
                .map(|ledger| ledger.settled.clone())
                .filter(|_| !self.record.is_there())
                .unwrap_or_default(),
            deleted_at: None,
            expire_time: self.released.there().map(|released| released.expire_time),
            attempts: self.attempts(node),
            result: None,
            reported: None,
        }
    }

    /// The same of a run that waits for its turn, with this said of it.
    pub(crate) fn waiting_facts(&self, node: &str, message: String) -> RunFacts {
        let mut facts = self.facts(node);
        facts.suspended = true;
        let explanation = waits("Queued", message);
        if let Some(attempt) = facts.attempts.last_mut() {
            attempt.main = MainFacts::Waiting(Some(explanation));
        }
        facts
    }

    /// What was submitted, as far as that is known.
    pub(crate) fn submission(&self) -> Submission {
        match &self.run {
            Probe::There(run) => run.submission.clone(),
            _ => Submission::unreadable(self.id.and_then(|id| id.created).unwrap_or(Timestamp::UNIX_EPOCH)),
        }
    }

    /// Those that are over as they were recorded, and the present one.
    fn attempts(&self, node: &str) -> Vec<AttemptFacts> {
        let ledger = self.ledger.there().cloned().unwrap_or_default();
        let recorded: Vec<&Attempt> = match self.record.there() {
            Some(record) => record.attempts.iter().collect(),
            None => ledger.settled.iter().map(|settled| &settled.attempt).collect(),
        };
        let is_between = ledger.is_between();
        let before = recorded.into_iter().filter(|attempt| is_between || attempt.number < ledger.number);
        let present = (!is_between).then(|| self.attempt(ledger.number, node));
        before.map(AttemptFacts::of_record).chain(present).collect()
    }

    fn attempt(&self, number: u32, node: &str) -> AttemptFacts {
        let started_at = self.started.there().map(|started| started.time);
        let exit = self.exit.there();
        let shim = self.shim.there();
        AttemptFacts {
            create_time: self.began_at(),
            job_end: exit.map(job_end).or_else(|| (self.stand() == Stand::Lost).then(lost_end)),
            phase: self.phase(),
            uid: Some(format!("{}-{number}", self.uid())),
            node: shim.map(|_| node.to_owned()),
            schedule_time: shim.map(|shim| shim.time),
            // The clock runs from the start itself, so there is never a deadline to be lowered.
            node_time: started_at,
            deadline: started_at.and_then(|_| self.run.there()).map(|run| run.submission.effective.run_timeout),
            ended_by: exit.filter(|exit| exit.reason == ExitReason::DeadlineExceeded).map(|_| ended_by_deadline()),
            main: self.main(started_at),
            evidence: self.evidence(),
            ..AttemptFacts::blank(number, self.directory.clone())
        }
    }

    /// When the present attempt was begun, or submitted.
    fn began_at(&self) -> Option<Timestamp> {
        let begun = self.ledger.there().and_then(|ledger| ledger.begun);
        begun.or_else(|| self.run.there().map(|run| run.submission.create_time))
    }

    fn phase(&self) -> AttemptPhase {
        match (self.stand(), self.exit.there()) {
            (Stand::Unattended | Stand::Starting, _) => AttemptPhase::Pending,
            (Stand::Running, _) => AttemptPhase::Running,
            (Stand::Over, Some(exit)) => match exit.reason {
                ExitReason::Completed => AttemptPhase::Succeeded,
                ExitReason::Error | ExitReason::DeadlineExceeded | ExitReason::StartError => AttemptPhase::Failed,
                ExitReason::NotStarted => AttemptPhase::Gone,
            },
            (Stand::Lost | Stand::Over, _) => AttemptPhase::Gone,
            // What the record says is not taken back because the rest can't be read.
            (Stand::Unknown, _) if self.record.is_there() && self.is_idle() => AttemptPhase::Gone,
            (Stand::Unknown, _) if self.has_started() => AttemptPhase::Running,
            (Stand::Unknown, _) => AttemptPhase::Pending,
        }
    }

    fn main(&self, started_at: Option<Timestamp>) -> MainFacts {
        match (self.exit.there(), self.stand()) {
            (Some(exit), _) if exit.reason == ExitReason::NotStarted => MainFacts::Waiting(None),
            (Some(exit), _) => MainFacts::Terminated(terminated(exit)),
            (None, Stand::Running | Stand::Lost) => MainFacts::Running { started_at },
            (None, Stand::Unknown) if self.has_started() => MainFacts::Running { started_at },
            (None, Stand::Unattended) => {
                let message = "the process that supervises the run is being started".to_owned();
                MainFacts::Waiting(Some(waits("Starting", message)))
            }
            (None, Stand::Starting | Stand::Over | Stand::Unknown) => MainFacts::Waiting(None),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        if self.stand() != Stand::Lost {
            return Vec::new();
        }
        vec![Evidence { report_time: None, reason: LOST.to_owned(), message: LOST_MESSAGE.to_owned(), count: 1 }]
    }
}

/// What is not one of the causes that keep a run from its start.
fn waits(reason: &str, message: String) -> Explanation {
    let (cause, mentions) = (WaitCause::Other, Mentions::default());
    Explanation { cause, mentions, reason: reason.to_owned(), message, time: None }
}

fn ended_by_deadline() -> Intervention {
    Intervention {
        cause: PlatformCause::Deadline,
        reason: "RunTimeout".to_owned(),
        message: "the process was active longer than its deadline".to_owned(),
        time: None,
    }
}

/// What is said of a program that could not be executed, if nothing says why.
const NOT_EXECUTED: &str = "NotExecuted";
/// What is said where the shim left nothing.
const LOST: &str = "ShimLost";
const LOST_MESSAGE: &str = "the process that supervised the run was killed, or the machine was restarted";

/// Nothing more will come of a run whose shim is gone.
fn lost_end() -> JobEnd {
    let (reason, message) = (LOST.to_owned(), LOST_MESSAGE.to_owned());
    JobEnd { complete: false, final_: true, cause: JobEndCause::Other, reason, message, time: None }
}

fn job_end(exit: &Exit) -> JobEnd {
    let complete = exit.reason == ExitReason::Completed;
    let cause = match exit.reason {
        ExitReason::Completed => JobEndCause::Other,
        ExitReason::NotStarted | ExitReason::DeadlineExceeded => JobEndCause::Deadline,
        ExitReason::Error | ExitReason::StartError => JobEndCause::PodFailed,
    };
    let (reason, message) = (String::new(), String::new());
    JobEnd { complete, final_: true, cause, reason, message, time: Some(exit.finished_at) }
}

fn terminated(exit: &Exit) -> Terminated {
    let (cause, detail) = match exit.reason {
        ExitReason::StartError => (EndCause::NotExecuted, NOT_EXECUTED),
        _ => (EndCause::Exited, ""),
    };
    Terminated {
        exit_code: exit.exit_code,
        signal: exit.signal,
        cause,
        detail: detail.to_owned(),
        message: exit.message.clone(),
        started_at: exit.started_at,
        finished_at: Some(exit.finished_at),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use longshore_domain::name::RunName;
    use longshore_domain::run::facts::Submission;
    use longshore_domain::run::rundir::SPEC_VERSION;
    use longshore_domain::run::spec::{EffectiveSpec, Workload};
    use longshore_domain::testing;

    pub(crate) fn effective() -> EffectiveSpec {
        EffectiveSpec {
            workload: Workload::Runner { profile: "sh".to_owned() },
            start_timeout: Duration::from_secs(60),
            run_timeout: Duration::from_secs(60),
            termination_grace: Duration::from_secs(1),
            retention: Duration::from_secs(60),
            tmp_size: Some("1Mi".to_owned()),
            ..testing::effective()
        }
    }

    pub(crate) fn submission() -> Submission {
        Submission {
            spec: Arc::default(),
            effective: Arc::new(effective()),
            digest: longshore_domain::run::digest::PayloadDigest::default(),
            create_time: at(1),
            submitter: "me".to_owned(),
            result_marker: "marker".to_owned(),
            batch: None,
        }
    }

    fn kept(id: &str) -> KeptRun {
        KeptRun {
            version: SPEC_VERSION,
            uid: "uid".to_owned(),
            name: RunName::parse(&format!("namespaces/default/runs/{id}")).unwrap(),
            submission: submission(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(crate) fn created() -> Contents {
        let run = kept("a");
        Contents {
            name: run.name.clone(),
            directory: "/state/default/a".to_owned(),
            id: Some(DirectoryId { inode: (1, 255), created: Some(at(1)) }),
            run: Probe::There(Arc::new(run)),
            ledger: Probe::There(AttemptLedger::default()),
            shim: Probe::Gone,
            shim_alive: Probe::Gone,
            admitted: Probe::Gone,
            started: Probe::Gone,
            child: Probe::Gone,
            child_alive: Probe::Gone,
            exit: Probe::Gone,
            ordered: false,
            stop: Probe::Gone,
            record: Probe::Gone,
            released: Probe::Gone,
            unread: Vec::new(),
            summarized: None,
        }
    }

    fn attended(alive: bool) -> Contents {
        let shim = ProcessIdentity { pid: 7, start_time: 1, boot_id: "b".to_owned(), time: at(2) };
        let shim_alive = if alive { Probe::There(()) } else { Probe::Gone };
        Contents { shim: Probe::There(shim), shim_alive, ..created() }
    }

    fn started(alive: bool) -> Contents {
        let process = ProcessIdentity { pid: 8, start_time: 2, boot_id: "b".to_owned(), time: at(3) };
        let child = Probe::There(Child { process, executed: true });
        Contents { started: Probe::There(Started { time: at(3) }), child, ..attended(alive) }
    }

    fn not_executed() -> Probe<Child> {
        let Probe::There(child) = started(true).child else { panic!("it has a child") };
        Probe::There(Child { executed: false, ..child })
    }

    /// Its program is being started.
    fn starting(child: Probe<Child>) -> Contents {
        Contents { child, ..started(true) }
    }

    fn ended(reason: ExitReason, exit_code: i32) -> Contents {
        let exit =
            Exit { reason, exit_code, started_at: Some(at(3)), message: b"m".to_vec(), ..Exit::not_started(at(4)) };
        Contents { exit: Probe::There(exit), ..started(false) }
    }

    #[test]
    fn phases_by_what_is_there() {
        let cases = [
            (created(), Stand::Unattended, AttemptPhase::Pending, false),
            (attended(true), Stand::Starting, AttemptPhase::Pending, false),
            (attended(false), Stand::Unattended, AttemptPhase::Pending, false),
            (starting(Probe::Gone), Stand::Starting, AttemptPhase::Pending, false),
            (starting(not_executed()), Stand::Starting, AttemptPhase::Pending, false),
            (starting(unknown(Cause::Shortage)), Stand::Running, AttemptPhase::Running, true),
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
    fn an_end_is_reported_with_its_message_and_times() {
        let facts = ended(ExitReason::Error, 7).facts("here");
        let attempt = facts.last_attempt().unwrap();
        let end = attempt.main.terminated().unwrap();
        assert_eq!((end.exit_code, end.cause, end.message.as_slice()), (7, EndCause::Exited, b"m".as_slice()));
        assert_eq!((end.started_at, end.finished_at), (Some(at(3)), Some(at(4))));
        assert!(attempt.job_end.as_ref().is_some_and(|end| end.final_ && !end.complete));
        assert_eq!(attempt.node.as_deref(), Some("here"));
    }

    #[test]
    fn a_deadline_is_the_cause_of_an_end() {
        let facts = ended(ExitReason::DeadlineExceeded, 0).facts("here");
        let attempt = facts.last_attempt().unwrap();
        assert!(attempt.is_by_deadline());
        assert_eq!((attempt.node_time, attempt.deadline), (Some(at(3)), Some(Duration::from_secs(60))));
    }

    #[test]
    fn release_starts_the_retention_clock() {
        let released = Probe::There(Released { expire_time: at(9), kept_until: at(9) });
        let facts = Contents { released, ..ended(ExitReason::Completed, 0) }.facts("here");
        assert_eq!((facts.released, facts.expire_time), (true, Some(at(9))));
    }

    fn unknown<T>(kind: Cause) -> Probe<T> {
        Probe::Unknown(Unknown { what: "`file`".to_owned(), why: "broken".to_owned(), kind })
    }

    #[test]
    fn nothing_follows_from_what_can_t_be_looked_at() {
        use Stand::{Lost, Running, Starting, Unknown as NotKnown};
        for kind in [Cause::Shortage, Cause::Refused] {
            for (contents, stand, idle) in [
                (Contents { shim_alive: unknown(kind), ..started(false) }, NotKnown, false),
                (Contents { shim_alive: unknown(kind), ..attended(false) }, NotKnown, false),
                (Contents { exit: unknown(kind), ..started(true) }, Running, false),
                (Contents { exit: unknown(kind), ..started(false) }, NotKnown, true),
                (Contents { exit: unknown(kind), child_alive: Probe::There(()), ..started(false) }, NotKnown, false),
                (Contents { exit: unknown(kind), child_alive: unknown(kind), ..started(false) }, NotKnown, false),
                (Contents { started: unknown(kind), ..attended(true) }, Starting, false),
                (Contents { started: unknown(kind), ..attended(false) }, NotKnown, true),
                (Contents { run: unknown(kind), ..attended(false) }, NotKnown, true),
                (Contents { run: unknown(kind), ..started(true) }, Running, false),
                (Contents { stop: unknown(kind), ..started(true) }, Running, false),
                (Contents { record: unknown(kind), ..ended(ExitReason::Completed, 0) }, Stand::Over, true),
                (Contents { released: unknown(kind), ..ended(ExitReason::Completed, 0) }, Stand::Over, true),
            ] {
                let facts = contents.facts("here");
                assert_eq!((contents.stand(), contents.is_idle()), (stand, idle), "{contents:?}");
                let unknown = facts.unknown.clone().expect("something decides that is not known");
                assert_eq!(unknown.nothing_lives, idle);
                let now = at(1_000_000_000);
                assert_eq!(longshore_domain::run::verdict::conclude(&facts, now), None, "{contents:?}");
                assert_eq!(testing::planned(&facts, now), longshore_domain::run::plan::RunPlan::default());
                let run = testing::derived(&facts, now);
                assert!(run.message.contains("`file`: broken"), "{}", run.message);
            }
        }
        // Of the mark of a start it is enough that it is there.
        let marked = Contents { started: unknown(Cause::Malformed), ..attended(false) };
        assert_eq!((marked.stand(), marked.facts("here").unknown), (Lost, None));
        // A stop that nobody can read is written anew.
        let garbage = Contents { stop: unknown(Cause::Malformed), ..started(true) };
        assert_eq!(garbage.facts("here").unknown, None);
    }

    #[test]
    fn what_was_read_before_stays_known() {
        let before = ended(ExitReason::Completed, 0);
        let why = Unknown { what: "it".to_owned(), why: "no answer".to_owned(), kind: Cause::Refused };
        let blind = Contents::unexamined(&before.name, before.directory.clone(), &why);
        let filled = blind.clone().filled_from(&before);
        assert_eq!((filled.stand(), filled.uid()), (Stand::Over, "uid".to_owned()));
        // A stop or a record may have come since.
        let facts = filled.facts("here");
        assert!(facts.unknown.is_some_and(|unknown| unknown.why.contains("no answer") && unknown.nothing_lives));
        // Another directory of the same name is another run.
        let id = Some(DirectoryId { inode: (1, 2), created: None });
        let other = Contents { id, ..blind }.filled_from(&before);
        assert_eq!((other.stand(), other.uid()), (Stand::Unknown, "unreadable-1-2".to_owned()));
    }
}
