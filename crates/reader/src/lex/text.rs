//! Strings: JSON's, and Python's with their prefixes and triple quotes.

use super::{In, Taken};

/// A string on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    /// Its quote.
    quote: u8,
    /// Whether three of them close it.
    triple: bool,
    /// Whether a backslash means itself.
    pub(crate) raw: bool,
    /// Whether it is one of bytes.
    pub(crate) bytes: bool,
    /// In which dialects it is right so far.
    pub(crate) valid: In,
    /// Whether it has escapes of surrogates, in pairs or not.
    pub(crate) has_surrogates: bool,
}

/// A string's prefix and quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) len: usize,
    raw: bool,
    bytes: bool,
}

impl Prefix {
    /// The prefix of a string that `bytes` begins with, which may be empty. `None`: there is no
    /// string, as far as so many bytes show.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let letters = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).take(3).count();
        if !matches!(bytes.get(letters), Some(b'"' | b'\'')) {
            return None;
        }
        let mut prefix = [0; 2];
        prefix.iter_mut().zip(bytes.iter().take(letters)).for_each(|(to, from)| *to = from.to_ascii_lowercase());
        let (raw, of_bytes) = match (letters, &prefix) {
            (0, _) | (1, [b'u', _]) => (false, false),
            (1, [b'r', _]) => (true, false),
            (1, [b'b', _]) => (false, true),
            (2, b"br" | b"rb") => (true, true),
            _ => return None,
        };
        Some(Self { len: letters, raw, bytes: of_bytes })
    }
}

impl Text {
    /// Opens the string that `bytes` begins with, after its prefix: how many bytes its opening quotes
    /// take. `None`: more bytes are needed. Three quotes are only one thing in Python, if `live` has
    /// it.
    pub(crate) fn open(bytes: &[u8], prefix: Prefix, live: In, end: bool) -> Option<(Self, usize)> {
        let quote = bytes.first().copied()?;
        let triple = match (bytes.get(1), bytes.get(2)) {
            (Some(second), Some(third)) => live.python && *second == quote && *third == quote,
            (Some(second), None) if *second == quote && live.python && !end => return None,
            (None, _) if !end => return None,
            _ => false,
        };
        let json = quote == b'"' && prefix.len == 0 && !triple;
        let valid = In { json, python: true }.and(live);
        let text = Self { quote, triple, raw: prefix.raw, bytes: prefix.bytes, valid, has_surrogates: false };
        Some((text, if triple { 3 } else { 1 }))
    }

    /// One in single or double quotes, without prefix.
    pub(crate) fn single(quote: u8, live: In) -> Self {
        let valid = In { json: quote == b'"', python: true }.and(live);
        Self { quote, triple: false, raw: false, bytes: false, valid, has_surrogates: false }
    }

    /// Length of the quotes at either end.
    pub(crate) fn quotes(&self) -> usize {
        if self.triple { 3 } else { 1 }
    }

    /// Takes what comes next of it. At the `end` of all bytes nothing is left for later.
    pub(crate) fn take(&mut self, bytes: &[u8], end: bool) -> Taken {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let plain = plain_len(rest, self.quote);
            if self.bytes && self.valid.python {
                let ascii = rest.iter().take(plain).position(|byte| !byte.is_ascii());
                if let Some(index) = ascii {
                    self.valid.python = false;
                    if !self.valid.any() {
                        return Taken::Broken(at + index);
                    }
                }
            }
            at += plain;
            let Some(rest) = rest.get(plain..).filter(|rest| !rest.is_empty()) else { return Taken::More(at) };
            let step = match rest.first() {
                Some(b'\\') => self.escape(rest),
                Some(byte) if *byte == self.quote => match self.close(rest, end) {
                    Some(true) => return Taken::End(at + self.quotes()),
                    Some(false) => Some(1),
                    None => None,
                },
                Some(byte) => {
                    self.control(*byte);
                    Some(1)
                }
                None => None,
            };
            match step {
                Some(_) if !self.valid.any() => return Taken::Broken(at),
                Some(len) => at += len,
                None => return Taken::More(at),
            }
        }
    }

    /// Whether the quote that `rest` begins with closes the string. `None`: more bytes are needed.
    fn close(&self, rest: &[u8], end: bool) -> Option<bool> {
        let quotes = rest.iter().take(self.quotes()).take_while(|byte| **byte == self.quote).count();
        if quotes == self.quotes() {
            Some(true)
        } else if rest.len() > quotes || end {
            Some(false)
        } else {
            None
        }
    }

    /// A byte below 0x20. Python's source has no NUL, and counts a carriage return as a line's end.
    fn control(&mut self, byte: u8) {
        self.valid.json = false;
        self.valid.python &= match byte {
            0 => false,
            b'\n' | b'\r' => self.triple,
            _ => true,
        };
    }

    /// Length of the escape that `rest` begins with. `None`: more bytes are needed.
    fn escape(&mut self, rest: &[u8]) -> Option<usize> {
        let byte = *rest.get(1)?;
        self.valid.json &= matches!(byte, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u');
        match byte {
            0 => self.valid.python = false,
            b'\r' => return rest.get(2).map(|next| if *next == b'\n' { 3 } else { 2 }),
            0x80.. if self.bytes => self.valid.python = false,
            _ if self.raw => {}
            b'x' => return self.hex(rest, 2),
            b'u' if !self.bytes => {
                self.has_surrogates |= matches!(rest.get(2), Some(b'd' | b'D'));
                return self.hex(rest, 4);
            }
            b'U' if !self.bytes => {
                let len = self.hex(rest, 8)?;
                // Above U+10FFFF there is nothing.
                let code =
                    rest.get(2..10).and_then(|digits| u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
                self.valid.python &= code.is_some_and(|code| code <= 0x0010_ffff);
                return Some(len);
            }
            b'N' if !self.bytes => return self.named(rest),
            _ => {}
        }
        Some(2)
    }

    fn hex(&mut self, rest: &[u8], digits: usize) -> Option<usize> {
        let found = rest.iter().skip(2).take(digits).take_while(|byte| byte.is_ascii_hexdigit()).count();
        if found == digits {
            return Some(2 + digits);
        }
        // The byte after them decides.
        rest.get(2 + found)?;
        self.valid = In::NONE;
        Some(2)
    }

    /// `\N{NAME}`.
    fn named(&mut self, rest: &[u8]) -> Option<usize> {
        let name = rest.get(2..).unwrap_or_default();
        let len = name.iter().take(NAME_MAX_BYTES).take_while(|byte| name_byte(**byte)).count();
        let end = *name.get(len)?;
        self.valid.python &= name.first() == Some(&b'{') && len > 1 && end == b'}';
        Some(if self.valid.python { 2 + len + 1 } else { 2 })
    }
}

/// Longest name of a character, with its braces: Unicode's longest has 83 letters.
const NAME_MAX_BYTES: usize = 128;

fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'{' | b' ' | b'-' | b'(' | b')')
}

/// How many bytes stand before the first quote, backslash or byte below 0x20.
pub(crate) fn plain_len(bytes: &[u8], quote: u8) -> usize {
    // Most strings are short; of a long one, whole blocks are passed over after its beginning.
    let (start, rest) = bytes.split_at(bytes.len().min(SHORT_BYTES));
    let short = plain_words(start, quote);
    if short < SHORT_BYTES {
        return short;
    }
    let blocks = plain_blocks(rest, quote);
    short + blocks + plain_words(rest.get(blocks..).unwrap_or_default(), quote)
}

/// The same, eight bytes at a time.
fn plain_words(bytes: &[u8], quote: u8) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Exact for the lowest byte that is zero, and all that is asked is where that is.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let quotes = u64::from_ne_bytes([quote; 8]);
    let backslashes = u64::from_ne_bytes([b'\\'; 8]);
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below = word.wrapping_sub(u64::from_ne_bytes([0x20; 8])) & !word & HIGHS;
        let found = below | zero(word ^ quotes) | zero(word ^ backslashes);
        if found != 0 {
            return index * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let done = words.len() * 8;
    let rest = bytes.get(done..).unwrap_or_default();
    done + rest.iter().take_while(|byte| **byte != quote && **byte != b'\\' && **byte >= 0x20).count()
}

/// As much as most strings have, in bytes.
const SHORT_BYTES: usize = 32;
/// Bytes of a block that is looked at in one go.
const BLOCK_BYTES: usize = 32;

/// How many bytes the blocks have at the beginning that are plain as a whole.
fn plain_blocks(bytes: &[u8], quote: u8) -> usize {
    let special = |byte: u8| byte == quote || byte == b'\\' || byte < 0x20;
    let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
    let plain = blocks.iter().take_while(|block| !block.iter().fold(false, |any, byte| any | special(*byte)));
    plain.count() * BLOCK_BYTES
}

/// Length of the string that `rest` begins with, quotes included, if it has no escapes and ends in it;
/// else how many plain bytes it has at its beginning.
pub(crate) fn short_text(rest: &[u8], quote: u8) -> Result<usize, usize> {
    let content = rest.get(1..).unwrap_or_default();
    let len = plain_len(content, quote);
    // After none, a third quote may follow.
    let closed = content.get(len) == Some(&quote) && (len > 0 || content.get(1).is_some_and(|byte| *byte != quote));
    if closed { Ok(len + 2) } else { Err(len) }
}
