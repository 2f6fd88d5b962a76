//! The files of a run's directory, as the shim reads and writes them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ShimError;
use crate::domain::rundir::{self, ProcessIdentity};

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ShimError> {
    let bytes = fs::read(path).map_err(|source| ShimError::File { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| ShimError::Corrupt { path: path.to_owned(), source })
}

/// Writes the file whole or not at all, and lasting.
pub(super) fn write_json<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<(), ShimError> {
    let path = dir.join(name);
    let write = || -> io::Result<()> {
        let staged = dir.join(format!(".{name}.shim"));
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(&staged, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| ShimError::File { path: path.clone(), source })
}

/// Who this process is.
pub(super) fn own_identity() -> Result<ProcessIdentity, ShimError> {
    let pid = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    identity(pid).map_err(|source| ShimError::System { what: "reading /proc/self/stat", source })
}

/// Who has this pid.
pub(super) fn identity(pid: i32) -> io::Result<ProcessIdentity> {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat()).map_err(io::Error::other)?;
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    Ok(ProcessIdentity { pid, start_time: stat.starttime, boot_id, time: Timestamp::now() })
}

/// What the program wrote as its result: the first bytes of a regular file. A program without a
/// sandbox may have put anything there, so no link is followed and nothing blocks.
pub(super) fn read_result(dir: &Path) -> Vec<u8> {
    let no_surprises = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(no_surprises.bits()).unwrap_or_default();
    let mut bytes = Vec::new();
    let Ok(file) = File::options().read(true).custom_flags(flags).open(dir.join(rundir::RESULT)) else { return bytes };
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        // What was read up to an error is what there is.
        let _ = file.take(rundir::RESULT_MAX_BYTES as u64).read_to_end(&mut bytes);
    }
    bytes
}
