//! `longshore runner sql`: SQL over CSV files, in an SQLite database in memory.
//!
//! The story of a request: read and check it ([`request`]), let only one reading statement through ([`policy`]), find
//! its files ([`source`]), load them and ask ([`database`]), tell the result ([`result`]). The time limit covers all of
//! it, loading included, and `exec_time_ms` is measured likewise.

mod builtin;
mod csv_file;
mod database;
mod deadline;
mod error;
mod hint;
mod name;
mod policy;
mod request;
mod result;
mod source;
mod value;

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::time::{Instant, timeout_at};

use self::database::{Database, Limits};
use self::deadline::Deadline;
use self::error::RunError;
use self::request::SqlRequest;
use self::result::{Answer, SqlResult};
use super::RunnerEnv;
use super::output::{deliver, note};

/// The JSON Schema of the request.
pub const SQL_INPUT_SCHEMA: &str = include_str!("sql_input.schema.json");

/// The JSON Schema of the result object.
pub const SQL_RESULT_SCHEMA: &str = include_str!("sql_result.schema.json");

/// Answers the request in `env`: the result goes to stdout as one line of JSON (see [`SQL_RESULT_SCHEMA`]), a small one
/// to the result file too, and lines for people to stderr.
///
/// Returns success only if the query succeeded and its result was handed over. Work that could not be interrupted may
/// still go on in threads of this process, so the caller should exit soon.
pub async fn run_sql(env: &RunnerEnv) -> ExitCode {
    let result = answer(env, &mut io::stderr()).await;
    let delivered = deliver(env, &result.to_json()).await;
    if result.is_success() && delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn answer(env: &RunnerEnv, notes: &mut (dyn Write + Send)) -> SqlResult {
    let start = Instant::now();
    let outcome = execute(env, start, notes).await;
    if let Err(error) = &outcome {
        note(notes, format_args!("{}: {}", error.kind(), error.message()));
    }
    SqlResult::new(outcome, start.elapsed())
}

async fn execute(env: &RunnerEnv, start: Instant, notes: &mut (dyn Write + Send)) -> Result<Answer, RunError> {
    let request = request::read(env)?;
    let deadline = Deadline::new(start, request.timeout_seconds);
    // SQLite is interrupted at the deadline itself. This is for a single long step, such as a LIKE over a huge text.
    let work = load_and_query(env, &request, &deadline, notes);
    timeout_at(deadline.give_up_at(), work).await.unwrap_or_else(|_| Err(deadline.error()))
}

async fn load_and_query(
    env: &RunnerEnv,
    request: &SqlRequest,
    deadline: &Deadline,
    notes: &mut (dyn Write + Send),
) -> Result<Answer, RunError> {
    let sql = policy::one_query(&request.sql).await?;
    let sources = source::resolve(&request.data, env)?;
    let mut database = Database::open(deadline.clone()).await?;
    for source in &sources {
        let start = Instant::now();
        let loaded = database.load(source).await?;
        let (rows, columns, ms) = (loaded.rows, loaded.columns.len(), start.elapsed().as_millis());
        note(notes, format_args!("loaded {} ({rows} rows, {columns} columns) in {ms} ms", source.table));
    }
    let start = Instant::now();
    let answer = database.query(&sql, Limits { rows: request.max_rows, bytes: request.max_output_bytes }).await?;
    let (rows, columns, ms) = (answer.rows.len(), answer.columns.len(), start.elapsed().as_millis());
    let cut = match answer.truncated {
        true if rows == request.max_rows => "; there are more (max_rows)",
        true => "; there are more (max_output_bytes)",
        false => "",
    };
    note(notes, format_args!("query: {rows} rows, {columns} columns in {ms} ms{cut}"));
    Ok(answer)
}

#[cfg(test)]
mod tests;
