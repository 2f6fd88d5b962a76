//! What an operator sees on `/metrics`.

use std::collections::BTreeMap;

use longshore::proto::v1::{ResultMode, ResultScan, RunSpec, StreamLogsRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Local, script};
use crate::support::client::follow;
use crate::support::spec::{result_rule, runner};
use crate::support::wait::{until, within};

/// Every series, its labels without quotes, and its value.
type Series = BTreeMap<String, f64>;

async fn scrape(local: &Local) -> Series {
    let mut stream = TcpStream::connect(local.daemon.admin()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within("the metrics", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let series = text.lines().filter(|line| line.starts_with("longshore_"));
    series.filter_map(|line| line.rsplit_once(' ')).map(|(name, value)| (named(name), value.parse().unwrap())).collect()
}

fn named(series: &str) -> String {
    series.trim_start_matches("longshore_").replace('"', "")
}

/// The series of these metrics that are not zero.
fn of(series: &Series, metrics: &[&str]) -> Series {
    let is_one = |name: &str| metrics.contains(&name.split('{').next().unwrap_or_default());
    series.iter().filter(|(name, value)| is_one(name) && **value != 0.0).map(|(n, v)| (n.clone(), *v)).collect()
}

fn expected<const N: usize>(rows: [(&str, f64); N]) -> Series {
    rows.map(|(name, value)| (name.to_owned(), value)).into()
}

const RUNS: [&str; 4] = ["runs", "run_holds", "backend_synced", "log_followers"];

#[tokio::test]
async fn runs_submits_and_output_are_counted_exactly() {
    let mut local = Local::start_with(["--admin-listen", "127.0.0.1:0"]).await;
    let client = local.client().await;
    assert_eq!(of(&scrape(&local).await, &RUNS), expected([("backend_synced", 1.0)]), "nothing runs yet");

    let good = script("echo before; gate go; echo after; echo '{\"n\":1}'");
    let good = RunSpec { result: result_rule(ResultMode::Required, ResultScan::LastObject), ..good };
    let run = client.submit_as("one", good.clone()).await.expect("SubmitRun").run.expect("the run");
    let mut first = client.open_logs(follow(&run.name)).await;
    first.until("before\n").await;
    let mut second = client.open_logs(follow(&run.name)).await;
    second.until("before\n").await;
    assert!(client.submit_as("one", good).await.expect("SubmitRun").replayed);
    client.submit_as("two", runner("no-such-profile")).await.expect_err("there is no such profile");

    let live = of(&scrape(&local).await, &[&RUNS[..], &["log_upstreams"]].concat());
    let rows = [
        ("backend_synced", 1.0),
        ("runs{state=RUNNING}", 1.0),
        ("run_holds{stage=live}", 1.0),
        ("log_followers", 2.0),
        ("log_upstreams", 1.0),
    ];
    assert_eq!(live, expected(rows));

    local.open("go");
    let output = "before\nafter\n{\"n\":1}\n";
    for follower in [first, second] {
        assert_eq!(follower.rest().await.text(), output);
    }
    let bad = client.run(script("exit 5")).await;
    for name in [&run.name, &bad.name] {
        client.wait_settled(name).await;
    }
    // A stream that was read to its end closes a moment later here, and what an action did may be
    // seen before the action is over.
    let series = until("everything to be over", async || {
        let series = scrape(&local).await;
        let released = series["reconciler_actions_total{action=release,outcome=done}"];
        (released >= 2.0 && of(&series, &["log_followers", "log_upstreams"]).is_empty()).then_some(series)
    })
    .await;

    let standing = [("backend_synced", 1.0), ("runs{state=SUCCEEDED}", 1.0), ("runs{state=FAILED}", 1.0)];
    assert_eq!(of(&series, &RUNS), expected(standing));
    let submits = [("created", 2.0), ("replayed", 1.0), ("invalid", 1.0)]
        .map(|(o, n)| (format!("submits_total{{outcome={o}}}"), n));
    assert_eq!(of(&series, &["submits_total"]), submits.into());
    let ends = [
        ("runs_finished_total{state=SUCCEEDED,class=NONE,reason=NONE}", 1.0),
        ("runs_finished_total{state=FAILED,class=USER,reason=NONZERO_EXIT}", 1.0),
        ("run_results_total{state=FOUND,source=SCAN}", 1.0),
    ];
    assert_eq!(of(&series, &["runs_finished_total", "run_results_total"]), expected(ends));
    // Read once, though two callers and the result reader follow it.
    let bytes = f64::from(u32::try_from(output.len()).unwrap());
    let rows = [("log_read_bytes_total{reader=feed}", bytes), ("log_sent_bytes_total", 2.0 * bytes)];
    assert_eq!(of(&series, &["log_read_bytes_total", "log_sent_bytes_total", "log_gaps_total"]), expected(rows));
    for (series_name, least) in [
        ("run_state_duration_seconds_count{state=RUNNING}", 1.0),
        ("run_state_duration_seconds_count{state=FINISHING}", 1.0),
        ("exit_seen_delay_seconds_count", 1.0),
        ("reconciler_actions_total{action=write_record,outcome=done}", 2.0),
    ] {
        assert!(series[series_name] >= least, "{series_name}: {series:?}");
    }
    assert!(series["reconciler_busy_seconds_total"] > 0.0, "{series:?}");
    assert!(series.keys().any(|name| name.starts_with("build_info{version=") && name.contains("backend=local")));
    assert!(!series.keys().any(|name| name.starts_with("kubernetes_")), "there is no cluster: {series:?}");

    // What was over before is known, but did not happen in this process.
    local.daemon.kill().await;
    local.daemon.revive().await;
    local.client().await;
    let series = scrape(&local).await;
    assert_eq!(of(&series, &RUNS), expected(standing));
    let happened = ["runs_finished_total", "run_results_total", "run_state_duration_seconds_count", "submits_total"];
    assert_eq!(of(&series, &happened), Series::new());
    assert_eq!(of(&series, &["exit_seen_delay_seconds_count"]), Series::new());
}

#[tokio::test]
async fn lost_output_is_a_gap_of_who_found_it() {
    let local = Local::start_with(["--admin-listen", "127.0.0.1:0"]).await;
    let client = local.client().await;
    let name = client.submit(script("echo one; gate go; echo two")).await.name;
    client.open_logs(follow(&name)).await.until("one\n").await;
    assert_eq!(of(&scrape(&local).await, &["log_gaps_total"]), Series::new());
    local.open("go");
    client.wait_settled(&name).await;
    local.lose_output(&name).await;
    let request = StreamLogsRequest { follow: false, ..follow(&name) };
    let gaps = client.read_logs(request).await.gaps.len();
    assert!(gaps > 0, "output was deleted");
    let series = scrape(&local).await;
    let printed: f64 = of(&series, &["log_gaps_total"]).values().sum();
    let by_caller = series.iter().filter(|(name, _)| name.starts_with("log_gaps_total{reader=caller"));
    assert_eq!((printed, by_caller.map(|(_, count)| count).sum::<f64>()), (gaps as f64, gaps as f64), "{series:?}");
}

/// Waits until a metric without labels has this value.
pub(crate) async fn value(local: &Local, metric: &str, wanted: f64) {
    let read = async || scrape(local).await.get(metric).is_some_and(|value| (value - wanted).abs() < 0.1).then_some(());
    until(&format!("{metric} to be {wanted}"), read).await;
}
