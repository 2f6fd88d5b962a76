use proptest::prelude::*;
use serde_json::Value;

use super::scan::{SENTENCES, Scanner};
use super::*;

mod evidence;
mod fragments;
mod parts;
mod python;

const MARKER: &str = "MARK-5f2a:";

fn rule() -> ReaderRule {
    ReaderRule {
        scan: ResultScan::LastObject,
        marker: MARKER.to_owned(),
        max_bytes: 1 << 20,
        max_depth: 200,
        dialects: Dialects::Any,
    }
}

fn read(output: &[u8]) -> ResultOutcome {
    read_with(rule(), output, b"")
}

fn read_with(rule: ReaderRule, output: &[u8], file: &[u8]) -> ResultOutcome {
    let mut reader = ResultReader::new(rule);
    reader.push(None, output);
    reader.finish(file)
}

/// The object, or the kind of error.
fn summary(outcome: &ResultOutcome) -> Result<&str, ResultErrorKind> {
    match outcome {
        ResultOutcome::Found(found) => Ok(found.json.as_deref().unwrap()),
        ResultOutcome::None(error) => Err(error.kind),
        ResultOutcome::Unavailable(why) => panic!("{why}"),
    }
}

fn object(outcome: ResultOutcome) -> FoundResult {
    match outcome {
        ResultOutcome::Found(found) => found,
        other => panic!("{other:?}"),
    }
}

fn error(outcome: ResultOutcome) -> ResultError {
    match outcome {
        ResultOutcome::None(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_search_finds_the_last_object() {
    use ResultErrorKind::{Empty, Invalid, NotAnObject, Truncated};
    let table: &[(&str, Result<&str, ResultErrorKind>)] = &[
        // Nothing.
        ("", Err(Empty)),
        (" \r\n\t\n", Err(Empty)),
        ("garbage", Err(Empty)),
        ("garbage\n17\n", Err(Empty)),
        ("[INFO] started [3/4]", Err(Empty)),
        // Objects, and what may stand around them.
        ("{}", Ok("{}")),
        ("{\"a\": 1}", Ok("{\"a\":1}")),
        ("noise\n{\"a\":1}\nnoise", Ok("{\"a\":1}")),
        ("noise\n{\n  \"a\": [\n    1,\n    2\n  ]\n}\nnoise", Ok("{\"a\":[1,2]}")),
        ("{\"a\":1}\n{\"b\":2}\n", Ok("{\"b\":2}")),
        ("{\"a\":1}{\"b\":2}", Ok("{\"b\":2}")),
        ("{\"a\":1}\nbye {x}\n", Ok("{\"a\":1}")),
        ("{\"a\":1}\nbye {'x', 'y'}\n", Ok("{\"a\":1}")),
        ("warn {foo}\n{\"a\":1}\n", Ok("{\"a\":1}")),
        ("it's {'not: closed\n{\"a\":1}", Ok("{\"a\":1}")),
        ("{\"a\":1}\n17\n", Ok("{\"a\":1}")),
        ("{\"a\":1}\n[1,2]\n", Ok("{\"a\":1}")),
        ("[1/3] {\"a\":1}", Ok("{\"a\":1}")),
        ("[2026-11-21 08:52:00] INFO {\"a\":1}", Ok("{\"a\":1}")),
        ("result=[{\"a\":1}}", Ok("{\"a\":1}")),
        ("data={{\"a\":1}}", Ok("{\"a\":1}")),
        ("\u{feff}{\"a\":1}\r\n", Ok("{\"a\":1}")),
        // Nor is it called by that name.
        ("{\"a\":1}\n\u{feff}({'b': 2})\n", Ok("{\"b\":2}")),
        ("\0\0{\"a\":1}\0", Ok("{\"a\":1}")),
        ("\u{1b}[32m{\"a\":1}\u{1b}[0m\n", Ok("{\"a\":1}")),
        // What broke does not take the rest with it.
        ("{\"msg\": \"hel{\"status\":\"ok\"}", Ok("{\"status\":\"ok\"}")),
        ("{\"msg\": \"hel{ {  \"status\":\"ok\"}\n", Ok("{\"status\":\"ok\"}")),
        ("{\"msg\": \"hel[{\"a\":1},{\"b\":2}]\n", Err(Invalid)),
        ("{\"msg\": \"hel\n{\"status\":\"ok\"}", Ok("{\"status\":\"ok\"}")),
        ("{\"a\": 1, \"b\":\n{\"status\":\"ok\"}\nbye", Ok("{\"status\":\"ok\"}")),
        ("{\"tmpl\": \"hello {}\" oops}", Err(Invalid)),
        // Values verbatim.
        (
            "{\"n\":123456789012345678901234567890,\"x\":1e400,\"y\":-0.10E+2}",
            Ok("{\"n\":123456789012345678901234567890,\"x\":1e400,\"y\":-0.10E+2}"),
        ),
        ("{\"s\":\"\\u00e9\\/\\n { } é\"}", Ok("{\"s\":\"\\u00e9\\/\\n { } é\"}")),
        ("{\"z\":1,\"a\":true,\"m\":[ false , null ]}", Ok("{\"z\":1,\"a\":true,\"m\":[false,null]}")),
        ("{\"a\":NaN,\"b\":[Infinity,-Infinity, -1]}", Ok("{\"a\":null,\"b\":[null,null,-1]}")),
        // No objects.
        ("42", Err(NotAnObject)),
        ("\"hi\"\n", Err(NotAnObject)),
        ("[1,2]", Err(NotAnObject)),
        ("[{\"a\":1}]", Err(NotAnObject)),
        ("null", Err(NotAnObject)),
        ("true", Err(NotAnObject)),
        ("\"{\\\"a\\\": 1}\"", Err(NotAnObject)),
        // Objects that end too early, whatever is in them or came before.
        ("{\"a\":1}\n{\"b\":", Err(Truncated)),
        ("{\"a\":{\"b\":1},", Err(Truncated)),
        ("{\"a\":{\"b\":1}", Err(Truncated)),
        ("{\"a\":\"x", Err(Truncated)),
        ("{", Err(Truncated)),
        ("[{\"a\":1},{\"b\":", Err(Truncated)),
        // A list that does not end counts for nothing.
        ("[{\"a\":1},{\"b\":2}", Ok("{\"b\":2}")),
        (":( {\"a\":1}\n", Ok("{\"a\":1}")),
        // What is not JSON.
        ("{1,2}", Err(Invalid)),
        ("{\"a\":\"\\x\"}", Err(Invalid)),
        ("{\"a\":\"\\u12g4\"}", Err(Invalid)),
        ("{\"a\":nul}", Err(Invalid)),
        ("{\"a\":1]", Err(Invalid)),
        ("{\"a\" 1}", Err(Invalid)),
        ("{a: 1}", Err(Invalid)),
        // What broke after its first key, but ends where its brackets say, takes all in it with it.
        ("{'a': <Model at 0x1>, 'b': {'c': 1}}\n", Err(Invalid)),
        ("{'b': {'c': 1}, 'a': <Model at 0x1>}\n", Err(Invalid)),
        ("{\"a\": True, \"b\": {\"c\": null}, \"d\": {}}\n", Err(Invalid)),
        ("{'a': 1}\n{'b': {'c': 1}, 'a': <Model at 0x1>}\n", Ok("{\"a\":1}")),
        ("{\"a\": x, \"b\": {\"c\":1}]\n", Ok("{\"c\":1}")),
        // Objects in other values, and in what only looks like them.
        ("({\"a\":1}, 2)", Err(NotAnObject)),
        ("('it is', {'a': 1})\n", Err(NotAnObject)),
        ("({'a':1})", Ok("{\"a\":1}")),
        ("done (see {\"a\":1})", Ok("{\"a\":1}")),
        ("f({\"a\":1}, 3)", Ok("{\"a\":1}")),
        // A quote may have opened where it seemed to close, whatever ends the line.
        ("(\"{\"\":null}\n", Ok("{\"\":null}")),
        ("(\"{\"\":null}", Ok("{\"\":null}")),
        ("[\"it's {\"a\":1}", Ok("{\"a\":1}")),
        ("[1, \"a", Err(Empty)),
        // What stands in a list that broke is whole, and is not searched again.
        ("({\"a\":{}} x", Ok("{\"a\":{}}")),
        ("[1, {\"a\":{\"b\":{}}, \"c\":[{}]} x", Ok("{\"a\":{\"b\":{}},\"c\":[{}]}")),
        ("'{\"a\": 1}'\n", Err(NotAnObject)),
        ("b'{\"a\": 1}'", Err(NotAnObject)),
        ("said '{\"a\": 1}'", Ok("{\"a\":1}")),
        ("['{\"a\": 1}']", Err(NotAnObject)),
        ("{\"x\": 1} [{\"a\":1}, 'text', ({'b':2},)]", Ok("{\"x\":1}")),
    ];
    for (output, expected) in table {
        assert_eq!(summary(&read(output.as_bytes())), *expected, "{output}");
    }
}

#[test]
fn a_result_says_where_and_how_it_was_found() {
    let found = object(read(b"noise\n {\"a\" : NaN, \"b\":1, \"a\":\"\xff\\ud800\\ud83d\\ude00\"}\n"));
    assert_eq!(found.json.as_deref(), Some("{\"a\":\"\u{fffd}\\ufffd\\ud83d\\ude00\",\"b\":1}"));
    assert_eq!(found.byte_range, Some((7, 52)));
    assert_eq!((found.source, found.dialect), (ResultSource::Scan, ResultDialect::JsonWithNan));
    assert_eq!(found.warnings.len(), 4, "{:?}", found.warnings);

    let found = object(read(b"{\"a\":1}"));
    // printf '{"a":1}' | sha256sum
    assert_eq!(found.sha256, "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862");
    assert_eq!((found.size_bytes, found.dialect), (7, ResultDialect::Json));
    assert_eq!(found.warnings, Vec::<String>::new());
}

#[test]
fn what_was_left_out_is_warned_of() {
    for (output, warned) in [
        ("{\"a\":1}\n{\"b\": oops}\n", true),
        ("{\"a\": 1, \"b\":\n{\"status\":\"ok\"}\nbye", true),
        ("{\"a\": oops, \"b\": {\"c\": 1}\n", true),
        ("{\"b\": oops}\n{\"a\":1}\n", false),
        ("{\"a\":1}\nbye {x}\n", false),
    ] {
        assert_eq!(!object(read(output.as_bytes())).warnings.is_empty(), warned, "{output}");
    }
}

#[test]
fn of_equal_keys_the_last_value_takes_the_first_place() {
    for (raw, expected) in [
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (r#"{"a":1,"\u0061":[2],"a":{"a":1,"x":0,"a":2},"c":3}"#, r#"{"a":{"a":2,"x":0},"c":3}"#),
        (r#"{"a":{"x":1,"x":2},"a":0,"b":{"x":1,"x":[{"y":1,"y":2}]}}"#, r#"{"a":0,"b":{"x":[{"y":2}]}}"#),
        (r#"[{"a":1},{"a":2}]"#, r#"[{"a":1},{"a":2}]"#),
    ] {
        assert_eq!(compact(raw.as_bytes().to_vec(), false, 1_000).unwrap().0, expected, "{raw}");
    }
}

#[test]
fn limits_are_named() {
    let rule = ReaderRule { max_bytes: 20, max_depth: 3, ..rule() };
    let table: &[(&str, Result<&str, ResultErrorKind>)] = &[
        ("{\"a\":\"01234567890123\"", Err(ResultErrorKind::TooLarge)),
        ("{\"a\":\"012345678901\"}", Ok("{\"a\":\"012345678901\"}")),
        ("{\"a\":\"0123456789012\"}", Err(ResultErrorKind::TooLarge)),
        ("{\"a\":1}\n{\"a\":\"012\\\"3456789 } { \", \"b\":{}} bye", Err(ResultErrorKind::TooLarge)),
        ("{\"a\":\"012345678901234567890\", \"b\":{}}\n{\"c\":1}", Ok("{\"c\":1}")),
        ("{\"a\":\"012345678901234567890\nx\n{\"c\":1}", Ok("{\"c\":1}")),
        ("{\"a\":[[1]]}", Ok("{\"a\":[[1]]}")),
        ("{\"a\":[[[]]]}", Err(ResultErrorKind::TooDeep)),
        ("{\"c\":1}\n{\"a\":[[[\"]\"]]]}", Err(ResultErrorKind::TooDeep)),
        ("{\"c\":[{\"c\":[", Err(ResultErrorKind::TooDeep)),
        ("[[[[1]]]]\n{\"c\":1}", Ok("{\"c\":1}")),
        ("{'a': '012345678901234567890'}", Err(ResultErrorKind::TooLarge)),
    ];
    for (output, expected) in table {
        assert_eq!(summary(&read_with(rule.clone(), output.as_bytes(), b"")), *expected, "{output}");
    }
    let message = error(read_with(rule, b"{\"a\":\"012345678901234567890\"}", b"")).message;
    assert_eq!(message, "the object that begins at byte 0 is larger than the limit of 20 bytes");
}

#[test]
fn errors_show_the_place() {
    let error = error(read(b"noise {\"key\": oops\x1b}"));
    assert_eq!(error.position, Some(14));
    assert_eq!(
        error.message,
        "the object that begins at byte 6 can't be read at byte 14: expected a value, found `oops` after `{\"key\": `"
    );
}

#[test]
fn the_file_decides_if_there_is_one() {
    let off = ReaderRule { scan: ResultScan::Off, ..rule() };
    let output = format!("{{\"scan\":1}}\n{MARKER}{{\"mark\":1}}\n");
    let table: &[(&str, Result<&str, ResultErrorKind>)] = &[
        ("{\"file\": 1}", Ok("{\"file\":1}")),
        ("\u{feff} {\"file\": 1}\n", Ok("{\"file\":1}")),
        ("", Ok("{\"mark\":1}")),
        (" \n", Ok("{\"mark\":1}")),
        ("panic: oh", Err(ResultErrorKind::Invalid)),
        ("[1]", Err(ResultErrorKind::NotAnObject)),
        ("{\"file\":", Err(ResultErrorKind::Truncated)),
        ("{\"file\":{\"x\":1} oops", Err(ResultErrorKind::Invalid)),
        ("{\"file\":1} x", Err(ResultErrorKind::Invalid)),
        ("{\"file\":1} {\"file\":2}", Err(ResultErrorKind::Invalid)),
        ("{'file':1}", Ok("{\"file\":1}")),
        ("({'file':1})", Ok("{\"file\":1}")),
        ("({'file':1},)", Err(ResultErrorKind::NotAnObject)),
        ("'{}'", Err(ResultErrorKind::NotAnObject)),
        ("None", Err(ResultErrorKind::NotAnObject)),
    ];
    for (file, expected) in table {
        for rule in [rule(), off.clone()] {
            assert_eq!(summary(&read_with(rule, output.as_bytes(), file.as_bytes())), *expected, "{file}");
        }
    }
    let found = object(read_with(off.clone(), b"", b"{\"a\":1}"));
    assert_eq!((found.source, found.byte_range), (ResultSource::File, None));
    assert_eq!(summary(&read_with(off, b"{\"scan\":1}", b"")), Err(ResultErrorKind::Empty));
}

#[test]
fn a_file_that_was_cut_leaves_it_to_a_marked_line() {
    let cut = format!("{{\"file\":\"{}", "x".repeat(FILE_MAX_BYTES - 9));
    let whole = format!("{{\"file\":\"{}\"}}", "x".repeat(FILE_MAX_BYTES - 11));
    assert_eq!((cut.len(), whole.len()), (FILE_MAX_BYTES, FILE_MAX_BYTES));
    let output = format!("{MARKER}{{\"mark\":1}}\n");
    assert_eq!(summary(&read_with(rule(), output.as_bytes(), cut.as_bytes())), Ok("{\"mark\":1}"));
    assert_eq!(summary(&read_with(rule(), output.as_bytes(), whole.as_bytes())), Ok(whole.as_str()));
    assert_eq!(summary(&read_with(rule(), b"{\"scan\":1}", cut.as_bytes())), Err(ResultErrorKind::Truncated));
}

#[test]
fn marked_lines_come_before_the_search() {
    let long = format!("M{{\"a\":\"{}\"}}\n", "x".repeat(MARKED_MAX_BYTES - 8));
    let longer = format!("M{{\"a\":\"{}\"}}\n", "x".repeat(MARKED_MAX_BYTES - 7));
    let longest = format!("M{{\"a\":\"{}\"}}\n", "x".repeat(100_000));
    let table: &[(&str, Result<&str, ResultErrorKind>)] = &[
        ("M{\"a\":1}\n{\"scan\":1}\n", Ok("{\"a\":1}")),
        ("M {\"a\": 1} \r\nbye", Ok("{\"a\":1}")),
        ("M{\"a\":1}", Ok("{\"a\":1}")),
        ("M{\"a\":1}\nM{\"a\":2}\n", Ok("{\"a\":2}")),
        ("xM{\"a\":1}\n", Ok("{\"a\":1}")),
        ("xM{\"a\":1}\n{\"scan\":1}\n", Ok("{\"scan\":1}")),
        ("M{\"a\":1}\nM{\"a\":\n{\"scan\":1}\n", Err(ResultErrorKind::Truncated)),
        ("M\n{\"scan\":1}\n", Err(ResultErrorKind::Invalid)),
        ("Moops\n{\"scan\":1}\n", Err(ResultErrorKind::Invalid)),
        ("M[1]\n{\"scan\":1}\n", Err(ResultErrorKind::NotAnObject)),
        ("M+1 {\"a\":\nM+2 1}\nM=2 00\n", Err(ResultErrorKind::Invalid)),
        (&long, Ok(long[1..].trim_end())),
        (&longer, Err(ResultErrorKind::TooLarge)),
        (&longest, Err(ResultErrorKind::TooLarge)),
    ];
    let rule = ReaderRule { marker: "M".to_owned(), ..rule() };
    for (output, expected) in table {
        assert_eq!(summary(&read_with(rule.clone(), output.as_bytes(), b"")), *expected, "{output}");
    }
    let found = object(read_with(rule.clone(), b"noise\nM{\"a\":1}\nM {\"a\":2}\n", b""));
    assert_eq!((found.source, found.byte_range), (ResultSource::MarkedLine, Some((17, 24))));
    assert_eq!(found.warnings, ["2 results are marked; the last one was read"]);
}

#[test]
fn stderr_counts_but_is_not_searched() {
    let mut reader = ResultReader::new(rule());
    for (stream, data) in [
        (LogStream::Stderr, "{\"e\":"),
        (LogStream::Stdout, "x {\"a\""),
        (LogStream::Stderr, "oops } \n"),
        (LogStream::Stdout, ":1}\n"),
        (LogStream::Stderr, "{\"late\":1}"),
    ] {
        reader.push(Some(stream), data.as_bytes());
    }
    let found = object(reader.finish(b""));
    assert_eq!(found.json.as_deref(), Some("{\"a\":1}"));
    assert_eq!(found.byte_range, Some((7, 22)));
}

/// What comes out if `parts` are fed in chunks of the given sizes.
fn chunked(rule: &ReaderRule, parts: &[(bool, Vec<u8>)], sizes: &[usize]) -> ResultOutcome {
    let mut reader = ResultReader::new(rule.clone());
    for (stderr, part) in parts {
        let stream = if *stderr { LogStream::Stderr } else { LogStream::Stdout };
        let mut rest = part.as_slice();
        for size in sizes.iter().cycle() {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            reader.push(Some(stream), chunk);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    reader.finish(b"")
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        "'",
        ":",
        ",",
        " ",
        "\n",
        "(",
        ")",
        "1",
        "-",
        "0.5e",
        "null",
        "NaN",
        "None",
        "True",
        "-Infinity",
        "\"a\":",
        "\"a\"",
        "{\"a\":",
        "{\"b\":1}",
        "{'a': ",
        "{'a'}",
        "\"x{\"",
        "\\u12",
        "MARK-5f2a:",
        "\nMARK-5f2a:{\"m\":1}\n",
        "[{\"a\":1},",
        "b'{'",
        "+",
        "...",
        "'''",
        "0x",
        "1_0.5j",
        "OrderedDict([(",
        "xxxxxxxxxxxxxxxx",
        "\u{1b}[1m",
        "\u{1b}[",
        "{}",
        "<NA>",
        "array([",
        "\" \"",
        "x f(",
        "\u{ff}\u{fe}",
        "oops",
    ]);
    prop_oneof![
        20 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

fn json_object() -> impl Strategy<Value = Value> {
    let members = prop::collection::vec((".{0,3}", json_value()), 0..6);
    members.prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        ".{0,8}".prop_map(Value::from),
        "[{}\\[\\]\":,'\\\\ ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".{0,3}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn chunk_borders_never_matter(
        parts in prop::collection::vec((prop::bool::weighted(0.1), prop::collection::vec(fragment(), 0..20)), 1..4),
        sizes in prop::collection::vec(1usize..20, 1..4),
        max_bytes in 10usize..100, max_depth in 1usize..6,
    ) {
        let parts: Vec<(bool, Vec<u8>)> = parts.into_iter().map(|(stderr, texts)| (stderr, texts.concat())).collect();
        let rule = ReaderRule { max_bytes, max_depth, ..rule() };
        let whole = chunked(&rule, &parts, &[usize::MAX]);
        prop_assert_eq!(&whole, &chunked(&rule, &parts, &sizes));
        prop_assert_eq!(&whole, &chunked(&rule, &parts, &[1]));
        if let ResultOutcome::Found(found) = whole {
            let json = found.json.unwrap();
            prop_assert!(serde_json::from_str::<Value>(&json).unwrap().is_object());
            prop_assert!(json.len() <= max_bytes);
            let all: Vec<u8> = parts.iter().flat_map(|(_, part)| part.iter().copied()).collect();
            let (start, end) = found.byte_range.unwrap();
            prop_assert_eq!((all[start as usize], all[end as usize - 1]), (b'{', b'}'));
        }
    }

    // Before it parentheses or quotes, but not both, and after it none: they could make a tuple or a
    // string of it, or of what is around it.
    #[test]
    fn a_printed_object_is_found_as_it_is(
        value in json_object(), pretty: bool,
        before in prop_oneof!["[^{\\[(]{0,20}", "[^{\\[\"']{0,20}"], after in "[^{\\[)\"']{0,20}",
    ) {
        let compact = value.to_string();
        let printed = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { compact.clone() };
        let found = object(read(format!("{before}{printed}{after}").as_bytes()));
        prop_assert_eq!(found.json, Some(compact));
        prop_assert_eq!(found.byte_range, Some((before.len() as u64, (before.len() + printed.len()) as u64)));
    }

    #[test]
    fn duplicates_are_resolved_as_serde_json_does(members in prop::collection::vec(("[ab]", json_value()), 0..6)) {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{{\"{key}\":0,\"b\":{value}}}")).collect();
        let raw = format!("{{{}}}", members.join(","));
        let expected = serde_json::from_str::<Value>(&raw).unwrap().to_string();
        prop_assert_eq!(compact(raw.into_bytes(), false, usize::MAX).unwrap().0, expected);
    }

    #[test]
    fn every_byte_is_looked_at_a_few_times(texts in prop::collection::vec(fragment(), 0..8), repeat in 1usize..50) {
        let input = texts.concat().repeat(repeat);
        let mut scanner = Scanner::new(&ReaderRule { max_bytes: 200, max_depth: 5, ..rule() }, 0);
        scanner.push(&input);
        prop_assert!(scanner.revisited() <= 6 * input.len() as u64);
    }
}

/// A sentence costs as much as a hundred bytes that are read.
#[test]
fn what_breaks_with_each_byte_is_put_into_words_once() {
    let before = SENTENCES.get();
    let outcome = read("{".repeat(1 << 16).as_bytes());
    assert!(matches!(outcome, ResultOutcome::None(_)), "{outcome:?}");
    assert!(SENTENCES.get() - before <= 2, "{} sentences", SENTENCES.get() - before);
}

#[test]
fn hostile_output_is_linear() {
    const LEN: usize = 1 << 20;
    for pattern in [
        "{",
        "[",
        "{\"a\":",
        "[{\"a\":",
        "{\"",
        "{\"{",
        "{\"x{\"y",
        "{'a': ",
        "{'a': {",
        "{'",
        "{\"a\":None,",
        "{'a':'\n",
        "{'a':{'a':'\n",
        "{\"a\":{}",
        "\\\"{",
        "{\"a\":{\"b\":1}x",
        "[[[[[[\"",
        "{\"\\",
        "-",
        "{\"[[[[[[[[\" ",
        "[\"{\" \"{\" ",
        "[\"{\"b\": {",
        "f({} ",
        "{} ",
        "[\"a\" 'b' ",
        "\u{1b}[1m",
        "{a: {\"b\": 1}, ",
    ] {
        let input = pattern.repeat(LEN / pattern.len());
        let mut scanner = Scanner::new(&ReaderRule { max_bytes: LEN / 4, ..rule() }, 0);
        let mut most = 0;
        for chunk in input.as_bytes().chunks(10_000) {
            scanner.push(chunk);
            most = most.max(scanner.held());
        }
        assert!(scanner.revisited() <= 6 * input.len() as u64, "{pattern}: {}", scanner.revisited());
        assert!(most <= LEN / 4 + 70_000, "{pattern}: {most}");
        let _ = scanner.finish();
    }
}
