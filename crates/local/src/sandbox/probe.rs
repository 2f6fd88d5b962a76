//! Whether `bwrap` works here, and what it can do. Found out by trying.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::bwrap::Sandbox;
use super::find::{DEFAULT_PATH, find_program};
use super::options::SandboxView;
use super::system::{masked, system_paths};
use super::trial::{self, Able, Trial};
use crate::sys::file::{bequeath, in_memory};
use crate::sys::{Cause, Unknown, seccomp};
use longshore_domain::run::rundir;

/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(5);

/// What trying out a sandbox came to.
enum TryOut {
    /// A program ran in it.
    Works(Trial),
    /// None does; why.
    Fails(String),
}

/// Why there is no sandbox.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSandbox {
    /// It does not work here, for the reason that the sentence says.
    #[error("{0}")]
    Absent(String),
    /// It could not be found out whether it does.
    #[error(transparent)]
    Unknown(#[from] Unknown),
}

impl From<&str> for NoSandbox {
    fn from(reason: &str) -> Self {
        Self::Absent(reason.to_owned())
    }
}

impl Sandbox {
    /// Looks for `bwrap` in `path` (as in `$PATH`) and tries it. `enter`: this executable.
    ///
    /// # Errors
    /// There is no sandbox, or that could not be found out.
    pub(crate) async fn probe(path: &str, enter: &str) -> Result<Self, NoSandbox> {
        let bwrap =
            find_program("bwrap", path)?.ok_or("bubblewrap (`bwrap`) is not installed; install it to isolate runs")?;
        let bwrap = bwrap.to_str().ok_or("the path of `bwrap` is not UTF-8")?.to_owned();
        let setpriv = if rustix::process::geteuid().is_root() {
            let found = find_program("setpriv", path)?;
            let found = found.as_deref().and_then(Path::to_str).map(str::to_owned);
            Some(found.ok_or(
                "`setpriv` (util-linux) is not installed; a server that runs as root needs it to isolate runs",
            )?)
        } else {
            None
        };
        let is_root = setpriv.is_some();
        let able = Able { sizes: true, no_more_users: !is_root, filter: true };
        let (system, masked) = (system_paths()?, masked()?);
        let executable = enter.to_owned();
        let mut sandbox = Self { bwrap, setpriv, executable, system, masked, able, trial: Trial::default() };
        let first = match sandbox.try_out().await? {
            TryOut::Works(trial) => return Ok(Self { trial, ..sandbox }),
            TryOut::Fails(first) => first,
        };
        // Then the least, and what is possible beyond it.
        sandbox.able = Able::default();
        match sandbox.try_out().await? {
            TryOut::Works(trial) => sandbox.trial = trial,
            TryOut::Fails(_) => {
                return Err(NoSandbox::Absent(format!("`{}` does not work here: {first}", sandbox.bwrap)));
            }
        }
        let more: [fn(&mut Able); 3] =
            [|able| able.sizes = true, |able| able.filter = true, |able| able.no_more_users = true];
        for able_to in more.into_iter().take(if is_root { 2 } else { 3 }) {
            let before = sandbox.able;
            able_to(&mut sandbox.able);
            match sandbox.try_out().await? {
                TryOut::Works(trial) => sandbox.trial = trial,
                TryOut::Fails(_) => sandbox.able = before,
            }
        }
        Ok(sandbox)
    }

    /// Starts a program in it.
    async fn try_out(&self) -> Result<TryOut, Unknown> {
        let view = SandboxView {
            user: 65_532,
            group: 65_532,
            hostname: "probe",
            read_only_root: true,
            tmp_bytes: Some(1 << 20),
            ..SandboxView::default()
        };
        let filters = match self.filters() {
            Ok(filters) => filters,
            Err(error) => return failed(error, "the filter of system calls"),
        };
        let environment = match inherited("environment", format!("PATH={DEFAULT_PATH}\0").as_bytes()) {
            Ok(environment) => environment,
            Err(error) => return failed(error, "the environment"),
        };
        let mut command = tokio::process::Command::new(&self.bwrap);
        command.args(self.base(&view)).args(["--remount-ro", "/"]);
        for filter in &filters {
            command.arg("--add-seccomp-fd").arg(filter.as_raw_fd().to_string());
        }
        command.arg("--clearenv").args(["--setenv", "PATH", DEFAULT_PATH]);
        command.args(["--setenv", rundir::ENVIRONMENT, &environment.as_raw_fd().to_string()]);
        command.args(["--setenv", rundir::TRY_PROCESSES, "1"]);
        command.arg("--").args(self.dropped(view.user, view.group)).args(["sh", "-c", trial::SCRIPT]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(PROBE, command.output()).await {
            Err(_) => Ok(TryOut::Fails(format!("no answer within {} s", PROBE.as_secs()))),
            Ok(Err(error)) => failed(error, &format!("`{}`", self.bwrap)),
            Ok(Ok(output)) if output.status.success() => {
                let found = String::from_utf8_lossy(&output.stdout);
                Ok(TryOut::Works(Trial::judge(&found, self.able, self.setpriv.is_some())))
            }
            Ok(Ok(output)) => {
                Ok(TryOut::Fails(String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect()))
            }
        }
    }

    /// The programs of the filter, as files that are inherited: should another thread start something now, it gets
    /// no more than these to read.
    fn filters(&self) -> io::Result<Vec<File>> {
        if !self.able.filter {
            return Ok(Vec::new());
        }
        let programs = seccomp::programs().map_err(io::Error::other)?;
        programs.iter().map(|program| inherited("filter", program)).collect()
    }
}

/// A file in memory that is inherited.
fn inherited(name: &str, content: &[u8]) -> io::Result<File> {
    let file = in_memory(name, content)?;
    bequeath(&file)?;
    Ok(file)
}

/// A try that failed by itself: without a word on the sandbox if this process is short of something.
fn failed(error: io::Error, what: &str) -> Result<TryOut, Unknown> {
    let unknown = Unknown::of(what, &error);
    if unknown.kind == Cause::Shortage { Err(unknown) } else { Ok(TryOut::Fails(error.to_string())) }
}
