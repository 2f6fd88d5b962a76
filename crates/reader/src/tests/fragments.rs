//! A part of an object is never taken for the whole of it without a warning, whatever stands around it.

use super::*;

/// What stands around objects, and looks like the beginning or the end of something.
const NOISE: &[&str] = &[
    "[",
    "(",
    "{",
    "]",
    ")",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "`",
    "\\",
    ",",
    ":",
    " ",
    "\n",
    "\r",
    "a",
    "b",
    "r'",
    "u\"",
    "1",
    "-",
    "argv ",
    "x=",
    "f(",
    "[1, ",
    "[\"a\", ",
    "(\"a\" ",
    "['it",
    "{\"k\": ",
    "{'k': [",
    "{\"",
    "{a: ",
    "OrderedDict(",
    "True",
    "null",
    "# ",
    "<",
    "\u{1b}[1m",
    "é",
    "[INFO] ",
    "Result: ",
    "it's ",
    "[\"",
    "['",
    "(\"",
    "('",
    "{'",
];

/// Keys and texts that mean something else if a quote is taken for its opposite.
const WORDS: &[&str] = &[
    "",
    "a",
    "b",
    "r",
    "u",
    "f",
    "rb",
    "B",
    ",",
    ":",
    "]",
    "}",
    ")",
    "[",
    "{",
    "(",
    " ",
    "1",
    "None",
    "null",
    "a b",
    "it's",
    "x\"y",
    ", ",
    ": ",
    "], [",
    "}, {",
    "{'y': 1}",
    "{\"y\": 1}",
    "say {'a': 1} now",
    "\\",
    "b'",
    "#",
    "-",
    "é",
    "...",
    "set(",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(WORDS).prop_map(str::to_owned),
        1 => prop::collection::vec(prop::sample::select(WORDS), 2..4).prop_map(|words| words.concat()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![word().prop_map(Value::from), any::<i8>().prop_map(Value::from), Just(Value::Null)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            2 => members(inner.clone()),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec((word(), value), 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn noise() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(NOISE), 0..5).prop_map(|noise| noise.concat())
}

/// As Python's `repr` prints it.
fn python(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::String(text) => {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            out.push(quote);
            for char in text.chars() {
                out.extend((char == '\\' || char == quote).then_some('\\'));
                out.push(char);
            }
            out.push(quote);
        }
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                python(value, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                python(&Value::from(key.as_str()), out);
                out.push_str(": ");
                python(value, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// What is wrong with what is read of `before`, the object, `after`.
fn judged(before: &str, printed: &str, after: &str) -> Result<(), String> {
    let output = format!("{before}{printed}{after}");
    let (start, end) = (before.len() as u64, (before.len() + printed.len()) as u64);
    let ResultOutcome::Found(found) = read(output.as_bytes()) else { return Ok(()) };
    let (from, to) = found.byte_range.unwrap();
    let part = from >= start && to <= end && (from, to) != (start, end);
    if !part || !found.warnings.is_empty() {
        return Ok(());
    }
    Err(format!("{output:?}: {:?} at {from}..{to} is a part of {printed:?}, without a warning", found.json))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_part_is_never_taken_for_the_whole(
        object in members(value()), before in noise(), after in noise(), form in 0..3,
    ) {
        let mut printed = String::new();
        match form {
            0 => printed = object.to_string(),
            1 => printed = serde_json::to_string_pretty(&object).unwrap(),
            _ => python(&object, &mut printed),
        }
        let judged = judged(&before, &printed, &after);
        prop_assert!(judged.is_ok(), "{}", judged.unwrap_err());
    }
}

#[test]
fn what_begins_within_a_value_that_broke_is_whole_or_warned_of() {
    for (before, printed, after) in [
        ("argv [\"a\", \"", "{\"b\": {\"x\": 1}, \"c\": 2}", "\"]"),
        ("argv [\"a\", \"", "{\"r\": {\"x\": 1}, \"c\": 2}", "\"]"),
        ("['", "{'u': {'x': 1}, 'c': 2}", "']"),
        ("(\"", "{\"\": {\"x\": 1}, \"c\": 2}", "\")"),
        ("[\"", "{\"]\": {\"x\": 1}, \"c\": 2}", ""),
        ("[\"", "{\"]\": \"say {'a': 1} now\"}", ""),
        ("[\"", "{\", \": {\"x\": 1}, \"c\": 2}", ""),
        ("[\"", "{\", \": \"say {'a': 1} now\"}", ""),
        ("", "{ meta: {'x': 0}, '$id': 239 }", ""),
        ("", "{ meta: {'x': 0}", ""),
        ("", "{\n  meta: {'x': 0},\n  id: 1\n}", ""),
        ("", "TrainOutput(global_step=500, metrics={'a': 3.0})", ""),
        ("", "TrainOutput(\n  global_step=500,\n  metrics={'a': 3.0}\n)", ""),
    ] {
        assert_eq!(judged(before, printed, after), Ok(()));
    }
}
