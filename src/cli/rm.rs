//! `longshore rm`: deletes finished runs.

use super::cancel::Failures;
use super::connect::ConnectArgs;
use super::console::Console;
use super::error::CliError;
use super::names;
use super::text::clean;

const EXAMPLES: &str = "\
Examples:
  longshore rm nightly-7
  longshore rm -f a b c            fine if some are gone already

With a run go its logs, its record and its idempotency key: the same request would run again. A \
live run is refused: cancel it first (longshore cancel --wait).";

/// Arguments of `longshore rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RmArgs {
    /// The runs: their ids or whole names
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// Fine if there is no such run
    #[arg(short = 'f', long)]
    allow_missing: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn rm(args: RmArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let names: Vec<String> = args.runs.iter().map(|typed| args.connect.run_name(typed)).collect::<Result<_, _>>()?;
    let mut failures = Failures::default();
    for name in &names {
        match client.delete(name, args.allow_missing).await {
            Err(error) => failures.add(error, console),
            Ok(()) => console.note(&format!("{}: deleted", clean(names::typed(name)))),
        }
    }
    failures.result()
}
