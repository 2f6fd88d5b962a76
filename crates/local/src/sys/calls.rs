//! The seam before each system call.

use std::io;
use std::sync::{Arc, OnceLock};

#[cfg(test)]
use super::fault::Faults;

/// Makes the system calls.
#[derive(Clone, Debug, Default)]
pub struct Sys {
    /// Identity of this boot, once it was read.
    pub(super) boot_id: Arc<OnceLock<String>>,
    #[cfg(test)]
    faults: Option<Arc<Faults>>,
}

impl Sys {
    /// Stands before each system call: here a test lets it fail.
    ///
    /// # Errors
    /// Never, but in a test.
    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "a test's has faults")]
    pub fn call(&self, _name: &'static str) -> io::Result<()> {
        Ok(())
    }

    /// See above.
    #[cfg(test)]
    pub(crate) fn call(&self, name: &'static str) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.call(name))
    }

    /// One whose calls fail as is planned there.
    #[cfg(test)]
    pub(crate) fn with_faults(faults: Arc<Faults>) -> Self {
        Self { faults: Some(faults), ..Self::default() }
    }
}
