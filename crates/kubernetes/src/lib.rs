//! Runs as Jobs of a Kubernetes cluster.
//!
//! ```text
//! manifest ──► runs ──► client ──► API server ──► list_watch ──► index ──► facts ──► FactsEvent
//!                                        └──────► log
//! ```
//! What is pure stands apart: [`api::names`], [`run::manifest`], [`run::facts`] and `run::index` know no I/O.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::api::client::Cluster;
use self::api::review::KubernetesReviews;
use self::log::KubernetesLogs;
use self::run::memory::Memory;
use self::run::runs::KubernetesRuns;
use longshore_backend::{Backend, BackendError, NamespaceMap};
use longshore_domain::run::profile::{Capabilities, Volume};
use longshore_domain::run::spec::NetworkMode;

pub mod api;
pub mod canary;
pub mod doctor;
pub(crate) mod log;
mod release;
pub mod run;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::api::metrics::KubernetesMetrics;
pub use self::release::{ReleaseOutcome, release, scale_down};

/// How long one call to the API server may take, unless configured.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Which cluster, and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// Path of a kubeconfig. `None`: in the cluster, or else `$KUBECONFIG`, then
    /// `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. `None`: its current one.
    pub context: Option<String>,
    /// Use the service account of the Pod that this process runs in; no kubeconfig is read.
    pub in_cluster: bool,
    /// Name of this installation: a label value. What has another is never touched.
    pub instance: String,
    /// The namespaces, and where they live.
    pub namespaces: NamespaceMap,
    /// The configured volumes, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// Whether the operator installed the NetworkPolicies that the network modes need.
    pub network_policies_installed: bool,
    /// Bound of every call that is no stream. [`REQUEST_TIMEOUT`] is a good one.
    pub request_timeout: Duration,
    /// How long the control plane may report a node as silent before what ran there counts as lost.
    pub node_lost_after: Duration,
    /// Kueue's LocalQueues that runs may name.
    pub queues: Vec<String>,
}

/// The backend on the cluster that `config` names. Nothing is asked of the cluster yet, so that it
/// need not be reachable: its absence shows in calls and in the watch.
///
/// # Errors
/// If the configuration can't be read or used.
pub async fn connect(config: KubernetesConfig, metrics: &KubernetesMetrics) -> Result<Backend, BackendError> {
    let capabilities = Arc::new(capabilities(&config));
    let volumes = config.volumes.clone();
    let cluster = Arc::new(Cluster::connect_counted(config, metrics).await?);
    let memory = Arc::new(Memory::default());
    Ok(Backend {
        capabilities,
        runs: Arc::new(KubernetesRuns::new(Arc::clone(&cluster), memory, volumes)),
        logs: Arc::new(KubernetesLogs::new(Arc::clone(&cluster))),
        reviews: Some(Arc::new(KubernetesReviews::new(cluster))),
    })
}

fn capabilities(config: &KubernetesConfig) -> Capabilities {
    let enforced = config.network_policies_installed;
    let network_modes = if enforced { NetworkMode::ALL.to_vec() } else { Vec::new() };
    let mut notes = Vec::new();
    if !enforced {
        notes.push(
            "network modes are not enforced: install NetworkPolicies that select the label longshore.dev/network, then set kubernetes.network_policies = \"installed\""
                .to_owned(),
        );
    }
    Capabilities {
        backend: "kubernetes",
        container_workload: true,
        split_streams: false,
        stdin_input: false,
        secret_key_ref: true,
        placement: true,
        user: true,
        resource_limits: true,
        root_filesystem: true,
        network_modes,
        volumes: true,
        queue: !config.queues.is_empty(),
        queues: config.queues.clone(),
        isolation: "pod",
        notes,
    }
}
