//! How far an attempt is, for a reader of its output.

use crate::observed::ObservedRun;
use longshore_domain::run::facts::{AttemptFacts, AttemptPhase, MainFacts};

/// What of an attempt decides how its output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptStage {
    /// Nothing can be read yet.
    NotStarted,
    /// More will come.
    Live,
    /// Somebody deletes its Pod: the log goes with it, only an open follow still gets it.
    BeingDeleted,
    /// The log is final.
    Ended,
    /// The log is gone.
    Gone,
}

impl AttemptStage {
    /// Whether nothing is written any more.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Gone)
    }
}

pub(super) fn stage_of(observed: &ObservedRun, number: u32) -> AttemptStage {
    let attempt = observed.facts.attempt(number);
    if observed.facts.is_let_go() && attempt.is_some_and(|attempt| attempt.main.started()) {
        return AttemptStage::Ended;
    }
    attempt.map_or(AttemptStage::NotStarted, |attempt| attempt_stage(attempt, observed.view.state.is_terminal()))
}

fn attempt_stage(attempt: &AttemptFacts, terminal: bool) -> AttemptStage {
    let started = attempt.main.started();
    // At a deadline a Pod has failed for a second or more before its program has ended.
    let runs_on = matches!(attempt.main, MainFacts::Running { .. }) && !attempt.emptied && !terminal;
    match attempt.phase {
        AttemptPhase::Gone => AttemptStage::Gone,
        _ if attempt.main.terminated().is_some() || attempt.phase.is_over() && !runs_on => AttemptStage::Ended,
        _ if started && attempt.deleted_at.is_some() => AttemptStage::BeingDeleted,
        _ if started => AttemptStage::Live,
        _ => AttemptStage::NotStarted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_domain::testing;

    #[test]
    fn a_log_is_final_only_when_its_program_has_ended() {
        let running = || MainFacts::Running { started_at: None };
        let ended = || MainFacts::Terminated(testing::terminated(0));
        let table = [
            (MainFacts::Waiting(None), AttemptPhase::Pending, false, AttemptStage::NotStarted),
            (running(), AttemptPhase::Running, false, AttemptStage::Live),
            (ended(), AttemptPhase::Running, false, AttemptStage::Ended),
            (ended(), AttemptPhase::Failed, false, AttemptStage::Ended),
            (MainFacts::Waiting(None), AttemptPhase::Failed, false, AttemptStage::Ended),
            // At a deadline the Pod has failed a second before its program has ended.
            (running(), AttemptPhase::Failed, false, AttemptStage::Live),
            // That is not waited for for ever.
            (running(), AttemptPhase::Failed, true, AttemptStage::Ended),
            (running(), AttemptPhase::Gone, false, AttemptStage::Gone),
        ];
        for (main, phase, terminal, expected) in table {
            let attempt = AttemptFacts { main, phase, ..testing::attempt() };
            assert_eq!(attempt_stage(&attempt, terminal), expected, "{attempt:?}");
        }
        let emptied =
            AttemptFacts { main: running(), phase: AttemptPhase::Failed, emptied: true, ..testing::attempt() };
        assert_eq!(attempt_stage(&emptied, false), AttemptStage::Ended, "nothing more will be said of it");
        let deleted = AttemptFacts {
            main: running(),
            phase: AttemptPhase::Running,
            deleted_at: Some(testing::at(15)),
            ..testing::attempt()
        };
        assert_eq!(attempt_stage(&deleted, false), AttemptStage::BeingDeleted);
    }
}
