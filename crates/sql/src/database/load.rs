//! A file becomes a table: its columns that the statement may use, in one pass as a rule.
//!
//! The types of the columns are guessed from the first rows. Then all rows are inserted while the types are checked
//! against every value; only if a guess was wrong is the table made again, with the types that are then known.

use std::io::Read;
use std::num::NonZeroUsize;
use std::ops::Range;

use longshore_sqlite::{Insert, SqliteError, Value};

use super::super::content::CsvText;
use super::super::csv_file::{ColumnType, CsvError, CsvFile, CsvOptions, Shape, Tally};
use super::super::error::{RequestViolations, RunError};
use super::super::hint::LoadedTable;
use super::super::mentions::TableMentions;
use super::super::rewrite::LoadedColumn;
use super::super::source::TableSource;
use super::super::warning::Warning;
use super::{Database, internal};

/// The types are guessed from so many rows.
const GUESS_ROWS: u64 = 1000;

/// The clock is looked at after so many rows.
const ROWS_PER_LOOK: u64 = 1024;

/// Rows wait until their texts have so many bytes together: SQLite does not count them.
const TEXT_BYTES: usize = 64 * 1024;

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) rows: u64,
    /// The columns that were loaded.
    pub(crate) columns: Vec<LoadedColumn>,
    /// How many columns the file has.
    pub(crate) file_columns: usize,
    pub(crate) warnings: Vec<Warning>,
}

/// A column that the statement may use.
struct Used {
    /// Its place in a record.
    place: usize,
    name: String,
    tally: Tally,
    /// JSON says that it has texts.
    is_text: bool,
}

impl Used {
    fn column_type(&self, comma_groups: bool) -> ColumnType {
        if self.is_text { ColumnType::Text } else { self.tally.column_type(comma_groups) }
    }
}

/// Why a pass over a file ended before its end.
enum LoadStop {
    Run(RunError),
    Csv(CsvError),
    Sqlite(SqliteError),
    Late,
}

impl From<RunError> for LoadStop {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<CsvError> for LoadStop {
    fn from(error: CsvError) -> Self {
        Self::Csv(error)
    }
}

impl Database {
    /// Makes a table of `source` with the columns that `mentions` names.
    ///
    /// # Errors
    /// [`RunError::Validation`] if the file is not proper CSV, [`RunError::Execution`] if it doesn't fit in memory,
    /// [`RunError::Timeout`].
    pub(crate) async fn load(
        &mut self,
        source: &TableSource,
        mentions: &TableMentions,
        options: CsvOptions,
    ) -> Result<Loaded, RunError> {
        let label = &source.label;
        let bad_csv = |error: CsvError| {
            let mut violations = RequestViolations::default();
            violations.add(label.clone(), error.to_string());
            RunError::Validation(violations)
        };
        self.deadline.check()?;
        let text = CsvText::new(&source.content, options.is_unset()).map_err(bad_csv)?;
        let options = if text.is_json() { CsvOptions { delimiter: Some(b','), header: Some(true) } } else { options };
        let open =
            || text.open().map_err(CsvError::from).and_then(|input| CsvFile::open(input, options)).map_err(bad_csv);

        let mut sample = open()?;
        let all_columns = sample.columns.clone();
        let (comma_groups, guesses) = (sample.comma_groups, std::mem::take(&mut sample.guesses));
        let mut used = used_columns(&all_columns, mentions, &text);
        // A fault in the first rows is met again, and reported then.
        let _ = pass_over(&mut sample, &mut used, GUESS_ROWS, None, || self.deadline.keep_on());
        drop(sample);
        let guess: Vec<ColumnType> = used.iter().map(|column| column.column_type(comma_groups)).collect();
        for column in &mut used {
            column.tally = Tally::default();
        }

        self.create(&source.table, &used, &guess, &all_columns).await?;
        let first = self.fill(&source.table, &mut open()?, &mut used, &guess, true).await;
        let first = first.map_err(|stop| self.stopped(stop, bad_csv))?;
        let types: Vec<ColumnType> = used.iter().map(|column| column.column_type(comma_groups)).collect();
        if !first.all_fit || types != guess {
            self.run(format!("DROP TABLE {}", quoted(&source.table))).await?;
            self.create(&source.table, &used, &types, &all_columns).await?;
            let second = self.fill(&source.table, &mut open()?, &mut used, &types, false).await;
            let second = second.map_err(|stop| self.stopped(stop, bad_csv))?;
            if second != (Pass { all_fit: true, ..first }) {
                return Err(RunError::Internal(format!("{} changed while it was read", source.label)));
            }
        }

        let mut warnings: Vec<Warning> =
            guesses.into_iter().map(|guess| Warning::general(format!("{}: {guess}", source.label))).collect();
        let mut columns = Vec::with_capacity(used.len());
        for (column, column_type) in used.iter().zip(types) {
            let warning = column.tally.warning(&source.table, &column.name, comma_groups).filter(|_| !column.is_text);
            columns.push(LoadedColumn {
                table: source.table.clone(),
                name: column.name.clone(),
                column: column_type,
                reported: warning.is_some(),
            });
            warnings.extend(warning);
        }
        let file_columns = all_columns.len();
        self.loaded.push(LoadedTable { name: source.table.clone(), columns: all_columns });
        Ok(Loaded { rows: first.rows, columns, file_columns, warnings })
    }

    /// Makes the table. One that no column of is used has one all the same, since it has rows.
    async fn create(
        &mut self,
        table: &str,
        used: &[Used],
        types: &[ColumnType],
        all: &[String],
    ) -> Result<(), RunError> {
        let mut columns: Vec<String> =
            used.iter().zip(types).map(|(column, sql)| format!("{} {}", quoted(&column.name), sql.sql())).collect();
        if columns.is_empty() {
            columns.extend(all.first().map(|name| quoted(name)));
        }
        self.run(format!("CREATE TABLE {} ({})", quoted(table), columns.join(", "))).await
    }

    /// Inserts all rows, by the types given. With `check` every value is also taken into account for the column's true
    /// type; then it is inserted only as long as all fit.
    async fn fill<R: Read>(
        &mut self,
        table: &str,
        file: &mut CsvFile<R>,
        used: &mut [Used],
        types: &[ColumnType],
        check: bool,
    ) -> Result<Pass, LoadStop> {
        self.run("BEGIN".to_owned()).await?;
        let deadline = self.deadline.clone();
        let mut handle = self.connection.lock_handle().await.map_err(internal)?;
        let columns = NonZeroUsize::new(used.len()).unwrap_or(NonZeroUsize::MIN);
        let done = match Insert::prepare(&mut handle, &quoted(table), columns) {
            Ok(mut insert) => {
                let mut target =
                    LoadTarget { insert: &mut insert, types, check, cells: Vec::new(), texts: String::new() };
                let done = pass_over(file, used, u64::MAX, Some(&mut target), || deadline.keep_on());
                done.and_then(|done| target.insert_waiting().map(|()| done).map_err(LoadStop::Sqlite))
            }
            Err(error) => Err(LoadStop::Sqlite(error)),
        };
        drop(handle);
        let done = done?;
        self.run("COMMIT".to_owned()).await?;
        Ok(done)
    }

    fn stopped(&self, stop: LoadStop, bad_csv: impl FnOnce(CsvError) -> RunError) -> RunError {
        match stop {
            LoadStop::Run(error) => error,
            LoadStop::Late => self.deadline.error(),
            LoadStop::Csv(error) => bad_csv(error),
            LoadStop::Sqlite(_) if self.deadline.stopped_work() => self.deadline.error(),
            LoadStop::Sqlite(error) if error.code == super::OUT_OF_MEMORY => super::out_of_memory(),
            LoadStop::Sqlite(error) => RunError::Internal(format!("SQLite: {error}")),
        }
    }
}

/// Where rows go.
struct LoadTarget<'a, 'h> {
    insert: &'a mut Insert<'h>,
    types: &'a [ColumnType],
    check: bool,
    /// Rows that wait until they are many. A record is gone with the next one, so their texts are copied.
    cells: Vec<Cell<Range<usize>>>,
    texts: String,
}

impl LoadTarget<'_, '_> {
    fn push(&mut self, cell: Cell<&str>) {
        self.cells.push(match cell {
            Cell::Null => Cell::Null,
            Cell::Integer(number) => Cell::Integer(number),
            Cell::Real(number) => Cell::Real(number),
            Cell::Text(text) => {
                let start = self.texts.len();
                self.texts.push_str(text);
                Cell::Text(start..self.texts.len())
            }
        });
    }

    /// After a row: inserts those that wait, if they are enough.
    fn end_row(&mut self, columns: usize) -> Result<(), SqliteError> {
        let enough = self.cells.len() >= self.insert.batch() * columns || self.texts.len() >= TEXT_BYTES;
        if enough { self.insert_waiting() } else { Ok(()) }
    }

    fn insert_waiting(&mut self) -> Result<(), SqliteError> {
        let value = |cell: &Cell<Range<usize>>| match cell {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(*number),
            Cell::Real(number) => Value::Real(*number),
            Cell::Text(range) => Value::Text(self.texts.get(range.clone()).unwrap_or_default()),
        };
        let values: Vec<Value<'_>> = self.cells.iter().map(value).collect();
        self.insert.rows(&values)?;
        self.cells.clear();
        self.texts.clear();
        Ok(())
    }
}

/// A value of a row.
enum Cell<T> {
    Null,
    Integer(i64),
    Real(f64),
    Text(T),
}

/// What a pass over a file came to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pass {
    rows: u64,
    /// Whether every value had the type of its column.
    all_fit: bool,
}

/// Goes over at most `most` rows. Without a target values are only taken into account.
fn pass_over<R: Read>(
    file: &mut CsvFile<R>,
    used: &mut [Used],
    most: u64,
    mut target: Option<&mut LoadTarget<'_, '_>>,
    keep_on: impl Fn() -> bool,
) -> Result<Pass, LoadStop> {
    let mut rows = 0;
    let mut all_fit = true;
    while rows < most && file.advance()? {
        rows += 1;
        if rows % ROWS_PER_LOOK == 0 && !keep_on() {
            return Err(LoadStop::Late);
        }
        let (records, line) = (&file.records, file.records.line());
        for (index, column) in used.iter_mut().enumerate() {
            let field = records.field(column.place);
            let shape = Shape::of(field);
            let Some(target) = target.as_mut() else {
                column.tally.see(shape, field, line);
                continue;
            };
            if target.check {
                column.tally.see(shape, field, line);
            }
            let column_type = target.types.get(index).copied().unwrap_or(ColumnType::Text);
            match cell(shape, field, column_type) {
                Some(cell) => target.push(cell),
                None if column_type == ColumnType::Text => {
                    return Err(CsvError::NotUtf8 { line, field: column.place + 1 }.into());
                }
                // With true types this happens only if the file changes meanwhile.
                None => all_fit = false,
            }
        }
        let Some(target) = target.as_mut() else { continue };
        if used.is_empty() {
            target.push(Cell::Null);
        }
        if all_fit {
            target.end_row(used.len().max(1)).map_err(LoadStop::Sqlite)?;
        } else {
            // The table is made again, with other types.
            target.cells.clear();
            target.texts.clear();
        }
    }
    Ok(Pass { rows, all_fit })
}

/// The value of a field in a column of this type, if it has one.
fn cell(shape: Shape, field: &[u8], column: ColumnType) -> Option<Cell<&str>> {
    if shape == Shape::Empty {
        return Some(Cell::Null);
    }
    Some(match (column, shape) {
        (ColumnType::Text, _) => Cell::Text(std::str::from_utf8(field).ok()?),
        (_, Shape::Missing) => Cell::Null,
        (ColumnType::Date, Shape::Date | Shape::DateTime(_)) => {
            Cell::Text(std::str::from_utf8(field.trim_ascii()).ok()?)
        }
        (ColumnType::Boolean, Shape::Boolean(truth)) => Cell::Integer(i64::from(truth)),
        (ColumnType::Integer, Shape::Integer(number) | Shape::GroupedInteger(number)) => Cell::Integer(number),
        #[expect(clippy::cast_precision_loss, reason = "`Tally` makes such columns TEXT")]
        (ColumnType::Real, Shape::Integer(number) | Shape::GroupedInteger(number)) => Cell::Real(number as f64),
        (ColumnType::Real, Shape::Real { value, .. } | Shape::GroupedReal(value)) => Cell::Real(value),
        _ => return None,
    })
}

fn used_columns(all: &[String], mentions: &TableMentions, text: &CsvText) -> Vec<Used> {
    let used = all.iter().enumerate().filter(|(_, name)| mentions.column(name));
    used.map(|(place, name)| Used {
        place,
        name: name.clone(),
        tally: Tally::default(),
        is_text: text.strings.contains(name),
    })
    .collect()
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
