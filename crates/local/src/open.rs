//! Opens the backend: makes of the configuration, and of what this machine can do, what the roles share.

use std::path::PathBuf;
use std::sync::Arc;

use crate::blocking::blocking;
use crate::capabilities::{ProcessBound, capabilities};
use crate::config::LocalConfig;
use crate::metrics::LocalMetrics;
use crate::roles::LocalRoles;
use crate::run::directory::Store;
use crate::run::launch::Launcher;
use crate::run::queue::Queue;
use crate::run::runs::LocalRuns;
use crate::sandbox::bwrap::Sandbox;
use crate::sandbox::probe::NoSandbox;
use crate::sys::{Sys, keyring};
use longshore_backend::{Backend, BackendError};
use longshore_domain::run::profile::Capabilities;

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
pub(crate) async fn open_local(
    config: LocalConfig,
    metrics: LocalMetrics,
    sys: Sys,
) -> Result<(Arc<LocalRuns>, Capabilities), BackendError> {
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
    let local = Arc::new(LocalRuns {
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
