//! `longshore rm`: deletes finished runs.

use super::failures::Failures;
use super::selected::{Selection, confirm, do_to_all};
use crate::client::connect::{ConnectArgs, Connection};
use crate::run::find;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::names;
use crate::terminal::text::clean;
use crate::terminal::values;
use longshore_api::v1 as pb;

const EXAMPLES: &str = "\
Examples:
  longshore rm nightly-7
  longshore rm -f a b c            no error for those that are gone already
  longshore rm -l app=report       all finished runs with this label

With a run go its logs, its record and its idempotency key: the same request would run again. A \
live run is refused: cancel it first (longshore cancel --wait). Of an id its start or its end is \
enough on a terminal, where you are asked first; with -f ids are whole.

Exit codes: 0 all are gone; 125 not all.";

/// Arguments of `longshore rm`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "longshore rm [OPTIONS] <RUN>...\n       longshore rm [OPTIONS] --selector <SELECTOR>")]
#[command(after_help = EXAMPLES)]
pub(crate) struct RmArgs {
    /// The runs: their ids, the start or end of one, or their whole names
    #[arg(required_unless_present = "selector", value_name = "RUN")]
    runs: Vec<String>,
    /// In place of RUN all finished runs whose labels match, in Kubernetes' notation
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "runs", value_parser = values::not_empty)]
    selector: Option<String>,
    /// With -l: do not ask
    #[arg(short = 'y', long, requires = "selector")]
    yes: bool,
    /// Do not fail if there is no such run
    #[arg(short = 'f', long)]
    allow_missing: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(crate) async fn rm(args: RmArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let names: Vec<String> = args.runs.iter().map(|typed| args.connect.run_name(typed)).collect::<Result<_, _>>()?;
    if let Some(selector) = &args.selector {
        let selection = Selection { parent: args.connect.parent(), selector: selector.clone() };
        return rm_selected(&client, &selection, &args, console).await;
    }
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

async fn rm_selected(
    client: &Connection,
    selection: &Selection,
    args: &RmArgs,
    console: &Console,
) -> Result<u8, CliError> {
    let request = |validate_only| {
        let (parent, filter) = (selection.parent.clone(), Some(selection.filter()));
        pb::DeleteRunsRequest { parent, filter, validate_only }
    };
    let matching = client.delete_runs(request(true)).await?;
    let mut failures = Failures::default();
    match (matching.runs.is_empty(), matching.live_count) {
        (true, 0) if args.allow_missing => return Ok(0),
        (true, 0) => return Err(selection.nothing("run")),
        (true, _) => {}
        (false, _) => {
            if !args.yes {
                confirm("delete", matching.runs.len(), matching.more, console).await?;
            }
            let call = async || {
                let pb::DeleteRunsResponse { runs, more, .. } = client.delete_runs(request(false)).await?;
                Ok((runs, more))
            };
            do_to_all(call, "deleted", &mut failures, console).await?;
        }
    }
    if matching.live_count > 0 {
        let live = matching.live_count;
        let selector = clean(&selection.selector);
        failures.add(
            CliError::usage(format!(
                "{live} of the runs that match are live; cancel them first: longshore cancel --wait -l {selector}"
            )),
            console,
        );
    }
    failures.result()
}
