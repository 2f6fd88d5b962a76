//! `longshore result`: a run's result, or that of any text, which is read as the server does.

use std::ffi::OsString;
use std::path::Path;

use clap::ValueEnum;

use super::explain::explain;
use super::of_run::of_run;
use super::place::Place;
use super::print;
use super::source::{self, Text};
use super::which::{Forced, Which};
use crate::cli::connect::ConnectArgs;
use crate::cli::console::{Console, Paint};
use crate::cli::error::CliError;
use crate::cli::json::{Layout, to_json};
use crate::cli::output::OutputFormat;
use crate::cli::text::{clean, clean_lines};
use crate::cli::{exit, values};
use crate::domain::result::reader::{Dialects, MAX_DEPTH, ReaderRule, ResultReader};
use crate::domain::result::{FoundResult, ResultError, ResultErrorKind, ResultOutcome, ResultSource};
use crate::domain::spec::ResultScan;
use crate::proto::{self, v1 as pb};

const EXAMPLES: &str = "\
Examples:
  longshore result nightly-7                        the result of a run, as compact JSON
  longshore result build.log                        the last object in a text
  ./runner.py | longshore result - | jq .total      what a run of it would give
  longshore result --explain build.log              what else might have been it, and why it is not
  longshore result --marker \"$MARKER\" build.log     lines that begin so win, as in a run
  longshore result -o json build.log                with its source, dialect, byte range, warnings

A file that exists is read. Otherwise what can be a run's id or name is a run; any other, such as \
./x or build.log, is a file. --run and --file say it themselves.

A text is read as the server reads a run's output: the last complete object wins, JSON or what \
Python's print(dict) makes of it, whatever stands around it.

Exit codes:
  0     the object was found
  1     there is none (or not yet); stderr says why, and where
  125   wrong usage, or the text, the run or the server cannot be read
  141   whoever read stdout has left";

/// Arguments of `longshore result`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ResultArgs {
    /// A run; or a text: a file, or - for stdin
    #[arg(value_name = "RUN|FILE")]
    source: OsString,
    /// It is a run, whatever files there are
    #[arg(long, conflicts_with = "file")]
    run: bool,
    /// It is a file, whatever its name
    #[arg(long)]
    file: bool,
    /// How the object may be written
    /// [default: any]
    #[arg(long, value_enum, value_name = "DIALECT")]
    dialect: Option<Dialect>,
    /// What a line begins with that carries the result, as $LONGSHORE_RESULT_MARKER in a run
    #[arg(long, value_name = "TEXT", value_parser = marker)]
    marker: Option<String>,
    /// Largest object, as the text has it and as compact JSON, such as 65536 or 4Mi
    /// [default: 900Ki]
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    max_bytes: Option<usize>,
    /// Tell on stderr everything that might have been the result, and what became of it
    #[arg(long)]
    explain: bool,
    /// json: what `longshore get -o json` has as `result`, errors too; table: its columns and rows
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(super) output: Option<OutputFormat>,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Largest object of a text, in bytes: what a server keeps that is not told otherwise.
const MAX_BYTES: usize = 900 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dialect {
    /// As JSON or as a Python literal
    Any,
    /// As JSON, NaN and Infinity included
    Json,
    /// As a Python literal, as print(dict) writes it
    Python,
}

impl ResultArgs {
    fn rule(&self) -> ReaderRule {
        ReaderRule {
            scan: ResultScan::LastObject,
            marker: self.marker.clone().unwrap_or_default(),
            max_bytes: self.max_bytes.unwrap_or(MAX_BYTES),
            max_depth: MAX_DEPTH,
            dialects: match self.dialect {
                None | Some(Dialect::Any) => Dialects::Any,
                Some(Dialect::Json) => Dialects::Json,
                Some(Dialect::Python) => Dialects::Python,
            },
        }
    }

    /// A flag that says how a text is read, if one is given.
    pub(super) fn flag_of_text(&self) -> Option<&'static str> {
        [
            ("--dialect", self.dialect.is_some()),
            ("--marker", self.marker.is_some()),
            ("--max-bytes", self.max_bytes.is_some()),
            ("--explain", self.explain),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
}

pub(in crate::cli) async fn result(args: &ResultArgs, console: &Console) -> Result<u8, CliError> {
    let forced = match (args.run, args.file) {
        (true, _) => Some(Forced::Run),
        (false, true) => Some(Forced::File),
        (false, false) => None,
    };
    match Which::of(&args.source, forced)? {
        Which::Run { run, sure } => of_run(args, &run, sure, console).await,
        Which::Text(path) => of_text(args, &path, console).await,
    }
}

/// Reads the result out of a text.
async fn of_text(args: &ResultArgs, path: &Path, console: &Console) -> Result<u8, CliError> {
    let mut reader = if args.explain { ResultReader::explaining(args.rule()) } else { ResultReader::new(args.rule()) };
    let mut text = Text::read(path, |data| reader.push(None, data))?;
    let (outcome, candidates) = reader.finish_explained(b"");
    if !candidates.is_empty() {
        explain(&candidates, &mut text, |block| console.note(block)).map_err(anyhow::Error::from)?;
    }
    let json_wanted = args.output == Some(OutputFormat::Json);
    let code = match &outcome {
        ResultOutcome::Found(found) => {
            if !json_wanted {
                tell_warnings(&found.warnings, console);
            }
            0
        }
        ResultOutcome::None(error) => {
            tell_error(error, &mut text, path, console)?;
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

/// What was odd but not wrong, on stderr.
pub(super) fn tell_warnings(warnings: &[String], console: &Console) {
    for warning in warnings {
        console.note(&format!("{} {}", console.paint_err("warning:", Paint::Yellow), clean(warning)));
    }
}

/// What is wrong, and where.
fn tell_error(error: &ResultError, text: &mut Text, path: &Path, console: &Console) -> Result<(), CliError> {
    let mut told = format!("{}: {}", kind_name(error.kind), clean_lines(&error.message));
    if let Some(position) = error.position {
        let place = Place::find(text, position).map_err(anyhow::Error::from)?;
        told.push('\n');
        told.push_str(&place.tell(&clean(&source::name(path)), |caret| console.paint_err(caret, Paint::Red)));
    }
    console.error(&told);
    Ok(())
}

fn marker(text: &str) -> Result<String, String> {
    match text {
        "" => Err("every line begins with nothing".to_owned()),
        text if text.contains('\n') => Err("no line has a line feed within".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// `SCAN`.
pub(super) fn source_name(source: ResultSource) -> &'static str {
    let name = pb::ResultSource::from(source).as_str_name();
    name.strip_prefix("RESULT_SOURCE_").unwrap_or(name)
}

/// `TRUNCATED`.
fn kind_name(kind: ResultErrorKind) -> &'static str {
    let name = pb::ResultErrorKind::from(kind).as_str_name();
    name.strip_prefix("RESULT_ERROR_KIND_").unwrap_or(name)
}
