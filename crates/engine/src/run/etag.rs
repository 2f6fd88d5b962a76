//! A caller changes only the run that they have seen.

use crate::EngineError;
use longshore_domain::run::Run;

/// Refuses an etag that is not the present one; an empty one is any.
pub(super) fn check_etag(run: &Run, etag: &str) -> Result<(), EngineError> {
    let present = run.etag();
    if etag.is_empty() || etag == present {
        return Ok(());
    }
    Err(EngineError::EtagMismatch { name: run.name.clone(), present })
}
