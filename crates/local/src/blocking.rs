//! Work that waits for a disk, tasks that end by themselves, and locks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_backend::BackendError;
use longshore_runtime as runtime;

/// How long what a role does may take; see [`Runs`](longshore_backend::Runs).
const ACT_WITHIN: Duration = Duration::from_secs(30);

/// Does something that waits for a disk, apart from the tasks that must not, and not for ever.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    match tokio::time::timeout(ACT_WITHIN, runtime::task::blocking(work)).await {
        Ok(done) => done.unwrap_or_else(|error| Err(joining(what, error))),
        Err(_) => {
            let message = format!("the disk did not answer within {} s", ACT_WITHIN.as_secs());
            Err(BackendError::Unavailable { what: what.to_owned(), message })
        }
    }
}

pub(crate) fn joining(what: &str, error: tokio::task::JoinError) -> BackendError {
    BackendError::Io { what: what.to_owned(), source: std::io::Error::other(error) }
}

/// Starts a task that ends by itself, or with what it serves.
pub(crate) fn task(name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
    runtime::task::spawn(name, future).abort_handle()
}

/// No panic can leave what these guard half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
