use proptest::prelude::*;

use super::*;

fn rows_with(text: &[u8], options: CsvOptions) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
    let mut file = CsvFile::open(text, options).map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    while file.advance().map_err(|error| error.to_string())? {
        let fields = file.records.fields().take(file.columns.len());
        rows.push(fields.map(|field| String::from_utf8_lossy(field).into_owned()).collect());
    }
    Ok((file.columns, rows))
}

const HEADER: CsvOptions = CsvOptions { delimiter: None, header: Some(true) };

fn rows(text: &str) -> Vec<Vec<String>> {
    rows_with(text.as_bytes(), HEADER).unwrap_or_else(|error| panic!("{text:?}: {error}")).1
}

fn fault(text: &[u8]) -> String {
    rows_with(text, HEADER).unwrap_err()
}

#[test]
fn the_csv_dialect() {
    let cases: [(&str, &[&[&str]]); 16] = [
        ("a,b\n1,2\n", &[&["1", "2"]]),
        ("\u{feff}a,b\r\n1,2\r\n3,4", &[&["1", "2"], &["3", "4"]]),
        ("a,b\r1,2\r3,4\r", &[&["1", "2"], &["3", "4"]]),
        ("a,b\n\"x, y\",\"say \"\"hi\"\"\"\n", &[&["x, y", "say \"hi\""]]),
        ("a,b\n1,\"two\nlines\"\n", &[&["1", "two\nlines"]]),
        ("a,b\n1,\"two\r\nlines\"\r\n\r\n", &[&["1", "two\r\nlines"]]),
        ("a,b\n\n1,27\" screen\n\n", &[&["1", "27\" screen"]]),
        ("a,b\n,\n", &[&["", ""]]),
        ("a,b\n0, \"a, b\" \n", &[&["0", "a, b"]]),
        ("a,b\n\"\",\"\"\"\"\n", &[&["", "\""]]),
        ("a,b\n x , y\n", &[&[" x ", " y"]]),
        ("a\n1\n\n3\n", &[&["1"], &[""], &["3"]]),
        ("a\r\n\r\n3", &[&[""], &["3"]]),
        ("a,b\n1,2,\n3,4,\n", &[&["1", "2"], &["3", "4"]]),
        ("a;b;\n1;2;\n3;4;\n", &[&["1", "2"], &["3", "4"]]),
        ("\"sep=;\"\na;b;\n1;2;\n", &[&["1", "2"]]),
    ];
    for (text, expected) in cases {
        assert_eq!(rows(text), expected, "{text:?}");
    }
    let names = |text: &str, options| rows_with(text.as_bytes(), options).unwrap().0;
    assert_eq!(names("a, b ,,d\n1,2,3,4\n", HEADER), ["a", "b", "column_3", "d"]);
    let values = CsvOptions { delimiter: Some(b':'), header: Some(false) };
    assert_eq!(names("x:y\n", values), ["column_1", "column_2"]);
    assert_eq!(rows_with(b"x:y\n", values).unwrap().1, [["x", "y"]]);
    assert!(rows("a,b\n").is_empty());
}

#[test]
fn guesses_are_reported() {
    let guesses = |text: &str| CsvFile::open(text.as_bytes(), CsvOptions::default()).unwrap().guesses;
    assert!(guesses("1,alice\n2,bob\n")[0].contains("set header to true"));
    assert!(guesses("1,2\nx,y\n")[0].contains("set header to false"));
    assert!(guesses("a;b\nx\n")[0].contains("holds ';'; set delimiter"));
    for text in ["a,b\n1,2\n", "a;b\n1;2\n", "sep=;\na|b\n1\n", "a\nx|y\n"] {
        assert!(guesses(text).is_empty(), "{text:?}");
    }
}

#[test]
fn faults_are_named_with_their_line() {
    let long = format!("{}\n", "x".repeat(300));
    let wide = format!("{}\n", ["c"; 2001].join(","));
    let nameless = format!("a,b,\n{}1,2,3\n", "1,2,\n".repeat(60));
    let cases: [(&[u8], &str); 17] = [
        (b"", "has no header line"),
        (b"\n\r\n", "has no header line"),
        (b"sep=;\n", "has no header line"),
        (b"a,b\n1,2\n1\n", "line 3: 1 field, but the header has 2 (fields are separated by ',';"),
        (b"a,b,c,d\n1,2,3\n4,5,6\n", "line 2: 3 fields, but the header has 4"),
        (b"a,b\n\"x\ny\",2\n1,2,3\n", "line 4: 3 fields, but the header has 2"),
        (nameless.as_bytes(), "line 62: a value in column 3, which has no name in the header"),
        (b"a,b,A\n", "columns 1 and 3 are both called \"A\""),
        (b"a,b\n1,\"open\n2,3\n4,5\n", "line 2: a quoted field begins here and never ends"),
        (b"a,b,c\n1,\"open\n2,3\n", "line 2: a quoted field begins here and never ends"),
        (b"a,b\n1,\"open\n2,\"3\"\n", "line 2: a quoted field begins here, and something follows its closing quote"),
        (b"\xff\xfea\0,\0b\0\n\0", "is UTF-16"),
        (b"PK\x03\x04rest", "is a ZIP archive, such as an Excel workbook, not CSV"),
        (b"a\0,b\n", "the name of column 1 is longer than 256 bytes"),
        (b"a\xff,b\n", "the name of column 1 is longer than 256 bytes, holds a NUL character or is not UTF-8"),
        (long.as_bytes(), "the name of column 1 is longer than 256 bytes"),
        (wide.as_bytes(), "2001 columns; at most 2000 are possible"),
    ];
    for (text, expected) in cases {
        let reported = fault(text);
        assert!(reported.starts_with(expected), "{}: {reported}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_record_has_bounds() {
    let text = format!("a,b\n1,\"{}", "x".repeat(17 * 1024 * 1024));
    assert!(fault(text.as_bytes()).contains("line 2: a record begins here that has more than 16 MiB"));
}

/// Gives its bytes in pieces of any size, as pipes do.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(buffer.len()).min(self.0.len());
        let (now, rest) = self.0.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.0 = rest;
        Ok(length)
    }
}

/// A record and its line.
type Found = (u64, Vec<Vec<u8>>);

fn records(input: impl Read) -> Result<Vec<Found>, String> {
    let mut records = Records::new(input, b',', 1);
    let mut all = Vec::new();
    while records.advance().map_err(|error| error.to_string())? {
        all.push((records.line(), records.fields().map(<[u8]>::to_vec).collect()));
    }
    Ok(all)
}

fn types(values: &[&str]) -> (ColumnType, Option<String>) {
    let mut tally = Tally::default();
    for (value, line) in values.iter().zip(2..) {
        tally.see(Shape::of(value.as_bytes()), value.as_bytes(), line);
    }
    (tally.column_type(true), tally.warning("t", "c", true).map(|warning| warning.message()))
}

#[test]
fn column_types() {
    use ColumnType::{Boolean, Date, Integer, Real, Text};
    let cases: [(&[&str], ColumnType); 40] = [
        (&["1", "-2", "", "0"], Integer),
        (&["9223372036854775807", "-9223372036854775808"], Integer),
        (&["9223372036854775808"], Text),
        (&["1", " 2 "], Integer),
        (&["1", "2.5"], Real),
        (&[".5", "5.", "-0.1", "1e3", "-0"], Real),
        (&["9007199254740992", "0.5"], Real),
        (&["9007199254740993", "0.5"], Text),
        (&["0.5", "9007199254740993"], Text),
        (&["01067", "10115"], Text),
        (&["00"], Text),
        (&["-07"], Text),
        (&["00.5"], Text),
        (&["+4930"], Text),
        (&["inf"], Text),
        (&["1e999"], Text),
        (&["0x1F"], Text),
        (&["1_000"], Text),
        (&["", ""], Text),
        (&["1", "n/a"], Integer),
        (&["NA", "8", "NULL", "None", "nan", "\\N", "  "], Integer),
        (&["NaN", "1.5"], Real),
        (&["NaN"], Text),
        (&["1", "x"], Text),
        (&["1,500,000", "3"], Integer),
        (&["1,500.5", "3"], Real),
        (&["1,5", "2,25"], Text),
        (&["true", "False", "", "NA"], Boolean),
        (&["true", "yes"], Text),
        (&["yes", "no"], Text),
        (&["true", "1"], Text),
        (&["2026-01-01", "", "NULL"], Date),
        (&["2026-01-01 10:00", "2026-01-01 11:00"], Date),
        (&["2026-01-01 10:00", "2026-01-01T11:00"], Text),
        (&["2026-01-01 10:00+02:00"], Text),
        (&["2026-01-01", "2026-01-01 11:00"], Text),
        (&["31.12.2025"], Text),
        (&["1.1", "1.2", "1.10"], Text),
        (&["62.25", "46.50", "1.5", "2"], Real),
        (&["1234567890123456.78", "2"], Text),
    ];
    for (values, expected) in cases {
        assert_eq!(types(values).0, expected, "{values:?}");
    }
}

#[test]
fn what_stays_text_in_spite_of_its_looks_is_reported_with_the_first_such_value() {
    let cases: [(&[&str], &str); 14] = [
        (
            &["1", "x", "2", "y"],
            "2 of its 4 values are not numbers, so it is text: it is compared character by character, and what is not a number counts as 0 in sums (first: \"x\", line 3)",
        ),
        (&["$5", "$6"], "(first: \"$5\", line 2)"),
        (&["1,5", "2,25"], "(first: \"1,5\", line 2)"),
        (&["12 kg", "9 kg"], "look like numbers"),
        (&["NA", "N/A"], "words for missing values"),
        (&["true", "1"], "(first: \"1\", line 3)"),
        (&["31.12.2025", "01.02.2026"], "not all written as YYYY-MM-DD"),
        (&["2026-01-01", "soon"], "not all its values are dates"),
        (&["2026-01-01 10:00", "2026-01-01T11:00"], "(first: \"2026-01-01T11:00\", line 3)"),
        (&["2026-01-01", "2026-01-01 11:00"], "not all written alike"),
        (&["1.1", "1.10"], "such as 1.1 and 1.10"),
        (&["1234567890123456.78", "2"], "a number would lose digits"),
        (&["9223372036854775808"], "a number would lose digits"),
        (&["01", "2", "10"], "numbers do not begin with 0"),
    ];
    for (values, part) in cases {
        let message = types(values).1.unwrap_or_default();
        assert!(message.starts_with("column c of t: ") && message.contains(part), "{values:?}: {message}");
    }
    let quiet: [&[&str]; 7] = [
        &["alice", "bob", ""],
        &["01067", "10115"],
        &["01067", "SW1A 1AA", "75001"],
        &["yes", "no"],
        &["A12", "B7"],
        &["", ""],
        &["10.0.0.1", "10.0.0.2"],
    ];
    for values in quiet {
        assert_eq!(types(values).1, None, "{values:?}");
    }
    // A lonely number among names says nothing of the column.
    let mut names = vec!["Dune"; 200];
    names.push("1984");
    assert_eq!(types(&names).1, None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = rows_with(&bytes, CsvOptions::default());
    }

    #[test]
    fn any_csv_like_text_is_read_or_refused(text in "[a-c0-9,;\"\n\r .eE+-]{0,200}") {
        let _ = rows_with(text.as_bytes(), CsvOptions::default());
    }

    /// Without blanks around quotes and quotes in odd places, for which this reader has its own rules, the crate `csv`
    /// reads the same.
    #[test]
    fn plain_csv_is_read_as_others_do(
        rows in proptest::collection::vec(proptest::collection::vec("[a-z ,\"\n\r]{0,6}", 2..4), 0..6),
        quote in proptest::bool::ANY,
        crlf in proptest::bool::ANY,
        piece in 1_usize..9,
    ) {
        let style = if quote { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new().flexible(true).quote_style(style).terminator(end).from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let whole = records(text.as_slice()).unwrap();
        let read: Vec<Vec<String>> = whole
            .iter()
            .map(|(_, fields)| fields.iter().map(|field| String::from_utf8(field.clone()).unwrap()).collect())
            .collect();
        prop_assert_eq!(&read, &rows);
        // `fill` asks for more whenever a record is not whole, however small the pieces.
        prop_assert_eq!(records(Pieces(&text, piece)).unwrap(), whole);
    }

    #[test]
    fn lines_are_counted_whatever_the_pieces(text in "[a\",\n\r]{0,40}", piece in 1_usize..7) {
        prop_assert_eq!(records(text.as_bytes()), records(Pieces(text.as_bytes(), piece)));
    }
}
