//! Looks at directories within a bound: a disk that does not answer is one more way not to know.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::facts::Contents;
use super::runs::LocalRuns;
use crate::blocking::{joining, lock, task};
use crate::sys::{Cause, Unknown};
use longshore_backend::BackendError;
use longshore_domain::name::{NamespaceName, RunName};
use longshore_runtime as runtime;

/// How long the directory of one run may take to be read. One on a dead disk holds up no other.
const READ_WITHIN: Duration = Duration::from_secs(5);

impl LocalRuns {
    /// [`LocalRuns::contents`], within a bound.
    pub(crate) async fn read(self: &Arc<Self>, name: &RunName) -> Result<Option<Arc<Contents>>, BackendError> {
        let late = || {
            let why = format!("its directory did not answer within {} s", READ_WITHIN.as_secs());
            let unknown = Unknown { what: "the run".to_owned(), why, kind: Cause::Refused };
            let before = lock(&self.seen).get(name).cloned();
            self.unexamined(name, before.as_deref(), &unknown)
        };
        let (local, wanted) = (Arc::clone(self), name.clone());
        self.within_bound(|local| &local.slow, name, "reading a run", move || local.contents(&wanted), late).await
    }

    /// The runs of a namespace, within a bound.
    pub(crate) async fn list(self: &Arc<Self>, namespace: &NamespaceName) -> Result<Vec<RunName>, BackendError> {
        let late = || {
            let what = format!("reading namespace {namespace}");
            let message = format!("its directory did not answer within {} s", READ_WITHIN.as_secs());
            Err(BackendError::Unavailable { what, message })
        };
        let (local, wanted) = (Arc::clone(self), namespace.clone());
        let read = move || local.store.runs(&wanted);
        self.within_bound(|local| &local.listing, namespace, "reading a namespace", read, late).await
    }

    /// What `read` finds of `key`, or `otherwise` if that takes longer than it may; until it has ended `key` is among
    /// the `late`, and is not read again.
    async fn within_bound<K, T>(
        self: &Arc<Self>,
        late: fn(&Self) -> &Mutex<HashSet<K>>,
        key: &K,
        what: &str,
        read: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
        otherwise: impl FnOnce() -> Result<T, BackendError>,
    ) -> Result<T, BackendError>
    where
        K: Clone + Eq + Hash + Send + 'static,
        T: Send + 'static,
    {
        // One that waits is enough.
        if lock(late(self)).contains(key) {
            return otherwise();
        }
        let mut reading = runtime::task::blocking(read);
        if let Ok(read) = tokio::time::timeout(READ_WITHIN, &mut reading).await {
            return read.unwrap_or_else(|error| Err(joining(what, error)));
        }
        lock(late(self)).insert(key.clone());
        let (local, key) = (Arc::clone(self), key.clone());
        task("local-slow", async move {
            let _ = reading.await;
            lock(late(&local)).remove(&key);
        });
        otherwise()
    }
}
