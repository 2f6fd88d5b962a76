//! The API server: connection, errors, list and watch, and the names of what is stored in it. Knows no run.

pub(crate) mod client;
pub(crate) mod conditions;
pub(crate) mod error;
pub(crate) mod job;
pub(crate) mod list_watch;
pub(crate) mod metrics;
pub mod names;
pub(crate) mod owned;
pub(crate) mod pace;
pub(crate) mod review;
