//! Backend `local`: runs as processes of this machine, each with a directory and a detached shim.
//!
//! The directory is the truth; this code reads it, writes intents and records into it, and starts
//! shims. It keeps nothing else, so a restart loses nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use rustix::process::Signal;
use tokio::sync::Notify;

use crate::sys::{Cause, Probe, Sys, Unknown, keyring};
use longshore_backend::{Backend, BackendError, Created, Launch, LogItem, LogOptions, LogSource, Logs, Preview, Runs};
use longshore_domain::name::{NamespaceName, RunName};
use longshore_domain::run::facts::{FactsEvent, RunFacts};
use longshore_domain::run::plan::Action;
use longshore_domain::run::profile::{Capabilities, Volume};
use longshore_domain::run::rundir::{self, Admitted, Exit, ExitReason, ProcessIdentity, Released};
use longshore_domain::run::spec::NetworkMode;
use longshore_runtime as runtime;

pub mod doctor;
#[cfg(test)]
mod faults;
pub(crate) mod log;
mod metrics;
mod run;
mod sandbox;
pub mod shim;
pub mod sys;

use self::run::inotify::LogNotifier;
pub use metrics::LocalMetrics;
use run::directory::{Found, Made, Store};
use run::facts::{Contents, Stand};
use run::launch::Launcher;
use run::queue::Queue;
pub use run::retention::Room;
use run::retention::{RetentionClock, add};
use sandbox::bwrap::{NoSandbox, Sandbox};

/// `$PATH` of runs, unless it is configured.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How large the log of a run may become, unless it is configured: what Kubernetes keeps of a container by default is
/// five files of 10 MiB.
pub const DEFAULT_LOG_MAX_BYTES: u64 = 256 << 20;

/// How many processes and threads a run may have, unless it is configured.
pub const DEFAULT_MAX_PROCESSES: u64 = 1024;

/// How long the directory of one run may take to be read. One on a dead disk holds up no other.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// How long anything else may take; see [`Runs`].
const ACT_WITHIN: Duration = Duration::from_secs(30);

/// How often, and how long after one another, what was killed is looked for.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// What the configuration says of the backend.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The state directory, absolute; made if it is not there.
    pub root: PathBuf,
    /// This executable: it is started as `<executable> shim DIR`.
    pub executable: PathBuf,
    /// The same, as it is given to sandboxes: there it is started as `<enter> enter -- PROGRAM`.
    pub enter: PathBuf,
    /// `$PATH` of runs; `bwrap` is looked for in it too.
    pub path: String,
    /// Volumes that may be mounted.
    pub volumes: BTreeMap<String, Volume>,
    /// Whether runs are isolated with `bwrap` where it works.
    pub sandbox: bool,
    /// How large the log of a run may become, in bytes. What comes after is not kept.
    pub log_max_bytes: u64,
    /// How many processes and threads a run in a sandbox may have, at least 1. Where this process is root all runs of
    /// one user together may have so many times the runs that may be executed at once.
    pub max_processes: u64,
    /// How many runs may be executed at once, at least 1. Further ones wait for their turn.
    pub max_concurrent_runs: usize,
    /// What finished runs may take.
    pub room: Room,
}

/// How many runs are executed at once on each processor, unless it is configured. Most wait for something
/// (a database, a disk) most of the time.
const RUNS_PER_PROCESSOR: usize = 8;

/// [`LocalConfig::max_concurrent_runs`], unless it is configured: by the processors that this process may use.
#[must_use]
pub fn default_concurrent_runs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * RUNS_PER_PROCESSOR
}

/// Opens the backend: makes the state directory, and tries out whether runs can be isolated.
///
/// # Errors
/// If the state directory can't be made, a path is not absolute or not UTF-8, or it can't be found out
/// whether runs can be isolated.
pub async fn open(config: LocalConfig, metrics: LocalMetrics) -> Result<Backend, BackendError> {
    let (local, capabilities) = open_local(config, metrics, Sys::default()).await?;
    let runs = Arc::new(LocalRoles(Arc::clone(&local)));
    Ok(Backend { capabilities: Arc::new(capabilities), runs, logs: Arc::new(LocalRoles(local)), reviews: None })
}

/// What the roles share, with these system calls; and what it can do.
async fn open_local(
    config: LocalConfig,
    metrics: LocalMetrics,
    sys: Sys,
) -> Result<(Arc<Local>, Capabilities), BackendError> {
    let utf8 = |path: &PathBuf| {
        let text = path.to_str().filter(|_| path.is_absolute()).map(str::to_owned);
        text.ok_or_else(|| BackendError::Rejected {
            what: path.display().to_string(),
            message: "the path must be absolute and UTF-8".to_owned(),
        })
    };
    let (state, executable) = (utf8(&config.root)?, utf8(&config.executable)?);
    let root = config.root.clone();
    let store = blocking("opening the state directory", move || Store::open(root, sys)).await?;
    let (sandbox, reason) = match config.sandbox {
        false => (None, Some("the configuration says that runs are not isolated".to_owned())),
        true => match Sandbox::probe(&config.path, &utf8(&config.enter)?).await {
            Ok(sandbox) => (Some(sandbox), None),
            Err(NoSandbox::Absent(reason)) => (None, Some(reason)),
            // Runs are not to lose their sandbox because this process was short of something just now.
            Err(NoSandbox::Unknown(unknown)) => {
                let what = "finding out whether runs can be isolated".to_owned();
                return Err(BackendError::Io { what, source: unknown.into_error() });
            }
        },
    };
    let bound = sandbox.as_ref().and_then(|sandbox| ProcessBound::of(sandbox, &config));
    let capabilities = capabilities(sandbox.as_ref(), reason, keyring::try_out(), bound, &config);
    let max_processes = bound.map(ProcessBound::most);
    let LocalConfig { path, volumes, log_max_bytes, .. } = config;
    let launcher = Launcher { executable, path, state, sandbox, volumes, log_max_bytes, max_processes };
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (seen, slow, ending, shims, lost) = Default::default();
    let queue = Queue::new(config.max_concurrent_runs);
    let room = config.room;
    let (store, clock) = blocking("reading the clock of retention", move || {
        let clock = store.retention_clock();
        // From the first run on there is a mark to go on from.
        let marked = clock.mark(store.sys());
        marked.map_err(|source| BackendError::Io {
            what: "recording the time in the state directory".to_owned(),
            source,
        })?;
        Ok((store, clock))
    })
    .await?;
    let (notifier, listing, deciding) = Default::default();
    let local = Arc::new(Local {
        store,
        launcher,
        notifier,
        node,
        seen,
        slow,
        listing,
        deciding,
        ending,
        shims,
        lost,
        queue,
        room,
        metrics,
        clock,
    });
    local.notify_of_logs();
    Ok((local, capabilities))
}

fn capabilities(
    sandbox: Option<&Sandbox>,
    reason: Option<String>,
    keyring: std::io::Result<()>,
    bound: Option<ProcessBound>,
    config: &LocalConfig,
) -> Capabilities {
    let sandboxed = sandbox.is_some();
    let mut notes: Vec<String> = reason.into_iter().collect();
    if let Some(Sandbox { trial, .. }) = sandbox {
        notes.push(format!("a trial found: {}", trial.holds.join("; ")));
        if !trial.lacks.is_empty() {
            notes.push(format!("a trial missed: {}", trial.lacks.join("; ")));
        }
        notes.push("network modes other than NONE are not enforced".to_owned());
    } else {
        notes.push("runs are processes of the daemon's own user, with its network and files".to_owned());
    }
    if let Err(error) = keyring {
        notes.push(format!("runs share the session keyring of the daemon: {error}"));
    }
    notes.push("limits of memory and processors are not enforced".to_owned());
    notes.push(match bound {
        Some(ProcessBound::Run(most)) => {
            format!("each run has at most {most} processes and threads (local.max_processes)")
        }
        Some(ProcessBound::User(most)) => format!(
            "runs of one user have at most {most} processes and threads together ({} for each that may be executed: \
             local.max_processes)",
            config.max_processes
        ),
        None => "processes are not bounded".to_owned(),
    });
    let max_concurrent_runs = config.max_concurrent_runs;
    notes.push(format!(
        "at most {max_concurrent_runs} runs are executed at once, and further ones are QUEUED (local.max_concurrent_runs)"
    ));
    Capabilities {
        backend: "local",
        container_workload: false,
        split_streams: true,
        stdin_input: true,
        secret_key_ref: false,
        placement: false,
        user: sandboxed,
        resource_limits: false,
        root_filesystem: sandboxed,
        network_modes: if sandboxed { vec![NetworkMode::None] } else { Vec::new() },
        volumes: sandboxed,
        queue: true,
        retries: true,
        isolation: if sandboxed { "bwrap" } else { "process" },
        notes,
    }
}

/// How many processes and threads there may be.
#[derive(Clone, Copy, Debug)]
enum ProcessBound {
    /// Of one run.
    Run(u64),
    /// Of all runs of one user, where they share one count.
    User(u64),
}

impl ProcessBound {
    /// `None`: the sandbox can't bound them.
    fn of(sandbox: &Sandbox, config: &LocalConfig) -> Option<Self> {
        sandbox.trial.bounds_processes.then(|| match sandbox.setpriv {
            Some(_) => {
                let runs = u64::try_from(config.max_concurrent_runs).unwrap_or(u64::MAX);
                Self::User(config.max_processes.saturating_mul(runs))
            }
            None => Self::Run(config.max_processes),
        })
    }

    fn most(self) -> u64 {
        match self {
            Self::Run(most) | Self::User(most) => most,
        }
    }
}

/// What the roles share.
#[derive(Debug)]
struct Local {
    store: Store,
    launcher: Launcher,
    /// Reports what changes in logs that are read. `None`: the system has no inotify instance left.
    notifier: Mutex<Option<Arc<LogNotifier>>>,
    /// Name of this machine.
    node: String,
    /// What was read last of each run, for when something of it can't be read.
    seen: Mutex<HashMap<RunName, Arc<Contents>>>,
    /// Runs whose directories are being read for longer than they may take.
    slow: Mutex<HashSet<RunName>>,
    /// Namespaces whose directories are being listed for longer than they may take.
    listing: Mutex<HashSet<NamespaceName>>,
    /// Held, for each run that may be tried again, while it is acted on: a stop, the record and a further attempt exclude
    /// each other.
    deciding: Mutex<HashMap<RunName, Arc<Mutex<()>>>>,
    /// Runs that this process is ending with their shims. They are not lost.
    ending: Mutex<HashSet<RunName>>,
    /// The shims that this process started and that have not ended.
    shims: Arc<Shims>,
    /// Notified when a run turns out to be lost: of that no file says anything.
    lost: Arc<Notify>,
    /// Who may be started, and who waits.
    queue: Queue,
    /// What finished runs may take.
    room: Room,
    metrics: LocalMetrics,
    /// What retention goes by.
    clock: RetentionClock,
}

/// Shims that are children of this process, and the runs of those that have ended.
#[derive(Debug, Default)]
struct Shims {
    alive: Mutex<HashSet<i32>>,
    ended: Mutex<Vec<RunName>>,
    changed: Notify,
}

impl Shims {
    /// Reaps a shim, and says so.
    fn keep(self: Arc<Self>, run: RunName, mut shim: tokio::process::Child) {
        let pid = shim.id().and_then(|pid| i32::try_from(pid).ok());
        lock(&self.alive).extend(pid);
        task("local-shim", async move {
            let _ = shim.wait().await;
            if let Some(pid) = pid {
                lock(&self.alive).remove(&pid);
            }
            lock(&self.ended).push(run);
            self.changed.notify_one();
        });
    }

    /// Whether the process is one of them: its end is reported.
    fn has(&self, process: &ProcessIdentity) -> bool {
        lock(&self.alive).contains(&process.pid)
    }

    /// Waits until shims have ended; answers whose. Safe to cancel.
    async fn ended(&self) -> Vec<RunName> {
        loop {
            let ended = std::mem::take(&mut *lock(&self.ended));
            if !ended.is_empty() {
                return ended;
            }
            self.changed.notified().await;
        }
    }
}

#[derive(Debug)]
struct LocalRoles(Arc<Local>);

impl Local {
    /// What is known of a run. `None`: there is none.
    fn contents(&self, name: &RunName) -> Result<Option<Arc<Contents>>, BackendError> {
        let found = self.store.contents(name);
        let mut seen = lock(&self.seen);
        match found {
            Probe::Gone => {
                seen.remove(name);
                Ok(None)
            }
            Probe::There(Found::Foreign(what)) => Err(BackendError::Corrupt {
                what,
                message: "nothing in the state directory may have the name of a run but runs".to_owned(),
            }),
            Probe::There(Found::Run(contents)) => {
                let mut contents = *contents;
                if let Some(before) = seen.get(name) {
                    contents = contents.filled_from(before);
                }
                // Short of files as it begins, this process can't know even whose directory it is.
                if let Some(unknown) = contents.run.unknown().filter(|unknown| unknown.kind == Cause::Shortage) {
                    return Err(unknown_error(name, unknown));
                }
                if contents.stand() == Stand::Lost && lock(&self.ending).contains(name) {
                    let why = "it is being ended, with the process that supervised it".to_owned();
                    let unknown = Unknown { what: "the run".to_owned(), why, kind: Cause::Refused };
                    contents.shim_alive = Probe::Unknown(unknown);
                }
                let contents = Arc::new(contents);
                // What was not read adds nothing to what is known of the past. Of what does not change any more
                // nothing is kept.
                match contents.summarized.is_some() {
                    true => drop(seen.remove(name)),
                    false => drop(seen.insert(name.clone(), Arc::clone(&contents))),
                }
                Ok(Some(contents))
            }
            Probe::Unknown(unknown) => {
                let before = seen.get(name).cloned();
                drop(seen);
                self.unexamined(name, before.as_deref(), &unknown)
            }
        }
    }

    /// A run that could not be looked at, as far as it is known from before.
    fn unexamined(
        &self,
        name: &RunName,
        before: Option<&Contents>,
        why: &Unknown,
    ) -> Result<Option<Arc<Contents>>, BackendError> {
        if before.is_none() && why.kind == Cause::Shortage {
            return Err(unknown_error(name, why));
        }
        let blind = Contents::unexamined(name, self.store.dir(name).display().to_string(), why);
        Ok(Some(Arc::new(before.map_or_else(|| blind.clone(), |before| blind.clone().filled_from(before)))))
    }

    /// The same, within a bound: a disk that does not answer is one more way not to know.
    async fn read(self: &Arc<Self>, name: &RunName) -> Result<Option<Arc<Contents>>, BackendError> {
        let late = || {
            let why = format!("its directory did not answer within {} s", READ_WITHIN.as_secs());
            let unknown = Unknown { what: "the run".to_owned(), why, kind: Cause::Refused };
            let before = lock(&self.seen).get(name).cloned();
            self.unexamined(name, before.as_deref(), &unknown)
        };
        let (local, wanted) = (Arc::clone(self), name.clone());
        self.within_bound(|local| &local.slow, name, "reading a run", move || local.contents(&wanted), late).await
    }

    /// The runs of a namespace, within a bound.
    async fn list(self: &Arc<Self>, namespace: &NamespaceName) -> Result<Vec<RunName>, BackendError> {
        let late = || {
            let what = format!("reading namespace {namespace}");
            let message = format!("its directory did not answer within {} s", READ_WITHIN.as_secs());
            Err(BackendError::Unavailable { what, message })
        };
        let (local, wanted) = (Arc::clone(self), namespace.clone());
        let read = move || local.store.runs(&wanted);
        self.within_bound(|local| &local.listing, namespace, "reading a namespace", read, late).await
    }

    /// What `read` finds of `key`, or `otherwise` if that takes longer than it may; until it has ended `key` is among
    /// the `late`, and is not read again.
    async fn within_bound<K, T>(
        self: &Arc<Self>,
        late: fn(&Self) -> &Mutex<HashSet<K>>,
        key: &K,
        what: &str,
        read: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
        otherwise: impl FnOnce() -> Result<T, BackendError>,
    ) -> Result<T, BackendError>
    where
        K: Clone + Eq + Hash + Send + 'static,
        T: Send + 'static,
    {
        // One that waits is enough.
        if lock(late(self)).contains(key) {
            return otherwise();
        }
        let mut reading = runtime::task::blocking(read);
        if let Ok(read) = tokio::time::timeout(READ_WITHIN, &mut reading).await {
            return read.unwrap_or_else(|error| Err(joining(what, error)));
        }
        lock(late(self)).insert(key.clone());
        let (local, key) = (Arc::clone(self), key.clone());
        task("local-slow", async move {
            let _ = reading.await;
            lock(late(&local)).remove(&key);
        });
        otherwise()
    }

    /// Has changes of logs reported, if they are not.
    fn notify_of_logs(&self) {
        let mut notifier = lock(&self.notifier);
        if notifier.is_none() {
            match LogNotifier::start(self.store.sys()) {
                Ok(new) => *notifier = Some(new),
                Err(error) => tracing::debug!(%error, "no inotify instance: output is polled"),
            }
        }
    }

    /// Refuses what would have to wait for a directory that does not answer.
    fn answers(&self, name: &RunName) -> Result<(), BackendError> {
        if !lock(&self.slow).contains(name) {
            return Ok(());
        }
        Err(BackendError::Unavailable { what: name.to_string(), message: "its directory does not answer".to_owned() })
    }

    /// The run that has this name; `NotFound` if it is not the one that is meant.
    fn own(&self, name: &RunName, uid: &str) -> Result<Arc<Contents>, BackendError> {
        let contents = self.contents(name)?.filter(|contents| contents.uid() == uid);
        contents.ok_or_else(|| BackendError::NotFound(name.to_string()))
    }

    /// What has the name already. `None`: nothing.
    fn existing(&self, name: &RunName) -> Result<Option<Created>, BackendError> {
        let contents = match self.contents(name) {
            Err(BackendError::Corrupt { what, .. }) => return Ok(Some(Created::Taken { what })),
            contents => contents?,
        };
        let Some(contents) = contents else { return Ok(None) };
        match contents.run.unknown() {
            None => Ok(Some(Created::Exists(Box::new(self.facts(&contents))))),
            Some(unknown) if unknown.kind == Cause::Malformed => {
                let what = format!("a run whose record of what was submitted can't be read ({unknown})");
                Ok(Some(Created::Taken { what }))
            }
            Some(unknown) => Err(unknown_error(name, unknown)),
        }
    }

    fn create(&self, launch: &Launch) -> Result<Created, BackendError> {
        if let Some(existing) = self.existing(&launch.name)? {
            return Ok(existing);
        }
        let run = self.launcher.stored(launch, &self.store.dir(&launch.name))?;
        let input = launch.input.as_ref().map(longshore_domain::run::spec::Input::as_bytes);
        // Before anybody can see it: then it never seems to wait although there is a place.
        let is_new = self.queue.join(&launch.name, launch.submission.create_time);
        let made = self.store.create(&run, input, &launch.files);
        if is_new && !matches!(made, Ok(Made::New)) {
            self.queue.leave(&launch.name);
        }
        if made? == Made::Exists {
            // Gone again: it was removed meanwhile.
            return self.existing(&launch.name)?.ok_or_else(|| BackendError::Conflict(launch.name.to_string()));
        }
        let contents = self.own(&launch.name, &run.uid)?;
        Ok(Created::New(Box::new(self.facts(&contents))))
    }

    /// The facts of a run: what its directory holds, and whether it has its turn yet.
    fn facts(&self, contents: &Contents) -> RunFacts {
        match self.waits(contents) {
            true => contents.waiting_facts(&self.node, self.queue.why()),
            false => contents.facts(&self.node),
        }
    }

    /// Whether the run has to wait for its turn.
    fn waits(&self, contents: &Contents) -> bool {
        contents.may_wait() && !self.queue.has_place(&contents.name)
    }

    /// Gives a run its turn that has waited for it. One that is to be stopped is not started any more, and one
    /// that can't be looked at, or written to, waits on.
    fn admit(&self, name: &RunName) {
        let begin = || -> Result<_, BackendError> {
            let contents = self.contents(name)?.filter(|contents| contents.unknown().is_none());
            let Some(contents) = contents.filter(|contents| contents.may_wait()) else { return Ok(None) };
            if !contents.stop.is_gone() || contents.ordered {
                return Ok(None);
            }
            self.store.publish(name, rundir::ADMITTED, &Admitted { time: Timestamp::now() })?;
            self.contents(name)
        };
        match self.queue.admit(name, begin) {
            Ok(Some(contents)) => self.attend(&contents),
            Ok(None) => {}
            Err(error) => tracing::warn!(run = %name, %error, "a queued run can't be started yet; it keeps waiting"),
        }
    }

    /// Starts a shim if the run has none, has its turn and is not over. Failing is not final: the watcher
    /// tries again.
    fn attend(&self, contents: &Contents) {
        if contents.stand() != Stand::Unattended || self.waits(contents) {
            return;
        }
        match self.launcher.start_shim(self.store.sys(), &self.store.dir(&contents.name)) {
            Ok(shim) => Arc::clone(&self.shims).keep(contents.name.clone(), shim),
            Err(error) => {
                tracing::warn!(run = %contents.name, %error, "the shim could not be started; trying again");
            }
        }
    }

    fn act(&self, name: &RunName, uid: &str, action: Action) -> Result<(), BackendError> {
        let contents = self.own(name, uid)?;
        if !contents.may_be_repeated() {
            return self.act_on(&contents, action);
        }
        let deciding = Arc::clone(lock(&self.deciding).entry(name.clone()).or_default());
        let _deciding = lock(&deciding);
        self.act_on(&*self.own(name, uid)?, action)
    }

    fn act_on(&self, contents: &Contents, action: Action) -> Result<(), BackendError> {
        let (name, uid) = (&contents.name, &contents.uid());
        match action {
            // Not while it is given its turn: what is stopped in the queue never starts.
            Action::WriteStop(stop) => self
                .queue
                .hold(contents.may_wait(), || self.publish(name, rundir::STOP, contents.stop.unknown(), &stop)),
            Action::EndUnstarted { .. } | Action::EndStarted { .. } => self.end(name, uid, contents),
            // The shim keeps the clock from the start itself.
            Action::LowerDeadline { .. } => Ok(()),
            // A run that is to stop, or is recorded, is not tried again.
            Action::WriteAttempt(record) => match is_ending(contents) || !contents.is_present(record.attempt.number) {
                true => Ok(()),
                false => self.store.publish(name, &rundir::settled(record.attempt.number), &record),
            },
            Action::BeginAttempt { attempt } => match is_ending(contents) || !contents.is_announced(attempt) {
                true => Ok(()),
                false => self.begin_attempt(contents, attempt),
            },
            Action::StoreResult { json } => self.store.replace(name, rundir::STORED_RESULT, json.as_bytes()),
            // Of what goes on with another attempt no end is recorded, unless that has not begun and is not to. The next
            // look shows it.
            Action::WriteRecord(record)
                if contents.goes_on_after(&record) && (contents.stop.is_gone() || !contents.is_between()) =>
            {
                Err(BackendError::Conflict(name.to_string()))
            }
            Action::WriteRecord(record) => self.store.publish(name, rundir::RECORD, &record),
            Action::Release { retention, .. } => {
                self.publish(name, rundir::RELEASED, contents.released.unknown(), &self.released(retention))
            }
            Action::Delete => {
                self.end_by_force(contents);
                self.remove(name)
            }
        }
    }

    /// Writes a file of a run: the first writer wins, unless what it wrote can be read by nobody.
    fn publish<T: serde::Serialize>(
        &self,
        name: &RunName,
        file: &str,
        unread: Option<&Unknown>,
        value: &T,
    ) -> Result<(), BackendError> {
        match unread.is_some_and(|unread| unread.kind == Cause::Malformed) {
            true => self.store.replace(name, file, &run::directory::to_json(value)?),
            false => self.store.publish(name, file, value),
        }
    }

    /// Begins a further attempt once nothing of the one before lives. It gets its turn as any run does.
    fn begin_attempt(&self, contents: &Contents, attempt: u32) -> Result<(), BackendError> {
        let name = &contents.name;
        let busy = || BackendError::Conflict(name.to_string());
        // The shim may still be removing what it left, or may be lost with its program alive.
        self.end_by_force(contents);
        let child = contents.child.there();
        let lock = self.store.lock(name)?.ok_or_else(busy)?;
        if child.is_some_and(|child| !self.store.sys().look_at_process(&child.process).is_gone()) {
            return Err(busy());
        }
        // Before anybody can see it: then it never seems to wait although there is a place.
        self.queue.begin(name, contents.submission().create_time);
        let begun = self.store.begin_attempt(name, attempt);
        self.queue.begun(name, begun.is_ok());
        begun?;
        drop(lock);
        self.attend(&*self.own(name, &contents.uid())?);
        Ok(())
    }

    fn end(&self, name: &RunName, uid: &str, contents: &Contents) -> Result<(), BackendError> {
        if contents.stand() == Stand::Over {
            return Ok(());
        }
        self.store.publish(name, rundir::END, &())?;
        // Looked at again: a shim that was not there before may have missed the order.
        let contents = self.own(name, uid)?;
        match contents.stand() {
            Stand::Over => Ok(()),
            Stand::Starting | Stand::Running | Stand::Unknown => {
                if let Some(shim) = contents.shim.there() {
                    // The order stands: a shim that misses the signal finds it.
                    let _ = self.store.sys().signal(shim, Signal::USR1);
                }
                Ok(())
            }
            Stand::Lost => {
                self.end_by_force(&contents);
                Ok(())
            }
            // No shim can start the program as long as we hold its lock.
            Stand::Unattended => match self.store.lock(name)? {
                Some(_lock) if self.own(name, uid)?.stand() == Stand::Unattended => {
                    self.store.publish(name, rundir::EXIT, &Exit::not_started(Timestamp::now()))
                }
                // A shim has it, and sees the order.
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Ends what still lives of a run that nobody supervises, or that is to vanish. What can't be looked
    /// at is left alone.
    fn end_by_force(&self, contents: &Contents) {
        let sys = self.store.sys();
        let shim = contents.shim.there().map(|shim| sys.signal(shim, Signal::KILL));
        let child = contents.child.there().map(|child| sys.kill_group(&child.process));
        for unknown in [shim, child].iter().flatten().filter_map(Probe::unknown) {
            tracing::warn!(run = %contents.name, %unknown, "what is left of a run could not be ended");
        }
    }

    /// Ends a run whose shim does not: one that was stopped, or hangs. What can't be looked at is left
    /// alone, and so is a shim whose program has ended: it may be waiting for room on its disk.
    fn enforce(&self, contents: &Contents, reason: ExitReason) -> Result<(), BackendError> {
        let sys = self.store.sys();
        let Some(shim) = contents.shim.there() else { return Ok(()) };
        let child = contents.child.there();
        let runs = child.is_some_and(|child| sys.look_at_process(&child.process).is_there());
        if !runs && !sys.is_stopped(shim) || !lock(&self.ending).insert(contents.name.clone()) {
            return Ok(());
        }
        let ended = self.end_with_shim(contents, shim, reason);
        lock(&self.ending).remove(&contents.name);
        ended
    }

    fn end_with_shim(
        &self,
        contents: &Contents,
        shim: &ProcessIdentity,
        reason: ExitReason,
    ) -> Result<(), BackendError> {
        let sys = self.store.sys();
        tracing::warn!(run = %contents.name, "its shim has not ended the run in time; it is ended with its shim");
        for _ in 0..TRIES {
            match sys.kill_descendants(shim) {
                Ok(true) => std::thread::sleep(BETWEEN_TRIES),
                Ok(false) => break,
                Err(source) => return Err(BackendError::Io { what: format!("ending {}", contents.name), source }),
            }
        }
        self.end_by_force(contents);
        // Held until the shim is gone; then nobody else writes how the run ended.
        for _ in 0..TRIES {
            if let Some(_lock) = self.store.lock(&contents.name)? {
                let exit = Exit {
                    reason,
                    exit_code: 128 + Signal::KILL.as_raw(),
                    signal: Some(Signal::KILL.as_raw()),
                    started_at: contents.started.there().map(|started| started.time),
                    log_error: Some("the process that kept the log did not answer and was ended".to_owned()),
                    ..Exit::not_started(Timestamp::now())
                };
                return self.store.publish(&contents.name, rundir::EXIT, &exit);
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
        Ok(())
    }

    /// Starts the retention of a run of which nothing lives, and whose end can't be read.
    fn let_go(&self, contents: &Contents) -> Result<(), BackendError> {
        let retention = contents.submission().effective.retention;
        self.publish(&contents.name, rundir::RELEASED, contents.released.unknown(), &self.released(retention))
    }

    /// That a run is kept for so long from now.
    fn released(&self, retention: Duration) -> Released {
        Released { expire_time: add(Timestamp::now(), retention), kept_until: add(self.clock.now(), retention) }
    }

    fn remove(&self, name: &RunName) -> Result<(), BackendError> {
        self.store.remove(name)?;
        lock(&self.seen).remove(name);
        lock(&self.deciding).remove(name);
        self.queue.leave(name);
        Ok(())
    }
}

/// Whether nothing more is to be begun for it.
fn is_ending(contents: &Contents) -> bool {
    !contents.stop.is_gone() || !contents.record.is_gone()
}

fn unknown_error(name: &RunName, unknown: &Unknown) -> BackendError {
    BackendError::Unavailable { what: format!("reading {name}"), message: unknown.to_string() }
}

/// No panic can leave what these guard half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Runs for LocalRoles {
    async fn create(&self, launch: &Launch) -> Result<Created, BackendError> {
        let (local, launch) = (Arc::clone(&self.0), launch.clone());
        blocking("creating a run", move || {
            let created = local.create(&launch)?;
            if let Created::New(_) = created
                && let Some(contents) = local.contents(&launch.name)?
            {
                local.attend(&contents);
            }
            Ok(created)
        })
        .await
    }

    async fn complete(&self, launch: &Launch) -> Result<(), BackendError> {
        // The input came into being with the run. All that a crash can have left undone is the shim.
        let (local, name) = (Arc::clone(&self.0), launch.name.clone());
        blocking("completing a run", move || {
            let contents = local.contents(&name)?.ok_or_else(|| BackendError::NotFound(name.to_string()))?;
            local.attend(&contents);
            Ok(())
        })
        .await
    }

    async fn preview(&self, launch: &Launch) -> Result<Preview, BackendError> {
        let (local, launch) = (Arc::clone(&self.0), launch.clone());
        blocking("previewing a run", move || {
            let mut preview = local.launcher.preview(&launch, &local.store.dir(&launch.name))?;
            if let (Some(verdict), Some(wait)) = (preview.verdicts.first_mut(), local.queue.expected_wait()) {
                verdict.message = format!("{}; {wait}", verdict.message);
            }
            Ok(preview)
        })
        .await
    }

    async fn get(&self, name: &RunName) -> Result<Option<RunFacts>, BackendError> {
        Ok(self.0.read(name).await?.map(|contents| self.0.facts(&contents)))
    }

    async fn act(&self, name: &RunName, uid: &str, action: &Action) -> Result<(), BackendError> {
        self.0.answers(name)?;
        let (local, name, uid, action) = (Arc::clone(&self.0), name.clone(), uid.to_owned(), action.clone());
        blocking("acting on a run", move || local.act(&name, &uid, action)).await
    }

    async fn read_result(&self, name: &RunName, uid: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let (local, name, uid) = (Arc::clone(&self.0), name.clone(), uid.to_owned());
        blocking("reading a result", move || {
            local.own(&name, &uid)?;
            local.store.read(&name, rundir::STORED_RESULT)
        })
        .await
    }

    fn watch(&self) -> BoxStream<'static, FactsEvent> {
        run::watch::watch(Arc::clone(&self.0))
    }
}

#[async_trait]
impl Logs for LocalRoles {
    fn rotates(&self) -> bool {
        false
    }

    async fn open(
        &self,
        source: &LogSource,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        log::open(Arc::clone(&self.0), source.clone(), *options).await
    }
}

/// Starts a task that ends by itself, or with what it serves.
fn task(name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
    runtime::task::spawn(name, future).abort_handle()
}

/// Does something that waits for a disk, apart from the tasks that must not, and not for ever.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    match tokio::time::timeout(ACT_WITHIN, runtime::task::blocking(work)).await {
        Ok(done) => done.unwrap_or_else(|error| Err(joining(what, error))),
        Err(_) => {
            let message = format!("the disk did not answer within {} s", ACT_WITHIN.as_secs());
            Err(BackendError::Unavailable { what: what.to_owned(), message })
        }
    }
}

fn joining(what: &str, error: tokio::task::JoinError) -> BackendError {
    BackendError::Io { what: what.to_owned(), source: std::io::Error::other(error) }
}
