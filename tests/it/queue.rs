//! So many runs are executed at once on this machine; the others are QUEUED, first come, first served.

use std::collections::BTreeMap;

use longshore::proto::v1::{FailureReason, GetServerInfoRequest, RunState, StopCause};

use crate::fixture::{Local, script};
use crate::support::client::Client;
use crate::support::spec::seconds;

const TWO: &str = "max_concurrent_runs = 2";

/// A script that waits at a gate of its own.
fn gated(id: &str) -> String {
    format!("mark {id}; gate {id}; echo {id}")
}

async fn submit(client: &Client, ids: &[&str]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for id in ids {
        names.insert((*id).to_owned(), client.submit(script(&gated(id))).await.name);
    }
    names
}

#[tokio::test]
async fn what_has_no_place_waits_for_its_turn_over_a_restart() {
    let mut local = Local::start_configured(TWO, ["--admin-listen", "127.0.0.1:0"]).await;
    let client = local.client().await;
    let info =
        client.server.clone().get_server_info(GetServerInfoRequest {}).await.expect("GetServerInfo").into_inner();
    let notes = info.isolation.expect("the isolation").notes;
    assert!(notes.iter().any(|note| note.contains("at most 2 runs are executed at once")));
    let names = submit(&client, &["a", "b", "c", "d", "e"]).await;
    for id in ["a", "b"] {
        client.wait_state(&names[id], RunState::Running).await;
    }
    for id in ["c", "d", "e"] {
        let run = client.wait_state(&names[id], RunState::Queued).await;
        assert_eq!(run.waiting_reason, "Queued", "{run:?}");
        assert!(run.message.contains("local.max_concurrent_runs"), "{run:?}");
    }
    let (_, metrics) = crate::health::get(&local, "/metrics").await;
    assert!(metrics.contains("longshore_runs{state=\"QUEUED\"} 3"), "{metrics}");
    // A place goes to who came first, and nothing else starts.
    local.open("b");
    client.wait_terminal(&names["b"]).await;
    client.wait_state(&names["c"], RunState::Running).await;
    local.daemon.kill().await;
    local.daemon.revive().await;
    let client = local.client().await;
    for id in ["a", "c"] {
        client.wait_state(&names[id], RunState::Running).await;
    }
    for id in ["d", "e"] {
        assert_eq!(client.get(&names[id]).await.state(), RunState::Queued, "{id}");
        assert!(!local.run_dir(&names[id]).join("shim.json").exists(), "{id}");
    }
    // Two that end at once, and two that begin.
    for id in ["a", "c", "d", "e"] {
        local.open(id);
    }
    let mut admitted = Vec::new();
    for (id, name) in &names {
        let run = client.wait_terminal(name).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        assert_eq!(client.logs(name).await.text(), format!("{id}\n"));
        let timeline = run.timeline.expect("a timeline");
        let waited = matches!(id.as_str(), "c" | "d" | "e");
        assert_eq!(timeline.admit_time.is_some(), waited, "{id}: {timeline:?}");
        admitted.extend(timeline.admit_time.map(|time| (time.seconds, time.nanos)));
    }
    assert!(admitted.is_sorted(), "{admitted:?}");
}

#[tokio::test]
async fn what_is_stopped_in_the_queue_never_starts() {
    let local = Local::start_configured("max_concurrent_runs = 1", ["--admin-listen", "off"]).await;
    let client = local.client().await;
    let names = submit(&client, &["a", "cancelled", "last"]).await;
    client.wait_state(&names["a"], RunState::Running).await;
    let mut late = script(&gated("late"));
    late.queue_timeout = seconds(1);
    let late = client.submit(late).await.name;
    client.wait_state(&names["cancelled"], RunState::Queued).await;
    client.cancel(&names["cancelled"], "not needed").await;
    let run = client.wait_terminal(&names["cancelled"]).await;
    assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
    let run = client.wait_terminal(&late).await;
    let failure = run.failure.clone().expect("a failure");
    assert_eq!((run.state(), failure.reason()), (RunState::Failed, FailureReason::QueueDeadline), "{run:?}");
    assert_eq!(run.stop.as_ref().map(|stop| stop.cause()), Some(StopCause::QueueDeadline));
    for id in ["a", "last"] {
        local.open(id);
        assert_eq!(client.wait_terminal(&names[id]).await.state(), RunState::Succeeded);
    }
    for name in [&names["cancelled"], &late] {
        let dir = local.run_dir(name);
        assert!(!dir.join("started").exists() && !dir.join("shim.json").exists(), "{name}");
    }
}
