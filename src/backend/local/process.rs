//! Processes of this machine, by an identity that outlives pid reuse and reboots.

use std::sync::OnceLock;

use rustix::process::{Pid, PidfdFlags, Signal};

use crate::domain::rundir::ProcessIdentity;

/// Whether the process lives. One that has ended but was not reaped yet does not.
pub(super) fn alive(identity: &ProcessIdentity) -> bool {
    boot_id() == identity.boot_id
        && procfs::process::Process::new(identity.pid)
            .and_then(|process| process.stat())
            .is_ok_and(|stat| stat.starttime == identity.start_time && !matches!(stat.state, 'Z' | 'X'))
}

/// Sends a signal to the process, if it lives, and to no other.
pub(super) fn signal(identity: &ProcessIdentity, signal: Signal) {
    let Some(pid) = Pid::from_raw(identity.pid) else { return };
    // The handle is taken first and keeps standing for the process that is then checked.
    if let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        && alive(identity)
    {
        // It may have ended by itself.
        let _ = rustix::process::pidfd_send_signal(handle, signal);
    }
}

/// Ends the process and its group, if it lives.
pub(super) fn kill_group(identity: &ProcessIdentity) {
    if let Some(pid) = Pid::from_raw(identity.pid)
        && alive(identity)
    {
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

/// Identity of this boot; empty if the kernel does not tell.
fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        text.map(|text| text.trim().to_owned()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn own() -> ProcessIdentity {
        let pid = i32::try_from(std::process::id()).unwrap();
        let start_time = procfs::process::Process::new(pid).unwrap().stat().unwrap().starttime;
        ProcessIdentity { pid, start_time, boot_id: boot_id().to_owned(), time: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_process_is_its_pid_start_and_boot() {
        assert!(alive(&own()));
        assert!(!alive(&ProcessIdentity { start_time: own().start_time + 1, ..own() }));
        assert!(!alive(&ProcessIdentity { boot_id: "another".to_owned(), ..own() }));
    }

    #[test]
    fn one_that_has_ended_is_dead_before_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let start_time = procfs::process::Process::new(pid).unwrap().stat().unwrap().starttime;
        let identity = ProcessIdentity { pid, start_time, ..own() };
        let waiting = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(Pid::from_raw(pid).unwrap()), waiting).unwrap();
        assert!(!alive(&identity));
        child.wait().unwrap();
        assert!(!alive(&identity));
    }
}
