//! The runs of this machine: what is known of each, and what a process keeps of them beside their directories.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::directory::{Found, Store};
use super::facts::{Contents, Stand};
use super::inotify::LogNotifier;
use super::launch::Launcher;
use super::queue::Queue;
use super::retention::{RetentionClock, Room};
use super::shims::Shims;
use crate::blocking::lock;
use crate::metrics::LocalMetrics;
use crate::sys::{Cause, Probe, Unknown};
use longshore_backend::BackendError;
use longshore_domain::name::{NamespaceName, RunName};
use longshore_domain::run::facts::RunFacts;

/// What the roles share.
#[derive(Debug)]
pub(crate) struct LocalRuns {
    pub(crate) store: Store,
    pub(crate) launcher: Launcher,
    /// Reports what changes in logs that are read. `None`: the system has no inotify instance left.
    pub(crate) notifier: Mutex<Option<Arc<LogNotifier>>>,
    /// Name of this machine.
    pub(crate) node: String,
    /// What was read last of each run, for when something of it can't be read.
    pub(crate) seen: Mutex<HashMap<RunName, Arc<Contents>>>,
    /// Runs whose directories are being read for longer than they may take.
    pub(crate) slow: Mutex<HashSet<RunName>>,
    /// Namespaces whose directories are being listed for longer than they may take.
    pub(crate) listing: Mutex<HashSet<NamespaceName>>,
    /// Held, for each run that may be tried again, while it is acted on: a stop, the record and a further attempt exclude
    /// each other.
    pub(crate) deciding: Mutex<HashMap<RunName, Arc<Mutex<()>>>>,
    /// Runs that this process is ending with their shims. They are not lost.
    pub(crate) ending: Mutex<HashSet<RunName>>,
    /// The shims that this process started and that have not ended.
    pub(crate) shims: Arc<Shims>,
    /// Notified when a run turns out to be lost: of that no file says anything.
    pub(crate) lost: Arc<Notify>,
    /// Who may be started, and who waits.
    pub(crate) queue: Queue,
    /// What finished runs may take.
    pub(crate) room: Room,
    pub(crate) metrics: LocalMetrics,
    /// What retention goes by.
    pub(crate) clock: RetentionClock,
}

impl LocalRuns {
    /// What is known of a run. `None`: there is none.
    pub(crate) fn contents(&self, name: &RunName) -> Result<Option<Arc<Contents>>, BackendError> {
        let found = self.store.contents(name);
        let mut seen = lock(&self.seen);
        match found {
            Probe::Gone => {
                seen.remove(name);
                Ok(None)
            }
            Probe::There(Found::Foreign(what)) => Err(BackendError::Corrupt {
                what,
                message: "nothing in the state directory may have the name of a run but runs".to_owned(),
            }),
            Probe::There(Found::Run(contents)) => {
                let mut contents = *contents;
                if let Some(before) = seen.get(name) {
                    contents = contents.filled_from(before);
                }
                // Short of files as it begins, this process can't know even whose directory it is.
                if let Some(unknown) = contents.run.unknown().filter(|unknown| unknown.kind == Cause::Shortage) {
                    return Err(unknown_error(name, unknown));
                }
                if contents.stand() == Stand::Lost && lock(&self.ending).contains(name) {
                    let why = "it is being ended, with the process that supervised it".to_owned();
                    let unknown = Unknown { what: "the run".to_owned(), why, kind: Cause::Refused };
                    contents.shim_alive = Probe::Unknown(unknown);
                }
                let contents = Arc::new(contents);
                // What was not read adds nothing to what is known of the past. Of what does not change any more
                // nothing is kept.
                match contents.summarized.is_some() {
                    true => drop(seen.remove(name)),
                    false => drop(seen.insert(name.clone(), Arc::clone(&contents))),
                }
                Ok(Some(contents))
            }
            Probe::Unknown(unknown) => {
                let before = seen.get(name).cloned();
                drop(seen);
                self.unexamined(name, before.as_deref(), &unknown)
            }
        }
    }

    /// A run that could not be looked at, as far as it is known from before.
    pub(crate) fn unexamined(
        &self,
        name: &RunName,
        before: Option<&Contents>,
        why: &Unknown,
    ) -> Result<Option<Arc<Contents>>, BackendError> {
        if before.is_none() && why.kind == Cause::Shortage {
            return Err(unknown_error(name, why));
        }
        let blind = Contents::unexamined(name, self.store.dir(name).display().to_string(), why);
        Ok(Some(Arc::new(before.map_or_else(|| blind.clone(), |before| blind.clone().filled_from(before)))))
    }

    /// Refuses what would have to wait for a directory that does not answer.
    pub(crate) fn answers(&self, name: &RunName) -> Result<(), BackendError> {
        if !lock(&self.slow).contains(name) {
            return Ok(());
        }
        Err(BackendError::Unavailable { what: name.to_string(), message: "its directory does not answer".to_owned() })
    }

    /// The run that has this name; `NotFound` if it is not the one that is meant.
    pub(crate) fn own(&self, name: &RunName, uid: &str) -> Result<Arc<Contents>, BackendError> {
        let contents = self.contents(name)?.filter(|contents| contents.uid() == uid);
        contents.ok_or_else(|| BackendError::NotFound(name.to_string()))
    }

    /// The facts of a run: what its directory holds, and whether it has its turn yet.
    pub(crate) fn facts(&self, contents: &Contents) -> RunFacts {
        match self.waits(contents) {
            true => contents.waiting_facts(&self.node, self.queue.why()),
            false => contents.facts(&self.node),
        }
    }

    /// Whether the run has to wait for its turn.
    pub(crate) fn waits(&self, contents: &Contents) -> bool {
        contents.may_wait() && !self.queue.has_place(&contents.name)
    }

    /// Has changes of logs reported, if they are not.
    pub(crate) fn notify_of_logs(&self) {
        let mut notifier = lock(&self.notifier);
        if notifier.is_none() {
            match LogNotifier::start(self.store.sys()) {
                Ok(new) => *notifier = Some(new),
                Err(error) => tracing::debug!(%error, "no inotify instance: output is polled"),
            }
        }
    }
}

pub(crate) fn unknown_error(name: &RunName, unknown: &Unknown) -> BackendError {
    BackendError::Unavailable { what: format!("reading {name}"), message: unknown.to_string() }
}
