//! JSON's text of what stands in Python's quotes.

use std::borrow::Cow;

use super::super::compact::Changes;
use super::super::lex::plain_len;
use super::Unreadable;

/// Writes what stands between the quotes of a string, which the syntax accepts.
pub(super) fn write(
    content: &[u8],
    raw: bool,
    is_utf8: bool,
    max_bytes: usize,
    out: &mut Vec<u8>,
    changes: &mut Changes,
) -> Result<(), Unreadable> {
    let text = match is_utf8 || str::from_utf8(content).is_ok() {
        true => Cow::Borrowed(content),
        false => {
            changes.not_utf8 += content.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count() as u64;
            Cow::Owned(String::from_utf8_lossy(content).into_owned().into_bytes())
        }
    };
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let plain = plain_len(rest, b'"');
        out.extend_from_slice(rest.get(..plain).unwrap_or_default());
        let rest = rest.get(plain..).unwrap_or_default();
        at += plain;
        at += match rest.first() {
            Some(b'\\') if raw => {
                out.extend_from_slice(b"\\\\");
                1
            }
            Some(b'\\') => {
                let len = escape(rest, out, changes).map_err(|what| Unreadable::At(at, what))?;
                changes.odd_escapes += u64::from(is_odd(rest));
                len
            }
            // In quotes of three, every end of a line is one line feed.
            Some(b'\r') => {
                out.extend_from_slice(b"\\n");
                if rest.get(1) == Some(&b'\n') { 2 } else { 1 }
            }
            Some(byte) => {
                push_char(char::from(*byte), out);
                1
            }
            None => 0,
        };
        if out.len() > max_bytes {
            return Err(Unreadable::TooLarge);
        }
    }
    Ok(())
}

/// Writes what the escape stands for that `rest` begins with; says how long it is.
fn escape(rest: &[u8], out: &mut Vec<u8>, changes: &mut Changes) -> Result<usize, &'static str> {
    let byte = rest.get(1).copied().unwrap_or(b'\\');
    let plain = match byte {
        b'\n' => return Ok(2),
        b'\r' => return Ok(if rest.get(2) == Some(&b'\n') { 3 } else { 2 }),
        b'\\' | b'\'' | b'"' => byte,
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'0'..=b'7' => {
            let digits = rest.iter().skip(1).take(3).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
            push_code(code(rest, 1, digits, 8), out, changes);
            return Ok(1 + digits);
        }
        b'x' => return Ok(hex(rest, 2, out, changes)),
        b'u' => return Ok(hex(rest, 4, out, changes)),
        b'U' => return Ok(hex(rest, 8, out, changes)),
        b'N' => return named(rest, out),
        // What is not an escape is a backslash.
        _ => {
            out.extend_from_slice(b"\\\\");
            return Ok(1);
        }
    };
    push_char(char::from(plain), out);
    Ok(2)
}

/// Whether no `repr` writes the escape that `rest` begins with. What JSON has too is one that programs
/// write, and so is `\'`.
fn is_odd(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\' | b'\'' | b'"' | b'n' | b'r' | b't' | b'u' | b'U') => false,
        Some(b'x') => matches!(code(rest, 2, 2, 16), 0x20..0x7f),
        _ => true,
    }
}

fn hex(rest: &[u8], digits: usize, out: &mut Vec<u8>, changes: &mut Changes) -> usize {
    push_code(code(rest, 2, digits, 16), out, changes);
    2 + digits
}

fn code(rest: &[u8], from: usize, digits: usize, base: u32) -> u32 {
    let digits = rest.get(from..from + digits).unwrap_or_default();
    str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, base).ok()).unwrap_or(u32::MAX)
}

/// What is not a character is half of a surrogate pair.
fn push_code(code: u32, out: &mut Vec<u8>, changes: &mut Changes) {
    match char::from_u32(code) {
        Some(char) => push_char(char, out),
        None => {
            changes.surrogates += 1;
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn named(rest: &[u8], out: &mut Vec<u8>) -> Result<usize, &'static str> {
    let name = rest.get(3..).unwrap_or_default();
    let len = name.iter().take_while(|byte| **byte != b'}').count();
    let name = name.get(..len).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
    // The crate does not mind where the spaces are; Python does.
    let exact =
        |char: &char| unicode_names2::name(*char).is_some_and(|known| known.to_string().eq_ignore_ascii_case(name));
    let char = unicode_names2::character(name).filter(exact).ok_or("the name of a character that is not known")?;
    push_char(char, out);
    Ok(3 + len + 1)
}

fn push_char(char: char, out: &mut Vec<u8>) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        '\0'..'\x20' => out.extend_from_slice(format!("\\u{:04x}", u32::from(char)).as_bytes()),
        _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}
