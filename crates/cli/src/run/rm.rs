//! `longshore rm`: deletes finished runs.

use super::cancel::Failures;
use crate::client::connect::ConnectArgs;
use crate::run::find;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::names;
use crate::terminal::text::clean;

const EXAMPLES: &str = "\
Examples:
  longshore rm nightly-7
  longshore rm -f a b c            no error for those that are gone already

With a run go its logs, its record and its idempotency key: the same request would run again. A \
live run is refused: cancel it first (longshore cancel --wait). Of an id its start or its end is \
enough on a terminal, where you are asked first; with -f ids are whole.

Exit codes: 0 all are gone; 125 not all.";

/// Arguments of `longshore rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RmArgs {
    /// The runs: their ids, the start or end of one, or their whole names
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// Do not fail if there is no such run
    #[arg(short = 'f', long)]
    allow_missing: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(crate) async fn rm(args: RmArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let names: Vec<String> = args.runs.iter().map(|typed| args.connect.run_name(typed)).collect::<Result<_, _>>()?;
    let mut failures = Failures::default();
    for name in &names {
        // Not with the request's own `allow_missing`: the answer would not say whether it was there.
        let delete = async |name: &str| match client.delete(name).await {
            Err(error) if args.allow_missing && error.is_run_not_found() => Ok("not found"),
            answer => answer.map(|()| "deleted"),
        };
        match find::with_confirmed_run(&client, name, "rm", console, delete).await {
            Err(error) => failures.add(error, console),
            Ok((name, word)) => console.note(&format!("run {}: {word}", clean(names::typed(&name)))),
        }
    }
    failures.result()
}
