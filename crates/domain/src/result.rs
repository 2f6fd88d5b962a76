//! The JSON object that a run produced: how it is reported, and the reader that finds it.

mod contract;
mod foreign;
mod report;
pub mod schema;

pub use contract::{Checked, RunnerContract};
pub use longshore_reader as reader;
pub use longshore_reader::{
    FoundResult, ResultDialect, ResultError, ResultErrorKind, ResultInfo, ResultOutcome, ResultSource, ResultState,
};
pub use report::{Reported, ReportedStatus};
