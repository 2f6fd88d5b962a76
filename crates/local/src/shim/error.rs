//! What goes wrong in a shim, and where it says so.

use std::path::PathBuf;

/// Why a shim gave up.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// A file of the directory.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Says it on standard error, which the daemon keeps.
pub(super) fn complain(trouble: &dyn std::fmt::Display) {
    // Nothing is left to report it to if this fails.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("longshore shim: {trouble}\n"));
}
