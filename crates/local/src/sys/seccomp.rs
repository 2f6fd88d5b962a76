//! The filter of system calls for sandboxed programs, as `bwrap` takes it.
//!
//! What it refuses is what the default profile of container runtimes refuses a container without capabilities
//! (`seccomp/default.json` of moby/profiles at 02e898b137ae, which containerd's follows): what gives access to more of the
//! kernel than programs need, and what no namespace separates. Refused calls fail with `EPERM`; so that libraries take
//! the older way, `clone3`, whose arguments can't be looked at, and calls that are newer than the table fail with
//! `ENOSYS`. Programs of another architecture than this one (32 bits, x32) are killed, or find no call at all.

use std::collections::BTreeMap;
use std::str::FromStr;

use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use syscalls::Sysno;

/// Calls that are refused whatever their arguments. Not every architecture has each.
const REFUSED: [&[&str]; 10] = [
    // Keys, which no namespace separates.
    &["add_key", "keyctl", "request_key"],
    // Large parts of the kernel with a history of faults; they also get round other limits.
    &[
        "bpf",
        "fanotify_init",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "perf_event_open",
        "userfaultfd",
    ],
    // Namespaces, and what they hold.
    &["setdomainname", "sethostname", "setns", "unshare"],
    &[
        "chroot",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_by_handle_at",
        "open_tree",
        "open_tree_attr",
        "pivot_root",
        "umount2",
    ],
    // Other processes.
    &["kcmp", "pidfd_getfd", "process_madvise"],
    // Where memory lies.
    &["get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node"],
    // The machine.
    &[
        "acct",
        "clock_settime",
        "delete_module",
        "finit_module",
        "init_module",
        "ioperm",
        "iopl",
        "kexec_file_load",
        "kexec_load",
        "quotactl",
        "quotactl_fd",
        "reboot",
        "settimeofday",
        "swapoff",
        "swapon",
        "syslog",
        "vhangup",
    ],
    // Security modules.
    &["lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr"],
    // Attributes of files, newer than the profile.
    &["file_getattr", "file_setattr"],
    // What is obsolete, or was never there.
    &[
        "_sysctl",
        "afs_syscall",
        "create_module",
        "get_kernel_syms",
        "getpmsg",
        "lookup_dcookie",
        "nfsservctl",
        "putpmsg",
        "query_module",
        "security",
        "sysfs",
        "tuxcall",
        "uselib",
        "ustat",
        "vserver",
    ],
];
/// The calls of the table that fail as if there were none.
const UNKNOWN: [&str; 1] = ["clone3"];

/// `clone` with one of these flags makes a namespace: mount, cgroup, UTS, IPC, user, PID, network.
const NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// Families of sockets that no network namespace separates, or whose code only few need: `AF_ALG`, `AF_VSOCK`.
const FAMILIES: [u64; 2] = [38, 40];
/// What `personality` may be asked for: Linux, also as one of 32 bits or with the version of 2.6; and what it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Requests of `ioctl` that type into a terminal: `TIOCSTI`, `TIOCLINUX`.
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// How many programs make up the filter.
pub const PROGRAMS: usize = 2;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// None was written for this architecture.
    #[error("there is no filter for {}", std::env::consts::ARCH)]
    Architecture,
    /// It could not be compiled.
    #[error("the filter of system calls: {0}")]
    Compile(#[from] seccompiler::BackendError),
}

/// The programs that make up the filter, in the order in which they are to be installed: where two refuse a call, the
/// error of the later one counts.
///
/// # Errors
/// There is no filter for this architecture.
pub fn programs() -> Result<[Vec<u8>; PROGRAMS], FilterError> {
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        return Err(FilterError::Architecture);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let unknown = UNKNOWN.map(Sysno::from_str);
    let known = Sysno::iter().filter(|call| !unknown.contains(&Ok(*call)));
    let known = known.map(|call| (i64::from(call.id()), Vec::new())).collect();
    let fail = |errno: Errno| SeccompAction::Errno(errno.raw_os_error().unsigned_abs());
    let known = SeccompFilter::new(known, fail(Errno::NOSYS), SeccompAction::Allow, arch)?;
    let refused = SeccompFilter::new(refused()?, SeccompAction::Allow, fail(Errno::PERM), arch)?;
    Ok([bytes(&known.try_into()?), bytes(&refused.try_into()?)])
}

fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, FilterError> {
    let calls = REFUSED.concat().into_iter().filter_map(|name| Sysno::from_str(name).ok());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls.map(|call| (i64::from(call.id()), Vec::new())).collect();
    let is = |argument, value| condition(argument, SeccompCmpOp::Eq, value);
    let mut refuse = |call: Sysno, conditions: Vec<Vec<SeccompCondition>>| -> Result<(), FilterError> {
        let alternatives = conditions.into_iter().map(SeccompRule::new).collect::<Result<_, _>>()?;
        rules.insert(i64::from(call.id()), alternatives);
        Ok(())
    };
    let any = |list: &[u64], one: &dyn Fn(u64) -> Result<SeccompCondition, FilterError>| {
        list.iter().map(|value| Ok(vec![one(*value)?])).collect::<Result<Vec<_>, FilterError>>()
    };
    refuse(Sysno::clone, any(&NAMESPACES, &|flag| condition(0, SeccompCmpOp::MaskedEq(flag), flag))?)?;
    refuse(Sysno::socket, any(&FAMILIES, &|family| is(0, family))?)?;
    refuse(Sysno::ioctl, any(&TYPING, &|request| is(1, request))?)?;
    let none_of = PERSONALITIES.iter().map(|persona| condition(0, SeccompCmpOp::Ne, *persona));
    refuse(Sysno::personality, vec![none_of.collect::<Result<_, _>>()?])?;
    Ok(rules)
}

/// What holds of the lower half of an argument, all that these calls look at.
fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, FilterError> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?)
}

/// A program as the kernel reads it: an array of `struct sock_filter`.
fn bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 * program.len());
    for step in program {
        bytes.extend(step.code.to_ne_bytes());
        bytes.extend([step.jt, step.jf]);
        bytes.extend(step.k.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_of_the_kernel_s() {
        let names = REFUSED.concat().into_iter().chain(UNKNOWN);
        for name in names {
            let known =
                [syscalls::x86_64::Sysno::from_str(name).is_ok(), syscalls::aarch64::Sysno::from_str(name).is_ok()];
            assert!(known.contains(&true), "{name}");
        }
    }

    #[test]
    fn a_program_fits_into_the_kernel() {
        for program in programs().unwrap() {
            assert!(program.len().is_multiple_of(8) && program.len() / 8 <= 4096, "{}", program.len());
        }
    }
}
