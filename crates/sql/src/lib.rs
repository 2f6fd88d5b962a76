//! `longshore runner sql`: SQL over CSV files, in an SQLite database in memory.
//!
//! The story of a request: read and check it ([`request`]), let only one reading statement through ([`policy`]), find
//! its files ([`source`]), load those that it mentions ([`mentions`], [`content`], [`csv_file`], [`database`]), put the
//! statement in words by which SQLite does not mislead ([`rewrite`], [`functions`]), ask, and report the result
//! ([`result`]) with what is to be known of it ([`warning`]). The time limit covers all of it, loading included, and
//! `exec_time_ms` is measured likewise.

mod builtin;
mod content;
mod csv_file;
mod database;
mod deadline;
mod env;
mod error;
mod functions;
mod hint;
mod mentions;
mod name;
mod output;
mod policy;
mod request;
mod result;
mod rewrite;
mod source;
mod value;
mod warning;

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::time::{Instant, timeout_at};

use self::database::{Database, QueryLimits};
use self::deadline::Deadline;
pub use self::env::RunnerEnv;
use self::error::{RunError, counted};
use self::output::{deliver, note};
use self::request::SqlRequest;
use self::result::{Answer, SqlResult};

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

/// The one statement of `sql` that may run, if it is one; on the stack of the caller, which has to be deep.
#[cfg(any(test, feature = "fuzzing"))]
#[must_use]
pub fn check_sql(sql: &str) -> Option<&str> {
    policy::check(sql).ok().map(|(statement, _)| statement)
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
    let query = policy::one_query(&request.sql).await?;
    let sources = source::resolve(&request.data, env, &query.mentions)?;
    let known = sources.iter().map(|source| source.table.clone()).collect();
    let mut database = Database::open(deadline.clone(), known).await?;
    let (mut columns, mut warnings) = (Vec::new(), Vec::new());
    for source in sources.iter().filter(|source| query.mentions.table(&source.table)) {
        let start = Instant::now();
        let loaded = database.load(source, &query.mentions, request.csv).await?;
        let (rows, used, all) = (loaded.rows, loaded.columns.len(), loaded.file_columns);
        let ms = start.elapsed().as_millis();
        let (rows, all) = (counted(rows, "row"), counted(all, "column"));
        note(notes, format_args!("loaded {} ({rows}, {used} of {all}) in {ms} ms", source.table));
        columns.extend(loaded.columns);
        warnings.extend(loaded.warnings);
    }
    let adapted = rewrite::adapt(&query.sql, columns).await?;
    warnings.extend(adapted.warnings);
    let warnings = warning::bounded(warnings);
    for warning in &warnings {
        note(notes, format_args!("warning: {}", warning.message()));
    }
    let start = Instant::now();
    let limits = QueryLimits { rows: request.max_rows, bytes: request.max_output_bytes };
    let answer = database.query(&query.sql, adapted.sql.as_deref(), warnings, limits).await?;
    let (rows, columns, ms) = (answer.rows.len(), answer.columns.len(), start.elapsed().as_millis());
    let cut = match answer.truncated {
        true if rows == request.max_rows => "; there are more (max_rows)",
        true => "; there are more (max_output_bytes)",
        false => "",
    };
    let (rows, columns) = (counted(rows, "row"), counted(columns, "column"));
    note(notes, format_args!("query: {rows}, {columns} in {ms} ms{cut}"));
    Ok(answer)
}

#[cfg(test)]
mod tests;
