//! `longshore ls`: lists runs, and watches them.

mod rows;

use std::collections::{HashMap, HashSet};

use clap::ValueEnum;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use self::rows::{Columns, deleted_row};
use super::connect::{Client, ConnectArgs};
use super::console::Console;
use super::error::CliError;
use super::json::{Layout, to_json};
use super::output::OutputArgs;
use super::retry::{Backoff, FOLLOW_PATIENCE};
use super::table::{Frame, render, render_with, widths};
use super::values;
use crate::proto::v1 as pb;
use crate::proto::v1::watch_runs_response::Event;

const EXAMPLES: &str = "\
Examples:
  longshore ls --state running,pending         what is live
  longshore ls -l app=report --since 24h       one application's runs of a day
  longshore ls -A --watch                      every namespace, as it changes
  longshore ls --limit 0 -o json               everything, for a program";

/// The most runs that one page has.
const PAGE_MAX: u32 = 500;

/// Arguments of `longshore ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LsArgs {
    /// Only runs in these states
    #[arg(long, value_enum, value_name = "STATE", value_delimiter = ',', ignore_case = true)]
    state: Vec<State>,
    /// Only runs whose labels match, in Kubernetes' notation
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    selector: String,
    /// Only runs of this runner profile
    #[arg(long, value_name = "PROFILE", default_value = "", hide_default_value = true)]
    profile: String,
    /// Only runs created since then: how long ago (24h), or when (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    since: Option<Timestamp>,
    /// All namespaces that one may see
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// At most this many, newest first; 0 for all
    #[arg(long, value_name = "N", default_value = "100")]
    limit: u32,
    /// Go on telling what changes
    #[arg(short, long, conflicts_with = "limit")]
    watch: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
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

pub(super) async fn ls(args: LsArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    if args.watch { watch(&client, &args, console).await } else { list(&client, &args, console).await }
}

async fn list(client: &Client, args: &LsArgs, console: &Console) -> Result<u8, CliError> {
    let (runs, is_all) = pages(client, args).await?;
    let text = if args.output.is_json() {
        to_json(&pb::ListRunsResponse { runs, next_page_token: String::new() }, "ListRunsResponse", Layout::Pretty)?
    } else if runs.is_empty() {
        console.note("no runs");
        return Ok(0);
    } else {
        render(&args.columns().table(&runs, Timestamp::now()), Frame::Open, console.out_width())
    };
    console.out(text.as_bytes()).await?;
    if !is_all {
        console.note(&format!("these are the newest {}; there are more (--limit)", args.limit));
    }
    Ok(0)
}

/// Pages up to the limit, and whether that was all.
async fn pages(client: &Client, args: &LsArgs) -> Result<(Vec<pb::Run>, bool), CliError> {
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

async fn watch(client: &Client, args: &LsArgs, console: &Console) -> Result<u8, CliError> {
    let mut view = WatchView::new(args.columns(), args.output.is_json());
    let mut backoff = Backoff::new(FOLLOW_PATIENCE);
    loop {
        view.reopened();
        let request = pb::WatchRunsRequest {
            parent: args.parent(),
            filter: Some(args.filter()),
            view: pb::RunView::Basic.into(),
        };
        let mut failure = None;
        match client.watch_runs(request).await {
            Err(status) => failure = Some(status),
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(answer)) => {
                        backoff.reset();
                        let text = view.take(&answer, console.out_width())?;
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

/// What a watch has shown: after a cut the server tells all again, and only what changed is shown again.
#[derive(Debug)]
struct WatchView {
    columns: Columns,
    json: bool,
    known: HashMap<String, String>,
    before_cut: HashSet<String>,
    /// Runs that were there at the start, until all of them are known.
    first: Option<Vec<pb::Run>>,
    widths: Vec<usize>,
}

impl WatchView {
    fn new(columns: Columns, json: bool) -> Self {
        let (known, before_cut) = Default::default();
        Self { columns, json, known, before_cut, first: Some(Vec::new()), widths: Vec::new() }
    }

    /// A stream begins; what it does not tell until `synced` is gone.
    fn reopened(&mut self) {
        self.before_cut = self.known.keys().cloned().collect();
    }

    /// What to print for `answer`.
    fn take(&mut self, answer: &pb::WatchRunsResponse, width: Option<usize>) -> Result<String, CliError> {
        match &answer.event {
            Some(Event::Run(run)) => {
                self.before_cut.remove(&run.name);
                let is_known = self.known.insert(run.name.clone(), run.etag.clone());
                if is_known.is_some_and(|etag| !etag.is_empty() && etag == run.etag) {
                    return Ok(String::new());
                }
                self.show(run, answer)
            }
            Some(Event::Deleted(deleted)) => {
                self.before_cut.remove(&deleted.name);
                if self.known.remove(&deleted.name).is_none() {
                    return Ok(String::new());
                }
                self.show_deleted(&deleted.name)
            }
            Some(Event::Synced(_)) => {
                let mut text = self.show_first(width);
                for name in std::mem::take(&mut self.before_cut) {
                    self.known.remove(&name);
                    text.push_str(&self.show_deleted(&name)?);
                }
                Ok(text)
            }
            _ => Ok(String::new()),
        }
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
        Ok(render_with(&table, Frame::Open, &self.widths, false))
    }

    fn show_deleted(&self, name: &str) -> Result<String, CliError> {
        if self.json {
            let event = Event::Deleted(pb::RunDeleted { name: name.to_owned() });
            return to_json(&pb::WatchRunsResponse { event: Some(event) }, "WatchRunsResponse", Layout::Line);
        }
        let mut table = self.columns.table(&[], Timestamp::now());
        table.rows.push(deleted_row(self.columns, name));
        Ok(render_with(&table, Frame::Open, &self.widths, false))
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
        self.widths = widths(&table, Frame::Open, width);
        for (own, least) in self.widths.iter_mut().zip(self.columns.least_widths()) {
            *own = (*own).max(least);
        }
        render_with(&table, Frame::Open, &self.widths, true)
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
            create_time_from: self.since.map(values::wire_time),
            profile: self.profile.clone(),
            ..Default::default()
        }
    }
}

impl State {
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
        assert!(take(&mut view, run("a", "2")).starts_with("a  "));

        view.reopened();
        assert_eq!(take(&mut view, run("a", "2")), "", "nothing new");
        let gone = take(&mut view, synced());
        assert!(gone.starts_with("b  ") && gone.contains("DELETED"), "{gone}");
        assert_eq!(take(&mut view, synced()), "");
    }

    #[test]
    fn json_is_a_line_for_each_event() {
        let mut view = WatchView::new(Columns { with_namespace: false }, true);
        let line = view.take(&run("a", "1"), None).unwrap();
        assert!(line.starts_with("{\"run\":{") && line.ends_with("}\n"), "{line}");
        assert_eq!(view.take(&synced(), None).unwrap(), "");
    }
}
