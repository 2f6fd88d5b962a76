//! The request: where it is read, and what it may say.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Map, Value};

use super::RunnerEnv;
use super::csv_file::{CsvOptions, is_delimiter};
use super::error::{RequestViolations, RunError};
use super::name::{did_you_mean, is_dataset, table_name};

const FIELDS: [&str; 8] =
    ["dataset", "files", "sql", "delimiter", "header", "max_rows", "timeout_seconds", "max_output_bytes"];
const FILE_FIELDS: [&str; 2] = ["name", "path"];

/// A request may have this many bytes (a run's input can't be larger either).
const INPUT_BYTES: u64 = 1024 * 1024;
const SQL_BYTES: usize = 64 * 1024;
pub(super) const FILES: usize = 64;

/// A field that holds a whole number within bounds.
struct BoundedNumber {
    name: &'static str,
    min: u64,
    max: u64,
    default: u64,
}

const MAX_ROWS: BoundedNumber = BoundedNumber { name: "max_rows", min: 1, max: 1000, default: 200 };
const TIMEOUT_SECONDS: BoundedNumber = BoundedNumber { name: "timeout_seconds", min: 1, max: 60, default: 10 };
/// The default stays below what the daemon keeps of a result without an archive (900 KiB).
const MAX_OUTPUT_BYTES: BoundedNumber =
    BoundedNumber { name: "max_output_bytes", min: 1024, max: 4 * 1024 * 1024, default: 768 * 1024 };

/// A request that keeps all rules which can be checked without looking at the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SqlRequest {
    pub(super) data: DataChoice,
    pub(super) sql: String,
    /// How the files are written.
    pub(super) csv: CsvOptions,
    /// The most rows to return.
    pub(super) max_rows: usize,
    /// The limit for everything from reading the request to the last row, in seconds.
    pub(super) timeout_seconds: u64,
    /// The most bytes the result object may have.
    pub(super) max_output_bytes: usize,
}

/// The tables to query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DataChoice {
    Dataset(String),
    Files(Vec<FileRef>),
}

/// One member of `files`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileRef {
    pub(super) table: String,
    pub(super) path: String,
}

/// Reads and checks the request that the environment holds.
///
/// # Errors
/// [`RunError::Input`], [`RunError::Json`] or [`RunError::Validation`] with every violation.
pub(super) fn read(env: &RunnerEnv) -> Result<SqlRequest, RunError> {
    parse(&read_input(env)?)
}

fn read_input(env: &RunnerEnv) -> Result<Vec<u8>, RunError> {
    let (bytes, from) = match (&env.input_json, &env.input_path) {
        (Some(json), _) => (json.as_bytes().to_vec(), "LONGSHORE_INPUT_JSON".to_owned()),
        (None, Some(path)) => (read_file(path)?, path.display().to_string()),
        (None, None) => {
            return Err(RunError::Input("no request: set LONGSHORE_INPUT_JSON, or LONGSHORE_INPUT to a file".into()));
        }
    };
    if bytes.len() as u64 > INPUT_BYTES {
        return Err(RunError::Input(format!("the request in {from} has more than {INPUT_BYTES} bytes")));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(RunError::Input(format!("the request in {from} is empty")));
    }
    Ok(bytes)
}

fn read_file(path: &Path) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(INPUT_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| RunError::Input(format!("the request can't be read from {}: {error}", path.display())))?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<SqlRequest, RunError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let value: Value = serde_json::from_slice(bytes).map_err(|error| RunError::Json(error.to_string()))?;
    let mut violations = RequestViolations::default();
    let Value::Object(fields) = value else {
        violations.add("request", format!("must be a JSON object, not {}", kind_of(&value)));
        return Err(RunError::Validation(violations));
    };
    refuse_unknown(&fields, &FIELDS, "", &mut violations);
    let data = data_choice(&fields, &mut violations);
    let sql = sql(&fields, &mut violations);
    let csv = csv_options(&fields, &mut violations);
    let [max_rows, timeout_seconds, max_output_bytes] =
        [MAX_ROWS, TIMEOUT_SECONDS, MAX_OUTPUT_BYTES].map(|field| field.read(&fields, &mut violations));
    violations.into_result()?;
    Ok(SqlRequest {
        data,
        sql,
        csv,
        max_rows: usize::try_from(max_rows).unwrap_or(usize::MAX),
        timeout_seconds,
        max_output_bytes: usize::try_from(max_output_bytes).unwrap_or(usize::MAX),
    })
}

fn refuse_unknown(
    fields: &Map<String, Value>,
    known: &[&'static str],
    prefix: &str,
    violations: &mut RequestViolations,
) {
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        let hint = did_you_mean(name, known.iter().copied());
        violations.add(format!("{prefix}{name}"), format!("is not a known field{hint} (known: {})", known.join(", ")));
    }
}

/// The field, if it is set; null counts as unset.
fn set<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

/// The choice; what it is in case of a violation does not matter.
fn data_choice(fields: &Map<String, Value>, violations: &mut RequestViolations) -> DataChoice {
    match (set(fields, "dataset"), set(fields, "files")) {
        (Some(name), None) => return DataChoice::Dataset(dataset(name, violations)),
        (None, Some(list)) => return DataChoice::Files(files(list, violations)),
        (Some(_), Some(_)) => violations.add("dataset", "can't be set together with files; set one of the two"),
        (None, None) => violations.add("dataset", "is required, unless files is set"),
    }
    DataChoice::Files(Vec::new())
}

fn dataset(value: &Value, violations: &mut RequestViolations) -> String {
    let Some(name) = value.as_str() else {
        violations.add("dataset", format!("must be a string, not {}", kind_of(value)));
        return String::new();
    };
    if !is_dataset(name) {
        violations.add("dataset", format!("{name:?} is not a data set's name (letters, digits, _ and -, at most 64; the built-in ones begin with demo/)"));
    }
    name.to_owned()
}

fn files(value: &Value, violations: &mut RequestViolations) -> Vec<FileRef> {
    let Some(list) = value.as_array() else {
        violations.add("files", format!("must be a list of {{name, path}}, not {}", kind_of(value)));
        return Vec::new();
    };
    if list.is_empty() || list.len() > FILES {
        violations.add("files", format!("must have 1 to {FILES} members, not {}", list.len()));
        return Vec::new();
    }
    let mut files: Vec<FileRef> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let Some(file) = file(value, &format!("files[{index}]"), violations) else { continue };
        if let Some(first) = files.iter().find(|first| first.table.eq_ignore_ascii_case(&file.table)) {
            let problem = format!("table {:?} is given twice, from {:?} and {:?}", file.table, first.path, file.path);
            violations.add(format!("files[{index}]"), problem);
        }
        files.push(file);
    }
    files
}

fn file(value: &Value, at: &str, violations: &mut RequestViolations) -> Option<FileRef> {
    let Some(fields) = value.as_object() else {
        violations.add(at, format!("must be an object with path and, if you like, name, not {}", kind_of(value)));
        return None;
    };
    refuse_unknown(fields, &FILE_FIELDS, &format!("{at}."), violations);
    let path = file_text(fields, "path", at, violations);
    let name = file_text(fields, "name", at, violations);
    if path.is_none() && set(fields, "path").is_none() {
        violations.add(format!("{at}.path"), "is required");
    }
    let path = path?;
    let (source, text) = match name {
        Some(name) => ("name", name),
        None => ("path", Path::new(path).file_name().and_then(OsStr::to_str).unwrap_or_default()),
    };
    match table_name(text) {
        Ok(table) => Some(FileRef { table, path: path.to_owned() }),
        Err(problem) => {
            let hint = if source == "path" { "; or set name" } else { "" };
            violations.add(format!("{at}.{source}"), format!("{problem}{hint}"));
            None
        }
    }
}

fn file_text<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    at: &str,
    violations: &mut RequestViolations,
) -> Option<&'a str> {
    let value = set(fields, name)?;
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains('\0') => Some(text),
        _ => {
            violations.add(format!("{at}.{name}"), "must be a string that is not empty");
            None
        }
    }
}

fn sql(fields: &Map<String, Value>, violations: &mut RequestViolations) -> String {
    let problem = match set(fields, "sql") {
        None => "is required".to_owned(),
        Some(Value::String(text)) if text.trim().is_empty() => "is empty".to_owned(),
        Some(Value::String(text)) if text.len() > SQL_BYTES => format!("has more than {SQL_BYTES} bytes"),
        Some(Value::String(text)) if text.contains('\0') => "holds a NUL character".to_owned(),
        Some(Value::String(text)) => return text.clone(),
        Some(other) => format!("must be a string, not {}", kind_of(other)),
    };
    violations.add("sql", problem);
    String::new()
}

fn csv_options(fields: &Map<String, Value>, violations: &mut RequestViolations) -> CsvOptions {
    let delimiter = set(fields, "delimiter").and_then(|value| match value.as_str().map(str::as_bytes) {
        Some([byte]) if is_delimiter(*byte) => Some(*byte),
        _ => {
            let problem =
                "must be one character that separates fields: a tab, a blank or ASCII punctuation, but no quote";
            violations.add("delimiter", problem);
            None
        }
    });
    let header = set(fields, "header").and_then(|value| {
        if !value.is_boolean() {
            let problem = format!("must be true or false (whether the first line has names), not {}", kind_of(value));
            violations.add("header", problem);
        }
        value.as_bool()
    });
    CsvOptions { delimiter, header }
}

impl BoundedNumber {
    fn read(&self, fields: &Map<String, Value>, violations: &mut RequestViolations) -> u64 {
        let Some(value) = set(fields, self.name) else { return self.default };
        match whole(value).filter(|number| (self.min..=self.max).contains(number)) {
            Some(number) => number,
            None => {
                let problem = format!("must be a whole number from {} to {}, not {value}", self.min, self.max);
                violations.add(self.name, super::error::shorten(problem, 200));
                self.default
            }
        }
    }
}

/// A whole number, also one that was written as `10.0`, which is what some clients make of every number.
fn whole(value: &Value) -> Option<u64> {
    let exact = |number: f64| number.fract() == 0.0 && (0.0..=9e15).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by `exact`")]
    value.as_u64().or_else(|| value.as_f64().filter(|number| exact(*number)).map(|number| number as u64))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
