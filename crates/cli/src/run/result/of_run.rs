//! `longshore result RUN`: the result that a run gave.

use std::path::Path;

use super::args::ResultArgs;
use super::words::report_warnings;
use super::{print, read, summary};
use crate::exit;
use crate::run::find;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::output::OutputFormat;
use crate::terminal::text::{clean, state_name};
use longshore_api::v1 as pb;

/// Prints what the run's result is, as that of a text is printed.
pub(super) async fn of_run(args: &ResultArgs, run: &str, console: &Console) -> Result<u8, CliError> {
    if let Some(flag) = args.flag_of_text() {
        return Err(CliError::usage(format!(
            "{flag} is for texts, and `{run}` is a run, whose result is known; to search its output again: \
             longshore logs {run} | longshore result {flag} … -; a file of this name is ./{run}",
            run = clean(run)
        )));
    }
    let client = args.connect.client()?;
    let name = args.connect.run_name(run)?;
    let found = find::with_run(&client, &name, console, async |name: &str| client.get(name).await).await;
    let (_, run) = found.inspect_err(|_| {
        if !args.run && Path::new(run).metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            let run = clean(run);
            console.note(&format!("a run was looked for; to read the file of this name: longshore result ./{run}"));
        }
    })?;
    let json = read(&client, &run).await?;
    let result = run.result.clone().unwrap_or_default();
    if args.output == Some(OutputFormat::Json) {
        let whole = pb::Result { json: json.clone().unwrap_or_default(), ..result };
        console.out(to_json(&whole, "Result", Layout::Pretty)?.as_bytes()).await?;
    } else if let Some(json) = &json {
        report_warnings(&result.warnings, console);
        print(json, args.output, console).await?;
    } else {
        console.error(&why_none(&run, &result));
    }
    Ok(if json.is_some() { 0 } else { exit::NO_OBJECT })
}

/// Why there is no object.
fn why_none(run: &pb::Run, result: &pb::Result) -> String {
    let id = clean(crate::terminal::names::typed(&run.name));
    match result.state() {
        pb::ResultState::Pending => format!(
            "PENDING: the run is {}, and its result is known once it has ended: `longshore wait {id}`",
            state_name(run.state)
        ),
        pb::ResultState::Unspecified => format!(
            "no result was looked for, as the run's result rule is NONE; to search its output: \
             `longshore logs {id} | longshore result -`"
        ),
        _ => summary(result),
    }
}
