//! JSON text taken apart and laid out as text: numbers keep their digits, and no depth is too much.

use serde::de::IgnoredAny;

/// Whether the text is one JSON object.
pub(crate) fn is_object(text: &str) -> bool {
    text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The values of an array. `None` for anything else. The text must be JSON.
pub(crate) fn elements(text: &str) -> Option<Vec<&str>> {
    Some(parts(text.strip_prefix('[')?.strip_suffix(']')?))
}

/// The value of an object's member; the last one, if there are several. The text must be JSON.
pub(crate) fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let members = parts(text.strip_prefix('{')?.strip_suffix('}')?);
    members.into_iter().rev().find_map(|part| {
        let (name, rest) = part.split_at_checked(end_of_string(part.as_bytes(), 0))?;
        let name: String = serde_json::from_str(name).ok()?;
        (name == key).then(|| rest.trim_ascii_start().strip_prefix(':').map(str::trim_ascii)).flatten()
    })
}

/// What stands between the commas that are not within something.
fn parts(inside: &str) -> Vec<&str> {
    let bytes = inside.as_bytes();
    let (mut parts, mut start, mut depth, mut at) = (Vec::new(), 0, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(inside.get(start..at).unwrap_or_default().trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    let last = inside.get(start..).unwrap_or_default().trim_ascii();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

/// One past the closing quote of the string that opens at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

/// Appends the text with its values on lines of their own, as serde_json does; `depth` is that of the line it stands on.
/// The text must be JSON.
pub(super) fn push_indented(out: &mut String, text: &str, depth: usize) {
    let bytes = text.as_bytes();
    let mut depth = depth;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = if *byte == b'"' { end_of_string(bytes, at) } else { at + 1 };
        let token = text.get(at..end).unwrap_or_default();
        at = end;
        match byte {
            b'{' | b'[' => {
                out.push(char::from(*byte));
                at += bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                if !matches!(bytes.get(at), Some(b'}' | b']')) {
                    depth += 1;
                    push_line(out, depth);
                } else if let Some(close) = bytes.get(at) {
                    out.push(char::from(*close));
                    at += 1;
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                push_line(out, depth);
                out.push(char::from(*byte));
            }
            b',' => {
                out.push(',');
                push_line(out, depth);
            }
            b':' => out.push_str(": "),
            byte if byte.is_ascii_whitespace() => {}
            _ => out.push_str(token),
        }
    }
}

fn push_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_objects_are_taken_apart() {
        let text = r#"{"a":[1,"x,]\"",{"b":[2,3]}],"é":-0.0,"a\u0062":123456789012345678901234567890}"#;
        assert_eq!(elements(member(text, "a").unwrap()).unwrap(), ["1", r#""x,]\"""#, r#"{"b":[2,3]}"#]);
        assert_eq!(member(text, "é"), Some("-0.0"));
        assert_eq!(member(text, "ab"), Some("123456789012345678901234567890"));
        assert_eq!(member(text, "b"), None, "that of another object");
        assert_eq!(member(r#"{"a":1,"a":2}"#, "a"), Some("2"));
        assert_eq!(member(r#"{ "a" : [ 1 , 2 ] }"#, "a"), Some("[ 1 , 2 ]"));
        assert_eq!((elements("[]"), elements("[ ]"), elements("{}")), (Some(vec![]), Some(vec![]), None));
        assert_eq!(member("[]", "a"), None);
    }

    #[test]
    fn what_is_no_json_is_no_panic() {
        for wrong in ["", "{", "{\"", "{\"a", "{\"a}", "[\"\\", "[\"\\\"]", "{\"é\\}", "[,]", "}{", "{:}"] {
            assert!(!is_object(wrong));
            let _ = (elements(wrong), member(wrong, "a"));
            push_indented(&mut String::new(), wrong, 3);
        }
        assert!(!is_object("[]") && !is_object("{} {}") && is_object("{}"));
        assert!(is_object(&format!("{}{}{}", "{\"a\":".repeat(5_000), "1", "}".repeat(5_000))), "deep");
    }

    #[test]
    fn the_layout_is_serdes_own() {
        for text in [
            "{}",
            r#"{"a":[],"b":{},"c":[1,{"d":"x: {,}\" é"}],"e":null,"f":[[[]]],"g":1.5}"#,
            r#"{ "a" : [ 1 , [ ] ] }"#,
        ] {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let mut indented = String::new();
            push_indented(&mut indented, text, 0);
            assert_eq!(indented, serde_json::to_string_pretty(&value).unwrap());
        }
        let mut exact = String::new();
        push_indented(&mut exact, "{\"n\":1.10e400}", 1);
        assert_eq!(exact, "{\n    \"n\": 1.10e400\n  }");
    }
}
