//! The state directory: `<root>/<namespace>/<run>/`, one directory per run. Everything here is
//! atomic: a file, and a run, is there whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::facts::Contents;
use super::process;
use crate::backend::BackendError;
use crate::domain::name::{NamespaceName, RunId, RunName};
use crate::domain::rundir::{self, StoredRun};
use crate::domain::spec::{DEFAULT_FILE_MODE, File as RunFile};

/// What a directory is called while it is being made, or removed.
const STAGED: &str = ".new-";
const REMOVED: &str = ".old-";
/// Age at which something half made can't be somebody's work in progress any more.
const ABANDONED: Duration = Duration::from_secs(600);

/// The state directory.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
}

/// What came of making a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It is new.
    New,
    /// The name is taken.
    Exists,
}

impl Store {
    /// Opens the state directory; makes it, for its owner only, if it is not there.
    pub(super) fn open(root: PathBuf) -> Result<Self, BackendError> {
        make_private_dir(&root).map_err(|source| io_error("making the state directory", &root, source))?;
        trusted(&root)?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn namespace_dir(&self, namespace: &NamespaceName) -> PathBuf {
        self.root.join(namespace.as_str())
    }

    pub(super) fn dir(&self, name: &RunName) -> PathBuf {
        self.namespace_dir(&name.namespace).join(name.run.as_str())
    }

    /// Makes the directory of a run; lasting once this has returned.
    pub(super) fn create(
        &self,
        run: &StoredRun,
        input: Option<&[u8]>,
        files: &[RunFile],
    ) -> Result<Made, BackendError> {
        let namespace = self.namespace_dir(&run.name.namespace);
        make_private_dir(&namespace).map_err(|source| io_error("making the directory", &namespace, source))?;
        trusted(&namespace)?;
        let staged = namespace.join(format!("{STAGED}{}", unique()));
        let target = self.dir(&run.name);
        let make = || -> io::Result<Made> {
            stage(&staged, run, input, files)?;
            match fs::rename(&staged, &target) {
                Ok(()) => {}
                // POSIX: a directory replaces only an empty one.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                    ) =>
                {
                    fs::remove_dir_all(&staged)?;
                    return Ok(Made::Exists);
                }
                Err(error) => return Err(error),
            }
            sync_dir(&namespace)?;
            Ok(Made::New)
        };
        make().map_err(|source| {
            let _ = fs::remove_dir_all(&staged);
            io_error("creating", &target, source)
        })
    }

    /// Everything in a run's directory that facts are made of. `None`: there is no such directory.
    pub(super) fn contents(&self, name: &RunName) -> Result<Option<Contents>, BackendError> {
        let dir = self.dir(name);
        let spec = dir.join(rundir::SPEC);
        let run = match read_json::<StoredRun>(&spec)? {
            Some(run) => run,
            None if !dir.is_dir() => return Ok(None),
            // A run comes whole, so one that came between the two looks has it now.
            None => match read_json(&spec)? {
                Some(run) => run,
                None if !dir.is_dir() => return Ok(None),
                None => {
                    let what = dir.display().to_string();
                    return Err(BackendError::Corrupt { what, message: "it holds no file `spec`".to_owned() });
                }
            },
        };
        if run.version != rundir::SPEC_VERSION || run.name != *name {
            let message = format!("its spec is of version {} and of {}", run.version, run.name);
            return Err(BackendError::Corrupt { what: dir.display().to_string(), message });
        }
        // The order tells a run that is lost from one that moves on meanwhile. Who marks the start
        // is named before: the shim that is read after the mark is the one that made it. And one
        // that is seen dead can't write the exit afterwards.
        let started = read_json(&dir.join(rundir::STARTED))?;
        let shim = read_json(&dir.join(rundir::SHIM))?;
        let shim_alive = shim.as_ref().is_some_and(process::alive);
        let contents = Contents {
            directory: dir.display().to_string(),
            shim_alive,
            shim,
            started,
            child: read_json(&dir.join(rundir::CHILD))?,
            exit: read_json(&dir.join(rundir::EXIT))?,
            stop: read_json(&dir.join(rundir::STOP))?,
            record: read_json(&dir.join(rundir::RECORD))?,
            released: read_json(&dir.join(rundir::RELEASED))?,
            run,
        };
        // Removed meanwhile: then what was read last was missing for that.
        Ok(dir.join(rundir::SPEC).exists().then_some(contents))
    }

    /// Writes a file of a run unless it is there: the first writer wins.
    pub(super) fn publish<T: Serialize>(&self, name: &RunName, file: &str, value: &T) -> Result<(), BackendError> {
        self.write(name, file, &to_json(value)?, true)
    }

    /// Writes a file of a run, in place of what is there.
    pub(super) fn replace(&self, name: &RunName, file: &str, bytes: &[u8]) -> Result<(), BackendError> {
        self.write(name, file, bytes, false)
    }

    fn write(&self, name: &RunName, file: &str, bytes: &[u8], exclusive: bool) -> Result<(), BackendError> {
        let dir = self.dir(name);
        let target = dir.join(file);
        if exclusive && target.exists() {
            return Ok(());
        }
        let staged = dir.join(format!(".{file}-{}", unique()));
        let write = || -> io::Result<()> {
            write_file(&staged, bytes, 0o600)?;
            if exclusive {
                let linked = fs::hard_link(&staged, &target);
                fs::remove_file(&staged)?;
                match linked {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    linked => linked?,
                }
            } else {
                fs::rename(&staged, &target)?;
            }
            sync_dir(&dir)
        };
        write().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BackendError::NotFound(name.to_string()),
            _ => io_error("writing", &target, source),
        })
    }

    /// Reads a file of a run. `None`: it is not there.
    pub(super) fn read(&self, name: &RunName, file: &str) -> Result<Option<Vec<u8>>, BackendError> {
        read(&self.dir(name).join(file))
    }

    /// Takes the run away from every shim, for as long as the file stays open. `None`: one has it.
    pub(super) fn lock(&self, name: &RunName) -> Result<Option<File>, BackendError> {
        let path = self.dir(name).join(rundir::LOCK);
        let opened = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = opened.map_err(|source| io_error("opening", &path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(io_error("locking", &path, source)),
        }
    }

    /// Removes a run. From the first moment it is not there any more.
    pub(super) fn remove(&self, name: &RunName) -> Result<(), BackendError> {
        let dir = self.dir(name);
        let namespace = self.namespace_dir(&name.namespace);
        let doomed = namespace.join(format!("{REMOVED}{}", unique()));
        match fs::rename(&dir, &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackendError::NotFound(name.to_string()));
            }
            renamed => renamed.map_err(|source| io_error("removing", &dir, source))?,
        }
        sync_dir(&namespace).map_err(|source| io_error("removing", &dir, source))?;
        // What stays of it is swept later.
        let _ = fs::remove_dir_all(&doomed);
        Ok(())
    }

    /// The namespaces that have a directory.
    pub(super) fn namespaces(&self) -> Result<Vec<NamespaceName>, BackendError> {
        let names = entries(&self.root)?;
        Ok(names.iter().filter_map(|name| NamespaceName::parse(name).ok()).collect())
    }

    /// The runs of a namespace.
    pub(super) fn runs(&self, namespace: &NamespaceName) -> Result<Vec<RunName>, BackendError> {
        let dir = self.namespace_dir(namespace);
        let names = entries(&dir)?;
        if !names.is_empty() {
            trusted(&dir)?;
        }
        let name = |run| RunName { namespace: namespace.clone(), run };
        Ok(names.iter().filter_map(|text| RunId::parse(text).ok()).map(name).collect())
    }

    /// Removes what was abandoned half made or half removed.
    pub(super) fn sweep(&self) -> Result<(), BackendError> {
        for namespace in self.namespaces()? {
            let dir = self.namespace_dir(&namespace);
            for name in entries(&dir)? {
                let path = dir.join(&name);
                if name.starts_with(REMOVED) || (name.starts_with(STAGED) && is_abandoned(&path)) {
                    // Somebody else may be removing it too.
                    let _ = fs::remove_dir_all(&path);
                }
            }
        }
        Ok(())
    }
}

/// Whoever can write in a directory of ours can have us execute what they like.
fn trusted(dir: &Path) -> Result<(), BackendError> {
    let metadata = fs::metadata(dir).map_err(|source| io_error("looking at", dir, source))?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if ours && metadata.permissions().mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(BackendError::Rejected {
        what: format!("the directory {}", dir.display()),
        message: "it must belong to the server's user and be writable by nobody else: what is in it is executed"
            .to_owned(),
    })
}

/// Where we are root the program is not: what it reads and writes has to be its own.
fn give_to_program(staged: &Path, run: &StoredRun) -> io::Result<()> {
    let Some((user, group)) = run.execution.owner else { return Ok(()) };
    for name in [rundir::RESULT, rundir::INPUT, rundir::FILES] {
        give(&staged.join(name), user, group)?;
    }
    Ok(())
}

fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user, group)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(user), Some(group))
}

fn stage(staged: &Path, run: &StoredRun, input: Option<&[u8]>, files: &[RunFile]) -> io::Result<()> {
    make_private_dir(staged)?;
    write_file(&staged.join(rundir::SPEC), &serde_json::to_vec(run)?, 0o600)?;
    // It is there from the start so that it can be mounted.
    write_file(&staged.join(rundir::RESULT), b"", 0o600)?;
    if let Some(input) = input {
        write_file(&staged.join(rundir::INPUT), input, 0o400)?;
    }
    if !files.is_empty() {
        let base = staged.join(rundir::FILES);
        fs::create_dir(&base)?;
        for file in files {
            stage_file(&base, file)?;
        }
        sync_dir(&base)?;
    }
    give_to_program(staged, run)?;
    sync_dir(staged)
}

fn stage_file(base: &Path, file: &RunFile) -> io::Result<()> {
    let relative = Path::new(&file.path);
    // Paths are checked at submit; here it would be an escape.
    if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no relative path", file.path)));
    }
    let path = base.join(relative);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    write_file(&path, &file.content, file.mode.unwrap_or(DEFAULT_FILE_MODE) & 0o777)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // Not at creation: there the umask would have a say.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn is_abandoned(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > ABANDONED))
}

/// Names in a directory; none if it is gone.
fn entries(dir: &Path) -> Result<Vec<String>, BackendError> {
    let failed = |source| io_error("reading", dir, source);
    let listing = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in listing {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, BackendError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(io_error("reading", path, source)),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, BackendError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| BackendError::Corrupt { what: path.display().to_string(), message: error.to_string() })
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, BackendError> {
    serde_json::to_vec(value)
        .map_err(|error| BackendError::Corrupt { what: "a value to be stored".to_owned(), message: error.to_string() })
}

fn unique() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

fn io_error(doing: &str, path: &Path, source: io::Error) -> BackendError {
    BackendError::Io { what: format!("{doing} {}", path.display()), source }
}
