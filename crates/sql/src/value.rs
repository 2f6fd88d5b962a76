//! SQLite values as JSON. Numbers are exact; what JSON can't express becomes text or null.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::{SqliteRow, SqliteValueRef};
use sqlx::{Decode, Row, Sqlite, TypeInfo, ValueRef};

/// The row's values, or none if one of them alone has more than `room` bytes.
///
/// INTEGER is an integer with all its digits, REAL a number (an infinite one is null), TEXT a string (bytes that are
/// not UTF-8 are replaced by U+FFFD), BLOB a string of lower-case hexadecimal digits. In a column that `booleans` says is
/// boolean, INTEGER is true or false.
///
/// # Errors
/// Those of sqlx, which the query's own values don't cause.
pub(super) fn row_to_json(row: &SqliteRow, booleans: &[bool], room: usize) -> Result<Option<Vec<Value>>, sqlx::Error> {
    let mut values = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let Some(value) = to_json(row.try_get_raw(index)?, room).map_err(sqlx::Error::Decode)? else { return Ok(None) };
        values.push(match value.as_i64() {
            Some(number) if booleans.get(index) == Some(&true) => Value::Bool(number != 0),
            _ => value,
        });
    }
    Ok(Some(values))
}

fn to_json(value: SqliteValueRef<'_>, room: usize) -> Result<Option<Value>, sqlx::error::BoxDynError> {
    if value.is_null() {
        return Ok(Some(Value::Null));
    }
    let kind = value.type_info().into_owned();
    Ok(Some(match kind.name() {
        "INTEGER" => Value::from(<i64 as Decode<'_, Sqlite>>::decode(value)?),
        // `Value::from` makes null of what is not finite.
        "REAL" => Value::from(<f64 as Decode<'_, Sqlite>>::decode(value)?),
        name => {
            let bytes = <&[u8] as Decode<'_, Sqlite>>::decode(value)?;
            if bytes.len() > room {
                return Ok(None);
            }
            Value::String(if name == "TEXT" { String::from_utf8_lossy(bytes).into_owned() } else { hex(bytes) })
        }
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// How many bytes `value` has as JSON.
pub(super) fn json_bytes(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}
