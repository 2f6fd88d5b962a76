//! What was read of an output, and what follows of it for the result.

use super::alone::Alone;
use longshore_backend::LogItem;
use longshore_domain::log::LogPosition;
use longshore_domain::result::reader::{FILE_MAX_BYTES, ReaderRule, ResultReader};
use longshore_domain::result::{FoundResult, ResultErrorKind, ResultOutcome, ResultSource};

/// What was read of an output.
#[derive(Debug)]
pub(super) struct ReadOutput {
    rule: ReaderRule,
    reader: ResultReader,
    /// Up to where it was read.
    pub(super) position: Option<LogPosition>,
    /// The last marked object before a gap.
    marked: Option<FoundResult>,
    /// Why a part is missing, and how what came after it ends.
    gap: Option<(String, Alone)>,
}

impl ReadOutput {
    pub(super) fn new(rule: &ReaderRule) -> Self {
        let reader = ResultReader::new(rule.clone());
        Self { rule: rule.clone(), reader, position: None, marked: None, gap: None }
    }

    pub(super) fn take(&mut self, item: &LogItem) {
        match item {
            LogItem::Piece(piece) => {
                self.position = Some(piece.end());
                self.reader.push(piece.stream, &piece.data);
                if let Some((_, alone)) = &mut self.gap {
                    alone.push(piece.stream, &piece.data);
                }
            }
            LogItem::Gap(gap) => self.skip(&gap.message),
        }
    }

    /// What stands before a gap and what stands after it make no object together: the search begins
    /// anew. A later object may have been in the gap, so of what was found only that counts which
    /// the program marked as its result.
    fn skip(&mut self, why: &str) {
        let reader = std::mem::replace(&mut self.reader, ResultReader::new(self.rule.clone()));
        if let ResultOutcome::Found(found) = reader.finish(&[])
            && found.source == ResultSource::MarkedLine
        {
            self.marked = Some(found);
        }
        let (_, alone) = self.gap.get_or_insert_with(|| (why.to_owned(), Alone::default()));
        *alone = Alone::default();
    }

    pub(super) fn finish(self, file: &[u8]) -> ResultOutcome {
        let Self { reader, marked, gap, .. } = self;
        let outcome = reader.finish(file);
        let Some((why, alone)) = gap else { return outcome };
        let found = match (outcome, marked) {
            (ResultOutcome::Found(found), _) if found.source != ResultSource::Scan => found,
            (_, Some(marked)) => marked,
            // What the search found may be a part of something that began in the gap.
            (ResultOutcome::Found(found), None) if alone.is(&found) => found,
            (_, None) => return ResultOutcome::Unavailable(why),
        };
        let mut warnings = found.warnings;
        if found.source != ResultSource::File {
            warnings.push(format!("a part of the output was lost, so that a later object may be missing: {why}"));
        }
        ResultOutcome::Found(FoundResult { byte_range: None, warnings, ..found })
    }
}

/// The result, by the file if that decides, else by the output; `Err`: it can't be read to its end.
pub(super) fn conclude(rule: &ReaderRule, output: Result<ReadOutput, String>, file: &[u8]) -> ResultOutcome {
    by_file(rule, file).unwrap_or_else(|| match output {
        Ok(output) => output.finish(file),
        Err(why) => ResultOutcome::Unavailable(why),
    })
}

/// What the result file says, unless there is none, or it was cut, so that the output is asked too.
fn by_file(rule: &ReaderRule, file: &[u8]) -> Option<ResultOutcome> {
    match ResultReader::new(rule.clone()).finish(file) {
        ResultOutcome::None(error) if error.kind == ResultErrorKind::Empty || file.len() == FILE_MAX_BYTES => None,
        outcome => Some(outcome),
    }
}
