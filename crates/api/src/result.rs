//! Results as the wire has them: what the server answers, and what `longshore result -o json` prints
//! of a text. Knows the domain's results, and nothing else of ours.

use super::v1;
use longshore_reader::{ResultDialect, ResultError, ResultErrorKind, ResultInfo, ResultSource, ResultState};

/// A result with the text `json`, which may be left out.
#[must_use]
pub fn result(info: &ResultInfo, json: Option<String>) -> v1::Result {
    let mut wire = v1::Result {
        state: v1::ResultState::from(info.state).into(),
        error: info.error.as_ref().map(result_error),
        ..v1::Result::default()
    };
    if let Some(found) = &info.found {
        wire.json = json.unwrap_or_default();
        wire.size_bytes = int64(found.size_bytes);
        wire.sha256.clone_from(&found.sha256);
        wire.source = v1::ResultSource::from(found.source).into();
        wire.dialect = v1::ResultDialect::from(found.dialect).into();
        wire.byte_range =
            found.byte_range.map(|(start, end)| v1::ByteRange { start_offset: int64(start), end_offset: int64(end) });
        wire.warnings.clone_from(&found.warnings);
    }
    wire
}

fn result_error(error: &ResultError) -> v1::ResultError {
    v1::ResultError {
        kind: v1::ResultErrorKind::from(error.kind).into(),
        message: error.message.clone(),
        offset: error.position.map(int64),
    }
}

fn int64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<ResultState> for v1::ResultState {
    fn from(state: ResultState) -> Self {
        match state {
            ResultState::Pending => Self::Pending,
            ResultState::Found => Self::Found,
            ResultState::Missing => Self::Missing,
            ResultState::Invalid => Self::Invalid,
            ResultState::Unavailable => Self::Unavailable,
        }
    }
}

impl From<ResultSource> for v1::ResultSource {
    fn from(source: ResultSource) -> Self {
        match source {
            ResultSource::File => Self::File,
            ResultSource::MarkedLine => Self::MarkedLine,
            ResultSource::Scan => Self::Scan,
        }
    }
}

impl From<ResultDialect> for v1::ResultDialect {
    fn from(dialect: ResultDialect) -> Self {
        match dialect {
            ResultDialect::Json => Self::Json,
            ResultDialect::JsonWithNan => Self::JsonWithNan,
            ResultDialect::PythonLiteral => Self::PythonLiteral,
        }
    }
}

impl From<ResultErrorKind> for v1::ResultErrorKind {
    fn from(kind: ResultErrorKind) -> Self {
        match kind {
            ResultErrorKind::Empty => Self::Empty,
            ResultErrorKind::NotAnObject => Self::NotAnObject,
            ResultErrorKind::Truncated => Self::Truncated,
            ResultErrorKind::Invalid => Self::Invalid,
            ResultErrorKind::TooLarge => Self::TooLarge,
            ResultErrorKind::TooDeep => Self::TooDeep,
        }
    }
}
