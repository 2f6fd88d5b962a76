//! `longshore result`: a run's result, or that of any text, which is read as the server does.

use std::path::Path;

use super::args::ResultArgs;
use super::explain::explain;
use super::of_run::of_run;
use super::place::TextPlace;
use super::print;
use super::source::{self, SourceText};
use super::which::{Forced, Which};
use super::words::{kind_name, report_warnings};
use crate::exit;
use crate::terminal::console::{Console, Paint};
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::output::OutputFormat;
use crate::terminal::text::{clean, clean_lines};
use longshore_api as proto;
use longshore_domain::result::reader::ResultReader;
use longshore_domain::result::{FoundResult, ResultError, ResultOutcome};

pub(crate) async fn result(args: &ResultArgs, console: &Console) -> Result<u8, CliError> {
    let forced = match (args.run, args.file) {
        (true, _) => Some(Forced::Run),
        (false, true) => Some(Forced::File),
        (false, false) => None,
    };
    match Which::of(&args.source, forced)? {
        Which::Run(run) => of_run(args, &run, console).await,
        Which::Text(path) => of_text(args, &path, console).await,
    }
}

/// Reads the result out of a text.
async fn of_text(args: &ResultArgs, path: &Path, console: &Console) -> Result<u8, CliError> {
    let mut reader = if args.explain { ResultReader::explaining(args.rule()) } else { ResultReader::new(args.rule()) };
    let mut text = SourceText::read(path, |data| reader.push(None, data))?;
    let (outcome, candidates) = reader.finish_explained(b"");
    if !candidates.is_empty() {
        explain(&candidates, &mut text, |block| console.note(block)).map_err(anyhow::Error::from)?;
    }
    let json_wanted = args.output == Some(OutputFormat::Json);
    let code = match &outcome {
        ResultOutcome::Found(found) => {
            if !json_wanted {
                report_warnings(&found.warnings, console);
            }
            0
        }
        ResultOutcome::None(error) => {
            report_error(error, &mut text, path, console)?;
            exit::NO_OBJECT
        }
        ResultOutcome::Unavailable(why) => {
            console.error(&clean_lines(why));
            exit::NO_OBJECT
        }
    };
    if json_wanted {
        let info = outcome.to_info();
        let mut wire = proto::result::result(&info, info.found.as_ref().and_then(|found| found.json.clone()));
        if text.is_decoded() {
            wire.byte_range = None;
        }
        console.out(to_json(&wire, "Result", Layout::Pretty)?.as_bytes()).await?;
    } else if let ResultOutcome::Found(FoundResult { json: Some(json), .. }) = &outcome {
        print(json, args.output, console).await?;
    }
    Ok(code)
}

/// What is wrong, and where.
fn report_error(error: &ResultError, text: &mut SourceText, path: &Path, console: &Console) -> Result<(), CliError> {
    let mut report = format!("{}: {}", kind_name(error.kind), clean_lines(&error.message));
    if let Some(position) = error.position {
        let place = TextPlace::find(text, position).map_err(anyhow::Error::from)?;
        report.push('\n');
        report.push_str(&place.describe(&clean(&source::name(path)), |caret| console.paint_err(caret, Paint::Red)));
    }
    console.error(&report);
    Ok(())
}
