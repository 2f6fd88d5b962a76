//! What an earlier version left on a disk is adopted. `stored/DATE/state` is a state directory of the local backend as
//! the version of that day left it when it was killed; `stored/DATE/reported` is what `longshore get -o json` of that
//! version said of each run once it had been started again on it.

use std::path::Path;
use std::process::Command;

use longshore::proto::v1::{ReadResultRequest, ResultMode, ResultScan, RunSpec, SubmitRunRequest};
use serde_json::Value;

use crate::fixture::{Local, script};
use crate::support::client::{Client, DEFAULT, submit_request};
use crate::support::daemon::LONGSHORE;
use crate::support::spec::{result_rule, seconds};

/// Those that were recorded when the server was killed.
const RECORDED: [&str; 3] = ["succeeded", "failed", "cancelled"];
/// Those that were not: one whose program ended afterwards, two that were lost, one with and one without a stop, and one
/// that had not begun.
const LEFT: [&str; 4] = ["meanwhile", "lost", "stopping", "queued"];

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

/// A server that finds the state directory of that day.
async fn upgraded(stored: &Path) -> Local {
    let mut local = Local::start().await;
    local.daemon.kill().await;
    std::fs::remove_dir_all(local.state()).unwrap();
    copy(&stored.join("state"), &local.state());
    local.daemon.revive().await;
    local
}

/// What the command line says of a run.
async fn reported(local: &Local, name: &str) -> Value {
    let server = format!("http://{}", local.daemon.address());
    let mut command = Command::new(LONGSHORE);
    command.args(["get", "-o", "json", name]).env("LONGSHORE_SERVER", server);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Without what a later version may report otherwise, and, of a run that was settled twice, without what is of the moment.
fn lasting(mut run: Value, is_recorded: bool) -> Value {
    fn without_times(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let is_kept = |key: &str| !key.ends_with("Time") || ["createTime", "requestTime"].contains(&key);
                fields.retain(|key, _| is_kept(key));
                fields.values_mut().for_each(without_times);
            }
            Value::Array(items) => items.iter_mut().for_each(without_times),
            _ => {}
        }
    }
    let fields = run.as_object_mut().unwrap();
    fields.remove("etag");
    if !is_recorded {
        without_times(&mut run);
        let attempt = run["attempts"][0].as_object_mut().unwrap();
        // The path of the state directory, and the machine's name.
        attempt.remove("job");
        attempt.remove("node");
    }
    run
}

async fn logs(client: &Client, id: &str) -> String {
    client.logs(&format!("{DEFAULT}/runs/{id}")).await.text()
}

#[tokio::test]
async fn runs_of_an_earlier_version_are_adopted() {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stored/2026-11-30");
    let mut local = upgraded(&stored).await;
    let client = local.client().await;
    for id in RECORDED.into_iter().chain(LEFT) {
        let name = format!("{DEFAULT}/runs/{id}");
        client.wait_settled(&name).await;
        let before = std::fs::read(stored.join(format!("reported/{id}.json"))).unwrap();
        let before = serde_json::from_slice(&before).unwrap();
        let is_recorded = RECORDED.contains(&id);
        let now = lasting(reported(&local, &name).await, is_recorded);
        assert_eq!(now, lasting(before, is_recorded), "{id}");
    }
    assert_eq!(logs(&client, "succeeded").await, "one\n{\"n\": 1, \"text\": \"a \\\"b\\\"\"}\n");
    assert_eq!(logs(&client, "queued").await, "late\n", "it was executed");
    let request = ReadResultRequest { name: format!("{DEFAULT}/runs/meanwhile"), read_offset: 0 };
    let chunk = client.runs.clone().read_result(request).await.expect("ReadResult").into_inner().message().await;
    assert_eq!(chunk.expect("a chunk").map(|chunk| chunk.data), Some(b"{\"n\":2}".to_vec()));

    // Submitting the same again is the same run.
    let spec = RunSpec {
        labels: [("team".to_owned(), "data".to_owned())].into(),
        annotations: [("example.com/owner".to_owned(), "alice".to_owned())].into(),
        retention: seconds(30 * 86_400),
        result: result_rule(ResultMode::Required, ResultScan::LastObject),
        ..script(r#"echo one; echo "{\"n\": 1, \"text\": \"a \\\"b\\\"\"}""#)
    };
    let request = SubmitRunRequest { run_id: "succeeded".to_owned(), ..submit_request(spec) };
    let again = client.try_submit(request).await.expect("SubmitRun");
    assert!(again.replayed, "{again:?}");

    // What was made of it is read back by the next start.
    let before = client.get(&format!("{DEFAULT}/runs/queued")).await;
    local.daemon.kill().await;
    local.daemon.revive().await;
    let client = local.client().await;
    let after = client.get(&before.name).await;
    assert_eq!((after.uid, after.state, after.etag), (before.uid, before.state, before.etag));
}
