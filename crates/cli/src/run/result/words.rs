//! How parts of results are shown.

use crate::terminal::console::{Console, Paint};
use crate::terminal::text::clean;
use longshore_api::v1 as pb;
use longshore_domain::result::{ResultErrorKind, ResultSource};

/// What was odd but not wrong, on stderr.
pub(super) fn report_warnings(warnings: &[String], console: &Console) {
    for warning in warnings {
        console.note(&format!("{} {}", console.paint_err("warning:", Paint::Yellow), clean(warning)));
    }
}

/// `SCAN`.
pub(super) fn source_name(source: ResultSource) -> &'static str {
    let name = pb::ResultSource::from(source).as_str_name();
    name.strip_prefix("RESULT_SOURCE_").unwrap_or(name)
}

/// `TRUNCATED`.
pub(super) fn kind_name(kind: ResultErrorKind) -> &'static str {
    let name = pb::ResultErrorKind::from(kind).as_str_name();
    name.strip_prefix("RESULT_ERROR_KIND_").unwrap_or(name)
}
