//! What callers have deleted, as long as something older may still be reported of them.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// How long. What was under way before the deletion is reported within seconds; an outage of the
/// watch ends in a new list, which has nothing that was deleted.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Their uids, which never come back.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    uids: HashSet<String>,
    order: VecDeque<(Instant, String)>,
}

impl Deleted {
    pub(super) fn add(&mut self, uid: String, now: Instant) {
        while let Some((_, old)) = self.order.pop_front_if(|(at, _)| now.duration_since(*at) > REMEMBERED) {
            self.uids.remove(&old);
        }
        if self.uids.insert(uid.clone()) {
            self.order.push_back((now, uid));
        }
    }

    pub(super) fn has(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_forgotten_in_time() {
        let start = Instant::now();
        let mut deleted = Deleted::default();
        deleted.add("a".to_owned(), start);
        deleted.add("a".to_owned(), start + REMEMBERED);
        deleted.add("b".to_owned(), start + REMEMBERED);
        assert!(deleted.has("a") && deleted.has("b") && !deleted.has("c"));
        deleted.add("c".to_owned(), start + REMEMBERED + Duration::from_secs(1));
        assert!(!deleted.has("a") && deleted.has("b") && deleted.has("c"));
    }
}
