//! `longshore doctor`: what would keep runs from working, and what to do about it.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use unicode_width::UnicodeWidthStr;

use crate::Daemon;
use crate::terminal::console::{Console, Paint, fit};
use crate::terminal::error::CliError;
use crate::terminal::interrupt::Interrupts;
use crate::terminal::text::{clean, clean_lines};
use longshore_config::DoctorArgs;
use longshore_runtime::finding::{Finding, Status};

const HELP: &str = "\
Examples:
  longshore doctor --kubeconfig ~/.kube/config          with an operator's own rights
  kubectl -n longshore exec deploy/longshore -- longshore doctor
                                                        with the daemon's, where it runs
  longshore doctor --canary                             makes Pods too, and deletes them
  longshore doctor -o json                              for a program

Exit codes: 0 nothing failed (there may be warnings), 1 something failed, 125 wrong usage.";

/// Something failed.
const FAILED: u8 = 1;

/// Arguments of `longshore doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct DoctorVerb {
    #[command(flatten)]
    args: DoctorArgs,
    /// How to print what was found
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    output: FormatArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// For people
    Table,
    /// {"status": the worst, "findings": [{check, subject, status, message, fix}]}
    Json,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// The worst of all.
    status: Status,
    findings: &'a [Finding],
}

pub(crate) async fn doctor(verb: DoctorVerb, daemon: &dyn Daemon, console: &Console) -> Result<u8, CliError> {
    let mut interrupts = Interrupts::listen().map_err(|error| CliError::Other(error.into()))?;
    let stop = CancellationToken::new();
    let show = |line: &str| match console.has_status_line() {
        true => console.set_status(Some(fit(&clean(line), console.err_width()))),
        false => console.note(&clean(line)),
    };
    let makes_pods = verb.args.canary;
    let mut examined = daemon.doctor(verb.args, stop.clone(), &show);
    let mut interrupted = None;
    let findings = loop {
        tokio::select! {
            findings = &mut examined => break findings,
            signal = interrupts.next() => match interrupted.replace(signal.exit_code()) {
                None if makes_pods => {
                    stop.cancel();
                    show("interrupted; the Pods that were made are deleted first");
                }
                // Anyone who asks twice does not want to wait: Pods that are left end by
                // themselves.
                _ => return Ok(signal.exit_code()),
            },
        }
    };
    console.set_status(None);
    let worst = findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
    if verb.output == FormatArg::Json {
        let report = Report { status: worst, findings: &findings };
        let text = serde_json::to_string_pretty(&report).map_err(|error| CliError::Other(error.into()))?;
        console.out(format!("{text}\n").as_bytes()).await?;
    } else {
        let paint = |status: Status, text: &str| match status {
            Status::Ok => console.paint_out(text, Paint::Green),
            Status::Skipped => text.to_owned(),
            Status::Warning => console.paint_out(text, Paint::Yellow),
            Status::Failed => console.paint_out(text, Paint::Red),
        };
        console.out(table(&findings, paint).as_bytes()).await?;
        console.note(&summary(&findings));
    }
    Ok(interrupted.unwrap_or(if worst == Status::Failed { FAILED } else { 0 }))
}

/// A line for each finding, and its fix below it. Nothing is cut: what can't be read can't be
/// repaired.
fn table(findings: &[Finding], paint: impl Fn(Status, &str) -> String) -> String {
    let widest = |of: &dyn Fn(&Finding) -> usize, least: usize| findings.iter().map(of).max().unwrap_or(0).max(least);
    let status_width = widest(&|finding| finding.status.as_str().len(), "STATUS".len());
    let check_width = widest(&|finding| finding.check.len(), "CHECK".len());
    let mut text = format!("{:<status_width$}  {:<check_width$}  FINDING\n", "STATUS", "CHECK");
    for Finding { check, subject, status, message, fix, unanswered: _ } in findings {
        let word = status.as_str();
        let gap = " ".repeat(status_width - word.width());
        let mut message = clean_lines(message).replace('\n', "\n    ");
        if message.is_empty() {
            message.push('?');
        }
        let _ = writeln!(text, "{}{gap}  {check:<check_width$}  {}: {message}", paint(*status, word), clean(subject));
        let mut lead = "fix: ";
        for line in clean_lines(fix).lines() {
            let _ = writeln!(text, "    {lead}{line}");
            lead = "     ";
        }
    }
    text
}

fn summary(findings: &[Finding]) -> String {
    let count = |status: Status| findings.iter().filter(|finding| finding.status == status).count();
    let all = [Status::Ok, Status::Warning, Status::Failed, Status::Skipped];
    all.map(|status| format!("{} {}", count(status), status.as_str())).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_the_fixes_below() {
        let findings = [
            Finding::ok("api-server", "https://a", "Kubernetes v1.36.3"),
            Finding::failed("rights", "jobs/status patch in runs", "not allowed\x1b[2J")
                .fix("add to the Role:\n  - verbs"),
            Finding::skipped("image", "all", "not tried"),
        ];
        let paint = |status: Status, text: &str| match status {
            Status::Failed => format!("<{text}>"),
            _ => text.to_owned(),
        };
        let wanted = "\
STATUS   CHECK       FINDING
ok       api-server  https://a: Kubernetes v1.36.3
<failed>   rights      jobs/status patch in runs: not allowed\\u{1b}[2J
    fix: add to the Role:
           - verbs
skipped  image       all: not tried
";
        assert_eq!(table(&findings, paint), wanted);
        assert_eq!(summary(&findings), "1 ok, 0 warning, 1 failed, 1 skipped");
    }

    #[test]
    fn a_report_for_programs() {
        let findings = [Finding::ok("a", "b", "c"), Finding::warning("d", "e", "f").fix("g")];
        let report = Report { status: Status::Warning, findings: &findings };
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({"status": "warning", "findings": [
                {"check": "a", "subject": "b", "status": "ok", "message": "c"},
                {"check": "d", "subject": "e", "status": "warning", "message": "f", "fix": "g"},
            ]})
        );
    }
}
