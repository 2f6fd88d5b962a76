//! What a sandboxed program sees, as options for `bwrap`.
//!
//! The view is built from nothing: system directories and a few files of `/etc`, all read-only,
//! and the run's own files. Homes, `/run`, `/var` and the daemon's state are not in it.

use std::path::{Path, PathBuf};

use super::bwrap::Sandbox;
use super::sight::OWN;
use super::system::{Masked, SystemPath};
use longshore_domain::run::rundir::ENTER;

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
/// What of `/proc` is the machine's own, and not to be written. `bwrap` closes it only where it finds that it could be.
const CLOSED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// Size of `/dev/shm` in bytes; as with container runtimes.
const SHM_BYTES: u64 = 64 << 20;
/// Size of a writable root without a `/tmp` to go by, in bytes.
const ROOT_BYTES: u64 = 64 << 20;

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

impl Sandbox {
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

    /// Namespaces, identity and the system: what a trial needs.
    pub(super) fn base(&self, view: &SandboxView<'_>) -> Vec<String> {
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

/// A path without links in it; as it is if there is nothing.
fn real(path: &str) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path))
}

fn push(list: &mut Vec<String>, options: &[&str]) {
    list.extend(options.iter().map(|option| (*option).to_owned()));
}

#[cfg(test)]
mod tests;
