//! What the reconciler counts as it goes.

use std::time::Instant;

use jiff::Timestamp;

use super::Reconciler;
use crate::Readiness;
use crate::observed::Observed;

impl Reconciler {
    /// Does `work` and counts the time.
    pub(super) fn work(&mut self, work: impl FnOnce(&mut Self)) {
        let began = Instant::now();
        work(self);
        self.metrics.busy(began.elapsed());
    }

    /// Counts a change of state. How long the state before lasted is only known if this process saw
    /// both its start and its end at their time: not of runs that are adopted, nor of what happened
    /// while the backend could not be watched.
    pub(super) fn count_state(&mut self, known: Option<&Observed>, observed: &Observed) {
        let now = self.sees_all().then(Instant::now);
        let Some(entry) = self.entries.get_mut(&observed.run.name) else { return };
        let since = std::mem::replace(&mut entry.since, now);
        if let (Some(known), Some(since), Some(now)) = (known, since, now) {
            self.metrics.left(known.run.state, now.duration_since(since));
        }
        // A run that was recorded before it was known here ended in another process.
        if observed.run.state.is_terminal() && (known.is_some() || observed.facts.record.is_none()) {
            self.metrics.finished(&observed.run);
        }
    }

    /// Counts how late the end of a program was seen.
    pub(super) fn count_exit(&self, known: Option<&Observed>, observed: &Observed) {
        let ended = |observed: &Observed| observed.facts.last_attempt()?.main.terminated()?.finished_at;
        if let (Some(known), Some(at)) = (known, ended(observed))
            && ended(known).is_none()
            && self.sees_all()
        {
            self.metrics.exit_seen(at, Timestamp::now());
        }
    }

    /// Whether changes are seen when they happen.
    fn sees_all(&self) -> bool {
        *self.ready.borrow() == Readiness::Ready
    }
}
