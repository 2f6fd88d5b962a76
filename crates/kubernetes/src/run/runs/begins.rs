//! What keeps a stop from being written while an attempt begins: what is stopped before it began never starts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use longshore_domain::name::RunName;

/// Runs that have one lock in common wait for each other; that is rare, and harmless.
const LOCKS: usize = 64;
/// How long a stop waits. An attempt that began before it is ended by the stop.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The attempts that this process begins.
#[derive(Debug)]
pub(super) struct Begins {
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Begins {
    fn default() -> Self {
        Self { locks: std::iter::repeat_with(Mutex::default).take(LOCKS).collect(), hasher: RandomState::new() }
    }
}

impl Begins {
    /// Held while an attempt of the run begins.
    pub(super) async fn begin(&self, name: &RunName) -> Option<MutexGuard<'_, ()>> {
        Some(self.lock(name)?.lock().await)
    }

    /// Held while a stop of the run is written; waits for what begins, for a while.
    pub(super) async fn stop(&self, name: &RunName) -> Option<MutexGuard<'_, ()>> {
        timeout(WAIT_MAX, self.lock(name)?.lock()).await.ok()
    }

    fn lock(&self, name: &RunName) -> Option<&Mutex<()>> {
        let hash = usize::try_from(self.hasher.hash_one(name) % LOCKS as u64).unwrap_or_default();
        self.locks.get(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_domain::name::{NamespaceName, RunId};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_a_while_and_comes_all_the_same() {
        let (begins, begun) = (Begins::default(), Instant::now());
        let name = RunName { namespace: NamespaceName::default_namespace(), run: RunId::parse("hello").unwrap() };
        let begin = begins.begin(&name).await;
        assert!(begin.is_some() && begins.stop(&name).await.is_none());
        assert_eq!(begun.elapsed(), WAIT_MAX);
        drop(begin);
        assert!(begins.stop(&name).await.is_some());
        assert_eq!(begun.elapsed(), WAIT_MAX);
    }
}
