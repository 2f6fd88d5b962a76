//! The state directory: `<root>/<namespace>/<run>/`, one directory per run. Everything here is
//! atomic: a file, and a run, is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::facts::{AttemptLedger, Contents, DirectoryId};
use super::retention::RetentionClock;
use super::summary::Summary;
use crate::sys::{Cause, Probe, Sys, Unknown};
use longshore_backend::BackendError;
use longshore_domain::name::{NamespaceName, RunId, RunName};
use longshore_domain::run::retry::AttemptRecord;
use longshore_domain::run::rundir::{self, Child, KeptRun, PresentAttempt, StoredRun};
use longshore_domain::run::spec::{DEFAULT_FILE_MODE, File as RunFile};

/// What a directory is called while it is being made, or removed.
const STAGED: &str = ".new-";
const REMOVED: &str = ".old-";
/// Held (`flock`) by the daemon, with its process id in it.
const DAEMON_LOCK: &str = ".lock";
/// See [`super::retention`].
const RETENTION_CLOCK: &str = ".retention";
/// How often a run is read that goes from one attempt to the next meanwhile.
const TRIES: u32 = 3;
/// The unit of `st_blocks`, in bytes.
const BLOCK: u64 = 512;
/// How deep directories of files are looked into for what they take.
const DEPTH_MAX: usize = 32;
/// Age at which something half made can't be somebody's work in progress any more.
const ABANDONED: Duration = Duration::from_secs(600);

/// The state directory.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    /// Which directory that was when it was opened.
    root_inode: Option<(u64, u64)>,
    /// Keeps other daemons out.
    _lock: Option<File>,
    sys: Sys,
}

/// What has the name of a run.
#[derive(Debug)]
pub(crate) enum Found {
    /// A run.
    Run(Box<Contents>),
    /// Something that is not ours; the sentence says why.
    Foreign(String),
}

/// What came of making a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It is new.
    New,
    /// The name is taken.
    Exists,
}

impl Store {
    /// Opens the state directory; makes it, for its owner only, if it is not there.
    pub(crate) fn open(root: PathBuf, sys: Sys) -> Result<Self, BackendError> {
        sys.make_dir(&root).map_err(|source| io_error("making the state directory", &root, source))?;
        trusted(&sys, &root)?;
        let metadata = sys.look(&root).known();
        let metadata = metadata.map_err(|unknown| io_error("looking at", &root, unknown.into_error()))?;
        let lock = Some(lock_root(&sys, &root)?);
        Ok(Self { root_inode: metadata.map(|metadata| (metadata.dev(), metadata.ino())), root, _lock: lock, sys })
    }

    /// One that is only looked at.
    pub(crate) fn existing(root: PathBuf) -> Self {
        Self { root, root_inode: None, _lock: None, sys: Sys::default() }
    }

    pub(crate) fn retention_clock(&self) -> RetentionClock {
        RetentionClock::open(&self.sys, &self.root.join(RETENTION_CLOCK))
    }

    pub(crate) fn sys(&self) -> &Sys {
        &self.sys
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn namespace_dir(&self, namespace: &NamespaceName) -> PathBuf {
        self.root.join(namespace.as_str())
    }

    pub(crate) fn dir(&self, name: &RunName) -> PathBuf {
        self.namespace_dir(&name.namespace).join(name.run.as_str())
    }

    /// Makes the directory of a run; lasting once this has returned.
    pub(crate) fn create(
        &self,
        run: &StoredRun,
        input: Option<&[u8]>,
        files: &[RunFile],
    ) -> Result<Made, BackendError> {
        let namespace = self.namespace_dir(&run.name.namespace);
        let sys = &self.sys;
        sys.make_dir(&namespace).map_err(|source| io_error("making the directory", &namespace, source))?;
        trusted(sys, &namespace)?;
        let staged = namespace.join(format!("{STAGED}{}", unique()));
        let target = self.dir(&run.name);
        let make = || -> io::Result<Made> {
            stage(sys, &staged, run, input, files)?;
            match sys.rename(&staged, &target) {
                Ok(()) => {}
                // POSIX: a directory replaces only an empty one.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                    ) =>
                {
                    sys.remove_tree(&staged)?;
                    return Ok(Made::Exists);
                }
                Err(error) => return Err(error),
            }
            sys.sync_dir(&namespace)?;
            Ok(Made::New)
        };
        make().map_err(|source| {
            // What stays of it is swept later.
            let _ = sys.remove_tree(&staged);
            io_error("creating", &target, source)
        })
    }

    /// Everything in a run's directory that facts are made of, as far as it can be read. Nothing is gone
    /// only because the state directory is, with a disk say.
    pub(crate) fn contents(&self, name: &RunName) -> Probe<Found> {
        match self.look_at_run(name) {
            Probe::Gone => self.look_at_root().and_then(|()| Probe::Gone),
            found => found,
        }
    }

    /// Whether the state directory is still the one that was opened; never [`Probe::Gone`].
    fn look_at_root(&self) -> Probe<()> {
        let is_same = |metadata: &fs::Metadata| self.root_inode.is_none_or(|it| it == (metadata.dev(), metadata.ino()));
        match self.sys.look(&self.root) {
            Probe::There(metadata) if is_same(&metadata) => Probe::There(()),
            Probe::Unknown(unknown) => Probe::Unknown(unknown),
            Probe::There(_) | Probe::Gone => {
                let why = "it is not there any more, or is another one".to_owned();
                Probe::Unknown(Unknown { what: "the state directory".to_owned(), why, kind: Cause::Refused })
            }
        }
    }

    fn look_at_run(&self, name: &RunName) -> Probe<Found> {
        let dir = self.dir(name);
        let found = match self.directory_id(&dir) {
            Probe::There(Some(id)) => {
                self.read_summary(name, &dir, id).unwrap_or_else(|| self.read_contents(name, &dir, Some(id)))
            }
            Probe::There(None) => {
                return Probe::There(Found::Foreign(format!("{}, which is not a directory,", dir.display())));
            }
            Probe::Gone => return Probe::Gone,
            Probe::Unknown(unknown) => return Probe::Unknown(unknown),
        };
        // Removed meanwhile, or by now another's: then what was read last was missing for that.
        match self.directory_id(&dir) {
            Probe::There(id) if id != found.id => return Probe::Gone,
            Probe::Gone => return Probe::Gone,
            Probe::There(_) | Probe::Unknown(_) => {}
        }
        let is_spec_missing = found.run.is_gone();
        let has_none = found.unread.is_empty()
            && [found.started.is_gone(), found.shim.is_gone(), found.exit.is_gone()].iter().all(|gone| *gone)
            && [found.stop.is_gone(), found.record.is_gone(), found.released.is_gone()].iter().all(|gone| *gone);
        if is_spec_missing && has_none {
            let why = format!("the directory {}, which is not a run (it holds no file `spec`)", dir.display());
            return Probe::There(Found::Foreign(why));
        }
        let run = match found.run {
            Probe::Gone => Probe::Unknown(Unknown::malformed("`spec`", "it is gone")),
            run => run,
        };
        let files = [
            run.unknown(),
            found.ledger.unknown(),
            found.admitted.unknown(),
            found.started.unknown(),
            found.shim.unknown(),
            found.child.unknown(),
        ];
        let more = [found.exit.unknown(), found.stop.unknown(), found.record.unknown(), found.released.unknown()];
        let living = [found.shim_alive.unknown().filter(|_| found.shim.is_there()), found.child_alive.unknown()];
        let unread = files.into_iter().chain(more).chain(living).flatten().cloned().collect();
        Probe::There(Found::Run(Box::new(Contents { run, unread, ..found })))
    }

    /// Which directory is at `path`. `None`: what is there is none.
    fn directory_id(&self, path: &Path) -> Probe<Option<DirectoryId>> {
        self.sys.look_at(path).map(|metadata| {
            metadata.is_dir().then(|| DirectoryId {
                inode: (metadata.dev(), metadata.ino()),
                created: metadata.created().ok().and_then(|time| Timestamp::try_from(time).ok()),
            })
        })
    }

    /// The run as it stands in one file, if it does.
    fn read_summary(&self, name: &RunName, dir: &Path, id: DirectoryId) -> Option<Contents> {
        match self.sys.read_json::<Summary>(&dir.join(rundir::SUMMARY)) {
            Probe::There(summary) => summary.contents(name, dir.display().to_string(), Some(id)),
            // The other files say the same.
            Probe::Gone | Probe::Unknown(_) => None,
        }
    }

    /// Writes a run of which nothing changes any more in one file.
    pub(crate) fn summarize(&self, contents: &Contents, bytes: u64) -> io::Result<()> {
        let Some(summary) = Summary::of(contents, bytes) else { return Ok(()) };
        let dir = self.dir(&contents.name);
        let staged = dir.join(format!(".{}-{}", rundir::SUMMARY, unique()));
        // One that is cut short by a loss of power is made again.
        self.sys.write_fleeting(&staged, &serde_json::to_vec(&summary)?)?;
        self.sys.rename(&staged, &dir.join(rundir::SUMMARY))
    }

    /// What the directory of a run takes, as far as that can be seen.
    pub(crate) fn bytes(&self, name: &RunName) -> u64 {
        bytes_below(&self.dir(name), DEPTH_MAX)
    }

    /// Whether this is still the directory of the run.
    pub(crate) fn is_same(&self, name: &RunName, id: Option<DirectoryId>) -> bool {
        id.is_some() && self.directory_id(&self.dir(name)) == Probe::There(id)
    }

    /// The files as they are of one attempt: read again while one attempt makes room for the next.
    fn read_contents(&self, name: &RunName, dir: &Path, id: Option<DirectoryId>) -> Contents {
        for _ in 0..TRIES {
            let contents = self.read_files(name, dir, id);
            if self.read_ledger(&contents.run, dir) == contents.ledger {
                return contents;
            }
        }
        let why =
            Unknown { what: "which attempt it is at".to_owned(), why: "it changes".to_owned(), kind: Cause::Refused };
        Contents { ledger: Probe::Unknown(why), ..self.read_files(name, dir, id) }
    }

    /// Which attempt the files are of, and what was written of those before. Nothing is looked for of a run that is never
    /// tried again.
    fn read_ledger(&self, run: &Probe<Arc<KeptRun>>, dir: &Path) -> Probe<AttemptLedger> {
        if !run.there().is_some_and(|run| run.submission.effective.may_be_repeated()) {
            return Probe::There(AttemptLedger::default());
        }
        let (number, begun) = match self.sys.read_json(&dir.join(rundir::ATTEMPT)) {
            Probe::Gone => (1, None),
            Probe::There(PresentAttempt { number, time }) => (number, Some(time)),
            Probe::Unknown(unknown) => return Probe::Unknown(unknown),
        };
        let mut settled = Vec::new();
        for earlier in 1..=number {
            match self.sys.read_json::<AttemptRecord>(&dir.join(rundir::settled(earlier))) {
                Probe::There(record) => settled.push(record),
                Probe::Gone if earlier == number => {}
                Probe::Gone => {
                    return Probe::Unknown(Unknown::malformed(format!("`{}`", rundir::settled(earlier)), "it is gone"));
                }
                Probe::Unknown(unknown) => return Probe::Unknown(unknown),
            }
        }
        Probe::There(AttemptLedger { number, begun, settled })
    }

    fn read_files(&self, name: &RunName, dir: &Path, id: Option<DirectoryId>) -> Contents {
        let sys = &self.sys;
        let run = sys.read_json::<KeptRun>(&dir.join(rundir::SPEC)).and_then(|run| {
            match run.version == rundir::SPEC_VERSION && run.name == *name {
                true => Probe::There(Arc::new(run)),
                false => {
                    let why = format!("it is of version {} and of {}", run.version, run.name);
                    Probe::Unknown(Unknown::malformed("`spec`", why))
                }
            }
        });
        let ledger = self.read_ledger(&run, dir);
        // The order distinguishes a run that is lost from one that moves on meanwhile. Who marks
        // the start is named before: the shim that is read after the mark is the one that made it.
        // And one that is seen dead can't write the exit afterwards.
        let started = self.mark(&dir.join(rundir::STARTED));
        let shim = sys.read_json(&dir.join(rundir::SHIM));
        let admitted = self.mark(&dir.join(rundir::ADMITTED));
        let child: Probe<Child> = sys.read_json(&dir.join(rundir::CHILD));
        let mut shim_alive = match &shim {
            Probe::There(identity) => sys.look_at_process(identity),
            Probe::Gone => Probe::Gone,
            Probe::Unknown(unknown) => Probe::Unknown(unknown.clone()),
        };
        let mut exit = sys.read_json(&dir.join(rundir::EXIT));
        let mut child_alive = Probe::Gone;
        // After the start nobody else takes the lock, so that it may be asked who lives.
        if !exit.is_there() && !started.is_gone() && !shim_alive.is_there() {
            shim_alive = match (shim_alive, sys.look_at_lock(&dir.join(rundir::LOCK))) {
                (Probe::Unknown(_), Probe::There(())) => Probe::There(()),
                (Probe::Unknown(_), Probe::Gone) => Probe::Gone,
                (Probe::Gone, Probe::There(())) => {
                    let why = "it is held by a process that is not visible".to_owned();
                    Probe::Unknown(Unknown { what: format!("`{}`", rundir::LOCK), why, kind: Cause::Refused })
                }
                (alive, _) => alive,
            };
            exit = sys.read_json(&dir.join(rundir::EXIT));
            child_alive = match &child {
                Probe::There(child) => sys.look_at_process(&child.process),
                Probe::Gone => Probe::Gone,
                Probe::Unknown(unknown) => Probe::Unknown(unknown.clone()),
            };
        }
        Contents {
            name: name.clone(),
            directory: dir.display().to_string(),
            id,
            run,
            ledger,
            shim,
            shim_alive,
            admitted,
            started,
            child,
            child_alive,
            exit,
            ordered: sys.look_at(&dir.join(rundir::END)).is_there(),
            stop: sys.read_json(&dir.join(rundir::STOP)),
            record: sys.read_json(&dir.join(rundir::RECORD)),
            released: sys.read_json(&dir.join(rundir::RELEASED)),
            unread: Vec::new(),
            summarized: None,
        }
    }

    /// Reads a file whose being there says enough. One that can't be read is looked at once more.
    fn mark<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Probe<T> {
        match self.sys.read_json(path) {
            Probe::Unknown(unknown) => match self.sys.look_at(path) {
                Probe::There(_) => Probe::Unknown(Unknown { kind: Cause::Malformed, ..unknown }),
                Probe::Gone => Probe::Gone,
                Probe::Unknown(_) => Probe::Unknown(unknown),
            },
            answered => answered,
        }
    }

    /// Writes a file of a run unless it is there: the first writer wins.
    pub(crate) fn publish<T: Serialize>(&self, name: &RunName, file: &str, value: &T) -> Result<(), BackendError> {
        self.write(name, file, &to_json(value)?, true)
    }

    /// Writes a file of a run, in place of what is there.
    pub(crate) fn replace(&self, name: &RunName, file: &str, bytes: &[u8]) -> Result<(), BackendError> {
        self.write(name, file, bytes, false)
    }

    fn write(&self, name: &RunName, file: &str, bytes: &[u8], exclusive: bool) -> Result<(), BackendError> {
        let dir = self.dir(name);
        let target = dir.join(file);
        let sys = &self.sys;
        if exclusive && sys.look_at(&target).is_there() {
            return Ok(());
        }
        let staged = dir.join(format!(".{file}-{}", unique()));
        let write = || -> io::Result<()> {
            sys.write_new(&staged, bytes, 0o600)?;
            if exclusive {
                let linked = sys.link(&staged, &target);
                sys.unlink(&staged)?;
                match linked {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    linked => linked?,
                }
            } else {
                sys.rename(&staged, &target)?;
            }
            sys.sync_dir(&dir)
        };
        write().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BackendError::NotFound(name.to_string()),
            _ => io_error("writing", &target, source),
        })
    }

    /// Puts away what is of the attempt before `number`, and has the directory be of that one, which begins with nothing.
    /// The caller holds the run's lock. What was done of it by a process that ended is not done again.
    pub(crate) fn begin_attempt(&self, name: &RunName, number: u32) -> Result<(), BackendError> {
        let dir = self.dir(name);
        let away = dir.join(rundir::put_away(number.saturating_sub(1)));
        let sys = &self.sys;
        let put_away = || -> io::Result<()> {
            sys.make_dir(&away)?;
            for file in rundir::OF_ATTEMPT {
                let (from, to) = (dir.join(file), away.join(file));
                if sys.look_at(&to).known().map_err(Unknown::into_error)?.is_some() {
                    continue;
                }
                match sys.rename(&from, &to) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    moved => moved?,
                }
            }
            sys.sync_dir(&away)?;
            // Its shim removes it, unless that was killed.
            match sys.remove_tree(&dir.join(rundir::WORK)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            let result = dir.join(rundir::RESULT);
            if sys.look_at(&result).known().map_err(Unknown::into_error)?.is_none() {
                sys.write_new(&result, b"", 0o600)?;
            }
            let run: StoredRun = sys
                .read_json(&dir.join(rundir::SPEC))
                .known()
                .map_err(Unknown::into_error)?
                .ok_or(io::ErrorKind::NotFound)?;
            give_to_program(sys, &dir, &run)
        };
        put_away().map_err(|source| io_error("putting away an attempt of", &dir, source))?;
        self.replace(name, rundir::ATTEMPT, &to_json(&PresentAttempt { number, time: Timestamp::now() })?)
    }

    /// Reads a file of a run. `None`: it is not there.
    pub(crate) fn read(&self, name: &RunName, file: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let path = self.dir(name).join(file);
        self.sys.read(&path).known().map_err(|unknown| io_error("reading", &path, unknown.into_error()))
    }

    /// Opens a file of a run for reading. `None`: it is not there.
    pub(crate) fn open_file(&self, name: &RunName, file: &str) -> Result<Option<File>, BackendError> {
        let path = self.dir(name).join(file);
        self.sys.open(&path).known().map_err(|unknown| io_error("opening", &path, unknown.into_error()))
    }

    /// Whether the files are of a later attempt than this.
    pub(crate) fn is_past(&self, name: &RunName, attempt: u32) -> Result<bool, BackendError> {
        let present = self.read(name, rundir::ATTEMPT)?;
        let present = present.and_then(|bytes| serde_json::from_slice::<PresentAttempt>(&bytes).ok());
        Ok(present.is_some_and(|present| present.number > attempt))
    }

    /// Takes the run away from every shim, for as long as the file stays open. `None`: one has it.
    pub(crate) fn lock(&self, name: &RunName) -> Result<Option<File>, BackendError> {
        let path = self.dir(name).join(rundir::LOCK);
        self.sys.lock(&path).map_err(|source| io_error("locking", &path, source))
    }

    /// Removes a run. From the first moment it is not there any more.
    pub(crate) fn remove(&self, name: &RunName) -> Result<(), BackendError> {
        let dir = self.dir(name);
        let namespace = self.namespace_dir(&name.namespace);
        let doomed = namespace.join(format!("{REMOVED}{}", unique()));
        match self.sys.rename(&dir, &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackendError::NotFound(name.to_string()));
            }
            renamed => renamed.map_err(|source| io_error("removing", &dir, source))?,
        }
        self.sys.sync_dir(&namespace).map_err(|source| io_error("removing", &dir, source))?;
        // What stays of it is swept later.
        let _ = self.sys.remove_tree(&doomed);
        Ok(())
    }

    /// The namespaces that have a directory.
    pub(crate) fn namespaces(&self) -> Result<Vec<NamespaceName>, BackendError> {
        if let Probe::Unknown(unknown) = self.look_at_root() {
            return Err(io_error("reading", &self.root, unknown.into_error()));
        }
        let names = self.entries(&self.root)?;
        Ok(names.iter().filter_map(|name| NamespaceName::parse(name).ok()).collect())
    }

    /// The runs of a namespace.
    pub(crate) fn runs(&self, namespace: &NamespaceName) -> Result<Vec<RunName>, BackendError> {
        let dir = self.namespace_dir(namespace);
        let names = self.entries(&dir)?;
        match trusted(&self.sys, &dir) {
            // It is gone by now.
            Err(BackendError::NotFound(_)) => return Ok(Vec::new()),
            judged => judged?,
        }
        let name = |run| RunName { namespace: namespace.clone(), run };
        Ok(names.iter().filter_map(|text| RunId::parse(text).ok()).map(name).collect())
    }

    /// Removes what was abandoned half made or half removed.
    pub(crate) fn sweep(&self) -> Result<(), BackendError> {
        for namespace in self.namespaces()? {
            let dir = self.namespace_dir(&namespace);
            // One that can't be listed keeps the others from nothing.
            for name in self.entries(&dir).unwrap_or_default() {
                let path = dir.join(&name);
                if name.starts_with(REMOVED) || (name.starts_with(STAGED) && is_abandoned(&path)) {
                    // Somebody else may be removing it too.
                    let _ = self.sys.remove_tree(&path);
                }
            }
        }
        Ok(())
    }

    /// Names in a directory; none if it is gone.
    fn entries(&self, dir: &Path) -> Result<Vec<String>, BackendError> {
        let names = self.sys.read_dir(dir).known();
        let names = names.map_err(|unknown| io_error("reading", dir, unknown.into_error()))?.unwrap_or_default();
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }
}

/// What a directory takes, and what is in it, links not followed.
fn bytes_below(dir: &Path, depth: usize) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok()?;
        let below = if metadata.is_dir() && depth > 0 { bytes_below(&entry.path(), depth - 1) } else { 0 };
        Some((metadata.blocks() * BLOCK).saturating_add(below))
    });
    sizes.fold(0, u64::saturating_add)
}

/// Takes the state directory for this process: two daemons would start, stop and remove each other's runs.
fn lock_root(sys: &Sys, root: &Path) -> Result<File, BackendError> {
    let path = root.join(DAEMON_LOCK);
    let failed = |source| io_error("locking", &path, source);
    let Some(mut lock) = sys.lock(&path).map_err(failed)? else {
        let holder = sys.read_head(&path, 32);
        let holder = holder.there().and_then(|text| std::str::from_utf8(text).ok()?.trim().parse::<u32>().ok());
        let process = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
        return Err(BackendError::Rejected {
            what: "the state directory".to_owned(),
            message: format!(
                "another daemon uses it{process}; stop that one, or name another directory by --state-dir"
            ),
        });
    };
    // For people alone.
    let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

/// Refuses a directory that others can write: anyone who can write in a directory of ours can have us execute what
/// they like.
pub(crate) fn trusted(sys: &Sys, dir: &Path) -> Result<(), BackendError> {
    let metadata = match sys.look(dir) {
        Probe::There(metadata) => metadata,
        Probe::Gone => return Err(BackendError::NotFound(format!("the directory {}", dir.display()))),
        Probe::Unknown(unknown) => return Err(io_error("looking at", dir, unknown.into_error())),
    };
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
fn give_to_program(sys: &Sys, staged: &Path, run: &StoredRun) -> io::Result<()> {
    let Some((user, group)) = run.execution.owner else { return Ok(()) };
    for name in [rundir::RESULT, rundir::INPUT, rundir::FILES] {
        sys.call("lchown")?;
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

fn stage(sys: &Sys, staged: &Path, run: &StoredRun, input: Option<&[u8]>, files: &[RunFile]) -> io::Result<()> {
    sys.make_dir(staged)?;
    sys.write_new(&staged.join(rundir::SPEC), &serde_json::to_vec(run)?, 0o600)?;
    // It is there from the start so that it can be mounted.
    sys.write_new(&staged.join(rundir::RESULT), b"", 0o600)?;
    if let Some(input) = input {
        sys.write_new(&staged.join(rundir::INPUT), input, 0o400)?;
    }
    if !files.is_empty() {
        let base = staged.join(rundir::FILES);
        fs::create_dir(&base)?;
        for file in files {
            stage_file(sys, &base, file)?;
        }
        sys.sync_dir(&base)?;
    }
    give_to_program(sys, staged, run)?;
    sys.sync_dir(staged)
}

fn stage_file(sys: &Sys, base: &Path, file: &RunFile) -> io::Result<()> {
    let relative = Path::new(&file.path);
    // Paths are checked at submit; here it would be an escape.
    if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is not a relative path", file.path)));
    }
    let path = base.join(relative);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    sys.write_new(&path, &file.content, file.mode.unwrap_or(DEFAULT_FILE_MODE) & 0o777)
}

fn is_abandoned(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > ABANDONED))
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, BackendError> {
    serde_json::to_vec(value)
        .map_err(|error| BackendError::Corrupt { what: "a value to be stored".to_owned(), message: error.to_string() })
}

fn unique() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

fn io_error(doing: &str, path: &Path, source: io::Error) -> BackendError {
    BackendError::Io { what: format!("{doing} {}", path.display()), source }
}
