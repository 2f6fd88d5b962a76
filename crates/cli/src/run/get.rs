//! `longshore get`: describes a run.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::client::connect::{ConnectArgs, Connection};
use crate::run::{find, result};
use crate::terminal::console::{Console, Paint};
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::output::OutputArgs;
use crate::terminal::table::{self, TableFrame};
use crate::terminal::text::{age, class_name, clean, clip, duration, reason_name, state_name, time, time_span};
use longshore_api::enums::short_name;
use longshore_api::v1 as pb;
use longshore_api::v1::run_spec::Workload;

const EXAMPLES: &str = "\
Examples:
  longshore get nightly-7
  longshore get -o json namespaces/team/runs/nightly-7
  longshore get -o json nightly-7 | jq .result.json.total
  longshore get 7q3k             the start or the end of an id is enough, where only one run has it";

/// The most characters of a result that are shown.
const RESULT_SHOWN: usize = 2_000;
/// The most rows of a table that are shown.
const ROWS_SHOWN: usize = 20;

/// Arguments of `longshore get`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetArgs {
    /// The run: its id, the start or end of one, or its whole name
    run: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(crate) async fn get(args: GetArgs, console: &Console) -> Result<u8, CliError> {
    let client = args.connect.client()?;
    let name = args.connect.run_name(&args.run)?;
    let (_, mut run) = find::with_run(&client, &name, console, async |name: &str| client.get(name).await).await?;
    let text = if args.output.is_json() {
        if let Err(error) = complete(&client, &mut run).await {
            let why = error.explain().unwrap_or_default();
            console.note(&format!("the result is too large to be inline, and cannot be read: {why}"));
        }
        to_json(&run, "Run", Layout::Pretty)?
    } else {
        describe(&run, Timestamp::now(), console.out_width(), |title| console.paint_out(title, Paint::Bold))
    };
    console.out(text.as_bytes()).await?;
    Ok(0)
}

/// Reads a result that is too large to be reported with its run.
async fn complete(client: &Connection, run: &mut pb::Run) -> Result<(), CliError> {
    let json = result::read(client, run).await?;
    if let (Some(json), Some(result)) = (json, run.result.as_mut()) {
        result.json = json;
    }
    Ok(())
}

/// Everything about `run` that people ask for, in the order in which they ask.
fn describe(run: &pb::Run, now: Timestamp, width: Option<usize>, title: impl Fn(&str) -> String) -> String {
    let mut page = PrintedPage { text: String::new() };
    page.field("Name", &run.name);
    page.field("State", &state_name(run.state));
    page.field("Waiting", &run.waiting_reason);
    // Of a failed run that is the failure's own.
    let is_shown_below = run.failure.as_ref().is_some_and(|failure| failure.message.contains(&run.message));
    page.field("Message", if is_shown_below { "" } else { &run.message });
    describe_spec(run, &mut page);
    page.field("Exit code", &run.exit_code.map(|code| code.to_string()).unwrap_or_default());
    if let Some(stop) = &run.stop {
        page.field("Stop", &stop_line(stop));
    }
    page.field("Submitter", &run.submitter);
    page.field("Uid", &run.uid);
    page.field("Payload", &run.payload_digest);
    page.field("Kept until", &time(run.expire_time).map(|time| moment(time, now)).unwrap_or_default());
    let deleted = time(run.delete_time).map(|time| moment(time, now)).unwrap_or_default();
    page.field("Being deleted", &deleted);
    if let Some(failure) = &run.failure {
        page.section(&title("Failure"));
        page.failure(failure);
    }
    if let Some(timeline) = &run.timeline {
        page.section(&title("Timeline"));
        describe_timeline(timeline, now, &mut page);
    }
    for attempt in &run.attempts {
        page.section(&title(&format!("Attempt {}", attempt.number)));
        describe_attempt(attempt, run.failure.as_ref(), now, &mut page);
    }
    if let Some(found) = &run.result {
        page.section(&title("Result"));
        page.line(&result::summary(found));
        for warning in &found.warnings {
            page.line(&format!("warning: {warning}"));
        }
        let reported = result::reported_error(&found.json);
        let is_shown_above =
            |words: &String| run.failure.as_ref().is_some_and(|failure| clean(&failure.message).contains(words));
        if reported.as_ref().is_some_and(is_shown_above) {
            page.line("it reports the failure above: -o json has all of it");
        } else {
            page.result(&found.json, width);
        }
    }
    page.text
}

fn describe_spec(run: &pb::Run, page: &mut PrintedPage) {
    let applied = run.effective_spec.as_ref().or(run.spec.as_ref());
    match run.spec.as_ref().and_then(|spec| spec.workload.as_ref()) {
        Some(Workload::Runner(runner)) => page.field("Runner", &runner.profile),
        Some(Workload::Container(container)) => {
            page.field("Image", &container.image);
            page.field("Command", &[container.command.as_slice(), container.args.as_slice()].concat().join(" "));
        }
        None => {}
    }
    let Some(spec) = applied else { return };
    let pairs = |map: &std::collections::HashMap<String, String>| {
        let mut pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.sort();
        pairs.join(", ")
    };
    page.field("Labels", &pairs(&spec.labels));
    if let Some(resources) = &spec.resources {
        page.field("Limits", &pairs(&resources.limits));
        page.field("Requests", &pairs(&resources.requests));
    }
    page.field("Run timeout", &spec.run_timeout.as_ref().map(duration).unwrap_or_default());
    page.field("Start timeout", &spec.start_timeout.as_ref().map(duration).unwrap_or_default());
}

fn describe_timeline(timeline: &pb::Timeline, now: Timestamp, page: &mut PrintedPage) {
    let steps = [
        ("Submitted", timeline.create_time),
        ("Admitted", timeline.admit_time),
        ("Scheduled", timeline.schedule_time),
        ("Started", timeline.start_time),
        ("Ended", timeline.finish_time),
        ("Settled", timeline.end_time),
    ];
    let mut before = None;
    for (step, at) in steps {
        let Some(at) = time(at) else { continue };
        let since = before.replace(at).map(|before| format!(", {:.3} s later", time_span(before, at).as_secs_f64()));
        page.field(step, &format!("{}{}", moment(at, now), since.unwrap_or_default()));
    }
}

/// Its failure only where that is not the run's, which is reported already.
fn describe_attempt(attempt: &pb::Attempt, shown_above: Option<&pb::Failure>, now: Timestamp, page: &mut PrintedPage) {
    page.field("Job", &attempt.job);
    page.field("Pod", &attempt.pod);
    page.field("Node", &attempt.node);
    page.field("Uid", &attempt.uid);
    page.field("Started", &time(attempt.start_time).map(|at| moment(at, now)).unwrap_or_default());
    page.field("Ended", &time(attempt.finish_time).map(|at| moment(at, now)).unwrap_or_default());
    page.field("Exit code", &attempt.exit_code.map(|code| code.to_string()).unwrap_or_default());
    page.field("Signal", &attempt.signal.map(|signal| signal.to_string()).unwrap_or_default());
    if let Some(failure) = attempt.failure.as_ref().filter(|failure| Some(*failure) != shown_above) {
        page.failure(failure);
    }
    for evidence in &attempt.evidence {
        let times = if evidence.count > 1 { format!(" ({} times)", evidence.count) } else { String::new() };
        let at = time(evidence.report_time).map(|at| format!("{} ago ", age(time_span(at, now)))).unwrap_or_default();
        page.line(&format!("- {at}{}: {}{times}", evidence.reason, evidence.message));
    }
}

fn stop_line(stop: &pb::Stop) -> String {
    let cause = short_name::<pb::StopCause>(stop.cause);
    let mut line = cause;
    if !stop.reason.is_empty() {
        let _ = write!(line, ": {}", stop.reason);
    }
    if !stop.actor.is_empty() {
        let _ = write!(line, " (by {})", stop.actor);
    }
    line
}

/// `2026-01-31T12:00:00Z (5m ago)`
fn moment(at: Timestamp, now: Timestamp) -> String {
    let relative =
        if at > now { format!("in {}", age(time_span(now, at))) } else { format!("{} ago", age(time_span(at, now))) };
    format!("{at:.3} ({relative})")
}

/// A description under way. Whatever the server says is made harmless here.
struct PrintedPage {
    text: String,
}

impl PrintedPage {
    fn field(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            let _ = writeln!(self.text, "{:<15}{}", format!("{label}:"), clean(value));
        }
    }

    fn section(&mut self, title: &str) {
        let _ = writeln!(self.text, "\n{title}");
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}", clean(line));
    }

    /// The object, or the start of it; as a table if it is one.
    fn result(&mut self, json: &str, width: Option<usize>) {
        let Some(mut table) = result::as_table(json).filter(|table| !table.rows.is_empty()) else {
            if !json.is_empty() {
                self.line(&clip(&clean(json), RESULT_SHOWN));
            }
            return;
        };
        let rows = table.rows.len();
        table.rows.truncate(ROWS_SHOWN);
        self.text.push_str(&table::render(&table, TableFrame::Boxed, width));
        if rows > ROWS_SHOWN {
            let (more, plural) = (rows - ROWS_SHOWN, if rows - ROWS_SHOWN == 1 { "" } else { "s" });
            self.line(&format!("… and {more} row{plural} more: -o json has them all"));
        }
        for warning in result::warnings(json) {
            self.line(&format!("warning: {warning}"));
        }
    }

    fn failure(&mut self, failure: &pb::Failure) {
        self.field("Reason", &reason_name(failure.reason));
        self.field("Class", &class_name(failure.failure_class));
        self.field("Message", &failure.message);
        self.field("Exit code", &failure.exit_code.map(|code| code.to_string()).unwrap_or_default());
        self.field("Signal", &failure.signal.map(|signal| signal.to_string()).unwrap_or_default());
        self.field("Retryable", if failure.retryable { "yes, the same request may succeed later" } else { "no" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn a_failed_run_described() {
        let failure = pb::Failure {
            failure_class: pb::FailureClass::User.into(),
            reason: pb::FailureReason::OomKilled.into(),
            message: "used more than 64Mi\x1b[2J".into(),
            exit_code: Some(137),
            ..Default::default()
        };
        let run = pb::Run {
            name: "namespaces/default/runs/a".into(),
            state: pb::RunState::Failed.into(),
            exit_code: Some(137),
            failure: Some(failure.clone()),
            timeline: Some(pb::Timeline { create_time: at(1), start_time: at(3), ..Default::default() }),
            attempts: vec![pb::Attempt {
                number: 1,
                job: "run-a".into(),
                failure: Some(failure),
                evidence: vec![pb::Evidence {
                    report_time: at(4),
                    reason: "OOMKilling".into(),
                    message: "out of memory".into(),
                    count: 2,
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let text = describe(&run, Timestamp::from_second(10).unwrap(), None, str::to_owned);
        for wanted in [
            "State:         FAILED\n",
            "Reason:        OOM_KILLED\n",
            "Message:       used more than 64Mi\\u{1b}[2J\n",
            "Started:       1970-01-01T00:00:03.000Z (7s ago), 2.000 s later\n",
            "\nAttempt 1\nJob:           run-a\n",
            "- 6s ago OOMKilling: out of memory (2 times)\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in:\n{text}");
        }
        assert!(!text.contains("Waiting"), "what is empty is left out:\n{text}");
    }

    #[test]
    fn a_table_is_shown_as_one() {
        let described = |json: String| {
            let found = pb::Result { state: pb::ResultState::Found.into(), json, ..Default::default() };
            describe(&pb::Run { result: Some(found), ..Default::default() }, Timestamp::UNIX_EPOCH, None, str::to_owned)
        };
        let rows: Vec<_> = (100..125).map(|n| format!("[{n}]")).collect();
        let text = described(format!("{{\"columns\":[\"n\"],\"rows\":[{}]}}", rows.join(",")));
        assert!(text.contains("│ 119 │\n└") && !text.contains("│ 120 │"), "{text}");
        assert!(text.contains("… and 5 rows more"), "{text}");
        let warned =
            described(r#"{"columns":["n"],"rows":[[1]],"warnings":[{"message":"n is odd"},"so is m"]}"#.into());
        assert!(warned.ends_with("┘\nwarning: n is odd\nwarning: so is m\n"), "{warned}");
        assert!(described("{\"n\":1}".into()).ends_with("\n{\"n\":1}\n"));
    }

    #[test]
    fn an_empty_answer_is_no_panic() {
        assert!(describe(&pb::Run::default(), Timestamp::UNIX_EPOCH, None, str::to_owned).contains("UNSPECIFIED"));
    }
}
