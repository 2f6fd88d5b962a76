//! Output as it is streamed.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::ControlFlow;

use jiff::Timestamp;

use crate::server::streams::Encode;
use crate::wire::{int32, int64, wire_time};
use longshore_api::v1;
use longshore_api::v1::stream_logs_response::Event;
use longshore_domain::log::{LogGap, LogGapCause, LogPiece, LogStream, LogTruncationCause, OutputSummary};
use longshore_engine::{LogEndReason, LogEvent, LogQuery, LogStart, ReconnectReason};

/// Writes the events of one log stream.
///
/// With format TEXT a character that is cut between two pieces of a line is put together again:
/// its first bytes wait for the next piece of the same stream. Across a cut stream this is not
/// done, so there such a character may become one U+FFFD.
#[derive(Debug)]
pub(crate) struct LogEncoder {
    container: String,
    text: bool,
    /// Where to go on, as far as it was reported.
    cursor: String,
    /// Characters that have begun, at most one for each stream of an attempt.
    begun: Vec<OpenEntries>,
}

#[derive(Debug)]
struct OpenEntries {
    attempt: u32,
    stream: Option<LogStream>,
    time: Timestamp,
    bytes: Vec<u8>,
}

impl LogEncoder {
    pub(crate) fn new(query: &LogQuery, format: v1::LogFormat) -> Self {
        let cursor = match &query.start {
            LogStart::Cursor(cursor) => cursor.clone(),
            LogStart::Beginning | LogStart::Tail(_) | LogStart::Since(_) => String::new(),
        };
        let text = match format {
            v1::LogFormat::Text => true,
            v1::LogFormat::Unspecified | v1::LogFormat::Bytes => false,
        };
        Self { container: query.container.clone(), text, cursor, begun: Vec::new() }
    }

    fn entry(&mut self, attempt: u32, piece: LogPiece, marked: bool) -> Option<v1::LogEntry> {
        let partial = piece.partial();
        let mut entry = self.blank(attempt, piece.stream, piece.time, partial);
        if marked {
            entry.set_kind(v1::LogEntryKind::Result);
        }
        if self.text {
            entry.text = self.decode(attempt, &piece);
            if entry.text.is_empty() {
                return None;
            }
        } else {
            entry.data = piece.data;
        }
        Some(entry)
    }

    fn blank(&self, attempt: u32, stream: Option<LogStream>, time: Timestamp, partial: bool) -> v1::LogEntry {
        let stream = match stream {
            None => v1::LogStream::Unspecified,
            Some(LogStream::Stdout) => v1::LogStream::Stdout,
            Some(LogStream::Stderr) => v1::LogStream::Stderr,
        };
        v1::LogEntry {
            attempt: int32(attempt),
            container: self.container.clone(),
            stream: stream.into(),
            receive_time: Some(wire_time(time)),
            partial,
            kind: v1::LogEntryKind::Output.into(),
            ..v1::LogEntry::default()
        }
    }

    fn decode(&mut self, attempt: u32, piece: &LogPiece) -> String {
        let begun = self.begun.iter().position(|b| b.attempt == attempt && b.stream == piece.stream);
        let bytes = match begun.map(|i| self.begun.swap_remove(i)) {
            None => Cow::Borrowed(piece.data.as_ref()),
            Some(mut begun) => {
                begun.bytes.extend_from_slice(&piece.data);
                Cow::Owned(begun.bytes)
            }
        };
        let whole = if piece.partial() { whole_characters(&bytes) } else { bytes.len() };
        let (now, later) = bytes.split_at(whole);
        if !later.is_empty() {
            let (stream, time) = (piece.stream, piece.time);
            self.begun.push(OpenEntries { attempt, stream, time, bytes: later.to_vec() });
        }
        String::from_utf8_lossy(now).into_owned()
    }

    /// Reports characters that will never be complete.
    fn flush(&mut self, out: &mut VecDeque<v1::StreamLogsResponse>) {
        let entries: Vec<_> = std::mem::take(&mut self.begun)
            .into_iter()
            .map(|begun| v1::LogEntry {
                text: String::from_utf8_lossy(&begun.bytes).into_owned(),
                ..self.blank(begun.attempt, begun.stream, begun.time, true)
            })
            .collect();
        if !entries.is_empty() {
            let cursor = self.cursor.clone();
            out.push_back(response(Event::Entries(v1::LogEntries { entries, cursor })));
        }
    }

    fn pieces(&mut self, attempt: u32, pieces: Vec<LogPiece>, marked: bool, cursor: String) -> Option<Event> {
        self.cursor.clone_from(&cursor);
        let entries: Vec<_> = pieces.into_iter().filter_map(|piece| self.entry(attempt, piece, marked)).collect();
        (!entries.is_empty()).then_some(Event::Entries(v1::LogEntries { entries, cursor }))
    }
}

impl Encode for LogEncoder {
    type Event = LogEvent;
    type Message = v1::StreamLogsResponse;

    fn encode(&mut self, event: LogEvent, out: &mut VecDeque<Self::Message>) -> ControlFlow<()> {
        if !matches!(event, LogEvent::Pieces { .. } | LogEvent::Heartbeat { .. }) {
            self.flush(out);
        }
        let event = match event {
            LogEvent::Pieces { attempt, pieces, marked, cursor } => self.pieces(attempt, pieces, marked, cursor),
            LogEvent::AttemptStarted { attempt } => {
                Some(Event::AttemptStarted(v1::LogAttemptStarted { attempt: int32(attempt) }))
            }
            LogEvent::AttemptEnded { attempt, exit_code, whole } => Some(attempt_ended(attempt, exit_code, whole)),
            LogEvent::Gap { attempt, gap } => Some(gap_event(attempt, gap)),
            LogEvent::Truncated { attempt, cause, message } => Some(Event::Truncated(v1::LogTruncated {
                attempt: int32(attempt),
                cause: truncation_cause(cause).into(),
                message,
            })),
            LogEvent::Heartbeat { cursor } => {
                self.cursor.clone_from(&cursor);
                Some(Event::Heartbeat(v1::LogHeartbeat { cursor }))
            }
            LogEvent::Reconnect { cursor, reason } => {
                self.cursor = cursor;
                self.reconnect(reason, out);
                return ControlFlow::Break(());
            }
            LogEvent::End { cursor, reason } => {
                let reason = end_reason(reason).into();
                out.push_back(response(Event::Ended(v1::LogEnded { cursor, reason })));
                return ControlFlow::Break(());
            }
        };
        out.extend(event.map(response));
        ControlFlow::Continue(())
    }

    fn reconnect(&mut self, reason: ReconnectReason, out: &mut VecDeque<Self::Message>) {
        self.flush(out);
        let reason = reconnect_reason(reason).into();
        out.push_back(response(Event::Reconnect(v1::LogReconnect { cursor: self.cursor.clone(), reason })));
    }
}

/// How many of `bytes` stand before a character that begins at the end without being complete.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let begins = bytes.iter().skip(tail).rposition(|byte| *byte >= 0xc0).map(|i| tail + i);
    begins
        .filter(|begin| {
            let rest = bytes.get(*begin..).unwrap_or_default();
            std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none())
        })
        .unwrap_or(bytes.len())
}

fn response(event: Event) -> v1::StreamLogsResponse {
    v1::StreamLogsResponse { event: Some(event) }
}

fn attempt_ended(attempt: u32, exit_code: Option<i32>, whole: Option<OutputSummary>) -> Event {
    let (lines, bytes, sha256) = match whole {
        None => (None, None, String::new()),
        Some(OutputSummary { lines, bytes, sha256 }) => (Some(int64(lines)), Some(int64(bytes)), sha256),
    };
    Event::AttemptEnded(v1::LogAttemptEnded { attempt: int32(attempt), exit_code, lines, bytes, sha256 })
}

fn gap_event(attempt: u32, gap: LogGap) -> Event {
    Event::Gap(v1::LogGap {
        attempt: int32(attempt),
        from_time: gap.from_time.map(wire_time),
        to_time: gap.to_time.map(wire_time),
        // The domain never knows how many.
        bytes: None,
        cause: gap_cause(gap.cause).into(),
        message: gap.message,
    })
}

fn gap_cause(cause: LogGapCause) -> v1::LogGapCause {
    match cause {
        LogGapCause::Rotated => v1::LogGapCause::Rotated,
        LogGapCause::Changed => v1::LogGapCause::Changed,
        LogGapCause::Deleted => v1::LogGapCause::Deleted,
        LogGapCause::Unreadable => v1::LogGapCause::Unreadable,
        LogGapCause::NotWritten => v1::LogGapCause::NotWritten,
        LogGapCause::NotFollowed => v1::LogGapCause::NotFollowed,
    }
}

fn truncation_cause(cause: LogTruncationCause) -> v1::LogTruncationCause {
    match cause {
        LogTruncationCause::TailLines => v1::LogTruncationCause::TailLines,
        LogTruncationCause::TailBytes => v1::LogTruncationCause::TailBytes,
    }
}

/// Why a stream has to be opened again.
pub(super) fn reconnect_reason(reason: ReconnectReason) -> v1::ReconnectReason {
    match reason {
        ReconnectReason::Draining => v1::ReconnectReason::Draining,
        ReconnectReason::Slow => v1::ReconnectReason::Slow,
        ReconnectReason::MaxAge => v1::ReconnectReason::MaxAge,
    }
}

fn end_reason(reason: LogEndReason) -> v1::LogEndReason {
    match reason {
        LogEndReason::RunFinished => v1::LogEndReason::RunFinished,
        LogEndReason::CaughtUp => v1::LogEndReason::CaughtUp,
        LogEndReason::ByteLimit => v1::LogEndReason::ByteLimit,
    }
}

#[cfg(test)]
mod tests;
