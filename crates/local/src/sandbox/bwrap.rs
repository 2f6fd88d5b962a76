//! What a sandboxed program sees, as options for `bwrap`; and whether `bwrap` works here.
//!
//! The view is built from nothing: system directories and a few files of `/etc`, all read-only,
//! and the run's own files. Homes, `/run`, `/var` and the daemon's state are not in it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::sandbox::find::{DEFAULT_PATH, find_program};
use crate::sandbox::sight::OWN;
use crate::sys::file::{bequeath, in_memory};
use crate::sys::{Cause, Probe, Unknown, look, seccomp};
use longshore_domain::run::rundir::{self, ENTER};

/// Directories of the system; which of them exist, and how, is asked of the machine.
const SYSTEM: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"];
/// What programs need of `/etc`. Not all of it: a daemon that runs as root could read the secrets
/// there, and so could its runs.
const ETC: [&str; 21] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "passwd",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "timezone",
];
/// What of `/proc` runs do not see, since no namespace makes it their own: the files and directories that container
/// runtimes mask (`MaskedPaths` of the OCI runtime specification), and what there is to know of keys.
const MASKED_FILES: [&str; 8] = [
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
];
const MASKED_DIRECTORIES: [&str; 3] = ["/proc/acpi", "/proc/asound", "/proc/scsi"];
/// What of `/proc` is the machine's own, and not to be written. `bwrap` closes it only where it finds that it could be.
const CLOSED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// Size of `/dev/shm` in bytes; as with container runtimes.
const SHM_BYTES: u64 = 64 << 20;
/// Size of a writable root without a `/tmp` to go by, in bytes.
const ROOT_BYTES: u64 = 64 << 20;
/// What a program in the sandbox looks at, with nothing but what each shell has.
const TRIAL: &str = r#"
    while read -r line; do echo "$line"; done < /proc/self/status
    while read -r line; do echo "$line"; done < /proc/self/mountinfo
    for dir in '' /dev; do
        (: > "$dir/longshore-trial") 2>/dev/null && echo "wrote ${dir:-/}"
    done
    exit 0"#;
/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(5);

/// A `bwrap` that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// Its path.
    pub(crate) bwrap: String,
    /// `setpriv`, where we are root: it gives up root inside the sandbox.
    pub(crate) setpriv: Option<String>,
    /// This executable, see [`ENTER`].
    pub(crate) executable: String,
    /// The system's directories.
    pub(crate) system: Vec<SystemPath>,
    /// What of `/proc` is masked.
    pub(crate) masked: Vec<Masked>,
    /// What it can do.
    pub(crate) able: Able,
    /// What came of trying it.
    pub(crate) trial: Trial,
}

/// What not every `bwrap` and kernel can do. Found out by trying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Able {
    /// To bound the size of `/tmp` and of all else that is in memory.
    pub(crate) sizes: bool,
    /// To keep programs from making user namespaces (`--disable-userns`). Where we are root it can't.
    pub(crate) no_more_users: bool,
    /// To filter system calls (`--add-seccomp-fd`).
    pub(crate) filter: bool,
}

/// What a program in the sandbox found as it was tried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    /// What holds.
    pub(crate) holds: Vec<&'static str>,
    /// What does not.
    pub(crate) lacks: Vec<&'static str>,
    /// Whether processes can be bounded: those of each run, or where we are root those of a user.
    pub(crate) bounds_processes: bool,
}

/// What trying out a sandbox came to.
enum TryOut {
    /// A program ran in it.
    Works(Trial),
    /// None does; why.
    Fails(String),
}

/// Something that is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Masked {
    /// A file.
    File(&'static str),
    /// A directory.
    Directory(&'static str),
}

/// A directory of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SystemPath {
    /// A directory.
    Directory(String),
    /// A symbolic link, as in a merged `/usr`.
    Link {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
}

/// What one run is to see.
#[derive(Debug, Default)]
pub(crate) struct SandboxView<'a> {
    /// The run's directory.
    pub(crate) dir: &'a str,
    /// The state directory, which is hidden.
    pub(crate) state: &'a str,
    /// Host name.
    pub(crate) hostname: &'a str,
    /// Numeric user.
    pub(crate) user: i64,
    /// Numeric group.
    pub(crate) group: i64,
    /// Whether the machine's network is reachable; else there is none.
    pub(crate) network: bool,
    /// Whether the root is read-only.
    pub(crate) read_only_root: bool,
    /// Size of `/tmp` in bytes; `None`: there is no `/tmp`.
    pub(crate) tmp_bytes: Option<u64>,
    /// Whether there is an input file.
    pub(crate) input: bool,
    /// Whether there are files.
    pub(crate) files: bool,
    /// Files that the command names, read-only, where they are.
    pub(crate) visible: Vec<String>,
    /// Volumes, and what the profile mounts.
    pub(crate) volumes: Vec<Mount>,
}

/// A directory of the machine, mounted.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Where it is.
    pub(crate) source: String,
    /// Where it is seen.
    pub(crate) target: String,
    /// Whether it is read-only.
    pub(crate) read_only: bool,
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
        let environment = match inherited("environment", format!("PATH={}\0", DEFAULT_PATH).as_bytes()) {
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
        command.arg("--").args(self.dropped(view.user, view.group)).args(["sh", "-c", TRIAL]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(PROBE, command.output()).await {
            Err(_) => Ok(TryOut::Fails(format!("no answer within {} s", PROBE.as_secs()))),
            Ok(Err(error)) => failed(error, &format!("`{}`", self.bwrap)),
            Ok(Ok(output)) if output.status.success() => {
                Ok(TryOut::Works(self.judge(&String::from_utf8_lossy(&output.stdout))))
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

    /// What the output of [`TRIAL`] says.
    fn judge(&self, found: &str) -> Trial {
        let status = |key: &str| {
            let line = found.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map(str::trim).unwrap_or_default()
        };
        let no_capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .iter()
            .all(|set| u64::from_str_radix(status(set), 16).is_ok_and(|set| set == 0));
        let wrote = |what: &str| found.lines().any(|line| line.strip_prefix("wrote ") == Some(what));
        let sized = found.lines().any(|line| {
            let mut fields = line.split(' ');
            fields.any(|field| field == "/dev/shm") && fields.any(|field| field.contains("size="))
        });
        let closed = found.lines().any(|line| {
            let mut fields = line.split(' ');
            fields.any(|field| field == "/proc/sys")
                && fields.next().is_some_and(|options| options.split(',').any(|option| option == "ro"))
        });
        // A user namespace begins to count from nothing, since Linux 5.14. Without one, others of that user count.
        let tried = usize::try_from(rundir::TRIED_PROCESSES).unwrap_or(usize::MAX);
        let threads = found.lines().find_map(|line| line.strip_prefix("threads ")?.parse::<usize>().ok());
        let bounds_processes =
            threads.is_some_and(|threads| threads < tried && (self.setpriv.is_some() || threads >= tried / 2));
        let filtered = self.able.filter && status("Seccomp") == "2";
        let mut trial = Trial { bounds_processes, ..Trial::default() };
        for (what, holds) in [
            ("no capabilities, and none to be had", no_capabilities),
            ("no new privileges", status("NoNewPrivs") == "1"),
            ("filtered system calls", filtered),
            ("no user namespaces of their own", filtered || self.able.no_more_users),
            ("a read-only root", !wrote("/")),
            ("a read-only /dev", !wrote("/dev")),
            ("a /dev/shm of 64 MiB", sized),
            ("a read-only /proc/sys", closed),
            ("a bound of processes", bounds_processes),
        ] {
            if holds { &mut trial.holds } else { &mut trial.lacks }.push(what);
        }
        trial
    }

    /// `bwrap` and its options for `view`, without the environment and the program.
    pub(crate) fn command(&self, view: &SandboxView<'_>) -> Vec<String> {
        let mut list = vec![self.bwrap.clone()];
        list.extend(self.base(view));
        let mut bound: Vec<(&str, &str)> = Vec::new();
        for path in &self.system {
            if let SystemPath::Directory(path) = path {
                bound.push((path, path));
            }
        }
        for Mount { source, target, read_only } in &view.volumes {
            self.open_way(&mut list, target);
            push(&mut list, &[if *read_only { "--ro-bind" } else { "--bind" }, source, target]);
            bound.push((source, target));
        }
        // What is mounted may have the state directory in it, with the runs of others.
        // Either may be written with links in it.
        let state = real(view.state);
        for (source, target) in &bound {
            if let Ok(below) = state.strip_prefix(real(source))
                && let Some(hidden) = Path::new(target).join(below).to_str()
            {
                let hidden = hidden.trim_end_matches('/');
                self.push_tmpfs(&mut list, 4096, hidden);
                push(&mut list, &["--remount-ro", hidden]);
            }
        }
        let is_there = |path: &str| {
            let path = Path::new(path);
            self.sees(path) || bound.iter().any(|(source, target)| source == target && path.starts_with(target))
        };
        for path in view.visible.iter().filter(|path| !is_there(path)) {
            self.open_way(&mut list, path);
            push(&mut list, &["--ro-bind", path, path]);
        }
        self.open_way(&mut list, &format!("{OWN}/result"));
        let mut own = |option: &str, name: &str| {
            push(&mut list, &[option, &format!("{}/{name}", view.dir), &format!("{OWN}/{name}")]);
        };
        own("--bind", "result");
        if view.input {
            own("--ro-bind", "input");
        }
        if view.files {
            own("--ro-bind", "files");
        }
        if view.read_only_root {
            push(&mut list, &["--remount-ro", "/"]);
        }
        push(&mut list, &["--chdir", if view.tmp_bytes.is_some() { "/tmp" } else { "/" }]);
        list
    }

    /// Namespaces, identity and the system.
    fn base(&self, view: &SandboxView<'_>) -> Vec<String> {
        let mut list = Vec::new();
        push(&mut list, &["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
        if !view.network {
            push(&mut list, &["--unshare-net"]);
        }
        // Without `--new-session` a program could type into our terminal (CVE-2017-5226).
        push(&mut list, &["--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
        if self.setpriv.is_some() {
            // What `setpriv` needs to give all of them up.
            for capability in ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"] {
                push(&mut list, &["--cap-add", capability]);
            }
        } else {
            push(&mut list, &["--unshare-user", "--uid", &view.user.to_string(), "--gid", &view.group.to_string()]);
            if self.able.no_more_users {
                push(&mut list, &["--disable-userns"]);
            }
        }
        if !view.read_only_root {
            self.push_tmpfs(&mut list, view.tmp_bytes.unwrap_or(ROOT_BYTES), "/");
        }
        push(&mut list, &["--hostname", view.hostname]);
        for path in &self.system {
            match path {
                SystemPath::Directory(path) => push(&mut list, &["--ro-bind", path, path]),
                SystemPath::Link { path, target } => push(&mut list, &["--symlink", target, path]),
            }
        }
        for name in ETC {
            let path = format!("/etc/{name}");
            self.open_way(&mut list, &path);
            push(&mut list, &["--ro-bind-try", &path, &path]);
        }
        self.open_way(&mut list, ENTER);
        push(&mut list, &["--ro-bind", &self.executable, ENTER]);
        push(&mut list, &["--proc", "/proc"]);
        for path in CLOSED {
            push(&mut list, &["--ro-bind-try", path, path]);
        }
        for masked in &self.masked {
            match masked {
                Masked::File(path) => push(&mut list, &["--ro-bind", "/dev/null", path]),
                Masked::Directory(path) => {
                    self.push_tmpfs(&mut list, 4096, path);
                    push(&mut list, &["--remount-ro", path]);
                }
            }
        }
        push(&mut list, &["--dev", "/dev"]);
        self.push_shared_tmpfs(&mut list, SHM_BYTES, "/dev/shm");
        push(&mut list, &["--remount-ro", "/dev"]);
        if let Some(bytes) = view.tmp_bytes {
            self.push_shared_tmpfs(&mut list, bytes, "/tmp");
        }
        list
    }

    /// A directory in memory, of this size where that can be.
    fn push_tmpfs(&self, list: &mut Vec<String>, bytes: u64, path: &str) {
        if self.able.sizes {
            push(list, &["--size", &bytes.to_string()]);
        }
        push(list, &["--tmpfs", path]);
    }

    /// The same for everybody to write to.
    fn push_shared_tmpfs(&self, list: &mut Vec<String>, bytes: u64, path: &str) {
        if self.setpriv.is_some() {
            push(list, &["--perms", "1777"]);
        }
        self.push_tmpfs(list, bytes, path);
    }

    /// Makes the directories above `path` so that the program may pass them, which `bwrap` would make
    /// for their owner only. Without effect where the program is that owner.
    fn open_way(&self, list: &mut Vec<String>, path: &str) {
        if self.setpriv.is_none() {
            return;
        }
        let above: Vec<&Path> = Path::new(path).ancestors().skip(1).filter(|dir| dir.parent().is_some()).collect();
        for dir in above.into_iter().rev().filter(|dir| !self.sees(dir)).filter_map(Path::to_str) {
            let is_made = list.windows(2).any(|pair| pair == ["--dir", dir]);
            if !is_made {
                push(list, &["--perms", "0755", "--dir", dir]);
            }
        }
    }

    /// What becomes the program's user, and has its limits, before the program is executed.
    ///
    /// A user namespace of root's maps the program's user to root itself: files of root's would be
    /// its own, `/proc/sys` and the devices among them. So root makes none, and the program really
    /// is who was asked for; `bwrap` itself sets `no_new_privs`.
    ///
    /// Until then nothing of the caller's may be in the environment: `LD_PRELOAD` would be loaded by root. So
    /// [`ENTER`] comes after it, which gives the program its environment.
    pub(crate) fn dropped(&self, user: i64, group: i64) -> Vec<String> {
        let mut list = Vec::new();
        if let Some(setpriv) = &self.setpriv {
            let (user, group) = (user.to_string(), group.to_string());
            push(&mut list, &[setpriv, "--reuid", &user, "--regid", &group, "--clear-groups"]);
            push(&mut list, &["--inh-caps=-all", "--bounding-set=-all", "--"]);
        }
        push(&mut list, &[ENTER, "enter", "--"]);
        list
    }

    /// Whether `path` is in the system's directories.
    fn sees(&self, path: &Path) -> bool {
        self.system.iter().any(|system| match system {
            SystemPath::Directory(system) | SystemPath::Link { path: system, .. } => path.starts_with(system),
        })
    }
}

/// A file in memory that is inherited.
fn inherited(name: &str, content: &[u8]) -> io::Result<File> {
    let file = in_memory(name, content)?;
    bequeath(&file)?;
    Ok(file)
}

/// A path without links in it; as it is if there is nothing.
fn real(path: &str) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path))
}

/// A try that failed by itself: without a word on the sandbox if this process is short of something.
fn failed(error: io::Error, what: &str) -> Result<TryOut, Unknown> {
    let unknown = Unknown::of(what, &error);
    if unknown.kind == Cause::Shortage { Err(unknown) } else { Ok(TryOut::Fails(error.to_string())) }
}

fn push(list: &mut Vec<String>, options: &[&str]) {
    list.extend(options.iter().map(|option| (*option).to_owned()));
}

/// The system's directories, as they are on this machine.
///
/// # Errors
/// One of them could not be looked at: a sandbox without it is not what was meant.
pub(crate) fn system_paths() -> Result<Vec<SystemPath>, Unknown> {
    SYSTEM.iter().filter_map(|path| system_path(path).transpose()).collect()
}

/// What there is to mask.
fn masked() -> Result<Vec<Masked>, Unknown> {
    let files = MASKED_FILES.map(Masked::File).into_iter();
    let all = files.chain(MASKED_DIRECTORIES.map(Masked::Directory));
    let mut there = Vec::new();
    for masked in all {
        let (Masked::File(path) | Masked::Directory(path)) = masked;
        if look(Path::new(path)).known()?.is_some() {
            there.push(masked);
        }
    }
    Ok(there)
}

fn system_path(path: &str) -> Result<Option<SystemPath>, Unknown> {
    if let Ok(target) = std::fs::read_link(path) {
        return Ok(target.to_str().map(|target| SystemPath::Link { path: path.to_owned(), target: target.to_owned() }));
    }
    match look(Path::new(path)) {
        Probe::There(metadata) => Ok(metadata.is_dir().then(|| SystemPath::Directory(path.to_owned()))),
        Probe::Gone => Ok(None),
        Probe::Unknown(unknown) => Err(unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox() -> Sandbox {
        let system = vec![
            SystemPath::Directory("/usr".to_owned()),
            SystemPath::Link { path: "/bin".to_owned(), target: "usr/bin".to_owned() },
        ];
        let masked = vec![Masked::File("/proc/keys"), Masked::Directory("/proc/acpi")];
        let able = Able { sizes: true, no_more_users: true, filter: true };
        let (bwrap, executable) = ("/usr/bin/bwrap".to_owned(), "/srv/longshore".to_owned());
        Sandbox { bwrap, setpriv: None, executable, system, masked, able, trial: Trial::default() }
    }

    fn view() -> SandboxView<'static> {
        SandboxView {
            dir: "/state/default/a",
            state: "/state",
            hostname: "run-a",
            user: 1234,
            group: 4321,
            read_only_root: true,
            tmp_bytes: Some(1024),
            ..SandboxView::default()
        }
    }

    fn has(list: &[String], options: &[&str]) -> bool {
        list.windows(options.len()).any(|window| window == options)
    }

    #[test]
    fn a_run_has_its_own_namespaces_and_identity() {
        let list = sandbox().command(&view());
        assert_eq!(list[0], "/usr/bin/bwrap");
        for option in ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"] {
            assert!(has(&list, &[option]), "{option}");
        }
        assert!(has(&list, &["--uid", "1234", "--gid", "4321"]));
        assert!(has(&list, &["--die-with-parent", "--new-session", "--cap-drop", "ALL"]));
        assert!(has(&list, &["--hostname", "run-a"]));
    }

    #[test]
    fn root_maps_nobody_to_itself() {
        let by_root = Sandbox { setpriv: Some("/usr/bin/setpriv".to_owned()), ..sandbox() };
        let list = by_root.command(&view());
        assert!(!has(&list, &["--unshare-user"]) && !has(&list, &["--uid"]));
        let added: Vec<_> =
            list.windows(2).filter(|pair| pair[0] == "--cap-add").map(|pair| pair[1].as_str()).collect();
        assert_eq!(added, ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]);
        let dropped = by_root.dropped(1234, 4321);
        // Whatever the program's environment is to be, what root executes has none of it.
        assert!(has(&dropped, &["--inh-caps=-all", "--bounding-set=-all", "--", ENTER, "enter", "--"]));
        assert!(has(&list, &["--ro-bind", "/srv/longshore", ENTER]));
        assert!(has(&dropped, &["--reuid", "1234", "--regid", "4321", "--clear-groups"]));
        assert_eq!(sandbox().dropped(1234, 4321), [ENTER, "enter", "--"]);
    }

    #[test]
    fn it_sees_the_system_and_its_own_files_only() {
        let list = sandbox().command(&SandboxView { input: true, ..view() });
        let sources: Vec<&str> = list
            .windows(2)
            .filter(|pair| pair[0].ends_with("bind") || pair[0].ends_with("bind-try"))
            .map(|pair| pair[1].as_str())
            .filter(|source| !source.starts_with("/etc/") && !source.starts_with("/proc/") && *source != "/dev/null")
            .collect();
        assert_eq!(sources, ["/usr", "/srv/longshore", "/state/default/a/result", "/state/default/a/input"]);
        assert!(has(&list, &["--symlink", "usr/bin", "/bin"]));
        assert!(!list.iter().any(|option| option.contains("shadow") || option == "/etc"));
    }

    #[test]
    fn the_root_is_closed_after_everything_is_mounted() {
        let list = sandbox().command(&SandboxView { files: true, ..view() });
        let at = |option: &str| list.iter().rposition(|o| o == option).unwrap();
        assert!(at("--remount-ro") > at("--ro-bind") && at("--remount-ro") > at("--bind"));
        let open = sandbox().command(&SandboxView { read_only_root: false, ..view() });
        assert!(!has(&open, &["--remount-ro", "/"]));
        // What is written is bounded all the same.
        assert!(has(&open, &["--size", "1024", "--tmpfs", "/", "--hostname"]));
    }

    #[test]
    fn devices_are_closed_after_their_memory_is_mounted() {
        let list = sandbox().command(&view());
        let bytes = SHM_BYTES.to_string();
        assert!(has(&list, &["--dev", "/dev", "--size", &bytes, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]));
    }

    #[test]
    fn what_no_namespace_separates_is_masked() {
        let list = sandbox().command(&view());
        assert!(has(&list, &["--proc", "/proc", "--ro-bind-try", "/proc/bus", "/proc/bus"]));
        assert!(has(&list, &["--ro-bind", "/dev/null", "/proc/keys"]));
        assert!(has(&list, &["--size", "4096", "--tmpfs", "/proc/acpi", "--remount-ro", "/proc/acpi"]));
    }

    #[test]
    fn only_who_is_not_root_gives_up_user_namespaces_so() {
        assert!(has(&sandbox().command(&view()), &["--disable-userns"]));
        let by_root = Sandbox { setpriv: Some("/usr/bin/setpriv".to_owned()), ..sandbox() };
        assert!(!has(&by_root.command(&view()), &["--disable-userns"]));
        let old = Sandbox { able: Able::default(), ..sandbox() };
        assert!(!has(&old.command(&view()), &["--disable-userns"]));
    }

    #[test]
    fn tmp_is_sized_or_absent() {
        assert!(has(&sandbox().command(&view()), &["--size", "1024", "--tmpfs", "/tmp"]));
        assert!(has(&sandbox().command(&view()), &["--chdir", "/tmp"]));
        let without = sandbox().command(&SandboxView { tmp_bytes: None, ..view() });
        assert!(!has(&without, &["--tmpfs", "/tmp"]) && has(&without, &["--chdir", "/"]));
        let old = Sandbox { able: Able::default(), ..sandbox() };
        assert!(!has(&old.command(&view()), &["--size"]));
    }

    #[test]
    fn the_state_directory_is_hidden_where_the_system_would_show_it() {
        let list = sandbox().command(&SandboxView { state: "/usr/local/state", ..view() });
        assert!(has(&list, &["--tmpfs", "/usr/local/state", "--remount-ro", "/usr/local/state"]));
    }

    #[test]
    fn the_state_directory_is_hidden_in_what_is_mounted() {
        let mount = |source: &str, target: &str| Mount {
            source: source.to_owned(),
            target: target.to_owned(),
            read_only: true,
        };
        let volumes =
            vec![mount("/home/me", "/home/me"), mount("/home/me/.local", "/data"), mount("/home/you", "/you")];
        let list = sandbox().command(&SandboxView { state: "/home/me/.local/state/longshore", volumes, ..view() });
        let hidden: Vec<_> = list.windows(2).filter(|pair| pair[0] == "--tmpfs").map(|pair| pair[1].as_str()).collect();
        assert_eq!(
            hidden,
            ["/proc/acpi", "/dev/shm", "/tmp", "/home/me/.local/state/longshore", "/data/state/longshore"]
        );
    }

    #[test]
    fn the_state_directory_is_hidden_behind_links_too() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir_all(at("top/state")).unwrap();
        std::os::unix::fs::symlink("top/state", at("link")).unwrap();
        std::os::unix::fs::symlink("top", at("toplink")).unwrap();
        for (state, source) in [(at("link"), at("top")), (at("top/state"), at("toplink")), (at("link"), at("toplink"))]
        {
            let volumes = vec![Mount { source, target: "/x".to_owned(), read_only: false }];
            let list = sandbox().command(&SandboxView { state: &state, volumes, ..view() });
            assert!(has(&list, &["--tmpfs", "/x/state", "--remount-ro", "/x/state"]), "{list:?}");
        }
    }

    #[test]
    fn a_file_is_bound_by_itself_unless_its_directory_is() {
        let visible = ["/srv/app/run.py", "/opt/tool", "/bin/sh"].map(str::to_owned).to_vec();
        let mount = Mount { source: "/srv/app".to_owned(), target: "/srv/app".to_owned(), read_only: true };
        let list = sandbox().command(&SandboxView { visible: visible.clone(), volumes: vec![mount], ..view() });
        assert!(!has(&list, &["--ro-bind", "/srv/app/run.py"]) && has(&list, &["--ro-bind", "/srv/app", "/srv/app"]));
        assert!(has(&list, &["--ro-bind", "/opt/tool", "/opt/tool"]));
        assert!(!has(&list, &["--ro-bind", "/bin/sh"]), "the system has it, behind a link");
        assert!(has(&sandbox().command(&SandboxView { visible, ..view() }), &["--ro-bind", "/srv/app/run.py"]));
    }

    #[test]
    fn volumes_are_mounted_as_asked() {
        let mount = |read_only| Mount { source: "/data".to_owned(), target: "/mnt".to_owned(), read_only };
        let list = sandbox().command(&SandboxView { volumes: vec![mount(true)], ..view() });
        assert!(has(&list, &["--ro-bind", "/data", "/mnt"]));
        let list = sandbox().command(&SandboxView { volumes: vec![mount(false)], ..view() });
        assert!(has(&list, &["--bind", "/data", "/mnt"]));
    }

    #[test]
    fn a_trial_says_what_holds_and_what_does_not() {
        let strict = "threads 5\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\n\
            9 8 0:1 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=65536k\n9 8 0:1 /sys /proc/sys ro,nosuid - proc proc rw\n";
        assert_eq!(sandbox().judge(strict).lacks, [""; 0]);
        let lacks = |from: &str, to: &str| sandbox().judge(&strict.replace(from, to)).lacks;
        assert_eq!(lacks("CapBnd:\t0", "CapBnd:\t1ffffffffff"), ["no capabilities, and none to be had"]);
        assert_eq!(lacks("NoNewPrivs:\t1", "NoNewPrivs:\t0"), ["no new privileges"]);
        assert_eq!(lacks("Seccomp:\t2", "Seccomp:\t0"), ["filtered system calls"]);
        assert_eq!(lacks(",size=65536k", ""), ["a /dev/shm of 64 MiB"]);
        assert_eq!(lacks("/proc/sys ro", "/proc/sys rw"), ["a read-only /proc/sys"]);
        assert_eq!(lacks("threads 5", "threads 16"), ["a bound of processes"]);
        // Counted with all other processes of the server's user.
        assert_eq!(lacks("threads 5", "threads 0"), ["a bound of processes"]);
        assert_eq!(lacks("NoNewPrivs", "wrote /dev\nNoNewPrivs"), ["a read-only /dev"]);
        // A filter that was there before is not ours.
        let weak = Sandbox { able: Able::default(), ..sandbox() };
        assert_eq!(weak.judge(strict).lacks, ["filtered system calls", "no user namespaces of their own"]);
        assert_eq!(
            sandbox().judge("").holds,
            ["no user namespaces of their own", "a read-only root", "a read-only /dev"]
        );
    }

    #[test]
    fn network_is_shared_only_if_asked() {
        assert!(!has(&sandbox().command(&SandboxView { network: true, ..view() }), &["--unshare-net"]));
    }
}
