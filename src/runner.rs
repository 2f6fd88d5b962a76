//! What runs inside a run: Longshore's own runners.
//!
//! A runner reads its request from the environment a run gives it ([`RunnerEnv`]), tells people what it does on
//! stderr, and prints its result, one JSON object on one line, on stdout. The shim runs beside the program
//! of a local run.

pub use longshore_kubernetes::canary;
pub mod enter;
pub mod shim;

#[cfg(feature = "fuzzing")]
pub use longshore_sql::check_sql;
pub use longshore_sql::{RunnerEnv, SQL_INPUT_SCHEMA, SQL_RESULT_SCHEMA, run_sql};
