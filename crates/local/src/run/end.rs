//! Ends runs: by their shims, and by force where a shim does not.

use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;

use super::facts::{Contents, Stand};
use super::runs::LocalRuns;
use crate::blocking::lock;
use crate::sys::Probe;
use longshore_backend::BackendError;
use longshore_domain::name::RunName;
use longshore_domain::run::rundir::{self, Exit, ExitReason, ProcessIdentity};

/// How often, and how long after one another, what was killed is looked for.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

impl LocalRuns {
    pub(crate) fn end(&self, name: &RunName, uid: &str, contents: &Contents) -> Result<(), BackendError> {
        if contents.stand() == Stand::Over {
            return Ok(());
        }
        self.store.publish(name, rundir::END, &())?;
        // Looked at again: a shim that was not there before may have missed the order.
        let contents = self.own(name, uid)?;
        match contents.stand() {
            Stand::Over => Ok(()),
            Stand::Starting | Stand::Running | Stand::Unknown => {
                if let Some(shim) = contents.shim.there() {
                    // The order stands: a shim that misses the signal finds it.
                    let _ = self.store.sys().signal(shim, Signal::USR1);
                }
                Ok(())
            }
            Stand::Lost => {
                self.end_by_force(&contents);
                Ok(())
            }
            // No shim can start the program as long as we hold its lock.
            Stand::Unattended => match self.store.lock(name)? {
                Some(_lock) if self.own(name, uid)?.stand() == Stand::Unattended => {
                    self.store.publish(name, rundir::EXIT, &Exit::not_started(Timestamp::now()))
                }
                // A shim has it, and sees the order.
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Ends what still lives of a run that nobody supervises, or that is to vanish. What can't be looked
    /// at is left alone.
    pub(crate) fn end_by_force(&self, contents: &Contents) {
        let sys = self.store.sys();
        let shim = contents.shim.there().map(|shim| sys.signal(shim, Signal::KILL));
        let child = contents.child.there().map(|child| sys.kill_group(&child.process));
        for unknown in [shim, child].iter().flatten().filter_map(Probe::unknown) {
            tracing::warn!(run = %contents.name, %unknown, "what is left of a run could not be ended");
        }
    }

    /// Ends a run whose shim does not: one that was stopped, or hangs. What can't be looked at is left
    /// alone, and so is a shim whose program has ended: it may be waiting for room on its disk.
    pub(crate) fn enforce(&self, contents: &Contents, reason: ExitReason) -> Result<(), BackendError> {
        let sys = self.store.sys();
        let Some(shim) = contents.shim.there() else { return Ok(()) };
        let child = contents.child.there();
        let runs = child.is_some_and(|child| sys.look_at_process(&child.process).is_there());
        if !runs && !sys.is_stopped(shim) || !lock(&self.ending).insert(contents.name.clone()) {
            return Ok(());
        }
        let ended = self.end_with_shim(contents, shim, reason);
        lock(&self.ending).remove(&contents.name);
        ended
    }

    fn end_with_shim(
        &self,
        contents: &Contents,
        shim: &ProcessIdentity,
        reason: ExitReason,
    ) -> Result<(), BackendError> {
        let sys = self.store.sys();
        tracing::warn!(run = %contents.name, "its shim has not ended the run in time; it is ended with its shim");
        for _ in 0..TRIES {
            match sys.kill_descendants(shim) {
                Ok(true) => std::thread::sleep(BETWEEN_TRIES),
                Ok(false) => break,
                Err(source) => return Err(BackendError::Io { what: format!("ending {}", contents.name), source }),
            }
        }
        self.end_by_force(contents);
        // Held until the shim is gone; then nobody else writes how the run ended.
        for _ in 0..TRIES {
            if let Some(_lock) = self.store.lock(&contents.name)? {
                let exit = Exit {
                    reason,
                    exit_code: 128 + Signal::KILL.as_raw(),
                    signal: Some(Signal::KILL.as_raw()),
                    started_at: contents.started.there().map(|started| started.time),
                    log_error: Some("the process that kept the log did not answer and was ended".to_owned()),
                    ..Exit::not_started(Timestamp::now())
                };
                return self.store.publish(&contents.name, rundir::EXIT, &exit);
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
        Ok(())
    }
}
