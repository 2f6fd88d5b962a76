//! `longshore doctor`, and the same checks at start: what would keep runs from working.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::backend::{Choice, choose, kubernetes_config, local_config};
use crate::backend::kubernetes::doctor::{Examination, Extent, examine};
use crate::backend::local;
use crate::config::{Authorization, Config, DoctorArgs, ServeArgs};
use crate::runtime::finding::{Finding, Progress};

mod certificates;
mod start;

pub(super) use start::at_start;

const CONFIGURATION: &str = "configuration";
const BACKEND: &str = "backend";

/// Looks at everything that `args` ask for; never nothing. Once `stop` is cancelled it only deletes
/// the Pods that it made.
pub async fn doctor(args: DoctorArgs, stop: CancellationToken, progress: Progress<'_>) -> Vec<Finding> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let DoctorArgs { installation, backend, state_dir, canary, canary_image } = args;
    let file = match &installation.config {
        Some(path) => path.display().to_string(),
        None => "defaults, no file".to_owned(),
    };
    let config = match Config::load(&ServeArgs { installation, backend, state_dir, ..ServeArgs::default() }) {
        Ok(config) => config,
        Err(error) => {
            let fix = "`longshore serve --print-config` prints every key with its default and its meaning";
            return vec![Finding::failed(CONFIGURATION, file, error.to_string()).fix(fix)];
        }
    };
    let mut findings =
        vec![Finding::ok(CONFIGURATION, file, format!("it can be read; instance `{}`", config.instance))];
    findings.extend(certificates(&config));
    let extent = if canary { Extent::Canaries } else { Extent::Reads };
    match choose(&config) {
        Err(error) => findings.push(
            Finding::failed(BACKEND, "choice", format!("{error:#}"))
                .fix("choose by --backend, or by `backend` and `kubernetes.kubeconfig` in the configuration"),
        ),
        Ok((Choice::Machine, reason)) => {
            findings.push(Finding::ok(BACKEND, "local", reason));
            findings.extend(this_machine(&config).await);
        }
        Ok((Choice::Cluster { in_cluster }, reason)) => {
            findings.push(Finding::ok(BACKEND, "kubernetes", reason));
            let mut examination = examination(&config, extent, stop);
            examination.canary_image = canary_image;
            findings.extend(examine(kubernetes_config(&config, in_cluster), &examination, progress).await);
        }
    }
    findings
}

fn examination(config: &Config, extent: Extent, stop: CancellationToken) -> Examination {
    Examination {
        extent,
        token_review: config.access.authentication.token_review.is_some(),
        access_review: matches!(config.access.authorization, Some(Authorization::Kubernetes { .. })),
        profiles: config.profiles.clone(),
        limits: config.limits.clone(),
        network_policies_installed: config.kubernetes.network_policies,
        canary_image: None,
        stop,
    }
}

async fn this_machine(config: &Config) -> Vec<Finding> {
    match local_config(config) {
        Ok(local) => local::doctor::examine(&local, &config.profiles).await,
        Err(error) => vec![
            Finding::failed("state-directory", "none", format!("{error:#}"))
                .fix("name a directory with --state-dir or `local.state_dir`"),
        ],
    }
}

/// The certificates that this installation serves with, and those that it knows callers by.
fn certificates(config: &Config) -> Vec<Finding> {
    let Some(tls) = &config.access.tls else { return Vec::new() };
    match tls.certificates() {
        Ok(found) => certificates::judge(&found, Timestamp::now()),
        Err(error) => vec![
            Finding::failed(certificates::CHECK, "tls", error.to_string())
                .fix("see `tls` in the configuration; on Kubernetes: is the Secret there, and mounted?"),
        ],
    }
}
