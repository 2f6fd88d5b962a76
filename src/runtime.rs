//! What any daemon needs: tasks, shutdown, telemetry, the admin server. Knows nothing of ours.

pub mod admin;
pub mod shutdown;
pub mod task;
pub mod telemetry;
