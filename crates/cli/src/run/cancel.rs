//! `longshore cancel`: stops runs.

use super::status::{Board, outcome_line};
use crate::client::connect::ConnectArgs;
use crate::run::find;
use crate::run::submit::wait_until_over;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::names;
use crate::terminal::output::OutputArgs;
use crate::terminal::text::{clean, state_name};

const EXAMPLES: &str = "\
Examples:
  longshore cancel nightly-7 --reason 'wrong month'
  longshore cancel --wait a b c           until they have stopped

The program gets SIGTERM, and SIGKILL after its grace. Of a run that is over nothing changes. Of an \
id its start or its end is enough on a terminal, where you are asked first.

Exit codes: 0 all were asked to stop, or were over; 125 not all.";

/// Arguments of `longshore cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CancelArgs {
    /// The runs: their ids, the start or end of one, or their whole names
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
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

/// Failures among several runs: all but the last are reported as they come.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    last: Option<CliError>,
}

impl Failures {
    pub(crate) fn add(&mut self, error: CliError, console: &Console) {
        if let Some(before) = self.last.replace(error) {
            console.error(&before.explain().unwrap_or_default());
        }
    }

    pub(crate) fn result(self) -> Result<u8, CliError> {
        self.last.map_or(Ok(0), Err)
    }
}
