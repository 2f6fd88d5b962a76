//! `longshore run`: submits a run, follows it, and exits as its program did.

mod args;
mod flags;
mod follow;
mod many;
mod spec;

use std::future::Future;

pub(crate) use self::args::RunArgs;
pub(crate) use self::follow::{Followed, Following, follow, wait_until_over};

use super::logs::Show;
use super::status::outcome_line;
use crate::client::connect::Connection;
use crate::exit;
use crate::run::result;
use crate::terminal::console::{Console, Paint};
use crate::terminal::error::CliError;
use crate::terminal::interrupt::{Interrupt, Interrupts};
use crate::terminal::json::{Layout, to_json};
use crate::terminal::names;
use crate::terminal::output::OutputFormat;
use crate::terminal::text::clean;
use longshore_api::v1 as pb;

pub(crate) async fn run(args: RunArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    if args.result && args.workload.looks_for_no_result() {
        return Err(CliError::usage(
            "--result prints the result, but --result-rule none looks for none; leave one out",
        ));
    }
    let request = spec::request(&args)?;
    if let Some(count) = args.count {
        return many::run_many(&client, &args, request, count, console).await;
    }
    if args.dry_run {
        return dry_run(&client, &args, request, console).await;
    }
    let mut interrupts = Interrupts::listen().map_err(anyhow::Error::from)?;
    let key = request_key(&request);
    let (answer, interrupted) = match submit(submit_drawn(&client, &args, request), &mut interrupts, console).await? {
        AnsweredSubmit::Yes { answer, interrupted } => (answer, interrupted),
        AnsweredSubmit::Left(code) => {
            console.note(&format!(
                "left before the server answered: it may have made the run ({key}); longshore ls lists it"
            ));
            return Ok(code);
        }
    };
    let run = answer.run.ok_or_else(|| CliError::BadAnswer("it has no run".to_owned()))?;
    if answer.replayed && !args.quiet {
        console.note(&format!("run {} was there already: this is the same request", clean(names::typed(&run.name))));
    }
    if args.detach {
        return detach(&run, args.output, console).await;
    }
    let following = Following { show: args.show(), quiet: args.quiet, interrupted, server_stays: true };
    match follow(&client, &run, &following, &mut interrupts, console).await? {
        Followed::Over(run) => report_end(&client, &run, &args, console).await,
        Followed::Left(code) => Ok(code),
    }
}

impl RunArgs {
    /// Whether the run's id is generated here.
    fn draws_id(&self) -> bool {
        self.identity.id.is_none() && self.identity.request_id.is_none()
    }

    /// What is shown of the program's output; `None` for nothing.
    fn show(&self) -> Option<Show> {
        match (self.result, self.output) {
            (true, _) => self.verbose.then_some(Show::AllOnStderr),
            (false, Some(OutputFormat::Json)) => Some(Show::AllOnStderr),
            (false, _) => Some(Show::Streams),
        }
    }
}

/// How often an id is generated before it is given up.
const DRAWS_MAX: u32 = 5;

/// Submits. An id that was generated here and is taken is another run's: it is drawn again.
async fn submit_drawn(
    client: &Connection,
    args: &RunArgs,
    mut request: pb::SubmitRunRequest,
) -> Result<pb::SubmitRunResponse, CliError> {
    let mut draws = 1;
    loop {
        match client.submit(request.clone()).await {
            Err(error) if args.draws_id() && draws < DRAWS_MAX && error.is_already_there() => {
                draws += 1;
                request.run_id = spec::draw();
            }
            answer => return answer.map_err(|error| error.in_flags(|field| args.typed(field), &flags::words())),
        }
    }
}

/// What came of a submit that may be interrupted.
pub(crate) enum AnsweredSubmit<T> {
    Yes { answer: Box<T>, interrupted: Option<Interrupt> },
    Left(u8),
}

/// Submits. An interrupt meanwhile can't call the request back: its answer is waited for, then the run is cancelled.
pub(crate) async fn submit<T>(
    call: impl Future<Output = Result<T, CliError>>,
    interrupts: &mut Interrupts,
    console: &Console,
) -> Result<AnsweredSubmit<T>, CliError> {
    let mut call = Box::pin(call);
    let mut interrupted = None;
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return Ok(AnsweredSubmit::Yes { answer: Box::new(answer?), interrupted }),
            signal = interrupts.next() => {
                if interrupted.replace(signal).is_some() {
                    return Ok(AnsweredSubmit::Left(signal.exit_code()));
                }
                console.note("interrupted; waiting for the server's answer, to cancel then. Once more to leave");
            }
        }
    }
}

fn request_key(request: &pb::SubmitRunRequest) -> String {
    if request.run_id.is_empty() {
        format!("--request-id {}", request.request_id)
    } else {
        format!("--id {}", request.run_id)
    }
}

/// Only the name on stdout, for scripts.
async fn detach(run: &pb::Run, output: Option<OutputFormat>, console: &Console) -> Result<u8, CliError> {
    let text = match output {
        Some(OutputFormat::Json) => to_json(run, "Run", Layout::Pretty)?,
        _ => format!("{}\n", run.name),
    };
    console.out(text.as_bytes()).await?;
    Ok(0)
}

async fn dry_run(
    client: &Connection,
    args: &RunArgs,
    request: pb::SubmitRunRequest,
    console: &Console,
) -> Result<u8, CliError> {
    let answer = submit_drawn(client, args, request).await?;
    let text = match args.output {
        Some(OutputFormat::Json) => to_json(&answer, "SubmitRunResponse", Layout::Pretty)?,
        _ if answer.manifest.is_empty() || answer.manifest.ends_with('\n') => answer.manifest.clone(),
        _ => format!("{}\n", answer.manifest),
    };
    console.out(text.as_bytes()).await?;
    Ok(print_verdicts(&answer.verdicts, console))
}

/// Reports what the backend said to a dry run; the exit code for it.
fn print_verdicts(verdicts: &[pb::DryRunVerdict], console: &Console) -> u8 {
    for verdict in verdicts {
        let (word, paint) = if verdict.accepted { ("accepted", Paint::Green) } else { ("refused", Paint::Red) };
        let message = if verdict.message.is_empty() { String::new() } else { format!(": {}", clean(&verdict.message)) };
        console.note(&format!("{} {}{message}", clean(&verdict.kind), console.paint_err(word, paint)));
    }
    if verdicts.iter().all(|verdict| verdict.accepted) { 0 } else { exit::LONGSHORE }
}

/// Reports how the run ended, and prints what was asked for. The last line names the run.
async fn report_end(client: &Connection, run: &pb::Run, args: &RunArgs, console: &Console) -> Result<u8, CliError> {
    let code = exit::code_of(run);
    let printed = print_end(client, run, args, console).await;
    let code = match &printed {
        Ok(false) if code == 0 => exit::RESULT,
        _ => code,
    };
    if !args.quiet || code != 0 {
        console.note(&outcome_line(run, console));
    }
    printed.map(|_| code)
}

/// Whether what was asked for is there.
async fn print_end(client: &Connection, run: &pb::Run, args: &RunArgs, console: &Console) -> Result<bool, CliError> {
    if let Some(result) = &run.result {
        for warning in result.warnings.iter().filter(|_| !args.quiet) {
            console.note(&format!("result: {}", clean(warning)));
        }
        if args.verbose {
            console.note(&result::summary(result));
        }
    }
    if args.result {
        let Some(json) = result::read(client, run).await? else {
            let why = run.result.as_ref().map_or_else(|| "result: none was looked for".to_owned(), result::summary);
            console.note(&why);
            return Ok(false);
        };
        result::print(&json, args.output, console).await?;
        // A table comes with them; with --verbose the program's own lines on stderr have them.
        if args.output != Some(OutputFormat::Table) {
            for warning in result::warnings(&json).iter().filter(|_| !args.quiet && !args.verbose) {
                console.note(&format!("warning: {warning}"));
            }
        }
    } else if args.output == Some(OutputFormat::Json) {
        console.out(to_json(run, "Run", Layout::Pretty)?.as_bytes()).await?;
    } else if !args.quiet
        && console.is_watched()
        && let Some(result) = run.result.as_ref().filter(|result| result.state() == pb::ResultState::Found)
    {
        let id = clean(names::typed(&run.name));
        console.note(&format!("result: {}; `longshore get {id}` shows it", result::extent(result)));
    }
    Ok(true)
}
