//! `longshore release`: lets go of every Job of an installation without its daemon, so that
//! nothing stays held when it is uninstalled.

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
    let ReleaseArgs { installation, scale_down, delete } = args;
    let config = Config::load(&ServeArgs { installation, ..ServeArgs::default() })?;
    telemetry::install(config.log_format);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let in_cluster = config.kubernetes.kubeconfig.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let cluster = super::backend::kubernetes_config(&config, in_cluster);
    if let Some(deployment) = scale_down {
        let Some((namespace, name)) = deployment.split_once('/') else {
            bail!("--scale-down {deployment}: expected NAMESPACE/DEPLOYMENT, such as longshore/longshore");
        };
        kubernetes::scale_down(cluster.clone(), namespace, name).await?;
        tracing::info!(%deployment, "the daemon is down");
    }
    let released = kubernetes::release(cluster, delete).await?;
    for failure in &released.failures {
        tracing::error!(%failure, "not released");
    }
    tracing::info!(jobs = released.jobs, deleted = delete, instance = %config.instance, "released");
    Ok(if released.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
