//! A `longshore serve` process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, prlimit, waitpid};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::client::Client;
use super::wait::within;

/// The binary that the suite is about.
pub(crate) const LONGSHORE: &str = env!("CARGO_BIN_EXE_longshore");

/// What the process wrote to standard error, all its lives together.
type Output = Arc<Mutex<String>>;

/// A daemon, killed when dropped; its log is shown if the test failed.
#[derive(Debug)]
pub(crate) struct Daemon {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    /// How many files it may have open.
    files: Option<String>,
    output: Output,
    life: Option<Life>,
}

#[derive(Debug)]
struct Life {
    child: Child,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    health: Option<SocketAddr>,
}

impl Life {
    /// `None` once it was waited for.
    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    }
}

impl Daemon {
    /// Starts `longshore serve` with `args` and returns once its port is open, ready or not.
    ///
    /// # Panics
    /// If it ends instead.
    pub(crate) async fn start<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::start_with_env(args, Vec::new()).await
    }

    /// As [`Daemon::start`], with a filter of its log (`RUST_LOG`).
    pub(crate) async fn start_logging<A: Into<OsString>>(log_filter: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self::start_with_env(args, vec![("RUST_LOG".into(), log_filter.into())]).await
    }

    /// As [`Daemon::start`], with more environment variables in each of its lives.
    pub(crate) async fn start_with_env<A: Into<OsString>>(
        args: impl IntoIterator<Item = A>,
        env: Vec<(OsString, OsString)>,
    ) -> Self {
        Self::start_limited(args, env, None).await
    }

    /// As [`Daemon::start_with_env`], with these arguments of `ulimit`.
    pub(crate) async fn start_limited<A: Into<OsString>>(
        args: impl IntoIterator<Item = A>,
        env: Vec<(OsString, OsString)>,
        files: Option<String>,
    ) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        let mut daemon = Self { args, env, files, output: Output::default(), life: None };
        daemon.revive().await;
        daemon
    }

    /// Starts it again as it was, on another port.
    ///
    /// # Panics
    /// If it lives, or ends instead.
    pub(crate) async fn revive(&mut self) {
        assert!(self.life.is_none(), "the daemon lives");
        self.life = Some(
            within("the daemon to serve", launch(&self.args, &self.env, self.files.as_deref(), &self.output)).await,
        );
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("the daemon was killed")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.life().address
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.life().admin.expect("the admin endpoints are off")
    }

    /// Where health alone is served.
    pub(crate) fn health(&self) -> SocketAddr {
        self.life().health.expect("health is not served apart")
    }

    /// Clients of the present life.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.address())
    }

    /// Whether there is a process to kill.
    pub(crate) fn lives(&self) -> bool {
        self.life.is_some()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        let mut life = self.life.take().expect("the daemon was killed already");
        life.child.kill().await.expect("SIGKILL");
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        self.life().pid().expect("the daemon has ended")
    }

    /// SIGTERM; it may take its time.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a signal");
    }

    /// Lowers, or raises again, how many files it may have open. Answers what it was.
    pub(crate) fn limit_files(&self, limit: Option<u64>) -> Option<u64> {
        let pid = self.life().pid().expect("the daemon has ended");
        let own = rustix::process::getrlimit(Resource::Nofile);
        let set = prlimit(Some(pid), Resource::Nofile, Rlimit { current: limit, maximum: own.maximum });
        set.expect("prlimit").current
    }

    /// How many files it may have open, and how far it may raise that.
    pub(crate) fn file_limits(&self) -> (u64, u64) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.number())).expect("its limits");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("of files");
        let mut numbers = line.split_whitespace().map(|number| number.parse().expect("a number"));
        (numbers.next().expect("soft"), numbers.next().expect("hard"))
    }

    /// How it ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut life = self.life.take().expect("the daemon was killed");
        within("the daemon to end", life.child.wait()).await.expect("wait")
    }

    /// The most memory that it had so far, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.number())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    }

    /// Files that it has open now.
    pub(crate) fn open_files(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.number())).expect("its files").count() as u64
    }

    fn number(&self) -> std::num::NonZeroI32 {
        self.life().pid().expect("the daemon has ended").as_raw_nonzero()
    }

    /// What it wrote so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut life) = self.life.take() {
            let pid = life.pid();
            // It must be gone before its directories are. Errors mean that it is.
            let _ = life.child.start_kill();
            let _ = pid.map(|pid| waitpid(Some(pid), WaitOptions::empty()));
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.output());
        }
    }
}

/// CPU time that the daemon has used, in all its threads that are still there.
pub(crate) fn cpu_of(daemon: &Daemon) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.number())).expect("its threads");
    let of = |thread: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(threads.filter_map(of).sum())
}

/// `longshore` with these arguments, as a command that says all on its pipes.
pub(crate) fn longshore<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(LONGSHORE);
    // What the caller has set for a daemon of their own must not reach these.
    let own = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with("LONGSHORE_"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| own(name)) {
        command.env_remove(name);
    }
    command.args(args.into_iter().map(Into::into)).env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn launch(args: &[OsString], env: &[(OsString, OsString)], files: Option<&str>, output: &Output) -> Life {
    let mut command = longshore([OsString::from("serve")].into_iter().chain(args.iter().cloned()));
    if let Some(files) = files {
        // Before it is executed.
        let mut limited = Command::new("sh");
        limited.args(["-c", r#"ulimit $0 && exec "$@""#, files, LONGSHORE]);
        limited.args(command.as_std().get_args());
        let changed: Vec<_> =
            command.as_std().get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
        for (name, value) in changed {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        limited.stdin(Stdio::null()).kill_on_drop(true);
        command = limited;
    }
    let envs = env.iter().map(|(name, value)| (name, value));
    let mut child = command.envs(envs).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("start longshore");
    let stderr = child.stderr.take().and_then(|pipe| pipe.into_owned_fd().ok()).expect("its standard error");
    let (lines, mut reported) = mpsc::channel(16);
    let kept = Arc::clone(output);
    // A thread of its own: the pipe is emptied whatever the test's runtime does.
    std::thread::spawn(move || {
        for line in BufReader::new(std::fs::File::from(stderr)).lines().map_while(Result::ok) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_str(&line);
            kept.push('\n');
            drop(kept);
            // Nobody listens once it serves.
            let _ = lines.blocking_send(line);
        }
    });
    while let Some(line) = reported.recv().await {
        if let Some((address, admin, health)) = serving(&line) {
            return Life { child, address, admin, health };
        }
    }
    let status = child.wait().await.expect("wait");
    panic!("the daemon ended before it served (code {:?}, signal {:?})", status.code(), status.signal());
}

/// The addresses in the line that says that it serves: gRPC, admin, health alone.
fn serving(line: &str) -> Option<(SocketAddr, Option<SocketAddr>, Option<SocketAddr>)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if line.get("message")?.as_str()? != "serving" {
        return None;
    }
    let address = line.get("address")?.as_str()?.parse().ok()?;
    // Those that may be off, which then are not reported.
    let other = |name: &str| line.get(name)?.as_str()?.parse().ok();
    Some((address, other("admin"), other("health")))
}
