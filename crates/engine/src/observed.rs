//! A run as observed: the kind of things that logs, results and the use cases of runs are about.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::reconcile::{Counted, Kind, Observed};
use longshore_domain::name::RunName;
use longshore_domain::run::derive::derive;
use longshore_domain::run::facts::{AttemptFacts, RunFacts, remember};
use longshore_domain::run::failure::FailureClass;
use longshore_domain::run::plan::{Action, ActionKey, RunPlan, plan};
use longshore_domain::run::verdict::{Verdict, judge};
use longshore_domain::run::{Run, RunState};

mod packed;
mod start;
#[cfg(test)]
mod tests;

use packed::{PackedRun, Samples};
use start::StartSeen;

/// A run as observed, and as reported.
pub(crate) type ObservedRun = Observed<RunKind>;

/// Runs.
#[derive(Debug)]
pub(crate) enum RunKind {}

/// Whose end an action writes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrittenEnd {
    /// The run's.
    OfRun,
    /// That of the attempt with this number, after which another follows.
    OfAttempt(u32),
}

/// What runs are chosen by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunTraits<'a> {
    pub(crate) name: &'a RunName,
    pub(crate) state: RunState,
    pub(crate) create_time: Option<Timestamp>,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) profile: Option<&'a str>,
    pub(crate) failure_class: Option<FailureClass>,
    /// Whether a cancel changes anything of it.
    pub(crate) can_be_stopped: bool,
    /// Whether somebody asked to delete it.
    pub(crate) is_deleted: bool,
}

impl<'a> RunTraits<'a> {
    fn of(run: &'a Run) -> Self {
        let is_deleted = run.delete_time.is_some();
        // What has ended may be tried again.
        let goes_on = run.state != RunState::Finishing || run.effective.may_be_repeated();
        Self {
            name: &run.name,
            state: run.state,
            create_time: run.timeline.create_time,
            labels: &run.effective.labels,
            profile: run.spec.profile(),
            failure_class: run.failure.as_ref().map(|failure| failure.failure_class),
            can_be_stopped: !run.state.is_terminal() && goes_on && run.stop.is_none() && !is_deleted,
            is_deleted,
        }
    }
}

impl Kind for RunKind {
    const NOUN: &'static str = "run";

    type Name = RunName;
    type Facts = RunFacts;
    type Verdict = Verdict;
    type View = Run;
    type Action = Action;
    type ActionKey = ActionKey;
    type Written = WrittenEnd;
    /// How its attempts were seen to start, by number.
    type Seen = Vec<(u32, StartSeen)>;
    type Traits<'a> = RunTraits<'a>;
    type Packed = PackedRun;
    type Common = Samples;

    fn name(facts: &RunFacts) -> &RunName {
        &facts.name
    }

    fn uid(facts: &RunFacts) -> &str {
        &facts.uid
    }

    fn remember(known: Option<&RunFacts>, facts: RunFacts, now: Timestamp) -> RunFacts {
        remember(known, facts, now)
    }

    fn merge(known: &RunFacts, read: &RunFacts) -> RunFacts {
        let mut merged = known.clone();
        merged.take_stop(read);
        if merged.record.is_none() {
            merged.record.clone_from(&read.record);
        }
        merged.deleted_at = merged.deleted_at.or(read.deleted_at);
        if merged.settled.len() < read.settled.len() {
            merged.settled.clone_from(&read.settled);
        }
        let is_new = |attempt: &&AttemptFacts| known.attempt(attempt.number).is_none();
        merged.attempts.extend(read.attempts.iter().filter(is_new).cloned());
        merged.attempts.sort_by_key(|attempt| attempt.number);
        merged
    }

    fn judge(facts: &RunFacts, now: Timestamp) -> Verdict {
        judge(facts, now)
    }

    fn derive(facts: &RunFacts, verdict: &Verdict, now: Timestamp) -> Run {
        derive(facts, verdict, now)
    }

    fn plan(facts: &RunFacts, verdict: &Verdict, now: Timestamp) -> RunPlan {
        plan(facts, verdict, now)
    }

    fn see(facts: &RunFacts, before: Option<&Self::Seen>, stretch: Option<u64>, now: Instant) -> Self::Seen {
        let known = |number| before.and_then(|seen| seen.iter().find(|(n, _)| *n == number));
        let attempts = facts.attempts.iter();
        let seen = attempts.map(|attempt| {
            let before = known(attempt.number).map(|(_, seen)| *seen);
            (attempt.number, StartSeen::next(before, attempt.main.started(), stretch, now))
        });
        seen.collect()
    }

    fn state(run: &Run) -> &'static str {
        run.state.as_str()
    }

    fn is_terminal(run: &Run) -> bool {
        run.state.is_terminal()
    }

    fn is_settled(facts: &RunFacts, run: &Run) -> bool {
        let RunFacts { released, deleted_at, trouble, unknown, result, reported, .. } = facts;
        let is_known = unknown.is_none() && result.is_none() && reported.is_none() && trouble.is_none();
        run.state.is_terminal() && *released && deleted_at.is_none() && is_known
    }

    fn owner(facts: &RunFacts) -> &str {
        &facts.submission.submitter
    }

    fn traits(run: &Run) -> RunTraits<'_> {
        RunTraits::of(run)
    }

    fn packed_traits(packed: &PackedRun) -> RunTraits<'_> {
        packed.traits()
    }

    fn place(run: &Run) -> (Option<Timestamp>, &RunName) {
        (run.timeline.create_time, &run.name)
    }

    fn packed_place(packed: &PackedRun) -> (Option<Timestamp>, &RunName) {
        (packed.create_time, &packed.name)
    }

    fn counted(observed: &ObservedRun) -> Counted {
        Counted { state: observed.view.state.as_str(), stage: stage(observed) }
    }

    fn packed_counted(packed: &PackedRun) -> Counted {
        Counted { state: packed.state.as_str(), stage: None }
    }

    fn pack(observed: &ObservedRun, samples: &mut Samples) -> Option<PackedRun> {
        PackedRun::of(observed, samples)
    }

    fn unpack(packed: &PackedRun) -> Option<ObservedRun> {
        packed.observed()
    }

    fn is_recorded(facts: &RunFacts) -> bool {
        facts.record.is_some()
    }

    fn key(action: &Action) -> ActionKey {
        action.key()
    }

    fn writes(action: &Action) -> Option<WrittenEnd> {
        match action {
            Action::WriteRecord(_) => Some(WrittenEnd::OfRun),
            Action::WriteAttempt(record) => Some(WrittenEnd::OfAttempt(record.attempt.number)),
            _ => None,
        }
    }

    fn shows(facts: &RunFacts, written: &WrittenEnd) -> bool {
        match written {
            WrittenEnd::OfRun => facts.record.is_some(),
            // Where a stop came before it, it was not written.
            WrittenEnd::OfAttempt(number) => {
                facts.record.is_some()
                    || facts.stop.is_some()
                    || facts.deleted_at.is_some()
                    || facts.present_number() > *number
            }
        }
    }

    fn misses(action: &Action) -> Option<&'static str> {
        match action {
            Action::WriteStop(_) => Some("the stop can't be recorded yet"),
            Action::WriteRecord(_) | Action::StoreResult { .. } => Some("how it ended can't be recorded yet"),
            Action::WriteAttempt(_) => Some("how the attempt ended can't be recorded yet"),
            Action::BeginAttempt { .. } => Some("the next attempt can't begin yet"),
            Action::ClosePreempted { .. } => Some("its suspended Job can't be kept from starting it again yet"),
            _ => None,
        }
    }

    fn action(action: &Action) -> &'static str {
        action.as_str()
    }
}

impl ObservedRun {
    /// Whether the program has ended, and its result has to be read now.
    pub(crate) fn result_is_due(&self) -> bool {
        self.verdict().result_is_due()
    }

    /// When the program of this attempt was seen to start. `None`: it has not, or that was not seen.
    pub(crate) fn seen_start(&self, attempt: u32) -> Option<Instant> {
        self.seen().iter().find_map(|(number, seen)| match seen {
            StartSeen::Started(since) if *number == attempt => *since,
            _ => None,
        })
    }

    /// Whether the program of the last attempt is known to have started before the run was to be
    /// stopped.
    pub(crate) fn ran_before_stop(&self) -> bool {
        self.facts.stop.is_none() && self.facts.present().is_some_and(|attempt| attempt.main.started())
    }
}

/// How far a run is whose objects may still be held; `None` once it is released.
fn stage(observed: &ObservedRun) -> Option<&'static str> {
    let facts = &observed.facts;
    match (facts.released, facts.record.is_some(), observed.view.state == RunState::Finishing) {
        (true, ..) => None,
        (false, true, _) => Some("recorded"),
        (false, false, true) => Some("unrecorded"),
        (false, false, false) => Some("live"),
    }
}
