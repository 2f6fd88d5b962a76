//! What a terminal must not act upon: output of programs, and names and messages that others made up.
//!
//! Colours pass, and what ends or overwrites a line. All else that begins a control sequence is shown as an escape:
//! window titles, the clipboard, links and queries that the terminal answers as if somebody typed (OSC, DCS, CSI), the
//! same in single characters (C1), and characters that reorder the text around them.

use longshore_runtime::printable::{is_bidi_control, push_escaped};

/// Longest sequence of colours, in bytes; a longer one is none.
const SEQUENCE_MAX: usize = 32;

/// Filters a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// The beginning of a character or of a sequence.
    pending: Vec<u8>,
}

/// What a text that begins with ESC begins with.
enum Sequence {
    /// One that passes, with its length.
    Passes(usize),
    /// The beginning of one, as far as can be seen.
    Begins,
    /// Another, or none.
    Other,
}

impl Filter {
    /// What may be shown of the next piece. The beginning of a character or of a sequence is kept for the next one.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.pending);
        input.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(input.len());
        let mut end = 0;
        for chunk in input.utf8_chunks() {
            end += chunk.valid().len() + chunk.invalid().len();
            let is_last = end == input.len();
            let rest = push_text(chunk.valid(), is_last && chunk.invalid().is_empty(), &mut out);
            if is_last && (!rest.is_empty() || is_unfinished(chunk.invalid())) {
                self.pending = [rest.as_bytes(), chunk.invalid()].concat();
            } else {
                push_bytes(chunk.invalid(), &mut out);
            }
        }
        out
    }

    /// What is left once nothing more comes.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in std::mem::take(&mut self.pending).utf8_chunks() {
            push_text(chunk.valid(), false, &mut out);
            push_bytes(chunk.invalid(), &mut out);
        }
        out
    }

    /// What may be shown of a whole text.
    pub(super) fn whole(text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        push_text(text, false, &mut out);
        // Nothing but whole characters went in.
        String::from_utf8(out).unwrap_or_default()
    }
}

/// Appends what passes of `text`, up to a sequence that has only begun where it ends, if more may come. Gives the rest.
fn push_text<'t>(text: &'t str, more_may_come: bool, out: &mut Vec<u8>) -> &'t str {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\u{1b}' => match sequence(rest.as_bytes()) {
                Sequence::Passes(length) => taken = length,
                Sequence::Begins if more_may_come => return rest,
                Sequence::Begins | Sequence::Other => taken = 0,
            },
            '\n' | '\r' | '\t' | '\u{8}' => {}
            c if c.is_control() || is_bidi_control(c) => taken = 0,
            _ => {}
        }
        let (passes, after) = match taken {
            0 => {
                let mut escape = String::new();
                push_escaped(c, &mut escape);
                out.extend_from_slice(escape.as_bytes());
                ("", rest.split_at_checked(c.len_utf8()).map_or("", |(_, after)| after))
            }
            taken => rest.split_at_checked(taken).unwrap_or((rest, "")),
        };
        out.extend_from_slice(passes.as_bytes());
        rest = after;
    }
    rest
}

/// Bytes that are no character: to a terminal that reads them one by one some are controls (C1).
fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            0x80..=0x9f => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            byte => out.push(*byte),
        }
    }
}

/// Whether more bytes could make a character of these.
fn is_unfinished(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// `ESC [ 1;32 m` sets colours, and `ESC [ K` clears the rest of a line, which programs print beside them.
fn sequence(bytes: &[u8]) -> Sequence {
    for (index, byte) in bytes.iter().take(SEQUENCE_MAX).enumerate() {
        match (index, byte) {
            (0, 0x1b) | (1, b'[') | (2.., b'0'..=b'9' | b';' | b':') => {}
            (2.., b'm' | b'K') => return Sequence::Passes(index + 1),
            _ => return Sequence::Other,
        }
    }
    if bytes.len() < SEQUENCE_MAX { Sequence::Begins } else { Sequence::Other }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut filter = Filter::default();
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| filter.pass(piece)).collect();
        out.extend(filter.finish());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn colours_and_lines_pass() {
        for text in
            ["\u{1b}[1;31mred\u{1b}[0m\n", "50%\r\u{1b}[K100%\n", "a\tb_\u{8}c", "Zażółć 日本 🦀", "\u{1b}[38:5:1mx"]
        {
            assert_eq!(shown(&[text.as_bytes()]), text);
            assert_eq!(Filter::whole(text), text);
        }
    }

    #[test]
    fn what_a_terminal_would_act_upon_is_shown() {
        for (text, wanted) in [
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("\u{1b}]52;c;ZXZpbA==\u{1b}\\", "\\u001b]52;c;ZXZpbA==\\u001b\\"),
            ("\u{1b}P+q544e\u{1b}\\", "\\u001bP+q544e\\u001b\\"),
            ("\u{1b}[6n\u{1b}[2J\u{1b}[?1049h\u{1b}c", "\\u001b[6n\\u001b[2J\\u001b[?1049h\\u001bc"),
            ("\u{9b}31m\u{9d}0;x\u{9c}", "\\u009b31m\\u009d0;x\\u009c"),
            ("\u{202e}gpj.exe\u{2066}\u{61c}", "\\u202egpj.exe\\u2066\\u061c"),
            ("\u{7f}\u{e}\u{c}", "\\u007f\\u000e\\u000c"),
        ] {
            assert_eq!(shown(&[text.as_bytes()]), wanted);
            assert_eq!(Filter::whole(text), wanted);
        }
        assert_eq!(shown(&[b"\x9b31m\x9d"]), "\\x9b31m\\x9d", "single bytes");
        assert_eq!(Filter::default().pass(b"\xe9t\xe9\n"), b"\xe9t\xe9\n", "Latin 1 is no control");
        let long = format!("\u{1b}[{}m", "1;".repeat(40));
        assert!(shown(&[long.as_bytes()]).starts_with("\\u001b["));
    }

    #[test]
    fn what_is_split_is_put_together() {
        assert_eq!(shown(&[b"\x1b", b"[", b"3", b"1m", b"x"]), "\u{1b}[31mx");
        assert_eq!(shown(&[b"\x1b", b"]0;x"]), "\\u001b]0;x");
        assert_eq!(shown(&[b"\xc3", b"\x80"]), "À");
        assert_eq!(shown(&[b"\xc2", b"\x9b31m"]), "\\u009b31m");
        assert_eq!(shown(&[b"x\x1b[3"]), "x\\u001b[3", "and shown if nothing follows");
        assert_eq!(shown(&[b"\xe2\x80"]), "\u{fffd}\\x80");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_is_the_same_and_harmless(
            bytes in prop::collection::vec(prop_oneof![Just(0x1b), Just(b'['), Just(b'm'), Just(b'1'), Just(0xc2), Just(0x9b), Just(0xe2), Just(0x80), Just(0xae), any::<u8>()], 0..40),
            cut in 0_usize..40,
        ) {
            let cut = cut.min(bytes.len());
            let whole = shown(&[&bytes]);
            prop_assert_eq!(&whole, &shown(&[&bytes[..cut], &bytes[cut..]]));
            let colour = regex::Regex::new("\x1b\\[[0-9;:]*[mK]").unwrap();
            let rest = colour.replace_all(&whole, "");
            prop_assert!(!rest.chars().any(|c| is_bidi_control(c) || c.is_control() && !"\n\r\t\u{8}".contains(c)), "{:?}", rest);
        }
    }
}
