//! Finished runs are kept for their retention, and no longer than there is room for them: the oldest go first.

use longshore::proto::v1::{ListRunsRequest, RunState};
use tonic::Code;

use crate::fixture::{Local, script};
use crate::support::client::{Client, DEFAULT};
use crate::support::wait::until;

async fn listed(client: &Client) -> Vec<String> {
    let request = ListRunsRequest { parent: DEFAULT.to_owned(), ..ListRunsRequest::default() };
    let runs = client.runs.clone().list_runs(request).await.expect("ListRuns").into_inner().runs;
    runs.into_iter().map(|run| run.name).collect()
}

#[tokio::test]
async fn the_oldest_finished_runs_go_where_there_are_too_many() {
    let mut local = Local::start_configured("max_finished_runs = 2", ["--admin-listen", "off"]).await;
    let client = local.client().await;
    // Older than all of them, and not over.
    let live = client.submit(script("mark live; gate live")).await.name;
    local.marked("live").await;
    let mut names = Vec::new();
    for _ in 0..4 {
        let name = client.run(script("echo kept")).await.name;
        client.wait_settled(&name).await;
        names.push(name);
    }
    let expected = [&names[3], &names[2], &live].map(String::clone);
    until("the oldest to be gone", async || (listed(&client).await == expected).then_some(())).await;
    for name in &names[..2] {
        assert_eq!(client.try_get(name).await.expect_err("it is gone").code(), Code::NotFound);
        assert!(!local.run_dir(name).exists());
    }
    assert_eq!(client.logs(&names[2]).await.text(), "kept\n");
    // After a restart it is known as well which are the oldest.
    local.daemon.kill().await;
    local.daemon.revive().await;
    let client = local.client().await;
    assert_eq!(listed(&client).await, expected);
    local.open("live");
    assert_eq!(client.wait_terminal(&live).await.state(), RunState::Succeeded);
    let expected = [&names[3], &live].map(String::clone);
    until("the next to be gone", async || (listed(&client).await == expected).then_some(())).await;
}

#[tokio::test]
async fn the_oldest_finished_runs_go_where_they_take_too_much() {
    let local = Local::start_configured("max_finished_bytes = \"1Mi\"", ["--admin-listen", "off"]).await;
    let client = local.client().await;
    let mut names = Vec::new();
    for size in [10, 600_000, 600_000] {
        let name = client.run(script(&format!("head -c {size} /dev/zero | tr '\\0' x"))).await.name;
        client.wait_settled(&name).await;
        names.push(name);
    }
    until("the oldest to be gone", async || (listed(&client).await == [names[2].clone()]).then_some(())).await;
    assert_eq!(client.logs(&names[2]).await.text().len(), 600_000);
}
