//! What to do about a run: idempotent actions, and when to look again.

use std::time::Duration;

use super::record::Record;
use super::run::StopIntent;

/// One thing to do to a run's objects. Doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write the stop intent, unless one is written: the first writer wins.
    WriteStop(StopIntent),
    /// End an attempt whose `run` never started (Job `activeDeadlineSeconds: 1`).
    EndUnstarted {
        /// Attempt, from 1.
        attempt: u32,
    },
    /// End an attempt whose `run` started (Pod `activeDeadlineSeconds: 1`): SIGTERM, grace, KILL;
    /// exit code and log stay.
    EndStarted {
        /// Attempt, from 1.
        attempt: u32,
    },
    /// Lower the deadline of a running attempt to this, counted from `node_time`.
    LowerDeadline {
        /// Attempt, from 1.
        attempt: u32,
        /// Whole seconds, at least 1.
        deadline: Duration,
    },
    /// Keep a result that is too large for the record beside it.
    StoreResult {
        /// Compact JSON.
        json: String,
    },
    /// Write the record, unless one is written.
    WriteRecord(Box<Record>),
    /// Tell the outcome in the Job's conditions, let go of our hold and start the retention clock.
    Release {
        /// The record's outcome, for the condition: (reason, message).
        reason: String,
        /// One sentence.
        message: String,
        /// How long the run is kept from now.
        retention: Duration,
    },
    /// Delete the run and everything it is made of.
    Delete,
}
