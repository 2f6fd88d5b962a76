//! Every candidate for the result, and what became of it.

use std::fmt::Write as _;
use std::io;

use super::place::preview;
use super::source::SourceText;
use super::words::source_name;
use longshore_domain::result::reader::Candidate;

/// Columns of a candidate that are shown.
const TEXT_WIDTH: usize = 32;
/// Bytes that these take at most, accents apart.
const TEXT_BYTES: u64 = 4 * TEXT_WIDTH as u64;
/// How much is reported at a time: there may be a million.
const BLOCK_BYTES: usize = 64 * 1024;

/// Reports one line for each candidate, in blocks without a last line end.
pub(super) fn explain(candidates: &[Candidate], text: &mut SourceText, mut emit: impl FnMut(&str)) -> io::Result<()> {
    let widest = |cell: &dyn Fn(&Candidate) -> String, header: &str| {
        candidates.iter().map(|candidate| cell(candidate).chars().count()).max().unwrap_or(0).max(header.len())
    };
    let (bytes, source) = (widest(&range, "BYTES"), widest(&|c| source_name(c.source).to_owned(), "SOURCE"));
    let mut block = format!("     {:<bytes$}  {:<source$}  {:<TEXT_WIDTH$}  VERDICT", "BYTES", "SOURCE", "TEXT");
    for candidate in candidates {
        if block.len() > BLOCK_BYTES {
            emit(&block);
            block.clear();
        }
        if !block.is_empty() {
            block.push('\n');
        }
        let whole = candidate.end.unwrap_or_else(|| text.len()).saturating_sub(candidate.start);
        let some = text.at(candidate.start, usize::try_from(whole.min(TEXT_BYTES)).unwrap_or_default())?;
        let shown = preview(&some, TEXT_WIDTH, whole > TEXT_BYTES);
        let room = TEXT_WIDTH.saturating_sub(unicode_width::UnicodeWidthStr::width(shown.as_str()));
        let _ = write!(
            block,
            "{:<3}  {:<bytes$}  {:<source$}  {shown}{:room$}  {}",
            if candidate.won { "won" } else { "" },
            range(candidate),
            source_name(candidate.source),
            "",
            crate::terminal::text::clean(&candidate.verdict),
        );
    }
    emit(&block);
    Ok(())
}

/// `12-40`; `12-…` for one that does not end.
fn range(candidate: &Candidate) -> String {
    match candidate.end {
        Some(end) => format!("{}-{end}", candidate.start),
        None => format!("{}-…", candidate.start),
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::text;
    use super::*;
    use longshore_domain::result::ResultSource;

    fn candidate(start: u64, end: Option<u64>, won: bool, verdict: &str) -> Candidate {
        Candidate { source: ResultSource::Scan, start, end, won, verdict: verdict.to_owned() }
    }

    #[test]
    fn each_has_its_line() {
        let mut text = text("{1} {\"日\": 2}\n{\"a\": [1,\n 2".as_bytes());
        let candidates = [
            candidate(0, Some(3), false, "no object: a key is expected"),
            candidate(4, Some(14), true, "the result"),
            candidate(15, None, false, "it does not end"),
        ];
        let mut emitted = String::new();
        explain(&candidates, &mut text, |block| emitted.push_str(block)).unwrap();
        let wanted = "     \
             BYTES  SOURCE  TEXT                              VERDICT\n     \
             0-3    SCAN    {1}                               no object: a key is expected\n\
             won  4-14   SCAN    {\"日\": 2}                         the result\n     \
             15-…   SCAN    {\"a\": [1,\\n 2                     it does not end";
        assert_eq!(emitted, wanted);
    }

    #[test]
    fn a_hundred_thousand_are_reported_in_blocks() {
        let mut text = text(&b"{}".repeat(100_000));
        let candidates: Vec<_> = (0..100_000).map(|n| candidate(2 * n, Some(2 * n + 2), false, "empty")).collect();
        let (mut blocks, mut lines) = (0, 0);
        explain(&candidates, &mut text, |block| {
            assert!(!block.ends_with('\n') && block.len() < 2 * BLOCK_BYTES);
            blocks += 1;
            lines += block.lines().count();
        })
        .unwrap();
        assert_eq!(lines, 100_001);
        assert!(blocks > 1);
    }
}
