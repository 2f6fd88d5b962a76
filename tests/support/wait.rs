//! Bounded waits. Nothing here is a synchronisation by time: a bound only turns a hang into a
//! failure, and is generous because machines are slow and noisy.

use std::future::Future;
use std::time::Duration;

/// How long anything may take at all.
pub(crate) const BOUND: Duration = Duration::from_secs(180);

/// Between two looks at something that can't be waited for otherwise.
const LOOK: Duration = Duration::from_millis(50);

/// What `future` gives.
///
/// # Panics
/// If that takes longer than [`BOUND`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain for {what}", BOUND.as_secs()),
    }
}

/// What `look` gives once it gives something.
///
/// # Panics
/// If that takes longer than [`BOUND`].
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(value) = look().await {
                return value;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}
