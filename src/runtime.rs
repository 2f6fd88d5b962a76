//! What any daemon needs: tasks, shutdown, telemetry, the admin server, findings of self-checks. Knows nothing of ours.

pub mod admin;
pub mod finding;
pub mod shutdown;
pub mod task;
pub mod telemetry;
