//! Pauses between tries of what failed.

use std::time::Duration;

/// Pauses that double with each failure in a row, up to a bound. Each is random between its half and its whole, so that
/// those who failed together don't all try again at the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// `first` after the first failure, never more than `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The pause after so many failures in a row.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Duration {
        self.whole(failures).mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// The same without chance: its upper bound.
    fn whole(&self, failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).and_then(|by| self.first.checked_mul(by));
        doubled.map_or(self.longest, |pause| pause.min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let table = [(0, 50), (1, 50), (2, 100), (3, 200), (7, 3200), (8, 5000), (31, 5000), (u32::MAX, 5000)];
        for (failures, millis) in table {
            let whole = Duration::from_millis(millis);
            assert_eq!(backoff.whole(failures), whole, "{failures}");
            let pauses: Vec<_> = (0..100).map(|_| backoff.pause(failures)).collect();
            assert!(pauses.iter().all(|pause| *pause >= whole / 2 && *pause <= whole), "{failures}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{failures}: without jitter");
        }
    }
}
