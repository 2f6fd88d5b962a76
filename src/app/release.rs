//! `longshore release`: releases every Job of an installation without its daemon, so that nothing
//! stays held when it is uninstalled.

use std::process::ExitCode;

use anyhow::bail;

use crate::backend::kubernetes;
use crate::config::{Config, ReleaseArgs, ServeArgs};
use crate::runtime::telemetry;

/// Releases, and deletes if asked to; prints what it did.
///
/// # Errors
/// A configuration that can't be used, a cluster that can't be reached; what was released until
/// then stays released.
pub async fn release(args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    let ReleaseArgs { installation, kubernetes_namespaces, scale_down, delete } = args;
    let config = Config::load(&ServeArgs { installation, ..ServeArgs::default() })?;
    telemetry::install(config.log_format);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let in_cluster = config.kubernetes.kubeconfig.is_none()
        && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty());
    let cluster = super::backend::kubernetes_config(&config, in_cluster);
    if let Some(deployment) = scale_down {
        let Some((namespace, name)) = deployment.split_once('/') else {
            bail!("--scale-down {deployment}: expected NAMESPACE/DEPLOYMENT, such as longshore/longshore");
        };
        kubernetes::scale_down(cluster.clone(), namespace, name).await?;
        tracing::info!(%deployment, "the daemon is down");
    }
    let namespaces = match kubernetes_namespaces {
        chosen if chosen.is_empty() => config.namespaces.values().cloned().collect(),
        chosen => chosen,
    };
    let released = kubernetes::release(cluster, &namespaces, delete).await?;
    for failure in &released.failures {
        tracing::error!(%failure, "not released");
    }
    let (jobs, instance, namespaces) = (released.jobs, &config.instance, namespaces.join(", "));
    tracing::info!(jobs, deleted = delete, %instance, kubernetes_namespaces = namespaces, "released");
    if !released.other_instances.is_empty() {
        let others = released.other_instances.into_iter().collect::<Vec<_>>().join(", ");
        tracing::warn!(others, "none of these Jobs is this instance's; name another with --config or --instance");
    }
    Ok(if released.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
