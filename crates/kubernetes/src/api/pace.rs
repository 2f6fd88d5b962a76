//! How soon a failed or short-lived request may be repeated. Pure: time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause after trouble, counted from the start of what failed.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(10);
/// What lived this long was not a failure, however it ended.
const LASTING: Duration = Duration::from_secs(5);

/// Paces one sequence of requests.
///
/// kube's watcher asks again at once when a server ends each watch as soon as it has begun, whatever
/// back-off is put around it: ten thousand requests in five seconds. So the pause is counted here,
/// from start to start, and only a request that lasted ends a series of failures.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    began: Option<Instant>,
    failures: u32,
}

impl Pace {
    /// When the next request may begin; `None`: now.
    pub(crate) fn next(&self) -> Option<Instant> {
        let pause = match self.failures {
            0 => return None,
            n => FIRST.saturating_mul(1 << (n - 1).min(8)).min(LONGEST),
        };
        self.began.map(|began| began + pause)
    }

    /// A request begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// A request failed outright.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// A stream ended, well or not.
    pub(crate) fn ended(&mut self, now: Instant) {
        if self.began.is_some_and(|began| now.duration_since(began) >= LASTING) {
            self.failures = 0;
        } else {
            self.failed();
        }
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_end_at_once_are_asked_for_ever_more_seldom() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let start = now;
        let mut requests = 0;
        while now.duration_since(start) < Duration::from_secs(60) {
            now = pace.next().map_or(now, |next| next.max(now));
            pace.begin(now);
            requests += 1;
            pace.ended(now);
        }
        assert!((8..=11).contains(&requests), "{requests} requests in a minute");
    }

    #[test]
    fn pauses_grow_to_ten_seconds_and_no_further() {
        let mut pace = Pace::default();
        let now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            pace.begin(now);
            pace.failed();
            pauses.push(pace.next().unwrap().duration_since(now).as_secs());
        }
        assert_eq!(pauses[..6], [1, 2, 4, 8, 10, 10]);
        assert_eq!(pauses[39], 10);
    }

    #[test]
    fn a_stream_that_lasted_is_followed_by_the_next_at_once() {
        let mut pace = Pace::default();
        let now = Instant::now();
        pace.failed();
        pace.begin(now);
        pace.ended(now + LASTING);
        assert_eq!(pace.next(), None);
    }
}
