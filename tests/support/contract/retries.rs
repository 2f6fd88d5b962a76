//! Further attempts.

use longshore::proto::v1::stream_logs_request::AttemptSelector;
use longshore::proto::v1::{
    ErrorReason, FailureReason, ResultMode, ResultScan, RetryOn, Run, RunSpec, RunState, StopCause, StreamLogsRequest,
};
use tonic::Code;

use super::Subject;
use crate::support::client::{follow, submit_request};
use crate::support::errors::assert_error;
use crate::support::spec::{UNTIL_TERM, result_rule, seconds};

/// Fails with 3 in the first two attempts.
const THIRD_TIME: &str = r#"echo "attempt $LONGSHORE_ATTEMPT"; sleep 0.2; [ "$LONGSHORE_ATTEMPT" -ge 3 ] || exit 3"#;

fn retried(subject: &Subject, tries: i32, text: &str) -> RunSpec {
    RunSpec { max_retries: Some(tries), ..subject.script(text) }
}

fn codes(run: &Run) -> Vec<Option<i32>> {
    run.attempts.iter().map(|attempt| attempt.exit_code).collect()
}

pub(crate) async fn a_failure_is_tried_again_until_it_succeeds(subject: &Subject) {
    let client = &subject.client;
    let name = client.submit(retried(subject, 5, THIRD_TIME)).await.name;
    let followed = client
        .open_logs(StreamLogsRequest { attempt_selector: Some(AttemptSelector::AllAttempts(true)), ..follow(&name) });
    let followed = followed.await.rest().await;
    let run = client.wait_terminal(&name).await;
    assert_eq!((run.state(), run.exit_code, run.failure.as_ref()), (RunState::Succeeded, Some(0), None), "{run:?}");
    assert_eq!(codes(&run), [Some(3), Some(3), Some(0)]);
    assert_eq!(run.retry_time, None);
    let numbers: Vec<_> = run.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let mut uids: Vec<_> = run.attempts.iter().map(|attempt| attempt.uid.as_str()).collect();
    uids.dedup();
    assert_eq!(uids.len(), 3, "each attempt is executed by itself: {run:?}");
    for attempt in &run.attempts[..2] {
        assert_eq!(attempt.failure.as_ref().map(|failure| failure.reason()), Some(FailureReason::NonzeroExit));
    }
    let start = |attempt: &longshore::proto::v1::Attempt| attempt.start_time.expect("it started").seconds;
    let end = |attempt: &longshore::proto::v1::Attempt| attempt.finish_time.expect("it ended").seconds;
    // Whole seconds, since nodes report no finer.
    assert!(run.attempts.windows(2).all(|pair| end(&pair[0]) <= start(&pair[1]) + 1), "{run:?}");

    let all = StreamLogsRequest {
        attempt_selector: Some(AttemptSelector::AllAttempts(true)),
        follow: false,
        ..follow(&name)
    };
    for log in [followed, client.read_logs(all).await] {
        log.assert_complete();
        assert_eq!(log.text(), "attempt 1\nattempt 2\nattempt 3\n");
        assert_eq!(log.started, [1, 2, 3]);
        let ended: Vec<_> = log.ended.iter().map(|ended| (ended.attempt, ended.exit_code)).collect();
        assert_eq!(ended, [(1, Some(3)), (2, Some(3)), (3, Some(0))]);
    }
    let second = StreamLogsRequest { attempt_selector: Some(AttemptSelector::Attempt(2)), ..follow(&name) };
    assert_eq!(client.read_logs(second).await.text(), "attempt 2\n");
    assert_eq!(client.logs(&name).await.text(), "attempt 3\n", "the latest");
}

pub(crate) async fn the_last_failure_is_the_runs_once_the_budget_is_spent(subject: &Subject) {
    let run = subject.client.run(retried(subject, 1, r#"sleep 0.2; exit "4$LONGSHORE_ATTEMPT""#)).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(42)), "{run:?}");
    assert_eq!(codes(&run), [Some(41), Some(42)]);
    let failure = run.failure.expect("a failure");
    assert_eq!((failure.reason(), failure.exit_code), (FailureReason::NonzeroExit, Some(42)));
}

pub(crate) async fn only_what_is_listed_is_tried_again(subject: &Subject) {
    let rule = |exit_codes: &[i32]| {
        Some(RetryOn { reasons: vec![FailureReason::NonzeroExit.into()], exit_codes: exit_codes.to_vec() })
    };
    let with = |exit_codes: &[i32]| RunSpec {
        retry_on: rule(exit_codes),
        ..retried(subject, 1, r#"sleep 0.2; exit "4$LONGSHORE_ATTEMPT""#)
    };
    let once = subject.client.run(with(&[75])).await;
    assert_eq!(codes(&once), [Some(41)], "{once:?}");
    let twice = subject.client.run(with(&[75, 41])).await;
    assert_eq!(codes(&twice), [Some(41), Some(42)], "{twice:?}");
    let infra = RunSpec { infra_retries: Some(3), ..subject.script("sleep 0.2; exit 5") };
    let run = subject.client.run(infra).await;
    assert_eq!(codes(&run), [Some(5)], "a budget pays for its own only: {run:?}");
}

pub(crate) async fn a_cancel_ends_all_attempts(subject: &Subject) {
    let client = &subject.client;
    let name = client.submit(retried(subject, 20, "sleep 0.1; exit 3")).await.name;
    let waiting = client.wait_until(&name, "between two attempts", |run| run.waiting_reason == "RETRY_BACKOFF").await;
    assert_eq!(waiting.state(), RunState::Pending, "{waiting:?}");
    assert!(waiting.retry_time.is_some(), "{waiting:?}");
    assert!(waiting.message.contains("attempt 1 failed: the program exited with 3"), "{}", waiting.message);
    let log = client.open_logs(follow(&name)).await;
    client.cancel(&name, "enough").await;
    let run = client.wait_terminal(&name).await;
    assert_eq!((run.state(), run.failure.as_ref()), (RunState::Cancelled, None), "{run:?}");
    assert_eq!(run.stop.as_ref().expect("the stop").reason, "enough");
    // A follower ends with its run.
    log.rest().await;
    let settled = client.wait_settled(&name).await;
    assert_eq!(settled.attempts, run.attempts, "nothing follows a cancel");
}

pub(crate) async fn the_total_clock_ends_all_attempts(subject: &Subject) {
    // The first attempt fails at once, the second goes on and on.
    let text = format!(r#"[ "$LONGSHORE_ATTEMPT" -ge 2 ] || {{ sleep 0.2; exit 3; }}; {UNTIL_TERM}"#);
    let run = subject.client.run(RunSpec { total_timeout: seconds(20), ..retried(subject, 3, &text) }).await;
    let failure = run.failure.as_ref().unwrap_or_else(|| panic!("{run:?}"));
    assert_eq!((run.state(), failure.reason()), (RunState::Failed, FailureReason::TotalDeadline), "{run:?}");
    assert_eq!(run.stop.as_ref().expect("the stop").cause(), StopCause::TotalDeadline);
    assert_eq!(codes(&run), [Some(3), Some(3)], "{run:?}");
}

pub(crate) async fn the_result_is_that_of_the_last_attempt(subject: &Subject) {
    let text = r#"echo "{\"attempt\": $LONGSHORE_ATTEMPT}"; sleep 0.3; [ "$LONGSHORE_ATTEMPT" -ge 2 ] || exit 3"#;
    let rule = result_rule(ResultMode::Required, ResultScan::LastObject);
    let run = subject.client.run(RunSpec { result: rule, ..retried(subject, 3, text) }).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    assert_eq!(run.result.expect("a result").json, r#"{"attempt":2}"#);

    // Asked for by name, a result that is missing is one more reason.
    let text = r#"[ "$LONGSHORE_ATTEMPT" -lt 2 ] || echo '{"found": true}'; sleep 0.3"#;
    let missing = RetryOn { reasons: vec![FailureReason::ResultMissing.into()], exit_codes: Vec::new() };
    let spec = RunSpec { result: rule, retry_on: Some(missing), ..retried(subject, 1, text) };
    let run = subject.client.run(spec).await;
    assert_eq!((run.state(), codes(&run)), (RunState::Succeeded, vec![Some(0), Some(0)]), "{run:?}");
}

pub(crate) async fn wrong_retries_are_refused_together(subject: &Subject) {
    let spec = RunSpec {
        infra_retries: Some(21),
        total_timeout: seconds(0),
        retry_on: Some(RetryOn { reasons: vec![FailureReason::Evicted.into(), 99], exit_codes: vec![0] }),
        ..retried(subject, -1, "true")
    };
    let refused = subject.client.try_submit(submit_request(spec)).await.expect_err("it is wrong");
    assert_error(&refused, Code::InvalidArgument, ErrorReason::InvalidFields);
    for field in [
        "spec.max_retries",
        "spec.infra_retries",
        "spec.total_timeout",
        "spec.retry_on.reasons[0]",
        "spec.retry_on.reasons[1]",
        "spec.retry_on.exit_codes[0]",
    ] {
        assert!(format!("{refused:?}").contains(field), "{field}: {refused:?}");
    }
}
