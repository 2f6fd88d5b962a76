//! Results: a run's, read whole; any text's, as `longshore result` reads it; and shown as a table where it is one.

mod args;
mod explain;
mod of_run;
mod place;
mod source;
mod verb;
mod which;
mod words;

pub(crate) use self::args::ResultArgs;
pub(crate) use self::verb::result;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use crate::client::connect::Connection;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::json::raw;
use crate::terminal::output::OutputFormat;
use crate::terminal::table::{self, Cells, TableFrame};
use crate::terminal::text::{clean, size};
use longshore_api::enums::short_name;
use longshore_api::v1 as pb;
use longshore_client::{CALL_PATIENCE, RetryBackoff};

/// The result object of a terminal run as compact JSON; `None` if there is none.
pub(crate) async fn read(client: &Connection, run: &pb::Run) -> Result<Option<String>, CliError> {
    match &run.result {
        Some(result) if result.state() == pb::ResultState::Found => {
            if result.json.is_empty() {
                download(client, &run.name).await.map(Some)
            } else {
                Ok(Some(result.json.clone()))
            }
        }
        _ => Ok(None),
    }
}

/// What has come of a result so far.
#[derive(Debug, Default)]
struct Download {
    data: Vec<u8>,
    /// Size and SHA-256 as the first answer gave them.
    announced: Option<(i64, String)>,
}

impl Download {
    fn take(&mut self, answer: &pb::ReadResultResponse) {
        if self.announced.is_none() {
            self.announced = Some((answer.size_bytes, answer.sha256.clone()));
        }
        self.data.extend_from_slice(&answer.data);
    }

    fn finish(self) -> Result<String, CliError> {
        let (size_bytes, sha256) = self.announced.unwrap_or_default();
        let wrong = |why: String| CliError::BadAnswer(format!("the result {why}"));
        if i64::try_from(self.data.len()) != Ok(size_bytes) {
            return Err(wrong(format!("has {} bytes, not {size_bytes}", self.data.len())));
        }
        if data_encoding::HEXLOWER.encode(&Sha256::digest(&self.data)) != sha256 {
            return Err(wrong("does not have the SHA-256 that the server announced".to_owned()));
        }
        String::from_utf8(self.data).map_err(|_| wrong("is not UTF-8".to_owned()))
    }
}

/// A large result, piece by piece.
async fn download(client: &Connection, name: &str) -> Result<String, CliError> {
    let mut download = Download::default();
    let mut backoff = RetryBackoff::new(CALL_PATIENCE);
    loop {
        let read_offset = i64::try_from(download.data.len()).unwrap_or(i64::MAX);
        let request = pb::ReadResultRequest { name: name.to_owned(), read_offset };
        let failure = match client.read_result(request).await {
            Err(status) => status,
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(answer)) => {
                        download.take(&answer);
                        backoff.reset();
                    }
                    Ok(None) => return download.finish(),
                    Err(status) => break status,
                }
            },
        };
        sleep(client.again(failure, &mut backoff)?).await;
    }
}

/// The result as a table, if it has `columns` and `rows` as the SQL runner's has.
pub(crate) fn as_table(json: &str) -> Option<Cells> {
    if !raw::is_object(json) {
        return None;
    }
    let header: Vec<String> = raw::elements(raw::member(json, "columns")?)?.into_iter().map(cell).collect();
    let rows = raw::elements(raw::member(json, "rows")?)?;
    if header.is_empty() {
        return None;
    }
    let mut right = vec![true; header.len()];
    let mut cells = Vec::with_capacity(rows.len());
    for row in rows {
        let row = raw::elements(row).filter(|row| row.len() == header.len())?;
        for (right, value) in right.iter_mut().zip(&row) {
            *right &= value.starts_with(|c: char| c == '-' || c.is_ascii_digit()) || *value == "null";
        }
        cells.push(row.into_iter().map(cell).collect());
    }
    Some(Cells { header, rows: cells, right, ..Cells::default() })
}

/// How much there is of a result that was found: `6 rows` if it is a table at hand, else its size.
pub(crate) fn extent(result: &pb::Result) -> String {
    match as_table(&result.json).map(|table| table.rows.len()) {
        Some(1) => "1 row".to_owned(),
        Some(rows) => format!("{rows} rows"),
        None => size(result.size_bytes),
    }
}

/// What the runner says is wrong, if its result has it: `error.type` and `error.message`.
pub(crate) fn reported_error(json: &str) -> Option<String> {
    let value: Value = serde_json::from_str(json).ok()?;
    let error = value.get("error")?;
    let part = |key: &str| error.get(key).and_then(Value::as_str).map(clean);
    match (part("type"), part("message")) {
        (Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
        (kind, message) => message.or(kind),
    }
}

/// What the runner warns of in its result: each member of `warnings`, a text or an object with a `message`; and that it
/// has not all rows, if it is `truncated`.
pub(crate) fn warnings(json: &str) -> Vec<String> {
    let members = raw::member(json, "warnings").and_then(raw::elements).unwrap_or_default();
    let text = |member: &str| {
        let value: Value = serde_json::from_str(member).ok()?;
        value.as_str().or_else(|| value.get("message")?.as_str()).map(clean)
    };
    let cut = (raw::member(json, "truncated") == Some("true")).then(|| {
        let rows = raw::member(json, "rows").and_then(raw::elements).map_or(0, |rows| rows.len());
        let rows =
            if rows == 1 { "this is the first row".to_owned() } else { format!("these are the first {rows} rows") };
        format!("{rows} only; there are more (max_rows, max_output_bytes)")
    });
    members.into_iter().filter_map(text).map(|text| text.to_string()).chain(cut).collect()
}

/// What a cell shows of a JSON value: a string's text, nothing of null, and numbers with their digits.
fn cell(value: &str) -> String {
    match value {
        "null" => String::new(),
        value if value.starts_with('"') => serde_json::from_str(value).unwrap_or_else(|_| value.to_owned()),
        other => other.to_owned(),
    }
}

/// Prints the object as it is, or as a table if that is asked for and it is one. What a table does not show is
/// reported on stderr.
pub(crate) async fn print(json: &str, output: Option<OutputFormat>, console: &Console) -> Result<(), CliError> {
    let cells = if output == Some(OutputFormat::Table) { as_table(json) } else { None };
    let Some(cells) = cells else { return console.out(format!("{json}\n").as_bytes()).await };
    console.out(table::render(&cells, TableFrame::Boxed, console.out_width()).as_bytes()).await?;
    for warning in warnings(json) {
        console.note(&format!("warning: {warning}"));
    }
    Ok(())
}

/// What there is to say of a result, in a line: `result: FOUND, 512 B, FILE, JSON`.
pub(crate) fn summary(result: &pb::Result) -> String {
    let state = short_name::<pb::ResultState>(result.state);
    let mut line = format!("result: {state}");
    if result.state() == pb::ResultState::Found {
        let source = result.source;
        let dialect = result.dialect;
        line.push_str(&format!(
            ", {}, {}, {}",
            size(result.size_bytes),
            short_name::<pb::ResultSource>(source),
            short_name::<pb::ResultDialect>(dialect),
        ));
    }
    if let Some(error) = &result.error {
        let kind = error.kind;
        let name = short_name::<pb::ResultErrorKind>(kind);
        // The kind is often no more than the state.
        let name = if name == state { String::new() } else { format!(", {name}") };
        line.push_str(&format!("{name}: {}", clean(&error.message)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_warned_of() {
        let json = r#"{"columns":["n"],"rows":[[1],[2]],"truncated":true,"warnings":["odd",{"message":"x"}]}"#;
        let cut = "these are the first 2 rows only; there are more (max_rows, max_output_bytes)";
        assert_eq!(warnings(json), ["odd", "x", cut]);
        assert_eq!(warnings(r#"{"columns":["n"],"rows":[[1]],"truncated":false}"#), [""; 0]);
    }

    #[test]
    fn a_result_with_columns_and_rows_is_a_table() {
        let table = as_table(
            r#"{"columns":["city","n"],"rows":[["Lyon",123456789012345678901234567890],[null,null],["Kraków",2.10]],"error":null}"#,
        )
        .unwrap();
        assert_eq!(table.header, ["city", "n"]);
        assert_eq!(table.right, [false, true]);
        assert_eq!(table.rows[0], ["Lyon", "123456789012345678901234567890"]);
        assert_eq!(table.rows[1], ["", ""]);
        assert_eq!(table.rows[2], ["Kraków", "2.10"], "numbers as they were printed");
        for other in ["{}", "[]", "", r#"{"columns":[],"rows":[]}"#, r#"{"columns":["a"],"rows":[[1,2]]}"#] {
            assert_eq!(as_table(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_runner_says() {
        let json = r#"{"error":{"type":"SQL_EXECUTION_ERROR","message":"no such column: x"}}"#;
        assert_eq!(reported_error(json).unwrap(), "SQL_EXECUTION_ERROR: no such column: x");
        assert_eq!(reported_error(r#"{"error":null}"#), None);
        assert_eq!(reported_error("nonsense"), None);
    }

    #[test]
    fn a_download_is_checked() {
        let whole = |data: &str, size_bytes: i64, sha256: &str| {
            let mut download = Download::default();
            let (first, second) = data.split_at(1);
            download.take(&pb::ReadResultResponse { data: first.into(), size_bytes, sha256: sha256.into() });
            download.take(&pb::ReadResultResponse { data: second.into(), size_bytes: 0, sha256: String::new() });
            download.finish()
        };
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(b"{}"));
        assert_eq!(whole("{}", 2, &sha256).unwrap(), "{}");
        assert!(whole("{}", 3, &sha256).is_err());
        assert!(whole("[]", 2, &sha256).is_err());
        assert!(Download::default().finish().is_err(), "no answer at all");
    }

    #[test]
    fn extents() {
        let of = |json: &str| extent(&pb::Result { json: json.into(), size_bytes: 512, ..Default::default() });
        assert_eq!(of(r#"{"columns":["a"],"rows":[[1],[2]]}"#), "2 rows");
        assert_eq!(of(r#"{"columns":["a"],"rows":[[1]]}"#), "1 row");
        assert_eq!(of(r#"{"total":1}"#), "512 B");
        assert_eq!(of(""), "512 B", "a large one is not at hand");
    }

    #[test]
    fn summaries() {
        let found = pb::Result {
            state: pb::ResultState::Found.into(),
            size_bytes: 512,
            source: pb::ResultSource::File.into(),
            dialect: pb::ResultDialect::Json.into(),
            ..Default::default()
        };
        assert_eq!(summary(&found), "result: FOUND, 512 B, FILE, JSON");
        let none = pb::Result {
            state: pb::ResultState::Invalid.into(),
            error: Some(pb::ResultError {
                kind: pb::ResultErrorKind::Truncated.into(),
                message: "it ends within a string".into(),
                offset: None,
            }),
            ..Default::default()
        };
        assert_eq!(summary(&none), "result: INVALID, TRUNCATED: it ends within a string");
        let mut same = none;
        if let Some(error) = &mut same.error {
            error.kind = pb::ResultErrorKind::Invalid.into();
        }
        assert_eq!(summary(&same), "result: INVALID: it ends within a string");
    }
}
