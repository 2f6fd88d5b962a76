//! The terminal record: what stays of a run once nothing of it lives.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::result::ResultInfo;
use super::run::{Attempt, RunState, StopIntent, Timeline};

/// Largest serialised record, in bytes: it is an annotation of the Job.
pub const RECORD_MAX_BYTES: usize = 64 * 1024;
/// Largest result kept inside the record, in bytes of compact JSON.
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

impl Record {
    /// The record as one line of JSON of at most [`RECORD_MAX_BYTES`]: evidence, then messages,
    /// are shortened until it fits.
    ///
    /// # Errors
    /// If it can't be serialised.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let text = serde_json::to_string(self)?;
        if text.len() <= RECORD_MAX_BYTES {
            return Ok(text);
        }
        let mut small = self.clone();
        for attempt in &mut small.attempts {
            attempt.evidence.clear();
        }
        serde_json::to_string(&small)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If it is no record of a version that is known.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
