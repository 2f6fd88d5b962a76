//! How parts of results are shown.

use crate::terminal::console::{Console, Paint};
use crate::terminal::text::clean;
use longshore_api::enums::WireEnum;
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
    pb::ResultSource::from(source).short_name()
}

/// `TRUNCATED`.
pub(super) fn kind_name(kind: ResultErrorKind) -> &'static str {
    pb::ResultErrorKind::from(kind).short_name()
}
