//! Whether an object that was found in the rest of an output, whose start is missing, can be a part of
//! something larger that began in what is missing.

use longshore_domain::log::LogStream;
use longshore_domain::result::FoundResult;

#[cfg(test)]
mod tests;

/// Watches an output pass, to find whether an object stands alone at its end: on lines of its own,
/// with nothing after it, and nothing before it that leads to a value in something larger.
#[derive(Debug)]
pub(super) struct Alone {
    /// Bytes that have passed.
    passed: u64,
    line_begins: bool,
    /// The last byte that is not white space.
    last: Option<u8>,
    /// Where the last line began that begins with `{`, and where the last such byte ended.
    brace_at: Option<u64>,
    end: u64,
}

impl Default for Alone {
    fn default() -> Self {
        Self { passed: 0, line_begins: true, last: None, brace_at: None, end: 0 }
    }
}

impl Alone {
    pub(super) fn push(&mut self, stream: Option<LogStream>, data: &[u8]) {
        // Standard error is not searched, but counts for ranges.
        if stream == Some(LogStream::Stderr) {
            self.passed += data.len() as u64;
            return;
        }
        for byte in data {
            let leads_on = matches!(self.last, Some(b',' | b':' | b'[' | b'{' | b'('));
            if *byte == b'{' && self.line_begins && !leads_on {
                self.brace_at = Some(self.passed);
            }
            self.line_begins = *byte == b'\n';
            self.passed += 1;
            if !byte.is_ascii_whitespace() {
                self.last = Some(*byte);
                self.end = self.passed;
            }
        }
    }

    /// Whether what was found is such an object. One that the reader has doubts about is not.
    pub(super) fn is(&self, found: &FoundResult) -> bool {
        let range = self.brace_at.map(|start| (start, self.end));
        found.warnings.is_empty() && found.byte_range.is_some() && found.byte_range == range
    }
}
