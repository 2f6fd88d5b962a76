use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::run::failure::failure_reason;
use longshore_api::enums::WireEnum;
use longshore_backend::Preview;
use longshore_domain::result::{FoundResult, ResultDialect, ResultError, ResultErrorKind, ResultSource, ResultState};
use longshore_domain::run::failure::{Failure, FailureReason};
use longshore_domain::run::spec::{EffectiveResultRule, EffectiveSpec, ResultMode, ResultScan, RunSpec, Workload};
use longshore_domain::testing;

fn effective() -> EffectiveSpec {
    EffectiveSpec {
        workload: Workload::Runner { profile: "sql".to_owned() },
        retention: Duration::from_secs(60),
        result: EffectiveResultRule { mode: ResultMode::Required, scan: ResultScan::LastObject, dialect: None },
        ..testing::effective()
    }
}

fn time(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_second(seconds).unwrap())
}

fn failed_attempt() -> Attempt {
    Attempt {
        number: 1,
        uid: Some("u".to_owned()),
        job: "run-a".to_owned(),
        pod: Some("run-a-x".to_owned()),
        node: Some("n1".to_owned()),
        create_time: time(1),
        start_time: time(2),
        finish_time: time(3),
        exit_code: Some(137),
        signal: Some(9),
        failure: Some(Failure::new(FailureReason::OomKilled, "too much").with_exit(Some(137), Some(9))),
        unseen: false,
        further_uids: Vec::new(),
        evidence: vec![Evidence { report_time: time(3), reason: "OOM".to_owned(), message: "m".to_owned(), count: 2 }],
    }
}

fn run(id: &str, json: &str) -> Run {
    let found = FoundResult {
        json: Some(json.to_owned()),
        size_bytes: json.len() as u64,
        sha256: "ab".to_owned(),
        source: ResultSource::MarkedLine,
        dialect: ResultDialect::PythonLiteral,
        byte_range: Some((10, 20)),
        warnings: vec!["odd".to_owned()],
    };
    Run {
        name: RunName::parse(&format!("namespaces/default/runs/{id}")).unwrap(),
        uid: "uid".to_owned(),
        spec: Arc::new(RunSpec {
            workload: Some(Workload::Runner { profile: "sql".to_owned() }),
            ..RunSpec::default()
        }),
        effective: Arc::new(effective()),
        state: RunState::Failed,
        waiting_reason: None,
        message: "failed".to_owned(),
        timeline: Timeline { create_time: time(1), end_time: time(4), ..Timeline::default() },
        attempts: vec![failed_attempt()],
        failure: Some(Failure::new(FailureReason::OomKilled, "too much")),
        result: Some(ResultInfo { state: ResultState::Found, found: Some(found), error: None }),
        exit_code: Some(137),
        stop: Some(StopIntent {
            cause: StopCause::Cancel,
            reason: "r".to_owned(),
            actor: "me".to_owned(),
            request_time: time(3).unwrap(),
            failure: None,
            failure_class: None,
        }),
        submitter: "me".to_owned(),
        payload_digest: "cd".to_owned(),
        expire_time: time(100),
        delete_time: time(101),
        retry_time: time(102),
    }
}

#[test]
fn a_full_run_reports_everything() {
    let run = run("a", "{}");
    let wire = to_wire(&run, View::Full);
    assert_eq!(wire.name, "namespaces/default/runs/a");
    assert_eq!(wire.state(), v1::RunState::Failed);
    assert_eq!(wire.etag, run.etag());
    assert_eq!(wire.timeline.unwrap().end_time.unwrap().seconds, 4);
    assert_eq!(wire.effective_spec.unwrap().tmp_size.as_deref(), Some("0"));
    let attempt = &wire.attempts[0];
    assert_eq!(attempt.name, "namespaces/default/runs/a/attempts/1");
    assert_eq!((attempt.exit_code, attempt.signal), (Some(137), Some(9)));
    assert_eq!(attempt.evidence[0].count, 2);
    let failure = attempt.failure.as_ref().unwrap();
    assert_eq!((failure.reason(), failure.failure_class()), (v1::FailureReason::OomKilled, v1::FailureClass::User));
    let result = wire.result.unwrap();
    assert_eq!((result.state(), result.json.as_str()), (v1::ResultState::Found, "{}"));
    assert_eq!(result.byte_range, Some(v1::ByteRange { start_offset: 10, end_offset: 20 }));
    assert_eq!(wire.stop.unwrap().cause(), v1::StopCause::Cancel);
    assert_eq!(wire.expire_time.unwrap().seconds, 100);
    assert_eq!(wire.delete_time.unwrap().seconds, 101);
    assert_eq!(wire.retry_time.unwrap().seconds, 102);
}

#[test]
fn a_basic_run_leaves_the_bulk_out() {
    let wire = to_wire(&run("a", "{}"), View::Basic);
    assert_eq!(wire.effective_spec, None);
    assert!(wire.attempts[0].evidence.is_empty());
    let result = wire.result.unwrap();
    assert_eq!((result.json.as_str(), result.size_bytes, result.sha256.as_str()), ("", 2, "ab"));
}

#[test]
fn large_results_are_not_inline() {
    let at_most = "x".repeat(256 * 1024);
    assert_eq!(to_wire(&run("a", &at_most), View::Full).result.unwrap().json.len(), at_most.len());
    let above = "x".repeat(256 * 1024 + 1);
    let result = to_wire(&run("a", &above), View::Full).result.unwrap();
    assert_eq!((result.json.len(), result.size_bytes), (0, 256 * 1024 + 1));
}

#[test]
fn a_result_that_is_missing_says_why() {
    let error = ResultError { kind: ResultErrorKind::Empty, message: "nothing".to_owned(), position: None };
    let info = ResultInfo { state: ResultState::Missing, found: None, error: Some(error) };
    let wire = result(&info, View::Full);
    assert_eq!(wire.state(), v1::ResultState::Missing);
    assert_eq!(wire.error.unwrap().kind(), v1::ResultErrorKind::Empty);
}

#[test]
fn reasons_keep_their_names_on_the_wire() {
    for reason in v1::FailureReason::set_values() {
        let domain: FailureReason = reason.short_name().parse().unwrap();
        assert_eq!(failure_reason(domain), reason);
    }
}

#[test]
fn a_preview_has_no_identity_and_no_state() {
    let preview = Preview {
        manifest: "kind: Job".to_owned(),
        verdicts: vec![DryRunVerdict { kind: "Pod", accepted: false, message: "no".to_owned() }],
    };
    let answer = submitted(&Submitted { run: Arc::new(run("a", "{}")), replayed: false, preview: Some(preview) });
    let wire = answer.run.unwrap();
    assert_eq!((wire.uid.as_str(), wire.state(), wire.etag.as_str()), ("", v1::RunState::Unspecified, ""));
    assert_eq!(answer.manifest, "kind: Job");
    assert_eq!(answer.verdicts[0].kind, "Pod");
}

#[test]
fn pages_are_cut_before_they_are_too_large() {
    let json = "x".repeat(250 * 1024);
    let runs: Vec<_> = (0..20).map(|i| Arc::new(run(&format!("a{i}"), &json))).collect();
    let whole = Page { items: runs, next_page_token: Some("engine".to_owned()) };
    let token = |run: &Run| format!("after {}", run.name.run);

    let cut = page(&whole, View::Full, token);
    assert!(cut.encoded_len() <= 4 * 1024 * 1024 - 64 * 1024, "{}", cut.encoded_len());
    assert!(cut.runs.len() > 5 && cut.runs.len() < 20, "{}", cut.runs.len());
    assert_eq!(cut.next_page_token, format!("after a{}", cut.runs.len() - 1));

    let fits = page(&whole, View::Basic, token);
    assert_eq!((fits.runs.len(), fits.next_page_token.as_str()), (20, "engine"));
}

#[test]
fn a_page_always_goes_on() {
    let mut huge = run("a", "{}");
    huge.message = "x".repeat(PAGE_MAX_BYTES + 1);
    let whole = Page { items: vec![Arc::new(huge.clone()), Arc::new(huge)], next_page_token: None };
    let cut = page(&whole, View::Basic, |_| "next".to_owned());
    assert_eq!((cut.runs.len(), cut.next_page_token.as_str()), (1, "next"));
}
