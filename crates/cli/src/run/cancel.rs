//! `longshore cancel`: stops runs.

use std::collections::BTreeSet;

use super::failures::Failures;
use super::selected::{Selection, WaitForAll, confirm, do_to_all, print_line};
use super::status::{Board, outcome_line};
use crate::client::connect::{ConnectArgs, Connection};
use crate::run::find;
use crate::run::submit::wait_until_over;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::names;
use crate::terminal::output::OutputArgs;
use crate::terminal::text::{clean, state_name};
use crate::terminal::values;
use longshore_api::v1 as pb;

const EXAMPLES: &str = "\
Examples:
  longshore cancel nightly-7 --reason 'wrong month'
  longshore cancel --wait a b c           until they have stopped
  longshore cancel -l app=report          all live runs with this label

The program gets SIGTERM, and SIGKILL after its grace. Of a run that is over nothing changes. Of an \
id its start or its end is enough on a terminal, where you are asked first.

Exit codes: 0 all were asked to stop, or were over; 125 not all.";

/// Arguments of `longshore cancel`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "longshore cancel [OPTIONS] <RUN>...\n       longshore cancel [OPTIONS] --selector <SELECTOR>"
)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CancelArgs {
    /// The runs: their ids, the start or end of one, or their whole names
    #[arg(required_unless_present = "selector", value_name = "RUN")]
    runs: Vec<String>,
    /// In place of RUN all live runs whose labels match, in Kubernetes' notation
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "runs", value_parser = values::not_empty)]
    selector: Option<String>,
    /// With -l: do not ask
    #[arg(short = 'y', long, requires = "selector")]
    yes: bool,
    /// Reason, which is shown with the run
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Wait until they have stopped
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Asks for every stop before it waits for the first, and reports every failure before it returns one.
pub(crate) async fn cancel(args: CancelArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let names: Vec<String> = args.runs.iter().map(|typed| args.connect.run_name(typed)).collect::<Result<_, _>>()?;
    if let Some(selector) = &args.selector {
        let selection = Selection { parent: args.connect.parent(), selector: selector.clone() };
        return cancel_selected(&client, &selection, &args, console).await;
    }
    let mut failures = Failures::default();
    let (mut stopping, mut over, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for name in &names {
        let cancel = async |name: &str| client.cancel(name, &args.reason).await;
        match find::with_confirmed_run(&client, name, "cancel", console, cancel).await {
            Err(error) => failures.add(error, console),
            Ok((name, run)) if args.wait && !run.state().is_terminal() => stopping.push(name),
            Ok((_, run)) if run.state().is_terminal() => over.push(run),
            Ok((name, run)) => {
                console.note(&format!("run {}: {}", clean(names::typed(&name)), state_name(run.state)));
                asked.push(run);
            }
        }
    }
    over.iter().for_each(|run| console.note(&outcome_line(run, console)));
    for name in stopping {
        let board = Board::new(console, true);
        match wait_until_over(&client, &name, &board).await {
            Err(error) => failures.add(error, console),
            Ok(run) => {
                console.note(&outcome_line(&run, console));
                over.push(run);
            }
        }
    }
    if args.output.is_json() {
        asked.extend(over);
        for run in &asked {
            let layout = if args.runs.len() == 1 { Layout::Pretty } else { Layout::Line };
            console.out(to_json(run, "Run", layout)?.as_bytes()).await?;
        }
    }
    failures.result()
}

async fn cancel_selected(
    client: &Connection,
    selection: &Selection,
    args: &CancelArgs,
    console: &Console,
) -> Result<u8, CliError> {
    let request = |validate_only| pb::CancelRunsRequest {
        parent: selection.parent.clone(),
        filter: Some(selection.filter()),
        reason: args.reason.clone(),
        validate_only,
    };
    let matching = client.cancel_runs(request(true)).await?;
    if matching.runs.is_empty() {
        return Err(selection.nothing("run that can be cancelled"));
    }
    if !args.yes {
        confirm("cancel", matching.runs.len(), matching.more, console).await?;
    }
    let mut failures = Failures::default();
    let call = async || {
        let pb::CancelRunsResponse { runs, more } = client.cancel_runs(request(false)).await?;
        Ok((runs, more))
    };
    let asked = do_to_all(call, "asked to stop", &mut failures, console).await?;
    let names: BTreeSet<_> = asked.iter().map(|run| run.name.clone()).collect();
    if args.wait && !names.is_empty() {
        let waiting = WaitForAll { client, selection, console, names: Some(names), deadline: None, quiet: false };
        let over = async |run: &pb::Run| match args.output.is_json() {
            true => print_line(client, &run.name, console).await,
            false => Ok(()),
        };
        waiting.wait(over).await?;
    } else if args.output.is_json() {
        let answer = pb::CancelRunsResponse { runs: asked, more: false };
        console.out(to_json(&answer, "CancelRunsResponse", Layout::Pretty)?.as_bytes()).await?;
    }
    failures.result()
}
