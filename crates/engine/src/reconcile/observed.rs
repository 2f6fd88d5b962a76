//! One thing as observed, with what earlier looks have shown.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::kind::Kind;
use longshore_domain::reconcile::Plan;

/// One thing as observed, and as reported.
#[derive(Debug)]
pub(crate) struct Observed<K: Kind> {
    pub(crate) facts: K::Facts,
    /// What was found in this look, and when that was.
    verdict: K::Verdict,
    looked_at: Timestamp,
    pub(crate) view: Arc<K::View>,
    seen: K::Seen,
}

impl<K: Kind> Observed<K> {
    /// As it is seen for the first time, not by the watch.
    pub(crate) fn new(facts: K::Facts, now: Timestamp) -> Self {
        let seen = K::see(&facts, None, None, Instant::now());
        Self::known(facts, seen, now)
    }

    /// As it was known before.
    pub(crate) fn known(facts: K::Facts, seen: K::Seen, now: Timestamp) -> Self {
        let verdict = K::judge(&facts, now);
        let view = Arc::new(K::derive(&facts, &verdict, now));
        Self { facts, verdict, looked_at: now, view, seen }
    }

    /// As of a further look after `before` at the same thing, reported in this stretch of the watch.
    pub(crate) fn after(before: Option<&Self>, facts: K::Facts, stretch: Option<u64>, now: Timestamp) -> Self {
        let seen = K::see(&facts, before.map(|before| &before.seen), stretch, Instant::now());
        Self::known(facts, seen, now)
    }

    pub(crate) fn verdict(&self) -> &K::Verdict {
        &self.verdict
    }

    pub(crate) fn seen(&self) -> &K::Seen {
        &self.seen
    }

    /// What to do about it, as of this look.
    pub(super) fn plan(&self) -> Plan<K::Action> {
        K::plan(&self.facts, &self.verdict, self.looked_at)
    }

    /// Whether nothing more happens to it but that it is deleted.
    pub(crate) fn is_settled(&self) -> bool {
        K::is_settled(&self.facts, &self.view)
    }

    /// What is reported as of `now`: the time spent waiting may be part of it.
    pub(crate) fn as_of(&self, now: Timestamp) -> Arc<K::View> {
        if K::is_terminal(&self.view) {
            return Arc::clone(&self.view);
        }
        Arc::new(K::derive(&self.facts, &K::judge(&self.facts, now), now))
    }
}
