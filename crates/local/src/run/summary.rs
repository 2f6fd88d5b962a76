//! What is needed of a run of which nothing changes any more, in one file: so a start reads one file of each
//! finished run. It follows from the run's other files, and is made from them again if it can't be read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::facts::{AttemptLedger, Contents, DirectoryId, Stand};
use crate::sys::Probe;
use longshore_domain::name::RunName;
use longshore_domain::run::StopIntent;
use longshore_domain::run::facts::Submission;
use longshore_domain::run::record::Record;
use longshore_domain::run::rundir::{Admitted, Exit, KeptRun, ProcessIdentity, Released, SPEC_VERSION, Started};

/// Version of [`Summary`] that is written. Another one is not read.
const VERSION: u32 = 1;

/// What [`longshore_domain::run::rundir::SUMMARY`] holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    summary: u32,
    uid: String,
    name: RunName,
    submission: Submission,
    /// What the directory takes.
    bytes: u64,
    shim: Option<ProcessIdentity>,
    admitted: Option<Admitted>,
    started: Option<Started>,
    exit: Option<Exit>,
    stop: Option<StopIntent>,
    record: Record,
    released: Released,
}

impl Summary {
    /// Of this run. `None`: something of it may change, or could not be read.
    pub(crate) fn of(contents: &Contents, bytes: u64) -> Option<Self> {
        if !contents.unread.is_empty() || !matches!(contents.stand(), Stand::Over | Stand::Lost) {
            return None;
        }
        let run = contents.run.there()?;
        Some(Self {
            summary: VERSION,
            uid: run.uid.clone(),
            name: run.name.clone(),
            submission: run.submission.clone(),
            bytes,
            shim: contents.shim.there().cloned(),
            admitted: contents.admitted.there().cloned(),
            started: contents.started.there().cloned(),
            exit: contents.exit.there().cloned(),
            stop: contents.stop.there().cloned(),
            record: contents.record.there()?.clone(),
            released: contents.released.there()?.clone(),
        })
    }

    /// What the files of the run hold. `None`: this is of another run, or of another version.
    pub(crate) fn contents(self, name: &RunName, directory: String, id: Option<DirectoryId>) -> Option<Contents> {
        fn known<T>(value: Option<T>) -> Probe<T> {
            value.map_or(Probe::Gone, Probe::There)
        }
        if self.summary != VERSION || self.name != *name || (self.exit.is_none() && self.started.is_none()) {
            return None;
        }
        let Self { uid, name, submission, bytes, shim, admitted, started, exit, stop, record, released, .. } = self;
        let run = KeptRun { version: SPEC_VERSION, uid, name: name.clone(), submission };
        let number = record.attempts.last().map_or(1, |attempt| attempt.number);
        Some(Contents {
            name,
            directory,
            id,
            run: Probe::There(Arc::new(run)),
            ledger: Probe::There(AttemptLedger { number, begun: None, settled: Vec::new() }),
            shim: known(shim),
            // Nothing of it lives, or it would not have been released.
            shim_alive: Probe::Gone,
            admitted: known(admitted),
            started: known(started),
            child: Probe::Gone,
            child_alive: Probe::Gone,
            exit: known(exit),
            ordered: false,
            stop: known(stop),
            record: Probe::There(record),
            released: Probe::There(released),
            unread: Vec::new(),
            summarized: Some(bytes),
        })
    }
}
