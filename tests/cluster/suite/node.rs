//! What a node does to the runs on it: it is low on disk, its kubelet is restarted or silent, it is
//! drained by a taint, its clock is another one.
//!
//! These tests change the kubelet's configuration and the images it keeps, so they are ignored
//! unless asked for, and run alone, one after the other: `--ignored --test-threads 1 node::`.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::process::Command;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use longshore::proto::v1::{FailureClass, FailureReason, Run, RunSpec, RunState};
use serde_json::json;

use crate::case::{Case, Setup, on_cluster_with, reason, script, started};
use crate::cluster::{self, control};
use crate::support::client::follow;
use crate::support::spec::{UNTIL_TERM, seconds};
use crate::support::wait::until;

/// The cluster's only node.
const NODE: &str = "localhost";
/// Lines of the kubelet's configuration, as they are.
const FREE_DISK: &str = "  nodefs.available: \"0%\"\n";
const ISOLATION: &str = "localStorageCapacityIsolation: false\n";

/// The kubelet's configuration, which is put back.
struct Kubelet {
    path: PathBuf,
    original: String,
}

impl Kubelet {
    fn find() -> Self {
        let socket = std::env::var_os("LONGSHORE_TEST_CONTROL").expect("LONGSHORE_TEST_CONTROL: a cluster of our own");
        let path = PathBuf::from(socket).with_file_name("etc").join("kubelet.yaml");
        let original = std::fs::read_to_string(&path).expect("the kubelet's configuration");
        Self { path, original }
    }

    /// Restarts the kubelet so that it counts what is on its disk, and ends what exceeds a limit of its own; and, if
    /// `free` is given, so that the node is low on disk as long as it has less MiB than that.
    async fn restart_counting(&self, free: Option<u64>) {
        let mut text = self.original.clone();
        let low = free.map(|free| (FREE_DISK, format!("  nodefs.available: {free}Mi\n")));
        // The pressure is over 5 s after its cause, not 5 minutes.
        let counting = "localStorageCapacityIsolation: true\nevictionPressureTransitionPeriod: 5s\n".to_owned();
        for (line, instead) in low.into_iter().chain([(ISOLATION, counting)]) {
            assert!(text.contains(line), "{line:?} is in {}", self.path.display());
            text = text.replace(line, &instead);
        }
        std::fs::write(&self.path, text).expect("the kubelet's configuration");
        control("restart kubelet").await;
    }

    /// Restarts the kubelet so that its node is low on disk.
    async fn exhaust_disk(&self) {
        self.restart_counting(None).await;
        let (free, capacity) = disk().await;
        // The kubelet does not start with a threshold above the capacity.
        self.restart_counting(Some(u64::midpoint(free, capacity) / (1 << 20))).await;
    }

    /// Makes the node what it was, with its images.
    async fn restore(&self, kube: kube::Client) {
        std::fs::write(&self.path, &self.original).expect("the kubelet's configuration");
        control("restart kubelet").await;
        let nodes: Api<Node> = Api::all(kube);
        let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
        until("the node to be as before", async || {
            nodes.patch(NODE, &PatchParams::default(), &untainted).await.ok()?;
            let node = nodes.get(NODE).await.ok()?;
            let conditions = node.status?.conditions?;
            let ready = conditions.iter().all(|c| (c.type_ == "Ready") == (c.status == "True"));
            (ready && node.spec?.taints.is_none_or(|taints| taints.is_empty())).then_some(())
        })
        .await;
        // Under pressure the kubelet deletes images that nothing uses just then.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/cluster.sh");
        let loaded = Command::new(script).arg("up").status().expect("cluster.sh");
        assert!(loaded.success(), "the images are loaded again");
    }
}

/// As [`on_cluster_with`], with a node that is whole again afterwards.
async fn on_node(name: &str, setup: Setup, test: impl AsyncFnOnce(&mut Case, &Kubelet)) {
    let kubelet = Kubelet::find();
    let kube = cluster::connect().await;
    let test = on_cluster_with(name, Setup { exclusive: true, ..setup }, async |case| test(case, &kubelet).await);
    let ended = AssertUnwindSafe(test).catch_unwind().await;
    kubelet.restore(kube).await;
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

fn blame(run: &Run) -> Option<(FailureClass, bool)> {
    run.failure.as_ref().map(|failure| (failure.failure_class(), failure.retryable))
}

fn start_time(run: &Run) -> Option<prost_types::Timestamp> {
    run.timeline.as_ref().and_then(|timeline| timeline.start_time)
}

/// Bytes that the kubelet counts as free on its disk, and all that it has. It is asked itself: the API server passes nothing on to a
/// loopback address.
async fn disk() -> (u64, u64) {
    let mut config = kube::Config::new(http::Uri::from_static("https://127.0.0.1:10250"));
    config.accept_invalid_certs = true;
    let client = kube::Client::try_from(config).expect("a client of the kubelet");
    until("the kubelet's statistics", async || {
        let request = http::Request::get("/stats/summary").body(Vec::new()).expect("a request");
        let summary: serde_json::Value = client.request(request).await.ok()?;
        let disk = &summary["node"]["fs"];
        disk["availableBytes"].as_u64().zip(disk["capacityBytes"].as_u64())
    })
    .await
}

#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn an_own_limit_is_the_callers() {
    on_node("an_own_limit_is_the_callers", Setup::default(), async |case, kubelet| {
        kubelet.restart_counting(None).await;
        let text = "dd if=/dev/zero of=/tmp/x bs=1M count=30; sleep 120";
        let run = case.client().await.run(RunSpec { tmp_size: Some("10Mi".to_owned()), ..script(text) }).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::EphemeralStorage)), "{run:?}");
        assert_eq!(blame(&run), Some((FailureClass::User, false)), "{run:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn a_node_that_is_low_on_disk_is_not_the_callers_and_what_was_seen_stays() {
    on_node("a_node_that_is_low_on_disk", Setup::default(), async |case, kubelet| {
        let client = case.client().await;
        let run = started(&client).await;
        let states = client.open_logs(follow(&run.name)).await;
        // The kubelet is restarted into the pressure, and empties the Pod's status.
        kubelet.exhaust_disk().await;
        let end = client.wait_terminal(&run.name).await;
        assert_eq!((end.state(), reason(&end)), (RunState::Failed, Some(FailureReason::Evicted)), "{end:?}");
        assert_eq!(blame(&end), Some((FailureClass::Infra, true)), "{end:?}");
        assert_eq!(start_time(&end), start_time(&run), "started stays started: {end:?}");
        let followed = states.rest().await;
        assert!(followed.text().starts_with("ready\n"), "{followed:?}");
        let late = client.logs(&run.name).await;
        assert!(late.text() == followed.text() || !late.gaps.is_empty(), "no output, and no word of why: {late:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn what_never_ran_on_a_node_that_is_low_on_disk_is_not_the_callers() {
    on_node("what_never_ran_on_a_node", Setup::default(), async |case, kubelet| {
        let client = case.client().await;
        kubelet.exhaust_disk().await;
        let nodes: Api<Node> = Api::all(case.kube.clone());
        until("disk pressure", async || {
            let conditions = nodes.get(NODE).await.ok()?.status?.conditions?;
            conditions.iter().any(|c| c.type_ == "DiskPressure" && c.status == "True").then_some(())
        })
        .await;
        let run = client.run(RunSpec { start_timeout: seconds(20), ..script("exit 0") }).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Failed, None), "{run:?}");
        assert_eq!(start_time(&run), None, "{run:?}");
        assert_ne!(run.failure.as_ref().map(|failure| failure.failure_class()), Some(FailureClass::User), "{run:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn a_restart_of_the_kubelet_changes_nothing() {
    on_node("a_restart_of_the_kubelet", Setup::default(), async |case, _| {
        let client = case.client().await;
        let text = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 1; done; sleep 0.2; exit 3";
        let run = client.submit(script(text)).await;
        let mut log = client.open_logs(follow(&run.name)).await;
        log.until("2\n").await;
        let before = client.get(&run.name).await;
        control("restart kubelet").await;
        let end = client.wait_terminal(&run.name).await;
        assert_eq!((end.state(), end.exit_code), (RunState::Failed, Some(3)), "{end:?}");
        assert_eq!(start_time(&end), start_time(&before));
        assert_eq!(log.rest().await.text(), "1\n2\n3\n4\n5\n6\n7\n8\n");
    })
    .await;
}

#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn a_silent_node_is_reported_and_in_the_end_lost() {
    on_node("a_silent_node", Setup::default(), async |case, _| {
        let client = case.client().await;
        let spec = RunSpec { run_timeout: seconds(120), termination_grace: seconds(1), ..script(UNTIL_TERM) };
        let run = client.submit(spec).await;
        let run = client.wait_state(&run.name, RunState::Running).await;
        control("stop kubelet").await;
        let silent =
            client.wait_until(&run.name, "said to be silent", |run| run.message.contains("not reported")).await;
        assert_eq!(silent.state(), RunState::Running, "nobody knows better: {silent:?}");
        // As the eviction by taint does after five minutes.
        let pods = case.api::<Pod>();
        let pod = &silent.attempts[0].pod;
        pods.delete(pod, &DeleteParams::default()).await.expect("delete the Pod");
        let end = client.wait_terminal(&run.name).await;
        assert_eq!((end.state(), reason(&end)), (RunState::Failed, Some(FailureReason::NodeLost)), "{end:?}");
        assert_eq!(blame(&end), Some((FailureClass::Infra, true)), "{end:?}");
        assert_eq!(start_time(&end), start_time(&run));
        assert_eq!(end.exit_code, None, "{end:?}");
    })
    .await;
}

/// By then nobody has deleted its Pod: Kubernetes takes five minutes.
#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn a_node_that_stays_silent_is_lost_by_a_clock() {
    let config = "[kubernetes]\nnode_lost_after = \"30s\"\n".to_owned();
    on_node("a_node_that_stays_silent", Setup { config, ..Setup::default() }, async |case, _| {
        let client = case.client().await;
        let spec = RunSpec { run_timeout: seconds(20), termination_grace: seconds(1), ..script(UNTIL_TERM) };
        let run = client.submit(spec).await;
        let run = client.wait_state(&run.name, RunState::Running).await;
        control("stop kubelet").await;
        let overrun = client
            .wait_until(&run.name, "said to have overrun", |run| run.message.contains("its run_timeout of 20s passed"))
            .await;
        assert!(overrun.message.contains("it counts as lost in"), "{}", overrun.message);
        let end = client.wait_settled(&run.name).await;
        assert_eq!((end.state(), reason(&end)), (RunState::Failed, Some(FailureReason::NodeLost)), "{end:?}");
        assert!(end.message.ends_with("the program may still be running there"), "{}", end.message);
        assert_eq!(end.exit_code, None, "{end:?}");
        // It is told to end, and does once its node is back.
        let pods = case.api::<Pod>();
        let pod = pods.get(&run.attempts[0].pod).await.expect("its Pod");
        assert_eq!(pod.spec.and_then(|spec| spec.active_deadline_seconds), Some(1));
        control("start kubelet").await;
        until("the program to end", async || {
            let pod = pods.get(&run.attempts[0].pod).await.expect("its Pod");
            (pod.status?.phase? == "Failed").then_some(())
        })
        .await;
        assert_eq!(client.get(&run.name).await, end, "what is recorded stays");
    })
    .await;
}

/// Its Pod stays until the node reports again; who declared the run safe to repeat does not wait for that.
#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn a_run_that_may_be_repeated_goes_on_without_its_lost_node() {
    on_node("a_run_that_may_be_repeated", Setup::default(), async |case, _| {
        let client = case.client().await;
        let text = format!("[ \"$LONGSHORE_ATTEMPT\" = 2 ] && exit 0; {UNTIL_TERM}");
        let grace = RunSpec { termination_grace: seconds(1), start_timeout: seconds(600), ..script(&text) };
        let run = client.submit(RunSpec { infra_retries: Some(1), ..grace }).await;
        let run = client.wait_state(&run.name, RunState::Running).await;
        control("stop kubelet").await;
        client.wait_until(&run.name, "said to be silent", |run| run.message.contains("not reported")).await;
        let pod = &run.attempts[0].pod;
        case.api::<Pod>().delete(pod, &DeleteParams::default()).await.expect("delete the Pod");
        let second = client.wait_until(&run.name, "in its second attempt", |run| run.attempts.len() == 2).await;
        let lost = second.attempts[0].failure.as_ref().map(|failure| failure.reason());
        assert_eq!(lost, Some(FailureReason::NodeLost), "{second:?}");
        assert!(case.api::<Pod>().get_opt(pod).await.expect("a look").is_some(), "the first one's Pod is still there");
        control("start kubelet").await;
        let end = client.wait_terminal(&run.name).await;
        assert_eq!((end.state(), end.attempts.len()), (RunState::Succeeded, 2), "{end:?}");
        assert_eq!(end.attempts[0].failure.as_ref().map(|failure| failure.reason()), lost, "{end:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn a_taint_that_ends_what_runs_is_an_eviction() {
    on_node("a_taint_that_ends_what_runs", Setup::default(), async |case, _| {
        let client = case.client().await;
        let text = "trap '' TERM; echo ready; i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done";
        let run = client.submit(RunSpec { termination_grace: seconds(4), ..script(text) }).await;
        let mut log = client.open_logs(follow(&run.name)).await;
        log.until("ready\n").await;
        let nodes: Api<Node> = Api::all(case.kube.clone());
        let taint = json!({"spec": {"taints": [{"key": "example.com/repair", "effect": "NoExecute"}]}});
        let ending = client.wait_until(&run.name, "being ended", |run| run.state() == RunState::Finishing);
        let (params, patch) = (PatchParams::default(), Patch::Merge(&taint));
        let (ending, tainted) = futures::join!(ending, nodes.patch(NODE, &params, &patch));
        tainted.expect("taint the node");
        assert!(ending.message.contains("DeletionByTaintManager"), "{}", ending.message);
        let end = client.wait_terminal(&run.name).await;
        assert_eq!((end.state(), reason(&end)), (RunState::Failed, Some(FailureReason::Evicted)), "{end:?}");
        assert_eq!(end.exit_code, Some(137), "{end:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "disturbs the node: runs alone"]
async fn a_daemon_with_another_clock_says_the_same() {
    let Some(library) = std::env::var_os("LONGSHORE_TEST_FAKETIME").filter(|path| !path.is_empty()) else {
        panic!("LONGSHORE_TEST_FAKETIME names no libfaketime.so.1");
    };
    for ahead in ["+2s", "-2s", "+30s"] {
        let env = [
            ("LD_PRELOAD".into(), library.clone()),
            ("FAKETIME".into(), ahead.into()),
            // Its timers are the monotonic clock's, which no two machines share anyway.
            ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
        ];
        let setup = Setup { env: env.into(), ..Setup::default() };
        on_cluster_with("a_daemon_with_another_clock", setup, async |case| {
            let client = case.client().await;
            let run = client.submit(script("trap 'exit 143' TERM; sleep 60 & wait $!")).await;
            client.wait_state(&run.name, RunState::Running).await;
            client.cancel(&run.name, "enough").await;
            let run = client.wait_terminal(&run.name).await;
            assert_eq!((run.state(), run.exit_code), (RunState::Cancelled, Some(143)), "{ahead}: {run:?}");
            let (quick, late) = (
                RunSpec { run_timeout: seconds(5), ..script("sleep 3.5; exit 0") },
                RunSpec { run_timeout: seconds(3), ..script("sleep 60") },
            );
            let (quick, late) = futures::join!(client.run(quick), client.run(late));
            assert_eq!((quick.state(), quick.exit_code), (RunState::Succeeded, Some(0)), "{ahead}: {quick:?}");
            assert_eq!(reason(&late), Some(FailureReason::RunDeadline), "{ahead}: {late:?}");
        })
        .await;
    }
}
