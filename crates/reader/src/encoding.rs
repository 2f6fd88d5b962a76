//! What a text is written in, as far as its first bytes show: UTF-8, UTF-16 with a byte order mark,
//! which is decoded, or gzip, which is only known.

/// How much of a text shows whether it is UTF-16, in bytes.
const HEAD_BYTES: usize = 66;

/// What UTF-8 may begin with, and what parts of a text that were joined may have in the middle: a blank.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// Its bytes are read as they are.
    Bytes,
    Utf16 {
        big_endian: bool,
    },
}

/// Whether `text` begins as what gzip compressed.
pub(super) fn is_gzip(text: &[u8]) -> bool {
    text.starts_with(b"\x1f\x8b\x08")
}

/// Whether `text` begins with a byte order mark of UTF-16, and so may be it.
#[must_use]
pub fn may_be_utf16(text: &[u8]) -> bool {
    text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff")
}

/// What the text is written in that begins with `head`. `None`: more bytes are needed.
///
/// A byte order mark alone is also what broken bytes may begin with: of the characters after it a
/// quarter has to be ASCII, as line ends, spaces and an object's brackets and quotes are.
fn encoding(head: &[u8], end: bool) -> Option<Encoding> {
    let big_endian = match head {
        [0xff, 0xfe, ..] => false,
        [0xfe, 0xff, ..] => true,
        [0xff | 0xfe] | [] if !end => return None,
        _ => return Some(Encoding::Bytes),
    };
    if head.len() < HEAD_BYTES && !end {
        return None;
    }
    let (units, _) = head.get(2..).unwrap_or_default().as_chunks::<2>();
    let ascii = |unit: &&[u8; 2]| matches!(code_unit(**unit, big_endian), 0x09..=0x0d | 0x1b | 0x20..=0x7e);
    let ascii = units.iter().filter(ascii).count();
    let is_utf16 = ascii > 0 && ascii * 4 >= units.len();
    Some(if is_utf16 { Encoding::Utf16 { big_endian } } else { Encoding::Bytes })
}

fn code_unit(bytes: [u8; 2], big_endian: bool) -> u16 {
    if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}

/// Makes UTF-8 of a text in UTF-16 that begins with a byte order mark. Any other goes through as it is.
#[derive(Debug, Default)]
pub struct Decoder {
    /// `None`: too few bytes came to decide.
    encoding: Option<Encoding>,
    /// Bytes that wait for the next ones.
    held: Vec<u8>,
}

impl Decoder {
    /// Takes the next bytes, and hands on what they are, in pieces.
    pub fn push(&mut self, data: &[u8], mut take: impl FnMut(&[u8])) {
        match self.encoding {
            Some(Encoding::Bytes) => take(data),
            Some(Encoding::Utf16 { big_endian }) => self.decode(data, big_endian, false, take),
            // What can be recognised at once is not copied: it may be a whole result.
            None if self.held.is_empty() && matches!(encoding(head(data), false), Some(Encoding::Bytes)) => {
                self.encoding = Some(Encoding::Bytes);
                take(data);
            }
            None => {
                self.held.extend_from_slice(data);
                self.detect(false, take);
            }
        }
    }

    /// Ends the text, or the part of it that can show what it is written in: hands on what waited.
    pub fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        match self.encoding {
            None if self.held.is_empty() => {}
            None => self.detect(true, &mut take),
            Some(Encoding::Utf16 { big_endian }) => self.decode(&[], big_endian, true, take),
            Some(Encoding::Bytes) => {}
        }
    }

    /// Whether the text is UTF-16, as far as is known.
    #[must_use]
    pub fn is_utf16(&self) -> bool {
        matches!(self.encoding, Some(Encoding::Utf16 { .. }))
    }

    fn detect(&mut self, end: bool, mut take: impl FnMut(&[u8])) {
        self.encoding = encoding(head(&self.held), end);
        match self.encoding {
            None => {}
            Some(Encoding::Bytes) => {
                let held = std::mem::take(&mut self.held);
                if !held.is_empty() {
                    take(&held);
                }
            }
            Some(Encoding::Utf16 { big_endian }) => {
                self.held.drain(..self.held.len().min(2));
                self.decode(&[], big_endian, end, take);
            }
        }
    }

    /// What is not a character becomes U+FFFD.
    fn decode(&mut self, data: &[u8], big_endian: bool, end: bool, mut take: impl FnMut(&[u8])) {
        self.held.extend_from_slice(data);
        let (units, _) = self.held.as_chunks::<2>();
        let mut units: Vec<u16> = units.iter().map(|unit| code_unit(*unit, big_endian)).collect();
        // The other half may follow.
        if !end {
            units.pop_if(|unit| matches!(unit, 0xd800..0xdc00));
        }
        self.held.drain(..units.len() * 2);
        let mut text: String =
            char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        if end && !std::mem::take(&mut self.held).is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        if !text.is_empty() {
            take(text.as_bytes());
        }
    }
}

/// The bytes that show what a text is written in.
fn head(text: &[u8]) -> &[u8] {
    text.get(..HEAD_BYTES).unwrap_or(text)
}

/// The whole `text` in UTF-8, if it is UTF-16.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    if !may_be_utf16(text) {
        return None;
    }
    let (mut decoder, mut decoded) = (Decoder::default(), Vec::new());
    decoder.push(text, |part| decoded.extend_from_slice(part));
    decoder.finish(|part| decoded.extend_from_slice(part));
    decoder.is_utf16().then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, big_endian: bool) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    fn in_pieces(bytes: &[u8], size: usize) -> Vec<u8> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        bytes.chunks(size).for_each(|piece| decoder.push(piece, |part| out.extend_from_slice(part)));
        decoder.finish(|part| out.extend_from_slice(part));
        out
    }

    #[test]
    fn utf16_becomes_utf8_however_it_comes() {
        for text in ["{\"a\": \"straße 😀\"}\r\n", "加载\r\n{\"a\": 1}\r\n", "{}", &"x😀".repeat(100)] {
            for big_endian in [false, true] {
                let bytes = encoded(text, big_endian);
                for size in [1, 2, 3, 7, 4096] {
                    assert_eq!(in_pieces(&bytes, size), text.as_bytes(), "{text}, {size}");
                }
            }
        }
        assert_eq!(in_pieces(b"\xff\xfea\0\x3d\xd8b", 1), "a\u{fffd}\u{fffd}".as_bytes(), "cut within a character");
    }

    #[test]
    fn other_bytes_go_through() {
        for bytes in [
            b"".as_slice(),
            b"\xff",
            b"\xff\xfe",
            b"{\"a\": 1}",
            b"\xff\xfe\x80 broken bytes \xc3\n\0\0\0{\"a\": 1, \"b\": [1, 2, 3]}\n",
            b"\xef\xbb\xbf{}",
        ] {
            for size in [1, 4096] {
                assert_eq!(in_pieces(bytes, size), bytes, "{}", bytes.escape_ascii());
            }
        }
    }
}
