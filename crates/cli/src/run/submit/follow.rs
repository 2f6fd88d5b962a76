//! Follows a run to its end: output, state and signals at the same time.
//!
//! A stream's end is never a run's end: only WaitRun's terminal state is.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::client::connect::Connection;
use crate::run::logs::{Printer, Show, pump};
use crate::run::status::Board;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::interrupt::{Interrupt, Interrupts};
use crate::terminal::names;
use crate::terminal::text::clean;
use longshore_api::v1 as pb;
use longshore_client::{FOLLOW_PATIENCE, RetryBackoff};

/// How long a cancel may take to be answered once somebody wants to leave: who presses Ctrl-C twice at once means it to
/// be sent all the same.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);
/// How long output may fail to come once the run is over, before it is left behind.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// How a run is followed.
#[derive(Debug)]
pub(crate) struct Following {
    /// What is shown of its output; `None` for nothing.
    pub(crate) show: Option<Show>,
    /// Whether its state is not shown.
    pub(crate) quiet: bool,
    /// The interrupt that there was already: the run is cancelled at once.
    pub(crate) interrupted: Option<Interrupt>,
    /// Whether the server outlives this command, and the run with it.
    pub(crate) server_stays: bool,
}

/// How following ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The run is terminal; all of its output was shown.
    Over(Box<pb::Run>),
    /// A second signal came: leave with this exit code.
    Left(u8),
}

/// Follows `run` until it is over, or until a second interrupt; the first one cancels it.
pub(crate) async fn follow(
    client: &Connection,
    run: &pb::Run,
    how: &Following,
    interrupts: &mut Interrupts,
    console: &Console,
) -> Result<Followed, CliError> {
    let board = Board::new(console, how.quiet);
    board.update(run);
    let stop = Cell::new(StopProgress::NotAsked);
    let followed = tokio::select! {
        run = Box::pin(to_the_end(client, run, how.show, &board, console)) => run.map(|run| Followed::Over(Box::new(run))),
        code = obey(client, run, how, &stop, interrupts, console) => Ok(Followed::Left(code)),
        () = Box::pin(board.follow(client, run)) => pending().await,
    };
    board.clear();
    if matches!(followed, Ok(Followed::Left(_)) | Err(_)) && !board.is_over() && how.server_stays {
        console.note(&what_becomes_of(&run.name, stop.get()));
    }
    followed
}

/// Waits until the run is terminal and its output complete.
async fn to_the_end(
    client: &Connection,
    run: &pb::Run,
    show: Option<Show>,
    board: &Board<'_>,
    console: &Console,
) -> Result<pb::Run, CliError> {
    let Some(show) = show else { return wait_until_over(client, &run.name, board).await };
    let request = pb::StreamLogsRequest {
        name: run.name.clone(),
        attempt_selector: Some(pb::stream_logs_request::AttemptSelector::AllAttempts(true)),
        follow: true,
        format: pb::LogFormat::Bytes.into(),
        skip_result_lines: true,
        ..Default::default()
    };
    let mut printer = Printer::new(console, show);
    let progress = printer.progress();
    let mut logs = pin!(pump(client, request, &mut printer));
    let mut over = pin!(wait_until_over(client, &run.name, board));
    let mut shown = false;
    let run = loop {
        tokio::select! {
            result = &mut logs, if !shown => {
                shown = true;
                report_log_end(result, console)?;
            }
            run = &mut over => break run?,
        }
    };
    board.clear();
    while !shown {
        tokio::select! {
            result = &mut logs => {
                shown = true;
                report_log_end(result, console)?;
            }
            () = sleep_until(stalled_at(progress.get())) => {
                if stalled_at(progress.get()) <= Instant::now() {
                    shown = true;
                    console.note("the run has ended, but its output does not; try `longshore logs`");
                }
            }
        }
    }
    Ok(run)
}

/// When to give up on output. Not while it is being printed: a reader, such as a pager, may take its time.
fn stalled_at(progress: Option<Instant>) -> Instant {
    progress.unwrap_or_else(Instant::now) + DRAIN_PATIENCE
}

/// A log problem never changes an outcome: it is reported, and that is all. A stdout that can't be written to is
/// not a log problem.
fn report_log_end(result: Result<(), CliError>, console: &Console) -> Result<(), CliError> {
    match result {
        Err(error @ CliError::Output(_)) => Err(error),
        Err(error) => {
            let why = error.explain().unwrap_or_default();
            console.note(&format!("the output cannot be followed any further: {why}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Waits until the run is terminal, across restarts of the server.
pub(crate) async fn wait_until_over(client: &Connection, name: &str, board: &Board<'_>) -> Result<pb::Run, CliError> {
    let mut backoff = RetryBackoff::new(FOLLOW_PATIENCE);
    loop {
        let asked = Instant::now();
        match client.wait_once(name, None).await {
            Ok(run) => {
                board.update(&run);
                if run.state().is_terminal() {
                    return Ok(run);
                }
                backoff.reset();
                // A server that does not wait must not be asked without a pause.
                if asked.elapsed() < Duration::from_millis(500) {
                    sleep(Duration::from_millis(500)).await;
                }
            }
            Err(status) => {
                let delay = client.again(status, &mut backoff)?;
                client.outage(&backoff).iter().for_each(|note| board.note(note));
                sleep(delay).await;
            }
        }
    }
}

/// What has come of the wish to stop a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopProgress {
    NotAsked,
    /// It was sent; the server has not answered yet.
    Sent,
    Accepted,
    Refused,
}

/// The first signal cancels the run. Returns at the second, with its exit code.
async fn obey(
    client: &Connection,
    run: &pb::Run,
    how: &Following,
    stop: &Cell<StopProgress>,
    interrupts: &mut Interrupts,
    console: &Console,
) -> u8 {
    let first = match how.interrupted {
        Some(signal) => signal,
        None => interrupts.next().await,
    };
    let name = clean(names::typed(&run.name));
    console.note(&format!("cancelling run {name}, and waiting for its end; once more to leave without waiting"));
    stop.set(StopProgress::Sent);
    let mut cancel: Pin<Box<dyn Future<Output = Result<pb::Run, CliError>> + '_>> =
        Box::pin(client.cancel(&run.name, first.reason()));
    let mut leaving: Option<(u8, Instant)> = None;
    loop {
        let patience = async {
            match leaving {
                Some((code, until)) if stop.get() == StopProgress::Sent => {
                    sleep_until(until).await;
                    code
                }
                Some((code, _)) => code,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            code = patience => return code,
            result = &mut cancel, if stop.get() == StopProgress::Sent => match result {
                Ok(_) => stop.set(StopProgress::Accepted),
                Err(error) => {
                    stop.set(StopProgress::Refused);
                    console.error(&format!("it could not be cancelled: {}", error.explain().unwrap_or_default()));
                }
            },
            signal = interrupts.next() => match leaving {
                Some((code, _)) => return code,
                None => leaving = Some((signal.exit_code(), Instant::now() + CANCEL_PATIENCE)),
            },
        }
    }
}

/// What is reported of a run that is left before its end.
fn what_becomes_of(name: &str, stop: StopProgress) -> String {
    let typed = clean(names::typed(name));
    match stop {
        StopProgress::Accepted => format!(
            "the cancel is confirmed, and the server stops run {typed} without this command: SIGTERM, and SIGKILL after its \
             grace; how it ends:\n  longshore wait {typed}\n  longshore logs -f {typed}"
        ),
        StopProgress::Sent => format!(
            "the server has not confirmed the cancel: run {typed} may continue:\n  \
             longshore logs -f {typed}\n  longshore get {typed}\n  longshore cancel {typed}"
        ),
        StopProgress::NotAsked | StopProgress::Refused => format!(
            "run {typed} continues without this command:\n  longshore logs -f {typed}\n  longshore wait {typed}\n  \
             longshore cancel {typed}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_learns_what_becomes_of_the_run() {
        let message = |stop| what_becomes_of("namespaces/default/runs/a", stop);
        assert!(message(StopProgress::Accepted).starts_with("the cancel is confirmed, and the server stops run a"));
        assert!(
            message(StopProgress::Sent).contains("has not confirmed the cancel")
                && message(StopProgress::Sent).contains("longshore cancel a")
        );
        for goes_on in [StopProgress::NotAsked, StopProgress::Refused] {
            assert!(message(goes_on).starts_with("run a continues without this command"));
        }
        assert!(
            [StopProgress::Accepted, StopProgress::Sent, StopProgress::NotAsked]
                .iter()
                .all(|stop| message(*stop).contains("longshore logs -f a"))
        );
    }
}
