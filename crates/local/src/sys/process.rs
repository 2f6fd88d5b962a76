//! Processes of this machine, by an identity that outlives pid reuse and reboots.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use jiff::Timestamp;
use procfs::process::Stat;
use procfs::{FromRead, ProcError};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::calls::Sys;
use super::probe::{Cause, Probe, Unknown};
use longshore_domain::run::rundir::ProcessIdentity;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Sys {
    /// Whether the process lives. One that has ended but was not reaped yet does not.
    pub fn look_at_process(&self, identity: &ProcessIdentity) -> Probe<()> {
        match self.boot_id() {
            Ok(boot_id) if boot_id != identity.boot_id => return Probe::Gone,
            Ok(_) => {}
            Err(error) => return Probe::Unknown(Unknown::of("the identity of this boot", &error)),
        }
        self.stat(identity.pid).and_then(|stat| match stat.starttime == identity.start_time && !is_dead(&stat) {
            true => Probe::There(()),
            false => Probe::Gone,
        })
    }

    /// Who has this pid. Dead ones have it, too, until they are reaped.
    ///
    /// # Errors
    /// Nobody has, or it could not be looked at.
    pub fn identity(&self, pid: i32) -> io::Result<ProcessIdentity> {
        let stat = match self.stat(pid) {
            Probe::There(stat) => stat,
            Probe::Gone => return Err(Errno::SRCH.into()),
            Probe::Unknown(unknown) => return Err(unknown.into_error()),
        };
        Ok(ProcessIdentity {
            pid,
            start_time: stat.starttime,
            boot_id: self.boot_id()?.to_owned(),
            time: Timestamp::now(),
        })
    }

    /// A handle of the process that becomes readable as it ends, if it lives.
    pub fn handle_of(&self, identity: &ProcessIdentity) -> Probe<OwnedFd> {
        let Some(pid) = Pid::from_raw(identity.pid) else { return Probe::Gone };
        // In this order: the handle keeps standing for the process that is then looked at.
        self.handle(pid).and_then(|handle| self.look_at_process(identity).map(|()| handle))
    }

    /// Sends a signal to the process, and to no other. [`Probe::Gone`]: it does not live any more. Nothing
    /// is sent to one that can't be looked at.
    pub fn signal(&self, identity: &ProcessIdentity, signal: Signal) -> Probe<()> {
        let Some(pid) = Pid::from_raw(identity.pid) else { return Probe::Gone };
        // The handle is taken first and keeps standing for the process that is then looked at.
        let handle = match self.handle(pid) {
            Probe::There(handle) => handle,
            Probe::Gone => return Probe::Gone,
            Probe::Unknown(unknown) => return Probe::Unknown(unknown),
        };
        self.look_at_process(identity).and_then(|()| {
            let sent = self
                .call("pidfd_send_signal")
                .and_then(|()| rustix::process::pidfd_send_signal(&handle, signal).map_err(io::Error::from));
            Probe::of(|| named(identity.pid), sent)
        })
    }

    /// Ends the process and its group, if it lives and can be looked at.
    pub fn kill_group(&self, identity: &ProcessIdentity) -> Probe<()> {
        let Some(pid) = Pid::from_raw(identity.pid) else { return Probe::Gone };
        self.look_at_process(identity).and_then(|()| {
            let killed = self
                .call("kill")
                .and_then(|()| rustix::process::kill_process_group(pid, Signal::KILL).map_err(io::Error::from));
            Probe::of(|| named(identity.pid), killed)
        })
    }

    /// Ends all that this process, or what it has become the parent of, started: as long as it lives itself
    /// they are its descendants. Answers whether any of them still lives.
    ///
    /// # Errors
    /// They could not be looked at.
    pub fn kill_descendants(&self, identity: &ProcessIdentity) -> io::Result<bool> {
        let Some(root) = Pid::from_raw(identity.pid) else { return Ok(false) };
        match self.look_at_process(identity) {
            Probe::There(()) => {}
            Probe::Gone => return Ok(false),
            Probe::Unknown(unknown) => return Err(unknown.into_error()),
        }
        let (mut parents, mut lives) = (vec![root], false);
        while let Some(parent) = parents.pop() {
            for child in self.children_of(parent)? {
                parents.push(child);
                // The handle is taken first and keeps standing for the process that is then looked at.
                let Probe::There(handle) = self.handle(child) else { continue };
                let is_its = |stat: &Stat| stat.ppid == parent.as_raw_nonzero().get() && !is_dead(stat);
                if !self.stat(child.as_raw_nonzero().get()).there().is_some_and(is_its) {
                    continue;
                }
                lives = true;
                self.call("pidfd_send_signal")?;
                // It may have ended by itself.
                let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
            }
        }
        Ok(lives)
    }

    /// Whether the process is stopped, by a signal or a debugger.
    pub fn is_stopped(&self, identity: &ProcessIdentity) -> bool {
        let is_its = |stat: &Stat| stat.starttime == identity.start_time && matches!(stat.state, 'T' | 't');
        self.stat(identity.pid).there().is_some_and(is_its)
    }

    /// The children of a process, the eldest first.
    ///
    /// # Errors
    /// They could not be looked at.
    pub fn children_of(&self, parent: Pid) -> io::Result<Vec<Pid>> {
        self.call("open")?;
        let parent = parent.as_raw_nonzero().get();
        let listed = procfs::process::Process::new(parent)
            .and_then(|process| process.task_main_thread())
            .and_then(|thread| thread.children());
        let pids: Vec<i32> = match listed {
            Ok(pids) => pids.into_iter().filter_map(|pid| i32::try_from(pid).ok()).collect(),
            // A kernel without CONFIG_PROC_CHILDREN; or the process is gone, which the list of all says, too.
            Err(_) => {
                let mut children = Vec::new();
                for process in procfs::process::all_processes().map_err(io::Error::other)? {
                    match process.and_then(|process| process.stat()) {
                        Ok(stat) if stat.ppid == parent => children.push(stat),
                        Ok(_) | Err(ProcError::NotFound(_) | ProcError::PermissionDenied(_)) => {}
                        // It ended as it was read.
                        Err(ProcError::Io(error, _)) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {}
                        Err(error) => return Err(io::Error::other(error)),
                    }
                }
                children.sort_by_key(|stat| stat.starttime);
                children.into_iter().map(|stat| stat.pid).collect()
            }
        };
        Ok(pids.into_iter().filter_map(Pid::from_raw).collect())
    }

    fn handle(&self, pid: Pid) -> Probe<OwnedFd> {
        let opened = self
            .call("pidfd_open")
            .and_then(|()| rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from));
        Probe::of(|| named(pid.as_raw_nonzero().get()), opened)
    }

    /// What `/proc` says of the process with this pid.
    pub fn stat(&self, pid: i32) -> Probe<Stat> {
        let opened = self.call("open").and_then(|()| File::open(format!("/proc/{pid}/stat")));
        let read = opened.and_then(|file| {
            self.call("read")?;
            Stat::from_read(file).map_err(io_error)
        });
        match Probe::of(|| named(pid), read) {
            // A `/proc` that hides it, or that is not mounted, says the same.
            Probe::Gone => self.look_without_proc(pid),
            answered => answered,
        }
    }

    fn look_without_proc<T>(&self, pid: i32) -> Probe<T> {
        let Some(pid) = Pid::from_raw(pid) else { return Probe::Gone };
        let asked = self.call("kill").and_then(|()| Ok(rustix::process::test_kill_process(pid)?));
        match Probe::of(|| named(pid.as_raw_nonzero().get()), asked) {
            Probe::Gone => Probe::Gone,
            Probe::There(()) => {
                let why = "it is there, but not in /proc".to_owned();
                let what = named(pid.as_raw_nonzero().get());
                Probe::Unknown(Unknown { what, why, kind: Cause::Refused })
            }
            Probe::Unknown(unknown) => Probe::Unknown(unknown),
        }
    }

    /// How long the machine has been running.
    ///
    /// # Errors
    /// The kernel did not say.
    pub fn uptime(&self) -> io::Result<Duration> {
        self.call("open")?;
        let text = std::fs::read_to_string("/proc/uptime")?;
        let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
        let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        uptime.ok_or_else(|| io::Error::other("/proc/uptime can't be read"))
    }

    /// Identity of this boot. A failure is not remembered.
    ///
    /// # Errors
    /// The kernel did not say.
    pub fn boot_id(&self) -> io::Result<&str> {
        if let Some(known) = self.boot_id.get() {
            return Ok(known);
        }
        self.call("open")?;
        let text = std::fs::read_to_string(BOOT_ID)?;
        Ok(self.boot_id.get_or_init(|| text.trim().to_owned()))
    }
}

fn is_dead(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X')
}

fn named(pid: i32) -> String {
    format!("process {pid}")
}

fn io_error(error: ProcError) -> io::Error {
    match error {
        ProcError::Io(error, _) => error,
        // Between opening and reading it was reaped.
        ProcError::NotFound(_) => Errno::SRCH.into(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sys::fault::Faults;

    fn own(sys: &Sys) -> ProcessIdentity {
        sys.identity(i32::try_from(std::process::id()).unwrap()).unwrap()
    }

    #[test]
    fn a_process_is_its_pid_start_and_boot() {
        let sys = Sys::default();
        let own = own(&sys);
        assert_eq!(sys.look_at_process(&own), Probe::There(()));
        let later = ProcessIdentity { start_time: own.start_time + 1, ..own.clone() };
        assert_eq!(sys.look_at_process(&later), Probe::Gone);
        assert_eq!(sys.look_at_process(&ProcessIdentity { boot_id: "another".to_owned(), ..own }), Probe::Gone);
    }

    #[test]
    fn one_that_has_ended_is_dead_before_it_is_reaped() {
        let sys = Sys::default();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let identity = sys.identity(pid).unwrap();
        let waiting = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(Pid::from_raw(pid).unwrap()), waiting).unwrap();
        assert_eq!(sys.look_at_process(&identity), Probe::Gone);
        child.wait().unwrap();
        assert_eq!(sys.look_at_process(&identity), Probe::Gone);
        assert_eq!(sys.signal(&identity, Signal::KILL), Probe::Gone);
    }

    #[test]
    fn a_look_that_fails_says_nothing_and_nothing_is_killed() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let identity = Sys::default().identity(i32::try_from(child.id()).unwrap()).unwrap();
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::IO] {
            // Each call in turn, that of the boot's identity among them.
            for nth in 0.. {
                let faults = Arc::new(Faults::default());
                faults.arm(nth..=nth, errno);
                let sys = Sys::with_faults(Arc::clone(&faults));
                let (looked, killed) = (sys.look_at_process(&identity), sys.signal(&identity, Signal::CONT));
                let group = sys.kill_group(&ProcessIdentity { pid: identity.pid, start_time: 0, ..identity.clone() });
                assert!(!looked.is_gone() && !killed.is_gone(), "{errno} {nth}: {looked:?} {killed:?}");
                assert!(!group.is_there(), "{errno} {nth}");
                if faults.disarm().is_none() {
                    break;
                }
                // A failure is not remembered: the next look has the answer.
                assert_eq!(sys.look_at_process(&identity), Probe::There(()), "{errno} {nth}");
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
