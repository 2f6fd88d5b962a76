//! A daemon with the local backend, its state in a directory of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use longshore::domain::run::rundir::{EXIT, LOG};
use longshore::proto::v1::{RunSpec, WatchRunsRequest, watch_runs_response::Event};
use tempfile::TempDir;

use crate::support::client::{Client, DEFAULT};
use crate::support::daemon::Daemon;
use crate::support::spec::{REPORTER, env, runner};
use crate::support::wait::{until, within};

/// What every script can use: `gate NAME` waits until the test opens that gate, and `mark NAME`
/// shows the test that this place was reached. A script ends by itself once the test is gone.
const PRELUDE: &str = r#"
    gate() { while [ ! -e "$TEST_DIR/open-$1" ]; do [ -d "$TEST_DIR" ] || exit 99; sleep 0.02; done; }
    mark() { : > "$TEST_DIR/mark-$1"; }
    eval "$SCRIPT""#;

/// A daemon and its files. Dropping it kills the daemon; what it runs ends soon after.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) daemon: Daemon,
    dir: TempDir,
}

impl Local {
    /// A daemon that is ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(["--admin-listen", "off"]).await
    }

    /// A daemon with further flags, ready.
    pub(crate) async fn start_with<const N: usize>(flags: [&str; N]) -> Self {
        Self::start_logging("", flags).await
    }

    /// A daemon that may have so many files open, ready.
    pub(crate) async fn start_with_files(files: u64) -> Self {
        Self::start_limited("", Some(format!("-n {files}")), ["--admin-listen", "off"]).await
    }

    /// A daemon that is given so many open files, and may raise that, ready.
    pub(crate) async fn start_with_soft_files(files: u64) -> Self {
        Self::start_limited("", Some(format!("-Sn {files}")), ["--admin-listen", "off"]).await
    }

    /// The same with a filter of its log.
    pub(crate) async fn start_logging<const N: usize>(log_filter: &'static str, flags: [&str; N]) -> Self {
        Self::start_limited(log_filter, None, flags).await
    }

    /// A daemon with these keys below `[local]`, ready.
    pub(crate) async fn start_configured<const N: usize>(keys: &str, flags: [&str; N]) -> Self {
        Self::start_whole("", None, keys, flags).await
    }

    async fn start_limited<const N: usize>(log_filter: &'static str, files: Option<String>, flags: [&str; N]) -> Self {
        // A test means its runs to be executed at once.
        Self::start_whole(log_filter, files, "max_concurrent_runs = 1000", flags).await
    }

    async fn start_whole<const N: usize>(
        log_filter: &'static str,
        files: Option<String>,
        keys: &str,
        flags: [&str; N],
    ) -> Self {
        let dir = TempDir::with_prefix("longshore-it-").unwrap();
        std::fs::create_dir(dir.path().join("gates")).unwrap();
        std::fs::write(dir.path().join("config.toml"), config(&dir, keys)).unwrap();
        let state = dir.path().join("state").into_os_string();
        let config = dir.path().join("config.toml").into_os_string();
        let mut args: Vec<OsString> = ["--backend", "local", "--listen", "127.0.0.1:0", "--log-format", "json"]
            .into_iter()
            .chain(flags)
            .map(OsString::from)
            .collect();
        args.extend(["--state-dir".into(), state, "--config".into(), config]);
        let env = vec![("RUST_LOG".into(), log_filter.into())];
        let local = Self { daemon: Daemon::start_limited(args, env, files).await, dir };
        local.client().await;
        local
    }

    /// Clients of the daemon, once it is ready.
    pub(crate) async fn client(&self) -> Client {
        self.daemon.client().ready().await
    }

    /// Adds to the configuration of further lives.
    pub(crate) fn configure(&self, toml: &str) {
        let path = self.dir.path().join("config.toml");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{before}\n{toml}\n")).unwrap();
    }

    fn gates(&self) -> PathBuf {
        self.dir.path().join("gates")
    }

    /// Puts a file beside the gates, in `$TEST_DIR`.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.gates().join(name), text).unwrap();
    }

    /// What a script wrote there.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.gates().join(name)).expect("a file beside the gates")
    }

    /// Lets every script go on that waits at this gate.
    pub(crate) fn open(&self, gate: &str) {
        std::fs::write(self.gates().join(format!("open-{gate}")), "").unwrap();
    }

    /// Waits until a script has reached this place.
    pub(crate) async fn marked(&self, mark: &str) {
        let path = self.gates().join(format!("mark-{mark}"));
        until(&format!("the mark {mark}"), async || path.exists().then_some(())).await;
    }

    /// Where runs are kept.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The directory of a run.
    pub(crate) fn run_dir(&self, name: &str) -> PathBuf {
        self.state().join("default").join(name.rsplit('/').next().expect("an id"))
    }

    /// Waits until this run's program has ended, then deletes its output.
    pub(crate) async fn lose_output(&self, name: &str) {
        let run = self.run_dir(name);
        until(&format!("the end of {name}"), async || run.join(EXIT).exists().then_some(())).await;
        std::fs::remove_file(run.join(LOG)).expect("its output");
    }

    /// Stops what still runs, so that nothing is left behind.
    pub(crate) async fn finish(self) {
        let client = self.client().await;
        let request = WatchRunsRequest { parent: DEFAULT.to_owned(), ..WatchRunsRequest::default() };
        let mut events = client.watch(request).await;
        let mut live = std::collections::BTreeSet::new();
        let mut synced = false;
        within("every run to end", async {
            while !synced || !live.is_empty() {
                match events.message().await.expect("WatchRuns").and_then(|answer| answer.event) {
                    Some(Event::Run(run)) if run.state().is_terminal() => drop(live.remove(&run.name)),
                    Some(Event::Run(run)) if live.insert(run.name.clone()) => {
                        client.cancel(&run.name, "the test is over").await;
                    }
                    Some(Event::Synced(_)) => synced = true,
                    _ => {}
                }
            }
        })
        .await;
    }
}

/// The spec that executes a shell script.
pub(crate) fn script(text: &str) -> RunSpec {
    RunSpec { env: vec![env("SCRIPT", text)], ..runner("sh") }
}

fn config(dir: &TempDir, local: &str) -> String {
    let gates = toml::Value::from(dir.path().join("gates").to_str().expect("UTF-8"));
    let prelude = toml::Value::from(PRELUDE);
    format!(
        r#"
        drain_timeout = "5s"

        [local]
        # Gates are outside of what a sandbox sees, and the same everywhere is worth more here.
        bwrap = "off"
        {local}

        [profiles.sh]
        description = "A shell script of a test"
        overridable = ["env", "resources", "run_timeout", "termination_grace", "retention", "result", "security", "max_retries", "infra_retries", "retry_on", "total_timeout"]
        [profiles.sh.local]
        command = ["/bin/sh", "-c", {prelude}]
        [profiles.sh.defaults]
        env = {{ TEST_DIR = {gates} }}
        result = "none"

        [profiles.stdin]
        input = "stdin"
        [profiles.stdin.local]
        command = ["cat"]

        [profiles.elsewhere.kubernetes]
        image = "localhost/elsewhere:1"

        {REPORTER}
        [profiles.reporter.local]
        command = ["/bin/sh", "-c", 'eval "$SCRIPT"']
        "#
    )
}
