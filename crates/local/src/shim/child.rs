//! The program of a run as a process, with or without a sandbox around it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use procfs::process::StatFlags;
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Signal, Uid, WaitOptions};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep};

use super::files::Dir;
use super::output::ProgramOutput;
use crate::sys::file::{bequeath, in_memory};
use crate::sys::{Probe, Sys, Unknown, seccomp};
use longshore_domain::run::rundir::{self, Execution, ProcessIdentity};

/// How long what the program left behind is waited for after SIGKILL.
const REAP: Duration = Duration::from_secs(2);

/// A process that has lived so long executes its program.
const SURELY: Duration = Duration::from_secs(1);
/// What gives up the rights of root inside the sandbox, and then executes [`rundir::ENTER`].
const SETPRIV: &str = "setpriv";

/// The program, or the sandbox around it.
pub(super) struct ProgramProcess {
    process: tokio::process::Child,
    pid: Option<Pid>,
    sandbox: Option<SandboxState>,
    /// Whether we sent it a signal.
    signalled: bool,
    sys: Sys,
}

/// How a child ended.
pub(super) enum Ended {
    /// It ran.
    Ran(ExitStatus),
    /// The sandbox ended without ever having executed it.
    NotExecuted,
}

impl Ended {
    /// The exit code (128 + signal if one ended it), and the signal if it is known apart.
    pub(super) fn code_and_signal(&self) -> (i32, Option<i32>) {
        match self {
            Self::NotExecuted => (128, None),
            Self::Ran(status) => match (status.code(), status.signal()) {
                (Some(code), _) => (code, None),
                (None, signal) => (128 + signal.unwrap_or_default(), signal),
            },
        }
    }
}

/// Why a program was not started. In no case was it executed.
#[derive(Debug)]
pub(super) enum StartError {
    /// The system says why it can't be executed.
    Refused(io::Error),
    /// Something else failed, and may not the next time.
    Trouble(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        // What is not an error of the system is one of what was to be executed.
        match error.raw_os_error() {
            None if error.kind() == io::ErrorKind::InvalidInput => Self::Refused(error),
            _ => Self::Trouble(error),
        }
    }
}

impl StartError {
    /// Judges what starting a process answered.
    fn of_spawn(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            // Those say nothing of the program.
            Some(
                Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::IO | Errno::NOSPC | Errno::INTR,
            ) => Self::Trouble(error),
            _ => Self::Refused(error),
        }
    }
}

/// Starts the program: in a process group of its own, with no environment but its own. All that can
/// fail beside the start itself comes before it, so that a failure means that nothing was executed.
pub(super) fn start(dir: &Dir, execution: &Execution) -> Result<(ProgramProcess, ProgramOutput), StartError> {
    let env = environment(dir, execution)?;
    let mut inherited = None;
    let mut command = match &execution.sandbox {
        None => plain(dir, execution, env)?,
        Some(sandbox) => {
            dir.sys().call("memfd_create")?;
            let (command, fds) = sandboxed(sandbox, execution, env)?;
            inherited = Some(fds);
            command
        }
    };
    let stdin = if execution.input_stdin { input(dir)? } else { Stdio::null() };
    let log = dir.create_log()?;
    dir.sys().call("pipe2")?;
    let ((stdout, stdout_write), (stderr, stderr_write)) = (io::pipe()?, io::pipe()?);
    if let Some((user, group)) = execution.owner {
        // Else it could write to its streams, but not open /dev/stdout and /dev/stderr.
        let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        for stream in [&stdout_write, &stderr_write] {
            dir.sys().call("fchown")?;
            rustix::fs::fchown(stream, user, group).map_err(io::Error::from)?;
        }
    }
    let receiver = |pipe: io::PipeReader| Receiver::from_owned_fd(pipe.into());
    let output = ProgramOutput::new(log, execution.log_max_bytes, receiver(stdout)?, receiver(stderr)?);
    dir.sys().call("clone")?;
    command.stdin(stdin).stdout(stdout_write).stderr(stderr_write).process_group(0).kill_on_drop(true);
    let process = command.spawn().map_err(StartError::of_spawn)?;
    let pid = process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let sandbox = inherited.map(|fds| SandboxState { status: fds.status_read, seen: Vec::new() });
    Ok((ProgramProcess { process, pid, sandbox, signalled: false, sys: dir.sys().clone() }, output))
}

fn environment(dir: &Dir, execution: &Execution) -> io::Result<Vec<(OsString, OsString)>> {
    let mut env: Vec<(OsString, OsString)> =
        execution.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    if let Some(name) = &execution.input_env {
        let bytes = dir.read(rundir::INPUT)?;
        env.push((name.into(), std::os::unix::ffi::OsStringExt::from_vec(bytes)));
    }
    Ok(env)
}

/// A copy of the input: a program that is of the same user could open the file itself for writing through its own
/// standard input.
fn input(dir: &Dir) -> io::Result<Stdio> {
    let Some(mut file) = dir.sys().open(&dir.join(rundir::INPUT)).known().map_err(Unknown::into_error)? else {
        return Ok(Stdio::null());
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Stdio::from(in_memory("input", &bytes)?))
}

fn plain(dir: &Dir, execution: &Execution, env: Vec<(OsString, OsString)>) -> io::Result<tokio::process::Command> {
    let (program, arguments) = execution.argv.split_first().ok_or_else(no_program)?;
    let work = dir.join(rundir::WORK);
    dir.sys().make_dir(&work)?;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env_clear().envs(env).current_dir(work);
    Ok(command)
}

fn no_program() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the command is empty")
}

/// What the sandbox inherits, by number.
struct Inherited {
    _given: Vec<File>,
    status_read: File,
}

/// The sandbox's command. Its options are passed through a file in memory: neither do they count
/// against the limit of a command line, nor can other users see the environment there. And the
/// environment is not the sandbox program's own, which `LD_PRELOAD` would turn against us.
fn sandboxed(
    sandbox: &[String],
    execution: &Execution,
    env: Vec<(OsString, OsString)>,
) -> io::Result<(tokio::process::Command, Inherited)> {
    let (bwrap, options) = sandbox.split_first().ok_or_else(no_program)?;
    let (status_read, status_write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)?;
    let status_write = File::from(status_write);
    let mut filters = Vec::new();
    if execution.filter {
        for program in seccomp::programs().map_err(io::Error::other)? {
            filters.push(in_memory("filter", &program)?);
        }
    }
    let number = |fd: &File| fd.as_raw_fd().to_string();
    let filter_numbers: Vec<String> = filters.iter().map(number).collect();
    let mut list: Vec<OsString> = options.iter().map(OsString::from).collect();
    let mut given = vec![];
    // What is executed by root first must have nothing of the caller's in its environment.
    let env = if execution.is_entered() {
        let text = env.into_iter().map(|(name, value)| [name, value].join(OsStr::new("="))).collect::<Vec<_>>();
        let environment = in_memory("environment", &joined(&text)?)?;
        let variable = (rundir::ENVIRONMENT.into(), number(&environment).into());
        given.push(environment);
        let most = execution.max_processes.map(|most| (rundir::MAX_PROCESSES.into(), most.to_string().into()));
        std::iter::once(variable).chain(most).collect()
    } else {
        env
    };
    let env = env.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
    list.extend(rundir::sandbox_options(&number(&status_write), &filter_numbers, env));
    let options = in_memory("options", &joined(&list)?)?;
    let mut command = tokio::process::Command::new(bwrap);
    command.arg("--args").arg(number(&options)).arg("--").args(&execution.argv).env_clear().current_dir("/");
    given.extend([options, status_write]);
    given.append(&mut filters);
    // This process has no other thread that could start another program in between.
    for fd in &given {
        bequeath(fd)?;
    }
    Ok((command, Inherited { _given: given, status_read: File::from(status_read) }))
}

/// The options, each ended by a NUL. A value with a NUL in it would become options of its own, and
/// open the sandbox to its sender.
fn joined(options: &[OsString]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for option in options {
        if option.as_encoded_bytes().contains(&0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an environment variable contains a NUL byte"));
        }
        bytes.extend_from_slice(option.as_encoded_bytes());
        bytes.push(0);
    }
    Ok(bytes)
}

impl ProgramProcess {
    /// Who it is; `None` if it is gone.
    pub(super) fn identity(&self) -> io::Result<Option<ProcessIdentity>> {
        let Some(pid) = self.pid else { return Ok(None) };
        match self.sys.identity(pid.as_raw_nonzero().get()) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Ok(None),
            identity => identity.map(Some),
        }
    }

    /// Whether the program itself is executed, `age` after the start: not a sandbox on the way to it, nor
    /// what gives up the rights of root, nor, if something was found wrong with it, what is about to find
    /// that, too. What can't be looked at is so after [`SURELY`].
    pub(super) fn is_executed(&mut self, execution: &Execution, age: Duration) -> bool {
        if age >= SURELY {
            return true;
        }
        if execution.fault.is_some() {
            return false;
        }
        let Some(sandbox) = &mut self.sandbox else { return true };
        let children = sandbox.status().init.and_then(|init| self.sys.children_of(init).ok());
        let program = children.and_then(|children| children.first().copied());
        let stat = program.map(|program| self.sys.stat(program.as_raw_nonzero().get()));
        stat.as_ref().and_then(Probe::there).is_some_and(|stat| {
            let forked = StatFlags::from_bits_truncate(stat.flags).contains(StatFlags::PF_FORKNOEXEC);
            let is_ours = stat.comm == SETPRIV || Path::new(rundir::ENTER).file_name() == Some(OsStr::new(&stat.comm));
            let on_the_way = execution.is_entered() && is_ours;
            !forked && !on_the_way
        })
    }

    /// Waits until it has ended. Safe to cancel.
    pub(super) async fn wait(&mut self) -> io::Result<Ended> {
        let status = self.process.wait().await?;
        let executed = match &mut self.sandbox {
            // One that was killed, or whose process 1 was, can't report it.
            Some(sandbox) => self.signalled || status.code().is_none_or(|code| code == 0) || sandbox.status().executed,
            None => true,
        };
        Ok(if executed { Ended::Ran(status) } else { Ended::NotExecuted })
    }

    /// Asks it to end: SIGTERM to the program alone, as Kubernetes does. Its own children are its
    /// own affair, until all are killed. `false`: which process that is could not be looked at.
    pub(super) fn terminate(&mut self) -> bool {
        match &mut self.sandbox {
            None => signal(self.pid, Signal::TERM),
            // The sandbox itself would die of it and take the program along without any grace, and
            // its process 1 is immune; the program is the first child of that.
            Some(sandbox) => match sandbox.status().init.map(|init| self.sys.children_of(init)) {
                Some(Err(_)) => return false,
                Some(Ok(children)) if !children.is_empty() => signal(children.first().copied(), Signal::TERM),
                Some(Ok(_)) | None => self.kill(),
            },
        }
        self.signalled = true;
        true
    }

    /// Ends it: SIGKILL.
    pub(super) fn kill(&mut self) {
        self.signalled = true;
        if let Some(init) = self.sandbox.as_mut().and_then(|sandbox| sandbox.status().init) {
            // With its process 1 the whole namespace goes.
            let _ = rustix::process::kill_process(init, Signal::KILL);
        } else {
            signal_group(self.pid, Signal::KILL);
        }
    }
}

/// These are called only while the child is not reaped: its pid is still its own.
fn signal(process: Option<Pid>, signal: Signal) {
    if let Some(process) = process {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(process, signal);
    }
}

fn signal_group(leader: Option<Pid>, signal: Signal) {
    if let Some(leader) = leader {
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(leader, signal);
    }
}

/// What the sandbox reports of itself (`bwrap --json-status-fd`).
struct SandboxState {
    status: File,
    seen: Vec<u8>,
}

#[derive(Debug, Default, PartialEq)]
struct SandboxStatus {
    /// Process 1 of the sandbox.
    init: Option<Pid>,
    /// Whether the program was executed, known at the end only.
    executed: bool,
}

impl SandboxState {
    fn status(&mut self) -> SandboxStatus {
        // The pipe does not block: this reads what has been reported so far.
        let _ = io::Read::read_to_end(&mut self.status, &mut self.seen);
        parse_status(&self.seen)
    }
}

fn parse_status(text: &[u8]) -> SandboxStatus {
    let mut status = SandboxStatus::default();
    for value in serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>().map_while(Result::ok) {
        if let Some(pid) = value.get("child-pid").and_then(serde_json::Value::as_i64) {
            status.init = i32::try_from(pid).ok().and_then(Pid::from_raw);
        }
        status.executed |= value.get("exit-code").is_some();
    }
    status
}

/// Ends what the program left behind, as a Pod would: this process has become its parent.
pub(super) async fn end_leftovers(sys: &Sys) {
    let until = Instant::now() + REAP;
    loop {
        let children = sys.children_of(rustix::process::getpid());
        if children.as_ref().is_ok_and(Vec::is_empty) || Instant::now() > until {
            return;
        }
        for child in children.into_iter().flatten() {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(child, Signal::KILL);
            let _ = rustix::process::waitpid(Some(child), WaitOptions::NOHANG);
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_becomes_an_option() {
        let options = |value: &str| ["--setenv", "A", value].map(OsString::from);
        assert_eq!(joined(&options("b")).unwrap(), b"--setenv\0A\0b\0");
        assert!(joined(&options("b\0--bind\0/\0/")).is_err());
    }

    #[test]
    fn a_sandbox_reports_its_process_1_and_whether_it_executed() {
        let begun = b"{ \"child-pid\": 41, \"net-namespace\": 4026532 }\n";
        assert_eq!(parse_status(begun), SandboxStatus { init: Pid::from_raw(41), executed: false });
        let ended = b"{ \"child-pid\": 41 }\n{ \"exit-code\": 0 }\n";
        assert_eq!(parse_status(ended), SandboxStatus { init: Pid::from_raw(41), executed: true });
        assert_eq!(parse_status(b"{ \"child-"), SandboxStatus::default());
    }
}
