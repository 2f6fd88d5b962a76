//! When and how often a call is made again.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// How long a single call is tried again.
pub const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a run that is being followed may be out of sight: a daemon's restart with its adoption fits well.
pub const FOLLOW_PATIENCE: Duration = Duration::from_secs(90);

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(3);
/// What a server may ask us to wait at most.
const LONGEST_ASKED_DELAY: Duration = Duration::from_secs(15);

/// After so long failures are an outage.
const OUTAGE_AFTER: Duration = Duration::from_secs(5);

/// Whether the same call may well succeed a moment later.
///
/// A status without Longshore's error details comes from the transport or from something in between.
#[must_use]
pub fn is_transient(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (status.code(), reason.as_deref()) {
        (Code::Unavailable | Code::DeadlineExceeded, _) => true,
        (Code::ResourceExhausted, reason) => reason == Some("RATE_LIMITED"),
        (Code::Unknown | Code::Internal | Code::Cancelled, None) => true,
        _ => false,
    }
}

/// How long the server asks to wait.
#[must_use]
pub fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|retry| retry.retry_delay)
}

/// Delays between tries that fail: doubling, bounded, and over when patience is. Each is random between its half and its
/// whole, so that clients that lost their server together don't all come back at the same moment.
#[derive(Clone, Debug)]
pub struct RetryBackoff {
    patience: Duration,
    failing_since: Option<Instant>,
    next: Duration,
}

impl RetryBackoff {
    /// Failures are borne for so long.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, failing_since: None, next: FIRST_DELAY }
    }

    /// Something went well: patience and delays start anew.
    pub fn reset(&mut self) {
        *self = Self::new(self.patience);
    }

    /// The patience, if failures have lasted for long enough to be reported.
    #[must_use]
    pub fn lasts(&self, now: Instant) -> Option<Duration> {
        let since = self.failing_since?;
        (now.checked_duration_since(since)? >= OUTAGE_AFTER).then_some(self.patience)
    }

    /// How long to wait after a failure at `now`, at least as long as the server `asked`; `None` when patience is over.
    pub fn after_failure(&mut self, now: Instant, asked: Option<Duration>) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert(now);
        let delay = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        let delay = delay.max(asked.unwrap_or_default().min(LONGEST_ASKED_DELAY));
        self.next = (self.next * 2).min(LONGEST_DELAY);
        (now + delay).checked_duration_since(since).filter(|spent| *spent <= self.patience).map(|_| delay)
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn ours(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "longshore.dev", std::collections::HashMap::new());
        Status::with_error_details(code, "…", details)
    }

    #[test]
    fn what_is_tried_again() {
        for status in [
            Status::unavailable("proxy"),
            Status::unknown("broken connection"),
            Status::internal("h2 protocol error"),
            Status::cancelled("timeout"),
            ours(Code::Unavailable, "NOT_SERVING"),
            ours(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            ours(Code::ResourceExhausted, "RATE_LIMITED"),
        ] {
            assert!(is_transient(&status), "{status:?}");
        }
        for status in [
            ours(Code::Internal, "INTERNAL"),
            ours(Code::ResourceExhausted, "QUOTA_EXCEEDED"),
            ours(Code::NotFound, "RESOURCE_NOT_FOUND"),
            Status::resource_exhausted("message too large"),
            Status::unimplemented("not a Longshore server"),
        ] {
            assert!(!is_transient(&status), "{status:?}");
        }
    }

    #[test]
    fn what_lasts_is_an_outage() {
        let start = Instant::now();
        let mut backoff = RetryBackoff::new(FOLLOW_PATIENCE);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(backoff.lasts(at(60)), None, "nothing failed");
        backoff.after_failure(start, None);
        assert_eq!((backoff.lasts(at(4)), backoff.lasts(at(5))), (None, Some(FOLLOW_PATIENCE)));
        backoff.reset();
        assert_eq!(backoff.lasts(at(60)), None);
    }

    #[test]
    fn delays_double_until_patience_is_over() {
        let mut backoff = RetryBackoff::new(Duration::from_secs(1));
        let start = Instant::now();
        let ms = |n| Duration::from_millis(n);
        for (at, longest) in [(0, 100), (100, 200), (300, 400)] {
            let delay = backoff.after_failure(start + ms(at), None).unwrap();
            assert!(ms(longest / 2) <= delay && delay <= ms(longest), "{at}: {delay:?}");
        }
        assert_eq!(backoff.after_failure(start + ms(700), None), None);
        backoff.reset();
        assert_eq!(backoff.after_failure(start + ms(5000), Some(ms(500))), Some(ms(500)));
        assert_eq!(backoff.after_failure(start + ms(5000), Some(ms(3_600_000))), None, "not for an hour");
    }
}
