//! `longshore enter -- PROGRAM ARGUMENT…`: executes a program with the environment that an inherited file has, with a
//! bound of processes, and with nothing else of what was inherited beyond the standard streams.
//!
//! In the sandbox of a server that is root it stands after what gives up the rights of root: an environment such as
//! `LD_PRELOAD` must not be there before. In a user namespace it has the bound counted there, from nothing; outside it
//! would be one of all processes of the server's user.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use longshore_domain::run::rundir::{ENVIRONMENT, MAX_PROCESSES, TRIED_PROCESSES, TRY_PROCESSES};

/// Exit codes as shells and `setpriv` have them: the program is not there; it can't be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Becomes the program. Returns only if that failed.
pub fn enter(program: &[OsString]) -> ExitCode {
    let (Some((name, arguments)), Ok(environment)) = (program.split_first(), environment()) else {
        complain(&"there is no environment to execute a program with");
        return ExitCode::from(NOT_EXECUTABLE);
    };
    close_fds::set_fds_cloexec(3, &[]);
    if std::env::var_os(TRY_PROCESSES).is_some() {
        // Whether it is there is seen when it is tried.
        let _ = io::Write::write_fmt(&mut io::stdout(), format_args!("threads {}\n", threads_under(TRIED_PROCESSES)));
    }
    if let Some(most) = std::env::var(MAX_PROCESSES).ok().and_then(|text| text.parse().ok()) {
        bound_processes(most, true);
    }
    let error = Command::new(name).args(arguments).env_clear().envs(pairs(&environment)).exec();
    complain(&format_args!("{}: {error}", name.display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Bounds the processes and threads of this user, in its user namespace: those of this process, too. `lasting`: nobody
/// raises it again. Lowering never fails.
fn bound_processes(most: u64, lasting: bool) {
    let before = getrlimit(Resource::Nproc);
    let current = Some(before.maximum.map_or(most, |maximum| maximum.min(most)));
    let maximum = if lasting { current } else { before.maximum };
    if let Err(error) = setrlimit(Resource::Nproc, Rlimit { current, maximum }) {
        complain(&format_args!("the bound of processes: {error}"));
    }
}

/// How many threads can be started under this limit, at most twice as many as it names.
fn threads_under(limit: u64) -> usize {
    let before = getrlimit(Resource::Nproc);
    bound_processes(limit, false);
    let start = |_| std::thread::Builder::new().spawn(std::thread::park).ok();
    let threads: Vec<_> = (0..2 * limit).map_while(start).collect();
    let count = threads.len();
    for thread in threads {
        thread.thread().unpark();
        // It does nothing that could fail.
        let _ = thread.join();
    }
    if let Err(error) = setrlimit(Resource::Nproc, before) {
        complain(&format_args!("the bound of processes: {error}"));
    }
    count
}

fn complain(trouble: &dyn std::fmt::Display) {
    // Nothing is left to report it to if this fails.
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("longshore: {trouble}\n"));
}

fn environment() -> io::Result<Vec<u8>> {
    let number = std::env::var(ENVIRONMENT).map_err(io::Error::other)?;
    let number: u32 = number.parse().map_err(io::Error::other)?;
    std::fs::read(format!("/proc/self/fd/{number}"))
}

/// Variables, each `NAME=VALUE` and a NUL.
fn pairs(environment: &[u8]) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    let whole = environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
    whole.filter_map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.split_at(at);
        Some((OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..)?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_they_were_written() {
        let read: Vec<_> = pairs(b"A=1\0B=\0C=a=b\nc\0").collect();
        let expected =
            [("A", "1"), ("B", ""), ("C", "a=b\nc")].map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        assert_eq!(read, expected);
    }
}
