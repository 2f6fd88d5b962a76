//! The files of a run's directory, as the shim reads and writes them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ShimError;
use crate::domain::rundir::{self, ProcessIdentity};
use crate::sys::{Cause, Probe, Sys, Unknown};

/// The directory of the run.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    path: PathBuf,
    sys: Sys,
}

impl Dir {
    pub(super) fn new(path: &Path, sys: Sys) -> Self {
        Self { path: path.to_owned(), sys }
    }

    pub(super) fn sys(&self) -> &Sys {
        &self.sys
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether there is a file of this name.
    pub(super) fn look(&self, name: &str) -> Probe<()> {
        self.sys.look_at(&self.join(name)).map(drop)
    }

    /// Whether the run was removed.
    pub(super) fn is_gone(&self) -> bool {
        self.sys.look_at(&self.path).is_gone()
    }

    /// Takes the lock of the run; `None`: another has it.
    pub(super) fn lock(&self) -> Result<Option<File>, ShimError> {
        let path = self.join(rundir::LOCK);
        self.sys.lock(&path).map_err(|source| ShimError::File { path, source })
    }

    pub(super) fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, ShimError> {
        let failed = |source| ShimError::File { path: self.join(name), source };
        match self.sys.read_json(&self.join(name)) {
            Probe::There(value) => Ok(value),
            Probe::Gone => Err(failed(io::ErrorKind::NotFound.into())),
            Probe::Unknown(unknown) => Err(failed(unknown.into_error())),
        }
    }

    /// Reads a file whole; nothing if it is not there.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.sys.read(&self.join(name)).known().map_err(Unknown::into_error)?.unwrap_or_default())
    }

    /// Writes the file whole or not at all, and lasting. It may be there after a failure, too.
    pub(super) fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), ShimError> {
        let path = self.join(name);
        let write = || -> io::Result<()> {
            let staged = self.join(&format!(".{name}.shim"));
            self.sys.call("open")?;
            let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
            self.sys.call("write")?;
            file.write_all(&serde_json::to_vec(value)?)?;
            self.sys.call("fsync")?;
            file.sync_all()?;
            self.sys.rename(&staged, &path)?;
            self.sys.sync_dir(&self.path)
        };
        write().map_err(|source| ShimError::File { path: path.clone(), source })
    }

    /// Makes the log; what an earlier try left of it is empty.
    pub(super) fn create_log(&self) -> io::Result<File> {
        self.sys.call("open")?;
        File::options().create(true).truncate(true).write(true).mode(0o600).open(self.join(rundir::LOG))
    }

    /// Who this process is.
    pub(super) fn own_identity(&self) -> Result<ProcessIdentity, ShimError> {
        let pid = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
        self.sys.identity(pid).map_err(|source| ShimError::System { what: "reading /proc/self/stat", source })
    }

    /// Takes away what nobody will read of the result file, so that it does not fill the disk. What can't be done is
    /// tried again by whoever calls this again.
    pub(super) fn cut_result(&self) {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(fd) = rustix::fs::open(self.join(rundir::RESULT), flags, Mode::empty()) else { return };
        let file = File::from(fd);
        let is_large =
            |metadata: std::fs::Metadata| metadata.is_file() && metadata.len() > rundir::RESULT_FILE_MAX_BYTES;
        if file.metadata().is_ok_and(is_large) {
            let _ = file.set_len(rundir::RESULT_MAX_BYTES as u64);
        }
    }

    /// What the program wrote as its result: the first bytes of a regular file. A program without a sandbox
    /// may have put anything there; of what is no regular file nothing is read.
    ///
    /// # Errors
    /// It can't be read now.
    pub(super) fn read_result(&self) -> Result<Vec<u8>, Unknown> {
        match self.sys.read_head(&self.join(rundir::RESULT), rundir::RESULT_MAX_BYTES as u64) {
            Probe::There(bytes) => Ok(bytes),
            Probe::Gone => Ok(Vec::new()),
            Probe::Unknown(unknown) if unknown.kind == Cause::Malformed => Ok(Vec::new()),
            Probe::Unknown(unknown) => Err(unknown),
        }
    }
}
