//! Reads a log stream to its end, across cuts and restarts, and prints it.

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::{Instant, sleep};
use tonic::{Status, Streaming};

use super::resume::{LogResume, ResumeStep};
use crate::client::connect::Connection;
use crate::terminal::console::{Console, Paint};
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::text::{clean, time};
use longshore_api::v1 as pb;
use longshore_api::v1::stream_logs_response::Event;
use longshore_client::{FOLLOW_PATIENCE, RetryBackoff};

/// What is shown of a run's output, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// The program's stdout on ours, its stderr on ours; all on stdout if the backend can't
    /// separate them.
    Streams,
    /// All on stderr.
    AllOnStderr,
    /// Only what is known to be the program's stderr, on ours.
    OnlyStderr,
    /// As `Streams`, each line with its time.
    Timestamps,
    /// Each event of the stream as a line of JSON, on stdout.
    Json,
}

/// Prints events.
#[derive(Debug)]
pub(crate) struct Printer<'a> {
    console: &'a Console,
    show: Show,
    /// Whether lines that carry the result, behind its marker, are shown too.
    results: bool,
    /// Streams that are within a line, by number.
    within_line: [bool; 3],
    /// Whether the server has reported anything.
    begun: bool,
    /// Whether output was printed, or that it is gone.
    printed: bool,
    /// When something was printed last; nothing while it is being printed.
    progress: Rc<Cell<Option<Instant>>>,
}

/// Where bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PumpTarget {
    Stdout,
    Stderr,
    Nowhere,
}

/// How a stream ended.
enum StreamEnd {
    Complete,
    InOrder,
    Cut(Option<Status>),
}

/// Prints what `request` asks for, until all of it is there. A stream that is cut is opened again where it broke off.
pub(crate) async fn pump(
    client: &Connection,
    request: pb::StreamLogsRequest,
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    let mut resume = LogResume::new(request);
    let mut backoff = RetryBackoff::new(FOLLOW_PATIENCE);
    while let Some(request) = resume.request() {
        let closed = match client.stream_logs(request).await {
            Ok(stream) => read(stream, &mut resume, &mut backoff, printer).await?,
            Err(status) => StreamEnd::Cut(Some(status)),
        };
        let delay = match closed {
            StreamEnd::Complete => return Ok(()),
            StreamEnd::Cut(Some(status)) => client.again(status, &mut backoff)?,
            StreamEnd::InOrder | StreamEnd::Cut(None) => backoff
                .after_failure(Instant::now(), None)
                .ok_or_else(|| CliError::BadAnswer("the log stream ends again and again without its end".to_owned()))?,
        };
        client.outage(&backoff).iter().for_each(|note| printer.console.note(note));
        sleep(delay).await;
    }
    Ok(())
}

async fn read(
    mut stream: Streaming<pb::StreamLogsResponse>,
    resume: &mut LogResume,
    backoff: &mut RetryBackoff,
    printer: &mut Printer<'_>,
) -> Result<StreamEnd, CliError> {
    loop {
        let answer = match stream.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(StreamEnd::Cut(None)),
            Err(status) => return Ok(StreamEnd::Cut(Some(status))),
        };
        // An event that a newer server sends is not for us.
        let Some(event) = &answer.event else { continue };
        printer.begun = true;
        printer.printed |= matches!(event, Event::Gap(_));
        let step = resume.step(event);
        if step == ResumeStep::Show || (printer.show == Show::Json && step == ResumeStep::End) {
            printer.print(&answer).await?;
        }
        match step {
            ResumeStep::Show | ResumeStep::Skip => backoff.reset(),
            ResumeStep::Reopen => return Ok(StreamEnd::InOrder),
            ResumeStep::End => return Ok(StreamEnd::Complete),
        }
    }
}

impl<'a> Printer<'a> {
    pub(crate) fn new(console: &'a Console, show: Show) -> Self {
        let progress = Rc::new(Cell::new(Some(Instant::now())));
        Self { console, show, results: false, within_line: [false; 3], begun: false, printed: false, progress }
    }

    /// The same, but lines that carry the result are shown too if `results`; else only JSON has them.
    pub(crate) fn with_results(self, results: bool) -> Self {
        Self { results, ..self }
    }

    /// When something was printed last; nothing while it is being printed, since a reader may take its time.
    pub(crate) fn progress(&self) -> Rc<Cell<Option<Instant>>> {
        Rc::clone(&self.progress)
    }

    /// Whether the server has reported anything of this run.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether there was output, or word of output that is gone.
    pub(crate) fn has_printed(&self) -> bool {
        self.printed
    }

    async fn print(&mut self, answer: &pb::StreamLogsResponse) -> Result<(), CliError> {
        self.progress.set(None);
        let printed = self.print_event(answer).await;
        self.progress.set(Some(Instant::now()));
        printed
    }

    async fn print_event(&mut self, answer: &pb::StreamLogsResponse) -> Result<(), CliError> {
        if self.show == Show::Json {
            self.printed |= matches!(answer.event, Some(Event::Entries(_)));
            return self.console.out(to_json(answer, "StreamLogsResponse", Layout::Line)?.as_bytes()).await;
        }
        match &answer.event {
            Some(Event::Entries(entries)) => self.print_entries(&entries.entries).await?,
            Some(Event::Gap(gap)) if gap.cause() == pb::LogGapCause::NotFollowed => {
                // It may well be that nothing is missing.
                self.console.note(&self.console.paint_err(&gap_line(gap), Paint::Dim));
            }
            Some(Event::Gap(gap)) => self.console.note(&gap_line(gap)),
            // That there are more lines is what was asked for.
            Some(Event::Truncated(truncated)) if truncated.cause() != pb::LogTruncationCause::TailLines => {
                self.console.note(&clean(&truncated.message));
            }
            Some(Event::AttemptStarted(started)) if started.attempt > 1 => {
                self.console.note(&format!("attempt {}:", started.attempt));
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes entries that go the same way in one go.
    async fn print_entries(&mut self, entries: &[pb::LogEntry]) -> Result<(), CliError> {
        let mut bytes = Vec::new();
        let mut target = PumpTarget::Nowhere;
        let results = self.results;
        for entry in entries.iter().filter(|entry| results || entry.kind() != pb::LogEntryKind::Result) {
            let next = self.target(entry);
            if next != target {
                self.write(target, &bytes).await?;
                bytes.clear();
                target = next;
            }
            self.printed = true;
            if self.show == Show::Timestamps {
                self.push_time(entry, &mut bytes);
            }
            bytes.extend_from_slice(if entry.data.is_empty() { entry.text.as_bytes() } else { &entry.data });
        }
        self.write(target, &bytes).await
    }

    fn target(&self, entry: &pb::LogEntry) -> PumpTarget {
        let is_stderr = entry.stream() == pb::LogStream::Stderr;
        match (self.show, is_stderr) {
            (Show::AllOnStderr, _) | (_, true) => PumpTarget::Stderr,
            (Show::OnlyStderr, false) => PumpTarget::Nowhere,
            (Show::Streams | Show::Timestamps | Show::Json, false) => PumpTarget::Stdout,
        }
    }

    fn push_time(&mut self, entry: &pb::LogEntry, bytes: &mut Vec<u8>) {
        let slot = usize::try_from(entry.stream).ok().and_then(|stream| self.within_line.get_mut(stream));
        let was_within_line = slot.map(|slot| std::mem::replace(slot, entry.partial));
        if was_within_line != Some(true) {
            let shown = time(entry.receive_time).map_or_else(|| "-".to_owned(), |time| format!("{time:.9}"));
            bytes.extend_from_slice(shown.as_bytes());
            bytes.push(b' ');
        }
    }

    async fn write(&self, target: PumpTarget, bytes: &[u8]) -> Result<(), CliError> {
        match target {
            PumpTarget::Stdout => self.console.out(bytes).await,
            PumpTarget::Stderr => {
                self.console.program_err(bytes).await;
                Ok(())
            }
            PumpTarget::Nowhere => Ok(()),
        }
    }
}

/// `output is missing from … to … (1024 bytes): …`, or that some may be.
fn gap_line(gap: &pb::LogGap) -> String {
    if gap.cause() == pb::LogGapCause::NotFollowed {
        return format!("longshore: {}", clean(&gap.message));
    }
    let at = |wire| time(wire).map(|time| time.to_string());
    let from = at(gap.from_time).unwrap_or_else(|| "the start".to_owned());
    let to = at(gap.to_time).unwrap_or_else(|| "the end".to_owned());
    let bytes = gap.bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
    format!("longshore: output is missing from {from} to {to}{bytes}: {}", clean(&gap.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_missing_is_not_said_to_be() {
        let message = "output before this may have been rotated away".to_owned();
        let gap = pb::LogGap { cause: pb::LogGapCause::NotFollowed.into(), message, ..Default::default() };
        assert_eq!(gap_line(&gap), "longshore: output before this may have been rotated away");
    }

    #[test]
    fn gaps_say_what_is_known() {
        let gap = pb::LogGap {
            attempt: 1,
            from_time: None,
            to_time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            bytes: Some(7),
            cause: pb::LogGapCause::Rotated.into(),
            message: "rotated away".into(),
        };
        assert_eq!(
            gap_line(&gap),
            "longshore: output is missing from the start to 1970-01-01T00:00:00Z (7 bytes): rotated away"
        );
    }
}
