//! A place in a text for people: its line and column, and the text around it with a caret below.

use std::io;

use unicode_width::UnicodeWidthChar;

use super::source::SourceText;
use longshore_runtime::printable::is_bidi_control;

/// The most columns that are shown of a line.
const WIDTH: usize = 70;
/// The most of them before the place.
const WIDTH_BEFORE: usize = 44;
/// How many bytes are looked at on each side: more than the columns take, even with accents.
const WINDOW_BYTES: usize = 512;
/// How much white space at the end is passed over.
const BLANK_END_BYTES: usize = 4096;

/// A place in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TextPlace {
    /// From 1; a line ends in a line feed.
    line: u64,
    /// From 1, in characters.
    column: u64,
    /// From 0, in the whole text.
    byte: u64,
    /// What is shown of the line.
    excerpt: String,
    /// Columns of the excerpt before the place.
    before: usize,
}

impl TextPlace {
    /// Looks byte `position` of the text up. The end of a text is reported as the end of its last line that is not
    /// blank.
    pub(super) fn find(text: &mut SourceText, position: u64) -> io::Result<Self> {
        let byte = position.min(text.len());
        let at = if byte == text.len() { end_of_words(text)? } else { byte };
        let (mut line, mut column, mut line_start, mut passed) = (1, 1, 0, 0);
        text.first(at, |data| {
            let lines = memchr::memchr_iter(b'\n', data).count() as u64;
            let of_line = match memchr::memrchr(b'\n', data) {
                Some(last) => {
                    (line, column, line_start) = (line + lines, 1, passed + last as u64 + 1);
                    data.get(last + 1..).unwrap_or_default()
                }
                None => data,
            };
            column += of_line.iter().filter(|byte| !is_continuation(**byte)).count() as u64;
            passed += data.len() as u64;
        })?;
        let (excerpt, before) = excerpt(text, line_start, at)?;
        Ok(Self { line, column, byte, excerpt, before })
    }

    /// Three lines: where it is in the text called `name`, the text there, and the caret, which `paint` may colour.
    pub(super) fn describe(&self, name: &str, paint: impl Fn(&str) -> String) -> String {
        let Self { line, column, byte, excerpt, before } = self;
        format!(
            "  {name}, line {line}, column {column} (byte {byte}):\n    {excerpt}\n    {:before$}{}",
            "",
            paint("^")
        )
    }
}

/// Just behind the last byte that is not white space.
fn end_of_words(text: &mut SourceText) -> io::Result<u64> {
    let from = text.len().saturating_sub(BLANK_END_BYTES as u64);
    let end = text.at(from, BLANK_END_BYTES)?;
    let word = end.iter().rposition(|byte| !byte.is_ascii_whitespace());
    Ok(word.map_or(text.len(), |last| from + last as u64 + 1))
}

/// What is shown of the line that begins at `line_start`, and how many columns of it are before byte `at`.
fn excerpt(text: &mut SourceText, line_start: u64, at: u64) -> io::Result<(String, usize)> {
    let from = line_start.max(at.saturating_sub(WINDOW_BYTES as u64));
    let bytes = text.at(from, usize::try_from(at - from).unwrap_or_default())?;
    // A window that begins within a character begins with the next one.
    let inside = if from > line_start { bytes.iter().take(3).take_while(|b| is_continuation(**b)).count() } else { 0 };
    let left = glyphs(bytes.get(inside..).unwrap_or_default(), false);

    let bytes = text.at(at, WINDOW_BYTES)?;
    let (line, cut) = match memchr::memchr(b'\n', &bytes) {
        Some(end) => (bytes.get(..end).unwrap_or_default(), false),
        None => (bytes.as_slice(), at + (bytes.len() as u64) < text.len()),
    };
    let right = glyphs(line.strip_suffix(b"\r").unwrap_or(line), cut);

    let mut shown = String::new();
    let whole = columns(&left);
    let before = if from > line_start || whole > WIDTH_BEFORE {
        let mut room = WIDTH_BEFORE - 1;
        let kept = left.iter().rev().take_while(|glyph| fits(&mut room, glyph.width)).count();
        shown.push('…');
        let kept = left.get(left.len() - kept..).unwrap_or_default();
        shown.extend(kept.iter().map(|glyph| glyph.shown.as_str()));
        1 + columns(kept)
    } else {
        shown.extend(left.iter().map(|glyph| glyph.shown.as_str()));
        whole
    };
    push_clipped(&mut shown, &right, WIDTH - before, cut);
    Ok((shown, before))
}

/// The start of some bytes in at most `width` columns, on one line; `more` says that they go on.
pub(super) fn preview(bytes: &[u8], width: usize, more: bool) -> String {
    let mut shown = String::new();
    push_clipped(&mut shown, &glyphs(bytes, more), width, more);
    shown
}

/// Appends at most `width` columns; what is left out is shown by `…`.
fn push_clipped(shown: &mut String, glyphs: &[Glyph], width: usize, more: bool) {
    if !more && columns(glyphs) <= width {
        shown.extend(glyphs.iter().map(|glyph| glyph.shown.as_str()));
        return;
    }
    let mut room = width.saturating_sub(1);
    shown.extend(glyphs.iter().take_while(|glyph| fits(&mut room, glyph.width)).map(|glyph| glyph.shown.as_str()));
    shown.push('…');
}

/// Takes `width` off `room` if there is that much.
fn fits(room: &mut usize, width: usize) -> bool {
    let left = room.checked_sub(width);
    *room = left.unwrap_or(*room);
    left.is_some()
}

/// A character as it is shown.
#[derive(Debug)]
struct Glyph {
    shown: String,
    width: usize,
}

fn columns(glyphs: &[Glyph]) -> usize {
    glyphs.iter().map(|glyph| glyph.width).sum()
}

/// What a terminal would act upon, or would not show, is escaped; what is not UTF-8 becomes U+FFFD. `cut` says that
/// the bytes may end within a character, which is left out then.
fn glyphs(bytes: &[u8], cut: bool) -> Vec<Glyph> {
    let mut glyphs = Vec::new();
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        glyphs.extend(chunk.valid().chars().map(glyph));
        let left_out = cut && chunks.peek().is_none();
        if !left_out && !chunk.invalid().is_empty() {
            glyphs.push(glyph(char::REPLACEMENT_CHARACTER));
        }
    }
    glyphs
}

fn glyph(c: char) -> Glyph {
    // Joiners and variation selectors change the width of their neighbours.
    let unseen = matches!(c, '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}');
    let shown: String = match c {
        '\t' | '\r' | '\n' | '\0' => c.escape_debug().collect(),
        c if c.is_control() || is_bidi_control(c) || unseen => c.escape_unicode().collect(),
        c => return Glyph { shown: c.to_string(), width: c.width().unwrap_or(0) },
    };
    Glyph { width: shown.len(), shown }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::super::source::tests::text;
    use super::*;

    fn described(bytes: &[u8], position: u64) -> String {
        TextPlace::find(&mut text(bytes), position).unwrap().describe("`f`", str::to_owned)
    }

    /// The excerpt and how many columns are before the caret.
    fn shown(bytes: &[u8], position: usize) -> (String, usize) {
        let place = TextPlace::find(&mut text(bytes), position as u64).unwrap();
        (place.excerpt, place.before)
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        assert_eq!(
            described(b"one\r\n{\"a\" 1}\r\nthree\n", 10),
            "  `f`, line 2, column 6 (byte 10):\n    {\"a\" 1}\n         ^"
        );
        assert_eq!(described(b"{]", 1), "  `f`, line 1, column 2 (byte 1):\n    {]\n     ^");
        assert_eq!(described(b"", 0), "  `f`, line 1, column 1 (byte 0):\n    \n    ^");
    }

    #[test]
    fn the_end_is_that_of_the_last_words() {
        let wanted = "  `f`, line 2, column 5 (byte 9):\n    {\"a\"\n        ^";
        assert_eq!(described(b"x\n{\"a\"\n \n", 9), wanted);
        assert_eq!(described(b"x\n{\"a\"\n \n", 4711), wanted, "a place beyond the end is the end");
        assert_eq!(shown(b" \n \n", 4), (String::new(), 0));
    }

    #[test]
    fn a_line_feed_is_at_the_end_of_its_line() {
        assert_eq!(shown(b"{'a\n'}", 3), ("{'a".into(), 3));
        assert_eq!(shown(b"{'a\r\n'}", 3), ("{'a".into(), 3));
    }

    #[test]
    fn nothing_acts_on_the_terminal_and_all_is_seen() {
        let (line, before) = shown("\u{feff}\x1b[2J\t\0a\u{202e}\u{9b}\r{x".as_bytes(), 17);
        assert_eq!(line, "\\u{feff}\\u{1b}[2J\\t\\0a\\u{202e}\\u{9b}\\r{x");
        assert_eq!(&line[before..], "x");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(shown(b"\xff\xfea\xc3(\xf0\x9f{x", 8), ("\u{fffd}\u{fffd}a\u{fffd}(\u{fffd}{x".into(), 7));
    }

    #[test]
    fn wide_characters_take_two_columns_and_accents_none() {
        let line = "日本e\u{301}🦀{x";
        let at = line.find('x').unwrap();
        assert_eq!(shown(line.as_bytes(), at), (line.into(), 8));
        assert_eq!(TextPlace::find(&mut text(line.as_bytes()), at as u64).unwrap().column, 7);
    }

    #[test]
    fn long_lines_are_cut_on_both_sides() {
        for unit in ["x", "日", "é", "🦀", "e\u{301}", "\x1b", "\u{300}"] {
            for (left, right) in [(0, 300_000), (300_000, 0), (300_000, 300_000), (50, 3), (3, 80), (44, 26)] {
                let before = unit.repeat(left);
                let line = format!("first\n{before}^{}\nlast", unit.repeat(right));
                let at = "first\n".len() + before.len();
                let (line, before) = shown(line.as_bytes(), at);
                assert!(line.width() <= WIDTH, "{unit:?} {left} {right}: {}", line.width());
                assert!(line.len() <= 2 * (WINDOW_BYTES * 7), "{unit:?} {left} {right}");
                let at = line.find('^').unwrap();
                assert_eq!(line[..at].width(), before, "{unit:?} {left} {right}");
                assert!(left != 300_000 || line.starts_with('…'), "{unit:?} {left} {right}");
                assert!(left != 3 || !line.starts_with('…'), "{unit:?} {left} {right}");
                assert!(right != 300_000 || line.ends_with('…'), "{unit:?} {left} {right}");
                assert!(!line.contains(char::REPLACEMENT_CHARACTER), "{unit:?} {left} {right}");
            }
        }
    }

    #[test]
    fn any_bytes_at_any_place_are_no_panic() {
        let bytes: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
        for position in 0..=bytes.len() {
            let (line, before) = shown(&bytes, position);
            assert!(line.width() <= WIDTH && before <= line.width() + 1, "{position}: {line}");
        }
    }

    #[test]
    fn lines_are_counted_across_pieces() {
        let mut bytes = b"line\n".repeat(100_000);
        bytes.extend("ü".repeat(100_000).as_bytes());
        let place = TextPlace::find(&mut text(&bytes), 700_000 - 2).unwrap();
        assert_eq!((place.line, place.column, place.byte), (100_001, 100_000, 699_998));
    }

    #[test]
    fn previews_fit() {
        assert_eq!(preview(b"{\"a\":\n1}", 20, false), "{\"a\":\\n1}");
        assert_eq!(preview(b"{\"a\": 1}", 5, false), "{\"a\"…");
        assert_eq!(preview("{日".as_bytes().split_last().unwrap().1, 20, true), "{…");
    }
}
