//! What a log stream reported, put together.

use longshore::proto::v1::stream_logs_request::Start;
use longshore::proto::v1::stream_logs_response::Event;
use longshore::proto::v1::{
    LogAttemptEnded, LogEndReason, LogEntry, LogGap, LogStream, LogTruncated, ReconnectReason, StreamLogsRequest,
    StreamLogsResponse,
};
use tonic::{Status, Streaming};

use super::wait::within;

/// How a stream closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    End(LogEndReason),
    Reconnect(ReconnectReason),
}

/// What was reported so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<LogEntry>,
    /// Where to go on.
    pub(crate) cursor: String,
    /// Numbers of the attempts whose output began.
    pub(crate) started: Vec<i32>,
    pub(crate) ended: Vec<LogAttemptEnded>,
    pub(crate) gaps: Vec<LogGap>,
    pub(crate) truncated: Vec<LogTruncated>,
    pub(crate) closing: Option<Closing>,
}

impl Log {
    /// Adds an event.
    ///
    /// # Panics
    /// If the stream had closed before.
    pub(crate) fn add(&mut self, event: Event) {
        assert_eq!(self.closing, None, "nothing comes after the closing event: {event:?}");
        match event {
            Event::Entries(entries) => {
                assert!(!entries.entries.is_empty(), "entries are never empty");
                let bytes: usize = entries.entries.iter().map(|e| e.data.len() + e.text.len()).sum();
                assert!(bytes <= 3 * 64 * 1024, "one event has at most 64 KiB, not {bytes} bytes");
                assert!(!entries.cursor.is_empty(), "entries say where to resume");
                self.entries.extend(entries.entries);
                self.cursor = entries.cursor;
            }
            Event::AttemptStarted(started) => self.started.push(started.attempt),
            Event::AttemptEnded(ended) => self.ended.push(ended),
            Event::Gap(gap) => self.gaps.push(gap),
            Event::Truncated(truncated) => self.truncated.push(truncated),
            Event::Heartbeat(heartbeat) => self.cursor = heartbeat.cursor,
            Event::Reconnect(reconnect) => {
                self.closing = Some(Closing::Reconnect(reconnect.reason()));
                self.cursor = reconnect.cursor;
            }
            Event::Ended(end) => {
                self.closing = Some(Closing::End(end.reason()));
                self.cursor = end.cursor;
            }
        }
    }

    /// All bytes in order.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.entries.iter().flat_map(|entry| entry.data.iter().copied()).collect()
    }

    /// All bytes of one stream in order.
    pub(crate) fn bytes_of(&self, stream: LogStream) -> Vec<u8> {
        self.entries.iter().filter(|e| e.stream() == stream).flat_map(|entry| entry.data.iter().copied()).collect()
    }

    /// All bytes as text, for output that is text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("the output is text")
    }

    /// Whether the run was over and all its output reported, without a gap.
    #[track_caller]
    pub(crate) fn assert_complete(&self) {
        assert_eq!(self.closing, Some(Closing::End(LogEndReason::RunFinished)), "{self:?}");
        assert!(self.gaps.is_empty(), "{:?}", self.gaps);
        assert!(self.truncated.is_empty(), "{:?}", self.truncated);
    }
}

/// A stream that is being read.
#[derive(Debug)]
pub(crate) struct LogReader {
    stream: Streaming<StreamLogsResponse>,
    pub(crate) log: Log,
}

impl LogReader {
    pub(crate) fn new(stream: Streaming<StreamLogsResponse>) -> Self {
        Self { stream, log: Log::default() }
    }

    /// Takes the next event in; `false` once the stream has ended in order.
    pub(crate) async fn next(&mut self) -> Result<bool, Status> {
        let Some(answer) = within("the next log event", self.stream.message()).await? else {
            assert!(self.log.closing.is_some(), "a stream that ends in order says how: {:?}", self.log);
            return Ok(false);
        };
        self.log.add(answer.event.expect("an event"));
        Ok(true)
    }

    /// Reads until the output holds `text`.
    ///
    /// # Panics
    /// If the stream ends before.
    pub(crate) async fn until(&mut self, text: &str) {
        let wanted = text.as_bytes();
        while !self.log.bytes().windows(wanted.len()).any(|part| part == wanted) {
            assert!(self.next().await.expect("StreamLogs"), "{text:?} is not in {:?}", self.log.bytes());
        }
    }

    /// Reads to the orderly end.
    pub(crate) async fn rest(mut self) -> Log {
        while self.next().await.expect("StreamLogs") {}
        self.log
    }

    /// Reads until the stream is cut or ends; what came until then.
    pub(crate) async fn until_cut(mut self) -> Log {
        while let Ok(true) = self.next().await {}
        self.log
    }
}

/// The same request from `cursor` on; from the start if there is none yet.
pub(crate) fn resumed(request: &StreamLogsRequest, cursor: &str) -> StreamLogsRequest {
    let start = Some(Start::Cursor(cursor.to_owned())).filter(|_| !cursor.is_empty());
    StreamLogsRequest { start, ..request.clone() }
}
