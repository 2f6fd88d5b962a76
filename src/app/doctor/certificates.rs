//! How long certificates are still valid.

use jiff::{SignedDuration, Timestamp};

use crate::runtime::finding::Finding;

const CHECK: &str = "certificate";
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// With less than this left, whoever renews it should know.
const WARN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// With less than this left, renewing by itself has failed.
const FAIL: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A certificate in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Which file.
    pub file: String,
    /// Its subject, or the names it is for.
    pub subject: String,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

/// One finding for each.
pub(super) fn judge(certificates: &[Certificate], now: Timestamp) -> Vec<Finding> {
    certificates.iter().map(|certificate| judge_one(certificate, now)).collect()
}

fn judge_one(certificate: &Certificate, now: Timestamp) -> Finding {
    let Certificate { file, subject, not_after } = certificate;
    let left = not_after.duration_since(now);
    let days = left.as_hours() / 24;
    let until = format!("{subject}: valid until {}", not_after.strftime("%Y-%m-%d %H:%M UTC"));
    if left >= WARN {
        return Finding::ok(CHECK, file, format!("{until}, for {days} days"));
    }
    let finding = if left <= SignedDuration::ZERO {
        Finding::failed(CHECK, file, format!("{subject}: expired on {}", not_after.strftime("%Y-%m-%d %H:%M UTC")))
    } else if left < FAIL {
        let left = if left < DAY { "for less than a day".to_owned() } else { format!("for {days} more days only") };
        Finding::failed(CHECK, file, format!("{until}, {left}"))
    } else {
        Finding::warning(CHECK, file, format!("{until}, for {days} more days"))
    };
    finding.fix(
        "put a new certificate and key in the place of these files: they are read again when they change, without a \
         restart. With cert-manager: `kubectl describe certificate` tells why it was not renewed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::finding::Status;

    #[test]
    fn the_days_that_are_left() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (hours, status, word) in [
            (-1, Status::Failed, "expired on 2026-11-21 11:00"),
            (0, Status::Failed, "expired"),
            (1, Status::Failed, "less than a day"),
            (7 * 24 - 1, Status::Failed, "6 more days only"),
            (7 * 24, Status::Warning, "7 more days"),
            (30 * 24 - 1, Status::Warning, "29 more days"),
            (30 * 24, Status::Ok, "30 days"),
        ] {
            let certificate = Certificate {
                file: "/tls.crt".to_owned(),
                subject: "CN=longshore".to_owned(),
                not_after: now + SignedDuration::from_hours(hours),
            };
            let finding = &judge(&[certificate], now)[0];
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.message.contains(word), "{finding:?}");
            assert_eq!(finding.fix.is_empty(), status == Status::Ok, "{finding:?}");
        }
    }
}
