//! How long certificates are still valid.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::runtime::certificate::Certificate;
use crate::runtime::finding::Finding;

pub(super) const CHECK: &str = "certificate";

/// So little is left: less than this share of the lifetime, and less than this time. Certificates
/// live for a day or for years, and their renewal begins at a third of their lifetime
/// (cert-manager's default), which is enough.
struct Little {
    share: i32,
    time: SignedDuration,
}

/// Its owner should know.
const WARN: Little = Little { share: 5, time: SignedDuration::from_hours(30 * 24) };
/// Renewing by itself has failed.
const FAIL: Little = Little { share: 10, time: SignedDuration::from_hours(7 * 24) };

impl Little {
    fn of(&self, lifetime: SignedDuration) -> SignedDuration {
        (lifetime / self.share).min(self.time)
    }
}

/// One finding for each in this file.
pub(super) fn judge(file: &Path, certificates: &[Certificate], now: Timestamp) -> Vec<Finding> {
    certificates.iter().map(|certificate| judge_one(file, certificate, now)).collect()
}

fn judge_one(file: &Path, certificate: &Certificate, now: Timestamp) -> Finding {
    let file = file.display().to_string();
    let subject = certificate.common_name.as_deref().unwrap_or("a certificate without a common name");
    // Later than the clock can represent is late enough.
    let not_before = Timestamp::try_from(certificate.not_before).unwrap_or(Timestamp::MAX);
    let not_after = Timestamp::try_from(certificate.not_after).unwrap_or(Timestamp::MAX);
    let written = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let left = not_after.duration_since(now);
    if left > SignedDuration::ZERO && not_before > now {
        return Finding::failed(CHECK, file, format!("{subject}: valid only from {} on", written(not_before)))
            .fix("is this machine's clock right? clients refuse it until then");
    }
    let lifetime = not_after.duration_since(not_before);
    let until = format!("{subject}: valid until {}, for {}", written(not_after), in_words(left));
    let finding = if left <= SignedDuration::ZERO {
        Finding::failed(CHECK, file, format!("{subject}: expired on {}", written(not_after)))
    } else if left < FAIL.of(lifetime) {
        Finding::failed(CHECK, file, format!("{until} only"))
    } else if left < WARN.of(lifetime) {
        Finding::warning(CHECK, file, format!("{until} more"))
    } else {
        return Finding::ok(CHECK, file, until);
    };
    finding.fix(
        "put a new certificate and key in the place of these files: they are read again when they change, without a \
         restart. With cert-manager: `kubectl describe certificate` shows why it was not renewed",
    )
}

/// Whole days, hours or minutes: two at least, where there are.
fn in_words(left: SignedDuration) -> String {
    match (left.as_hours(), left.as_mins()) {
        (hours @ 48.., _) => format!("{} days", hours / 24),
        (hours @ 2.., _) => format!("{hours} hours"),
        (_, minutes) => format!("{minutes} min"),
    }
}

/// For a file of the daemon's that is not where the doctor is.
pub(super) fn not_here(file: &Path) -> Finding {
    let name = file.file_name().unwrap_or_default().to_string_lossy().replace('.', "\\.");
    let or = format!(
        "\nor in its Secret: kubectl -n NAMESPACE get secret NAME -o jsonpath='{{.data.{name}}}' | base64 -d | \
         openssl x509 -noout -subject -dates"
    );
    super::not_here(CHECK, file, &or)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::finding::Status::{self, Failed, Ok, Warning};

    const DAY: i64 = 24;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    /// One that began and ends so many minutes from now.
    fn judged(began: i64, ends: i64) -> Finding {
        let certificate = Certificate {
            common_name: Some("longshore".to_owned()),
            common_names: 1,
            organizations: Vec::new(),
            not_before: (now() + SignedDuration::from_mins(began)).into(),
            not_after: (now() + SignedDuration::from_mins(ends)).into(),
        };
        judge(Path::new("/tls.crt"), &[certificate], now()).remove(0)
    }

    #[test]
    fn what_is_left_by_the_lifetime() {
        for (lifetime, left, status, word) in [
            // A year: the fixed days.
            (365 * DAY, 30 * DAY, Ok, "for 30 days"),
            (365 * DAY, 30 * DAY - 1, Warning, "29 days more"),
            (365 * DAY, 7 * DAY, Warning, "7 days more"),
            (365 * DAY, 7 * DAY - 1, Failed, "6 days only"),
            (365 * DAY, 1, Failed, "60 min only"),
            (365 * DAY, 0, Failed, "expired on 2026-11-21 12:00"),
            (365 * DAY, -1, Failed, "expired on 2026-11-21 11:00"),
            // The chart's: a fifth, and seven days.
            (90 * DAY, 30 * DAY, Ok, "for 30 days"),
            (90 * DAY, 18 * DAY, Ok, "for 18 days"),
            (90 * DAY, 18 * DAY - 1, Warning, "17 days more"),
            (90 * DAY, 7 * DAY, Warning, "7 days more"),
            (90 * DAY, 7 * DAY - 1, Failed, "6 days only"),
            // A day: a fifth and a tenth.
            (DAY, DAY, Ok, "for 24 hours"),
            (DAY, 8, Ok, "for 8 hours"),
            (DAY, 5, Ok, "for 5 hours"),
            (DAY, 4, Warning, "4 hours more"),
            (DAY, 3, Warning, "3 hours more"),
            (DAY, 2, Failed, "2 hours only"),
            (DAY, 0, Failed, "expired"),
        ] {
            let finding = judged((left - lifetime) * 60, left * 60);
            assert_eq!(finding.status, status, "{lifetime} h, {left} h left: {finding:?}");
            assert!(finding.message.contains(word), "{finding:?}");
            assert_eq!(finding.fix.is_empty(), status == Ok, "{finding:?}");
        }
    }

    #[test]
    fn one_that_is_renewed_at_a_third_is_never_reported() {
        for minutes in [10, 60, DAY * 60, 6 * DAY * 60, 90 * DAY * 60, 365 * DAY * 60, 3650 * DAY * 60] {
            assert_eq!(judged(-2 * minutes, minutes).status, Ok, "{minutes} min left of three times as many");
        }
    }

    #[test]
    fn one_that_is_not_valid_yet_or_never() {
        let early = judged(5, 60);
        assert_eq!(early.status, Failed);
        assert!(early.message.ends_with("valid only from 2026-11-21 12:05 UTC on"), "{early:?}");
        assert!(early.fix.contains("clock"), "{early:?}");
        assert_eq!(judged(-1, -2).status, Failed);
        assert!(judged(2, -2).message.contains("expired"));
    }

    #[test]
    fn a_file_that_is_elsewhere() {
        let finding = not_here(Path::new("/etc/longshore/tls/ca.crt"));
        assert_eq!(finding.status, Status::Skipped);
        assert!(finding.fix.contains("exec deploy/longshore -- longshore doctor\n"), "{finding:?}");
        assert!(finding.fix.contains(r"jsonpath='{.data.ca\.crt}'"), "{finding:?}");
    }
}
