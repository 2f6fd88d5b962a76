//! How programs were seen to start.

use tokio::time::Instant;

/// How an attempt's program was seen to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartSeen {
    /// Not yet, as the watch reported last, in this stretch of it without a break; `None`: the watch did
    /// not report.
    NotStarted(Option<u64>),
    /// It has started. When that was seen, if it was not started before in the same stretch.
    Started(Option<Instant>),
}

impl StartSeen {
    /// What is known after one more look, which is of this stretch of the watch. What has started stays so.
    pub(super) fn next(before: Option<Self>, started: bool, stretch: Option<u64>, now: Instant) -> Self {
        match (before, started) {
            (Some(Self::Started(since)), _) => Self::Started(since),
            (Some(Self::NotStarted(known)), true) => {
                Self::Started(Some(now).filter(|_| stretch.is_some() && stretch == known))
            }
            (Some(Self::NotStarted(known)), false) => Self::NotStarted(stretch.or(known)),
            (None, true) => Self::Started(None),
            (None, false) => Self::NotStarted(stretch),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use StartSeen::{NotStarted, Started};

    #[test]
    fn a_start_is_seen_only_within_one_stretch_of_the_watch() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let table = [
            (None, false, Some(1), NotStarted(Some(1))),
            (None, true, Some(1), Started(None)),
            (Some(NotStarted(Some(1))), true, Some(1), Started(Some(now))),
            // The watch was broken in between, for nobody knows how long.
            (Some(NotStarted(Some(1))), true, Some(2), Started(None)),
            (Some(NotStarted(Some(1))), false, Some(2), NotStarted(Some(2))),
            // Looked at again, without a word of the watch.
            (Some(NotStarted(Some(1))), false, None, NotStarted(Some(1))),
            (Some(NotStarted(None)), true, Some(1), Started(None)),
            (Some(NotStarted(None)), true, None, Started(None)),
            // Never back, whatever the kubelet says for a moment.
            (Some(Started(Some(later))), false, Some(2), Started(Some(later))),
            (Some(Started(None)), true, Some(2), Started(None)),
        ];
        for (before, started, stretch, expected) in table {
            assert_eq!(StartSeen::next(before, started, stretch, now), expected, "{before:?} {started} {stretch:?}");
        }
    }
}
