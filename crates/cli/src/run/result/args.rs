//! What `longshore result` is asked for.

use std::ffi::OsString;

use clap::ValueEnum;

use crate::client::connect::ConnectArgs;
use crate::terminal::output::OutputFormat;
use crate::terminal::values;
use longshore_domain::result::reader::{Dialects, MAX_DEPTH, ReaderRule};
use longshore_domain::run::spec::ResultScan;

const EXAMPLES: &str = "\
Examples:
  longshore result nightly-7                        the result of a run, as compact JSON
  longshore result build.log                        the last object in a text
  ./runner.py | longshore result - | jq .total      what a run of it would give
  longshore result --explain build.log              what else might have been it, and why it is not
  longshore result --marker \"$MARKER\" build.log     lines that begin so win, as in a run
  longshore result -o json build.log                with its source, dialect, byte range, warnings

What can be a run's id or name is a run, whatever files there are; any other, such as ./x or \
build.log, is a file. --run and --file say it themselves.

A text is read as the server reads a run's output: the last complete object wins, JSON or what \
Python's print(dict) makes of it, whatever stands around it.

Exit codes:
  0     the object was found
  1     there is none (or not yet); stderr says why, and where
  125   wrong usage, or the text, the run or the server cannot be read
  141   the reader of stdout has left";

/// Arguments of `longshore result`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ResultArgs {
    /// A run; or a text: a file, or - for stdin
    #[arg(value_name = "RUN|FILE")]
    pub(super) source: OsString,
    /// It is a run, whatever files there are
    #[arg(long, conflicts_with = "file")]
    pub(super) run: bool,
    /// It is a file, whatever its name
    #[arg(long)]
    pub(super) file: bool,
    /// How the object may be written
    /// [default: any]
    #[arg(long, value_enum, value_name = "DIALECT")]
    dialect: Option<DialectArg>,
    /// What a line begins with that carries the result, as $LONGSHORE_RESULT_MARKER in a run
    #[arg(long, value_name = "TEXT", value_parser = marker)]
    marker: Option<String>,
    /// Largest object, as the text has it and as compact JSON, such as 65536 or 4Mi
    /// [default: 900Ki]
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    max_bytes: Option<usize>,
    /// Report on stderr everything that might have been the result, and what became of it
    #[arg(long)]
    pub(super) explain: bool,
    /// json: what `longshore get -o json` has as `result`, errors too; table: its columns and rows
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(super) output: Option<OutputFormat>,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Largest object of a text, in bytes: what a server keeps that is not configured otherwise.
const MAX_BYTES: usize = 900 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DialectArg {
    /// As JSON or as a Python literal
    Any,
    /// As JSON, NaN and Infinity included
    Json,
    /// As a Python literal, as print(dict) writes it
    Python,
}

impl ResultArgs {
    pub(super) fn rule(&self) -> ReaderRule {
        ReaderRule {
            scan: ResultScan::LastObject,
            marker: self.marker.clone().unwrap_or_default(),
            max_bytes: self.max_bytes.unwrap_or(MAX_BYTES),
            max_depth: MAX_DEPTH,
            dialects: match self.dialect {
                None | Some(DialectArg::Any) => Dialects::Any,
                Some(DialectArg::Json) => Dialects::Json,
                Some(DialectArg::Python) => Dialects::Python,
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

fn marker(text: &str) -> Result<String, String> {
    match text {
        "" => Err("every line begins with nothing".to_owned()),
        text if text.contains('\n') => Err("no line has a line feed within".to_owned()),
        text => Ok(text.to_owned()),
    }
}
