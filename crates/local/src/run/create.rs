//! Makes runs, gives them their turn, and starts their shims.

use std::sync::Arc;

use jiff::Timestamp;

use super::directory::Made;
use super::facts::{Contents, Stand};
use super::runs::{LocalRuns, unknown_error};
use crate::sys::Cause;
use longshore_backend::{BackendError, Created, Launch};
use longshore_domain::name::RunName;
use longshore_domain::run::rundir::{self, Admitted};

impl LocalRuns {
    /// What has the name already. `None`: nothing.
    fn existing(&self, name: &RunName) -> Result<Option<Created>, BackendError> {
        let contents = match self.contents(name) {
            Err(BackendError::Corrupt { what, .. }) => return Ok(Some(Created::Taken { what })),
            contents => contents?,
        };
        let Some(contents) = contents else { return Ok(None) };
        match contents.run.unknown() {
            None => Ok(Some(Created::Exists(Box::new(self.facts(&contents))))),
            Some(unknown) if unknown.kind == Cause::Malformed => {
                let what = format!("a run whose record of what was submitted can't be read ({unknown})");
                Ok(Some(Created::Taken { what }))
            }
            Some(unknown) => Err(unknown_error(name, unknown)),
        }
    }

    pub(crate) fn create(&self, launch: &Launch) -> Result<Created, BackendError> {
        if let Some(existing) = self.existing(&launch.name)? {
            return Ok(existing);
        }
        let run = self.launcher.stored(launch, &self.store.dir(&launch.name))?;
        let input = launch.input.as_ref().map(longshore_domain::run::spec::Input::as_bytes);
        // Before anybody can see it: then it never seems to wait although there is a place.
        let is_new = self.queue.join(&launch.name, launch.submission.create_time);
        let made = self.store.create(&run, input, &launch.files);
        if is_new && !matches!(made, Ok(Made::New)) {
            self.queue.leave(&launch.name);
        }
        if made? == Made::Exists {
            // Gone again: it was removed meanwhile.
            return self.existing(&launch.name)?.ok_or_else(|| BackendError::Conflict(launch.name.to_string()));
        }
        let contents = self.own(&launch.name, &run.uid)?;
        Ok(Created::New(Box::new(self.facts(&contents))))
    }

    /// Gives a run its turn that has waited for it. One that is to be stopped is not started any more, and one
    /// that can't be looked at, or written to, waits on.
    pub(crate) fn admit(&self, name: &RunName) {
        let begin = || -> Result<_, BackendError> {
            let contents = self.contents(name)?.filter(|contents| contents.unknown().is_none());
            let Some(contents) = contents.filter(|contents| contents.may_wait()) else { return Ok(None) };
            if !contents.stop.is_gone() || contents.ordered {
                return Ok(None);
            }
            self.store.publish(name, rundir::ADMITTED, &Admitted { time: Timestamp::now() })?;
            self.contents(name)
        };
        match self.queue.admit(name, begin) {
            Ok(Some(contents)) => self.attend(&contents),
            Ok(None) => {}
            Err(error) => tracing::warn!(run = %name, %error, "a queued run can't be started yet; it keeps waiting"),
        }
    }

    /// Starts a shim if the run has none, has its turn and is not over. Failing is not final: the watcher
    /// tries again.
    pub(crate) fn attend(&self, contents: &Contents) {
        if contents.stand() != Stand::Unattended || self.waits(contents) {
            return;
        }
        match self.launcher.start_shim(self.store.sys(), &self.store.dir(&contents.name)) {
            Ok(shim) => Arc::clone(&self.shims).keep(contents.name.clone(), shim),
            Err(error) => {
                tracing::warn!(run = %contents.name, %error, "the shim could not be started; trying again");
            }
        }
    }
}
