//! `longshore run --count`: submits runs as one batch, waits for all of them, and exits as the worst.

use std::collections::BTreeSet;

use super::args::RunArgs;
use super::{AnsweredSubmit, flags, print_verdicts, submit};
use crate::client::connect::Connection;
use crate::exit;
use crate::run::selected::{Selection, WaitForAll, item_error, print_line};
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::interrupt::{Interrupt, Interrupts};
use crate::terminal::json::{Layout, to_json};
use crate::terminal::names;
use crate::terminal::output::OutputFormat;
use crate::terminal::text::clean;
use longshore_api::v1 as pb;
use longshore_api::v1::batch_submit_item::Outcome;

/// The label by which the runs of a batch are found.
const BATCH_LABEL: &str = "longshore.dev/batch";

/// Submits `count` runs of what `single` is one of.
pub(super) async fn run_many(
    client: &Connection,
    args: &RunArgs,
    single: pb::SubmitRunRequest,
    count: u32,
    console: &Console,
) -> Result<u8, CliError> {
    let request = request(args, single, count);
    let batch_id = request.batch_id.clone();
    let selection = Selection { parent: request.parent.clone(), selector: format!("{BATCH_LABEL}={batch_id}") };
    let call = async {
        let answer = client.batch_submit(request).await;
        answer.map_err(|error| error.in_flags(|field| args.typed(field), &flags::words()))
    };
    if args.dry_run {
        return dry_run(call.await?, args, console).await;
    }
    let mut interrupts = Interrupts::listen().map_err(anyhow::Error::from)?;
    let (answer, interrupted) = match submit(call, &mut interrupts, console).await? {
        AnsweredSubmit::Yes { answer, interrupted } => (answer, interrupted),
        AnsweredSubmit::Left(code) => {
            console.note(&format!(
                "left before the server answered: it may have made runs; longshore ls -l {} lists them",
                selection.selector
            ));
            return Ok(code);
        }
    };
    let mut codes = Vec::new();
    let mut made = BTreeSet::new();
    for item in &answer.items {
        match &item.outcome {
            Some(Outcome::Run(run)) => {
                made.insert(run.name.clone());
            }
            other => {
                let why = match other {
                    Some(Outcome::Error(error)) => item_error(error).explain().unwrap_or_default(),
                    _ => "the server did not say what became of it".to_owned(),
                };
                console.error(&format!("run {}: {why}", clean(names::typed(&item.name))));
                codes.push(exit::LONGSHORE);
            }
        }
    }
    let replayed = answer.items.iter().filter(|item| item.replayed).count();
    if replayed > 0 && !args.quiet {
        console
            .note(&format!("{replayed} of {} runs were there already: this is the same request", answer.items.len()));
    }
    if args.detach {
        detach(&answer, &made, args.output, console).await?;
        return Ok(exit::worst(codes));
    }
    if made.is_empty() {
        return Ok(exit::worst(codes));
    }
    if !args.quiet {
        console.note(&format!("batch {}: {} runs", clean(&batch_id), made.len()));
    }
    let waiting =
        WaitForAll { client, selection: &selection, console, names: Some(made), deadline: None, quiet: args.quiet };
    let over = async |run: &pb::Run| match args.output {
        Some(OutputFormat::Json) => print_line(client, &run.name, console).await,
        _ => Ok(()),
    };
    let waited = tokio::select! {
        waited = Box::pin(waiting.wait(over)) => waited?,
        code = Box::pin(obey(client, &selection, interrupted, &mut interrupts, console)) => {
            console.set_status(None);
            let selector = &selection.selector;
            console.note(&format!("left before the end:\n  longshore wait -l {selector}\n  longshore ls -l {selector}"));
            return Ok(code);
        }
    };
    codes.extend(waited.codes);
    Ok(exit::worst(codes))
}

/// The batch; without an id it gets a new one, so that trying again is safe.
fn request(args: &RunArgs, single: pb::SubmitRunRequest, count: u32) -> pb::BatchSubmitRunsRequest {
    let pb::SubmitRunRequest { parent, run_id, spec, validate_only, .. } = single;
    let batch_id = match &args.identity.id {
        Some(id) => id.clone(),
        None => format!("batch-{}", run_id.trim_start_matches("u-")),
    };
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    pb::BatchSubmitRunsRequest { parent, batch_id, requests: Vec::new(), spec, count, validate_only }
}

async fn dry_run(answer: pb::BatchSubmitRunsResponse, args: &RunArgs, console: &Console) -> Result<u8, CliError> {
    if let Some(Outcome::Error(error)) = answer.items.first().and_then(|first| first.outcome.as_ref()) {
        return Err(item_error(error));
    }
    if args.output == Some(OutputFormat::Json) {
        console.out(to_json(&answer, "BatchSubmitRunsResponse", Layout::Pretty)?.as_bytes()).await?;
        return Ok(print_verdicts(&answer.verdicts, console));
    }
    console.out(format!("{}\n", answer.manifest.trim_end_matches('\n')).as_bytes()).await?;
    console.note(&format!("this is the first of {} runs", answer.items.len()));
    Ok(print_verdicts(&answer.verdicts, console))
}

/// Only names on stdout, for scripts.
async fn detach(
    answer: &pb::BatchSubmitRunsResponse,
    made: &BTreeSet<String>,
    output: Option<OutputFormat>,
    console: &Console,
) -> Result<(), CliError> {
    let text = match output {
        Some(OutputFormat::Json) => to_json(answer, "BatchSubmitRunsResponse", Layout::Pretty)?,
        _ => {
            let names = answer.items.iter().map(|item| item.name.as_str()).filter(|name| made.contains(*name));
            names.map(|name| format!("{name}\n")).collect()
        }
    };
    console.out(text.as_bytes()).await
}

/// The first signal cancels all runs. Returns at the second, with its exit code.
async fn obey(
    client: &Connection,
    selection: &Selection,
    interrupted: Option<Interrupt>,
    interrupts: &mut Interrupts,
    console: &Console,
) -> u8 {
    let first = match interrupted {
        Some(signal) => signal,
        None => interrupts.next().await,
    };
    console.note("cancelling all runs, and waiting for their end; once more to leave without waiting");
    let request = pb::CancelRunsRequest {
        parent: selection.parent.clone(),
        filter: Some(selection.filter()),
        reason: first.reason().to_owned(),
        validate_only: false,
    };
    let cancel = async {
        // One call is enough: no batch has more runs than that.
        if let Err(error) = client.cancel_runs(request).await {
            console.error(&format!("they could not be cancelled: {}", error.explain().unwrap_or_default()));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = cancel => first.exit_code(),
        signal = interrupts.next() => signal.exit_code(),
    }
}
