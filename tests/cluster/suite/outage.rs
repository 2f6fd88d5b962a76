//! The API server goes away and comes back.

use k8s_openapi::api::batch::v1::Job;
use longshore::proto::v1::{ErrorReason, RunState};
use tempfile::TempDir;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::case::{Setup, on_cluster_with, script};
use crate::cluster;
use crate::proxy::{Proxy, Way};
use crate::support::client::{Client, follow};
use crate::support::errors::assert_error;
use crate::support::logs::{Closing, Log, resumed};
use crate::support::spec::slow_printer;
use crate::support::wait::until;

/// Follows to the end whatever happens on the way, going on by cursor.
async fn follow_through(client: &Client, name: &str) -> Log {
    let mut whole = Log::default();
    let mut failures = 0;
    while !matches!(whole.closing, Some(Closing::End(_))) {
        let part = match client.try_open_logs(resumed(&follow(name), &whole.cursor)).await {
            Ok(stream) => stream.until_cut().await,
            Err(refused) => {
                assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
                failures += 1;
                assert!(failures < 600, "{refused:?}");
                // As a client does that is asked to come back.
                tokio::time::sleep(std::time::Duration::from_millis(250)).await;
                continue;
            }
        };
        whole.entries.extend(part.entries);
        whole.gaps.extend(part.gaps);
        whole.closing = part.closing;
        if !part.cursor.is_empty() {
            whole.cursor = part.cursor;
        }
    }
    whole
}

#[tokio::test]
async fn a_cluster_that_is_out_of_reach_at_start_is_waited_for() {
    let (proxy, dir) = (Proxy::start(Way::Cut).await, TempDir::new().unwrap());
    let kubeconfig = Some(proxy.kubeconfig(dir.path()));
    let setup = Setup { kubeconfig, unready: true, ..Setup::default() };
    on_cluster_with("a_cluster_that_is_out_of_reach_at_start", setup, async |case| {
        let client = case.daemon.client();
        client.wait_health("liveness", ServingStatus::Serving).await;
        client.wait_health("", ServingStatus::NotServing).await;
        let refused = client.try_get("namespaces/default/runs/x").await.expect_err("out of reach");
        assert_error(&refused, Code::Unavailable, ErrorReason::BackendUnavailable);
        proxy.set(Way::Open);
        let client = client.ready().await;
        assert_eq!(client.run(script("exit 0")).await.state(), RunState::Succeeded);
    })
    .await;
}

#[tokio::test]
async fn a_cut_from_the_cluster_heals_and_no_line_is_lost() {
    let (proxy, dir) = (Proxy::start(Way::Open).await, TempDir::new().unwrap());
    let setup = Setup { kubeconfig: Some(proxy.kubeconfig(dir.path())), ..Setup::default() };
    on_cluster_with("a_cut_from_the_cluster_heals", setup, async |case| {
        let client = case.client().await;
        let (text, expected) = slow_printer(60, "0.1");
        let name = client.submit(script(&format!("{text}; sleep 0.2; exit 3"))).await.name;
        let disturb = async {
            client.open_logs(follow(&name)).await.until("line 10\n").await;
            proxy.set(Way::Cut);
            // The run ends meanwhile, as seen by somebody else.
            let pods = case.api::<k8s_openapi::api::core::v1::Pod>();
            until("the Pod to end", async || {
                let list = pods.list(&kube::api::ListParams::default()).await.ok()?;
                let phase = list.items.first()?.status.as_ref()?.phase.clone()?;
                (phase == "Failed").then_some(())
            })
            .await;
            proxy.set(Way::Open);
        };
        let (log, ()) = futures::join!(follow_through(&client, &name), disturb);
        assert_eq!((log.text(), log.gaps), (expected, Vec::new()));
        let run = client.clone().ready().await.wait_terminal(&name).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(3)), "{run:?}");
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_says_nothing_is_reported_as_out_of_reach() {
    let (proxy, dir) = (Proxy::start(Way::Open).await, TempDir::new().unwrap());
    let setup = Setup { kubeconfig: Some(proxy.kubeconfig(dir.path())), ..Setup::default() };
    on_cluster_with("an_api_server_that_says_nothing", setup, async |case| {
        let client = case.client().await;
        let before = client.run(script("echo before; sleep 0.2")).await;
        proxy.set(Way::Stalled);
        let spec = script("echo once; sleep 0.2");
        let refused = client.submit_as("stalled", spec.clone()).await.expect_err("out of reach");
        assert_error(&refused, Code::Unavailable, ErrorReason::BackendUnavailable);
        assert_eq!(client.get(&before.name).await.state(), RunState::Succeeded, "what is known is still reported");
        proxy.set(Way::Open);
        // The first submit may have gone through after all: the key makes it one run.
        let again = until("the submit to be taken", async || match client.submit_as("stalled", spec.clone()).await {
            Ok(answer) => answer.run,
            Err(refused) => {
                assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
                None
            }
        })
        .await;
        assert_eq!(client.wait_terminal(&again.name).await.state(), RunState::Succeeded);
        assert_eq!(client.logs(&again.name).await.text(), "once\n");
        assert_eq!(case.all::<Job>().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_restart_of_the_api_server_in_the_middle_changes_nothing() {
    cluster::kubeconfig();
    if !cluster::has_control() {
        eprintln!("not run: LONGSHORE_TEST_CONTROL is not set, so nothing of this cluster is restarted");
        return;
    }
    let setup = Setup { exclusive: true, ..Setup::default() };
    on_cluster_with("a_restart_of_the_api_server", setup, async |case| {
        let client = case.client().await;
        let (text, expected) = slow_printer(60, "0.1");
        let name = client.submit(script(&format!("{text}; sleep 0.2; exit 3"))).await.name;
        let disturb = async {
            client.open_logs(follow(&name)).await.until("line 10\n").await;
            cluster::control("restart kube-apiserver").await;
        };
        let (log, ()) = futures::join!(follow_through(&client, &name), disturb);
        assert_eq!((log.text(), log.gaps), (expected, Vec::new()));
        let run = client.clone().ready().await.wait_terminal(&name).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(3)), "{run:?}");
        assert_eq!(client.run(script("exit 0")).await.state(), RunState::Succeeded);
    })
    .await;
}
