//! CSV text as typed rows. A file is read twice: once to learn its columns and their types, once for its rows.
//!
//! RFC 4180 with a header line: fields in double quotes where needed, LF or CRLF, UTF-8 with or without byte order
//! mark. Blank lines are skipped. An empty field is NULL. A column is
//! * INTEGER if all its values are whole numbers that fit 64 bits, written without superfluous zeros or a plus sign;
//! * REAL if all are finite decimal numbers and none is a whole number that a 64-bit float can't hold exactly;
//! * TEXT otherwise, so ZIP codes, phone numbers and long ids keep every character.

use std::collections::HashMap;
use std::io::{self, Read};

use csv::{Reader, ReaderBuilder, StringRecord};

/// As many columns as SQLite allows.
const COLUMNS: usize = 2000;
const COLUMN_NAME_BYTES: usize = 256;

/// Whole numbers up to this size are exact as 64-bit floats.
const EXACT_IN_FLOAT: u64 = 1 << 53;

/// What is wrong with a CSV file.
#[derive(Debug, thiserror::Error)]
pub(super) enum CsvError {
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("line {line}: field {field} is not UTF-8")]
    NotUtf8 { line: u64, field: usize },
    #[error("line {line}: {found} fields, but the header has {expected}")]
    Ragged { line: u64, found: usize, expected: usize },
    #[error("has no header line")]
    NoHeader,
    #[error("line 1: {0} columns; at most {COLUMNS} are possible")]
    TooManyColumns(usize),
    #[error("line 1: columns {first} and {second} are both called {name:?}")]
    DuplicateColumn { name: String, first: usize, second: usize },
    #[error("line 1: the name of column {0} is longer than {COLUMN_NAME_BYTES} bytes or holds a NUL character")]
    ColumnName(usize),
    #[error("line {line}: a quoted field begins here or later and never ends")]
    OpenQuote { line: u64 },
    #[error("{0}")]
    Other(String),
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Integer,
    Real,
    Text,
}

impl ColumnType {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Text => "TEXT",
        }
    }
}

/// A field, by the type of its column.
#[derive(Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// `field` in a column of type `column`; text if it doesn't fit, which happens only if the file changes while it is
    /// read.
    pub(super) fn new(field: &'a str, column: ColumnType) -> Self {
        match (Shape::of(field), column) {
            (Shape::Empty, _) => Self::Null,
            (Shape::Integer(number), ColumnType::Integer) => Self::Integer(number),
            #[expect(clippy::cast_precision_loss, reason = "`ColumnTally` makes such columns TEXT")]
            (Shape::Integer(number), ColumnType::Real) => Self::Real(number as f64),
            (Shape::Real(number), ColumnType::Real) => Self::Real(number),
            _ => Self::Text(field),
        }
    }
}

/// What a field looks like by itself.
#[derive(Debug, PartialEq)]
enum Shape {
    Empty,
    Integer(i64),
    Real(f64),
    Text,
}

impl Shape {
    fn of(field: &str) -> Self {
        if field.is_empty() {
            return Self::Empty;
        }
        // Blanks around a number are common and mean nothing; in text they are kept.
        let number = field.trim_matches(' ');
        let digits = number.strip_prefix('-').unwrap_or(number);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Self::Text;
        }
        if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
            return Self::Text;
        }
        if digits.bytes().all(|byte| byte.is_ascii_digit()) && number != "-0" {
            return number.parse().map_or(Self::Text, Self::Integer);
        }
        // Rust reads the decimal numbers SQLite reads; `inf` and `nan` were ruled out by their first letter.
        match number.parse::<f64>() {
            Ok(real) if real.is_finite() => Self::Real(real),
            _ => Self::Text,
        }
    }
}

/// What was seen of a column so far.
#[derive(Debug, Clone, Copy, Default)]
struct ColumnTally {
    integers: bool,
    inexact_integers: bool,
    reals: bool,
    text: bool,
}

impl ColumnTally {
    fn see(&mut self, field: &str) {
        if self.text {
            return;
        }
        match Shape::of(field) {
            Shape::Empty => {}
            Shape::Integer(number) => {
                self.integers = true;
                self.inexact_integers |= number.unsigned_abs() > EXACT_IN_FLOAT;
            }
            Shape::Real(_) => self.reals = true,
            Shape::Text => self.text = true,
        }
    }

    fn column_type(self) -> ColumnType {
        match self {
            Self { text: true, .. } | Self { inexact_integers: true, reals: true, .. } => ColumnType::Text,
            Self { reals: true, .. } => ColumnType::Real,
            Self { integers: true, .. } => ColumnType::Integer,
            Self { .. } => ColumnType::Text,
        }
    }
}

/// The columns of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// Name and type. The names differ by more than ASCII case; a nameless one is called `column_N`, N counted from 1.
    pub(super) columns: Vec<(String, ColumnType)>,
    /// The number of rows, the header apart.
    pub(super) rows: u64,
}

/// Reads `input` to its end and tells what its columns are. `keep_on` is asked every thousand rows or so; the survey
/// ends early once it answers no.
///
/// # Errors
/// [`CsvError`], with the line.
pub(super) fn survey(input: impl Read, keep_on: impl Fn() -> bool) -> Result<Survey, CsvError> {
    let mut rows = Rows::new(input)?;
    let mut tallies = vec![ColumnTally::default(); rows.columns.len()];
    let mut count = 0;
    while let Some(record) = rows.next()? {
        for (tally, field) in tallies.iter_mut().zip(record) {
            tally.see(field);
        }
        count += 1;
        if count % 1024 == 0 && !keep_on() {
            break;
        }
    }
    let types = tallies.into_iter().map(ColumnTally::column_type);
    Ok(Survey { columns: rows.columns.into_iter().zip(types).collect(), rows: count })
}

/// The rows of a file, each with as many fields as the header.
pub(super) struct Rows<R> {
    reader: Reader<LastByte<R>>,
    record: StringRecord,
    columns: Vec<String>,
    /// The line of the record before, if that one ended in a field with line breaks.
    broken_over_lines: Option<u64>,
}

impl<R: Read> Rows<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`CsvError`].
    pub(super) fn new(input: R) -> Result<Self, CsvError> {
        let input = LastByte { inner: input, seen: None };
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
        let mut rows = Self { reader, record: StringRecord::new(), columns: Vec::new(), broken_over_lines: None };
        if rows.read()?.is_none() {
            return Err(CsvError::NoHeader);
        }
        rows.columns = column_names(&rows.record)?;
        Ok(rows)
    }

    /// The next row, or none at the end.
    ///
    /// # Errors
    /// [`CsvError`].
    pub(super) fn next(&mut self) -> Result<Option<&StringRecord>, CsvError> {
        let Some(line) = self.read()? else { return Ok(None) };
        let (found, expected) = (self.record.len(), self.columns.len());
        if found != expected {
            // What comes after it tells whether a stray quote is the cause.
            self.read()?;
            return Err(CsvError::Ragged { line, found, expected });
        }
        Ok(Some(&self.record))
    }

    /// Reads a record and returns its line.
    fn read(&mut self) -> Result<Option<u64>, CsvError> {
        if !self.reader.read_record(&mut self.record).map_err(csv_error)? {
            // The parser takes the end of the file for the end of a quoted field, and all rows after a stray quote for
            // one field. Such a field has line breaks, so it was quoted, yet it is not a quote that ends the file.
            return match self.broken_over_lines {
                Some(line) if self.reader.get_ref().seen != Some(b'"') => Err(CsvError::OpenQuote { line }),
                _ => Ok(None),
            };
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        self.broken_over_lines = self.record.iter().next_back().filter(|field| field.contains('\n')).map(|_| line);
        Ok(Some(line))
    }
}

/// A reader that remembers the last byte which is no line end.
struct LastByte<R> {
    inner: R,
    seen: Option<u8>,
}

impl<R: Read> Read for LastByte<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        self.seen = bytes.iter().rfind(|byte| !matches!(byte, b'\n' | b'\r')).copied().or(self.seen);
        Ok(length)
    }
}

fn csv_error(error: csv::Error) -> CsvError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => CsvError::Io(error),
        csv::ErrorKind::Utf8 { err, .. } => CsvError::NotUtf8 { line, field: err.field() + 1 },
        other => CsvError::Other(format!("line {line}: {other:?}")),
    }
}

fn column_names(header: &StringRecord) -> Result<Vec<String>, CsvError> {
    if header.len() > COLUMNS {
        return Err(CsvError::TooManyColumns(header.len()));
    }
    let mut names = Vec::with_capacity(header.len());
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(header.len());
    for (number, field) in (1..).zip(header) {
        let name = match field.trim() {
            "" => format!("column_{number}"),
            name if name.len() > COLUMN_NAME_BYTES || name.contains('\0') => return Err(CsvError::ColumnName(number)),
            name => name.to_owned(),
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
