//! Runs that are chosen by their labels: waited for until all are over, and asked about before something is done to
//! them.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use super::failures::Failures;
use super::find::ask;
use super::status::outcome_line;
use crate::client::connect::Connection;
use crate::exit;
use crate::terminal::console::{Console, fit};
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::names;
use crate::terminal::text::clean;
use longshore_api::v1 as pb;
use longshore_api::v1::watch_runs_response::Event;
use longshore_client::{FOLLOW_PATIENCE, RetryBackoff};

/// How long it may take to learn what is there, however short the time is.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// Runs of one namespace whose labels match.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) parent: String,
    pub(crate) selector: String,
}

impl Selection {
    pub(crate) fn filter(&self) -> pb::RunFilter {
        pb::RunFilter { label_selector: self.selector.clone(), ..Default::default() }
    }

    pub(crate) fn nothing(&self, what: &str) -> CliError {
        CliError::usage(format!("no {what} in {} matches `{}`", clean(&self.parent), clean(&self.selector)))
    }
}

/// What a wait for many runs came to.
#[derive(Debug, Default)]
pub(crate) struct WaitedFor {
    /// Exit codes of those that are over.
    pub(crate) codes: Vec<u8>,
    /// How many are not over yet.
    pub(crate) live: usize,
}

/// How many runs are waited for.
#[derive(Debug)]
pub(crate) struct WaitForAll<'a> {
    pub(crate) client: &'a Connection,
    pub(crate) selection: &'a Selection,
    pub(crate) console: &'a Console,
    /// The runs that are meant, if that is known; else those that match now.
    pub(crate) names: Option<BTreeSet<String>>,
    /// When to stop waiting. What is there is asked for in any case.
    pub(crate) deadline: Option<Instant>,
    /// Whether those that succeed are not reported.
    pub(crate) quiet: bool,
}

/// What is known of them.
#[derive(Debug, Default)]
struct SelectionProgress {
    live: BTreeSet<String>,
    over: BTreeSet<String>,
    codes: Vec<u8>,
}

impl WaitForAll<'_> {
    /// Waits until all are over, across restarts of the server; each is given to `over` as it ends.
    ///
    /// # Errors
    /// Nothing matches; the server cannot be reached for too long; what `over` fails with.
    pub(crate) async fn wait(
        self,
        mut over: impl AsyncFnMut(&pb::Run) -> Result<(), CliError>,
    ) -> Result<WaitedFor, CliError> {
        let waited = self.until_over(&mut over).await;
        self.console.set_status(None);
        waited
    }

    async fn until_over(
        &self,
        over: &mut impl AsyncFnMut(&pb::Run) -> Result<(), CliError>,
    ) -> Result<WaitedFor, CliError> {
        let mut progress =
            SelectionProgress { live: self.names.clone().unwrap_or_default(), ..SelectionProgress::default() };
        let mut are_known = self.names.is_some();
        let mut backoff = RetryBackoff::new(FOLLOW_PATIENCE);
        loop {
            let request = pb::WatchRunsRequest {
                parent: self.selection.parent.clone(),
                filter: Some(self.selection.filter()),
                view: pb::RunView::Basic.into(),
                ..Default::default()
            };
            let mut failure = None;
            match self.client.watch_runs(request).await {
                Err(status) => failure = Some(status),
                Ok(mut stream) => {
                    let (opened, mut sent) = (Instant::now(), BTreeSet::new());
                    loop {
                        // However short the time is, what is there is asked for.
                        let first = opened + FIRST_ANSWER;
                        let limit = self.deadline.map(|limit| if are_known { limit } else { limit.max(first) });
                        let answer = match limit {
                            Some(limit) => match timeout_at(limit, stream.message()).await {
                                Ok(answer) => answer,
                                Err(_elapsed) if are_known => return Ok(progress.end()),
                                Err(_elapsed) => return Err(CliError::BadAnswer("it did not come in time".to_owned())),
                            },
                            None => stream.message().await,
                        };
                        match answer.map(|answer| answer.and_then(|answer| answer.event)) {
                            Ok(Some(Event::Run(run))) => {
                                sent.insert(run.name.clone());
                                if !are_known || progress.live.contains(&run.name) {
                                    self.seen(&mut progress, &run, over).await?;
                                }
                            }
                            Ok(Some(Event::Removed(removed))) => self.gone(&mut progress, &removed.name),
                            Ok(Some(Event::Synced(_))) => {
                                backoff.reset();
                                are_known = true;
                                if progress.live.is_empty() && progress.over.is_empty() {
                                    return Err(self.selection.nothing("run"));
                                }
                                self.look_up(&mut progress, &sent, over).await?;
                            }
                            Ok(Some(Event::Heartbeat(_))) => {}
                            Ok(Some(Event::Reconnect(_)) | None) => break,
                            Err(status) => {
                                failure = Some(status);
                                break;
                            }
                        }
                        if are_known && progress.live.is_empty() {
                            return Ok(progress.end());
                        }
                        self.show(&progress);
                    }
                }
            }
            let delay = match failure {
                Some(status) => self.client.again(status, &mut backoff)?,
                None => backoff
                    .after_failure(Instant::now(), None)
                    .ok_or_else(|| CliError::BadAnswer("the watch ends again and again".to_owned()))?,
            };
            self.client.outage(&backoff).iter().for_each(|note| self.console.note(note));
            sleep(delay).await;
        }
    }

    /// What became of runs that were not sent although all that match were: another server may know of them a little
    /// later.
    async fn look_up(
        &self,
        progress: &mut SelectionProgress,
        sent: &BTreeSet<String>,
        over: &mut impl AsyncFnMut(&pb::Run) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let missing: Vec<_> = progress.live.difference(sent).cloned().collect();
        for name in missing {
            match self.client.get_in(&name, pb::RunView::Basic).await {
                Ok(run) => self.seen(progress, &run, over).await?,
                Err(error) if error.is_run_not_found() => self.gone(progress, &name),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn seen(
        &self,
        progress: &mut SelectionProgress,
        run: &pb::Run,
        over: &mut impl AsyncFnMut(&pb::Run) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        if !run.state().is_terminal() {
            progress.live.insert(run.name.clone());
            return Ok(());
        }
        progress.live.remove(&run.name);
        if !progress.over.insert(run.name.clone()) {
            return Ok(());
        }
        let code = exit::code_of(run);
        progress.codes.push(code);
        if !self.quiet || code != 0 {
            self.console.note(&outcome_line(run, self.console));
        }
        over(run).await
    }

    fn gone(&self, progress: &mut SelectionProgress, name: &str) {
        if progress.live.remove(name) {
            progress.over.insert(name.to_owned());
            progress.codes.push(exit::LONGSHORE);
            self.console
                .error(&format!("run {} was deleted, so that it is not known how it ended", clean(names::typed(name))));
        }
    }

    fn show(&self, progress: &SelectionProgress) {
        if self.console.has_status_line() {
            self.console.set_status(Some(fit(&progress.line(), self.console.err_width())));
        }
    }
}

impl SelectionProgress {
    fn end(self) -> WaitedFor {
        WaitedFor { codes: self.codes, live: self.live.len() }
    }

    /// `12 of 20 runs are over, 1 did not succeed`
    fn line(&self) -> String {
        let all = self.live.len() + self.over.len();
        let failed = self.codes.iter().filter(|code| **code != 0).count();
        let mut line = format!("{} of {all} runs are over", self.over.len());
        if failed > 0 {
            line.push_str(&format!(", {failed} did not succeed"));
        }
        line
    }
}

/// Asks before `verb` is done to `count` runs, or to more, where somebody can be asked.
///
/// # Errors
/// The answer was no.
pub(crate) async fn confirm(verb: &str, count: usize, more: bool, console: &Console) -> Result<(), CliError> {
    let question = match (count, more) {
        (_, true) => format!("{verb} more than {count} runs?"),
        (1, false) => format!("{verb} 1 run?"),
        (_, false) => format!("{verb} {count} runs?"),
    };
    if console.can_ask() && !ask(&question, console).await? {
        return Err(CliError::usage("nothing was changed"));
    }
    Ok(())
}

/// Has `call` done to the runs that it matches, until there are no more or none is done any more; says of each that it
/// is `done`. Answers those.
pub(crate) async fn do_to_all(
    mut call: impl AsyncFnMut() -> Result<(Vec<pb::SelectedRun>, bool), CliError>,
    done: &str,
    failures: &mut Failures,
    console: &Console,
) -> Result<Vec<pb::SelectedRun>, CliError> {
    let mut all = Vec::new();
    loop {
        let (runs, more) = call().await?;
        let before = all.len();
        for run in runs {
            match &run.error {
                Some(error) => failures.add(item_error(error), console),
                None => {
                    console.note(&format!("run {}: {done}", clean(names::typed(&run.name))));
                    all.push(run);
                }
            }
        }
        if !more || all.len() == before {
            return Ok(all);
        }
    }
}

/// Prints the whole of a run that was sent without some of it, as one line of JSON.
pub(crate) async fn print_line(client: &Connection, name: &str, console: &Console) -> Result<(), CliError> {
    let run = client.get(name).await?;
    console.out(to_json(&run, "Run", Layout::Line)?.as_bytes()).await
}

/// The error of one of many runs, as if it had been the only one.
pub(crate) fn item_error(error: &tonic_types::Status) -> CliError {
    let details = prost::Message::encode_to_vec(error).into();
    CliError::from(Status::with_details(Code::from(error.code), error.message.clone(), details))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut progress = SelectionProgress { live: names(&["a", "b"]), over: names(&["c"]), codes: vec![0] };
        assert_eq!(progress.line(), "1 of 3 runs are over");
        progress.codes = vec![7];
        assert_eq!(progress.line(), "1 of 3 runs are over, 1 did not succeed");
    }
}
