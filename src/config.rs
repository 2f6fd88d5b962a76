//! The server's configuration: a TOML file, overridden by flags and environment.
//!
//! What is typed is [`file::ConfigFile`]; what it means is [`Config`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::name::NamespaceName;
use crate::domain::profile::{Limits, Profile, Volume};
use crate::runtime::telemetry::LogFormat;

mod access;
mod args;
mod builtin;
mod file;
mod profiles;
mod tokens;

pub use access::{Access, Authentication, Authorization};
pub use args::{BackendChoice, DoctorArgs, InstallationArgs, ReleaseArgs, ServeArgs};
pub use tokens::{TokenFile, TokenSection};

/// A sample with every key, its default and its meaning: what `longshore serve --print-config` prints.
pub const SAMPLE: &str = include_str!("config/sample.toml");

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
    /// How long open calls may take to end once the server goes down.
    pub drain_timeout: Duration,
    /// How long the output of a program that has ended may take to be read.
    pub result_deadline: Duration,
    /// Namespaces and their Kubernetes namespaces.
    pub namespaces: BTreeMap<NamespaceName, String>,
    /// The cluster.
    pub kubernetes: KubernetesSection,
    /// This machine.
    pub local: LocalSection,
    /// Limits and defaults of runs.
    pub limits: Limits,
    /// Volumes, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// Runner profiles, by name.
    pub profiles: BTreeMap<String, Profile>,
}

/// How the cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesSection {
    /// Explicit kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// Context in it; `None`: its current one.
    pub context: Option<String>,
    /// Whether NetworkPolicies for the network modes are installed.
    pub network_policies: bool,
}

/// How this machine is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalSection {
    /// Where runs are kept; `None`: `$XDG_STATE_HOME/longshore`, else `~/.local/state/longshore`.
    pub state_dir: Option<PathBuf>,
    /// Whether bubblewrap must not be used although it is installed.
    pub no_bwrap: bool,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration {}: {source}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has keys that there are not.
    #[error("the configuration {} cannot be used: {message}", .path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why, with the nearest known key.
        message: String,
    },
    /// Values that can't be used, all at once.
    #[error("the configuration cannot be used:\n{}", .0.iter().map(|m| format!("  {m}")).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<String>),
}

impl Config {
    /// Reads the file that `args` name, if they name one, and lays the flags over it.
    ///
    /// # Errors
    /// Unreadable file, unknown keys (with the nearest known one), values that can't be used (all
    /// of them at once).
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        let file = match &args.installation.config {
            Some(path) => read(path)?,
            None => file::ConfigFile::default(),
        };
        file.resolve(args)
    }

    /// The configuration of an empty file without flags.
    ///
    /// # Errors
    /// Never in practice: the defaults are tested.
    pub fn defaults() -> Result<Self, ConfigError> {
        file::ConfigFile::default().resolve(&ServeArgs::default())
    }
}

fn read(path: &Path) -> Result<file::ConfigFile, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    file::parse(&text).map_err(|message| ConfigError::Parse { path: path.to_owned(), message })
}

#[cfg(test)]
mod tests;
