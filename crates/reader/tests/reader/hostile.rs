//! Ten megabytes of what hurts parsers. That each ends at all, within the stack and the memory of a test, is most of
//! the proof: a reader that is quadratic in any of these needs hours, a recursive one overflows.

use longshore_reader::ResultErrorKind::{self, Empty, Invalid, NotAnObject, TooDeep, TooLarge, Truncated};
use longshore_reader::{ResultDialect, ResultOutcome};

use crate::noise::Random;
use crate::reading::read_chunks;

const SIZE: usize = 10_000_000;

/// `opening`, then as many whole `unit`s as there is room for.
fn shape(opening: &str, unit: &str) -> Vec<u8> {
    [opening.as_bytes(), &unit.as_bytes().repeat((SIZE - opening.len()) / unit.len())].concat()
}

fn read(shape: &[u8]) -> ResultOutcome {
    read_chunks(shape, &mut Random::new(1), 200_000)
}

/// What is not an object, and what may be said of it. More than one: the text is wrong in more than one way.
type Row = (&'static str, &'static str, &'static [ResultErrorKind]);

fn hold(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (opening, unit, kinds) in rows {
        match read(&shape(opening, unit)) {
            ResultOutcome::None(error) if kinds.contains(&error.kind) => {}
            outcome => wrong.push(format!("{opening:?}, then {unit:?} again and again: {outcome:?}, not {kinds:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_opens_json_without_end_is_too_deep() {
    hold(&[
        ("", r#"{"a":"#, &[TooDeep]),
        ("", r#"[{"":"#, &[TooDeep]),
        ("", r#"{"a":["#, &[TooDeep]),
        ("", "{\"a\"\n:\r\n[1, {}, ", &[TooDeep]),
        // The first string ends at its second quote, and the next object begins within it.
        (r#"{"a":""#, r#"{"a":"#, &[TooDeep]),
        // An earlier object does not pass for it.
        (r#"{"ok": true} "#, r#"{"a":"#, &[TooDeep]),
    ]);
}

#[test]
fn what_opens_python_without_end_is_too_deep() {
    hold(&[
        ("", "{'a':", &[TooDeep]),
        ("", r#"{'a':{"b":"#, &[TooDeep]),
        ("", "{'a':({'b':[(", &[TooDeep]),
        ("{'ok': True} ", "{'a':", &[TooDeep]),
        ("{'a':", "(", &[TooDeep]),
    ]);
}

/// Nested sets, sets of lists and the like are wrong long before they are too deep.
#[test]
fn what_opens_without_sense_is_refused() {
    hold(&[
        ("", "{", &[Invalid, Truncated, TooDeep]),
        ("", "({[", &[Invalid, Truncated, TooDeep]),
        ("", "[{(", &[Invalid, Truncated, TooDeep]),
        ("", "{\"", &[Invalid, Truncated]),
        ("", "{'", &[Invalid, Truncated]),
        ("", "{\"\"\"", &[Invalid, Truncated, TooLarge]),
        ("", "{'''", &[Invalid, Truncated, TooLarge]),
        ("", "{r'", &[Invalid, Truncated]),
        ("", "{'a':OrderedDict([(", &[Invalid, Truncated, TooDeep]),
    ]);
}

#[test]
fn quotes_that_never_close_end_with_the_output() {
    hold(&[
        (r#"{""#, "x ", &[Truncated, TooLarge]),
        (r#"{"a":""#, "x ", &[Truncated, TooLarge]),
        (r#"{"a":""#, "\\\\", &[Truncated, TooLarge]),
        (r#"{"a":""#, "\\\"", &[Truncated, TooLarge]),
        (r#"{"a":""#, "é", &[Truncated, TooLarge]),
        ("{'", "x ", &[Truncated, TooLarge]),
        ("{'a':'", "x ", &[Truncated, TooLarge]),
        ("{'a':'", "\\'", &[Truncated, TooLarge]),
        ("{'a':r'", "\\'", &[Truncated, TooLarge]),
        ("{'a':'''", "x '\n", &[Truncated, TooLarge]),
        ("{'a':\"\"\"", "{\"a\": 1} ", &[Truncated, TooLarge]),
        ("{'a':b'", "x ", &[Truncated, TooLarge, Invalid]),
    ]);
}

#[test]
fn objects_that_never_end_are_cut_or_too_large() {
    hold(&[
        ("{", " ", &[Truncated, TooLarge]),
        ("{\"a\":", "9", &[Truncated, TooLarge]),
        ("{\"a\":1", ",\"a\":1", &[Truncated, TooLarge]),
        ("{'a':1", ",'a':1", &[Truncated, TooLarge]),
        ("{'a':", "'' ", &[Truncated, TooLarge]),
        ("{'a':0x", "f", &[Truncated, TooLarge, Invalid]),
        ("{'a':1", "_1", &[Truncated, TooLarge]),
        ("{'a':", "-", &[Invalid]),
        // Its finished children are not the result.
        ("[", "{},", &[Truncated, TooLarge]),
        ("[", "{\"a\":1},\n", &[Truncated, TooLarge]),
        ("{\"rows\":[", "{\"a\":1},\n", &[Truncated, TooLarge]),
    ]);
}

#[test]
fn noise_without_an_object_is_empty() {
    hold(&[
        ("", "\"\"\"", &[Empty]),
        ("", "'''", &[Empty]),
        ("", "\"", &[Empty]),
        ("", "'", &[Empty]),
        ("", "\\", &[Empty]),
        ("", "\0", &[Empty]),
        ("", "\n", &[Empty]),
        ("", "\r", &[Empty]),
        ("", "}])", &[Empty]),
        ("", "(", &[Empty, TooDeep]),
        ("", "[", &[Empty, Truncated, TooDeep]),
        ("", "[\"", &[Empty, Truncated]),
        ("", "[[],", &[Empty, Truncated, TooDeep]),
    ]);
}

fn last_of_many(unit: &str, dialect: ResultDialect) {
    let shape = shape("", unit);
    let ResultOutcome::Found(found) = read(&shape) else { panic!("{:?}", read(&shape)) };
    assert_eq!((found.json.as_deref(), found.dialect), (Some(r#"{"a":1}"#), dialect));
    assert_eq!(found.byte_range, Some(((shape.len() - unit.len()) as u64, shape.len() as u64 - 1)));
}

#[test]
fn of_a_million_small_json_objects_the_last_one_wins() {
    last_of_many("{\"a\":1}\n", ResultDialect::Json);
    last_of_many("{\"a\" :\r\n1}\n", ResultDialect::Json);
}

#[test]
fn of_a_million_small_python_dicts_the_last_one_wins() {
    last_of_many("{'a': 1}\n", ResultDialect::PythonLiteral);
    last_of_many("{'''a''': 1,}\n", ResultDialect::PythonLiteral);
}

#[test]
fn what_is_nested_too_deep_is_reported_though_it_closes() {
    let closed = |opening: &str, inner: &str, closing: &str| {
        let depth = SIZE / (opening.len() + closing.len());
        let shape = [&opening.repeat(depth), inner, &closing.repeat(depth)].concat();
        match read(shape.as_bytes()) {
            ResultOutcome::None(error) => error.kind,
            outcome => panic!("{outcome:?}"),
        }
    };
    assert_eq!(closed(r#"{"a":"#, "1", "}"), TooDeep);
    // A list is not an object however deep.
    assert!(matches!(closed(r#"[{"a":"#, "{}", "}]"), NotAnObject | TooDeep));
    assert!(matches!(closed("[", "", "]"), NotAnObject | TooDeep));
}

/// Of all bytes that mean something, in any order.
#[test]
fn any_order_of_the_bytes_that_count_is_read() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let bytes = b"{}[]()'\",:\\ \n1ar\xff";
        let shape: Vec<u8> = (0..SIZE / 4).map(|_| bytes[random.below(bytes.len())]).collect();
        let _ = read(&shape);
    }
}
