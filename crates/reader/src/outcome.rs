//! What is found, or why nothing is.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// What a run's result is reported as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultInfo {
    /// Where the search stands.
    pub state: ResultState,
    /// The object, and where and how it was found. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<FoundResult>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ResultError>,
}

impl ResultInfo {
    /// A result that is still being looked for.
    #[must_use]
    pub fn pending() -> Self {
        Self { state: ResultState::Pending, found: None, error: None }
    }
}

/// Where the search for a result stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ResultState {
    /// Not ended, or still being read.
    Pending,
    /// There is an object.
    Found,
    /// The program gave nothing that looks like a result.
    Missing,
    /// What it gave is not a usable object.
    Invalid,
    /// The output was lost before it was read.
    Unavailable,
}

/// A result object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundResult {
    /// Compact JSON: keys in first-seen order, number text verbatim. `None` in a record whose
    /// result is kept beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// Size of the compact JSON in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the compact JSON, in hex.
    pub sha256: String,
    /// Where it was found.
    pub source: ResultSource,
    /// How it was written.
    pub dialect: ResultDialect,
    /// Bytes of the attempt's output, `[start, end)`. `None` for the result file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_range: Option<(u64, u64)>,
    /// What was odd but not wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where a result was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ResultSource {
    /// The result file.
    File,
    /// A marked line.
    MarkedLine,
    /// The scan.
    Scan,
}

/// How a result was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ResultDialect {
    /// RFC 8259.
    Json,
    /// JSON with NaN or Infinity.
    JsonWithNan,
    /// A Python literal.
    PythonLiteral,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultError {
    /// What is wrong.
    pub kind: ResultErrorKind,
    /// One sentence, with the text around the place.
    pub message: String,
    /// Byte in the output or the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// What is wrong with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ResultErrorKind {
    /// There was nothing.
    Empty,
    /// A value, but not an object.
    NotAnObject,
    /// An object began but did not end.
    Truncated,
    /// It cannot be read.
    Invalid,
    /// Larger than is kept.
    TooLarge,
    /// Nested deeper than is read.
    TooDeep,
}

/// What the reader says at the end.
#[derive(Clone, Debug, PartialEq)]
pub enum ResultOutcome {
    /// An object, its `json` set.
    Found(FoundResult),
    /// None, and why.
    None(ResultError),
    /// The output could not be read to its end; the sentence says why.
    Unavailable(String),
}

impl ResultOutcome {
    /// What there is of a program that never ran.
    #[must_use]
    pub fn never_ran() -> Self {
        let message = "the program never ran".to_owned();
        Self::None(ResultError { kind: ResultErrorKind::Empty, message, position: None })
    }

    /// The same as it is reported.
    #[must_use]
    pub fn to_info(&self) -> ResultInfo {
        match self {
            Self::Found(found) => ResultInfo { state: ResultState::Found, found: Some(found.clone()), error: None },
            Self::None(error) => {
                let state = match error.kind {
                    ResultErrorKind::Empty => ResultState::Missing,
                    _ => ResultState::Invalid,
                };
                ResultInfo { state, found: None, error: Some(error.clone()) }
            }
            Self::Unavailable(why) => {
                let error = ResultError { kind: ResultErrorKind::Truncated, message: why.clone(), position: None };
                ResultInfo { state: ResultState::Unavailable, found: None, error: Some(error) }
            }
        }
    }
}
