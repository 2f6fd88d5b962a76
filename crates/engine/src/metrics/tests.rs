use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::error::EngineError;
use crate::observed::{ObservedRun, RunKind};
use crate::reconcile::{Kind, Table};
use crate::run::{Submitted, submit_outcome};
use longshore_backend::{BackendError, LogItem};
use longshore_domain::log::{LogGap, LogGapCause, LogPiece};
use longshore_domain::name::{NamespaceName, RunName};
use longshore_domain::notation::violation::Violations;
use longshore_domain::result::{ResultError, ResultErrorKind, ResultOutcome};
use longshore_domain::run::derive;
use longshore_domain::run::facts::{AttemptPhase, MainFacts, RunFacts};
use longshore_domain::run::failure::{Failure, FailureReason};
use longshore_domain::run::plan::Action;
use longshore_domain::testing::{at, facts, settled, terminated};

/// Metrics, and what is exposed of them.
struct Exposed {
    metrics: EngineMetrics,
    registry: Registry,
}

impl Exposed {
    fn new() -> Self {
        let mut registry = Registry::default();
        Self { metrics: EngineMetrics::new(&mut registry), registry }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// The series of this metric that are not zero, without the sums of histograms and their
    /// buckets.
    #[track_caller]
    fn are(&self, metric: &str, expected: &[&str]) {
        let text = self.text();
        let of = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let series: Vec<_> = text.lines().filter(of).filter(|line| !line.ends_with(" 0")).collect();
        let mut series: Vec<_> = series.into_iter().map(|line| &line[metric.len()..]).collect();
        series.sort_unstable();
        assert_eq!(series, expected, "{metric}: {text}");
    }
}

fn observed(facts: RunFacts) -> Arc<ObservedRun> {
    Arc::new(ObservedRun::new(facts, at(30)))
}

fn named(id: &str) -> RunFacts {
    RunFacts { name: RunName::parse(&format!("namespaces/default/runs/{id}")).unwrap(), ..facts() }
}

fn ended(id: &str, exit_code: i32) -> RunFacts {
    let mut facts = named(id);
    let attempt = facts.attempts.last_mut().unwrap();
    attempt.main = MainFacts::Terminated(terminated(exit_code));
    attempt.phase = if exit_code == 0 { AttemptPhase::Succeeded } else { AttemptPhase::Failed };
    facts
}

fn recorded(id: &str, exit_code: i32) -> RunFacts {
    let facts = ended(id, exit_code);
    let (outcome, result) = settled(&facts, at(30)).unwrap();
    RunFacts { record: Some(derive::record(&facts, &outcome, result, at(31))), ..facts }
}

#[test]
fn runs_and_holds_are_what_the_table_holds() {
    let exposed = Exposed::new();
    let table = Table::<RunKind>::new(exposed.metrics.reconcile().clone());
    for id in ["a", "b", "c"] {
        table.upsert(observed(named(id)));
    }
    exposed.are("runs", &[r#"{state="STARTING"} 3"#]);
    exposed.are("run_holds", &[r#"{stage="live"} 3"#]);

    table.upsert(observed(ended("a", 0)));
    table.upsert(observed(recorded("b", 3)));
    exposed.are("runs", &[r#"{state="FAILED"} 1"#, r#"{state="FINISHING"} 1"#, r#"{state="STARTING"} 1"#]);
    exposed.are("run_holds", &[r#"{stage="live"} 1"#, r#"{stage="recorded"} 1"#, r#"{stage="unrecorded"} 1"#]);

    // Reported again, released, deleted, and deleted again.
    table.upsert(observed(recorded("b", 3)));
    table.upsert(observed(RunFacts { released: true, ..recorded("a", 0) }));
    table.remove(&named("c").name);
    table.remove(&named("c").name);
    exposed.are("runs", &[r#"{state="FAILED"} 1"#, r#"{state="SUCCEEDED"} 1"#]);
    exposed.are("run_holds", &[r#"{stage="recorded"} 1"#]);

    for id in ["a", "b"] {
        table.remove(&named(id).name);
    }
    exposed.are("runs", &[]);
    exposed.are("run_holds", &[]);
}

#[test]
fn an_end_is_reported_with_its_cause_and_its_result() {
    let exposed = Exposed::new();
    exposed.metrics.finished(&observed(recorded("a", 0)).view);
    exposed.metrics.finished(&observed(recorded("b", 3)).view);
    let mut lost = (*observed(ended("c", 0)).view).clone();
    lost.state = RunState::Failed;
    lost.failure = Some(Failure::new(FailureReason::Lost, "gone"));
    lost.result = Some(ResultOutcome::Unavailable("gone".to_owned()).to_info());
    exposed.metrics.finished(&lost);
    let error = ResultError { kind: ResultErrorKind::TooDeep, message: String::new(), position: None };
    lost.result = Some(ResultOutcome::None(error).to_info());
    exposed.metrics.finished(&lost);
    let ends = [
        r#"{state="FAILED",class="INFRA",reason="LOST"} 2"#,
        r#"{state="FAILED",class="USER",reason="NONZERO_EXIT"} 1"#,
        r#"{state="SUCCEEDED",class="NONE",reason="NONE"} 1"#,
    ];
    exposed.are("runs_finished_total", &ends);
    let results = [r#"{state="INVALID",source="NONE"} 1"#, r#"{state="UNAVAILABLE",source="NONE"} 1"#];
    exposed.are("run_results_total", &results);
}

#[test]
fn submits_are_counted_by_who_has_to_act() {
    let exposed = Exposed::new();
    let what = || "create Job a".to_owned();
    let message = String::new;
    let run = Arc::clone(&observed(named("a")).view);
    let submitted = |replayed| Ok(Submitted { run: Arc::clone(&run), replayed, preview: None });
    let preview = longshore_backend::Preview { manifest: String::new(), verdicts: Vec::new() };
    let ends = [
        submitted(false),
        submitted(true),
        Ok(Submitted { run: Arc::clone(&run), replayed: false, preview: Some(preview) }),
        Err(EngineError::Invalid(Violations::new())),
        Err(EngineError::NamespaceNotFound(NamespaceName::default_namespace())),
        Err(BackendError::AdmissionDenied { what: what(), message: message() }.into()),
        Err(BackendError::Exhausted { what: what(), message: message() }.into()),
        Err(BackendError::Denied { what: what(), message: message() }.into()),
        Err(EngineError::NotServing("draining")),
    ];
    for end in &ends {
        exposed.metrics.submit().end(submit_outcome(end.as_ref()));
    }
    drop(exposed.metrics.submit());
    let series = [
        r#"{outcome="abandoned"} 1"#,
        r#"{outcome="created"} 1"#,
        r#"{outcome="failed"} 2"#,
        r#"{outcome="invalid"} 2"#,
        r#"{outcome="refused"} 2"#,
        r#"{outcome="replayed"} 1"#,
        r#"{outcome="validated"} 1"#,
    ];
    exposed.are("submits_total", &series);
}

#[test]
fn what_the_reconciler_does_is_counted() {
    let exposed = Exposed::new();
    let reconcile = exposed.metrics.reconcile();
    let acted = |action: &Action, ended: &_| reconcile.acted(RunKind::action(action), ended);
    let (reason, message) = (String::new(), String::new());
    let release = Action::Release { reason, message, retention: Duration::ZERO, attempts: 1 };
    acted(&release, &Ok(()));
    acted(&Action::Delete, &Err(BackendError::NotFound("a".to_owned())));
    acted(&Action::Delete, &Err(BackendError::Conflict("a".to_owned())));
    let denied = BackendError::Denied { what: "patch Job a".to_owned(), message: String::new() };
    acted(&release, &Err(denied));
    let series = [
        r#"{action="delete",outcome="gone"} 1"#,
        r#"{action="delete",outcome="transient"} 1"#,
        r#"{action="release",outcome="done"} 1"#,
        r#"{action="release",outcome="refused"} 1"#,
    ];
    exposed.are("reconciler_actions_total", &series);
    reconcile.busy(Duration::from_millis(250));
    reconcile.busy(Duration::from_millis(500));
    exposed.are("reconciler_busy_seconds_total", &[" 0.75"]);
    reconcile.synced(true);
    exposed.are("backend_synced", &[" 1"]);
    reconcile.synced(false);
    exposed.are("backend_synced", &[]);
}

#[test]
fn times_fall_into_their_buckets() {
    let exposed = Exposed::new();
    exposed.metrics.reconcile().left("FINISHING", Duration::from_millis(20));
    exposed.metrics.reconcile().left("RUNNING", Duration::from_secs(1000));
    exposed.are("run_state_duration_seconds_count", &[r#"{state="FINISHING"} 1"#, r#"{state="RUNNING"} 1"#]);
    let text = exposed.text();
    for (bucket, count) in [("0.01", 0), ("0.03", 1), ("+Inf", 1)] {
        let line = format!(r#"run_state_duration_seconds_bucket{{le="{bucket}",state="FINISHING"}} {count}"#);
        assert!(text.contains(&line), "{line} in {text}");
    }
    exposed.metrics.exit_seen(at(10), at(12));
    // The node's clock goes before ours.
    exposed.metrics.exit_seen(at(10), at(7));
    exposed.are("exit_seen_delay_seconds_count", &[" 2"]);
    exposed.are("exit_seen_delay_seconds_sum", &[" 2.0"]);
    // A clock that is ahead is not hidden here.
    exposed.metrics.exit_seen(at(50), at(47));
    exposed.are("exit_seen_delay_least_seconds", &[" -3.0"]);
}

#[test]
fn output_is_counted_in_bytes_and_its_loss_by_who_found_it() {
    let exposed = Exposed::new();
    let piece = |text: &'static str| {
        LogItem::Piece(LogPiece {
            time: at(0),
            ordinal: 0,
            offset: 0,
            stream: None,
            data: Bytes::from_static(text.as_bytes()),
            ends_line: true,
            check: 0,
        })
    };
    let gap = || {
        LogItem::Gap(LogGap {
            from_time: None,
            to_time: None,
            cause: LogGapCause::Rotated,
            message: "rotated away".to_owned(),
        })
    };
    exposed.metrics.read(LogReader::Feed, &[piece("four"), gap(), piece("12345")]);
    exposed.metrics.read(LogReader::Feed, &[piece("!")]);
    exposed.metrics.read(LogReader::Result, &[]);
    exposed.metrics.gap(LogReader::Caller, LogGapCause::Deleted);
    exposed.metrics.sent(7);
    exposed.are("log_read_bytes_total", &[r#"{reader="feed"} 10"#]);
    exposed.are("log_sent_bytes_total", &[" 7"]);
    let gaps = [r#"{reader="caller",cause="deleted"} 1"#, r#"{reader="feed",cause="rotated"} 1"#];
    exposed.are("log_gaps_total", &gaps);

    let (one, other) = (exposed.metrics.follower(), exposed.metrics.follower());
    let upstream = exposed.metrics.upstream();
    exposed.are("log_followers", &[" 2"]);
    exposed.are("log_upstreams", &[" 1"]);
    drop((one, other, upstream));
    exposed.are("log_followers", &[]);
    exposed.are("log_upstreams", &[]);
}

#[test]
fn every_word_there_is_has_its_series_from_the_start() {
    let text = Exposed::new().text();
    assert!(text.contains(r#"runs_finished_total{state="FAILED",class="PLATFORM",reason="INTERNAL"} 0"#), "{text}");
    assert!(text.contains(r#"reconciler_actions_total{action="write_record",outcome="refused"} 0"#), "{text}");
    assert!(!text.contains(r#"run_state_duration_seconds_count{state="FAILED"}"#), "nothing leaves its end: {text}");
}
