//! Which of several objects is the result, by where they stand.

use super::*;

/// The object or the kind of error, and what is warned of.
fn summary_and_warnings(output: &str) -> (Result<String, ResultErrorKind>, String) {
    match read(output.as_bytes()) {
        ResultOutcome::Found(found) => (Ok(found.json.unwrap()), found.warnings.join("; ")),
        other => (summary(&other).map(str::to_owned), String::new()),
    }
}

/// Output, the object, and a part of each warning that is wanted, in their order; none wanted: none
/// reported.
fn check(table: &[(&str, &str, &[&str])]) {
    for (output, object, warnings) in table {
        let (found, warned) = summary_and_warnings(output);
        assert_eq!(found.as_deref(), Ok(*object), "{output}");
        assert_eq!(warned.is_empty(), warnings.is_empty(), "{output}: {warned}");
        for warning in *warnings {
            assert!(warned.contains(warning), "{output}: {warned}");
        }
    }
}

const CALL: &str = "in quotes or in a call";
const EARLIER: &str = "an earlier object that is alone on its lines";
const PART: &str = "it may be a part of it";

#[test]
fn empty_braces_in_a_line_of_text_replace_nothing() {
    check(&[
        ("{\"a\":1}\nWARN Not reusing resource {} due to {}\n", "{\"a\":1}", &[]),
        ("{\"a\":1}\n{} is what was given", "{\"a\":1}", &[]),
        ("{\"a\":1}\nparams={ }", "{\"a\":1}", &[]),
        ("{\"a\":1} {}\n", "{\"a\":1}", &[]),
        ("{\"a\":1}\nOrderedDict() x\n", "{\"a\":1}", &[]),
        ("{\"a\":1}\n{}\n", "{}", &[]),
        ("{\"a\":1}\n  { } ", "{}", &[]),
        ("{\"a\":1}\n\u{1b}[1m{}\u{1b}[0m\r\n", "{}", &[]),
        ("{\"a\":1}\n{} {}\n{\"b\":2}", "{\"b\":2}", &[]),
        ("total {\"a\":1}\nx {} y {\"b\":2} {}", "{\"b\":2}", &[]),
        ("WARN {} due to {}\n", "{}", &["empty braces"]),
        ("{} due\n{\"a\":1}", "{\"a\":1}", &[]),
    ]);
}

#[test]
fn an_object_in_a_call_or_in_quotes_replaces_no_other() {
    check(&[
        ("{\"a\":1}\nTrainOutput(step=5, metrics={'b': 2})\n", "{\"a\":1}", &["a later object in quotes or in a call"]),
        ("total: {\"a\":1}\nsaid \"{'b': 2}\"\n", "{\"a\":1}", &["a later object in quotes or in a call"]),
        ("TrainOutput(step=5, metrics={'b': 2})\n", "{\"b\":2}", &[CALL]),
        ("TrainOutput(step=5, metrics={'b': 2}", "{\"b\":2}", &[CALL]),
        ("f({'a': 1})\ng(x, {'b': 2})\n", "{\"b\":2}", &[CALL]),
        ("f({'a': 1})\n{'b': 2}\n", "{\"b\":2}", &[]),
        ("TrainOutput(\n  step=5,\n  metrics={'b': 2}\n)\n", "{\"b\":2}", &[PART]),
        // A call that is over, and what is not a call.
        ("f(1): {'b': 2}\n", "{\"b\":2}", &[]),
        ("done :( sorry\n{'b': 2}\n", "{\"b\":2}", &[]),
        ("({'b': 2})", "{\"b\":2}", &[]),
    ]);
}

#[test]
fn an_object_in_a_line_of_text_replaces_one_that_is_alone_with_a_warning() {
    check(&[
        ("{\"a\":1}\ndone in 3 s: {\"b\":2} bye\n", "{\"b\":2}", &[EARLIER]),
        ("{\"a\":1}\n{\"b\":2} bye\n", "{\"b\":2}", &[EARLIER]),
        ("{\"a\":1}\nx {\"b\":2}\ny {\"c\":3}\n", "{\"c\":3}", &[EARLIER]),
        ("{\"a\":1}\nx {\"b\":2}\n{\"c\":3}\n", "{\"c\":3}", &[]),
        ("step {\"a\":1}\nstep {\"b\":2}\n", "{\"b\":2}", &[]),
        ("{\"a\":1}{\"b\":2}\n", "{\"b\":2}", &[]),
        ("{\"a\":1}\n{\n \"b\": 2\n}\n", "{\"b\":2}", &[]),
        (" 99%\r100%\r{\"a\":1}\n50%\r{\"b\":2}\r", "{\"b\":2}", &[]),
    ]);
}

#[test]
fn what_may_be_a_part_of_something_else_is_warned_of() {
    check(&[
        ("{ meta: {'x': 0}, id: 1 }\n", "{\"x\":0}", &[PART]),
        ("{ meta: {'x': 0}\n", "{\"x\":0}", &[PART]),
        ("{\n  meta: {'x': 0},\n  id: 1\n}\n", "{\"x\":0}", &[PART]),
        ("meta: {'x': 0}, id: 1", "{\"x\":0}", &[PART]),
        ("{'x': 0} }", "{\"x\":0}", &[PART]),
        ("[INFO] use {braces} and (parentheses) {'x': 0} as {you} like (or not)\n", "{\"x\":0}", &[]),
        ("use { or ( as you like\n{'x': 0}\n", "{\"x\":0}", &[]),
    ]);
}

#[test]
fn a_list_alone_on_its_lines_is_no_object() {
    for (output, kind) in [
        ("Now using node v20 (npm v10)\n[{\"type\":\"a\"}]\n", ResultErrorKind::NotAnObject),
        ("go\n[\n  {\"a\": 1}\n]\nbye\n", ResultErrorKind::NotAnObject),
        ("use {braces}\n(1, {'a': 1})\n", ResultErrorKind::NotAnObject),
        ("step [1, 2]\n", ResultErrorKind::Empty),
        ("[1, 2] done\n", ResultErrorKind::Empty),
        ("[1]\n{\"a\": x}\n", ResultErrorKind::Invalid),
    ] {
        assert_eq!(summary_and_warnings(output).0, Err(kind), "{output}");
    }
}

#[test]
fn colours_may_stand_between_words() {
    check(&[
        ("x \u{1b}[1m{\u{1b}[0m\u{1b}[32m\"a\"\u{1b}[0m: \u{1b}[1m[\u{1b}[0m\u{1b}[1m]\u{1b}[0m}", "{\"a\":[]}", &[]),
        ("\u{1b}[1;39m{\n  \u{1b}[34;1m\"a\"\u{1b}[0m:\u{1b}[0;39m1\u{1b}[0m}\u{1b}[m\n", "{\"a\":1}", &[]),
        ("\u{1b}[31m{'a'\u{1b}[K: \u{1b}[3mNone\u{1b}[0m, 'b': 'x' \u{1b}[0m 'y'}\n", "{\"a\":null,\"b\":\"xy\"}", &[]),
        ("\u{1b}[31m[{'a': x\u{1b}[0m\n{'b': 1}", "{\"b\":1}", &["left out"]),
    ]);
    assert_eq!(summary(&read(b"{\"a\": \x1b[2J 1}")), Err(ResultErrorKind::Invalid));
    let file = "\u{1b}[1m{\"a\":\u{1b}[0m1}\u{1b}[0m\n";
    assert_eq!(summary(&read_with(rule(), b"", file.as_bytes())), Ok("{\"a\":1}"));
}

#[test]
fn the_whole_word_that_cannot_stand_there_is_shown() {
    for (output, shown) in [
        ("{'a': undefined}", "found `undefined` after `{'a': `"),
        ("{'a': <Model at 0x1>, 'b': 1}", "found `<Model at 0x1>` after"),
        ("{'a': foo.Bar(1)}", "found `foo.Bar` after"),
        ("{\"a\": 12abc}", "found `abc` after `{\"a\": 12`"),
        ("{\"a\": true, \"b\": None}", "found `None` after"),
        ("{\"a\": 1 \"b\": 2}", "found `\"`"),
        ("{\"a\": é}", "found `é` after"),
    ] {
        let message = error(read(output.as_bytes())).message;
        assert!(message.contains(shown), "{output}: {message}");
        let pieces = chunked(&rule(), &[(false, output.as_bytes().to_vec())], &[1]);
        assert_eq!(error(pieces).message, message);
    }
}

#[test]
fn utf_16_is_read_and_gzip_is_named() {
    let utf16 =
        |text: &str| -> Vec<u8> { format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let found = object(read(&utf16("los\r\n{\"a\": \"straße\"}\r\n")));
    assert_eq!((found.json.as_deref(), found.byte_range), (Some("{\"a\":\"straße\"}"), None));
    assert_eq!(summary(&read(&utf16(&format!("x\n{MARKER}{{\"a\": 1}}\r\n")))), Ok("{\"a\":1}"));
    assert_eq!(summary(&read_with(rule(), b"", &utf16("{\"a\": 1}\r\n"))), Ok("{\"a\":1}"));
    let broken = error(read_with(rule(), b"", &utf16("{\"a\": x}\r\n")));
    assert_eq!((broken.kind, broken.position), (ResultErrorKind::Invalid, None));
    assert!(broken.message.contains("found `x`") && broken.message.contains("UTF-16"), "{}", broken.message);
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\x56\x4a\x54";
    for outcome in [read(gzip), read_with(rule(), b"", gzip)] {
        let error = error(outcome);
        assert_eq!(error.kind, ResultErrorKind::Invalid);
        assert!(error.message.contains("gzip"), "{}", error.message);
    }
    let cut = error(read(b"\xff\xfe\x01\x02\x03\x04"));
    assert!(cut.message.contains("UTF-16"), "{}", cut.message);
}

#[test]
fn stderr_before_the_first_bytes_does_not_hide_utf_16() {
    let text: Vec<u8> = "\u{feff}{\"a\": 1}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut reader = ResultReader::new(rule());
    reader.push(Some(LogStream::Stderr), b"oops\n");
    reader.push(Some(LogStream::Stdout), &text);
    reader.push(Some(LogStream::Stderr), b"oops\n");
    assert_eq!(summary(&reader.finish(b"")), Ok("{\"a\":1}"));
}
