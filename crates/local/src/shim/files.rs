//! The files of a run's directory, as the shim reads and writes them.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ShimError;
use crate::sys::{Cause, Probe, Sys, Unknown};
use longshore_domain::run::rundir::{self, ProcessIdentity};

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
        let missing = || ShimError::File { path: self.join(name), source: io::ErrorKind::NotFound.into() };
        self.read_json_if_there(name)?.ok_or_else(missing)
    }

    /// The same of a file that may be missing.
    pub(super) fn read_json_if_there<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ShimError> {
        let failed = |unknown: Unknown| ShimError::File { path: self.join(name), source: unknown.into_error() };
        self.sys.read_json(&self.join(name)).known().map_err(failed)
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

    /// Opens the file for the result as it was created, before the program can do anything to it.
    ///
    /// # Errors
    /// It can't be opened.
    pub(super) fn open_result(&self) -> io::Result<ResultFile> {
        self.sys.call("open")?;
        Ok(ResultFile {
            dir: self.clone(),
            created: rustix::fs::open(self.result(), opening(OFlags::RDWR), Mode::empty())?.into(),
        })
    }

    fn result(&self) -> PathBuf {
        self.join(rundir::RESULT)
    }
}

/// The file for the result. In a sandbox it stays the one that was created, whatever the program does to its mode; a
/// program without one may have put anything in its place.
#[derive(Debug)]
pub(super) struct ResultFile {
    dir: Dir,
    created: File,
}

impl ResultFile {
    /// Takes away what nobody will read of it, so that it does not fill the disk. What can't be done is
    /// tried again at the next call. Answers how large it was, if that is known.
    pub(super) fn cut(&self) -> Option<u64> {
        let another = match *self.is_created().there()? {
            true => None,
            false => Some(rustix::fs::open(self.dir.result(), opening(OFlags::WRONLY), Mode::empty()).ok()?.into()),
        };
        let file = another.as_ref().unwrap_or(&self.created);
        let metadata = file.metadata().ok()?;
        // What has another name, too, is not the run's alone.
        if metadata.is_file() && metadata.nlink() == 1 && metadata.len() > rundir::RESULT_FILE_MAX_BYTES {
            let _ = file.set_len(rundir::RESULT_MAX_BYTES as u64);
        }
        Some(metadata.len())
    }

    /// What the program wrote as its result: the first bytes of a regular file. Of what is not a regular file, or may
    /// not be read, nothing is.
    ///
    /// # Errors
    /// It can't be read now, and may be later.
    pub(super) fn read(&self) -> Result<Vec<u8>, Unknown> {
        let limit = rundir::RESULT_MAX_BYTES as u64;
        let read = self.is_created().and_then(|is_created| match is_created {
            true => self.dir.sys.read_head_of(&self.created, &self.dir.result(), limit),
            false => self.dir.sys.read_head(&self.dir.result(), limit),
        });
        match read {
            Probe::There(bytes) => Ok(bytes),
            Probe::Gone => Ok(Vec::new()),
            Probe::Unknown(unknown) => match unknown.kind {
                Cause::Malformed | Cause::Denied => Ok(Vec::new()),
                Cause::Shortage | Cause::Refused => Err(unknown),
            },
        }
    }

    /// Takes away what the program may have given it: nobody executes it as the server's user.
    pub(super) fn close(self) {
        let _ = self.created.set_permissions(Permissions::from_mode(0o600));
    }

    /// Whether what has its name is still what was created.
    fn is_created(&self) -> Probe<bool> {
        let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        let created = self.created.metadata().ok().as_ref().map(identity);
        self.dir.sys.look_at(&self.dir.result()).map(|metadata| created == Some(identity(&metadata)))
    }
}

/// Nothing blocks, and no link is followed.
fn opening(how: OFlags) -> OFlags {
    how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    fn result() -> (tempfile::TempDir, PathBuf, ResultFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(rundir::RESULT);
        std::fs::write(&path, "{\"a\":1}").unwrap();
        let file = Dir::new(dir.path(), Sys::default()).open_result().unwrap();
        (dir, path, file)
    }

    /// What a program makes of the file, and what is read then.
    #[test]
    fn whatever_a_program_makes_of_its_result_is_read_at_once_or_not_at_all() {
        type Make = fn(&Path);
        let cases: [(&str, Make, &[u8]); 9] = [
            (
                "a mode that nobody may read",
                |path| std::fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap(),
                b"{\"a\":1}",
            ),
            (
                "another file",
                |path| {
                    std::fs::remove_file(path).unwrap();
                    std::fs::write(path, "{}").unwrap();
                },
                b"{}",
            ),
            ("nothing", |path| std::fs::remove_file(path).unwrap(), b""),
            (
                "a pipe",
                |path| {
                    std::fs::remove_file(path).unwrap();
                    mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap();
                },
                b"",
            ),
            (
                "a socket",
                |path| {
                    std::fs::remove_file(path).unwrap();
                    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
                },
                b"",
            ),
            (
                "a directory",
                |path| {
                    std::fs::remove_file(path).unwrap();
                    std::fs::create_dir(path).unwrap();
                },
                b"",
            ),
            (
                "a link",
                |path| {
                    std::fs::rename(path, path.with_extension("away")).unwrap();
                    symlink("result.away", path).unwrap();
                },
                b"",
            ),
            (
                "a link to itself",
                |path| {
                    std::fs::remove_file(path).unwrap();
                    symlink(path, path).unwrap();
                },
                b"",
            ),
            (
                "a link to a device",
                |path| {
                    std::fs::remove_file(path).unwrap();
                    symlink("/dev/zero", path).unwrap();
                },
                b"",
            ),
        ];
        for (what, make, expected) in cases {
            let (_dir, path, file) = result();
            make(&path);
            assert_eq!(file.read().unwrap(), expected, "{what}");
            file.cut();
            file.close();
        }
    }

    #[test]
    fn what_may_not_be_read_is_not_tried_again() {
        let (dir, path, _) = result();
        let faults = std::sync::Arc::new(crate::sys::fault::Faults::default());
        let file = Dir::new(dir.path(), Sys::with_faults(std::sync::Arc::clone(&faults))).open_result().unwrap();
        std::fs::rename(&path, path.with_extension("away")).unwrap();
        std::fs::write(&path, "{}").unwrap();
        for (errno, is_final) in [
            (rustix::io::Errno::ACCESS, true),
            (rustix::io::Errno::PERM, true),
            (rustix::io::Errno::IO, false),
            (rustix::io::Errno::MFILE, false),
        ] {
            faults.refuse("open", errno);
            assert_eq!(file.read().is_ok(), is_final, "{errno}");
            faults.disarm();
        }
        assert_eq!(file.read().unwrap(), b"{}");
    }

    #[test]
    fn a_result_is_cut_whatever_its_mode_and_nothing_that_has_another_name_is() {
        let large = vec![b'x'; rundir::RESULT_FILE_MAX_BYTES as usize + 1];
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        let (_dir, path, file) = result();
        std::fs::write(&path, &large).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        file.cut();
        assert_eq!(size(&path), rundir::RESULT_MAX_BYTES as u64);
        let other = path.with_extension("other");
        std::fs::write(&other, &large).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        file.cut();
        assert_eq!(size(&other), large.len() as u64);
    }

    #[test]
    fn nothing_that_a_program_wrote_stays_executable() {
        let (_dir, path, file) = result();
        std::fs::set_permissions(&path, Permissions::from_mode(0o6777)).unwrap();
        file.close();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }
}
