//! A `bwrap` that works here.

use super::system::{Masked, SystemPath};
use super::trial::{Able, Trial};

/// A `bwrap` that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// Its path.
    pub(crate) bwrap: String,
    /// `setpriv`, where we are root: it gives up root inside the sandbox.
    pub(crate) setpriv: Option<String>,
    /// This executable, see [`ENTER`](longshore_domain::run::rundir::ENTER).
    pub(crate) executable: String,
    /// The system's directories.
    pub(crate) system: Vec<SystemPath>,
    /// What of `/proc` is masked.
    pub(crate) masked: Vec<Masked>,
    /// What it can do.
    pub(crate) able: Able,
    /// What came of trying it.
    pub(crate) trial: Trial,
}
