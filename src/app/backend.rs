//! Which backend, and why.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::metrics::Metrics;
use crate::backend::kubernetes::{self, KubernetesConfig};
use crate::backend::local::{self, LocalConfig};
use crate::backend::{Backend, NamespaceMap};
use crate::config::{BackendChoice, Config};

/// Connects the backend that the configuration chooses, with the reason of the choice. Nothing is
/// asked of a cluster yet.
pub(super) async fn connect(config: &Config, metrics: &mut Metrics) -> anyhow::Result<(Backend, String)> {
    let explicit = config.kubernetes.kubeconfig.is_some();
    // What every Pod finds in its environment, and nothing else has.
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    match config.backend {
        BackendChoice::Auto if explicit => {
            Ok((cluster(config, false, metrics).await?, "a kubeconfig is configured".to_owned()))
        }
        BackendChoice::Auto if in_cluster => {
            Ok((cluster(config, true, metrics).await?, "this runs in a cluster".to_owned()))
        }
        BackendChoice::Auto => {
            let reason = "no kubeconfig is configured and this runs in no cluster";
            Ok((this_machine(config).await?, reason.to_owned()))
        }
        BackendChoice::Kubernetes => {
            let inside = in_cluster && !explicit;
            Ok((cluster(config, inside, metrics).await?, "it was asked for".to_owned()))
        }
        BackendChoice::Local if explicit => {
            bail!("a kubeconfig is configured, but the backend is `local`: drop one of the two")
        }
        BackendChoice::Local => Ok((this_machine(config).await?, "it was asked for".to_owned())),
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
    }
}

async fn cluster(config: &Config, in_cluster: bool, metrics: &mut Metrics) -> anyhow::Result<Backend> {
    let connected = kubernetes::connect(kubernetes_config(config, in_cluster), &metrics.kubernetes()).await;
    connected.context("cannot use the cluster's configuration")
}

async fn this_machine(config: &Config) -> anyhow::Result<Backend> {
    let root = match &config.local.state_dir {
        Some(dir) => dir.clone(),
        None => default_state_dir()?,
    };
    let executable = std::env::current_exe().context("cannot find this executable")?;
    let local = LocalConfig {
        root: root.clone(),
        executable,
        path: std::env::var("PATH").unwrap_or_else(|_| local::DEFAULT_PATH.to_owned()),
        volumes: config.volumes.clone(),
        sandbox: !config.local.no_bwrap,
    };
    local::open(local).await.with_context(|| format!("cannot keep runs in {}", root.display()))
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
