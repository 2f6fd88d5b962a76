//! Backend `local`: runs as processes of this machine, each with a directory and a detached shim.
//!
//! The directory is the truth; this code reads it, writes intents and records into it, and starts
//! shims. It keeps nothing else, so a restart loses nothing.

mod blocking;
mod capabilities;
mod config;
pub mod doctor;
#[cfg(test)]
mod faults;
mod log;
mod metrics;
mod open;
mod roles;
mod run;
mod sandbox;
pub mod shim;
pub mod sys;

pub use config::{DEFAULT_LOG_MAX_BYTES, DEFAULT_MAX_PROCESSES, LocalConfig, default_concurrent_runs};
pub use metrics::LocalMetrics;
pub use open::open;
pub use run::retention::Room;
pub use sandbox::find::DEFAULT_PATH;
