//! What would keep runs from working on this machine, each with its fix. Changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{Access, access};

use super::launch::find_program;
use super::sandbox::Sandbox;
use super::{LocalConfig, inotify::Bell};
use crate::domain::profile::Profile;
use crate::runtime::finding::Finding;

const STATE: &str = "state-directory";
const SANDBOX: &str = "sandbox";
const INOTIFY: &str = "inotify";
const PROGRAM: &str = "program";
/// What stands for this executable in a profile's command.
const THIS: &str = "{longshore}";

/// Looks at this machine: findings in the order of the checks, and never none.
pub async fn examine(config: &LocalConfig, profiles: &BTreeMap<String, Profile>) -> Vec<Finding> {
    let mut findings = vec![judge_state(&config.root), judge_sandbox(config).await];
    findings.push(match Bell::hang() {
        Ok(_) => Finding::ok(INOTIFY, "this user", "output is followed as it is written"),
        Err(error) => Finding::warning(INOTIFY, "this user", format!("not to be had, so output is polled: {error}"))
            .fix("raise fs.inotify.max_user_instances: sysctl fs.inotify.max_user_instances=1024"),
    });
    findings.extend(profiles.values().map(|profile| judge_program(profile, &config.path)));
    findings
}

/// Whether runs can be kept there; it is made at the first start.
fn judge_state(root: &Path) -> Finding {
    let subject = root.display().to_string();
    let fix = "name a directory that this user may write with --state-dir or `local.state_dir`";
    if !root.is_absolute() {
        return Finding::failed(STATE, subject, "the path is not absolute").fix(fix);
    }
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(root);
    if !there.is_dir() {
        return Finding::failed(STATE, subject, format!("{} is no directory", there.display())).fix(fix);
    }
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if there == root => Finding::ok(STATE, subject, "it can be written"),
        Ok(()) => Finding::ok(STATE, subject, "it is not there yet, and can be made"),
        Err(error) => {
            Finding::failed(STATE, subject, format!("{} cannot be written: {error}", there.display())).fix(fix)
        }
    }
}

async fn judge_sandbox(config: &LocalConfig) -> Finding {
    if !config.sandbox {
        return Finding::warning(SANDBOX, "bubblewrap", "the configuration says that runs are not isolated")
            .fix("local.bwrap = \"auto\"");
    }
    match Sandbox::probe(&config.path).await {
        Ok(sandbox) => Finding::ok(SANDBOX, "bubblewrap", format!("{} works: runs are isolated", sandbox.bwrap)),
        Err(why) => Finding::warning(SANDBOX, "bubblewrap", format!("runs are not isolated: {why}"))
            .fix("install bubblewrap, and let this user make user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
                  kernel.apparmor_restrict_unprivileged_userns=0); or serve only people whom this user's files may be shown to"),
    }
}

fn judge_program(profile: &Profile, path: &str) -> Finding {
    let subject = format!("profile {}", profile.name);
    let Some(program) = profile.local.as_ref().and_then(|local| local.command.first()) else {
        let why = profile.unavailable_on("local").unwrap_or_else(|| "it has no command".to_owned());
        let key = profile.missing.clone().unwrap_or_else(|| format!("profiles.{}.local.command", profile.name));
        return Finding::skipped(PROGRAM, subject, why).fix(format!("set {key}, if it is to be used here"));
    };
    if program == THIS {
        return Finding::ok(PROGRAM, subject, "it is this executable");
    }
    match find_program(program, path) {
        Some(found) => Finding::ok(PROGRAM, subject, format!("it is {}", found.display())),
        None => Finding::failed(PROGRAM, subject, format!("`{program}` is not on this machine"))
            .fix(format!("install it, or set profiles.{}.local.command; PATH is {path}", profile.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::profile::LocalProfile;
    use crate::runtime::finding::Status;

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
        assert!(!missing.exists(), "nothing is made");
    }

    #[test]
    fn programs_of_profiles() {
        let judged = |command: &[&str]| {
            let local = LocalProfile { command: command.iter().map(|&word| word.to_owned()).collect() };
            let profile = Profile { name: "p".to_owned(), local: Some(local), ..Profile::default() };
            judge_program(&profile, "/bin:/usr/bin")
        };
        assert_eq!(judged(&["{longshore}", "runner"]).status, Status::Ok);
        assert_eq!(judged(&["sh", "-c"]).status, Status::Ok);
        let missing = judged(&["no-such-program"]);
        assert_eq!(missing.status, Status::Failed);
        assert!(missing.fix.contains("profiles.p.local.command"), "{missing:?}");
        let elsewhere = judge_program(&Profile { name: "p".to_owned(), ..Profile::default() }, "/bin");
        assert_eq!(elsewhere.status, Status::Skipped);
        assert!(elsewhere.fix.contains("profiles.p.local.command"), "{elsewhere:?}");
    }
}
