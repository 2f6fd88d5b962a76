//! `longshore shim DIR`: starts the program of one run of the local backend, stamps its output,
//! watches its clock, and writes down how it ended. Detached from the daemon, which only reads the
//! directory. Knows the domain only.
//!
//! Whatever kills it, no program is started twice: it holds a lock from before the start, and what
//! finds the marker `started` never starts.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::sys::Sys;
use longshore_domain::name::shown;
use longshore_domain::run::rundir::{self, Execution, Exit, ExitReason, PresentAttempt, Started, StoredRun};

mod child;
pub mod enter;
mod error;
mod files;
mod inherited;
mod output;

use child::{Ended, ProgramProcess, StartError};
pub use error::ShimError;
use error::complain;
use files::{Dir, ResultFile};
use output::ProgramOutput;

/// How often what failed is tried again, and the program killed again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the order to end is looked for, if nobody signals: its sender signals until it is obeyed.
const LISTEN_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether the sandbox has executed its program.
const GLANCE_EVERY: Duration = Duration::from_millis(5);
/// How often the result file is measured at the least: each time that it has not changed the pause is doubled, from
/// [`LOOK_EVERY`] on.
const MEASURE_EVERY: Duration = Duration::from_secs(16);
/// How often a result is tried to be read.
const RESULT_TRIES: u32 = 10;
/// How long output is awaited once nothing of the run lives any more: only a process that was
/// handed the pipe by other means can still hold it.
const DRAIN: Duration = Duration::from_secs(1);

/// Executes the run whose directory is `dir`, unless another shim does or did. Returns when the run
/// is over. What goes wrong is written to standard error.
#[must_use]
pub fn shim(dir: &Path) -> ExitCode {
    shim_with(dir, Sys::default())
}

/// The same with system calls that may be made to fail.
fn shim_with(dir: &Path, sys: Sys) -> ExitCode {
    // What the process that started the server had open is not for the program, nor to be held open
    // by us.
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
    inherited::reset(&sys);
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ShimError::System { what: "starting the runtime", source })
        .and_then(|runtime| runtime.block_on(supervise(&Dir::new(dir, sys))));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn supervise(dir: &Dir) -> Result<(), ShimError> {
    let Some(_lock) = claim(dir)? else { return Ok(()) };
    let mut orders = Orders::listen(dir)?;
    // Fails only in a process that leads a session already.
    let _ = rustix::process::setsid();
    // Whatever the program leaves behind becomes ours to end.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    // What fails up to here has started nothing: the daemon begins another shim.
    let mut run: StoredRun = dir.read_json(rundir::SPEC)?;
    if let Some(PresentAttempt { number, .. }) = dir.read_json_if_there(rundir::ATTEMPT)? {
        let attempt = run.execution.env.iter_mut().filter(|(name, _)| name == "LONGSHORE_ATTEMPT");
        attempt.for_each(|(_, value)| *value = number.to_string());
    }
    dir.write_json(rundir::SHIM, &dir.own_identity()?)?;
    if looked(dir, rundir::END)? {
        return dir.write_json(rundir::EXIT, &Exit::not_started(Timestamp::now()));
    }
    let exit = execute(dir, &run, &mut orders).await?;
    // As long as this process lives the run is not lost: it waits for a full disk to be cleared.
    while let Err(error) = dir.write_json(rundir::EXIT, &exit) {
        if dir.is_gone() {
            return Err(error);
        }
        sleep(LOOK_EVERY).await;
    }
    // Nobody reads it any more; what stays is removed with the run.
    let _ = std::fs::remove_dir_all(dir.join(rundir::WORK));
    Ok(())
}

/// Takes the run, for as long as the file stays open. `None`: it is another's, or has been run.
fn claim(dir: &Dir) -> Result<Option<File>, ShimError> {
    let Some(lock) = dir.lock()? else { return Ok(None) };
    let over = looked(dir, rundir::STARTED)? || looked(dir, rundir::EXIT)?;
    Ok((!over).then_some(lock))
}

/// Whether there is a file of this name; an error if that can't be known.
fn looked(dir: &Dir, name: &str) -> Result<bool, ShimError> {
    match dir.look(name).known() {
        Ok(there) => Ok(there.is_some()),
        Err(unknown) => Err(ShimError::File { path: dir.join(name), source: unknown.into_error() }),
    }
}

/// The order to end, and what keeps this process from ending by accident.
struct Orders {
    dir: Dir,
    wake_up: Signal,
    _deaf: Vec<Signal>,
    _default: Vec<Signal>,
}

impl Orders {
    /// From here on, signals that are meant for the daemon or its terminal end nothing, and SIGUSR1
    /// means: look now.
    fn listen(dir: &Dir) -> Result<Self, ShimError> {
        let failed = |source| ShimError::System { what: "listening for signals", source };
        let deaf = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
        Ok(Self {
            dir: dir.clone(),
            wake_up: signal(SignalKind::user_defined1()).map_err(failed)?,
            _deaf: deaf.into_iter().map(signal).collect::<Result<_, _>>().map_err(failed)?,
            _default: inherited::heed_ignored_signals(),
        })
    }

    /// Returns once the order to end is there. As long as that can't be looked at it is not.
    async fn ended(&mut self) {
        while !self.dir.look(rundir::END).is_there() {
            // Either way it is looked for again.
            let _ = timeout(LISTEN_EVERY, self.wake_up.recv()).await;
        }
    }

    /// Whether the order comes before something is to be tried again.
    async fn ended_meanwhile(&mut self) -> bool {
        timeout(LOOK_EVERY, self.ended()).await.is_ok()
    }
}

async fn execute(dir: &Dir, run: &StoredRun, orders: &mut Orders) -> Result<Exit, ShimError> {
    let started_at = Timestamp::now();
    let fault = run.execution.fault.as_ref();
    if let Some(fault) = fault.filter(|fault| fault.certain) {
        return Ok(start_error(started_at, fault.message.clone(), None));
    }
    // As soon as the mark may be there no other shim starts the program, so this one goes on trying.
    while let Err(error) = dir.write_json(rundir::STARTED, &Started { time: started_at }) {
        complain(&error);
        if dir.is_gone() {
            return Err(error);
        }
        if orders.ended_meanwhile().await {
            return Ok(Exit::not_started(Timestamp::now()));
        }
    }
    let (mut child, mut output, result) = loop {
        // Before the program can do anything to it.
        let started = dir.open_result().map_err(StartError::Trouble).and_then(|result| {
            let (child, output) = child::start(dir, &run.execution)?;
            Ok((child, output, result))
        });
        match started {
            Ok(started) => break started,
            Err(StartError::Refused(error)) => {
                return Ok(start_error(started_at, why_not(&run.execution, &error.to_string()), None));
            }
            // Nothing was executed, and what was missing may come.
            Err(StartError::Trouble(error)) => complain(&error),
        }
        if dir.is_gone() {
            return Err(ShimError::System {
                what: "starting the program",
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
        if orders.ended_meanwhile().await {
            return Ok(Exit::not_started(Timestamp::now()));
        }
    };
    let (ended, deadline_exceeded, executed) = follow(dir, &mut child, &mut output, &result, orders, run).await?;
    let finished_at = Timestamp::now();
    child::end_leftovers(dir.sys()).await;
    let drained = timeout(DRAIN, output.run()).await.is_ok();
    let end = output.finish();
    let (exit_code, signal) = ended.code_and_signal();
    // What stands between us and the program (`setpriv`, `env`) ends so if it is not there.
    let blamed = fault.is_some() && matches!(exit_code, 126 | 127) || matches!(ended, Ended::NotExecuted);
    if blamed && !executed {
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
        message: result_of(result).await,
        log_bytes: end.bytes,
        log_error: end.error.or(cut),
    })
}

/// The program's result. What can't be read is tried again for a while: without it the run would have
/// another outcome.
async fn result_of(file: ResultFile) -> Vec<u8> {
    let mut result = Vec::new();
    for _ in 0..RESULT_TRIES {
        match file.read() {
            Ok(read) => {
                result = read;
                break;
            }
            Err(unknown) => complain(&unknown),
        }
        sleep(LOOK_EVERY).await;
    }
    file.close();
    result
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
fn start_error(started_at: Timestamp, message: String, output: Option<&output::LogEnd>) -> Exit {
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

/// Passes output on until the program has ended; ends it when its time is up or when asked to: SIGTERM,
/// then SIGKILL after the grace. Answers how it ended, whether its time was up before, and whether it was
/// reported to be executed.
async fn follow(
    dir: &Dir,
    child: &mut ProgramProcess,
    output: &mut ProgramOutput,
    result: &ResultFile,
    orders: &mut Orders,
    run: &StoredRun,
) -> Result<(Ended, bool, bool), ShimError> {
    let execution = &run.execution;
    let deadline = Instant::now() + execution.run_timeout;
    let (mut ending, mut deadline_exceeded, mut output_ended) = (false, false, false);
    let mut kill_at = None;
    // By its name the daemon ends the program should this process be killed, and knows that it runs.
    let begun = Instant::now();
    let is_executed = |child: &mut ProgramProcess| child.is_executed(execution, begun.elapsed());
    let mut executed = is_executed(child);
    let mut named = name(dir, child, executed);
    let (mut asked, mut again, mut glance) = (true, begun + LOOK_EVERY, begun + GLANCE_EVERY);
    let (mut pause, mut size) = (LOOK_EVERY, Some(0));
    let mut measure = begun + pause;
    loop {
        tokio::select! {
            ended = child.wait() => {
                let ended = ended.map_err(|source| ShimError::System { what: "waiting for the program", source })?;
                return Ok((ended, deadline_exceeded, named == Some(true)));
            }
            () = output.run(), if !output_ended => output_ended = true,
            () = sleep_until(deadline), if !ending => (ending, deadline_exceeded) = (true, true),
            () = orders.ended(), if !ending => ending = true,
            () = sleep_until(kill_at.unwrap_or(deadline)), if kill_at.is_some() => {
                child.kill();
                // Again and again: a fork may have escaped the first.
                kill_at = Some(Instant::now() + LOOK_EVERY);
            }
            () = sleep_until(glance), if !executed => {
                glance = Instant::now() + GLANCE_EVERY;
                executed = is_executed(child);
                if executed {
                    named = name(dir, child, true).or(named);
                }
            }
            () = sleep_until(measure) => {
                let before = std::mem::replace(&mut size, result.cut());
                // One that was cut grows at once.
                let has_changed = size != before || size > Some(rundir::RESULT_FILE_MAX_BYTES);
                pause = measured(pause, has_changed);
                measure = Instant::now() + pause;
            }
            () = sleep_until(again), if named != Some(executed) || !asked => {
                again = Instant::now() + LOOK_EVERY;
                if named != Some(executed) {
                    named = name(dir, child, executed).or(named);
                }
                asked = asked || child.terminate();
            }
        }
        if ending && kill_at.is_none() {
            asked = child.terminate();
            kill_at = Some(Instant::now() + execution.termination_grace);
        }
    }
}

/// How long to wait until the result file is measured once more.
fn measured(pause: Duration, has_changed: bool) -> Duration {
    if has_changed { LOOK_EVERY } else { MEASURE_EVERY.min(pause * 2) }
}

/// Writes down who the program is, and whether it is executed. Answers what stands there now; `None`: it
/// is to be tried again.
fn name(dir: &Dir, child: &ProgramProcess, executed: bool) -> Option<bool> {
    let written = match child.identity() {
        Ok(Some(process)) => dir.write_json(rundir::CHILD, &rundir::Child { process, executed }),
        // It is gone, and with it the need.
        Ok(None) => Ok(()),
        Err(source) => Err(ShimError::System { what: "examining the program", source }),
    };
    written.map_err(|error| complain(&error)).ok().map(|()| executed)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use rustix::io::Errno;

    use super::*;
    use crate::sys::fault::Faults;

    #[test]
    fn a_result_file_that_does_not_change_is_measured_less_and_less() {
        for (pause, has_changed, next) in
            [(1, false, 2), (2, false, 4), (8, false, 16), (16, false, 16), (1, true, 1), (16, true, 1)]
        {
            let next = Duration::from_secs(next);
            assert_eq!(measured(Duration::from_secs(pause), has_changed), next, "{pause} s, changed: {has_changed}");
        }
    }

    /// Not a test by itself: those of the local backend's failing calls execute it as their shim. What fails
    /// is the number of a call and an error; how many calls there were is written beside the directory.
    #[test]
    #[ignore = "it is the shim of other tests"]
    fn as_shim() {
        let Some(dir) = std::env::var_os("LONGSHORE_TEST_SHIM").map(PathBuf::from) else { return };
        let faults = Arc::new(Faults::default());
        if let Ok(plan) = std::env::var("LONGSHORE_TEST_FAULT") {
            let (nth, errno) = plan.trim().split_once(' ').unwrap();
            let nth = nth.parse().unwrap();
            faults.arm(nth..=nth, Errno::from_raw_os_error(errno.parse().unwrap()));
        }
        let _ = shim_with(&dir, Sys::with_faults(Arc::clone(&faults)));
        // One that finds the run taken, or over, makes a few only, and must not speak for the one that has it.
        if faults.calls() > 10 {
            std::fs::write(dir.with_extension("calls"), faults.calls().to_string()).unwrap();
        }
    }
}
