//! What a process has from the process that started it and no namespace separates: it is reset here, before the
//! program is started, so that a run does not depend on how the server was.
//!
//! Nothing here gives a program more than the server has: what was limited for good stays so.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::complain;
use crate::sys::{Sys, keyring};
use longshore_domain::run::rundir;

/// Limits that are lowered, soft and hard: core files; locked memory, messages in queues (as the kernel has them by
/// default); and no priority beyond the usual one.
const LOWERED: [(Resource, u64); 5] = [
    (Resource::Core, 0),
    (Resource::Memlock, 8 << 20),
    (Resource::Msgqueue, 819_200),
    (Resource::Nice, 0),
    (Resource::Rtprio, 0),
];
/// Limits whose soft value becomes the hard one.
const OPENED: [Resource; 5] = [Resource::Cpu, Resource::Fsize, Resource::Data, Resource::As, Resource::Locks];
/// Soft limit of a stack; the kernel's default.
const STACK: u64 = 8 << 20;
/// Permissions that new files do not get.
const UMASK: u32 = 0o022;
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// Resets all of it but signals.
pub(super) fn reset(sys: &Sys) {
    for resource in OPENED {
        limit(resource, |limit| Rlimit { current: limit.maximum, ..limit });
    }
    for (resource, most) in LOWERED {
        limit(resource, |limit| {
            let most = Some(limit.maximum.map_or(most, |maximum| maximum.min(most)));
            Rlimit { current: most, maximum: most }
        });
    }
    limit(Resource::Stack, |limit| Rlimit {
        current: Some(limit.maximum.map_or(STACK, |maximum| maximum.min(STACK))),
        ..limit
    });
    // The server raised its own, which is nothing for programs that count on it.
    if let Some(files) = std::env::var(rundir::OPEN_FILES).ok().and_then(|text| text.parse::<u64>().ok()) {
        limit(Resource::Nofile, |limit| Rlimit {
            current: Some(limit.current.map_or(files, |current| current.min(files))),
            ..limit
        });
    }
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    usual_priority();
    // A server that is not to be killed for lack of memory must not make its programs so.
    let score = std::fs::read_to_string(OOM_SCORE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if score.is_some_and(|score| score < 0)
        && let Err(error) = std::fs::write(OOM_SCORE, "0")
    {
        complain(&format_args!("{OOM_SCORE}: {error}"));
    }
    if let Err(error) = sys.call("keyctl").and_then(|()| keyring::join_new_session())
        && !keyring::is_out_of_reach(&error)
    {
        complain(&format_args!("the run has no session keyring of its own: {error}"));
    }
}

/// Changes a limit. Lowering never fails, nor does what stays below the hard limit.
fn limit(resource: Resource, change: impl Fn(Rlimit) -> Rlimit) {
    if let Err(error) = setrlimit(resource, change(getrlimit(resource))) {
        complain(&format_args!("limit {resource:?}: {error}"));
    }
}

/// Gives up a priority above the usual one. One below it stays: only root may raise it.
fn usual_priority() {
    let priority = rustix::process::getpriority_process(None);
    if priority.is_ok_and(|priority| priority < 0)
        && let Err(error) = rustix::process::setpriority_process(None, 0)
    {
        complain(&format_args!("the priority: {error}"));
    }
}

/// Takes signals that the starter of the server made it ignore, as `nohup` does: one that is handled here is back
/// at its default in the program, an ignored one would be ignored there, too. The standard library takes care of
/// SIGPIPE and of the mask.
pub(super) fn heed_ignored_signals() -> Vec<Signal> {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    let ignored = status.map_or(0, |status| status.sigign);
    let numbers = (1..=64).filter(|number| ignored & (1 << (number - 1)) != 0);
    // Some can't be handled; they can't be ignored for long either.
    numbers.filter_map(|number| signal(SignalKind::from_raw(number)).ok()).collect()
}
