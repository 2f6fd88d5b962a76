//! `longshore doctor`, and the same checks at start: what would keep runs from working.

use std::path::Path;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::access::{Refusal, check_exposure, check_reviews};
use super::backend::{Choice, choose, kubernetes_config, local_config};
use crate::backend::kubernetes::doctor::{Examination, Extent, examine};
use crate::backend::local;
use crate::config::{Authorization, Config, ConfigError, ConfigFault, DoctorArgs, ServeArgs, TokenFile};
use crate::runtime::finding::{Finding, Progress, Status};
use crate::runtime::tls::{TlsError, TlsFiles, certificates_in};

mod certificates;
mod start;

pub(super) use start::at_start;

const CONFIGURATION: &str = "configuration";
const BACKEND: &str = "backend";
const LISTEN: &str = "listen";
const TLS: &str = "tls";
const AUTHENTICATION: &str = "authentication";
const TOKENS: &str = "tokens";

/// Looks at everything that `args` ask for; never nothing. Once `stop` is cancelled it only deletes
/// the Pods that it made.
pub async fn doctor(args: DoctorArgs, stop: CancellationToken, progress: Progress<'_>) -> Vec<Finding> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let DoctorArgs { installation, backend, state_dir, addresses, canary, canary_image } = args;
    let file = match &installation.config {
        Some(path) => path.display().to_string(),
        None => "defaults, no file".to_owned(),
    };
    let args = ServeArgs { installation, backend, state_dir, addresses, ..ServeArgs::default() };
    let config = match Config::load(&args) {
        Ok(config) => config,
        Err(error) => return configuration(&file, &error),
    };
    let mut findings =
        vec![Finding::ok(CONFIGURATION, file, format!("it can be read; instance `{}`", config.instance))];
    let chosen = choose(&config);
    findings.extend(doors(&config, &chosen));
    let extent = if canary { Extent::Canaries } else { Extent::Reads };
    match chosen {
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

/// A finding for each thing that is wrong with the configuration.
fn configuration(file: &str, error: &ConfigError) -> Vec<Finding> {
    let fix = "`longshore serve --print-config` prints every key with its default and its meaning";
    let failed = |subject: String, message: String| Finding::failed(CONFIGURATION, subject, message);
    let mut findings = match error {
        ConfigError::Invalid { faults, .. } => {
            let place = |fault: &ConfigFault| match fault.line {
                Some(line) => format!("{file}:{line}"),
                None => file.to_owned(),
            };
            faults.iter().map(|fault| failed(place(fault), fault.to_string())).collect()
        }
        ConfigError::Read { .. } | ConfigError::Tokens { .. } => vec![failed(file.to_owned(), error.to_string())],
    };
    if let Some(last) = findings.pop() {
        findings.push(last.fix(fix));
    }
    findings
}

/// What a start refuses of where is served and to whom, judged as a start does.
fn doors(config: &Config, chosen: &anyhow::Result<(Choice, &'static str)>) -> Vec<Finding> {
    let machine = whose_files(chosen);
    let mut findings = vec![match check_exposure(config) {
        Ok(who) => Finding::ok(LISTEN, config.listen.to_string(), who),
        Err(Refusal { what, way_out }) => Finding::failed(LISTEN, config.listen.to_string(), what).fix(way_out),
    }];
    findings.extend(certificates(config, machine));
    if let Some(tls) = &config.access.tls
        && let Some(unfit) = unfit(tls, machine, &findings)
    {
        findings.push(unfit);
    }
    let (backend, has_reviews) = match chosen {
        Ok((Choice::Machine, _)) => ("local", false),
        // Of what cannot be chosen the check of the backend says why.
        Ok((Choice::Cluster { .. }, _)) | Err(_) => ("kubernetes", true),
    };
    if let Err(Refusal { what, way_out }) = check_reviews(&config.access, backend, has_reviews) {
        findings.push(Finding::failed(AUTHENTICATION, backend, what).fix(way_out));
    }
    findings.extend(config.access.authentication.token_file.as_deref().map(|file| tokens(file, machine)));
    findings
}

/// Why the files of TLS cannot be used together, if `found` has not said so of one of them already.
fn unfit(tls: &TlsFiles, machine: FileHost, found: &[Finding]) -> Option<Finding> {
    if machine.may_lack(&tls.key) {
        return None;
    }
    let error = tls.check().err()?;
    let (TlsError::File { path, .. } | TlsError::Unfit { key: path, .. } | TlsError::Authorities { path, .. }) = &error;
    let subject = path.display().to_string();
    let is_known = found.iter().any(|finding| finding.subject == subject && finding.status != Status::Ok);
    let fix = "see `tls` in the configuration: the key must be that of the first certificate in tls.cert_file";
    (!is_known).then(|| Finding::failed(TLS, subject, error.to_string()).fix(fix))
}

/// Whether the file of static tokens can be used.
fn tokens(file: &Path, machine: FileHost) -> Finding {
    let subject = file.display().to_string();
    if machine.may_lack(file) {
        return not_here(TOKENS, file, "");
    }
    match TokenFile::read(file) {
        Ok(tokens) if tokens.is_empty() => Finding::warning(TOKENS, subject, "it has no token, so no caller has one")
            .fix(format!("longshore token create USER --file {}", file.display())),
        Ok(tokens) => Finding::ok(TOKENS, subject, format!("its tokens can be used: {}", tokens.len())),
        Err(error) => Finding::failed(TOKENS, subject, error.to_string()).fix(
            "correct `authentication.token_file` or that file: `longshore token create USER --file FILE` makes one; on \
             Kubernetes: is the Secret there, and mounted?",
        ),
    }
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
        Ok(local) => local::doctor::examine(&local, &config.profiles, &config.limits).await,
        Err(error) => vec![
            Finding::failed("state-directory", "none", format!("{error:#}"))
                .fix("name a directory with --state-dir or `local.state_dir`"),
        ],
    }
}

/// Whose machine this is, as far as files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileHost {
    /// The daemon's: it has the files that its configuration names, or does not work.
    Daemons,
    /// Perhaps another one, from where its cluster is looked at.
    Any,
}

impl FileHost {
    /// Whether the file is not here, and need not be. What can't be looked at is tried.
    fn may_lack(self, file: &Path) -> bool {
        self == Self::Any && crate::sys::look(file).is_gone()
    }
}

/// For a file of the daemon's that is not where the doctor is; `or`: another way to look at it.
fn not_here(check: &'static str, file: &Path, or: &str) -> Finding {
    Finding::skipped(check, file.display().to_string(), "this file is not here, but where the daemon is")
        .fix(format!("look at it there: kubectl -n NAMESPACE exec deploy/longshore -- longshore doctor{or}"))
}

/// Without a cluster, and with the credentials of the Pod that this runs in, the daemon would be
/// here; by a kubeconfig one looks at a cluster from anywhere.
fn whose_files(chosen: &anyhow::Result<(Choice, &'static str)>) -> FileHost {
    match chosen {
        Ok((Choice::Cluster { in_cluster: false }, _)) => FileHost::Any,
        _ => FileHost::Daemons,
    }
}

/// The certificates that this installation serves with, and those that it knows callers by.
fn certificates(config: &Config, machine: FileHost) -> Vec<Finding> {
    let Some(tls) = &config.access.tls else { return Vec::new() };
    tls.with_certificates().flat_map(|file| certificates_of(file, machine)).collect()
}

/// Each file by itself, so that none that can't be read hides another.
fn certificates_of(file: &Path, machine: FileHost) -> Vec<Finding> {
    if machine.may_lack(file) {
        return vec![certificates::not_here(file)];
    }
    match certificates_in(file) {
        Ok(found) => certificates::judge(file, &found, Timestamp::now()),
        Err(error) => vec![
            Finding::failed(certificates::CHECK, file.display().to_string(), error.to_string())
                .fix("see `tls` in the configuration; on Kubernetes: is the Secret there, and mounted?"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_a_fault_where_the_daemon_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let garbage = dir.path().join("ca.crt");
        std::fs::write(&garbage, "nothing").unwrap();
        let missing = dir.path().join("tls.crt");
        for (file, machine, status) in [
            (&missing, FileHost::Daemons, Status::Failed),
            (&missing, FileHost::Any, Status::Skipped),
            (&garbage, FileHost::Daemons, Status::Failed),
            (&garbage, FileHost::Any, Status::Failed),
        ] {
            let findings = certificates_of(file, machine);
            let [finding] = &findings[..] else { panic!("{findings:?}") };
            assert_eq!((finding.status, finding.subject.as_str()), (status, file.to_str().unwrap()), "{machine:?}");
            assert!(!finding.fix.is_empty());
        }
    }

    #[test]
    fn only_a_kubeconfig_looks_from_elsewhere() {
        for (choice, machine) in [
            (Choice::Machine, FileHost::Daemons),
            (Choice::Cluster { in_cluster: true }, FileHost::Daemons),
            (Choice::Cluster { in_cluster: false }, FileHost::Any),
        ] {
            assert_eq!(whose_files(&Ok((choice, ""))), machine, "{choice:?}");
        }
        assert_eq!(whose_files(&Err(anyhow::anyhow!("no choice"))), FileHost::Daemons);
    }
}
