//! Going down in order.

use longshore::proto::v1::watch_runs_response::Event;
use longshore::proto::v1::{ReconnectReason, RunState, WatchRunsRequest};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::fixture::{Local, script};
use crate::support::client::{DEFAULT, follow};
use crate::support::logs::{Closing, resumed};
use crate::support::wait::within;

#[tokio::test]
async fn streams_are_asked_to_reconnect_and_the_process_ends() {
    let mut local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("echo 1; gate go; echo 2")).await.name;
    let mut log = client.open_logs(follow(&name)).await;
    log.until("1\n").await;
    let mut events = client.watch(WatchRunsRequest { parent: DEFAULT.to_owned(), ..WatchRunsRequest::default() }).await;
    // Somebody who connects and says nothing must not hold the process up.
    let mut silent = TcpStream::connect(local.daemon.address()).await.unwrap();

    local.daemon.terminate();

    let first = log.rest().await;
    assert_eq!(first.closing, Some(Closing::Reconnect(ReconnectReason::Draining)));
    assert_eq!(first.text(), "1\n");
    let mut last = None;
    while let Some(answer) = within("the watch to end", events.message()).await.expect("WatchRuns") {
        last = answer.event;
    }
    let Some(Event::Reconnect(reconnect)) = last else { panic!("it says how it ends: {last:?}") };
    assert_eq!(reconnect.reason(), ReconnectReason::Draining);
    let status = local.daemon.ended().await;
    assert!(status.success(), "{status:?}");
    // The kernel closed what the process left open.
    let mut rest = Vec::new();
    let _ = within("the silent connection to close", silent.read_to_end(&mut rest)).await;

    local.daemon.revive().await;
    local.open("go");
    let client = local.client().await;
    let second = client.read_logs(resumed(&follow(&name), &first.cursor)).await;
    second.assert_complete();
    assert_eq!(second.text(), "2\n");
    assert_eq!(client.wait_terminal(&name).await.state(), RunState::Succeeded);
}

#[tokio::test]
async fn an_idle_daemon_ends_at_once() {
    let mut local = Local::start().await;
    local.daemon.terminate();
    assert!(local.daemon.ended().await.success());
}
