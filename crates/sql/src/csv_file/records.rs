//! CSV text as records of fields. Knows the text's form only, not what fields mean.
//!
//! RFC 4180 with what files have beside it: any delimiter, LF, CRLF or CR, and blanks around a quoted field. Own code,
//! since the `csv` crate skips blank lines, which are rows in a file of one column, takes a blank before a quote for
//! the field's first character, and distinguishes neither a stray quote from the end of a field nor where an open one
//! began.

use std::io::{self, Read};

use super::CsvError;

/// The most bytes a record may have; more are a quote that nobody closed.
const RECORD_BYTES: usize = 16 * 1024 * 1024;

const CHUNK: usize = 256 * 1024;

/// Reads records one after another; each is gone with the next.
pub(crate) struct Records<R> {
    input: R,
    /// `buffer[at..filled]` is read from `input` and not yet part of a record.
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    ended: bool,
    /// The line of `buffer[at]`, from 1.
    next_line: u64,
    delimiter: u8,
    blank_lines: bool,
    /// The present record.
    line: u64,
    fields: Vec<CsvField>,
    unescaped: Vec<u8>,
}

/// Where a field is: in `buffer`, or in `unescaped` if it had doubled quotes.
#[derive(Debug, Clone, Copy)]
struct CsvField {
    start: usize,
    end: usize,
    unescaped: bool,
}

/// What one look at the buffer gave.
enum Scan {
    /// A record that ends before this place, at so many line ends from its beginning.
    Record {
        end: usize,
        lines: u64,
    },
    /// The buffer has no whole record.
    More,
    End,
}

impl<R: Read> Records<R> {
    /// Reads `input` from `line` on. `blank_lines`: whether a blank line is a record with one empty field.
    pub(super) fn new(input: R, delimiter: u8, line: u64) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            at: 0,
            filled: 0,
            ended: false,
            next_line: line,
            delimiter,
            blank_lines: false,
            line,
            fields: Vec::new(),
            unescaped: Vec::new(),
        }
    }

    /// Has a blank line be a record with one empty field from here on; by itself it is skipped.
    pub(super) fn keep_blank_lines(&mut self) {
        self.blank_lines = true;
    }

    /// Goes to the next record and returns whether there is one.
    ///
    /// # Errors
    /// [`CsvError::Io`], [`CsvError::OpenQuote`], [`CsvError::AfterQuote`], [`CsvError::LongRecord`].
    pub(crate) fn advance(&mut self) -> Result<bool, CsvError> {
        loop {
            match self.scan()? {
                Scan::Record { end, lines } => {
                    self.at = end;
                    self.next_line += lines;
                    return Ok(true);
                }
                Scan::More => self.fill()?,
                Scan::End => return Ok(false),
            }
        }
    }

    /// The line in which the present record begins.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// How many fields the present record has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field of the present record; empty if it has no such field.
    pub(crate) fn field(&self, index: usize) -> &[u8] {
        let Some(field) = self.fields.get(index) else { return &[] };
        let from = if field.unescaped { &self.unescaped } else { &self.buffer };
        from.get(field.start..field.end).unwrap_or_default()
    }

    /// The fields of the present record.
    pub(crate) fn fields(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.fields.len()).map(|index| self.field(index))
    }

    fn fill(&mut self) -> Result<(), CsvError> {
        if self.at > 0 {
            self.buffer.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.at = 0;
        }
        if self.filled >= RECORD_BYTES {
            return Err(CsvError::LongRecord { line: self.next_line });
        }
        if self.buffer.len() < self.filled + CHUNK {
            self.buffer.resize((self.filled + CHUNK).max(self.buffer.len() * 2).min(RECORD_BYTES + CHUNK), 0);
        }
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let read = loop {
            match self.input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.filled += read;
        self.ended = read == 0;
        Ok(())
    }

    /// Returns false if more data must show whether a blank line ends here.
    fn skip_blank_lines(&mut self) -> bool {
        loop {
            let data = self.buffer.get(self.at..self.filled).unwrap_or_default();
            let length = match data {
                [b'\r', b'\n', ..] => 2,
                [b'\r'] if !self.ended => return false,
                [b'\r' | b'\n', ..] => 1,
                _ => return true,
            };
            self.at += length;
            self.next_line += 1;
        }
    }

    fn scan(&mut self) -> Result<Scan, CsvError> {
        if !self.blank_lines && !self.skip_blank_lines() {
            return Ok(Scan::More);
        }
        self.fields.clear();
        self.unescaped.clear();
        self.line = self.next_line;
        let data = self.buffer.get(..self.filled).unwrap_or_default();
        let mut at = self.at;
        let mut lines = 0;
        if at == data.len() {
            return Ok(if self.ended { Scan::End } else { Scan::More });
        }
        loop {
            let rest = data.get(at..).unwrap_or_default();
            let blanks = rest.iter().take_while(|byte| is_blank(**byte, self.delimiter)).count();
            let after = match rest.get(blanks) {
                Some(b'"') => {
                    let open = at + blanks + 1;
                    let Some(quoted) = quoted(data, open, &mut self.unescaped) else {
                        if self.ended {
                            return Err(CsvError::OpenQuote { line: self.line + lines });
                        }
                        return Ok(Scan::More);
                    };
                    let begin = self.line + lines;
                    lines +=
                        memchr::memchr_iter(b'\n', data.get(open..quoted.after).unwrap_or_default()).count() as u64;
                    self.fields.push(quoted.field);
                    let tail = data.get(quoted.after..).unwrap_or_default();
                    let after = quoted.after + tail.iter().take_while(|byte| is_blank(**byte, self.delimiter)).count();
                    match data.get(after) {
                        Some(b'\n' | b'\r') | None => {}
                        Some(byte) if *byte == self.delimiter => {}
                        Some(_) => return Err(CsvError::AfterQuote { line: begin }),
                    }
                    after
                }
                Some(_) => {
                    let ends = |byte: &u8| *byte == self.delimiter || *byte == b'\n' || *byte == b'\r';
                    let end = at + rest.iter().position(ends).unwrap_or(rest.len());
                    self.fields.push(CsvField { start: at, end, unescaped: false });
                    end
                }
                // Only blanks are left.
                None => {
                    self.fields.push(CsvField { start: at, end: data.len(), unescaped: false });
                    data.len()
                }
            };
            match data.get(after) {
                Some(b'\n') => return Ok(Scan::Record { end: after + 1, lines: lines + 1 }),
                Some(b'\r') => match data.get(after + 1) {
                    Some(b'\n') => return Ok(Scan::Record { end: after + 2, lines: lines + 1 }),
                    None if !self.ended => return Ok(Scan::More),
                    _ => return Ok(Scan::Record { end: after + 1, lines: lines + 1 }),
                },
                Some(_) => at = after + 1,
                None if self.ended => return Ok(Scan::Record { end: after, lines }),
                None => return Ok(Scan::More),
            }
        }
    }
}

fn is_blank(byte: u8, delimiter: u8) -> bool {
    (byte == b' ' || byte == b'\t') && byte != delimiter
}

struct Quoted {
    field: CsvField,
    /// The place after the closing quote.
    after: usize,
}

/// The field whose opening quote is before `open`, if it is closed within `data`. A quote at the very end of `data`
/// counts as closing; more data may show that it is doubled, and then all of this is done again.
fn quoted(data: &[u8], open: usize, unescaped: &mut Vec<u8>) -> Option<Quoted> {
    let begin = unescaped.len();
    let mut piece = open;
    loop {
        let quote = piece + memchr::memchr(b'"', data.get(piece..)?)?;
        let doubled = data.get(quote + 1) == Some(&b'"');
        if !doubled && piece == open {
            let field = CsvField { start: open, end: quote, unescaped: false };
            return Some(Quoted { field, after: quote + 1 });
        }
        unescaped.extend_from_slice(data.get(piece..quote)?);
        if !doubled {
            let field = CsvField { start: begin, end: unescaped.len(), unescaped: true };
            return Some(Quoted { field, after: quote + 1 });
        }
        unescaped.push(b'"');
        piece = quote + 2;
    }
}
