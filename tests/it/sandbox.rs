//! What a hostile program gets at from inside a run of backend `local`, and what a run has from the process
//! that started the server.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyutils::{Keyring, Permission, SpecialKeyring, keytypes};
use longshore::backend::Launch;
use longshore::backend::local::LocalConfig;
use longshore::domain::name::NamespaceName;
use longshore::domain::run::facts::Submission;
use longshore::domain::run::profile::{LocalProfile, Program};
use longshore::domain::run::spec::{EffectiveSpec, EnvSource, EnvVar};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::Subject;
use crate::local::{config, open_config};
use crate::runners::python;

/// Starts shims as a server would that was started strangely: with a umask of its own, ignoring signals, not to be
/// killed for lack of memory and of high priority, as far as the tests' user may have that.
const STRANGE: &str = r#"#!/bin/sh
umask 077
ulimit -S -c unlimited 2>/dev/null
echo -500 2>/dev/null > /proc/self/oom_score_adj
renice -n -5 -p $$ >/dev/null 2>&1
trap '' HUP USR2 TSTP
exec "#;

/// What each attempt must come to.
const TRIED: [(&str, &[&str]); 56] = [
    ("reading the session keyring", &["EPERM"]),
    ("searching keys", &["EPERM"]),
    ("adding a key", &["EPERM"]),
    ("listing keys", &["EACCES"]),
    ("a user namespace by unshare", &["EPERM"]),
    ("a user namespace by clone", &["EPERM"]),
    ("a mount namespace", &["EPERM"]),
    ("a process by clone3", &["ENOSYS"]),
    ("the namespace of process 1", &["EPERM"]),
    ("mounting", &["EPERM"]),
    ("unmounting", &["EPERM"]),
    ("another root", &["EPERM"]),
    ("chroot", &["EPERM"]),
    ("open_tree", &["EPERM"]),
    ("open_by_handle_at", &["EPERM"]),
    ("io_uring", &["EPERM"]),
    ("perf", &["EPERM"]),
    ("bpf", &["EPERM"]),
    ("userfaultfd", &["EPERM"]),
    ("kexec", &["EPERM"]),
    ("a module", &["EPERM"]),
    ("another personality", &["EPERM"]),
    ("an unknown call", &["ENOSYS"]),
    ("a socket of AF_ALG", &["EPERM"]),
    ("a socket of AF_VSOCK", &["EPERM"]),
    ("tracing a process outside", &["ESRCH"]),
    ("reading memory outside", &["ESRCH"]),
    ("a signal to a process outside", &["ESRCH"]),
    ("/proc of a process outside", &["ENOENT"]),
    ("the root of process 1", &["EACCES", "ENOENT"]),
    ("becoming root", &["EPERM", "EINVAL"]),
    ("the group of root", &["EPERM", "EINVAL"]),
    ("other groups", &["EPERM", "EINVAL"]),
    ("a device", &["EPERM"]),
    ("typing into a terminal", &["EPERM"]),
    ("the terminal", &["ENXIO"]),
    ("a file in /dev", &["EROFS"]),
    ("a file in /", &["EROFS"]),
    ("a file in /usr", &["EROFS"]),
    ("a file in /proc/sys", &["EACCES", "EROFS"]),
    ("sysrq", &["EACCES", "EROFS", "ENOENT"]),
    ("the name of process 1", &["EACCES", "EINVAL"]),
    ("less chance to be killed", &["EACCES"]),
    ("/etc/shadow", &["ENOENT"]),
    ("memory of the kernel", &["EACCES", "ENOENT"]),
    ("the state directory", &["ENOENT", "EACCES"]),
    ("replacing the result", &["EROFS", "EBUSY", "EACCES", "EXDEV"]),
    ("filling /dev/shm", &["ENOSPC"]),
    ("filling /tmp", &["ENOSPC"]),
    ("core files", &["EPERM"]),
    ("a real-time priority", &["EPERM"]),
    ("a higher priority", &["EACCES", "EPERM"]),
    ("too many processes", &["EAGAIN"]),
    ("the server", &["ENETUNREACH", "ECONNREFUSED"]),
    ("thread", &["done"]),
    ("process", &["done"]),
];

async fn strange(sandbox: bool) -> (Subject, PathBuf) {
    let dir = TempDir::with_prefix("longshore-it-").unwrap();
    let shim = dir.path().join("longshore");
    std::fs::write(&shim, format!("{STRANGE}'{}' \"$@\"\n", env!("CARGO_BIN_EXE_longshore"))).unwrap();
    std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).unwrap();
    let root = dir.path().join("state");
    let config = config(&root, shim.to_str().unwrap(), sandbox);
    // As root all runs of the user count, and those of other tests are of the same.
    let backend = open_config(LocalConfig { max_processes: 150, max_concurrent_runs: 2, ..config }).await;
    let program = |script: &str| {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        Program::Process(LocalProfile { command, ..LocalProfile::default() })
    };
    let namespace = NamespaceName::default_namespace();
    (Subject { backend, namespace, suffix: String::new(), program, _guard: Box::new(dir) }, root)
}

fn variable(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), source: EnvSource::Value(value) }
}

fn path(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_program_gets_at_nothing() {
    let Some(python) = python() else { return };
    let (subject, root) = strange(true).await;
    if subject.backend.capabilities.isolation != "bwrap" {
        eprintln!("skipped: {:?}", subject.backend.capabilities.notes);
        return;
    }
    let script = root.with_file_name("hostile.py");
    std::fs::write(&script, include_str!("hostile.py")).unwrap();
    let mut launch = subject.launch("hostile", "");
    // Its libraries are where it was installed.
    let prefix = python.ancestors().nth(2).expect("a directory above").to_owned();
    let mounts = if prefix.starts_with("/usr") { Vec::new() } else { vec![path(&prefix)] };
    launch.program = Program::Process(LocalProfile { command: vec![path(&python), path(&script)], mounts });
    let effective = EffectiveSpec {
        env: vec![variable("OUTSIDE_PID", std::process::id().to_string()), variable("STATE", path(&root))],
        tmp_size: Some("4Mi".to_owned()),
        ..(*launch.submission.effective).clone()
    };
    let launch = Launch { submission: Submission { effective: Arc::new(effective), ..launch.submission }, ..launch };
    let output = subject.output(&subject.run(&launch).await).await;
    let report: Value = serde_json::from_str(output.trim()).unwrap_or_else(|error| panic!("{error}: {output}"));
    let wrong: Vec<_> = TRIED
        .into_iter()
        .filter(|(what, allowed)| !report["tried"][what].as_str().is_some_and(|came| allowed.contains(&came)))
        .map(|(what, allowed)| format!("{what}: {}, not {allowed:?}", report["tried"][what]))
        .collect();
    assert_eq!(wrong, [""; 0], "{report:#}");
    assert_eq!(report["tried"].as_object().unwrap().len(), TRIED.len(), "each attempt is judged");
    let has = json!({
        "capabilities": ["0000000000000000"],
        "no new privileges": "1",
        "filter": "2",
        "ignored signals": 0,
        "blocked signals": 0,
        "umask": "0o22",
        "priority": 0,
        "oom score": 0,
        "core": [0, 0],
        "locked memory": true,
        "stack": 8 << 20,
        "open files": [0, 1, 2],
        "more open files": 0,
    });
    assert_eq!(report["has"], has);
    // What a trial found is what holds.
    let notes = subject.backend.capabilities.notes.join("\n");
    assert!(notes.contains("a trial found: no capabilities") && !notes.contains("a trial missed"), "{notes}");
}

/// The loader of programs is asked to print who executes: root is in none of it that has a variable of the
/// caller's.
#[tokio::test(flavor = "multi_thread")]
async fn what_root_executes_has_nothing_of_the_callers_in_its_environment() {
    let (subject, _root) = strange(true).await;
    if subject.backend.capabilities.isolation != "bwrap" {
        return;
    }
    let mut launch = subject.launch("loader", "printf '%s|%s|' \"$ODD\" \"$LONGSHORE_ENVIRONMENT\"; ls /proc/self/fd");
    let odd = "a=b\n'c' \\ ü".to_owned();
    Arc::make_mut(&mut launch.submission.effective).env =
        vec![variable("LD_SHOW_AUXV", "1".to_owned()), variable("ODD", odd.clone())];
    let output = subject.output(&subject.run(&launch).await).await;
    let users: Vec<_> = output.lines().filter_map(|line| line.strip_prefix("AT_UID:")).map(str::trim).collect();
    let user = launch.submission.effective.security.run_as_user.to_string();
    assert!(!users.is_empty() && users.iter().all(|uid| *uid == user), "{user}: {output}");
    assert!(output.contains(&format!("{odd}||")), "{output}");
    // The last is that of `ls` itself, on the directory.
    assert!(output.ends_with("\n0\n1\n2\n3\n") || output.ends_with("0\n1\n2\n3\n"), "{output}");
}

/// Whether a run of `cat /proc/keys` lists the key that was planted before the server began.
fn sees_planted_key(sandbox: bool) -> Option<bool> {
    Keyring::join_anonymous_session().ok()?;
    let mut session = Keyring::attach_or_create(SpecialKeyring::Session).unwrap();
    let mut key = session.add_key::<keytypes::User, _, _>("longshore-planted", &b"secret"[..]).unwrap();
    // Only those who have the keyring see it, not all of the same user.
    key.set_permissions(Permission::POSSESSOR_ALL).unwrap();
    let seen = std::fs::read_to_string("/proc/keys");
    assert!(seen.unwrap().contains("longshore-planted"), "it is in reach here");
    // Threads that are started from here on have it, too.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (subject, _root) = strange(sandbox).await;
        if sandbox && subject.backend.capabilities.isolation != "bwrap" {
            return None;
        }
        let over = subject.run_script("keys", "cat /proc/keys 2>&1; id -u").await;
        let output = subject.output(&over).await;
        assert!(output.lines().count() >= 2, "{output}");
        Some(output.contains("longshore-planted"))
    })
}

#[test]
fn no_run_has_the_keys_of_the_process_that_started_the_server() {
    for sandbox in [false, true] {
        let seen = std::thread::spawn(move || sees_planted_key(sandbox)).join().unwrap();
        assert_ne!(seen, Some(true), "sandbox: {sandbox}");
    }
}
