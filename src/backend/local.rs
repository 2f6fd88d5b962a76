//! Backend `local`: runs as processes of this machine, each with a directory and a detached shim.
//!
//! The directory is the truth; this code reads it, writes intents and records into it, and starts
//! shims. It keeps nothing else, so a restart loses nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use rustix::process::Signal;

use super::{Backend, BackendError, Created, Launch, LogItem, LogOptions, LogSource, Logs, Preview, Runs};
use crate::domain::facts::{FactsEvent, RunFacts};
use crate::domain::name::RunName;
use crate::domain::plan::Action;
use crate::domain::profile::{Capabilities, Volume};
use crate::domain::rundir::{self, Exit, Released};
use crate::domain::spec::NetworkMode;
use crate::runtime;

mod directory;
pub mod doctor;
mod facts;
mod inotify;
mod launch;
mod logs;
mod process;
mod program;
mod sandbox;
mod sight;
mod watch;

use directory::{Made, Store};
use facts::{Contents, Stand};
use inotify::Bell;
use launch::{Launcher, find_program};
use sandbox::Sandbox;

/// `$PATH` of runs, unless it is configured.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the backend is told by its configuration.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The state directory, absolute; made if it is not there.
    pub root: PathBuf,
    /// This executable: it is started as `<executable> shim DIR`.
    pub executable: PathBuf,
    /// `$PATH` of runs; `bwrap` is looked for in it too.
    pub path: String,
    /// Volumes that may be mounted.
    pub volumes: BTreeMap<String, Volume>,
    /// Whether runs are isolated with `bwrap` where it works.
    pub sandbox: bool,
}

/// Opens the backend: makes the state directory, and tries out whether runs can be isolated.
///
/// # Errors
/// If the state directory can't be made, or a path is not absolute or not UTF-8.
pub async fn open(config: LocalConfig) -> Result<Backend, BackendError> {
    let utf8 = |path: &PathBuf| {
        let text = path.to_str().filter(|_| path.is_absolute()).map(str::to_owned);
        text.ok_or_else(|| BackendError::Rejected {
            what: path.display().to_string(),
            message: "the path must be absolute and UTF-8".to_owned(),
        })
    };
    let (state, executable) = (utf8(&config.root)?, utf8(&config.executable)?);
    let root = config.root.clone();
    let store = blocking("opening the state directory", move || Store::open(root)).await?;
    let (sandbox, reason) = match config.sandbox {
        false => (None, Some("the configuration says that runs are not isolated".to_owned())),
        true => match Sandbox::probe(&config.path).await {
            Ok(sandbox) => (Some(sandbox), None),
            Err(reason) => (None, Some(reason)),
        },
    };
    let capabilities = Arc::new(capabilities(sandbox.is_some(), reason));
    let bell = Bell::hang().map_err(|error| tracing::warn!(%error, "no inotify: output is polled")).ok();
    let launcher = Launcher { executable, path: config.path, state, sandbox, volumes: config.volumes };
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let local = Arc::new(Local { store, launcher, bell, node });
    let runs = Arc::new(Handle(Arc::clone(&local)));
    Ok(Backend { capabilities, runs, logs: Arc::new(Handle(local)), reviews: None })
}

fn capabilities(sandboxed: bool, reason: Option<String>) -> Capabilities {
    let mut notes: Vec<String> = reason.into_iter().collect();
    if sandboxed {
        notes.push("network modes other than NONE are not enforced".to_owned());
    } else {
        notes.push("runs are processes of the daemon's own user, with its network and files".to_owned());
    }
    notes.push("resource limits are not enforced".to_owned());
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
        isolation: if sandboxed { "bwrap" } else { "process" },
        notes,
    }
}

/// What the roles share.
#[derive(Debug)]
struct Local {
    store: Store,
    launcher: Launcher,
    /// `None`: the system has no inotify instance left.
    bell: Option<Arc<Bell>>,
    /// Name of this machine.
    node: String,
}

#[derive(Debug)]
struct Handle(Arc<Local>);

impl Local {
    fn contents(&self, name: &RunName) -> Result<Option<Contents>, BackendError> {
        self.store.contents(name)
    }

    /// The run that has this name; `NotFound` if it is not the one that is meant.
    fn own(&self, name: &RunName, uid: &str) -> Result<Contents, BackendError> {
        let contents = self.contents(name)?.filter(|contents| contents.run.uid == uid);
        contents.ok_or_else(|| BackendError::NotFound(name.to_string()))
    }

    /// What has the name already. `None`: nothing.
    fn existing(&self, name: &RunName) -> Result<Option<Created>, BackendError> {
        match self.contents(name) {
            Ok(contents) => Ok(contents.map(|contents| Created::Exists(Box::new(contents.facts(&self.node))))),
            Err(BackendError::Corrupt { what, message }) => {
                Ok(Some(Created::Taken { what: format!("{what}, which is no run of ours ({message})") }))
            }
            Err(error) => Err(error),
        }
    }

    fn create(&self, launch: &Launch) -> Result<Created, BackendError> {
        if let Some(existing) = self.existing(&launch.name)? {
            return Ok(existing);
        }
        let run = self.launcher.stored(launch, &self.store.dir(&launch.name))?;
        let input = launch.input.as_ref().map(crate::domain::spec::Input::as_bytes);
        if self.store.create(&run, input, &launch.files)? == Made::Exists {
            // Gone again: it was removed meanwhile.
            return self.existing(&launch.name)?.ok_or_else(|| BackendError::Conflict(launch.name.to_string()));
        }
        let contents = self.own(&launch.name, &run.uid)?;
        Ok(Created::New(Box::new(contents.facts(&self.node))))
    }

    /// Starts a shim if the run has none and is not over. Failing is not final: whoever watches
    /// tries again.
    fn attend(&self, contents: &Contents) {
        if contents.stand() != Stand::Unattended {
            return;
        }
        if let Err(error) = self.launcher.start_shim(&self.store.dir(&contents.run.name)) {
            tracing::warn!(run = %contents.run.name, %error, "the shim could not be started; trying again");
        }
    }

    fn act(&self, name: &RunName, uid: &str, action: Action) -> Result<(), BackendError> {
        let contents = self.own(name, uid)?;
        match action {
            Action::WriteStop(stop) => self.store.publish(name, rundir::STOP, &stop),
            Action::EndUnstarted { .. } | Action::EndStarted { .. } => self.end(name, uid, &contents),
            // The shim keeps the clock from the start itself.
            Action::LowerDeadline { .. } => Ok(()),
            Action::StoreResult { json } => self.store.replace(name, rundir::STORED_RESULT, json.as_bytes()),
            Action::WriteRecord(record) => self.store.publish(name, rundir::RECORD, &record),
            Action::Release { retention, .. } => {
                let now = Timestamp::now();
                let expire_time = now.checked_add(retention).unwrap_or(Timestamp::MAX);
                self.store.publish(name, rundir::RELEASED, &Released { expire_time })
            }
            Action::Delete => {
                end_by_force(&contents);
                self.store.remove(name)
            }
        }
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
            Stand::Starting | Stand::Running => {
                if let Some(shim) = &contents.shim {
                    process::signal(shim, Signal::USR1);
                }
                Ok(())
            }
            Stand::Lost => {
                end_by_force(&contents);
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
}

/// Ends what still lives of a run that nobody supervises, or that is to vanish.
fn end_by_force(contents: &Contents) {
    if let Some(shim) = &contents.shim {
        process::signal(shim, Signal::KILL);
    }
    if let Some(child) = &contents.child {
        process::kill_group(child);
    }
}

#[async_trait]
impl Runs for Handle {
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
        blocking("previewing a run", move || local.launcher.preview(&launch, &local.store.dir(&launch.name))).await
    }

    async fn get(&self, name: &RunName) -> Result<Option<RunFacts>, BackendError> {
        let (local, name) = (Arc::clone(&self.0), name.clone());
        blocking("reading a run", move || Ok(local.contents(&name)?.map(|contents| contents.facts(&local.node)))).await
    }

    async fn act(&self, name: &RunName, uid: &str, action: &Action) -> Result<(), BackendError> {
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
        watch::watch(Arc::clone(&self.0))
    }
}

#[async_trait]
impl Logs for Handle {
    fn rotates(&self) -> bool {
        false
    }

    async fn open(
        &self,
        source: &LogSource,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        logs::open(Arc::clone(&self.0), source.clone(), *options).await
    }
}

/// Starts a task that ends by itself, or with what it serves.
fn task(name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
    runtime::task::spawn(name, future).abort_handle()
}

/// Does something that waits for a disk, apart from the tasks that must not.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    runtime::task::blocking(work)
        .await
        .unwrap_or_else(|error| Err(BackendError::Io { what: what.to_owned(), source: std::io::Error::other(error) }))
}
