//! Where a run stands while one waits for it: a live line on a terminal, else a line for each change.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::client::connect::Connection;
use crate::terminal::console::{Console, Paint, fit};
use crate::terminal::names;
use crate::terminal::text::{class_name, clean, human, reason_name, span, state_name};
use longshore_api::v1 as pb;
use longshore_api::v1::watch_runs_response::Event;
use longshore_client::{RetryBackoff, is_transient};

/// The state of one run as it was last seen.
#[derive(Debug)]
pub(crate) struct Board<'a> {
    console: &'a Console,
    quiet: bool,
    seen: Mutex<SeenRun>,
}

#[derive(Debug)]
struct SeenRun {
    run: pb::Run,
    since: Instant,
    /// What was reported without a terminal: reasons may come and go for as long as an image can't be
    /// pulled.
    printed: HashSet<(i32, String)>,
}

impl<'a> Board<'a> {
    pub(crate) fn new(console: &'a Console, quiet: bool) -> Self {
        let seen = SeenRun { run: pb::Run::default(), since: Instant::now(), printed: HashSet::new() };
        Self { console, quiet, seen: Mutex::new(seen) }
    }

    /// Takes note of `run` as it is now.
    pub(crate) fn update(&self, run: &pb::Run) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.run.state().is_terminal() && !run.state().is_terminal() {
            // An older answer that came late: terminal never goes back.
            return;
        }
        if seen.run.state != run.state {
            seen.since = Instant::now();
        }
        seen.run = pb::Run {
            name: run.name.clone(),
            state: run.state,
            waiting_reason: run.waiting_reason.clone(),
            message: run.message.clone(),
            ..Default::default()
        };
        let is_news = seen.printed.insert((run.state, run.waiting_reason.clone()));
        drop(seen);
        if self.quiet || run.state().is_terminal() {
            return;
        }
        if self.console.has_status_line() {
            self.draw();
        } else if is_news {
            self.console.note(&change_line(run));
        }
    }

    /// Reports something else.
    pub(crate) fn note(&self, line: &str) {
        self.console.note(line);
    }

    /// Draws the status line anew, so that its time goes on.
    fn draw(&self) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.run.state().is_terminal() {
            return;
        }
        let line = status_line(&seen.run, seen.since.elapsed());
        self.console.set_status(Some(fit(&line, self.console.err_width())));
    }

    /// Whether the run was seen to be over.
    pub(crate) fn is_over(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).run.state().is_terminal()
    }

    /// Takes the status line away.
    pub(crate) fn clear(&self) {
        self.console.set_status(None);
    }

    /// Keeps the board up to date for as long as it is polled. It never decides anything, so its errors don't matter.
    pub(crate) async fn follow(&self, client: &Connection, run: &pb::Run) {
        if self.quiet {
            return std::future::pending().await;
        }
        tokio::join!(self.watch(client, run), self.tick());
    }

    async fn tick(&self) {
        if !self.console.has_status_line() {
            return;
        }
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            seconds.tick().await;
            self.draw();
        }
    }

    async fn watch(&self, client: &Connection, run: &pb::Run) {
        let (namespace, _) = names::split(&run.name);
        let request = pb::WatchRunsRequest {
            parent: names::parent(namespace),
            name: run.name.clone(),
            view: pb::RunView::Basic.into(),
            ..Default::default()
        };
        let mut backoff = RetryBackoff::new(Duration::MAX);
        loop {
            match client.watch_runs(request.clone()).await {
                Ok(mut stream) => {
                    while let Ok(Some(answer)) = stream.message().await {
                        match answer.event {
                            Some(Event::Run(seen)) if seen.name == run.name => self.update(&seen),
                            Some(Event::Synced(_)) => backoff.reset(),
                            _ => {}
                        }
                    }
                }
                Err(status) if is_transient(&status) => {}
                Err(_) => return,
            }
            let Some(delay) = backoff.after_failure(Instant::now(), None) else { return };
            sleep(delay).await;
        }
    }
}

/// `STARTING 12 s  ContainerCreating: pulling image`
fn status_line(run: &pb::Run, elapsed: Duration) -> String {
    let mut line = format!("{} {}", state_name(run.state), human(elapsed));
    let why = why(run);
    if !why.is_empty() {
        line.push_str("  ");
        line.push_str(&why);
    }
    line
}

/// `run a: STARTING, ContainerCreating: pulling image`
fn change_line(run: &pb::Run) -> String {
    let mut line = format!("run {}: {}", clean(names::typed(&run.name)), state_name(run.state));
    let why = why(run);
    if !why.is_empty() {
        line.push_str(", ");
        line.push_str(&why);
    }
    line
}

/// Why it is where it is, in the words of the platform.
pub(crate) fn why(run: &pb::Run) -> String {
    match (clean(&run.waiting_reason), clean(&run.message)) {
        (reason, message) if reason.is_empty() || message.contains(&reason) => message,
        (reason, message) if message.is_empty() => reason,
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// How a terminal run ended, in a line: `run a: FAILED OOM_KILLED (USER): …; exit code 137 in 1.2 s`.
pub(crate) fn outcome_line(run: &pb::Run, console: &Console) -> String {
    format!("run {}: {}{}", clean(names::typed(&run.name)), state_word(run, console), outcome_details(run))
}

/// The state in its colour.
fn state_word(run: &pb::Run, console: &Console) -> String {
    let color = match run.state() {
        pb::RunState::Succeeded => Paint::Green,
        pb::RunState::Failed => Paint::Red,
        _ => Paint::Yellow,
    };
    console.paint_err(&state_name(run.state), color)
}

/// What comes behind the state of a terminal run: ` OOM_KILLED (USER): …; exit code 137 in 1.2 s`.
pub(crate) fn outcome_details(run: &pb::Run) -> String {
    let message = run.failure.as_ref().map_or("", |failure| failure.message.as_str());
    details(run, message)
}

/// The same without its sentence, for where that is reported beside it.
pub(crate) fn outcome_in_short(run: &pb::Run, console: &Console) -> String {
    format!("run {}: {}{}", clean(names::typed(&run.name)), state_word(run, console), details(run, ""))
}

fn details(run: &pb::Run, message: &str) -> String {
    let mut line = String::new();
    if let Some(failure) = &run.failure {
        line.push_str(&format!(" {} ({})", reason_name(failure.reason), class_name(failure.failure_class)));
        if !message.is_empty() {
            line.push_str(&format!(": {}", clean(message)));
        }
    }
    if let Some(stop) = run.stop.as_ref().filter(|_| run.state() == pb::RunState::Cancelled) {
        if !stop.reason.is_empty() {
            line.push_str(&format!(": {}", clean(&stop.reason)));
        }
        if !stop.actor.is_empty() {
            line.push_str(&format!(" (by {})", clean(&stop.actor)));
        }
    }
    if let Some(code) = run.exit_code.filter(|code| *code != 0 && !line.contains(&format!("exit code {code}"))) {
        line.push_str(&format!("; exit code {code}"));
    }
    let spent = run.timeline.as_ref().and_then(|timeline| span(timeline.create_time, timeline.end_time));
    if let Some(spent) = spent {
        line.push_str(&format!(" in {}", human(spent)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(state: pb::RunState) -> pb::Run {
        pb::Run { name: "namespaces/default/runs/a".into(), state: state.into(), ..Default::default() }
    }

    fn at(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos })
    }

    #[test]
    fn status_lines() {
        let mut starting = run(pb::RunState::Starting);
        assert_eq!(status_line(&starting, Duration::from_secs(12)), "STARTING 12 s");
        starting.waiting_reason = "ContainerCreating".into();
        assert_eq!(status_line(&starting, Duration::from_secs(12)), "STARTING 12 s  ContainerCreating");
        starting.message = "pulling\nimage\x1b[2J".into();
        assert_eq!(
            status_line(&starting, Duration::from_millis(1200)),
            "STARTING 1.2 s  ContainerCreating: pulling image\\u{1b}[2J"
        );
        starting.message = "ContainerCreating for 5 s".into();
        assert_eq!(change_line(&starting), "run a: STARTING, ContainerCreating for 5 s");
    }

    #[test]
    fn outcomes() {
        let mut done = run(pb::RunState::Succeeded);
        done.timeline =
            Some(pb::Timeline { create_time: at(10, 0), end_time: at(11, 200_000_000), ..Default::default() });
        done.exit_code = Some(0);
        assert_eq!(outcome_details(&done), " in 1.2 s");
        done.state = pb::RunState::Failed.into();
        done.exit_code = Some(137);
        done.failure = Some(pb::Failure {
            failure_class: pb::FailureClass::User.into(),
            reason: pb::FailureReason::OomKilled.into(),
            message: "used more than its limit of 64Mi".into(),
            exit_code: Some(137),
            ..Default::default()
        });
        assert_eq!(
            outcome_details(&done),
            " OOM_KILLED (USER): used more than its limit of 64Mi; exit code 137 in 1.2 s"
        );
        let mut cancelled = run(pb::RunState::Cancelled);
        let stop = pb::Stop { reason: "no longer needed".into(), actor: "ana".into(), ..Default::default() };
        cancelled.stop = Some(stop);
        assert_eq!(outcome_details(&cancelled), ": no longer needed (by ana)");
    }
}
