//! `longshore release`: lets go of every Job of an installation without its daemon, so that
//! nothing stays held when it is uninstalled.

use std::process::ExitCode;

use crate::backend::kubernetes;
use crate::config::{Config, ReleaseArgs, ServeArgs};
use crate::runtime::telemetry;

/// Releases, and deletes if asked to; prints what it did.
///
/// # Errors
/// A configuration that can't be used, a cluster that can't be reached; what was released until
/// then stays released.
pub async fn release(args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    let ReleaseArgs { installation, delete } = args;
    let config = Config::load(&ServeArgs { installation, ..ServeArgs::default() })?;
    telemetry::install(config.log_format);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let in_cluster = config.kubernetes.kubeconfig.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let cluster = super::backend::kubernetes_config(&config, in_cluster);
    let released = kubernetes::release(cluster, delete).await?;
    for failure in &released.failures {
        tracing::error!(%failure, "not released");
    }
    tracing::info!(jobs = released.jobs, deleted = delete, instance = %config.instance, "released");
    Ok(if released.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
