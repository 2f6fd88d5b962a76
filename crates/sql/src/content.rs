//! The bytes behind a table: compiled in or a file, compressed or not; JSON is made CSV of.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::csv_file::CsvError;

/// The most bytes a file may have, compressed or not.
pub(super) const FILE_BYTES: u64 = 256 * 1024 * 1024;

/// JSON is held in memory as a whole.
const JSON_BYTES: u64 = 64 * 1024 * 1024;

/// Text that becomes a table, compiled in or in a file.
#[derive(Debug, Clone)]
pub(super) enum Content {
    BuiltIn(&'static str),
    File(PathBuf),
}

/// A reader of the content's bytes.
type ContentReader = Box<dyn Read + Send>;

impl Content {
    /// Opens it at its beginning, decompressed if it is gzip, whatever it is called.
    ///
    /// # Errors
    /// Those of the file system; while it is read, also those of gzip, and if it has more than [`FILE_BYTES`].
    fn open(&self) -> io::Result<ContentReader> {
        let Self::File(path) = self else {
            return Ok(match self {
                Self::BuiltIn(text) => Box::new(text.as_bytes()),
                Self::File(_) => Box::new(io::empty()),
            });
        };
        let (input, head) = peek(Box::new(File::open(path)?), 2)?;
        Ok(match head.as_slice() {
            b"\x1f\x8b" => Box::new(Limited { input: MultiGzDecoder::new(BufReader::new(input)), left: FILE_BYTES }),
            _ => Box::new(Limited { input, left: FILE_BYTES }),
        })
    }
}

/// `input` again, and its first bytes, at most `count`.
fn peek(mut input: ContentReader, count: u64) -> io::Result<(ContentReader, Vec<u8>)> {
    let mut head = Vec::new();
    input.by_ref().take(count).read_to_end(&mut head)?;
    Ok((Box::new(Cursor::new(head.clone()).chain(input)), head))
}

/// Fails instead of ending where there is too much to read.
struct Limited<R> {
    input: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {FILE_BYTES} bytes"))
        })?;
        Ok(count)
    }
}

/// CSV that can be read from the beginning again and again.
pub(super) struct CsvText {
    content: Content,
    /// What it is as CSV, if it is JSON.
    converted: Option<Vec<u8>>,
    /// The columns that JSON has strings in, so that they are text whatever they look like.
    pub(super) strings: HashSet<String>,
}

impl CsvText {
    /// Looks at the content. What begins with `[` or `{` is read as JSON if `json` allows it.
    ///
    /// # Errors
    /// [`CsvError::Io`], [`CsvError::Json`].
    pub(super) fn new(content: &Content, json: bool) -> Result<Self, CsvError> {
        let mut text = Self { content: content.clone(), converted: None, strings: HashSet::new() };
        if !json {
            return Ok(text);
        }
        let (input, head) = peek(content.open()?, 64)?;
        let head = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&head).trim_ascii_start();
        if matches!(head.first(), Some(b'[' | b'{')) {
            let (csv, strings) = json_to_csv(input)?;
            (text.converted, text.strings) = (Some(csv), strings);
        }
        Ok(text)
    }

    /// Opens it at its beginning.
    ///
    /// # Errors
    /// As those of [`Content::open`].
    pub(super) fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(match &self.converted {
            Some(csv) => Box::new(csv.as_slice()),
            None => self.content.open()?,
        })
    }

    /// Whether it was JSON, which has names for its columns always.
    pub(super) fn is_json(&self) -> bool {
        self.converted.is_some()
    }
}

/// The members of one object, in their order, each as it is written.
struct ObjectRow(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for ObjectRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = ObjectRow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, which becomes a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ObjectRow, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(ObjectRow(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// CSV of a JSON array of objects, or of one object after another (JSON lines), and the columns that have strings.
fn json_to_csv(input: ContentReader) -> Result<(Vec<u8>, HashSet<String>), CsvError> {
    let hint =
        "a table is an array of objects, or one object on each line; if it is CSV after all, set header or delimiter";
    let fault = |problem: &dyn fmt::Display| {
        CsvError::Json(format!("begins like JSON, but can't be read as a table: {problem} ({hint})"))
    };
    let mut text = Vec::new();
    input.take(JSON_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > JSON_BYTES {
        return Err(CsvError::Json(format!("JSON of more than {JSON_BYTES} bytes is not read; convert it to CSV")));
    }
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let rows: Vec<ObjectRow> = match text.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(text).map_err(|error| fault(&error))?,
        _ => serde_json::Deserializer::from_slice(text)
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error| fault(&error))?,
    };
    if let ([ObjectRow(members)], Some(b'{')) = (rows.as_slice(), text.trim_ascii_start().first())
        && let Some((name, _)) = members.iter().find(|(_, value)| is_array_of_objects(value.get()))
    {
        return Err(fault(&format!("it is one object, whose member {name:?} has the rows; give that array alone")));
    }
    let mut columns: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (name, _) in rows.iter().flat_map(|ObjectRow(members)| members) {
        if !places.contains_key(name) {
            places.insert(name.clone(), columns.len());
            columns.push(name.clone());
        }
    }
    if columns.is_empty() {
        return Err(fault(&"it has no member, so there are no columns"));
    }
    let mut csv = Vec::with_capacity(text.len());
    let mut strings = HashSet::new();
    write_record(&mut csv, columns.iter().map(String::as_str));
    for ObjectRow(members) in &rows {
        let mut record = vec![String::new(); columns.len()];
        for (name, value) in members {
            let Some(field) = places.get(name).and_then(|place| record.get_mut(*place)) else { continue };
            *field = match value.get() {
                "null" => String::new(),
                text if text.starts_with('"') => {
                    strings.insert(name.clone());
                    serde_json::from_str(text).map_err(|error| fault(&error))?
                }
                text => text.to_owned(),
            };
        }
        write_record(&mut csv, record.iter().map(String::as_str));
    }
    Ok((csv, strings))
}

fn is_array_of_objects(value: &str) -> bool {
    value.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{'))
}

fn write_record<'a>(csv: &mut Vec<u8>, fields: impl Iterator<Item = &'a str>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            csv.push(b',');
        }
        csv.push(b'"');
        csv.extend_from_slice(field.replace('"', "\"\"").as_bytes());
        csv.push(b'"');
    }
    csv.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &'static str) -> Result<(String, Vec<String>), String> {
        let (csv, strings) = json_to_csv(Box::new(text.as_bytes())).map_err(|error| error.to_string())?;
        let mut strings: Vec<String> = strings.into_iter().collect();
        strings.sort();
        Ok((String::from_utf8(csv).unwrap(), strings))
    }

    #[test]
    fn json_becomes_csv_with_every_digit() {
        let text =
            "[{\"a\": 1.10, \"b\": \"x \\\"y\\\"\"}, {\"c\": null, \"a\": 12345678901234567890, \"d\": {\"e\": [1]}}]";
        let csv = "\"a\",\"b\",\"c\",\"d\"\n\"1.10\",\"x \"\"y\"\"\",\"\",\"\"\n\"12345678901234567890\",\"\",\"\",\"{\"\"e\"\": [1]}\"\n";
        assert_eq!(converted(text), Ok((csv.to_owned(), vec!["b".to_owned()])));
        let lines = "{\"a\": true}\n{\"a\": false}\n";
        assert_eq!(converted(lines), Ok(("\"a\"\n\"true\"\n\"false\"\n".to_owned(), vec![])));
    }

    #[test]
    fn what_is_no_table_is_explained() {
        for text in ["{\"rows\": [ {\"a\": 1}]}", "[1, 2]", "[]", "{}", "[{\"a\": 1}", "[a],b\n1,2\n", "{\"a\": 1} x"] {
            let error = converted(text).unwrap_err();
            assert!(error.contains("can't be read as a table") && error.contains("set header"), "{text}: {error}");
        }
    }

    #[test]
    fn gzip_is_read_whatever_its_name_and_within_bounds() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"a,b\n1,2\n").unwrap();
        std::fs::write(&path, gzip.finish().unwrap()).unwrap();
        let mut text = String::new();
        Content::File(path).open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "a,b\n1,2\n");
        let mut limited = Limited { input: io::repeat(b'x'), left: 10 };
        assert!(limited.read(&mut [0; 8]).is_ok());
        assert!(limited.read(&mut [0; 8]).unwrap_err().to_string().contains("more than"));
    }
}
