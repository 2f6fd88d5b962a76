//! `longshore result`: reads the result out of any text, as the server does.

use std::path::PathBuf;

use clap::ValueEnum;

use super::explain::explain;
use super::place::Place;
use super::print;
use super::source::{self, Text};
use crate::cli::console::{Console, Paint};
use crate::cli::error::CliError;
use crate::cli::json::{Layout, to_json};
use crate::cli::output::OutputFormat;
use crate::cli::text::{clean, clean_lines};
use crate::cli::{exit, values};
use crate::domain::result::reader::{Dialects, MAX_DEPTH, ReaderRule, ResultReader};
use crate::domain::result::{
    FoundResult, ResultDialect, ResultError, ResultErrorKind, ResultOutcome, ResultSource, ResultState,
};
use crate::domain::spec::ResultScan;
use crate::proto::v1 as pb;

const EXAMPLES: &str = "\
Examples:
  longshore result build.log                        the last object in it, as compact JSON
  ./runner.py | longshore result - | jq .total      what a run of it would give
  longshore result --explain build.log              what else might have been it, and why it is not
  longshore result --marker \"$MARKER\" build.log     lines that begin so win, as in a run
  longshore result -o json build.log                with its source, dialect, byte range, warnings

Reads as the server reads a run's output: the last complete object wins, JSON or what Python's \
print(dict) makes of it, whatever stands around it.

Exit codes:
  0     the object was found
  1     there is none; stderr says why, and where
  125   wrong usage, or the text cannot be read
  141   whoever read stdout has left";

/// Arguments of `longshore result`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ResultArgs {
    /// The text: a file, or - for stdin
    file: PathBuf,
    /// How the object may be written
    #[arg(long, value_enum, value_name = "DIALECT", default_value = "any")]
    dialect: Dialect,
    /// What a line begins with that carries the result, as $LONGSHORE_RESULT_MARKER in a run
    #[arg(long, value_name = "TEXT", value_parser = marker)]
    marker: Option<String>,
    /// Largest object, as the text has it and as compact JSON, such as 65536 or 4Mi
    #[arg(long, value_name = "SIZE", default_value = "900Ki", value_parser = values::bytes)]
    max_bytes: usize,
    /// Tell on stderr everything that might have been the result, and what became of it
    #[arg(long)]
    explain: bool,
    /// json: what `longshore get -o json` has as `result`, errors too; table: its columns and rows
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<OutputFormat>,
}

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
            max_bytes: self.max_bytes,
            max_depth: MAX_DEPTH,
            dialects: match self.dialect {
                Dialect::Any => Dialects::Any,
                Dialect::Json => Dialects::Json,
                Dialect::Python => Dialects::Python,
            },
        }
    }
}

pub(in crate::cli) async fn result(args: &ResultArgs, console: &Console) -> Result<u8, CliError> {
    let mut reader = if args.explain { ResultReader::explaining(args.rule()) } else { ResultReader::new(args.rule()) };
    let mut text = Text::read(&args.file, |data| reader.push(None, data))?;
    let (outcome, candidates) = reader.finish_explained(b"");
    if !candidates.is_empty() {
        explain(&candidates, &mut text, |block| console.note(block)).map_err(anyhow::Error::from)?;
    }
    let json_wanted = args.output == Some(OutputFormat::Json);
    let code = match &outcome {
        ResultOutcome::Found(found) => {
            for warning in found.warnings.iter().filter(|_| !json_wanted) {
                console.note(&format!("{} {}", console.paint_err("warning:", Paint::Yellow), clean(warning)));
            }
            0
        }
        ResultOutcome::None(error) => {
            tell_error(error, &mut text, args, console)?;
            exit::NO_OBJECT
        }
        ResultOutcome::Unavailable(why) => {
            console.error(&clean_lines(why));
            exit::NO_OBJECT
        }
    };
    if json_wanted {
        console.out(to_json(&wire(outcome), "Result", Layout::Pretty)?.as_bytes()).await?;
    } else if let ResultOutcome::Found(FoundResult { json: Some(json), .. }) = &outcome {
        print(json, args.output, console).await?;
    }
    Ok(code)
}

/// What is wrong, and where.
fn tell_error(error: &ResultError, text: &mut Text, args: &ResultArgs, console: &Console) -> Result<(), CliError> {
    let mut told = format!("{}: {}", kind_name(error.kind), clean_lines(&error.message));
    if let Some(position) = error.position {
        let place = Place::find(text, position).map_err(anyhow::Error::from)?;
        told.push('\n');
        told.push_str(&place.tell(&clean(&source::name(&args.file)), |caret| console.paint_err(caret, Paint::Red)));
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

/// The same as a run's result is told.
fn wire(outcome: ResultOutcome) -> pb::Result {
    let info = outcome.to_info();
    let mut wire = pb::Result {
        state: match info.state {
            ResultState::Pending => pb::ResultState::Pending,
            ResultState::Found => pb::ResultState::Found,
            ResultState::Missing => pb::ResultState::Missing,
            ResultState::Invalid => pb::ResultState::Invalid,
            ResultState::Unavailable => pb::ResultState::Unavailable,
        }
        .into(),
        ..Default::default()
    };
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    if let Some(found) = info.found {
        wire.size_bytes = signed(found.size_bytes);
        wire.sha256 = found.sha256;
        wire.source = wire_source(found.source).into();
        wire.dialect = wire_dialect(found.dialect).into();
        wire.byte_range =
            found.byte_range.map(|(start, end)| pb::ByteRange { start_offset: signed(start), end_offset: signed(end) });
        wire.warnings = found.warnings;
        wire.json = found.json.unwrap_or_default();
    }
    wire.error = info.error.map(|error| pb::ResultError {
        kind: wire_kind(error.kind).into(),
        message: error.message,
        offset: error.position.map(signed),
    });
    wire
}

fn wire_source(source: ResultSource) -> pb::ResultSource {
    match source {
        ResultSource::File => pb::ResultSource::File,
        ResultSource::MarkedLine => pb::ResultSource::MarkedLine,
        ResultSource::Scan => pb::ResultSource::Scan,
    }
}

fn wire_dialect(dialect: ResultDialect) -> pb::ResultDialect {
    match dialect {
        ResultDialect::Json => pb::ResultDialect::Json,
        ResultDialect::JsonWithNan => pb::ResultDialect::JsonWithNan,
        ResultDialect::PythonLiteral => pb::ResultDialect::PythonLiteral,
    }
}

fn wire_kind(kind: ResultErrorKind) -> pb::ResultErrorKind {
    match kind {
        ResultErrorKind::Empty => pb::ResultErrorKind::Empty,
        ResultErrorKind::NotAnObject => pb::ResultErrorKind::NotAnObject,
        ResultErrorKind::Truncated => pb::ResultErrorKind::Truncated,
        ResultErrorKind::Invalid => pb::ResultErrorKind::Invalid,
        ResultErrorKind::TooLarge => pb::ResultErrorKind::TooLarge,
        ResultErrorKind::TooDeep => pb::ResultErrorKind::TooDeep,
    }
}

/// `SCAN`.
pub(super) fn source_name(source: ResultSource) -> &'static str {
    let name = wire_source(source).as_str_name();
    name.strip_prefix("RESULT_SOURCE_").unwrap_or(name)
}

/// `TRUNCATED`.
fn kind_name(kind: ResultErrorKind) -> &'static str {
    let name = wire_kind(kind).as_str_name();
    name.strip_prefix("RESULT_ERROR_KIND_").unwrap_or(name)
}
