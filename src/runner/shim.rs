//! `longshore shim DIR`: starts the program of one run of the local backend, stamps its output,
//! watches its clock, and writes down how it ended. Detached from the daemon, which only reads the
//! directory. Knows the domain only.
//!
//! Whatever kills it, no program is started twice: it holds a lock from before the start, and what
//! finds the marker `started` never starts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::domain::name::shown;
use crate::domain::rundir::{self, Execution, Exit, ExitReason, Started, StoredRun};

mod child;
mod files;
mod output;

use child::{Child, Ended};
use output::Output;

/// How often the order to end is looked for, if nobody knocks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long output is awaited once nothing of the run lives any more: only a process that was
/// handed the pipe by other means can still hold it.
const DRAIN: Duration = Duration::from_secs(1);

/// Why a shim gave up.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// A file of the directory.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file can't be what the daemon wrote.
    #[error("{path} is not readable: {source}")]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Executes the run whose directory is `dir`, unless another shim does or did. Returns when the run
/// is over. What goes wrong is written to standard error.
#[must_use]
pub fn shim(dir: &Path) -> ExitCode {
    // What whoever started the server had open is not for the program, nor to be held open by us.
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ShimError::System { what: "starting the runtime", source })
        .and_then(|runtime| runtime.block_on(supervise(dir)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to if this fails.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("longshore shim: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn supervise(dir: &Path) -> Result<(), ShimError> {
    let Some(_lock) = claim(dir)? else { return Ok(()) };
    let mut orders = Orders::listen(dir)?;
    // Fails only in a process that leads a session already.
    let _ = rustix::process::setsid();
    // Whatever the program leaves behind becomes ours to end.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let run: StoredRun = files::read_json(&dir.join(rundir::SPEC))?;
    files::write_json(dir, rundir::SHIM, &files::own_identity()?)?;
    if orders.end_ordered() {
        return files::write_json(dir, rundir::EXIT, &Exit::not_started(Timestamp::now()));
    }
    let exit = execute(dir, &run, &mut orders).await?;
    // As long as this process lives the run is not lost: it waits for a full disk to be mended.
    while let Err(error) = files::write_json(dir, rundir::EXIT, &exit) {
        if !dir.join(rundir::SPEC).exists() {
            return Err(error);
        }
        sleep(LOOK_EVERY).await;
    }
    // Nobody reads it any more; what stays is removed with the run.
    let _ = std::fs::remove_dir_all(dir.join(rundir::WORK));
    Ok(())
}

/// Takes the run, for as long as the file stays open. `None`: it is another's, or has been run.
fn claim(dir: &Path) -> Result<Option<File>, ShimError> {
    let path = dir.join(rundir::LOCK);
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| ShimError::File { path: path.clone(), source })?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
        Err(std::fs::TryLockError::Error(source)) => return Err(ShimError::File { path, source }),
    }
    let over = [rundir::STARTED, rundir::EXIT].iter().any(|name| dir.join(name).exists());
    Ok((!over).then_some(lock))
}

/// The order to end, and what keeps this process from ending by accident.
struct Orders {
    end: PathBuf,
    knock: Signal,
    _deaf: Vec<Signal>,
}

impl Orders {
    /// From here on, signals that are meant for the daemon or its terminal end nothing, and SIGUSR1
    /// means: look now.
    fn listen(dir: &Path) -> Result<Self, ShimError> {
        let failed = |source| ShimError::System { what: "listening for signals", source };
        let deaf = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
        Ok(Self {
            end: dir.join(rundir::END),
            knock: signal(SignalKind::user_defined1()).map_err(failed)?,
            _deaf: deaf.into_iter().map(signal).collect::<Result<_, _>>().map_err(failed)?,
        })
    }

    fn end_ordered(&self) -> bool {
        self.end.exists()
    }

    /// Returns once the order to end is there.
    async fn ended(&mut self) {
        while !self.end_ordered() {
            // Either way it is looked for again.
            let _ = timeout(LOOK_EVERY, self.knock.recv()).await;
        }
    }
}

async fn execute(dir: &Path, run: &StoredRun, orders: &mut Orders) -> Result<Exit, ShimError> {
    let started_at = Timestamp::now();
    let fault = run.execution.fault.as_ref();
    if let Some(fault) = fault.filter(|fault| fault.certain) {
        return Ok(start_error(started_at, fault.message.clone(), None));
    }
    files::write_json(dir, rundir::STARTED, &Started { time: started_at })?;
    let (mut child, mut output) = match child::start(dir, &run.execution) {
        Ok(started) => started,
        Err(error) => return Ok(start_error(started_at, why_not(&run.execution, &error.to_string()), None)),
    };
    // By this the daemon ends the program should this process be killed; no reason to end it now.
    if let Some(identity) = child.identity() {
        let _ = files::write_json(dir, rundir::CHILD, &identity);
    }
    let (ended, deadline_exceeded) = follow(&mut child, &mut output, orders, run).await?;
    let finished_at = Timestamp::now();
    child::end_leftovers().await;
    let drained = timeout(DRAIN, output.run()).await.is_ok();
    let end = output.finish();
    let (exit_code, signal) = ended.code_and_signal();
    // What stands between us and the program (`setpriv`, `env`) ends so if it is not there.
    let blamed = fault.is_some() && matches!(exit_code, 126 | 127);
    if blamed || matches!(ended, Ended::NotExecuted) {
        return Ok(start_error(started_at, why_not(&run.execution, end.error_head.trim()), Some(&end)));
    }
    let reason = match exit_code {
        _ if deadline_exceeded => ExitReason::DeadlineExceeded,
        0 => ExitReason::Completed,
        _ => ExitReason::Error,
    };
    let cut = (!drained).then(|| "a process that outlived the run held its output open".to_owned());
    Ok(Exit {
        reason,
        exit_code,
        signal,
        started_at: Some(started_at),
        finished_at,
        message: files::read_result(dir),
        log_bytes: end.bytes,
        log_error: end.error.or(cut),
    })
}

/// Why the program was not started: what was found wrong with it, else what was said of the try.
fn why_not(execution: &Execution, said: &str) -> String {
    match (&execution.fault, execution.argv.first()) {
        (Some(fault), _) => fault.message.clone(),
        (None, Some(program)) => format!("the program `{}` cannot be executed: {said}", shown(program)),
        (None, None) => said.to_owned(),
    }
}

/// Exit code 128, as Kubernetes reports a container that can't be started.
fn start_error(started_at: Timestamp, message: String, output: Option<&output::End>) -> Exit {
    Exit {
        reason: ExitReason::StartError,
        exit_code: 128,
        signal: None,
        started_at: Some(started_at),
        finished_at: Timestamp::now(),
        message: message.into_bytes(),
        log_bytes: output.map_or(0, |end| end.bytes),
        log_error: output.and_then(|end| end.error.clone()),
    }
}

/// Passes output on until the program has ended; ends it when its time is up or when told to:
/// SIGTERM, then SIGKILL after the grace. Tells how it ended, and whether its time was up before.
async fn follow(
    child: &mut Child,
    output: &mut Output,
    orders: &mut Orders,
    run: &StoredRun,
) -> Result<(Ended, bool), ShimError> {
    let execution = &run.execution;
    let deadline = Instant::now() + execution.run_timeout;
    let (mut ending, mut deadline_exceeded, mut output_ended) = (false, false, false);
    let mut kill_at = None;
    loop {
        tokio::select! {
            ended = child.wait() => {
                let ended = ended.map_err(|source| ShimError::System { what: "waiting for the program", source })?;
                return Ok((ended, deadline_exceeded));
            }
            () = output.run(), if !output_ended => output_ended = true,
            () = sleep_until(deadline), if !ending => (ending, deadline_exceeded) = (true, true),
            () = orders.ended(), if !ending => ending = true,
            () = sleep_until(kill_at.unwrap_or(deadline)), if kill_at.is_some() => {
                child.kill();
                // Again and again: a fork may have escaped the first.
                kill_at = Some(Instant::now() + LOOK_EVERY);
            }
        }
        if ending && kill_at.is_none() {
            child.terminate();
            kill_at = Some(Instant::now() + execution.termination_grace);
        }
    }
}
