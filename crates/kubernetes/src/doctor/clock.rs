//! Whether the API server's clock agrees with ours: clocks of runs, tokens and certificates are
//! judged by both.

use jiff::{SignedDuration, Timestamp};

use super::check::CLOCK;
use longshore_runtime::finding::Finding;

/// Above this, times that are shown together no longer fit together.
const WARN: SignedDuration = SignedDuration::from_secs(2);
/// Above this, tokens and certificates are refused that are valid.
const FAIL: SignedDuration = SignedDuration::from_secs(30);

const FIX: &str = "let NTP (chrony, systemd-timesyncd) keep the clocks of this machine and of the control plane; \
                   `chronyc tracking` or `timedatectl` shows which one is wrong";
const SUBJECT: &str = "this machine and the API server";

/// Judges the header `Date` of an answer to a request that was sent and answered at these times of ours.
pub(super) fn judge(date: Option<&str>, sent: Timestamp, received: Timestamp) -> Finding {
    let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()) else {
        return Finding::skipped(CLOCK, SUBJECT, "the API server does not report its time")
            .fix("a proxy may remove the header `Date`; run this from within the cluster");
    };
    let (ahead, least) = skew(date, sent, received);
    if least <= WARN {
        return Finding::ok(CLOCK, SUBJECT, "they agree");
    }
    let direction = if ahead { "ahead of" } else { "behind" };
    let message = format!("the API server's clock is at least {} s {direction} ours", least.as_secs());
    let finding = if least > FAIL { Finding::failed } else { Finding::warning };
    finding(CLOCK, SUBJECT, message).fix(FIX)
}

/// Whether the server is ahead of us, and by how much at least. The answer was written at some time
/// between sending and receiving, and `date` has whole seconds: what may come from that is not counted.
fn skew(date: Timestamp, sent: Timestamp, received: Timestamp) -> (bool, SignedDuration) {
    let ahead = date.duration_since(received);
    let behind = sent.duration_since(date) - SignedDuration::from_secs(1);
    if ahead > behind { (true, ahead) } else { (false, behind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_runtime::finding::Status;

    #[test]
    fn the_round_trip_and_the_whole_second_are_no_skew() {
        let date = Some("Sat, 21 Nov 2026 10:00:00 GMT");
        let at = |seconds: i64, millis: i64| {
            "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_millis(seconds * 1000 + millis)
        };
        for (sent, received, status) in [
            (at(0, 0), at(0, 5), Status::Ok),
            // Written at any time of that second.
            (at(0, 990), at(0, 999), Status::Ok),
            // A slow answer reports nothing.
            (at(-20, 0), at(20, 0), Status::Ok),
            (at(2, 900), at(2, 950), Status::Ok),
            (at(3, 100), at(3, 200), Status::Warning),
            (at(-4, 0), at(-3, 0), Status::Warning),
            (at(30, 0), at(30, 1), Status::Warning),
            (at(31, 500), at(31, 600), Status::Failed),
            (at(-40, 0), at(-39, 0), Status::Failed),
        ] {
            let finding = judge(date, sent, received);
            assert_eq!(finding.status, status, "{sent} {received}: {finding:?}");
        }
        assert!(judge(date, at(-41, 0), at(-40, 0)).message.contains("40 s ahead"));
        assert!(judge(date, at(51, 0), at(51, 0)).message.contains("50 s behind"));
        for unusable in [None, Some("yesterday")] {
            assert_eq!(judge(unusable, at(0, 0), at(0, 0)).status, Status::Skipped);
        }
    }
}
