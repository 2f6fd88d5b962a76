use super::super::failure::FailureReason;
use super::*;
use crate::result::{FoundResult, ResultDialect, ResultSource, ResultState};
use crate::run::view::{Evidence, StopCause};
use crate::testing::{at, stop};

fn found(json: String) -> ResultInfo {
    ResultOutcome::Found(FoundResult {
        size_bytes: json.len() as u64,
        json: Some(json),
        sha256: "0".repeat(64),
        source: ResultSource::Scan,
        dialect: ResultDialect::Json,
        byte_range: None,
        warnings: vec!["\u{1}".repeat(5000); 20],
    })
    .to_info()
}

fn attempt(number: u32, text: &str) -> Attempt {
    Attempt {
        number,
        uid: Some("u".repeat(36)),
        job: "j".repeat(63),
        pod: Some("p".repeat(253)),
        node: Some("n".repeat(253)),
        create_time: Some(at(0)),
        start_time: Some(at(1)),
        finish_time: Some(at(2)),
        exit_code: Some(1),
        signal: None,
        failure: Some(Failure::new(FailureReason::NonzeroExit, text)),
        unseen: false,
        further_uids: Vec::new(),
        evidence: vec![Evidence { report_time: None, reason: "R".to_owned(), message: "m".repeat(1024), count: 1 }; 20],
    }
}

/// Every text is `text`.
fn record(text: &str, result: ResultInfo) -> Record {
    Record {
        version: RECORD_VERSION,
        state: RunState::Failed,
        failure: Some(Failure::new(FailureReason::NonzeroExit, text)),
        stop: Some(StopIntent { reason: text.to_owned(), actor: text.to_owned(), ..stop(StopCause::Cancel, 5) }),
        message: text.to_owned(),
        timeline: Timeline::default(),
        attempts: vec![attempt(1, text)],
        result: Some(result),
        record_time: at(6),
    }
}

fn written(record: &Record) -> Record {
    let text = record.to_json().unwrap();
    assert!(text.len() <= RECORD_MAX_BYTES, "{} bytes", text.len());
    Record::from_json(&text).unwrap()
}

#[test]
fn huge_texts_are_cut_and_the_result_stays() {
    // The largest that is kept inside, by plain bytes and by ones that are escaped.
    for json in ["x".repeat(INLINE_RESULT_MAX_BYTES), "\"".repeat(INLINE_RESULT_MAX_BYTES / 2)] {
        assert!(fits_inline(&json) && !fits_inline(&format!("{json}x")));
        for huge in ["ü".repeat(100_000), "\u{1}".repeat(100_000), "\"".repeat(100_000)] {
            let read = written(&record(&huge, found(json.clone())));
            assert_eq!(read.result.and_then(|r| r.found).and_then(|f| f.json), Some(json.clone()));
            assert!(!read.message.is_empty() && read.message.ends_with('…'));
        }
    }
}

#[test]
fn evidence_goes_before_a_word_is_cut() {
    let mut full = record("some words", found("x".repeat(INLINE_RESULT_MAX_BYTES)));
    let again = full.attempts[0].evidence.clone();
    full.attempts[0].evidence.extend(again);
    full.result.as_mut().unwrap().found.as_mut().unwrap().warnings.clear();
    let read = written(&full);
    full.attempts[0].evidence.clear();
    assert_eq!(read, full);
}

#[test]
fn the_last_attempt_stays_and_a_result_too_large_is_reported_as_lost() {
    let mut full = record("words", found("x".repeat(RECORD_MAX_BYTES)));
    full.attempts = (1..=200).map(|number| attempt(number, "words")).collect();
    let read = written(&full);
    assert_eq!(read.attempts.iter().map(|a| a.number).collect::<Vec<_>>(), [200]);
    assert_eq!(read.result.map(|r| r.state), Some(ResultState::Unavailable));
}
