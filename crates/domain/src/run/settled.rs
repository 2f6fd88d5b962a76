//! The record of an attempt after which another follows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::run::view::Attempt;

/// The version that is written.
pub(super) const VERSION: u32 = 1;

/// How an attempt ended after which another follows. Written once, never changed, and taken away by the run's own record,
/// which has all attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Version of this shape.
    pub version: u32,
    /// The attempt, with its failure.
    pub attempt: Attempt,
    /// What the next one is charged to.
    pub budget: RetryBudget,
    /// The next attempt does not begin before.
    pub not_before: Timestamp,
    /// When this was written.
    pub record_time: Timestamp,
}

/// What a further attempt is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RetryBudget {
    /// `max_retries`.
    Program,
    /// `infra_retries`.
    Infra,
}

impl AttemptRecord {
    /// As one line of JSON of a few KiB at most.
    ///
    /// # Errors
    /// If it can't be serialised.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is not one of a version that is known.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let record: Self = serde_json::from_str(text)?;
        if record.version == VERSION {
            Ok(record)
        } else {
            Err(serde::de::Error::custom(format!(
                "the record of an attempt has version {}; this server reads version {VERSION}",
                record.version
            )))
        }
    }
}
