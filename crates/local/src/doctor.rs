//! What would keep runs from working on this machine, each with its fix. Changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};

use crate::config::LocalConfig;
use crate::run::directory::{Found, Store, trusted};
use crate::run::inotify::{Inotify, WatchMask};
use crate::run::launch::{Launcher, tmp_bytes};
use crate::sandbox::bwrap::Sandbox;
use crate::sandbox::options::SandboxView;
use crate::sandbox::program::{Fault, Look};
use crate::sys::file::seems_directory;
use crate::sys::{Probe, Sys, Unknown, look};
use longshore_backend::BackendError;
use longshore_domain::name::{NamespaceName, RunName};
use longshore_domain::run::profile::{Limits, Profile, Volume};
use longshore_runtime::finding::Finding;

const STATE: &str = "state-directory";
const SANDBOX: &str = "sandbox";
const INOTIFY: &str = "inotify";
const RUNS: &str = "runs";
const PROGRAM: &str = "program";
const VOLUME: &str = "volume";

/// Looks at this machine: findings in the order of the checks, and never none.
pub async fn examine(config: &LocalConfig, profiles: &BTreeMap<String, Profile>, limits: &Limits) -> Vec<Finding> {
    let (isolation, sandbox) = judge_sandbox(config).await;
    let mut findings = vec![judge_state(&config.root), isolation];
    findings.extend(judge_runs(config.root.clone()).await);
    findings.push(judge_inotify());
    findings.extend(judge_configured(config, sandbox, profiles, limits));
    findings
}

/// What of the configuration does not fit this machine: volumes and programs of profiles.
pub async fn examine_configured(
    config: &LocalConfig,
    profiles: &BTreeMap<String, Profile>,
    limits: &Limits,
) -> Vec<Finding> {
    let (_, sandbox) = judge_sandbox(config).await;
    judge_configured(config, sandbox, profiles, limits)
}

fn judge_configured(
    config: &LocalConfig,
    sandbox: Option<Sandbox>,
    profiles: &BTreeMap<String, Profile>,
    limits: &Limits,
) -> Vec<Finding> {
    let mut findings: Vec<_> = config.volumes.iter().filter_map(|(name, volume)| judge_volume(name, volume)).collect();
    let launcher = Launcher {
        executable: config.executable.to_string_lossy().into_owned(),
        path: config.path.clone(),
        state: config.root.to_string_lossy().into_owned(),
        sandbox,
        volumes: config.volumes.clone(),
        log_max_bytes: config.log_max_bytes,
        max_processes: None,
    };
    findings.extend(profiles.values().flat_map(|profile| judge_profile(&launcher, profile, limits)));
    findings
}

/// Whether runs can be kept there; it is made at the first start.
fn judge_state(root: &Path) -> Finding {
    let subject = root.display().to_string();
    let fix = "name a directory that this user may write with --state-dir or `local.state_dir`";
    if !root.is_absolute() {
        return Finding::failed(STATE, subject, "the path is not absolute").fix(fix);
    }
    let there = root.ancestors().find(|path| !look(path).is_gone()).unwrap_or(root);
    if let Probe::Unknown(unknown) = look(there) {
        return Finding::failed(STATE, subject, format!("it cannot be examined: {unknown}")).fix(fix);
    }
    if !seems_directory(there) {
        return Finding::failed(STATE, subject, format!("{} is not a directory", there.display())).fix(fix);
    }
    if there == root
        && let Err(error) = trusted(&Sys::default(), root)
    {
        let fix = format!("chmod go-w it, and chown it to the server's user; or {fix}");
        return Finding::failed(STATE, subject, error.to_string()).fix(fix);
    }
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if there == root => Finding::ok(STATE, subject, "it can be written"),
        Ok(()) => Finding::ok(STATE, subject, "it is not there yet, and can be made"),
        Err(error) => {
            Finding::failed(STATE, subject, format!("{} cannot be written: {error}", there.display())).fix(fix)
        }
    }
}

/// How long all directories of runs may take to be read.
const RUNS_WITHIN: Duration = Duration::from_secs(20);
/// How many runs that can't be read are named.
const NAMED: usize = 10;

/// Whether the kernel reports changes.
fn judge_inotify() -> Finding {
    let polled = |what: &str, error: &std::io::Error, key: &str, value: u32| {
        let message = format!("no inotify {what} is left, so runs and output are polled: {error}");
        let fix = format!("find what uses them up, or raise {key}: sysctl {key}={value}");
        Finding::warning(INOTIFY, "this user", message).fix(fix)
    };
    match Inotify::new(&Sys::default()).map(|mut inotify| inotify.add(Path::new("/"), WatchMask::CREATE)) {
        Err(error) => polled("instance", &error, "fs.inotify.max_user_instances", 1024),
        Ok(Err(error)) => polled("watch", &error, "fs.inotify.max_user_watches", 1_048_576),
        Ok(Ok(_)) => Finding::ok(INOTIFY, "this user", "runs and output are followed as they change"),
    }
}

/// Whether every run can be read.
async fn judge_runs(root: PathBuf) -> Vec<Finding> {
    let subject = root.display().to_string();
    if look(&root).is_gone() {
        return vec![Finding::ok(RUNS, subject, "there are none yet")];
    }
    let reading = longshore_runtime::task::blocking(move || unreadable_runs(Store::existing(root)));
    let (count, unreadable, unlisted) = match tokio::time::timeout(RUNS_WITHIN, reading).await {
        Ok(Ok(Ok(read))) => read,
        Ok(Ok(Err(error))) => {
            let fix = "repair the disk, or let the server's user read the directory";
            return vec![Finding::failed(RUNS, subject, error.to_string()).fix(fix)];
        }
        Ok(Err(_)) | Err(_) => {
            let message = format!("they could not be read within {} s", RUNS_WITHIN.as_secs());
            return vec![Finding::warning(RUNS, subject, message).fix("check whether the disk answers")];
        }
    };
    if unreadable.is_empty() && unlisted.is_empty() {
        return vec![Finding::ok(RUNS, subject, format!("all {count} can be read"))];
    }
    let more = unreadable.len().saturating_sub(NAMED);
    let row = |(name, unknown): (RunName, Unknown)| {
        let fix = format!("restore the file, or delete the run: longshore rm {}", name.run);
        Finding::warning(RUNS, name.to_string(), format!("it can't be read as a whole: {unknown}")).fix(fix)
    };
    let left_out = |(namespace, error): (NamespaceName, BackendError)| {
        let message = format!("its directory can't be listed, so its runs are not found: {error}");
        let fix = "repair the disk, let the server's user read the directory, or remove what is there";
        Finding::failed(RUNS, format!("namespaces/{namespace}"), message).fix(fix)
    };
    let mut findings: Vec<Finding> = unlisted.into_iter().take(NAMED).map(left_out).collect();
    findings.extend(unreadable.into_iter().take(NAMED).map(row));
    if more > 0 {
        findings.push(Finding::warning(RUNS, subject, format!("{more} more can't be read")).fix("repair the disk"));
    }
    findings
}

/// How many runs there are, those of which something can't be read, each with the first cause, and the namespaces that
/// can't be listed.
type RunSurvey = (usize, Vec<(RunName, Unknown)>, Vec<(NamespaceName, BackendError)>);

fn unreadable_runs(store: Store) -> Result<RunSurvey, BackendError> {
    let (mut count, mut unreadable, mut unlisted) = (0, Vec::new(), Vec::new());
    for namespace in store.namespaces()? {
        let names = match store.runs(&namespace) {
            Ok(names) => names,
            Err(error) => {
                unlisted.push((namespace, error));
                continue;
            }
        };
        for name in names {
            let unknown = match store.contents(&name) {
                Probe::Gone | Probe::There(Found::Foreign(_)) => continue,
                Probe::There(Found::Run(contents)) => contents.unread.first().cloned(),
                Probe::Unknown(unknown) => Some(unknown),
            };
            count += 1;
            unreadable.extend(unknown.map(|unknown| (name, unknown)));
        }
    }
    Ok((count, unreadable, unlisted))
}

async fn judge_sandbox(config: &LocalConfig) -> (Finding, Option<Sandbox>) {
    if !config.sandbox {
        let finding = Finding::warning(SANDBOX, "bubblewrap", "the configuration says that runs are not isolated");
        return (finding.fix("local.bwrap = \"auto\""), None);
    }
    match Sandbox::probe(&config.path, &config.enter.to_string_lossy()).await {
        Ok(sandbox) => {
            let finding = if sandbox.trial.lacks.is_empty() {
                Finding::ok(SANDBOX, "bubblewrap", format!("{} works: runs are isolated", sandbox.bwrap))
            } else {
                let lacks = sandbox.trial.lacks.join("; ");
                let message = format!("{} works, but runs do not have: {lacks}", sandbox.bwrap);
                let fix =
                    "install bubblewrap 0.8 or later, on a kernel with filters of system calls (CONFIG_SECCOMP_FILTER)";
                Finding::warning(SANDBOX, "bubblewrap", message).fix(fix)
            };
            (finding, Some(sandbox))
        }
        Err(why) => {
            let fix = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap), and let this user make user \
                namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0); \
                or serve only people to whom this user's files may be shown";
            (Finding::warning(SANDBOX, "bubblewrap", format!("runs are not isolated: {why}")).fix(fix), None)
        }
    }
}

fn judge_volume(name: &str, volume: &Volume) -> Option<Finding> {
    let path = volume.local_path.as_deref()?;
    let subject = format!("volume {name}");
    Some(match look(Path::new(path)) {
        Probe::There(_) => Finding::ok(VOLUME, subject, format!("{path} is there")),
        Probe::Unknown(unknown) => Finding::failed(VOLUME, subject, format!("it cannot be examined: {unknown}"))
            .fix(format!("let the server's user reach `{path}`, or correct `volumes.{name}.local_path`")),
        Probe::Gone => Finding::failed(VOLUME, subject, format!("`{path}` does not exist on this machine"))
            .fix(format!("create it, or correct `volumes.{name}.local_path`")),
    })
}

/// Looks for the program of a profile as a run of it would: in its sandbox, with its mounts, its
/// `$PATH` and its user.
fn judge_profile(launcher: &Launcher, profile: &Profile, limits: &Limits) -> Vec<Finding> {
    let subject = format!("profile {}", profile.name);
    let local = profile.local.as_ref().and_then(|local| Some((local, launcher.argv(local)?)));
    let Some((local, argv)) = local else {
        let why = profile.unavailable_on("local").unwrap_or_else(|| "it has no command".to_owned());
        let key = profile.missing.clone().unwrap_or_else(|| format!("profiles.{}.local.command", profile.name));
        return vec![Finding::skipped(PROGRAM, subject, why).fix(format!("set {key}, if it is to be used here"))];
    };
    let defaults = &profile.defaults;
    let (mut volumes, visible) = match launcher.shown(local, &argv) {
        Ok(shown) => shown,
        Err(unknown) => {
            let fix = "let the server's user reach the files that the command names";
            return vec![Finding::failed(PROGRAM, subject, format!("it cannot be examined: {unknown}")).fix(fix)];
        }
    };
    match launcher.mounts(&defaults.volumes) {
        Ok(more) => volumes.extend(more),
        Err(why) => {
            let fix = "set it, or take the volume out of the profile's defaults";
            return vec![Finding::failed(PROGRAM, subject, why).fix(fix)];
        }
    }
    let size = defaults.tmp_size.as_deref().unwrap_or(&limits.default_tmp_size);
    let view = SandboxView {
        dir: "/",
        state: &launcher.state,
        hostname: "doctor",
        user: defaults.security.run_as_user.unwrap_or(limits.default_user),
        group: defaults.security.run_as_group.unwrap_or(limits.default_user),
        read_only_root: true,
        // One that can't be read is refused with the configuration.
        tmp_bytes: tmp_bytes(size).ok().flatten(),
        visible,
        volumes,
        ..SandboxView::default()
    };
    let sight = launcher.sight(&view);
    let look = Look { sight: &sight, path: launcher.path_in(&defaults.env), profile: &profile.name };
    let (program, arguments) = argv.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    let mut findings = vec![match look.program(program) {
        Err(Fault { what, fix, .. }) => return vec![Finding::failed(PROGRAM, subject, what).fix(fix)],
        Ok(_) if program == launcher.executable => Finding::ok(PROGRAM, subject.clone(), "it is this executable"),
        Ok(path) => Finding::ok(PROGRAM, subject.clone(), format!("it is {}", path.display())),
    }];
    let faults = arguments.iter().filter_map(|argument| look.argument(argument));
    let faults = faults.chain(argv.iter().filter_map(|word| look.neighbours(word)));
    findings.extend(faults.map(|Fault { what, fix, .. }| Finding::warning(PROGRAM, subject.clone(), what).fix(fix)));
    findings
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::DEFAULT_LOG_MAX_BYTES;
    use longshore_domain::run::profile::LocalProfile;
    use longshore_runtime::finding::Status;

    #[test]
    fn a_state_directory_that_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let missing = dir.path().join("a/b");
        for (path, status) in [
            (dir.path(), Status::Ok),
            (&missing, Status::Ok),
            (&file.join("below"), Status::Failed),
            (Path::new("relative"), Status::Failed),
        ] {
            assert_eq!(judge_state(path).status, status, "{}", path.display());
        }
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let open = judge_state(dir.path());
        assert!(open.status == Status::Failed && open.fix.starts_with("chmod go-w it"), "{open:?}");
        assert!(look(&missing).is_gone(), "nothing is made");
    }

    fn launcher() -> Launcher {
        Launcher {
            executable: "/proc/self/exe".to_owned(),
            path: "/bin:/usr/bin".to_owned(),
            state: "/state".to_owned(),
            sandbox: None,
            volumes: BTreeMap::new(),
            log_max_bytes: DEFAULT_LOG_MAX_BYTES,
            max_processes: None,
        }
    }

    #[test]
    fn programs_of_profiles() {
        let judged = |command: &[&str]| {
            let command = command.iter().map(|&word| word.to_owned()).collect();
            let local = LocalProfile { command, mounts: Vec::new() };
            let profile = Profile { name: "p".to_owned(), local: Some(local), ..Profile::default() };
            judge_profile(&launcher(), &profile, &Limits::default())
        };
        let statuses = |command: &[&str]| judged(command).iter().map(|finding| finding.status).collect::<Vec<_>>();
        assert_eq!(statuses(&["{longshore}", "runner"]), [Status::Ok]);
        assert_eq!(statuses(&["sh", "-c", "echo a.py"]), [Status::Ok]);
        assert_eq!(statuses(&["sh", "run.sh", "/no/such.py"]), [Status::Ok, Status::Warning, Status::Warning]);
        let missing = judged(&["no-such-program"]);
        assert_eq!((missing.len(), missing[0].status), (1, Status::Failed));
        assert!(missing[0].fix.contains("profiles.p.local.command"), "{missing:?}");
        let elsewhere = Profile { name: "p".to_owned(), ..Profile::default() };
        let elsewhere = judge_profile(&launcher(), &elsewhere, &Limits::default());
        assert_eq!(elsewhere[0].status, Status::Skipped);
        assert!(elsewhere[0].fix.contains("profiles.p.local.command"), "{elsewhere:?}");
    }

    #[test]
    fn directories_of_volumes() {
        let volume = |path: &str| Volume { local_path: Some(path.to_owned()), ..Volume::default() };
        assert_eq!(judge_volume("v", &volume("/")).unwrap().status, Status::Ok);
        let missing = judge_volume("v", &volume("/no/such")).unwrap();
        assert!(missing.status == Status::Failed && missing.fix.contains("volumes.v.local_path"), "{missing:?}");
        assert_eq!(judge_volume("v", &Volume::default()), None);
    }
}
