//! Where a log stream goes on after it was cut: what has been seen, as a pure state.

use longshore_api::v1 as pb;
use longshore_api::v1::stream_logs_request::Start;
use longshore_api::v1::stream_logs_response::Event;

/// What was asked for, and how far it got.
#[derive(Debug)]
pub(super) struct LogResume {
    asked: pb::StreamLogsRequest,
    cursor: Option<String>,
    bytes: i64,
    attempt: Option<i32>,
    /// The last attempt whose start was said to be uncertain.
    uncertain: Option<i32>,
}

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResumeStep {
    /// Show it.
    Show,
    /// Nothing: it is not news.
    Skip,
    /// The server ends this stream, in order: open another.
    Reopen,
    /// All that was asked for is there.
    End,
}

impl LogResume {
    pub(super) fn new(asked: pb::StreamLogsRequest) -> Self {
        Self { asked, cursor: None, bytes: 0, attempt: None, uncertain: None }
    }

    /// What to ask next; `None` if nothing is missing.
    pub(super) fn request(&self) -> Option<pb::StreamLogsRequest> {
        let mut request = self.asked.clone();
        if request.limit_bytes > 0 {
            request.limit_bytes -= self.bytes;
            if request.limit_bytes <= 0 {
                return None;
            }
        }
        if let Some(cursor) = &self.cursor {
            request.start = Some(Start::Cursor(cursor.clone()));
        }
        Some(request)
    }

    /// Takes note of `event` and says what to do with it.
    pub(super) fn step(&mut self, event: &Event) -> ResumeStep {
        match event {
            Event::Entries(entries) => {
                // A batch that ends where we are already was seen before the cut.
                if self.cursor.as_deref() == Some(entries.cursor.as_str()) {
                    return ResumeStep::Skip;
                }
                self.go_to(&entries.cursor);
                self.bytes = self.bytes.saturating_add(data_bytes(entries));
                ResumeStep::Show
            }
            Event::Heartbeat(heartbeat) => {
                self.go_to(&heartbeat.cursor);
                ResumeStep::Skip
            }
            Event::AttemptStarted(started) => {
                if self.attempt.replace(started.attempt) == Some(started.attempt) {
                    ResumeStep::Skip
                } else {
                    ResumeStep::Show
                }
            }
            // A stream that was cut before it brought anything begins anew, and says so again.
            Event::Gap(gap) if gap.cause() == pb::LogGapCause::NotFollowed => {
                if self.uncertain.replace(gap.attempt) == Some(gap.attempt) {
                    ResumeStep::Skip
                } else {
                    ResumeStep::Show
                }
            }
            Event::AttemptEnded(_) | Event::Gap(_) | Event::Truncated(_) => ResumeStep::Show,
            Event::Reconnect(reconnect) => {
                self.go_to(&reconnect.cursor);
                ResumeStep::Reopen
            }
            Event::Ended(end) => {
                self.go_to(&end.cursor);
                // With `follow` only the run's end is the end.
                let early = self.asked.follow && end.reason() == pb::LogEndReason::CaughtUp;
                if early { ResumeStep::Reopen } else { ResumeStep::End }
            }
        }
    }

    fn go_to(&mut self, cursor: &str) {
        if !cursor.is_empty() {
            self.cursor = Some(cursor.to_owned());
        }
    }
}

fn data_bytes(entries: &pb::LogEntries) -> i64 {
    let bytes: usize = entries.entries.iter().map(|entry| entry.data.len().max(entry.text.len())).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str, cursor: &str) -> Event {
        let entry = pb::LogEntry { data: text.to_owned().into(), ..Default::default() };
        Event::Entries(pb::LogEntries { entries: vec![entry], cursor: cursor.into() })
    }

    fn asked() -> pb::StreamLogsRequest {
        pb::StreamLogsRequest { follow: true, start: Some(Start::TailLines(5)), ..Default::default() }
    }

    #[test]
    fn before_the_first_cursor_the_same_is_asked_again() {
        let mut resume = LogResume::new(asked());
        let started = Event::AttemptStarted(pb::LogAttemptStarted { attempt: 1 });
        assert_eq!(resume.step(&started), ResumeStep::Show);
        assert_eq!(resume.request().unwrap(), asked());
        assert_eq!(resume.step(&started), ResumeStep::Skip, "sent again after the cut");
    }

    #[test]
    fn after_a_cut_it_goes_on_behind_what_was_seen() {
        let mut resume = LogResume::new(asked());
        assert_eq!(resume.step(&entries("a\n", "c1")), ResumeStep::Show);
        assert_eq!(resume.step(&Event::Heartbeat(pb::LogHeartbeat { cursor: "c2".into() })), ResumeStep::Skip);
        assert_eq!(resume.request().unwrap().start, Some(Start::Cursor("c2".into())));
        assert_eq!(resume.step(&entries("a\n", "c2")), ResumeStep::Skip, "a repeated batch");
        assert_eq!(resume.step(&entries("b\n", "c3")), ResumeStep::Show);
        let reconnect = pb::LogReconnect { cursor: String::new(), ..Default::default() };
        assert_eq!(resume.step(&Event::Reconnect(reconnect)), ResumeStep::Reopen);
        assert_eq!(resume.request().unwrap().start, Some(Start::Cursor("c3".into())), "an empty cursor moves nothing");
    }

    #[test]
    fn a_start_that_may_be_missing_is_said_once() {
        let gap = |cause: pb::LogGapCause, attempt| {
            Event::Gap(pb::LogGap { attempt, cause: cause.into(), ..Default::default() })
        };
        let mut resume = LogResume::new(asked());
        assert_eq!(resume.step(&gap(pb::LogGapCause::NotFollowed, 1)), ResumeStep::Show);
        assert_eq!(resume.step(&gap(pb::LogGapCause::NotFollowed, 1)), ResumeStep::Skip);
        assert_eq!(resume.step(&gap(pb::LogGapCause::Rotated, 1)), ResumeStep::Show);
        assert_eq!(resume.step(&gap(pb::LogGapCause::Rotated, 1)), ResumeStep::Show, "another");
        assert_eq!(resume.step(&gap(pb::LogGapCause::NotFollowed, 2)), ResumeStep::Show);
    }

    #[test]
    fn a_limit_counts_over_all_streams() {
        let mut resume = LogResume::new(pb::StreamLogsRequest { limit_bytes: 5, ..asked() });
        resume.step(&entries("abc", "c1"));
        assert_eq!(resume.request().unwrap().limit_bytes, 2);
        resume.step(&entries("de", "c2"));
        assert_eq!(resume.request(), None, "0 would mean no limit");
    }

    #[test]
    fn a_follow_ends_with_the_run_only() {
        let end = |reason: pb::LogEndReason| Event::Ended(pb::LogEnded { cursor: "z".into(), reason: reason.into() });
        let mut follow = LogResume::new(asked());
        assert_eq!(follow.step(&end(pb::LogEndReason::CaughtUp)), ResumeStep::Reopen);
        assert_eq!(follow.step(&end(pb::LogEndReason::RunFinished)), ResumeStep::End);
        let mut once = LogResume::new(pb::StreamLogsRequest { follow: false, ..asked() });
        assert_eq!(once.step(&end(pb::LogEndReason::CaughtUp)), ResumeStep::End);
    }
}
