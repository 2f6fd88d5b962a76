//! The server's configuration: a TOML file, overridden by flags and environment.
//!
//! What is typed is [`file::ConfigFile`]; what it means is [`Config`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_domain::name::NamespaceName;
use longshore_domain::run::profile::{Limits, Profile, Volume};
use longshore_runtime::telemetry::LogFormat;

mod access;
mod args;
mod builtin;
mod faults;
mod file;
mod profiles;
mod tokens;
mod typed;

pub use access::{Access, Authentication, Authorization};
pub use args::{
    AddressArgs, BackendChoice, DoctorArgs, InstallationArgs, ReleaseArgs, ServeArgs, socket_address, switch,
};
pub use tokens::{StaticToken, TokenFile};
pub use typed::ConfigFault;
use typed::Typed;

/// A sample with every key, its default and its meaning: what `longshore serve --print-config` prints.
pub const SAMPLE: &str = include_str!("sample.toml");

/// What the server is configured to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served; `None`: nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// Where health alone is served, in plaintext; `None`: nowhere.
    pub health_listen: Option<SocketAddr>,
    /// Whether to serve beyond loopback without authentication.
    pub insecure_no_auth: bool,
    /// Whether to serve beyond loopback without TLS.
    pub insecure_plaintext: bool,
    /// Who may call.
    pub access: Access,
    /// Which backend.
    pub backend: BackendChoice,
    /// Name of this installation: what it owns carries it.
    pub instance: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// How long open calls may take to end once the server shuts down.
    pub drain_timeout: Duration,
    /// How long the output of a program that has ended may take to be read.
    pub result_deadline: Duration,
    /// Namespaces and their Kubernetes namespaces.
    pub namespaces: BTreeMap<NamespaceName, String>,
    /// The cluster.
    pub kubernetes: Kubernetes,
    /// This machine.
    pub local: Local,
    /// Limits and defaults of runs.
    pub limits: Limits,
    /// Limits of connections and calls.
    pub serving: Serving,
    /// Volumes, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// Runner profiles, by name.
    pub profiles: BTreeMap<String, Profile>,
}

/// How the cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// Explicit kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// Context in it; `None`: its current one.
    pub context: Option<String>,
    /// Whether NetworkPolicies for the network modes are installed.
    pub network_policies: bool,
    /// How long the control plane may report a node as silent before what ran there counts as lost; at least 30 s.
    pub node_lost_after: Duration,
    /// Kueue's LocalQueues that runs may wait in, by name; each must be in the Kubernetes namespaces of the runs that name it.
    pub queues: Vec<String>,
}

/// Limits of connections and calls; `None`: the server's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// Connections at once.
    pub max_connections: Option<usize>,
    /// Those of them from one address.
    pub max_connections_per_address: Option<usize>,
    /// Followed logs and watches of one caller at once.
    pub max_streams_per_caller: Option<usize>,
}

/// How this machine is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Where runs are kept; `None`: `$XDG_STATE_HOME/longshore`, else `~/.local/state/longshore`.
    pub state_dir: Option<PathBuf>,
    /// Whether bubblewrap must not be used although it is installed.
    pub no_bwrap: bool,
    /// How large the log of a run may become, in bytes; `None`: the backend's default.
    pub log_max_bytes: Option<u64>,
    /// How many processes and threads a run may have; `None`: the backend's default.
    pub max_processes: Option<u64>,
    /// How many runs are executed at once; `None`: by the processors.
    pub max_concurrent_runs: Option<usize>,
    /// How many finished runs are kept; `None`: as many as their retention keeps.
    pub max_finished_runs: Option<usize>,
    /// What their directories may take together, in bytes; `None`: no bound.
    pub max_finished_bytes: Option<u64>,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {}: {cause}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why. Part of the sentence, so no source besides.
        cause: std::io::Error,
    },
    /// A file of tokens can't be used.
    #[error("{} cannot be used: {message}", .path.display())]
    Tokens {
        /// Which.
        path: PathBuf,
        /// Where and why, without a word of what is typed there.
        message: String,
    },
    /// Keys that there are not and values that can't be used, all at once.
    #[error("{}", listed(.path.as_deref(), .faults))]
    Invalid {
        /// The file; `None`: there is none, so the flags are at fault.
        path: Option<PathBuf>,
        /// What is wrong, by line.
        faults: Vec<ConfigFault>,
    },
}

/// One line for each fault, which an editor can follow: `FILE:LINE: KEY: what is wrong`.
fn listed(path: Option<&Path>, faults: &[ConfigFault]) -> String {
    let file = path.map(|path| path.display().to_string());
    let mut text = match &file {
        Some(file) => format!("the configuration {file} cannot be used:"),
        None => "the configuration cannot be used:".to_owned(),
    };
    for fault in faults {
        let place = match (&file, fault.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            _ => String::new(),
        };
        text.push_str(&format!("\n  {place}{fault}"));
    }
    text
}

impl Config {
    /// Reads the file that `args` name, if they name one, and lays the flags over it.
    ///
    /// # Errors
    /// Unreadable file; unknown keys (with the nearest known one) and values that can't be used, all
    /// of them at once.
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        let text = match &args.installation.config {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.clone(), cause })?
            }
            None => String::new(),
        };
        Self::from_text(&text, args)
    }

    /// The configuration of an empty file without flags.
    ///
    /// # Errors
    /// Never in practice: the defaults are tested.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::from_text("", &ServeArgs::default())
    }

    /// `text` is that of the file which `args` name.
    fn from_text(text: &str, args: &ServeArgs) -> Result<Self, ConfigError> {
        let mut typed = Typed::read(text);
        // Of what is not TOML nothing more can be said.
        let more = match typed.is_toml.then(|| std::mem::take(&mut typed.file).resolve(args)) {
            Some(Ok(config)) if typed.faults.is_empty() => return Ok(config),
            Some(Err(faults)) => faults.into_iter().filter_map(|(key, what)| typed.fault_at(key, what)).collect(),
            Some(Ok(_)) | None => Vec::new(),
        };
        let mut faults = typed.faults;
        faults.extend(more);
        faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
        Err(ConfigError::Invalid { path: args.installation.config.clone(), faults })
    }
}

#[cfg(test)]
mod tests;
