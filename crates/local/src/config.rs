//! What the configuration says of the backend. Knows nothing of how it is carried out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::run::retention::Room;
use longshore_domain::run::profile::Volume;

/// How large the log of a run may become, unless it is configured: what Kubernetes keeps of a container by default is
/// five files of 10 MiB.
pub const DEFAULT_LOG_MAX_BYTES: u64 = 256 << 20;

/// How many processes and threads a run may have, unless it is configured.
pub const DEFAULT_MAX_PROCESSES: u64 = 1024;
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
