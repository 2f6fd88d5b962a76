//! What `serde_json` reads as an object, written as Python would print it, is found and equal.

#![no_main]

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use longshore_fuzz::noise::{Random, noise};
use longshore_fuzz::reading::{read_chunks, read_file, read_output};
use longshore_fuzz::{assert_found, line_of_its_own, object};
use serde_json::Value;

/// `repr`, with the freedom that Python's grammar leaves. `serde_json` bounds the depth.
fn print(value: &Value, random: &mut Random, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => write!(out, "{number}").unwrap(),
        Value::String(text) => print_text(text, random, out),
        Value::Array(values) => {
            let (opening, closing) = if random.below(2) == 0 { ('[', ']') } else { ('(', ')') };
            out.push(opening);
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                print(value, random, out);
            }
            // A tuple of one needs it; elsewhere it may stand.
            out.push_str(if !values.is_empty() && (values.len() == 1 || random.below(4) == 0) { "," } else { "" });
            out.push(closing);
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { random.pick(&[",", ", ", ",\n "]) } else { "" });
                print_text(key, random, out);
                out.push_str(random.pick(&[":", ": ", " :\x0c"]));
                print(value, random, out);
            }
            out.push('}');
        }
    }
}

fn print_text(text: &str, random: &mut Random, out: &mut String) {
    let quote = random.pick(&["'", "\"", "'''", "\"\"\""]);
    out.push_str(random.pick(&["", "", "u"]));
    out.push_str(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' if quote.len() == 3 && random.below(2) == 0 => out.push('\n'),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0'..' ' => write!(out, "\\x{:02x}", u32::from(character)).unwrap(),
            '\'' | '"' if quote.starts_with(character) => {
                out.push('\\');
                out.push(character);
            }
            _ => match random.below(12) {
                0 if u32::from(character) < 0x100 => write!(out, "\\x{:02X}", u32::from(character)).unwrap(),
                1 if u32::from(character) < 0x1_0000 => write!(out, "\\u{:04x}", u32::from(character)).unwrap(),
                2 => write!(out, "\\U{:08x}", u32::from(character)).unwrap(),
                3 if u32::from(character) < 0o400 => write!(out, "\\{:03o}", u32::from(character)).unwrap(),
                // Two texts side by side are one.
                4 => write!(out, "{quote}{}{quote}{character}", random.pick(&[" ", "\n", "  "])).unwrap(),
                _ => out.push(character),
            },
        }
    }
    out.push_str(quote);
}

fuzz_target!(|data: &[u8]| {
    let Some(expected) = object(data) else { return };
    let mut random = Random::new(data.iter().fold(1, |hash, &byte| hash * 31 % 1_000_003 + u64::from(byte)));
    let mut text = String::new();
    print(&expected, &mut random, &mut text);
    assert_found(&read_file(text.as_bytes()), &expected);
    assert_found(&read_output(text.as_bytes()), &expected);
    let line = line_of_its_own(&expected);
    let output = [&noise(&mut random, true), line, text.as_bytes(), line, &noise(&mut random, false)].concat();
    assert_found(&read_chunks(&output, &mut random, 64), &expected);
});
