//! The time limit of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::error::RunError;

/// How much later than the limit a request is given up that nothing could interrupt, because a single step of it takes
/// so long.
const GRACE: Duration = Duration::from_millis(500);

/// A moment, and whether somebody stopped work because it had passed.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    at: Instant,
    seconds: u64,
    stopped_work: Arc<AtomicBool>,
}

impl Deadline {
    pub(super) fn new(start: Instant, seconds: u64) -> Self {
        Self { at: start + Duration::from_secs(seconds), seconds, stopped_work: Arc::default() }
    }

    /// Whether work may go on. Once this has said no, [`Self::stopped_work`] is true.
    pub(super) fn keep_on(&self) -> bool {
        let on = Instant::now() < self.at;
        if !on {
            self.stopped_work.store(true, Ordering::Relaxed);
        }
        on
    }

    /// Whether work was stopped, so that whatever failed since failed because of it.
    pub(super) fn stopped_work(&self) -> bool {
        self.stopped_work.load(Ordering::Relaxed)
    }

    /// `Err` with [`RunError::Timeout`] if the moment has passed.
    ///
    /// # Errors
    /// As said.
    pub(super) fn check(&self) -> Result<(), RunError> {
        if self.keep_on() { Ok(()) } else { Err(self.error()) }
    }

    /// When to give up waiting for work that does not stop.
    pub(super) fn give_up_at(&self) -> Instant {
        self.at + GRACE
    }

    pub(super) fn error(&self) -> RunError {
        RunError::Timeout { seconds: self.seconds }
    }
}
