//! The SQLite database of one request: in memory, filled from CSV, then read only.

mod load;

use futures::TryStreamExt;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteStatement};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Either, Executor, SqlSafeStr, Statement, TypeInfo};

use super::deadline::Deadline;
use super::error::RunError;
use super::functions;
use super::hint::{LoadedTable, explain};
use super::result::Answer;
use super::value::{json_bytes, row_to_json};
use super::warning::Warning;

/// What tables and query may use together, in bytes. SQLite counts it for the whole process.
const MEMORY_BYTES: u64 = 384 * 1024 * 1024;

/// How many steps of its virtual machine SQLite makes between two looks at the clock: far less than a millisecond's
/// worth.
const STEPS_PER_LOOK: i32 = 1000;

/// What the result object has beside columns and rows, in bytes, generously.
const ENVELOPE_BYTES: usize = 200;

/// SQLite's code.
const OUT_OF_MEMORY: i32 = 7;

/// How much a query may return.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryLimits {
    pub(super) rows: usize,
    /// The most bytes of the whole result object.
    pub(super) bytes: usize,
}

/// A connection whose statements end at the deadline.
#[derive(Debug)]
pub(super) struct Database {
    connection: SqliteConnection,
    /// The names of all tables there are, loaded or not.
    known: Vec<String>,
    loaded: Vec<LoadedTable>,
    deadline: Deadline,
}

impl Database {
    /// An empty database. `known` are the tables that could be loaded.
    ///
    /// # Errors
    /// [`RunError::Internal`].
    pub(super) async fn open(deadline: Deadline, known: Vec<String>) -> Result<Self, RunError> {
        let options = SqliteConnectOptions::new()
            .in_memory(true)
            // Nothing is rolled back: a request that fails to load ends.
            .journal_mode(SqliteJournalMode::Off)
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
            .and_then(|()| functions::add_all(&mut handle))
            .map_err(|error| RunError::Internal(format!("SQLite: {error}")))?;
        drop(handle);
        Ok(Self { connection, known, loaded: Vec::new(), deadline })
    }

    async fn run(&mut self, sql: String) -> Result<(), RunError> {
        let done = self.connection.execute(AssertSqlSafe(sql)).await;
        done.map(drop).map_err(|error| self.explained(error))
    }

    /// Runs `sql`, one query without a semicolon, within `limits`; or what stands for it (see [`super::rewrite`]). No
    /// statement can write from here on.
    ///
    /// # Errors
    /// [`RunError::Execution`], [`RunError::Policy`] or [`RunError::Timeout`].
    pub(super) async fn query(
        &mut self,
        sql: &str,
        adapted: Option<&str>,
        warnings: Vec<Warning>,
        limits: QueryLimits,
    ) -> Result<Answer, RunError> {
        self.run("PRAGMA query_only = ON".to_owned()).await?;
        let QueryColumns { mut columns, booleans } = self.shape_of(adapted.unwrap_or(sql)).await?;
        if adapted.is_some() {
            // Columns without a name of their own are called by the words of the user.
            let prepared = self.connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await;
            let own = prepared.map(|prepared| names_of(&prepared)).unwrap_or_default();
            if own.len() == columns.len() {
                columns = own;
            }
        }
        let sql = adapted.unwrap_or(sql);
        let mut room = limits.bytes.saturating_sub(ENVELOPE_BYTES + json_bytes(&columns) + json_bytes(&warnings));
        if room == 0 {
            return Err(RunError::Execution(
                "the names of the result's columns, and warnings, alone exceed max_output_bytes".into(),
            ));
        }
        let mut answer = Answer { columns, warnings, ..Answer::default() };
        let statement = AssertSqlSafe(sql.to_owned());
        let mut found = sqlx::query(statement).fetch(&mut self.connection);
        let outcome: Result<(), sqlx::Error> = async {
            while let Some(row) = found.try_next().await? {
                let fits = answer.rows.len() < limits.rows && take_row(&row, &booleans, &mut answer.rows, &mut room)?;
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

    /// What columns the query has. Nothing is run for it.
    async fn shape_of(&mut self, sql: &str) -> Result<QueryColumns, RunError> {
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
        // SQLite knows the declared type of what is a column of a table and nothing else.
        let booleans = prepared.columns().iter().map(|column| column.type_info().name() == "BOOLEAN").collect();
        Ok(QueryColumns { columns: names_of(&prepared), booleans })
    }

    fn explained(&self, error: sqlx::Error) -> RunError {
        if self.deadline.stopped_work() {
            return self.deadline.error();
        }
        match error {
            sqlx::Error::Database(error) if error.code().as_deref() == Some("7") => out_of_memory(),
            sqlx::Error::Database(error) => RunError::Execution(explain(error.message(), &self.known, &self.loaded)),
            // What makes the driver's thread end is a value that it has no memory left to copy.
            sqlx::Error::WorkerCrashed => out_of_memory(),
            other => internal(other),
        }
    }
}

/// The columns of a query.
struct QueryColumns {
    columns: Vec<String>,
    /// Which of them are boolean columns of a table, so that 1 and 0 are shown as true and false.
    booleans: Vec<bool>,
}

fn names_of(prepared: &SqliteStatement) -> Vec<String> {
    prepared.columns().iter().map(|column| column.name().to_owned()).collect()
}

fn out_of_memory() -> RunError {
    let mebibytes = MEMORY_BYTES / 1024 / 1024;
    RunError::Execution(format!("out of memory: tables, query and result may use {mebibytes} MiB together"))
}

fn internal(error: sqlx::Error) -> RunError {
    RunError::Internal(format!("SQLite: {error}"))
}

/// Adds `row` if it fits in what is left of `room`.
fn take_row(
    row: &SqliteRow,
    booleans: &[bool],
    rows: &mut Vec<Vec<Value>>,
    room: &mut usize,
) -> Result<bool, sqlx::Error> {
    let Some(row) = row_to_json(row, booleans, *room)? else { return Ok(false) };
    let Some(left) = room.checked_sub(json_bytes(&row) + 1) else { return Ok(false) };
    *room = left;
    rows.push(row);
    Ok(true)
}

#[cfg(test)]
mod tests;
