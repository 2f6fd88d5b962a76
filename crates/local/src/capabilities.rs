//! What the backend can do on this machine, and what it can not, as callers and operators read it.

use crate::config::LocalConfig;
use crate::sandbox::bwrap::Sandbox;
use longshore_domain::run::profile::Capabilities;
use longshore_domain::run::spec::NetworkMode;

pub(crate) fn capabilities(
    sandbox: Option<&Sandbox>,
    reason: Option<String>,
    keyring: std::io::Result<()>,
    bound: Option<ProcessBound>,
    config: &LocalConfig,
) -> Capabilities {
    let sandboxed = sandbox.is_some();
    let mut notes: Vec<String> = reason.into_iter().collect();
    if let Some(Sandbox { trial, .. }) = sandbox {
        notes.push(format!("a trial found: {}", trial.holds.join("; ")));
        if !trial.lacks.is_empty() {
            notes.push(format!("a trial missed: {}", trial.lacks.join("; ")));
        }
        notes.push("network modes other than NONE are not enforced".to_owned());
    } else {
        notes.push("runs are processes of the daemon's own user, with its network and files".to_owned());
    }
    if let Err(error) = keyring {
        notes.push(format!("runs share the session keyring of the daemon: {error}"));
    }
    notes.push("limits of memory and processors are not enforced".to_owned());
    notes.push(match bound {
        Some(ProcessBound::Run(most)) => {
            format!("each run has at most {most} processes and threads (local.max_processes)")
        }
        Some(ProcessBound::User(most)) => format!(
            "runs of one user have at most {most} processes and threads together ({} for each that may be executed: \
             local.max_processes)",
            config.max_processes
        ),
        None => "processes are not bounded".to_owned(),
    });
    let max_concurrent_runs = config.max_concurrent_runs;
    notes.push(format!(
        "at most {max_concurrent_runs} runs are executed at once, and further ones are QUEUED (local.max_concurrent_runs)"
    ));
    Capabilities {
        backend: "local",
        container_workload: false,
        split_streams: true,
        stdin_input: true,
        secret_key_ref: false,
        placement: false,
        user: sandboxed,
        resource_limits: false,
        root_filesystem: sandboxed,
        network_modes: if sandboxed { vec![NetworkMode::None] } else { Vec::new() },
        volumes: sandboxed,
        queue: true,
        queues: Vec::new(),
        isolation: if sandboxed { "bwrap" } else { "process" },
        notes,
    }
}

/// How many processes and threads there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProcessBound {
    /// Of one run.
    Run(u64),
    /// Of all runs of one user, where they share one count.
    User(u64),
}

impl ProcessBound {
    /// `None`: the sandbox can't bound them.
    pub(crate) fn of(sandbox: &Sandbox, config: &LocalConfig) -> Option<Self> {
        sandbox.trial.bounds_processes.then(|| match sandbox.setpriv {
            Some(_) => {
                let runs = u64::try_from(config.max_concurrent_runs).unwrap_or(u64::MAX);
                Self::User(config.max_processes.saturating_mul(runs))
            }
            None => Self::Run(config.max_processes),
        })
    }

    pub(crate) fn most(self) -> u64 {
        match self {
            Self::Run(most) | Self::User(most) => most,
        }
    }
}
