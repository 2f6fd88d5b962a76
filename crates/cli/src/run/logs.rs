//! `longshore logs`: a run's output.

mod pump;
mod resume;
mod silence;

use clap::ValueEnum;
use jiff::Timestamp;

use self::silence::LogSelection;
use crate::client::connect::ConnectArgs;
use crate::run::find;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::values;
use longshore_api::v1 as pb;
use longshore_api::v1::stream_logs_request::{AttemptSelector, Start};

pub(crate) use self::pump::{Printer, Show, pump};

const EXAMPLES: &str = "\
Examples:
  longshore logs 7q3k                    all there is; the start or the end of an id is enough
  longshore logs -f --tail 20 nightly    the last 20 lines, and what comes until the run is over
  longshore logs --since 10m -t nightly  the last ten minutes, with times
  longshore logs -o json nightly         each event of the stream as a line of JSON

A stream that is cut is opened again where it broke off: no line is lost or printed twice. Output that the server has \
lost is reported on stderr, as is the reason why there is none. stdout and stderr are kept apart where the backend \
keeps them apart. A terminal gets colours; other control characters are shown, not acted upon, unless --raw.

Exit codes: 0 all that was asked for is printed, whatever became of the run (`longshore wait` reports that); 125 not; \
141 the reader of stdout closed it.";

/// Arguments of `longshore logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogsArgs {
    /// The run: its id, the start or end of one, or its whole name
    run: String,
    /// Go on until the run is over
    #[arg(short, long)]
    follow: bool,
    /// Attempt, from 1 [default: the latest]
    #[arg(long, value_name = "N", conflicts_with = "all_attempts", value_parser = values::attempt)]
    attempt: Option<i32>,
    /// All attempts, oldest first
    #[arg(long)]
    all_attempts: bool,
    /// Container [default: run]
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Only this stream, where the backend separates them
    #[arg(long, value_enum, value_name = "STREAM")]
    stream: Option<Stream>,
    /// Begin at most this many lines before the end; lines that are not printed do not count
    #[arg(long, value_name = "LINES", conflicts_with = "since", value_parser = values::count)]
    tail: Option<u32>,
    /// Begin this long ago (10m), or at this time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    since: Option<Timestamp>,
    /// Print the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Print the lines that carry the result too, behind their marker (see `longshore run --result`)
    #[arg(long)]
    results: bool,
    /// End after this many bytes, such as 65536, 64Ki or 4Mi
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    limit_bytes: Option<usize>,
    /// How to print: the output as it is, or each event as a line of JSON
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
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
    Text,
    Json,
}

pub(crate) async fn logs(args: LogsArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let request = args.request()?;
    let show = match args.output {
        LogOutput::Json => Show::Json,
        LogOutput::Text if args.timestamps => Show::Timestamps,
        LogOutput::Text => Show::Streams,
    };
    let mut printer = Printer::new(console, show).with_results(args.results);
    let mut name = request.name.clone();
    let printed = match find::check(&name) {
        Ok(()) => pump(&client, request.clone(), &mut printer).await,
        Err(error) => Err(error),
    };
    match printed {
        // Not if it was there: then it was deleted meanwhile.
        Err(error) if error.is_run_not_found() && !printer.has_begun() => {
            name = find::instead(&client, &name, error, console).await?;
            pump(&client, pb::StreamLogsRequest { name: name.clone(), ..request }, &mut printer).await?;
        }
        ended => ended?,
    }
    if !printer.has_printed() {
        // Nothing but a courtesy: what the output was is known.
        if let Ok(run) = client.get(&name).await {
            console.note(&silence::explain(&run, &args.asked()));
        }
    }
    Ok(0)
}

impl LogsArgs {
    /// What keeps lines from being printed that are there.
    fn asked(&self) -> LogSelection {
        let only = [
            self.tail.filter(|lines| *lines == 0).map(|_| "--tail 0"),
            self.since.map(|_| "--since"),
            self.stream.map(|_| "--stream"),
            self.container.as_ref().map(|_| "--container"),
            self.attempt.map(|_| "--attempt"),
        ];
        LogSelection { only: only.into_iter().flatten().collect(), results: self.results, follow: self.follow }
    }

    fn request(&self) -> Result<pb::StreamLogsRequest, CliError> {
        let attempt_selector = match self.attempt {
            Some(number) => Some(AttemptSelector::Attempt(number)),
            None if self.all_attempts => Some(AttemptSelector::AllAttempts(true)),
            None => None,
        };
        let start = match (self.tail, self.since) {
            (Some(lines), _) => Some(Start::TailLines(lines.into())),
            (None, Some(time)) => Some(Start::SinceTime(longshore_api::time::wire_time(time))),
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
            limit_bytes: self.limit_bytes.map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            // Lines that are not printed must not count.
            skip_result_lines: !self.results && self.output == LogOutput::Text,
        })
    }
}
