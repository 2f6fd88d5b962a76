//! What runs inside a run: Longshore's own runners.
//!
//! A runner reads its request from the environment a run gives it ([`RunnerEnv`]), tells people what it does on
//! stderr, and prints its result, one JSON object on one line, on stdout. The shim runs beside the program
//! of a local run. This module knows the domain only.

pub mod canary;
pub mod enter;
mod env;
mod output;
pub mod shim;
mod sql;

pub use self::env::RunnerEnv;
#[cfg(any(test, feature = "fuzzing"))]
pub use self::sql::check_sql;
pub use self::sql::{SQL_INPUT_SCHEMA, SQL_RESULT_SCHEMA, run_sql};
