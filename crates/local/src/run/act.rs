//! Carries out what was decided about a run.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::directory::to_json;
use super::facts::Contents;
use super::retention::add;
use super::runs::LocalRuns;
use crate::blocking::lock;
use crate::sys::{Cause, Unknown};
use longshore_backend::BackendError;
use longshore_domain::name::RunName;
use longshore_domain::run::plan::Action;
use longshore_domain::run::rundir::{self, Released};

impl LocalRuns {
    pub(crate) fn act(&self, name: &RunName, uid: &str, action: Action) -> Result<(), BackendError> {
        let contents = self.own(name, uid)?;
        if !contents.may_be_repeated() {
            return self.act_on(&contents, action);
        }
        let deciding = Arc::clone(lock(&self.deciding).entry(name.clone()).or_default());
        let _deciding = lock(&deciding);
        self.act_on(&*self.own(name, uid)?, action)
    }

    fn act_on(&self, contents: &Contents, action: Action) -> Result<(), BackendError> {
        let (name, uid) = (&contents.name, &contents.uid());
        match action {
            // Not while it is given its turn: what is stopped in the queue never starts.
            Action::WriteStop(stop) => self
                .queue
                .hold(contents.may_wait(), || self.publish(name, rundir::STOP, contents.stop.unknown(), &stop)),
            Action::EndUnstarted { .. } | Action::EndStarted { .. } => self.end(name, uid, contents),
            // The shim keeps the clock from the start itself.
            Action::LowerDeadline { .. } => Ok(()),
            // Its queue lets each run go once.
            Action::NoteStart { .. } | Action::ClosePreempted { .. } => Ok(()),
            // A run that is to stop, or is recorded, is not tried again.
            Action::WriteAttempt(record) => match is_ending(contents) || !contents.is_present(record.attempt.number) {
                true => Ok(()),
                false => self.store.publish(name, &rundir::settled(record.attempt.number), &record),
            },
            Action::BeginAttempt { attempt } => match is_ending(contents) || !contents.is_announced(attempt) {
                true => Ok(()),
                false => self.begin_attempt(contents, attempt),
            },
            Action::StoreResult { json } => self.store.replace(name, rundir::STORED_RESULT, json.as_bytes()),
            // Of what goes on with another attempt no end is recorded, unless that has not begun and is not to. The next
            // look shows it.
            Action::WriteRecord(record)
                if contents.goes_on_after(&record) && (contents.stop.is_gone() || !contents.is_between()) =>
            {
                Err(BackendError::Conflict(name.to_string()))
            }
            Action::WriteRecord(record) => self.store.publish(name, rundir::RECORD, &record),
            Action::Release { retention, .. } => {
                self.publish(name, rundir::RELEASED, contents.released.unknown(), &self.released(retention))
            }
            Action::Delete => {
                self.end_by_force(contents);
                self.remove(name)
            }
        }
    }

    /// Writes a file of a run: the first writer wins, unless what it wrote can be read by nobody.
    fn publish<T: serde::Serialize>(
        &self,
        name: &RunName,
        file: &str,
        unread: Option<&Unknown>,
        value: &T,
    ) -> Result<(), BackendError> {
        match unread.is_some_and(|unread| unread.kind == Cause::Malformed) {
            true => self.store.replace(name, file, &to_json(value)?),
            false => self.store.publish(name, file, value),
        }
    }

    /// Begins a further attempt once nothing of the one before lives. It gets its turn as any run does.
    fn begin_attempt(&self, contents: &Contents, attempt: u32) -> Result<(), BackendError> {
        let name = &contents.name;
        let busy = || BackendError::Conflict(name.to_string());
        // The shim may still be removing what it left, or may be lost with its program alive.
        self.end_by_force(contents);
        let child = contents.child.there();
        let lock = self.store.lock(name)?.ok_or_else(busy)?;
        if child.is_some_and(|child| !self.store.sys().look_at_process(&child.process).is_gone()) {
            return Err(busy());
        }
        // Before anybody can see it: then it never seems to wait although there is a place.
        self.queue.begin(name, contents.submission().create_time);
        let begun = self.store.begin_attempt(name, attempt);
        self.queue.begun(name, begun.is_ok());
        begun?;
        drop(lock);
        self.attend(&*self.own(name, &contents.uid())?);
        Ok(())
    }

    /// Starts the retention of a run of which nothing lives, and whose end can't be read.
    pub(crate) fn let_go(&self, contents: &Contents) -> Result<(), BackendError> {
        let retention = contents.submission().effective.retention;
        self.publish(&contents.name, rundir::RELEASED, contents.released.unknown(), &self.released(retention))
    }

    /// That a run is kept for so long from now.
    fn released(&self, retention: Duration) -> Released {
        Released { expire_time: add(Timestamp::now(), retention), kept_until: add(self.clock.now(), retention) }
    }

    pub(crate) fn remove(&self, name: &RunName) -> Result<(), BackendError> {
        self.store.remove(name)?;
        lock(&self.seen).remove(name);
        lock(&self.deciding).remove(name);
        self.queue.leave(name);
        Ok(())
    }
}

/// Whether nothing more is to be begun for it.
fn is_ending(contents: &Contents) -> bool {
    !contents.stop.is_gone() || !contents.record.is_gone()
}
