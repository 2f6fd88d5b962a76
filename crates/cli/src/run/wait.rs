//! `longshore wait`: waits until runs are over.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::selected::{FIRST_ANSWER, Selection, WaitForAll, WaitedFor, print_line};
use super::status::{Board, outcome_line};
use crate::client::connect::{ConnectArgs, Connection};
use crate::exit;
use crate::run::find;
use crate::run::submit::wait_until_over;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::output::OutputArgs;
use crate::terminal::text::clean;
use crate::terminal::{names, values};
use longshore_api::v1 as pb;

const EXAMPLES: &str = "\
Examples:
  longshore wait nightly-7                exits as `longshore run` would have
  longshore wait --timeout 5m a b c       with the code of the first that did not succeed
  longshore wait -l app=report            with the code of the worst";

/// Arguments of `longshore wait`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "longshore wait [OPTIONS] <RUN>...\n       longshore wait [OPTIONS] --selector <SELECTOR>")]
#[command(after_help = EXAMPLES, after_long_help = examples_and_exit_codes())]
pub(crate) struct WaitArgs {
    /// The runs: their ids, the start or end of one, or their whole names
    #[arg(required_unless_present = "selector", value_name = "RUN")]
    runs: Vec<String>,
    /// In place of RUN all runs whose labels match now, in Kubernetes' notation
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "runs", value_parser = values::not_empty)]
    selector: Option<String>,
    /// How long to wait for all of them at most; then the exit code is 124, and they go on
    #[arg(long, value_name = "DURATION", value_parser = values::local_duration, allow_hyphen_values = true)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn examples_and_exit_codes() -> String {
    format!("{EXAMPLES}\n\n{}", exit::HELP)
}

pub(crate) async fn wait(args: WaitArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let names: Vec<String> = args.runs.iter().map(|typed| args.connect.run_name(typed)).collect::<Result<_, _>>()?;
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if let Some(selector) = &args.selector {
        let selection = Selection { parent: args.connect.parent(), selector: selector.clone() };
        return wait_for_selected(&client, &selection, &args, deadline, console).await;
    }
    let mut code = 0;
    for name in &names {
        let board = Board::new(console, false);
        let typed = clean(names::typed(name));
        // However short the time is, the server is asked once: a run that is over is not waited for.
        let asked = find::with_run(&client, name, console, async |name: &str| client.get(name).await);
        let first = deadline.map(|deadline| deadline.max(Instant::now() + FIRST_ANSWER));
        let Some((name, run)) = until(first, asked).await.transpose()? else {
            console.error(&format!("the server did not answer in time, so that the state of run {typed} is not known"));
            return Ok(exit::CLOCK);
        };
        board.update(&run);
        let over = if run.state().is_terminal() {
            Some(run)
        } else {
            let waiting = async {
                tokio::select! {
                    run = wait_until_over(&client, &name, &board) => run,
                    () = Box::pin(board.follow(&client, &run)) => std::future::pending().await,
                }
            };
            until(deadline, waiting).await.transpose()?
        };
        board.clear();
        let Some(run) = over else {
            console.error(&format!("run {typed} is not over yet"));
            return Ok(exit::CLOCK);
        };
        report(&run, &args, console).await?;
        if code == 0 {
            code = exit::code_of(&run);
        }
    }
    Ok(code)
}

async fn wait_for_selected(
    client: &Connection,
    selection: &Selection,
    args: &WaitArgs,
    deadline: Option<Instant>,
    console: &Console,
) -> Result<u8, CliError> {
    let waiting = WaitForAll { client, selection, console, names: None, deadline, quiet: false };
    let waited = waiting.wait(async |run: &pb::Run| match args.output.is_json() {
        true => print_line(client, &run.name, console).await,
        false => Ok(()),
    });
    let WaitedFor { codes, live } = waited.await?;
    if live > 0 {
        let all = codes.len() + live;
        console.error(&format!("{live} of {all} runs are not over yet"));
        return Ok(exit::CLOCK);
    }
    Ok(exit::worst(codes))
}

/// What comes of it, unless the time is up before.
async fn until<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

async fn report(run: &pb::Run, args: &WaitArgs, console: &Console) -> Result<(), CliError> {
    console.note(&outcome_line(run, console));
    if args.output.is_json() {
        // One line for each, if there are several.
        let layout = if args.runs.len() == 1 { Layout::Pretty } else { Layout::Line };
        console.out(to_json(run, "Run", layout)?.as_bytes()).await?;
    }
    Ok(())
}
