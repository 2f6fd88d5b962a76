//! Looking for executables as a shell does.

use std::path::PathBuf;

use crate::sys::{Cause, Probe, Unknown, look};

/// `$PATH` of runs, unless it is configured.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The executable file that `program` stands for: a path, or a name to be looked for in `path`.
///
/// # Errors
/// It was not found, and not everywhere could be looked.
pub(crate) fn find_program(program: &str, path: &str) -> Result<Option<PathBuf>, Unknown> {
    let places: Vec<PathBuf> = match program.contains('/') {
        true => vec![PathBuf::from(program)],
        false => std::env::split_paths(path).map(|dir| dir.join(program)).collect(),
    };
    let mut shortage = None;
    for file in places {
        match look(&file) {
            Probe::There(metadata) if metadata.is_file() => {
                if rustix::fs::access(&file, rustix::fs::Access::EXEC_OK).is_ok() {
                    return Ok(Some(file));
                }
            }
            // A directory that this user may not pass has no program for it.
            Probe::Unknown(unknown) if unknown.kind == Cause::Shortage => shortage = Some(unknown),
            Probe::There(_) | Probe::Gone | Probe::Unknown(_) => {}
        }
    }
    shortage.map_or(Ok(None), Err)
}
