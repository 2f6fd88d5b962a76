//! Files and directories.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::calls::Sys;
use super::probe::{Probe, Unknown};

/// No file of a run that is read as a whole is larger, in bytes.
const WHOLE_MAX: u64 = 256 << 20;

/// What is at `path`, links followed.
#[must_use]
pub fn look(path: &Path) -> Probe<Metadata> {
    Sys::default().look(path)
}

/// Whether there is a regular file at `path`, links followed. `false` also if that is not known: for
/// hints only.
#[must_use]
pub fn seems_file(path: &Path) -> bool {
    look(path).there().is_some_and(Metadata::is_file)
}

/// Whether there is a directory at `path`, links followed. `false` also if that is not known: for hints
/// only.
#[must_use]
pub fn seems_directory(path: &Path) -> bool {
    look(path).there().is_some_and(Metadata::is_dir)
}

/// What a message calls a file: its name alone, since callers read it and where runs are kept is not
/// for them.
fn shown(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| format!("`{}`", name.display()))
}

/// A file that is in memory only, at its start. What is started does not inherit it, unless it is made to.
///
/// # Errors
/// The system refused: no memory, or no file descriptor.
pub fn in_memory(name: &str, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// Has what this process starts from now on inherit a file, whichever thread starts it.
///
/// # Errors
/// None that an open file has.
pub fn bequeath(file: &impl AsFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?)
}

impl Sys {
    /// What is at `path`, links followed.
    pub fn look(&self, path: &Path) -> Probe<Metadata> {
        Probe::of(|| shown(path), self.call("stat").and_then(|()| fs::metadata(path)))
    }

    /// What is at `path` itself.
    pub fn look_at(&self, path: &Path) -> Probe<Metadata> {
        Probe::of(|| shown(path), self.call("lstat").and_then(|()| fs::symlink_metadata(path)))
    }

    /// Opens a regular file for reading. Nothing blocks, and no link is followed: a program may have put
    /// anything there.
    pub fn open(&self, path: &Path) -> Probe<File> {
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let open = || {
            self.call("open")?;
            let file = File::options().read(true).custom_flags(flags).open(path)?;
            self.call("fstat")?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        Probe::of(|| shown(path), open()).and_then(|(file, metadata)| match metadata.is_file() {
            true => Probe::There(file),
            false => Probe::Unknown(Unknown::malformed(shown(path), "it is not a regular file")),
        })
    }

    /// The content of a regular file, at most `limit` bytes of it.
    pub fn read_head(&self, path: &Path, limit: u64) -> Probe<Vec<u8>> {
        self.open(path).and_then(|file| self.read_head_of(&file, path, limit))
    }

    /// The same of the file that was opened at `path`, from its start.
    pub fn read_head_of(&self, mut file: &File, path: &Path, limit: u64) -> Probe<Vec<u8>> {
        let mut read = || {
            self.call("read")?;
            file.rewind()?;
            let mut bytes = Vec::new();
            file.take(limit).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        Probe::of(|| shown(path), read())
    }

    /// The whole content of a regular file.
    pub fn read(&self, path: &Path) -> Probe<Vec<u8>> {
        self.read_head(path, WHOLE_MAX).and_then(|bytes| match bytes.len() as u64 {
            WHOLE_MAX.. => Probe::Unknown(Unknown::malformed(shown(path), "it is too large")),
            _ => Probe::There(bytes),
        })
    }

    /// The value that a regular file holds as JSON.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Probe<T> {
        self.read(path).and_then(|bytes| match serde_json::from_slice(&bytes) {
            Ok(value) => Probe::There(value),
            Err(error) => Probe::Unknown(Unknown::malformed(shown(path), error.to_string())),
        })
    }

    /// Names in a directory.
    pub fn read_dir(&self, path: &Path) -> Probe<Vec<OsString>> {
        let read = || {
            self.call("readdir")?;
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
        };
        Probe::of(|| shown(path), read())
    }

    /// Writes a file that is not there yet; lasting once its directory is, too.
    ///
    /// # Errors
    /// It is there, or the system refused. What was written of it may be left.
    pub fn write_new(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.call("open")?;
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
        self.call("write")?;
        file.write_all(bytes)?;
        // Not at creation: there the umask would have a say.
        self.call("fchmod")?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        self.call("fsync")?;
        file.sync_all()
    }

    /// Writes a file that is not there yet and may be lost, or be cut short, with the machine's power.
    ///
    /// # Errors
    /// It is there, or the system refused. What was written of it may be left.
    pub fn write_fleeting(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.call("open")?;
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
        self.call("write")?;
        file.write_all(bytes)
    }

    /// Gives a file another name, in place of what has it.
    ///
    /// # Errors
    /// The system refused.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename")?;
        fs::rename(from, to)
    }

    /// Gives a file a second name, unless something has it.
    ///
    /// # Errors
    /// Something has it, or the system refused.
    pub fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("link")?;
        fs::hard_link(from, to)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// The system refused.
    pub fn unlink(&self, path: &Path) -> io::Result<()> {
        self.call("unlink")?;
        fs::remove_file(path)
    }

    /// Makes the entries of a directory lasting.
    ///
    /// # Errors
    /// The system refused.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("open")?;
        let dir = File::open(path)?;
        self.call("fsync")?;
        dir.sync_all()
    }

    /// Makes a directory for its owner alone, with those above it, unless it is there.
    ///
    /// # Errors
    /// The system refused.
    pub fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.call("mkdir")?;
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Removes a directory with all that is in it.
    ///
    /// # Errors
    /// The system refused; some of it may be gone.
    pub fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.call("rmdir")?;
        fs::remove_dir_all(path)
    }

    /// Takes the lock of a file for as long as it stays open, without waiting; makes the file. `None`:
    /// somebody else has it.
    ///
    /// # Errors
    /// The system refused.
    pub fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        self.call("open")?;
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        self.flock(file)
    }

    /// Whether somebody has the lock of a file: [`Probe::Gone`] if nobody has, or there is no file.
    pub fn look_at_lock(&self, path: &Path) -> Probe<()> {
        self.open(path).and_then(|file| match self.flock(file) {
            Ok(None) => Probe::There(()),
            Ok(Some(_)) => Probe::Gone,
            Err(error) => Probe::Unknown(Unknown::of(shown(path), &error)),
        })
    }

    fn flock(&self, file: File) -> io::Result<Option<File>> {
        self.call("flock")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Cause;

    #[test]
    fn only_regular_files_are_read_and_nothing_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "1").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let sys = Sys::default();
        assert_eq!(sys.read_json::<i32>(&at("file")), Probe::There(1));
        for name in ["link", "fifo", "directory"] {
            let probe = sys.read(&at(name));
            assert_eq!(probe.unknown().map(|unknown| unknown.kind), Some(Cause::Malformed), "{name}: {probe:?}");
        }
        let text = sys.read_json::<String>(&at("file"));
        assert_eq!(text.unknown().map(|unknown| unknown.kind), Some(Cause::Malformed), "{text:?}");
        assert!(sys.read(&at("none")).is_gone() && sys.read(&at("file/below")).is_gone());
    }

    #[test]
    fn a_lock_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let sys = Sys::default();
        assert_eq!(sys.look_at_lock(&path), Probe::Gone, "there is no file");
        let lock = sys.lock(&path).unwrap().unwrap();
        assert_eq!(sys.look_at_lock(&path), Probe::There(()));
        assert!(sys.lock(&path).unwrap().is_none());
        drop(lock);
        assert_eq!(sys.look_at_lock(&path), Probe::Gone);
    }
}
