//! A CSV file: its dialect, its columns, its records. What fields mean is [`shape`] and [`column`].
//!
//! What a request does not say is found out of the first records: the delimiter, if not all of them can be split by
//! commas alike, and whether the first line has names or values. Where that is a guess, a warning says so.

mod column;
mod records;
mod shape;
mod sniff;

use std::collections::HashMap;
use std::io::{self, Cursor, Read};

pub(super) use self::column::{ColumnType, Tally};
pub(super) use self::records::Records;
pub(super) use self::shape::Shape;
pub(super) use self::sniff::is_delimiter;
use self::sniff::{Dialect, Header};
use super::error::counted;

/// As many columns as SQLite allows.
const COLUMNS: usize = 2000;
const COLUMN_NAME_BYTES: usize = 256;

/// What is wrong with a CSV file. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub(super) enum CsvError {
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("line {line}: field {field} is not UTF-8; convert the file, for example by iconv -f latin1 -t utf-8")]
    NotUtf8 { line: u64, field: usize },
    #[error("is UTF-16; convert it, for example by iconv -f utf-16 -t utf-8")]
    Utf16,
    #[error("is {0}, not CSV; export it as CSV with UTF-8")]
    Binary(&'static str),
    #[error(
        "line {line}: {}, but the header has {expected} (fields are separated by {delimiter:?}; set delimiter \
         if that is wrong)", counted(*found, "field")
    )]
    Ragged { line: u64, found: usize, expected: usize, delimiter: char },
    #[error("line {line}: a value in column {column}, which has no name in the header")]
    Nameless { line: u64, column: usize },
    #[error("has no header line")]
    NoHeader,
    #[error("{0} columns; at most {COLUMNS} are possible")]
    TooManyColumns(usize),
    #[error(
        "columns {first} and {second} are both called {name:?}; set header to false if the first line has values, not names"
    )]
    DuplicateColumn { name: String, first: usize, second: usize },
    #[error("the name of column {0} is longer than {COLUMN_NAME_BYTES} bytes, holds a NUL character or is not UTF-8")]
    ColumnName(usize),
    #[error("line {line}: a quoted field begins here and never ends")]
    OpenQuote { line: u64 },
    #[error(
        "line {line}: a quoted field begins here, and something follows its closing quote; a quote within a quoted field \
         must be doubled"
    )]
    AfterQuote { line: u64 },
    #[error("line {line}: a record begins here that has more than 16 MiB")]
    LongRecord { line: u64 },
    #[error("{0}")]
    Json(String),
}

/// How a request says its files are written; unset is found out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CsvOptions {
    /// An ASCII character.
    pub(super) delimiter: Option<u8>,
    /// Whether the first line has the names of the columns.
    pub(super) header: Option<bool>,
}

impl CsvOptions {
    pub(super) fn is_unset(self) -> bool {
        self == Self::default()
    }
}

/// A file, opened and understood so far that its next record is its first row.
pub(super) struct CsvFile<R> {
    pub(super) records: Records<io::Chain<Cursor<Vec<u8>>, R>>,
    /// They differ by more than ASCII case; a nameless one is called `column_N`, N counted from 1.
    pub(super) columns: Vec<String>,
    /// Whether commas within numbers can only separate thousands.
    pub(super) comma_groups: bool,
    /// What was guessed, as the rest of a sentence about the file.
    pub(super) guesses: Vec<String>,
    delimiter: u8,
    /// Whether all lines end in a delimiter that no column stands behind.
    trailing: bool,
}

impl<R: Read> CsvFile<R> {
    /// Reads the beginning of `input` and its header.
    ///
    /// # Errors
    /// [`CsvError`].
    pub(super) fn open(mut input: R, options: CsvOptions) -> Result<Self, CsvError> {
        let mut head = Vec::new();
        let whole = sniff::read_head(&mut input, &mut head)?;
        let Dialect { delimiter, start, line, certain, mut guesses } = sniff::dialect(&head, whole, options)?;
        let sample = sniff::sample(head.get(start..).unwrap_or_default(), whole, delimiter);
        let first = sample.first().ok_or(CsvError::NoHeader)?;
        let header = sniff::header(&sample, options.header);
        let (mut columns, is_header) = match header {
            Header::Names { doubtful } => {
                if doubtful {
                    guesses.push(
                        "the first line was read as the names of the columns, although they are numbers; set header to \
                         false if it has values"
                            .into(),
                    );
                }
                (column_names(first)?, true)
            }
            Header::Values { guessed } => {
                if guessed {
                    let names = "the first line was read as values, not as the names of the columns, which are called \
                                 column_1, column_2 and so on; set header to true if it has names";
                    guesses.push(names.into());
                }
                (numbered(first.len())?, false)
            }
        };
        let last = columns.len() - 1;
        let is_empty = |record: &Vec<Vec<u8>>| record.get(last).is_none_or(|field| field.trim_ascii().is_empty());
        let trailing = last > 0 && sample.iter().all(is_empty);
        if trailing {
            columns.truncate(last);
        }
        if let Some(other) = hidden_delimiter(&columns, is_header && !certain) {
            guesses
                .push(format!("has one column, whose name holds {other:?}; set delimiter if that separates columns"));
        }
        head.drain(..start);
        let mut records = Records::new(Cursor::new(head).chain(input), delimiter, line);
        if is_header {
            records.advance()?;
        }
        if columns.len() == 1 {
            records.keep_blank_lines();
        }
        Ok(Self { records, columns, comma_groups: delimiter != b';', guesses, delimiter, trailing })
    }

    /// Goes to the next row, which has as many fields as there are columns; one more is allowed if it is empty.
    ///
    /// # Errors
    /// [`CsvError`].
    pub(super) fn advance(&mut self) -> Result<bool, CsvError> {
        if !self.records.advance()? {
            return Ok(false);
        }
        let (found, expected, line) = (self.records.len(), self.columns.len(), self.records.line());
        if found == expected {
            return Ok(true);
        }
        let extra_is_empty = found == expected + 1 && self.records.field(expected).trim_ascii().is_empty();
        match (extra_is_empty, self.trailing && found == expected + 1) {
            (true, _) => Ok(true),
            (false, true) => Err(CsvError::Nameless { line, column: found }),
            (false, false) => Err(CsvError::Ragged { line, found, expected, delimiter: char::from(self.delimiter) }),
        }
    }
}

/// A character in the name of the only column that may well be the delimiter.
fn hidden_delimiter(columns: &[String], in_doubt: bool) -> Option<char> {
    let [name] = columns else { return None };
    name.chars().find(|c| in_doubt && matches!(c, ';' | '\t' | '|'))
}

fn check_count(count: usize) -> Result<(), CsvError> {
    if count > COLUMNS { Err(CsvError::TooManyColumns(count)) } else { Ok(()) }
}

fn numbered(count: usize) -> Result<Vec<String>, CsvError> {
    check_count(count)?;
    Ok((1..=count).map(|number| format!("column_{number}")).collect())
}

fn column_names(header: &[Vec<u8>]) -> Result<Vec<String>, CsvError> {
    check_count(header.len())?;
    let mut names = Vec::with_capacity(header.len());
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(header.len());
    for (number, field) in (1..).zip(header) {
        let name = match std::str::from_utf8(field).map(str::trim) {
            Ok("") => format!("column_{number}"),
            Ok(name) if name.len() <= COLUMN_NAME_BYTES && !name.contains('\0') => name.to_owned(),
            _ => return Err(CsvError::ColumnName(number)),
        };
        if let Some(first) = seen.insert(name.to_ascii_lowercase(), number) {
            return Err(CsvError::DuplicateColumn { name, first, second: number });
        }
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
