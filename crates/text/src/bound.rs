//! Texts in bounds. Bounds are in bytes, and a text that is cut ends with a mark within its bound.

const MARK: &str = "…";

/// `text` in at most `max` bytes, cut between characters.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max.saturating_sub(MARK.len()));
    format!("{}{MARK}", text.get(..end).unwrap_or_default())
}

/// Text of somebody else: control characters escaped, cut to `max` bytes between characters, and never within an
/// escape.
#[must_use]
pub fn escaped(text: &str, max: usize) -> String {
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
            assert_eq!(escaped(text, 6), expected);
        }
        for (text, expected) in [("abcdef", "abcdef"), ("abcdefg", "abc…"), ("abüdefg", "ab…"), ("", "")] {
            assert_eq!(cut(text, 6), expected);
        }
    }
}
