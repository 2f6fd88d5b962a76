//! `longshore logs`: a run's output.

mod pump;
mod resume;

use clap::ValueEnum;
use jiff::Timestamp;

use super::connect::ConnectArgs;
use super::console::Console;
use super::error::CliError;
use super::values;
use crate::proto::v1 as pb;
use crate::proto::v1::stream_logs_request::{AttemptSelector, Start};

pub(super) use self::pump::{Printer, Show, pump};

const EXAMPLES: &str = "\
Examples:
  longshore logs q-3kq…                  all there is
  longshore logs -f --tail 20 nightly    the last 20 lines, and what comes until the run is over
  longshore logs --since 10m -t nightly  the last ten minutes, with times
  longshore logs -o json nightly         each event of the stream as a line of JSON

A stream that is cut is opened again where it broke off: no line is lost or printed twice. What \
the server itself has lost is told on stderr. Where the backend tells stdout and stderr apart, so \
does this.";

/// Arguments of `longshore logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LogsArgs {
    /// The run: its id or whole name
    run: String,
    /// Go on until the run is over
    #[arg(short, long)]
    follow: bool,
    /// Attempt, from 1 [default: the latest]
    #[arg(long, value_name = "N", conflicts_with = "all_attempts")]
    attempt: Option<i32>,
    /// All attempts, oldest first
    #[arg(long)]
    all_attempts: bool,
    /// Container [default: run]
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Only this stream, where the backend tells them apart
    #[arg(long, value_enum, value_name = "STREAM")]
    stream: Option<Stream>,
    /// Begin at most this many lines before the end
    #[arg(long, value_name = "LINES", conflicts_with = "since")]
    tail: Option<i64>,
    /// Begin this long ago (10m), or at this time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    since: Option<Timestamp>,
    /// Print the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Print the lines that carry the result too, behind their marker (see `longshore run --result`)
    #[arg(long)]
    results: bool,
    /// End after this many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..))]
    limit_bytes: Option<i64>,
    /// How to print: the output as it is, or each event as a line of JSON
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "raw")]
    output: LogOutput,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stream {
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogOutput {
    Raw,
    Json,
}

pub(super) async fn logs(args: LogsArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let request = args.request()?;
    let show = match args.output {
        LogOutput::Json => Show::Json,
        LogOutput::Raw if args.timestamps => Show::Timestamps,
        LogOutput::Raw => Show::Streams,
    };
    let mut printer = Printer::new(console, show).with_results(args.results);
    pump(&client, request, &mut printer).await?;
    Ok(0)
}

impl LogsArgs {
    fn request(&self) -> Result<pb::StreamLogsRequest, CliError> {
        let attempt_selector = match self.attempt {
            Some(number) => Some(AttemptSelector::Attempt(number)),
            None if self.all_attempts => Some(AttemptSelector::AllAttempts(true)),
            None => None,
        };
        let start = match (self.tail, self.since) {
            (Some(lines), _) => Some(Start::TailLines(lines)),
            (None, Some(time)) => Some(Start::SinceTime(values::wire_time(time))),
            (None, None) => None,
        };
        let stream = match self.stream {
            None => pb::LogStream::Unspecified,
            Some(Stream::Stdout) => pb::LogStream::Stdout,
            Some(Stream::Stderr) => pb::LogStream::Stderr,
        };
        Ok(pb::StreamLogsRequest {
            name: self.connect.run_name(&self.run)?,
            attempt_selector,
            container: self.container.clone().unwrap_or_default(),
            stream: stream.into(),
            follow: self.follow,
            start,
            format: pb::LogFormat::Bytes.into(),
            limit_bytes: self.limit_bytes.unwrap_or_default(),
        })
    }
}
