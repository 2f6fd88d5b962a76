//! What somebody else wrote: read, and shown.

use serde::de::DeserializeOwned;

/// Reads compact JSON of the result reader, whose depth is bounded there.
pub(super) fn deep<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.disable_recursion_limit();
    T::deserialize(&mut deserializer)
}

/// Text of somebody else as it is told: control characters escaped, cut to `max` bytes with a mark.
pub(crate) fn told(text: &str, max: usize) -> String {
    const MARK: &str = "…";
    let mut out = String::new();
    let mut cut = 0;
    for char in text.chars() {
        // The last place where the mark still has room.
        if out.len() + MARK.len() <= max {
            cut = out.len();
        }
        if char.is_control() {
            out.extend(char.escape_debug());
        } else {
            out.push(char);
        }
        if out.len() > max {
            out.truncate(cut);
            out.push_str(MARK);
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, expected) in [("abcdef", "abcdef"), ("abcdefg", "abc…"), ("abü\u{7}", "ab…"), ("ü\nü", "ü\\nü")]
        {
            assert_eq!(told(text, 6), expected);
        }
    }
}
