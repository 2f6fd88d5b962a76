//! What the SQL runner needs of SQLite beyond what sqlx offers: names in double quotes that are never taken for texts,
//! SQL functions written in Rust, and inserts without a message to another thread for each row.
//!
//! This is the only code of Longshore that may use `unsafe`, and it is one file so that it can be read at once. It
//! knows SQLite's C interface and nothing of Longshore.
//!
//! # Why it is sound
//!
//! * Everything begins with a [`LockedSqliteHandle`]. As long as one exists, sqlx promises that its own thread calls
//!   nothing on that connection. Each function here borrows it exclusively, so the calls made here are the only ones.
//! * SQLite is compiled with `SQLITE_THREADSAFE=1`, so it does not matter from which thread a call comes.
//! * What is handed to SQLite by pointer either lives in the program's text (functions), is copied by SQLite
//!   (`SQLITE_TRANSIENT`), or is read by SQLite only during a call within which it is borrowed (rows to insert).
//! * Code that SQLite calls back never unwinds into it: a panic becomes an error of the statement.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use libsqlite3_sys as ffi;
use sqlx::sqlite::LockedSqliteHandle;

/// The most arguments that a function may have.
pub const ARGUMENTS: usize = 8;

/// What SQLite says of a call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqliteError {
    /// SQLite's primary result code; 7 is out of memory.
    pub code: i32,
    /// SQLite's own sentence.
    pub message: String,
}

/// A value as SQLite has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(&'a str),
    /// BLOB, and a text that is not UTF-8.
    Blob(&'a [u8]),
}

/// What a function returns.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(String),
}

/// A function of one row. `Err` fails the statement with that message.
pub type Scalar = fn(&[Value<'_>]) -> Result<Output, String>;

/// A function of many rows.
pub trait Aggregate: Default {
    /// Takes one row.
    ///
    /// # Errors
    /// The message with which the statement fails.
    fn step(&mut self, arguments: &[Value<'_>]) -> Result<(), String>;

    /// The result; also asked if there was no row.
    ///
    /// # Errors
    /// The message with which the statement fails.
    fn finish(self) -> Result<Output, String>;
}

/// Has the connection take `"name"` for a name always, as the SQL standard does. By itself SQLite takes it for a text
/// if there is no such column, so a misspelt column gives its own name for every row.
///
/// # Errors
/// If SQLite refuses, which it has no reason to.
pub fn refuse_quoted_texts(handle: &mut LockedSqliteHandle<'_>) -> Result<(), SqliteError> {
    let database = handle.as_raw_handle().as_ptr();
    for option in [ffi::SQLITE_DBCONFIG_DQS_DML, ffi::SQLITE_DBCONFIG_DQS_DDL] {
        let off: c_int = 0;
        let nowhere: *mut c_int = ptr::null_mut();
        // SAFETY: the connection is open and locked for us. These two options take an int and a pointer to an int that
        // may be null.
        let code = unsafe { ffi::sqlite3_db_config(database, option, off, nowhere) };
        check(database, code)?;
    }
    Ok(())
}

/// Adds the SQL function `name` of `arguments` arguments, at most [`ARGUMENTS`]. It must give the same for the same
/// arguments.
///
/// # Errors
/// If the name is longer than 255 bytes or holds a NUL character, or the number of arguments is too large.
pub fn add_scalar(
    handle: &mut LockedSqliteHandle<'_>,
    name: &str,
    arguments: u8,
    function: Scalar,
) -> Result<(), SqliteError> {
    let (name, arguments) = signature(name, arguments)?;
    let database = handle.as_raw_handle().as_ptr();
    // A function's address is plain data that lives as long as the program.
    let user_data = function as *mut c_void;
    // SAFETY: the connection is open and locked for us; `name` ends in NUL and is copied by SQLite. `call_scalar` gets
    // `user_data` back, which it knows to be a `Scalar`.
    let code = unsafe {
        ffi::sqlite3_create_function_v2(
            database,
            name.as_ptr(),
            arguments,
            FLAGS,
            user_data,
            Some(call_scalar),
            None,
            None,
            None,
        )
    };
    check(database, code)
}

/// Adds the SQL aggregate `name` of `arguments` arguments, at most [`ARGUMENTS`].
///
/// # Errors
/// As those of [`add_scalar`].
pub fn add_aggregate<A: Aggregate>(
    handle: &mut LockedSqliteHandle<'_>,
    name: &str,
    arguments: u8,
) -> Result<(), SqliteError> {
    let (name, arguments) = signature(name, arguments)?;
    let database = handle.as_raw_handle().as_ptr();
    // SAFETY: as in `add_scalar`; no user data. Both callbacks are of the same `A`, so they agree on what they keep in
    // the aggregate's context.
    let code = unsafe {
        ffi::sqlite3_create_function_v2(
            database,
            name.as_ptr(),
            arguments,
            FLAGS,
            ptr::null_mut(),
            None,
            Some(step_aggregate::<A>),
            Some(finish_aggregate::<A>),
            None,
        )
    };
    check(database, code)
}

const FLAGS: c_int = ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC | ffi::SQLITE_INNOCUOUS;

fn signature(name: &str, arguments: u8) -> Result<(CString, c_int), SqliteError> {
    let misuse = |message: &str| SqliteError { code: ffi::SQLITE_MISUSE, message: message.to_owned() };
    if usize::from(arguments) > ARGUMENTS {
        return Err(misuse("too many arguments"));
    }
    let name = CString::new(name).map_err(|_| misuse("a function's name holds a NUL character"))?;
    Ok((name, c_int::from(arguments)))
}

/// Inserts rows into a table. As many as possible go with each step, since a step costs as much as what a few values
/// do.
pub struct Insert<'a> {
    one: Statement,
    /// Inserts [`Insert::batch`] rows.
    many: Statement,
    columns: usize,
    batch: usize,
    /// Keeps the connection locked.
    _handle: PhantomData<&'a mut ()>,
}

/// The most rows that go with one step, and the most values: SQLite takes 32766.
const BATCH: (usize, usize) = (16, 512);

impl std::fmt::Debug for Insert<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Insert").field("columns", &self.columns).field("batch", &self.batch).finish_non_exhaustive()
    }
}

impl<'a> Insert<'a> {
    /// Prepares to insert into `table`, a name as SQL has it, of `columns` columns. The connection stays locked until
    /// this is dropped.
    ///
    /// # Errors
    /// SQLite's of the statement.
    pub fn prepare(
        handle: &'a mut LockedSqliteHandle<'_>,
        table: &str,
        columns: NonZeroUsize,
    ) -> Result<Self, SqliteError> {
        let columns = columns.get();
        let batch = (BATCH.1 / columns).clamp(1, BATCH.0);
        let row = format!("({})", vec!["?"; columns].join(","));
        let mut prepare = |rows: usize| {
            Statement::prepare(handle, &format!("INSERT INTO {table} VALUES {}", vec![row.as_str(); rows].join(",")))
        };
        let (one, many) = (prepare(1)?, prepare(batch)?);
        Ok(Self { one, many, columns, batch, _handle: PhantomData })
    }

    /// How many rows are best inserted at once.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Inserts rows, which follow each other in `values`.
    ///
    /// # Errors
    /// SQLite's: out of memory, or interrupted by a progress handler; `SQLITE_MISUSE` for a row that is not whole. Rows
    /// before it are then inserted, or not.
    pub fn rows(&mut self, values: &[Value<'_>]) -> Result<(), SqliteError> {
        if !values.len().is_multiple_of(self.columns) {
            return Err(SqliteError { code: ffi::SQLITE_MISUSE, message: "a row is not whole".to_owned() });
        }
        let mut batches = values.chunks_exact(self.batch * self.columns);
        for batch in &mut batches {
            self.many.execute(batch)?;
        }
        batches.remainder().chunks_exact(self.columns).try_for_each(|row| self.one.execute(row))
    }
}

/// A statement of a connection that its owner keeps locked.
struct Statement {
    database: *mut ffi::sqlite3,
    statement: NonNull<ffi::sqlite3_stmt>,
}

impl Statement {
    /// Prepares `sql`, one statement. The connection has to stay locked as long as the statement is there.
    fn prepare(handle: &mut LockedSqliteHandle<'_>, sql: &str) -> Result<Self, SqliteError> {
        let database = handle.as_raw_handle().as_ptr();
        let too_long = || SqliteError { code: ffi::SQLITE_TOOBIG, message: "the statement is too long".to_owned() };
        let length = c_int::try_from(sql.len()).map_err(|_| too_long())?;
        let mut statement = ptr::null_mut();
        // SAFETY: the connection is open and locked for us; SQLite reads `length` bytes of `sql` and writes one pointer.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(
                database,
                sql.as_ptr().cast::<c_char>(),
                length,
                &raw mut statement,
                ptr::null_mut(),
            )
        };
        check(database, code)?;
        let nothing = || SqliteError { code: ffi::SQLITE_MISUSE, message: "there is no statement".to_owned() };
        let statement = NonNull::new(statement).ok_or_else(nothing)?;
        Ok(Self { database, statement })
    }

    /// Runs the statement, which gives no rows, with a value for each of its parameters.
    fn execute(&mut self, values: &[Value<'_>]) -> Result<(), SqliteError> {
        for (index, value) in (1..).zip(values) {
            self.bind(index, *value)?;
        }
        let statement = self.statement.as_ptr();
        // SAFETY: the statement is ours and was reset. The texts bound to it are borrowed by `values` until this
        // function ends.
        let stepped = unsafe { ffi::sqlite3_step(statement) };
        // SAFETY: as above. After it SQLite reads no bound value until the next step, before which all are bound
        // anew; replacing or dropping a static binding does not read it.
        let reset = unsafe { ffi::sqlite3_reset(statement) };
        if stepped == ffi::SQLITE_DONE { Ok(()) } else { check(self.database, reset) }
    }

    fn bind(&mut self, index: c_int, value: Value<'_>) -> Result<(), SqliteError> {
        let statement = self.statement.as_ptr();
        let code = match value {
            // SAFETY: the statement is ours and is not running; SQLite checks the index.
            Value::Null => unsafe { ffi::sqlite3_bind_null(statement, index) },
            // SAFETY: as above.
            Value::Integer(number) => unsafe { ffi::sqlite3_bind_int64(statement, index, number) },
            // SAFETY: as above.
            Value::Real(number) => unsafe { ffi::sqlite3_bind_double(statement, index, number) },
            Value::Text(text) => {
                let (start, length) = (text.as_ptr().cast::<c_char>(), text.len() as u64);
                let utf8 = ffi::SQLITE_UTF8 as u8;
                // SAFETY: as above; the text has `length` bytes and outlives the step, see `execute`.
                unsafe { ffi::sqlite3_bind_text64(statement, index, start, length, ffi::SQLITE_STATIC(), utf8) }
            }
            Value::Blob(bytes) => {
                let (start, length) = (bytes.as_ptr().cast::<c_void>(), bytes.len() as u64);
                // SAFETY: as above.
                unsafe { ffi::sqlite3_bind_blob64(statement, index, start, length, ffi::SQLITE_STATIC()) }
            }
        };
        check(self.database, code)
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: the statement is ours and is used no more. What it returns is the last step's error, reported
        // already.
        let _ = unsafe { ffi::sqlite3_finalize(self.statement.as_ptr()) };
    }
}

fn check(database: *mut ffi::sqlite3, code: c_int) -> Result<(), SqliteError> {
    if code == ffi::SQLITE_OK {
        return Ok(());
    }
    // SAFETY: the connection is open and locked by our caller; SQLite always returns a text that ends in NUL, which
    // stays until the next call on this connection.
    let message = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(database)) };
    Err(SqliteError { code: code & 0xff, message: message.to_string_lossy().into_owned() })
}

unsafe extern "C" fn call_scalar(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite calls this with a context of a function that `add_scalar` made.
    let user_data = unsafe { ffi::sqlite3_user_data(context) };
    // SAFETY: that function's user data is a `Scalar`, and code pointers are as large as data pointers where SQLite's
    // C interface itself casts one to the other.
    let function = unsafe { std::mem::transmute::<*mut c_void, Scalar>(user_data) };
    // SAFETY: SQLite passes `count` values that live until this returns.
    let answer = unsafe { with_arguments(count, values, function) };
    // SAFETY: the context is the one of this call.
    unsafe { answer_with(context, answer) };
}

unsafe extern "C" fn step_aggregate<A: Aggregate>(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite keeps that many bytes for this aggregate, zeroed at first, until its finish has returned.
    let kept = unsafe { ffi::sqlite3_aggregate_context(context, size_of::<*mut A>() as c_int) }.cast::<*mut A>();
    if kept.is_null() {
        // SAFETY: the context is the one of this call.
        return unsafe { ffi::sqlite3_result_error_nomem(context) };
    }
    // SAFETY: it is a place for one pointer, aligned for any type, which is null or was set below.
    let place = unsafe { &mut *kept };
    if place.is_null() {
        *place = Box::into_raw(Box::default());
    }
    // SAFETY: it was made by `Box::into_raw`, and nobody else has a reference to it.
    let state = unsafe { &mut **place };
    // SAFETY: SQLite passes `count` values that live until this returns.
    let stepped = unsafe { with_arguments(count, values, |arguments| state.step(arguments).map(|()| Output::Null)) };
    if stepped.is_err() {
        // SAFETY: the context is the one of this call.
        unsafe { answer_with(context, stepped) };
    }
}

unsafe extern "C" fn finish_aggregate<A: Aggregate>(context: *mut ffi::sqlite3_context) {
    // SAFETY: asking for no bytes gives what a step got, or null if there was no step.
    let kept = unsafe { ffi::sqlite3_aggregate_context(context, 0) }.cast::<*mut A>();
    let state = if kept.is_null() {
        A::default()
    } else {
        // SAFETY: it is a step's place for one pointer.
        let state = std::mem::replace(unsafe { &mut *kept }, ptr::null_mut());
        if state.is_null() {
            A::default()
        } else {
            // SAFETY: it was made by `Box::into_raw`, and the place no longer has it.
            *unsafe { Box::from_raw(state) }
        }
    };
    let answer = guarded(|| state.finish());
    // SAFETY: the context is the one of this call.
    unsafe { answer_with(context, answer) };
}

/// Calls `function` with the arguments.
///
/// # Safety
/// `values` has `count` values, which live until this returns.
unsafe fn with_arguments(
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
    function: impl FnOnce(&[Value<'_>]) -> Result<Output, String>,
) -> Result<Output, String> {
    let count = usize::try_from(count).unwrap_or(0);
    let mut arguments = [Value::Null; ARGUMENTS];
    for (index, argument) in arguments.iter_mut().enumerate().take(count) {
        // SAFETY: `index` is below `count`.
        let value = unsafe { *values.add(index) };
        // SAFETY: our caller's promise.
        *argument = unsafe { read(value) };
    }
    guarded(|| function(arguments.get(..count).unwrap_or(&arguments)))
}

fn guarded(work: impl FnOnce() -> Result<Output, String>) -> Result<Output, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("a function of Longshore's failed".to_owned()))
}

/// The value, borrowed for as long as the caller says.
///
/// # Safety
/// It lives, unchanged, as long as `'a`.
unsafe fn read<'a>(value: *mut ffi::sqlite3_value) -> Value<'a> {
    // SAFETY: the value lives.
    match unsafe { ffi::sqlite3_value_type(value) } {
        // SAFETY: the value lives, here and below.
        ffi::SQLITE_INTEGER => Value::Integer(unsafe { ffi::sqlite3_value_int64(value) }),
        // SAFETY: as above.
        ffi::SQLITE_FLOAT => Value::Real(unsafe { ffi::sqlite3_value_double(value) }),
        ffi::SQLITE_TEXT => {
            // SAFETY: as above. The text is asked for before its length, since it may be converted to UTF-8 by it.
            let start = unsafe { ffi::sqlite3_value_text(value) };
            // SAFETY: `start` is this value's own, and as long as SQLite says.
            let bytes = unsafe { bytes_of(value, start) };
            std::str::from_utf8(bytes).map_or(Value::Blob(bytes), Value::Text)
        }
        ffi::SQLITE_BLOB => {
            // SAFETY: as above.
            let start = unsafe { ffi::sqlite3_value_blob(value) }.cast::<u8>();
            // SAFETY: as above.
            Value::Blob(unsafe { bytes_of(value, start) })
        }
        _ => Value::Null,
    }
}

/// The bytes of a text or blob.
///
/// # Safety
/// `start` is what SQLite just gave for this value, which lives as long as `'a`.
unsafe fn bytes_of<'a>(value: *mut ffi::sqlite3_value, start: *const u8) -> &'a [u8] {
    // SAFETY: the value lives.
    let length = usize::try_from(unsafe { ffi::sqlite3_value_bytes(value) }).unwrap_or(0);
    if start.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: SQLite has that many bytes there, which stay until the value is converted or freed.
    unsafe { std::slice::from_raw_parts(start, length) }
}

/// Gives SQLite the answer of a function.
///
/// # Safety
/// `context` is that of the call under way.
unsafe fn answer_with(context: *mut ffi::sqlite3_context, answer: Result<Output, String>) {
    match answer {
        // SAFETY: our caller's promise, here and below.
        Ok(Output::Null) => unsafe { ffi::sqlite3_result_null(context) },
        // SAFETY: as above.
        Ok(Output::Integer(number)) => unsafe { ffi::sqlite3_result_int64(context, number) },
        // SAFETY: as above.
        Ok(Output::Real(number)) => unsafe { ffi::sqlite3_result_double(context, number) },
        Ok(Output::Text(text)) => {
            let (start, length) = (text.as_ptr().cast::<c_char>(), text.len() as u64);
            let utf8 = ffi::SQLITE_UTF8 as u8;
            // SAFETY: as above; SQLite copies the text before this returns.
            unsafe { ffi::sqlite3_result_text64(context, start, length, ffi::SQLITE_TRANSIENT(), utf8) }
        }
        Err(message) => {
            let length = c_int::try_from(message.len()).unwrap_or(c_int::MAX);
            // SAFETY: as above; SQLite copies the message.
            unsafe { ffi::sqlite3_result_error(context, message.as_ptr().cast::<c_char>(), length) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
    use sqlx::{ConnectOptions, Row};

    async fn connection() -> SqliteConnection {
        SqliteConnectOptions::new().in_memory(true).connect().await.unwrap()
    }

    #[tokio::test]
    async fn a_quoted_name_is_never_a_text() {
        let mut connection = connection().await;
        assert!(sqlx::query("SELECT \"nope\"").fetch_one(&mut connection).await.is_ok(), "SQLite's own default");
        refuse_quoted_texts(&mut connection.lock_handle().await.unwrap()).unwrap();
        let error = sqlx::query("SELECT \"nope\", 1").fetch_one(&mut connection).await.unwrap_err();
        assert!(error.to_string().contains("no such column"), "{error}");
    }

    #[tokio::test]
    async fn rows_are_inserted_with_their_types() {
        let mut connection = connection().await;
        sqlx::query("CREATE TABLE t (a, b)").execute(&mut connection).await.unwrap();
        let two = NonZeroUsize::new(2).unwrap();
        {
            let mut handle = connection.lock_handle().await.unwrap();
            let mut insert = Insert::prepare(&mut handle, "t", two).unwrap();
            for text in ["x".to_owned(), String::new(), "ü\0y".to_owned()] {
                insert.rows(&[Value::Text(&text), Value::Null]).unwrap();
            }
            let (integer, blob) =
                ([Value::Integer(i64::MIN), Value::Real(0.5)], [Value::Blob(b"\xff"), Value::Blob(b"")]);
            insert.rows(&[integer, blob].concat()).unwrap();
            assert_eq!(insert.rows(&[Value::Null; 3]).unwrap_err().code, ffi::SQLITE_MISUSE);
        }
        {
            let mut handle = connection.lock_handle().await.unwrap();
            assert!(Insert::prepare(&mut handle, "u", two).unwrap_err().message.contains("no such"));
        }
        let sql = "SELECT group_concat(typeof(a) || ' ' || length(CAST(a AS BLOB)) || ' ' || typeof(b), ', ') FROM t";
        let row = sqlx::query(sql).fetch_one(&mut connection).await.unwrap();
        let types = "text 1 null, text 0 null, text 4 null, integer 20 real, blob 1 blob";
        assert_eq!(row.get::<String, _>(0), types);
    }

    #[tokio::test]
    async fn any_number_of_rows_is_inserted_in_order() {
        let mut connection = connection().await;
        for columns in [1, 3, 511, 513, 2000] {
            let names: Vec<_> = (0..columns).map(|n| format!("c{n}")).collect();
            let sql = format!("DROP TABLE IF EXISTS t; CREATE TABLE t ({})", names.join(", "));
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
            let rows = 40_i64;
            {
                let mut handle = connection.lock_handle().await.unwrap();
                let mut insert = Insert::prepare(&mut handle, "t", NonZeroUsize::new(columns).unwrap()).unwrap();
                assert!((1..=16).contains(&insert.batch()), "{insert:?}");
                let values: Vec<_> = (0..rows).flat_map(|row| vec![Value::Integer(row); columns]).collect();
                insert.rows(&values).unwrap();
            }
            let sql = format!("SELECT count(*) FROM t WHERE c0 = rowid - 1 AND c{} = c0", columns - 1);
            let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
            assert_eq!(row.get::<i64, _>(0), rows, "{columns} columns");
        }
    }

    #[derive(Default)]
    struct Longest(String);

    impl Aggregate for Longest {
        fn step(&mut self, arguments: &[Value<'_>]) -> Result<(), String> {
            match arguments {
                [Value::Text(text)] if text.len() > self.0.len() => (*text).clone_into(&mut self.0),
                [Value::Text(_)] => {}
                other => return Err(format!("not a text: {other:?}")),
            }
            Ok(())
        }

        fn finish(self) -> Result<Output, String> {
            Ok(if self.0.is_empty() { Output::Null } else { Output::Text(self.0) })
        }
    }

    #[tokio::test]
    async fn functions_get_values_and_return_some() {
        let mut connection = connection().await;
        {
            let mut handle = connection.lock_handle().await.unwrap();
            add_scalar(&mut handle, "shown", 2, |arguments| match arguments {
                [Value::Integer(1), _] => Err("one is refused".to_owned()),
                #[allow(clippy::panic, reason = "what it proves")]
                [Value::Integer(2), _] => panic!("two"),
                other => Ok(Output::Text(format!("{other:?}"))),
            })
            .unwrap();
            add_aggregate::<Longest>(&mut handle, "longest", 1).unwrap();
            assert!(add_scalar(&mut handle, "x", 9, |_| Ok(Output::Null)).is_err());
            assert!(add_scalar(&mut handle, "x\0", 1, |_| Ok(Output::Null)).is_err());
        }
        for (sql, expected) in [
            ("SELECT shown('é', x'00ff')", "[Text(\"é\"), Blob([0, 255])]"),
            ("SELECT shown(NULL, 1.5)", "[Null, Real(1.5)]"),
            ("SELECT shown(cast(x'ff' AS TEXT), '')", "[Blob([255]), Text(\"\")]"),
            ("SELECT longest(x) FROM (SELECT 'a' AS x UNION ALL SELECT 'abc' UNION ALL SELECT 'ab')", "abc"),
            ("SELECT ifnull(longest(x), 'none') FROM (SELECT 'a' AS x) WHERE 0", "none"),
        ] {
            assert_eq!(sqlx::query(sql).fetch_one(&mut connection).await.unwrap().get::<String, _>(0), expected);
        }
        for (sql, expected) in [
            ("SELECT shown(1, 1)", "one is refused"),
            ("SELECT shown(2, 1)", "a function of Longshore's failed"),
            ("SELECT longest(x) FROM (SELECT 'a' AS x UNION ALL SELECT 2 UNION ALL SELECT 'b')", "not a text"),
        ] {
            let error = sqlx::query(sql).fetch_one(&mut connection).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
