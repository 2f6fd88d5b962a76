//! Output that the kubelet rotates, takes away or refuses. What is said of it is true.

use futures::{AsyncReadExt, future};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{EvictParams, LogParams};
use longshore::proto::v1::{
    FailureReason, LogGapCause, ResultMode, ResultScan, ResultState, RunSpec, RunState, StreamLogsRequest,
};

use crate::case::{Case, on_cluster, script};
use crate::support::client::{Client, follow};
use crate::support::logs::{Closing, Log};
use crate::support::spec::result_rule;
use crate::support::wait::until;

/// `count` lines of 61 bytes, numbered from `from` on.
fn lines(from: usize, count: usize) -> String {
    format!("awk 'BEGIN {{ for (i = {from}; i < {from} + {count}; i++) printf \"%060d\\n\", i }}'")
}

/// Prints more than the kubelet keeps in one file (10 MiB, looked at every 10 s), twice, and then little.
fn rotated(before: &str) -> String {
    let much = lines(0, 190_000);
    let last = lines(380_000, 1_000);
    format!("{before}; {much}; sleep 25; {much}; sleep 25; {last}; sleep 1")
}

fn plain(name: &str) -> StreamLogsRequest {
    StreamLogsRequest { follow: false, ..follow(name) }
}

#[track_caller]
fn assert_start_may_be_missing(log: &Log) {
    let causes: Vec<_> = log.gaps.iter().map(|gap| (gap.cause(), gap.from_time)).collect();
    assert_eq!(causes, [(LogGapCause::NotFollowed, None)], "one gap, at the start");
    assert!(!log.text().starts_with(&format!("{:060}\n", 0)), "it is rotated");
    let ended = &log.ended[0];
    assert_eq!((ended.lines, ended.bytes, ended.sha256.as_str()), (None, None, ""), "not known to be whole");
    assert_eq!(log.closing.map(|closing| matches!(closing, Closing::End(_))), Some(true));
}

#[tokio::test]
async fn output_that_was_rotated_away_before_anybody_read_it_is_a_gap() {
    on_cluster("output_that_was_rotated_away", async |case| {
        let client = case.client().await;
        let run = client.run(script(&rotated("true"))).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        assert_start_may_be_missing(&client.read_logs(plain(&run.name)).await);
        assert_start_may_be_missing(&client.logs(&run.name).await);
    })
    .await;
}

#[tokio::test]
async fn a_result_that_was_rotated_away_is_unavailable_and_not_missing() {
    on_cluster("a_result_that_was_rotated_away", async |case| {
        let client = case.client().await;
        let mut names = Vec::new();
        for print in [r#"echo '{"a":1}'"#, r#"echo "$LONGSHORE_RESULT_MARKER"'{"a":1}'"#] {
            let rule = result_rule(ResultMode::Required, ResultScan::LastObject);
            let run = client.submit(RunSpec { result: rule, ..script(&rotated(print)) }).await;
            client.wait_state(&run.name, RunState::Running).await;
            names.push(run.name);
        }
        case.daemon.kill().await;
        for name in &names {
            until("the Job's end", async || {
                let conditions = case.job(name).await.status.and_then(|status| status.conditions).unwrap_or_default();
                conditions.iter().any(|c| c.type_ == "Complete" && c.status == "True").then_some(())
            })
            .await;
        }
        case.daemon.revive().await;
        let client = case.client().await;
        for name in &names {
            let run = client.wait_terminal(name).await;
            let reason = run.failure.as_ref().map(|failure| failure.reason());
            assert_eq!((run.state(), reason), (RunState::Failed, Some(FailureReason::ResultUnavailable)), "{run:?}");
            assert_eq!(run.result.map(|result| result.state()), Some(ResultState::Unavailable));
        }
    })
    .await;
}

async fn pod_of(case: &Case, client: &Client, name: &str) -> String {
    let run = client.wait_state(name, RunState::Running).await;
    let pod = run.attempts.last().expect("an attempt").pod.clone();
    assert!(case.api::<Pod>().get_opt(&pod).await.expect("a look").is_some());
    pod
}

#[tokio::test]
async fn what_the_kubelet_says_of_an_evicted_pod_is_no_output() {
    on_cluster("what_the_kubelet_says_of_an_evicted_pod", async |case| {
        let client = case.client().await;
        let text = "echo real output; trap 'exit 0' TERM; i=0; while [ $i -lt 600 ]; do sleep 0.2; i=$((i+1)); done";
        let name = client.submit(script(text)).await.name;
        let pod = pod_of(case, &client, &name).await;
        case.api::<Pod>().evict(&pod, &EvictParams::default()).await.expect("an eviction");
        loop {
            let over = client.get(&name).await.state().is_terminal();
            let log = client.read_logs(plain(&name)).await;
            match log.text().as_str() {
                "real output\n" => {}
                "" => assert!(!log.gaps.is_empty(), "no output, and no word of why: {log:?}"),
                other => panic!("{other:?} is not what the program printed"),
            }
            if over {
                break;
            }
            // As somebody does who polls.
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        }
    })
    .await;
}

/// What `kubectl logs -f` gets.
async fn raw_follow(case: &Case, pod: &str) -> usize {
    let params = LogParams { follow: true, container: Some("run".to_owned()), ..LogParams::default() };
    let mut stream = Box::pin(case.api::<Pod>().log_stream(pod, &params).await.expect("a follow"));
    let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
    loop {
        match stream.read(&mut buffer).await.expect("the raw follow") {
            0 => return bytes,
            read => bytes += read,
        }
    }
}

#[tokio::test]
#[ignore = "compares two readers of 90 MB, which wants a quiet machine"]
async fn a_follow_gets_at_least_what_a_raw_follow_gets() {
    on_cluster("a_follow_gets_at_least_what_a_raw_follow_gets", async |case| {
        let client = case.client().await;
        let text = format!("sleep 2; {}; sleep 3", lines(0, 1_500_000));
        let name = client.submit(script(&text)).await.name;
        let ours = client.logs(&name);
        let raw = async {
            let pod = pod_of(case, &client, &name).await;
            raw_follow(case, &pod).await
        };
        let (log, raw) = future::join(ours, raw).await;
        let bytes = log.bytes();
        assert!(bytes.len() >= raw, "{} bytes, and a raw follow gets {raw}", bytes.len());
        let complete = bytes.len() == 1_500_000 * 61;
        // A reader that fell behind reads on in the newest file; what stood between the two can't be known then.
        assert!(complete || !log.gaps.is_empty(), "a gap where something is missing");
        // Not those in pieces: a gap may begin and end within a line.
        let whole = log.entries.iter().map(|entry| &entry.data).filter(|line| line.len() == 61);
        let numbers = whole.map(|line| std::str::from_utf8(line).unwrap().trim().parse::<usize>().unwrap());
        assert!(numbers.is_sorted_by(|one, next| one < next), "in order, and nothing twice");
    })
    .await;
}

#[tokio::test]
async fn a_tail_of_much_output_is_what_was_asked_for() {
    on_cluster("a_tail_of_much_output", async |case| {
        let client = case.client().await;
        // Below the size of a rotation.
        let run = client.run(script(&format!("{}; sleep 1", lines(0, 95_000)))).await;
        let start = Some(longshore::proto::v1::stream_logs_request::Start::TailLines(90_000));
        let log = client.read_logs(StreamLogsRequest { start, ..plain(&run.name) }).await;
        assert_eq!(log.bytes().len(), 90_000 * 61);
        assert!(log.text().ends_with(&format!("{:060}\n", 94_999)));
    })
    .await;
}
