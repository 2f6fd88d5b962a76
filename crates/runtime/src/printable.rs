//! Characters that a terminal, or a reader of a log line by line, would act upon.

/// Whether this is more than a character to be seen: it moves the cursor, begins a control sequence
/// (C0 and C1 of ISO 6429, and DEL), ends a line, or reorders the text around it.
#[must_use]
pub fn is_control(c: char) -> bool {
    c.is_control() || is_bidi_control(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether this reorders the text around it (the Bidi_Control characters of Unicode).
#[must_use]
pub fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends `c` as an escape of four hexadecimal digits, such as `\u001b`, as JSON has it too.
pub fn push_escaped(c: char, out: &mut String) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// `text` with every character of [`is_control`] escaped: ends of lines and tabs as `\n`, `\r` and `\t`, the others as
/// [`push_escaped`] does. A backslash stays as it is, since this is to be read and not to be read back.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_control(c) => push_escaped(c, &mut out),
            c => out.push(c),
        }
    }
    out
}

/// A text of JSON whose strings have their control characters escaped, those too that JSON lets stand.
#[must_use]
pub fn escaped_json(json: String) -> String {
    // Those below 32 stand only between tokens, where they are white space; all others only in strings.
    let must = |c: char| is_control(c) && c >= '\u{7f}';
    if !json.contains(must) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match must(c) {
            true => push_escaped(c, &mut out),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_act_upon() {
        assert_eq!(escaped("a\nb\r\t\u{1b}]0;x\u{7}"), "a\\nb\\r\\t\\u001b]0;x\\u0007");
        assert_eq!(
            escaped("\u{9b}31m \u{202e}abc\u{2069} \u{2028}\u{61c}\u{7f}"),
            "\\u009b31m \\u202eabc\\u2069 \\u2028\\u061c\\u007f"
        );
        assert_eq!(escaped("Zażółć \\n 日本 🦀"), "Zażółć \\n 日本 🦀");
    }

    #[test]
    fn json_stays_what_it_was() {
        let value = serde_json::json!({"a\u{9b}": "\u{202e}\n\u{7f}é"});
        let text = escaped_json(serde_json::to_string_pretty(&value).unwrap());
        assert!(text.chars().all(|c| c == '\n' || !is_control(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
