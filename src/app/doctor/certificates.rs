//! How long certificates are still valid.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::runtime::certificate::Certificate;
use crate::runtime::finding::Finding;

pub(super) const CHECK: &str = "certificate";
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// With less than this left, whoever renews it should know.
const WARN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// With less than this left, renewing by itself has failed.
const FAIL: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One finding for each.
pub(super) fn judge(certificates: &[(PathBuf, Certificate)], now: Timestamp) -> Vec<Finding> {
    certificates.iter().map(|(file, certificate)| judge_one(file, certificate, now)).collect()
}

fn judge_one(file: &Path, certificate: &Certificate, now: Timestamp) -> Finding {
    let file = file.display().to_string();
    let subject = certificate.common_name.as_deref().unwrap_or("a certificate without a common name");
    // Later than the clock can tell is late enough.
    let not_after = Timestamp::try_from(certificate.not_after).unwrap_or(Timestamp::MAX);
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
                common_name: Some("longshore".to_owned()),
                organizations: Vec::new(),
                not_after: (now + SignedDuration::from_hours(hours)).into(),
            };
            let finding = &judge(&[("/tls.crt".into(), certificate)], now)[0];
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.message.contains(word), "{finding:?}");
            assert_eq!(finding.fix.is_empty(), status == Status::Ok, "{finding:?}");
        }
    }
}
