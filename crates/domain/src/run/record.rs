//! The terminal record: what stays of a run once nothing of it lives.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::result::{ResultInfo, ResultOutcome};
use crate::run::view::{Attempt, RunState, StopIntent, Timeline};

/// Largest serialised record, in bytes: it is an annotation of the Job.
pub const RECORD_MAX_BYTES: usize = 64 * 1024;
/// Largest result kept inside the record, in bytes of compact JSON as a string of the record's JSON.
pub const INLINE_RESULT_MAX_BYTES: usize = 32 * 1024;

/// What stays of a run. Written once, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this shape.
    pub version: u32,
    /// Terminal state.
    pub state: RunState,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The stop that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopIntent>,
    /// One sentence about how it ended.
    pub message: String,
    /// When each step was reached.
    pub timeline: Timeline,
    /// The attempts.
    pub attempts: Vec<Attempt>,
    /// The result: what is known of it, and its text if it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultInfo>,
    /// When this was written.
    pub record_time: Timestamp,
}

/// The version that is written.
pub const RECORD_VERSION: u32 = 1;

/// Longest texts that are kept, in bytes, if the record is too large: first these, then those.
const CUT_TEXTS: [usize; 2] = [1024, 128];
/// Most warnings about a result that are kept then.
const CUT_WARNINGS: usize = 8;

/// Whether a result stays inside the record: in a string of JSON every quote and backslash of it
/// counts twice.
#[must_use]
pub fn fits_inline(json: &str) -> bool {
    let escaped = json.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    json.len() + escaped <= INLINE_RESULT_MAX_BYTES
}

impl Record {
    /// The record as one line of JSON of at most [`RECORD_MAX_BYTES`]. Until it fits, evidence is
    /// dropped, then texts are cut, then earlier attempts are dropped, and the result at last: one
    /// that [`fits_inline`] never is.
    ///
    /// # Errors
    /// If it can't be serialised, or names in it are longer than any backend's.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let steps: [fn(&mut Self); 5] = [
            |record| record.attempts.iter_mut().for_each(|attempt| attempt.evidence.clear()),
            |record| record.cut_texts(CUT_TEXTS[0]),
            |record| record.cut_texts(CUT_TEXTS[1]),
            |record| drop(record.attempts.drain(..record.attempts.len().saturating_sub(1))),
            Self::drop_result,
        ];
        let mut text = serde_json::to_string(self)?;
        let mut small = self.clone();
        for step in steps {
            if text.len() <= RECORD_MAX_BYTES {
                return Ok(text);
            }
            step(&mut small);
            text = serde_json::to_string(&small)?;
        }
        if text.len() <= RECORD_MAX_BYTES {
            return Ok(text);
        }
        Err(serde::ser::Error::custom(format!("a record of {} bytes; at most {RECORD_MAX_BYTES} are kept", text.len())))
    }

    /// Cuts every text that somebody else wrote.
    fn cut_texts(&mut self, max: usize) {
        let cut = |text: &mut String| *text = longshore_text::cut(text, max);
        let failures = self.attempts.iter_mut().filter_map(|attempt| attempt.failure.as_mut());
        for failure in failures.chain(self.failure.as_mut()) {
            cut(&mut failure.message);
        }
        cut(&mut self.message);
        if let Some(stop) = &mut self.stop {
            cut(&mut stop.reason);
            cut(&mut stop.actor);
        }
        let Some(result) = &mut self.result else { return };
        if let Some(error) = &mut result.error {
            cut(&mut error.message);
        }
        if let Some(found) = &mut result.found {
            found.warnings.truncate(CUT_WARNINGS);
            found.warnings.iter_mut().for_each(cut);
        }
    }

    /// Reported as lost: a record that is silent about it would send readers to look beside it.
    fn drop_result(&mut self) {
        if self.result.as_ref().and_then(|result| result.found.as_ref()).is_some_and(|found| found.json.is_some()) {
            self.result = Some(ResultOutcome::Unavailable("the record had no room for it".to_owned()).to_info());
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If it is not a record of a version that is known.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests;
