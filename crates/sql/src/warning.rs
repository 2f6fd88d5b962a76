//! What somebody should know of an answer that is not an error.

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use super::error::shorten;

/// At most this many warnings go into a result; the rest is counted.
const WARNINGS: usize = 20;

/// At most this many bytes of a value are quoted.
const VALUE_BYTES: usize = 60;

/// Something to know of an answer. As JSON it has every field always, null where it does not apply, and `message`, which
/// says all of it in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warning {
    /// Table and column that it is about.
    pub(super) place: Option<(String, String)>,
    /// How many values it is about.
    pub(super) count: Option<u64>,
    /// The first such value, shortened.
    pub(super) value: Option<String>,
    /// The line of that value in its file, from 1.
    pub(super) line: Option<u64>,
    /// What is the matter. It continues `column x of t: `.
    pub(super) text: String,
}

impl Warning {
    /// A warning that is about no column.
    pub(super) fn general(text: String) -> Self {
        Self { place: None, count: None, value: None, line: None, text }
    }

    /// A warning about a column, not about single values of it.
    pub(super) fn of_column(table: &str, column: &str, text: String) -> Self {
        Self { place: Some((table.to_owned(), column.to_owned())), ..Self::general(text) }
    }

    /// All of it in a sentence.
    pub(super) fn message(&self) -> String {
        let place =
            self.place.as_ref().map(|(table, column)| format!("column {column} of {table}: ")).unwrap_or_default();
        let value = match (&self.value, self.line) {
            (Some(value), Some(line)) => format!(" (first: {value:?}, line {line})"),
            _ => String::new(),
        };
        format!("{place}{}{value}", self.text)
    }
}

impl Serialize for Warning {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Warning", 6)?;
        object.serialize_field("message", &self.message())?;
        object.serialize_field("table", &self.place.as_ref().map(|(table, _)| table))?;
        object.serialize_field("column", &self.place.as_ref().map(|(_, column)| column))?;
        object.serialize_field("count", &self.count)?;
        object.serialize_field("value", &self.value)?;
        object.serialize_field("line", &self.line)?;
        object.end()
    }
}

/// The beginning of a field, as it is quoted in a warning.
pub(super) fn quote(field: &[u8]) -> String {
    shorten(String::from_utf8_lossy(field).into_owned(), VALUE_BYTES)
}

/// Keeps the first of too many warnings, and says how many more there are.
pub(super) fn bounded(mut warnings: Vec<Warning>) -> Vec<Warning> {
    if warnings.len() > WARNINGS {
        let more = warnings.len() + 1 - WARNINGS;
        warnings.truncate(WARNINGS - 1);
        warnings.push(Warning::general(format!("and {more} warnings more")));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_says_all_in_its_message_and_each_part_by_itself() {
        let warning = Warning {
            count: Some(2),
            value: Some(quote("é".repeat(40).as_bytes())),
            line: Some(7),
            ..Warning::of_column("t", "c", "is odd".into())
        };
        let value = format!("{}…", "é".repeat(30));
        let expected = serde_json::json!({
            "message": format!("column c of t: is odd (first: \"{value}\", line 7)"),
            "table": "t", "column": "c", "count": 2, "value": value, "line": 7,
        });
        assert_eq!(serde_json::to_value(&warning).unwrap(), expected);
        let general = serde_json::to_value(Warning::general("x".into())).unwrap();
        assert_eq!(general.as_object().unwrap().len(), 6);
    }

    #[test]
    fn too_many_are_counted() {
        let many = bounded((0..30).map(|n| Warning::general(n.to_string())).collect());
        assert_eq!((many.len(), many[19].text.as_str()), (20, "and 11 warnings more"));
    }
}
