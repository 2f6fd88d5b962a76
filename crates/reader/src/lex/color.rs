//! The sequences by which terminals are given colours: `ESC [ 1;32 m`, and `ESC [ K`, which grep
//! and others print beside them.

use super::Taken;

/// Longest sequence, in bytes.
const MAX_BYTES: usize = 32;

/// The sequence that `bytes`, which begins with ESC, begins with.
pub(crate) fn color(bytes: &[u8]) -> Taken {
    for (index, byte) in bytes.iter().take(MAX_BYTES).enumerate() {
        match (index, byte) {
            (0, 0x1b) | (1, b'[') => {}
            (2.., b'0'..=b'9' | b';' | b':') => {}
            (2.., b'm' | b'K') => return Taken::End(index + 1),
            _ => return Taken::Broken(index),
        }
    }
    if bytes.len() < MAX_BYTES { Taken::More(0) } else { Taken::Broken(MAX_BYTES) }
}

/// What stands before the sequence that `bytes` ends with. `None`: it ends with none.
pub(crate) fn color_end(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_suffix(b"m").or_else(|| bytes.strip_suffix(b"K"))?;
    let most = rest.len().saturating_sub(MAX_BYTES);
    let digits = rest.iter().rev().take_while(|byte| matches!(byte, b'0'..=b'9' | b';' | b':')).count();
    let start = rest.len() - digits;
    if start < most {
        return None;
    }
    rest.get(..start)?.strip_suffix(b"\x1b[")
}

#[test]
fn colors_are_known_from_either_end() {
    for (text, len) in [("\u{1b}[m", 3), ("\u{1b}[1;32mx", 7), ("\u{1b}[K", 3), ("\u{1b}[38;5;1m", 9)] {
        assert_eq!(color(text.as_bytes()), Taken::End(len), "{text:?}");
        assert_eq!(color_end(format!("ab{}", &text[..len]).as_bytes()), Some(b"ab".as_slice()), "{text:?}");
    }
    assert_eq!(color(b"\x1b["), Taken::More(0));
    assert_eq!(color(b"\x1b[2J"), Taken::Broken(3));
    assert_eq!(color(b"\x1b]0;"), Taken::Broken(1));
    assert_eq!(color_end(b"[1m"), None);
}
