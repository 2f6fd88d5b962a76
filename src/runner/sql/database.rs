//! The SQLite database of one request: in memory, filled from CSV, then read only.

use std::sync::Arc;

use futures::TryStreamExt;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Either, Executor, SqlSafeStr, SqlStr, Statement};

use super::csv_file::{Cell, ColumnType, CsvError, Rows, Survey, survey};
use super::deadline::Deadline;
use super::error::{RunError, Violations};
use super::hint::{Table, explain};
use super::result::Answer;
use super::source::TableSource;
use super::value::{json_bytes, row_to_json};

/// What tables and query may use together, in bytes. SQLite counts it for the whole process.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// How many steps of its virtual machine SQLite makes between two looks at the clock: far less than a millisecond's
/// worth.
const STEPS_PER_LOOK: i32 = 1000;

/// At most this many values go into one INSERT; SQLite allows 32,766.
const VALUES_PER_INSERT: usize = 4096;

/// What the result object has beside columns and rows, in bytes, generously.
const ENVELOPE_BYTES: usize = 200;

const OUT_OF_MEMORY: &str = "7";

/// How much a query may return.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) rows: usize,
    /// The most bytes of the whole result object.
    pub(super) bytes: usize,
}

/// A connection whose statements end at the deadline.
#[derive(Debug)]
pub(super) struct Database {
    connection: SqliteConnection,
    tables: Vec<Table>,
    deadline: Deadline,
}

impl Database {
    /// An empty database.
    ///
    /// # Errors
    /// [`RunError::Internal`].
    pub(super) async fn open(deadline: Deadline) -> Result<Self, RunError> {
        let options = SqliteConnectOptions::new()
            .in_memory(true)
            // The root file system may be read-only, so what a sort can't hold stays in memory too.
            .pragma("temp_store", "MEMORY")
            .pragma("trusted_schema", "OFF")
            .pragma("hard_heap_limit", MEMORY_BYTES.to_string())
            // Rows are large at times, so few are made ahead of their reader.
            .row_buffer_size(4)
            .disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(internal)?;
        let clock = deadline.clone();
        let mut handle = connection.lock_handle().await.map_err(internal)?;
        handle.set_progress_handler(STEPS_PER_LOOK, move || clock.keep_on());
        longshore_sqlite::refuse_quoted_texts(&mut handle)
            .map_err(|error| RunError::Internal(format!("SQLite: {error}")))?;
        drop(handle);
        Ok(Self { connection, tables: Vec::new(), deadline })
    }

    /// Makes a table of `source` and returns what it has.
    ///
    /// # Errors
    /// [`RunError::Validation`] if the file is not proper CSV, [`RunError::Execution`] if it doesn't fit in memory,
    /// [`RunError::Timeout`].
    pub(super) async fn load(&mut self, source: &TableSource) -> Result<Survey, RunError> {
        let bad_csv = |error: CsvError| {
            let mut violations = Violations::default();
            violations.add(source.label.clone(), error.to_string());
            RunError::Validation(violations)
        };
        let open = || source.content.open().map_err(|error| bad_csv(error.into()));
        let survey = survey(open()?, || self.deadline.keep_on()).map_err(bad_csv)?;
        self.deadline.check()?;

        self.run(create_table(&source.table, &survey.columns)).await?;
        let mut rows = Rows::new(open()?).map_err(bad_csv)?;
        let columns = survey.columns.len();
        let rows_per_insert = (VALUES_PER_INSERT / columns.max(1)).max(1);
        let insert = |rows| AssertSqlSafe(Arc::new(insert_into(&source.table, columns, rows))).into_sql_str();
        let full_insert = insert(rows_per_insert);
        loop {
            let (values, count) = next_values(&mut rows, &survey.columns, rows_per_insert).map_err(bad_csv)?;
            if count == 0 {
                break;
            }
            let statement = if count == rows_per_insert { full_insert.clone() } else { insert(count) };
            self.insert(statement, values).await?;
        }
        let names = survey.columns.iter().map(|(name, _)| name.clone()).collect();
        self.tables.push(Table { name: source.table.clone(), columns: names });
        Ok(survey)
    }

    async fn insert(&mut self, statement: SqlStr, values: Vec<OwnedCell>) -> Result<(), RunError> {
        self.deadline.check()?;
        let mut query = sqlx::query(statement);
        for value in values {
            query = match value {
                OwnedCell::Null => query.bind(None::<i64>),
                OwnedCell::Integer(number) => query.bind(number),
                OwnedCell::Real(number) => query.bind(number),
                OwnedCell::Text(text) => query.bind(text),
            };
        }
        let done = query.execute(&mut self.connection).await;
        done.map(drop).map_err(|error| self.explained(error))
    }

    async fn run(&mut self, sql: String) -> Result<(), RunError> {
        let done = self.connection.execute(AssertSqlSafe(sql)).await;
        done.map(drop).map_err(|error| self.explained(error))
    }

    /// Runs `sql`, one query without a semicolon, within `limits`. No statement can write from here on.
    ///
    /// # Errors
    /// [`RunError::Execution`], [`RunError::Policy`] or [`RunError::Timeout`].
    pub(super) async fn query(&mut self, sql: &str, limits: Limits) -> Result<Answer, RunError> {
        self.run("PRAGMA query_only = ON".to_owned()).await?;
        let columns = self.columns_of(sql).await?;
        let mut room = limits.bytes.saturating_sub(ENVELOPE_BYTES + json_bytes(&columns));
        if room == 0 {
            return Err(RunError::Execution("the names of the result's columns alone exceed max_output_bytes".into()));
        }
        let mut answer = Answer { columns, ..Answer::default() };
        let statement = AssertSqlSafe(sql.to_owned());
        let mut found = sqlx::query(statement).fetch(&mut self.connection);
        let outcome: Result<(), sqlx::Error> = async {
            while let Some(row) = found.try_next().await? {
                let fits = answer.rows.len() < limits.rows && take_row(&row, &mut answer.rows, &mut room)?;
                if !fits {
                    answer.truncated = true;
                    break;
                }
            }
            Ok(())
        }
        .await;
        drop(found);
        outcome.map_err(|error| self.explained(error))?;
        if !answer.truncated {
            self.confirm_end().await?;
        }
        Ok(answer)
    }

    /// Makes sure that no more rows means the end of the rows: if the driver's thread ends, its stream of rows just
    /// stops.
    async fn confirm_end(&mut self) -> Result<(), RunError> {
        self.connection.ping().await.map_err(|error| self.explained(error))
    }

    /// The names of the query's columns. Nothing is run for it.
    async fn columns_of(&mut self, sql: &str) -> Result<Vec<String>, RunError> {
        let prepared = self.connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await;
        let prepared = prepared.map_err(|error| self.explained(error))?;
        if !matches!(prepared.parameters(), None | Some(Either::Right(0))) {
            return Err(RunError::Execution(
                "the SQL has parameters (?, :name, @name or $name), which have no values here".into(),
            ));
        }
        // SQLite itself must agree with the policy's parser that all of it is a single query.
        let wrapped = AssertSqlSafe(format!("SELECT 1 FROM (\n{sql}\n)")).into_sql_str();
        self.connection.prepare(wrapped).await.map_err(|error| match self.explained(error) {
            RunError::Execution(problem) => {
                RunError::Policy(format!("SQLite does not read this as one query: {problem}"))
            }
            other => other,
        })?;
        Ok(prepared.columns().iter().map(|column| column.name().to_owned()).collect())
    }

    fn explained(&self, error: sqlx::Error) -> RunError {
        if self.deadline.stopped_work() {
            return self.deadline.error();
        }
        match error {
            sqlx::Error::Database(error) if error.code().as_deref() == Some(OUT_OF_MEMORY) => out_of_memory(),
            sqlx::Error::Database(error) => RunError::Execution(explain(error.message(), &self.tables)),
            // What makes the driver's thread end is a value that it has no memory left to copy.
            sqlx::Error::WorkerCrashed => out_of_memory(),
            other => internal(other),
        }
    }
}

fn out_of_memory() -> RunError {
    let mebibytes = MEMORY_BYTES / 1024 / 1024;
    RunError::Execution(format!("out of memory: tables, query and result may use {mebibytes} MiB together"))
}

fn internal(error: sqlx::Error) -> RunError {
    RunError::Internal(format!("SQLite: {error}"))
}

/// Adds `row` if it fits in what is left of `room`.
fn take_row(row: &SqliteRow, rows: &mut Vec<Vec<Value>>, room: &mut usize) -> Result<bool, sqlx::Error> {
    let Some(row) = row_to_json(row, *room)? else { return Ok(false) };
    let Some(left) = room.checked_sub(json_bytes(&row) + 1) else { return Ok(false) };
    *room = left;
    rows.push(row);
    Ok(true)
}

#[derive(Debug)]
enum OwnedCell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

impl From<Cell<'_>> for OwnedCell {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Integer(number) => Self::Integer(number),
            Cell::Real(number) => Self::Real(number),
            Cell::Text(text) => Self::Text(text.to_owned()),
        }
    }
}

/// The values of at most `count` more rows, and how many rows that are.
fn next_values<R: std::io::Read>(
    rows: &mut Rows<R>,
    columns: &[(String, ColumnType)],
    count: usize,
) -> Result<(Vec<OwnedCell>, usize), CsvError> {
    let mut values = Vec::with_capacity(count * columns.len());
    for taken in 0..count {
        let Some(record) = rows.next()? else { return Ok((values, taken)) };
        values.extend(record.iter().zip(columns).map(|(field, (_, column))| Cell::new(field, *column).into()));
    }
    Ok((values, count))
}

fn create_table(table: &str, columns: &[(String, ColumnType)]) -> String {
    let columns: Vec<String> =
        columns.iter().map(|(name, column)| format!("{} {}", quoted(name), column.sql())).collect();
    format!("CREATE TABLE {} ({})", quoted(table), columns.join(", "))
}

fn insert_into(table: &str, columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("INSERT INTO {} VALUES {}", quoted(table), vec![row.as_str(); rows].join(","))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
