//! The shims that this process started. Those of a daemon before are not its children.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::blocking::{lock, task};
use longshore_domain::name::RunName;
use longshore_domain::run::rundir::ProcessIdentity;

/// Shims that are children of this process, and the runs of those that have ended.
#[derive(Debug, Default)]
pub(crate) struct Shims {
    alive: Mutex<HashSet<i32>>,
    ended: Mutex<Vec<RunName>>,
    changed: Notify,
}

impl Shims {
    /// Reaps a shim, and says so.
    pub(crate) fn keep(self: Arc<Self>, run: RunName, mut shim: tokio::process::Child) {
        let pid = shim.id().and_then(|pid| i32::try_from(pid).ok());
        lock(&self.alive).extend(pid);
        task("local-shim", async move {
            let _ = shim.wait().await;
            if let Some(pid) = pid {
                lock(&self.alive).remove(&pid);
            }
            lock(&self.ended).push(run);
            self.changed.notify_one();
        });
    }

    /// Whether the process is one of them: its end is reported.
    pub(crate) fn has(&self, process: &ProcessIdentity) -> bool {
        lock(&self.alive).contains(&process.pid)
    }

    /// Waits until shims have ended; answers whose. Safe to cancel.
    pub(crate) async fn ended(&self) -> Vec<RunName> {
        loop {
            let ended = std::mem::take(&mut *lock(&self.ended));
            if !ended.is_empty() {
                return ended;
            }
            self.changed.notified().await;
        }
    }
}
