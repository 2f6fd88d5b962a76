//! `longshore ls`: lists runs, and watches them.

mod rows;

use std::collections::{HashMap, HashSet};

use clap::ValueEnum;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use self::rows::Columns;
use crate::client::connect::{ConnectArgs, Connection};
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::output::OutputArgs;
use crate::terminal::table::{CELL_MAX, TableFrame, render, render_with, widths};
use crate::terminal::values;
use longshore_api::v1 as pb;
use longshore_api::v1::watch_runs_response::Event;
use longshore_client::{FOLLOW_PATIENCE, RetryBackoff};

const EXAMPLES: &str = "\
Examples:
  longshore ls --state running,pending         what is live
  longshore ls -l app=report --since 24h       one application's runs of a day
  longshore ls -A --watch                      every namespace, as it changes
  longshore ls --limit 0 -o json               everything, for a program";

/// Of how many runs that left a watch while it was cut the server is asked what became of them.
const LOOKED_UP_MAX: usize = 100;
/// The most runs that one page has.
const PAGE_MAX: u32 = 500;

/// Arguments of `longshore ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LsArgs {
    /// Only runs in these states
    #[arg(long, value_enum, value_name = "STATE", value_delimiter = ',', ignore_case = true)]
    state: Vec<StateArg>,
    /// Only runs whose labels match, in Kubernetes' notation
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    selector: String,
    /// Only runs of this runner profile
    #[arg(long, value_name = "PROFILE", default_value = "", hide_default_value = true)]
    profile: String,
    /// Only runs created since then: how long ago (24h), or when (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    since: Option<Timestamp>,
    /// Runs of all namespaces that you may see
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// At most this many, newest first; 0 for all
    #[arg(long, value_name = "N", default_value = "100", value_parser = values::count)]
    limit: u32,
    /// Keep printing what changes, until it is interrupted
    #[arg(short, long, conflicts_with = "limit")]
    watch: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateArg {
    Queued,
    Pending,
    Starting,
    Running,
    Finishing,
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
}

pub(crate) async fn ls(args: LsArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    if args.watch { watch(&client, &args, console).await } else { list(&client, &args, console).await }
}

async fn list(client: &Connection, args: &LsArgs, console: &Console) -> Result<u8, CliError> {
    let (runs, is_all) = pages(client, args).await?;
    let text = if args.output.is_json() && runs.is_empty() {
        // The canonical form leaves an empty list out, which programs that iterate trip over.
        "{\n  \"runs\": []\n}\n".to_owned()
    } else if args.output.is_json() {
        to_json(&pb::ListRunsResponse { runs, next_page_token: String::new() }, "ListRunsResponse", Layout::Pretty)?
    } else if runs.is_empty() {
        console.note("no runs");
        return Ok(0);
    } else {
        render(&args.columns().table(&runs, Timestamp::now()), TableFrame::Open, console.out_width())
    };
    console.out(text.as_bytes()).await?;
    if !is_all {
        console.note(&format!("these are the newest {}; there are more (--limit)", args.limit));
    }
    Ok(0)
}

/// Pages up to the limit, and whether that was all.
async fn pages(client: &Connection, args: &LsArgs) -> Result<(Vec<pb::Run>, bool), CliError> {
    let limit = if args.limit == 0 { usize::MAX } else { args.limit as usize };
    let mut runs = Vec::new();
    let mut page_token = String::new();
    loop {
        let wanted = u32::try_from(limit - runs.len()).unwrap_or(u32::MAX).min(PAGE_MAX);
        let request = pb::ListRunsRequest {
            parent: args.parent(),
            filter: Some(args.filter()),
            page_size: i32::try_from(wanted).unwrap_or(i32::MAX),
            page_token: page_token.clone(),
            view: pb::RunView::Basic.into(),
        };
        let answer = client.list(request).await?;
        runs.extend(answer.runs);
        let is_last = answer.next_page_token.is_empty();
        if is_last || runs.len() >= limit {
            let is_all = is_last && runs.len() <= limit;
            runs.truncate(limit);
            return Ok((runs, is_all));
        }
        if answer.next_page_token == page_token {
            return Err(CliError::BadAnswer("a page that leads to itself".to_owned()));
        }
        page_token = answer.next_page_token;
    }
}

async fn watch(client: &Connection, args: &LsArgs, console: &Console) -> Result<u8, CliError> {
    let mut view = WatchView::new(args.columns(), args.output.is_json());
    let mut backoff = RetryBackoff::new(FOLLOW_PATIENCE);
    loop {
        view.reopened();
        let request = pb::WatchRunsRequest {
            parent: args.parent(),
            filter: Some(args.filter()),
            view: pb::RunView::Basic.into(),
            ..Default::default()
        };
        let mut failure = None;
        match client.watch_runs(request).await {
            Err(status) => failure = Some(status),
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(answer)) => {
                        backoff.reset();
                        let mut text = view.take(&answer, console.out_width())?;
                        if matches!(answer.event, Some(Event::Synced(_))) {
                            for removed in look_up(client, view.missing()).await {
                                text.push_str(&view.removed(&removed)?);
                            }
                        }
                        console.out(text.as_bytes()).await?;
                    }
                    Ok(None) => break,
                    Err(status) => {
                        failure = Some(status);
                        break;
                    }
                }
            },
        }
        let delay = match failure {
            Some(status) => client.again(status, &mut backoff)?,
            None => backoff
                .after_failure(Instant::now(), None)
                .ok_or_else(|| CliError::BadAnswer("the watch ends again and again".to_owned()))?,
        };
        client.outage(&backoff).iter().for_each(|note| console.note(note));
        sleep(delay).await;
    }
}

/// What became of runs that left a watch while it was cut.
async fn look_up(client: &Connection, names: Vec<String>) -> Vec<pb::RunRemoved> {
    let mut removed = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let (cause, run) = match index {
            LOOKED_UP_MAX.. => (pb::RunRemovalCause::Unspecified, None),
            _ => match client.get_in(&name, pb::RunView::Basic).await {
                Ok(run) => (pb::RunRemovalCause::Unmatched, Some(run)),
                Err(error) if error.is_run_not_found() => (pb::RunRemovalCause::Deleted, None),
                Err(_) => (pb::RunRemovalCause::Unspecified, None),
            },
        };
        removed.push(pb::RunRemoved { name, cause: cause.into(), run });
    }
    removed
}

/// What a watch has shown: after a cut the server reports all again, and only what changed is shown
/// again.
#[derive(Debug)]
struct WatchView {
    columns: Columns,
    json: bool,
    known: HashMap<String, KnownRun>,
    before_cut: HashSet<String>,
    /// Runs that were there at the start, until all of them are known.
    first: Option<Vec<pb::Run>>,
    widths: Vec<usize>,
}

/// What a watch has shown of a run.
#[derive(Debug)]
struct KnownRun {
    etag: String,
    /// Its row, but for the times that go on.
    row: Vec<String>,
}

impl WatchView {
    fn new(columns: Columns, json: bool) -> Self {
        let (known, before_cut) = Default::default();
        Self { columns, json, known, before_cut, first: Some(Vec::new()), widths: Vec::new() }
    }

    /// A stream begins; what is not sent until `synced` does not belong to it any more.
    fn reopened(&mut self) {
        self.before_cut = self.known.keys().cloned().collect();
    }

    /// What to print for `answer`.
    fn take(&mut self, answer: &pb::WatchRunsResponse, width: Option<usize>) -> Result<String, CliError> {
        match &answer.event {
            Some(Event::Run(run)) => {
                self.before_cut.remove(&run.name);
                let now = KnownRun { etag: run.etag.clone(), row: self.columns.lasting_row(run) };
                let is_shown = self.known.get(&run.name).is_some_and(|before| {
                    let is_same = !now.etag.is_empty() && before.etag == now.etag;
                    // More became known of it than a row shows.
                    let looks_same = !self.json && self.first.is_none() && before.row == now.row;
                    is_same || looks_same
                });
                self.known.insert(run.name.clone(), now);
                if is_shown {
                    return Ok(String::new());
                }
                self.show(run, answer)
            }
            Some(Event::Removed(removed)) => self.removed(removed),
            Some(Event::Synced(_)) => Ok(self.show_first(width)),
            _ => Ok(String::new()),
        }
    }

    /// At `synced`: what was shown before the cut and was not sent again, by name.
    fn missing(&mut self) -> Vec<String> {
        let mut names: Vec<String> = std::mem::take(&mut self.before_cut).into_iter().collect();
        names.sort();
        names
    }

    /// What to print for a run that does not belong to the watch any more: nothing if it was not shown.
    fn removed(&mut self, removed: &pb::RunRemoved) -> Result<String, CliError> {
        self.before_cut.remove(&removed.name);
        if self.known.remove(&removed.name).is_none() {
            return Ok(String::new());
        }
        if self.json {
            let event = Event::Removed(removed.clone());
            return to_json(&pb::WatchRunsResponse { event: Some(event) }, "WatchRunsResponse", Layout::Line);
        }
        if let Some(first) = &mut self.first {
            first.retain(|run| run.name != removed.name);
            return Ok(String::new());
        }
        let mut table = self.columns.table(&[], Timestamp::now());
        table.rows.push(self.columns.removed_row(removed, Timestamp::now()));
        Ok(render_with(&table, TableFrame::Open, &self.widths, false))
    }

    fn show(&mut self, run: &pb::Run, answer: &pb::WatchRunsResponse) -> Result<String, CliError> {
        if self.json {
            return to_json(answer, "WatchRunsResponse", Layout::Line);
        }
        if let Some(first) = &mut self.first {
            first.push(run.clone());
            return Ok(String::new());
        }
        let table = self.columns.table(std::slice::from_ref(run), Timestamp::now());
        Ok(render_with(&table, TableFrame::Open, &self.widths, false))
    }

    /// The table of what was there at the start, newest first as `ls` has it; its widths stay.
    fn show_first(&mut self, width: Option<usize>) -> String {
        let Some(mut runs) = self.first.take() else { return String::new() };
        if self.json {
            return String::new();
        }
        let created = |run: &pb::Run| {
            run.timeline.as_ref().and_then(|timeline| timeline.create_time).map(|time| (time.seconds, time.nanos))
        };
        runs.sort_by_key(|run| std::cmp::Reverse(created(run)));
        let table = self.columns.table(&runs, Timestamp::now());
        self.widths = widths(&table, TableFrame::Open, width);
        for (own, least) in self.widths.iter_mut().zip(self.columns.least_widths()) {
            *own = (*own).max(least);
        }
        if let Some((last, others)) = self.widths.split_last_mut() {
            // Nothing follows the last column, so what comes later may take the rest of the line.
            let taken: usize = others.iter().map(|column| column + 2).sum();
            let rest = width.map_or(CELL_MAX, |width| width.saturating_sub(taken).min(CELL_MAX));
            *last = (*last).max(rest);
        }
        render_with(&table, TableFrame::Open, &self.widths, true)
    }
}

impl LsArgs {
    fn columns(&self) -> Columns {
        Columns { with_namespace: self.all_namespaces || self.connect.namespace == "-" }
    }

    fn parent(&self) -> String {
        if self.all_namespaces { "namespaces/-".to_owned() } else { self.connect.parent() }
    }

    fn filter(&self) -> pb::RunFilter {
        pb::RunFilter {
            states: self.state.iter().map(|state| i32::from(state.wire())).collect(),
            label_selector: self.selector.clone(),
            from_create_time: self.since.map(longshore_api::time::wire_time),
            profile: self.profile.clone(),
            ..Default::default()
        }
    }
}

impl StateArg {
    fn wire(self) -> pb::RunState {
        match self {
            Self::Queued => pb::RunState::Queued,
            Self::Pending => pb::RunState::Pending,
            Self::Starting => pb::RunState::Starting,
            Self::Running => pb::RunState::Running,
            Self::Finishing => pb::RunState::Finishing,
            Self::Cancelling => pb::RunState::Cancelling,
            Self::Succeeded => pb::RunState::Succeeded,
            Self::Failed => pb::RunState::Failed,
            Self::Cancelled => pb::RunState::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, etag: &str) -> pb::WatchRunsResponse {
        let run = pb::Run {
            name: format!("namespaces/default/runs/{id}"),
            state: pb::RunState::Running.into(),
            etag: etag.into(),
            ..Default::default()
        };
        pb::WatchRunsResponse { event: Some(Event::Run(run)) }
    }

    fn synced() -> pb::WatchRunsResponse {
        pb::WatchRunsResponse { event: Some(Event::Synced(pb::WatchSynced {})) }
    }

    #[test]
    fn after_a_cut_only_changes_are_shown() {
        let mut view = WatchView::new(Columns { with_namespace: false }, false);
        view.reopened();
        let take = |view: &mut WatchView, answer| view.take(&answer, None).unwrap();
        assert_eq!(take(&mut view, run("a", "1")), "");
        assert_eq!(take(&mut view, run("b", "1")), "");
        let table = take(&mut view, synced());
        assert_eq!(table.lines().count(), 3, "{table}");
        assert_eq!(take(&mut view, run("a", "2")), "", "no cell of its row is new");
        let mut ended = run("a", "3");
        let Some(Event::Run(run_a)) = &mut ended.event else { unreachable!() };
        run_a.state = pb::RunState::Succeeded.into();
        assert!(take(&mut view, ended.clone()).starts_with("a  "));

        view.reopened();
        assert_eq!(take(&mut view, ended), "", "nothing new");
        assert_eq!(take(&mut view, synced()), "");
        assert_eq!(view.missing(), ["namespaces/default/runs/b"], "to be looked up");
        let gone = view.removed(&removed("b", pb::RunRemovalCause::Deleted, pb::RunState::Running)).unwrap();
        assert!(gone.starts_with("b  ") && gone.contains("DELETED"), "{gone}");
        assert_eq!(view.missing(), Vec::<String>::new());
    }

    fn removed(id: &str, cause: pb::RunRemovalCause, state: pb::RunState) -> pb::RunRemoved {
        let name = format!("namespaces/default/runs/{id}");
        let run = pb::Run { name: name.clone(), state: state.into(), ..Default::default() };
        pb::RunRemoved { name, cause: cause.into(), run: Some(run) }
    }

    #[test]
    fn what_left_the_watch_is_shown_once_and_as_what_it_is() {
        use pb::RunRemovalCause as Cause;
        let mut view = WatchView::new(Columns { with_namespace: false }, false);
        for id in ["a", "b", "c", "d", "e"] {
            view.take(&run(id, "1"), None).unwrap();
        }
        assert_eq!(view.removed(&removed("e", Cause::Unmatched, pb::RunState::Failed)).unwrap(), "");
        let table = view.take(&synced(), None).unwrap();
        assert!(!table.contains("\ne "), "it left before the list was shown: {table}");
        let mut take = |id, cause, state| {
            let event = Some(Event::Removed(removed(id, cause, state)));
            view.take(&pb::WatchRunsResponse { event }, None).unwrap()
        };
        let unmatched = take("a", Cause::Unmatched, pb::RunState::Succeeded);
        assert!(unmatched.contains("SUCCEEDED") && unmatched.contains("no longer matches"), "{unmatched}");
        let archived = take("b", Cause::Archived, pb::RunState::Succeeded);
        assert!(archived.contains("ARCHIVED") && !archived.contains("SUCCEEDED"), "{archived}");
        assert!(take("c", Cause::Deleted, pb::RunState::Failed).contains("DELETED"));
        assert!(take("d", Cause::Unspecified, pb::RunState::Failed).contains("GONE"));
        assert_eq!(take("a", Cause::Deleted, pb::RunState::Succeeded), "", "it is not in the list");
        assert_eq!(take("x", Cause::Deleted, pb::RunState::Succeeded), "", "it never was");
    }

    #[test]
    fn json_is_a_line_for_each_event() {
        let mut view = WatchView::new(Columns { with_namespace: false }, true);
        let line = view.take(&run("a", "1"), None).unwrap();
        assert!(line.starts_with("{\"run\":{") && line.ends_with("}\n"), "{line}");
        assert_eq!(view.take(&synced(), None).unwrap(), "");
        let gone = view.removed(&removed("a", pb::RunRemovalCause::Unmatched, pb::RunState::Failed)).unwrap();
        assert!(gone.starts_with(
            r#"{"removed":{"name":"namespaces/default/runs/a","cause":"RUN_REMOVAL_CAUSE_UNMATCHED","run":{"#
        ));
    }
}
