use proptest::prelude::*;

use super::*;

fn survey_of(text: &[u8]) -> Result<Survey, String> {
    survey(text, || true).map_err(|error| error.to_string())
}

fn type_of(values: &[&str]) -> ColumnType {
    let text = format!("n,x\n{}", values.iter().map(|value| format!("{value},\n")).collect::<String>());
    survey_of(text.as_bytes()).unwrap().columns[0].1
}

fn rows_of(text: &[u8]) -> Vec<Vec<String>> {
    let mut rows = Rows::new(text).unwrap();
    let mut all = Vec::new();
    while let Some(record) = rows.next().unwrap() {
        all.push(record.iter().map(str::to_owned).collect());
    }
    all
}

#[test]
fn column_types() {
    use ColumnType::{Integer, Real, Text};
    let cases: [(&[&str], ColumnType); 22] = [
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
        (&["1", "n/a"], Text),
        (&["NaN"], Text),
        (&["inf"], Text),
        (&["1e999"], Text),
        (&["0x1F"], Text),
        (&["1_000"], Text),
        (&["2025-01-01"], Text),
        (&["", ""], Text),
    ];
    for (values, expected) in cases {
        assert_eq!(type_of(values), expected, "{values:?}");
    }
}

#[test]
fn fields_become_cells() {
    assert_eq!(Cell::new("", ColumnType::Text), Cell::Null);
    assert_eq!(Cell::new("", ColumnType::Integer), Cell::Null);
    assert_eq!(Cell::new(" 7", ColumnType::Integer), Cell::Integer(7));
    assert_eq!(Cell::new("7", ColumnType::Real), Cell::Real(7.0));
    assert_eq!(Cell::new("7", ColumnType::Text), Cell::Text("7"));
    assert_eq!(Cell::new(" a ", ColumnType::Text), Cell::Text(" a "));
    assert_eq!(Cell::new("changed", ColumnType::Integer), Cell::Text("changed"));
}

#[test]
fn the_csv_dialect() {
    let cases: [(&[u8], &[&[&str]]); 7] = [
        (b"a,b\n1,2\n", &[&["1", "2"]]),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4", &[&["1", "2"], &["3", "4"]]),
        (b"a,b\n\"x, y\",\"say \"\"hi\"\"\"\n", &[&["x, y", "say \"hi\""]]),
        (b"a,b\n1,\"two\nlines\"\n", &[&["1", "two\nlines"]]),
        (b"a,b\n1,\"two\r\nlines\"\r\n\r\n", &[&["1", "two\r\nlines"]]),
        (b"a,b\n\n1,27\" screen\n\n", &[&["1", "27\" screen"]]),
        (b"a,b\n,\n", &[&["", ""]]),
    ];
    for (text, rows) in cases {
        assert_eq!(rows_of(text), rows, "{}", String::from_utf8_lossy(text));
    }
    assert_eq!(
        survey_of(b"\xef\xbb\xbfa, b ,\n1,2,3\n")
            .unwrap()
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        ["a", "b", "column_3"]
    );
    assert_eq!(survey_of(b"a,b\n").unwrap().rows, 0);
}

#[test]
fn faults_are_named_with_their_line() {
    let long = format!("{}\n", "x".repeat(300));
    let wide = format!("{}\n", ["c"; 2001].join(","));
    let cases: [(&[u8], &str); 13] = [
        (b"", "has no header line"),
        (b"\n\r\n", "has no header line"),
        (b"a,b\n1,2\n1\n", "line 3: 1 fields, but the header has 2"),
        (b"a,b\n\"x\ny\",2\n1,2,3\n", "line 4: 3 fields, but the header has 2"),
        (b"a,b,A\n", "line 1: columns 1 and 3 are both called \"A\""),
        (b"a,,column_2\n", "line 1: columns 2 and 3 are both called \"column_2\""),
        (b"a,b\n1,\"open\n2,3\n4,5\n", "line 2: a quoted field begins here or later and never ends"),
        (b"a,b,c\n1,\"open\n2,3\n", "line 2: a quoted field begins here or later and never ends"),
        (b"a,b\n1,2\n\xff,3\n", "line 3: field 1 is not UTF-8"),
        (b"\xff\xfea\0,\0b\0\n\0", "line 1: field 1 is not UTF-8"),
        (b"a\0,b\n", "line 1: the name of column 1 is longer than 256 bytes or holds a NUL character"),
        (long.as_bytes(), "line 1: the name of column 1 is longer than 256 bytes or holds a NUL character"),
        (wide.as_bytes(), "line 1: 2001 columns; at most 2000 are possible"),
    ];
    for (text, expected) in cases {
        assert_eq!(survey_of(text).unwrap_err(), expected, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_survey_can_be_stopped() {
    let text = format!("a\n{}", "1\n".repeat(5000));
    assert_eq!(survey(text.as_bytes(), || false).unwrap().rows, 1024);
}

proptest! {
    #[test]
    fn any_bytes_are_surveyed_or_refused(bytes: Vec<u8>) {
        let _ = survey_of(&bytes);
    }

    #[test]
    fn any_csv_like_text_is_surveyed_or_refused(text in "[a-c0-9,\"\n\r .eE+-]{0,200}") {
        let _ = survey_of(text.as_bytes());
    }

    /// What a column's type promises, each of its values keeps.
    #[test]
    fn values_keep_their_columns_promise(values in proptest::collection::vec("-?[0-9]{0,20}(\\.[0-9]{0,3})?|[a-z]{0,2}", 1..8)) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let column = type_of(&values);
        for value in values {
            match (Cell::new(value, column), column) {
                (Cell::Null, _) => prop_assert_eq!(value, ""),
                (Cell::Integer(number), ColumnType::Integer) => prop_assert_eq!(number.to_string(), value),
                (Cell::Real(number), ColumnType::Real) => prop_assert_eq!(Ok(number), value.parse()),
                (Cell::Text(text), ColumnType::Text) => prop_assert_eq!(text, value),
                (cell, _) => prop_assert!(false, "{:?} in a {:?} column", cell, column),
            }
        }
    }
}
