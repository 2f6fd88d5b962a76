//! Which backend, and why.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::metrics::Metrics;
use crate::backend::kubernetes::{self, KubernetesConfig};
use crate::backend::local::{self, DEFAULT_LOG_MAX_BYTES, DEFAULT_MAX_PROCESSES, LocalConfig};
use crate::backend::{Backend, NamespaceMap};
use crate::config::{BackendChoice, Config};

/// What executes runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A cluster; whether it is the one that this process runs in.
    Cluster { in_cluster: bool },
    /// This machine.
    Machine,
}

/// Connects the backend that the configuration chooses, with the reason of the choice. Nothing is
/// asked of a cluster yet.
pub(super) async fn connect(config: &Config, metrics: &mut Metrics) -> anyhow::Result<(Backend, String)> {
    let (choice, reason) = choose(config)?;
    let backend = match choice {
        Choice::Cluster { in_cluster } => cluster(config, in_cluster, metrics).await?,
        Choice::Machine => this_machine(config, metrics).await?,
    };
    Ok((backend, reason.to_owned()))
}

/// What the configuration and the place where this runs make of `auto`, with the reason.
pub(super) fn choose(config: &Config) -> anyhow::Result<(Choice, &'static str)> {
    let explicit = config.kubernetes.kubeconfig.is_some();
    // What every Pod finds in its environment, and nothing else has.
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty());
    match config.backend {
        BackendChoice::Auto if explicit => Ok((Choice::Cluster { in_cluster: false }, "a kubeconfig is configured")),
        BackendChoice::Auto if in_cluster => Ok((Choice::Cluster { in_cluster: true }, "this runs in a cluster")),
        BackendChoice::Auto => Ok((Choice::Machine, "no kubeconfig is configured and this runs in no cluster")),
        BackendChoice::Kubernetes => Ok((Choice::Cluster { in_cluster: in_cluster && !explicit }, "it was requested")),
        BackendChoice::Local if explicit => {
            bail!("a kubeconfig is configured, but the backend is `local`: drop one of the two")
        }
        BackendChoice::Local => Ok((Choice::Machine, "it was requested")),
    }
}

/// How the configured cluster is reached.
pub(super) fn kubernetes_config(config: &Config, in_cluster: bool) -> KubernetesConfig {
    KubernetesConfig {
        kubeconfig: config.kubernetes.kubeconfig.clone(),
        context: config.kubernetes.context.clone(),
        in_cluster,
        instance: config.instance.clone(),
        namespaces: NamespaceMap::new(config.namespaces.clone()),
        volumes: config.volumes.clone(),
        network_policies_installed: config.kubernetes.network_policies,
        request_timeout: kubernetes::REQUEST_TIMEOUT,
        node_lost_after: config.kubernetes.node_lost_after,
        queues: config.kubernetes.queues.clone(),
    }
}

async fn cluster(config: &Config, in_cluster: bool, metrics: &mut Metrics) -> anyhow::Result<Backend> {
    let connected = kubernetes::connect(kubernetes_config(config, in_cluster), &metrics.kubernetes()).await;
    connected.context("cannot use the cluster's configuration")
}

async fn this_machine(config: &Config, metrics: &mut Metrics) -> anyhow::Result<Backend> {
    // Which directory it is, the cause says.
    local::open(local_config(config)?, metrics.local()).await.context("cannot keep runs")
}

/// How this machine is used.
pub(super) fn local_config(config: &Config) -> anyhow::Result<LocalConfig> {
    let root = match &config.local.state_dir {
        // One that was typed may begin where it was typed.
        Some(dir) => std::path::absolute(dir).with_context(|| format!("state directory {}", dir.display()))?,
        None => default_state_dir()?,
    };
    let executable = std::env::current_exe().context("cannot find this executable")?;
    Ok(LocalConfig {
        root,
        enter: executable.clone(),
        executable,
        path: std::env::var("PATH")
            .ok()
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| local::DEFAULT_PATH.to_owned()),
        volumes: config.volumes.clone(),
        sandbox: !config.local.no_bwrap,
        log_max_bytes: config.local.log_max_bytes.unwrap_or(DEFAULT_LOG_MAX_BYTES),
        max_processes: config.local.max_processes.unwrap_or(DEFAULT_MAX_PROCESSES),
        room: local::Room { runs: config.local.max_finished_runs, bytes: config.local.max_finished_bytes },
        max_concurrent_runs: config.local.max_concurrent_runs.unwrap_or_else(local::default_concurrent_runs),
    })
}

/// `$XDG_STATE_HOME/longshore`, else `~/.local/state/longshore` (XDG Base Directory Specification).
fn default_state_dir() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(state) = absolute("XDG_STATE_HOME") {
        return Ok(state.join("longshore"));
    }
    let home =
        absolute("HOME").context("neither $XDG_STATE_HOME nor $HOME is set: name a directory with --state-dir")?;
    Ok(home.join(".local/state/longshore"))
}
