//! What the beginning of a file shows of its dialect: delimiter, header, and formats that are not CSV.

use std::io::Read;

use super::records::Records;
use super::shape::Shape;
use super::{CsvError, CsvOptions};

/// As much of a file is looked at to find its dialect.
const HEAD_BYTES: u64 = 256 * 1024;

/// As many records are.
const RECORDS: usize = 50;

/// What separates fields where commas do not, the likeliest first.
const OTHERS: [u8; 3] = *b";\t|";

/// How the fields of a file are separated.
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Where the first record begins, after a byte order mark and a line `sep=`.
    pub(super) start: usize,
    /// The line of that place, from 1.
    pub(super) line: u64,
    /// Whether the delimiter was said, by the request or the file.
    pub(super) certain: bool,
    pub(super) guesses: Vec<String>,
}

/// What the first line has.
pub(super) enum Header {
    Names { doubtful: bool },
    Values { guessed: bool },
}

/// Reads the beginning of `input` into `head`, and returns whether that is all.
pub(super) fn read_head(input: &mut impl Read, head: &mut Vec<u8>) -> Result<bool, CsvError> {
    input.by_ref().take(HEAD_BYTES).read_to_end(head)?;
    Ok((head.len() as u64) < HEAD_BYTES)
}

/// The dialect of a file that begins with `head`.
///
/// # Errors
/// [`CsvError::Utf16`], [`CsvError::Binary`].
pub(super) fn dialect(head: &[u8], whole: bool, options: CsvOptions) -> Result<Dialect, CsvError> {
    refuse_other_formats(head)?;
    let start = if head.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    let text = head.get(start..).unwrap_or_default();
    let mut found = Dialect { delimiter: b',', start, line: 1, certain: true, guesses: Vec::new() };
    let said = separator_line(text);
    if let Some((_, length)) = said {
        found.start += length;
        found.line = 2;
    }
    if let Some(delimiter) = options.delimiter.or_else(|| said.map(|(delimiter, _)| delimiter)) {
        found.delimiter = delimiter;
        return Ok(found);
    }
    found.certain = false;
    let width = |delimiter: u8| width(&sample(text, whole, delimiter));
    let comma = width(b',').filter(|width| *width > 1);
    if comma.is_none() {
        let others = OTHERS.iter().filter_map(|delimiter| Some((width(*delimiter)?, *delimiter)));
        // `max_by_key` takes the last of equals, which by `rev` is the likeliest.
        let widest = others.rev().filter(|(width, _)| *width > 1).max_by_key(|(width, _)| *width);
        found.delimiter = widest.map_or(b',', |(_, delimiter)| delimiter);
    }
    Ok(found)
}

fn refuse_other_formats(head: &[u8]) -> Result<(), CsvError> {
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Err(CsvError::Utf16);
    }
    let formats: [(&[u8], &str); 7] = [
        (b"PK\x03\x04", "a ZIP archive, such as an Excel workbook"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"PAR1", "Parquet"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
        (b"BZh", "compressed with bzip2"),
        (b"\xfd7zXZ", "compressed with xz"),
    ];
    match formats.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, name)) => Err(CsvError::Binary(name)),
        None => Ok(()),
    }
}

/// The delimiter that a first line `sep=;` names, which Excel reads, and the length of that line.
fn separator_line(text: &[u8]) -> Option<(u8, usize)> {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let line = text.get(..end)?.trim_ascii_end();
    // A tab at the end of the line is the delimiter itself.
    let line = if line.len() == 4 { text.get(..end)?.strip_suffix(b"\r").unwrap_or(text.get(..end)?) } else { line };
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let (name, delimiter) = line.split_at_checked(4)?;
    let [delimiter] = delimiter else { return None };
    (name.eq_ignore_ascii_case(b"sep=") && is_delimiter(*delimiter)).then_some((*delimiter, (end + 1).min(text.len())))
}

/// Whether a byte may separate fields.
pub(crate) fn is_delimiter(byte: u8) -> bool {
    byte == b'\t' || byte == b' ' || (byte.is_ascii_punctuation() && byte != b'"')
}

/// The first records of `text`. One that may go on beyond it is left out, and so is what follows a fault.
pub(super) fn sample(text: &[u8], whole: bool, delimiter: u8) -> Vec<Vec<Vec<u8>>> {
    let mut records = Records::new(text, delimiter, 1);
    let mut sample = Vec::new();
    while sample.len() <= RECORDS && matches!(records.advance(), Ok(true)) {
        sample.push(records.fields().map(<[u8]>::to_vec).collect());
    }
    if !whole && sample.len() <= RECORDS && sample.len() > 1 {
        sample.pop();
    }
    sample
}

/// How many fields each record has, if all have the same; an empty one more at the end of a row does not count.
fn width(sample: &[Vec<Vec<u8>>]) -> Option<usize> {
    let width = sample.first()?.len();
    let fits = |record: &Vec<Vec<u8>>| {
        record.len() == width || (record.len() == width + 1 && record.last().is_some_and(Vec::is_empty))
    };
    sample.iter().all(fits).then_some(width)
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Family {
    Number,
    Date,
    Boolean,
}

fn family(field: &[u8]) -> Option<Family> {
    match Shape::of(field) {
        Shape::Integer(_)
        | Shape::Real { .. }
        | Shape::GroupedInteger(_)
        | Shape::GroupedReal(_)
        | Shape::Identifier { .. }
        | Shape::LongNumber => Some(Family::Number),
        Shape::Date | Shape::DateTime(_) | Shape::OtherDate => Some(Family::Date),
        Shape::Boolean(_) => Some(Family::Boolean),
        Shape::Empty | Shape::Missing | Shape::NearNumber | Shape::Text => None,
    }
}

/// Whether the first record has names. It has values if one of them is a number, a date or a boolean, as all below it
/// are; but rising whole numbers after a name are the years or days of a table that is laid out in columns.
pub(super) fn header(sample: &[Vec<Vec<u8>>], said: Option<bool>) -> Header {
    match said {
        Some(true) => return Header::Names { doubtful: false },
        Some(false) => return Header::Values { guessed: false },
        None => {}
    }
    let Some((first, rows)) = sample.split_first() else { return Header::Names { doubtful: false } };
    let mut like_values = false;
    let mut unlike = false;
    for (index, name) in first.iter().enumerate() {
        let Some(family_of_name) = family(name) else { continue };
        let mut below = rows
            .iter()
            .filter_map(|row| row.get(index))
            .filter(|field| !matches!(Shape::of(field), Shape::Empty | Shape::Missing));
        match below.next().map(|field| family(field) == Some(family_of_name)) {
            Some(true) if below.all(|field| family(field) == Some(family_of_name)) => like_values = true,
            Some(_) => unlike = true,
            None => {}
        }
    }
    let numbers: Vec<i64> = first
        .iter()
        .filter_map(|name| match Shape::of(name) {
            Shape::Integer(number) => Some(number),
            _ => None,
        })
        .collect();
    let all_numbers = numbers.len() == first.len();
    let rise = numbers.len() > 1 && numbers.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    let years = numbers.iter().all(|number| (1800..=2200).contains(number));
    let laid_out = !numbers.is_empty() && (rise || years) && first.first().is_none_or(|name| family(name).is_none());
    let only_years = all_numbers && rise && years;
    if like_values && !unlike && !laid_out && !only_years {
        return Header::Values { guessed: true };
    }
    Header::Names { doubtful: !first.is_empty() && first.iter().all(|name| family(name) == Some(Family::Number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Dialect {
        dialect(text.as_bytes(), true, CsvOptions::default()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn delimiters() {
        for (text, delimiter, line) in [
            ("a,b\n1,2\n", ',', 1),
            ("a;b\n1,5;2,5\n", ';', 1),
            ("a\tb\n1\t2,3\n", '\t', 1),
            ("a|b|c\n1|2|x;y\n", '|', 1),
            ("a\nx;y\n", ',', 1),
            ("a;b\nx\n", ',', 1),
            ("name\nfoo\n", ',', 1),
            ("\"a;b\",c\n1,2\n", ',', 1),
            ("id;flag;cost;group\n1;False;62.25;['345']\n2;True;46.50;['112', '112']\n", ';', 1),
            ("sep=,\na,b\n", ',', 2),
            ("SEP=;\r\na;b\n", ';', 2),
            ("\"sep=;\"\na;b;\n1;2;\n", ';', 2),
            ("sep=\t\na\tb\n", '\t', 2),
            ("\u{feff}sep=|\na|b\n", '|', 2),
            ("sep=ab\nx\n", ',', 1),
        ] {
            let found = of(text);
            assert_eq!((char::from(found.delimiter), found.line), (delimiter, line), "{text:?}");
        }
        let said = CsvOptions { delimiter: Some(b':'), ..CsvOptions::default() };
        assert_eq!(dialect(b"a,b\n", true, said).map(|found| found.delimiter).ok(), Some(b':'));
    }

    #[test]
    fn headers() {
        let kind = |text: &str| match header(&sample(text.as_bytes(), true, b','), None) {
            Header::Names { doubtful: false } => "names",
            Header::Names { doubtful: true } => "doubtful names",
            Header::Values { .. } => "values",
        };
        for (text, expected) in [
            ("a,b\n1,2\n", "names"),
            ("1,alice\n2,bob\n3,eve\n", "values"),
            ("1,2\n3,4\n", "values"),
            ("alice,2026-01-01\nbob,2026-01-02\n", "values"),
            ("alice,true\nbob,false\n", "values"),
            ("alice,5\nbob,6\n", "values"),
            ("region,2023,2024\nnorth,10,20\n", "names"),
            ("region,2024\nnorth,10\n", "names"),
            ("day,1,2,3\nmon,5,5,5\n", "names"),
            ("2023,2024\n1,2\n", "doubtful names"),
            ("1,2\nx,y\n", "doubtful names"),
            ("1,2\n", "doubtful names"),
            ("name,1\nx,y\n", "names"),
            ("alice,bob\ncarol,dave\n", "names"),
        ] {
            assert_eq!(kind(text), expected, "{text:?}");
        }
    }
}
