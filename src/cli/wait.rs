//! `longshore wait`: waits until runs are over.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::connect::ConnectArgs;
use super::console::Console;
use super::error::CliError;
use super::json::{Layout, to_json};
use super::output::OutputArgs;
use super::run::wait_until_over;
use super::status::{Board, outcome_line};
use super::text::clean;
use super::{exit, find, names, values};
use crate::proto::v1 as pb;

const EXAMPLES: &str = "\
Examples:
  longshore wait nightly-7                exits as `longshore run` would have
  longshore wait --timeout 5m a b c       with the code of the first that did not succeed";

/// Arguments of `longshore wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = examples_and_exit_codes())]
pub(super) struct WaitArgs {
    /// The runs: their ids, the start or end of one, or their whole names
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// How long to wait for all of them at most; then the exit code is 124, and they go on
    #[arg(long, value_name = "DURATION", value_parser = values::local_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn examples_and_exit_codes() -> String {
    format!("{EXAMPLES}\n\n{}", exit::HELP)
}

pub(super) async fn wait(args: WaitArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let names: Vec<String> = args.runs.iter().map(|typed| args.connect.run_name(typed)).collect::<Result<_, _>>()?;
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut code = 0;
    for name in &names {
        let board = Board::new(console, false);
        let waiting = async {
            // Told first, so that a run that is long over costs one call.
            let (name, run) = find::with_run(&client, name, console, async |name: &str| client.get(name).await).await?;
            board.update(&run);
            tokio::select! {
                run = wait_until_over(&client, &name, &board) => run,
                () = Box::pin(board.follow(&client, &run)) => std::future::pending().await,
            }
        };
        let over = match deadline {
            Some(deadline) => timeout_at(deadline, waiting).await.ok(),
            None => Some(waiting.await),
        };
        board.clear();
        let Some(run) = over.transpose()? else {
            console.error(&format!("run {} is not over yet", clean(names::typed(name))));
            return Ok(exit::CLOCK);
        };
        tell(&run, &args, console).await?;
        if code == 0 {
            code = exit::code_of(&run);
        }
    }
    Ok(code)
}

async fn tell(run: &pb::Run, args: &WaitArgs, console: &Console) -> Result<(), CliError> {
    console.note(&outcome_line(run, console));
    if args.output.is_json() {
        // One line for each, if there are several.
        let layout = if args.runs.len() == 1 { Layout::Pretty } else { Layout::Line };
        console.out(to_json(run, "Run", layout)?.as_bytes()).await?;
    }
    Ok(())
}
