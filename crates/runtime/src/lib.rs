//! What any daemon needs: tasks, shutdown, telemetry, the admin server, TLS, findings of self-checks.
//! Knows nothing of ours.

pub mod admin;
pub mod backoff;
pub mod certificate;
pub mod files;
pub mod finding;
pub mod open_files;
pub mod printable;
pub mod shutdown;
pub mod task;
pub mod telemetry;
pub mod tls;
