//! A run as observed, with what earlier looks have shown.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use longshore_domain::run::Run;
use longshore_domain::run::derive::derive;
use longshore_domain::run::facts::RunFacts;
use longshore_domain::run::plan::{Plan, plan};
use longshore_domain::run::verdict::{Verdict, judge};

/// A run as observed, and as reported.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) facts: RunFacts,
    /// What was found in this look, and when that was.
    verdict: Verdict,
    looked_at: Timestamp,
    pub(super) run: Arc<Run>,
    /// How its attempts were seen to start, by number.
    seen: Vec<(u32, StartSeen)>,
}

/// How an attempt's program was seen to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartSeen {
    /// Not yet, as the watch reported last, in this stretch of it without a break; `None`: the watch did
    /// not report.
    NotStarted(Option<u64>),
    /// It has started. When that was seen, if it was not started before in the same stretch.
    Started(Option<Instant>),
}

impl StartSeen {
    /// What is known after one more look, which is of this stretch of the watch. What has started stays so.
    fn next(before: Option<Self>, started: bool, stretch: Option<u64>, now: Instant) -> Self {
        match (before, started) {
            (Some(Self::Started(since)), _) => Self::Started(since),
            (Some(Self::NotStarted(known)), true) => {
                Self::Started(Some(now).filter(|_| stretch.is_some() && stretch == known))
            }
            (Some(Self::NotStarted(known)), false) => Self::NotStarted(stretch.or(known)),
            (None, true) => Self::Started(None),
            (None, false) => Self::NotStarted(stretch),
        }
    }
}

impl Observed {
    pub(super) fn new(facts: RunFacts, now: Timestamp) -> Self {
        Self::known(facts, Vec::new(), now).seen_after(None, None, Instant::now())
    }

    /// As it was known before.
    pub(super) fn known(facts: RunFacts, seen: Vec<(u32, StartSeen)>, now: Timestamp) -> Self {
        let verdict = judge(&facts, now);
        let run = Arc::new(derive(&facts, &verdict, now));
        Self { facts, verdict, looked_at: now, run, seen }
    }

    /// How its attempts were seen to start, by number.
    pub(super) fn seen(&self) -> &[(u32, StartSeen)] {
        &self.seen
    }

    /// What to do about the run, as of this look.
    pub(super) fn plan(&self) -> Plan {
        plan(&self.facts, &self.verdict, self.looked_at)
    }

    /// Whether the program has ended, and its result has to be read now.
    pub(super) fn result_is_due(&self) -> bool {
        self.verdict.result_is_due()
    }

    /// Whether nothing more happens to the run but that it is deleted.
    pub(super) fn is_settled(&self) -> bool {
        let RunFacts { released, deleted_at, trouble, unknown, result, reported, .. } = &self.facts;
        let is_known = unknown.is_none() && result.is_none() && reported.is_none() && trouble.is_none();
        self.run.state.is_terminal() && *released && deleted_at.is_none() && is_known
    }

    /// The same as a further look after `before` of the same run, reported in this stretch of the
    /// watch.
    pub(super) fn seen_after(self, before: Option<&Self>, stretch: Option<u64>, now: Instant) -> Self {
        let known = |number| before.and_then(|before| before.seen.iter().find(|(n, _)| *n == number));
        let attempts = self.facts.attempts.iter();
        let seen = attempts.map(|attempt| {
            let before = known(attempt.number).map(|(_, seen)| *seen);
            (attempt.number, StartSeen::next(before, attempt.main.started(), stretch, now))
        });
        Self { seen: seen.collect(), ..self }
    }

    /// When the program of this attempt was seen to start. `None`: it has not, or that was not seen.
    pub(super) fn seen_start(&self, attempt: u32) -> Option<Instant> {
        self.seen.iter().find_map(|(number, seen)| match seen {
            StartSeen::Started(since) if *number == attempt => *since,
            _ => None,
        })
    }

    /// Whether the program of the last attempt is known to have started before the run was to be
    /// stopped.
    pub(super) fn ran_before_stop(&self) -> bool {
        self.facts.stop.is_none() && self.facts.last_attempt().is_some_and(|attempt| attempt.main.started())
    }

    /// The run as of `now`: the time spent waiting is reported in its message.
    pub(super) fn view(&self, now: Timestamp) -> Arc<Run> {
        if self.run.state.is_terminal() {
            return Arc::clone(&self.run);
        }
        Arc::new(derive(&self.facts, &judge(&self.facts, now), now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use StartSeen::{NotStarted, Started};

    #[test]
    fn a_start_is_seen_only_within_one_stretch_of_the_watch() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let table = [
            (None, false, Some(1), NotStarted(Some(1))),
            (None, true, Some(1), Started(None)),
            (Some(NotStarted(Some(1))), true, Some(1), Started(Some(now))),
            // The watch was broken in between, for nobody knows how long.
            (Some(NotStarted(Some(1))), true, Some(2), Started(None)),
            (Some(NotStarted(Some(1))), false, Some(2), NotStarted(Some(2))),
            // Looked at again, without a word of the watch.
            (Some(NotStarted(Some(1))), false, None, NotStarted(Some(1))),
            (Some(NotStarted(None)), true, Some(1), Started(None)),
            (Some(NotStarted(None)), true, None, Started(None)),
            // Never back, whatever the kubelet says for a moment.
            (Some(Started(Some(later))), false, Some(2), Started(Some(later))),
            (Some(Started(None)), true, Some(2), Started(None)),
        ];
        for (before, started, stretch, expected) in table {
            assert_eq!(StartSeen::next(before, started, stretch, now), expected, "{before:?} {started} {stretch:?}");
        }
    }
}
