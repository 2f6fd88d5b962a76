//! How many files, connections among them, the process may have open.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the limit was before it was raised: programs that are started get it back, since some cannot do with more.
static BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Raises the soft limit to the hard one, and shows what it is then; `None`: there is none. Once a process.
pub fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let before = *BEFORE.get_or_init(|| limit.current);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = before, "the limit of open files cannot be raised");
            before
        }
    }
}

/// What the soft limit was before [`raise`]; `None`: none, or it was not raised.
#[must_use]
pub fn before() -> Option<u64> {
    BEFORE.get().copied().flatten()
}
