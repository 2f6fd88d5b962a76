//! Many callers with one key, at two servers of one installation, of which one dies again and again, while somebody deletes
//! the run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use longshore::proto::v1::{DeleteRunRequest, RunSpec, SubmitRunRequest, WaitRunRequest};
use tokio::sync::watch;
use tonic::Code;

use crate::case::{on_cluster, script};
use crate::chaos::insist;
use crate::support::client::{Client, submit_request};
use crate::support::spec::{json_input, seconds};
use crate::witness::Witness;

const CALLERS: usize = 100;
/// How often the run is deleted.
const DELETIONS: usize = 3;
/// Between two kills.
const LIFE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_run_whatever_happens_to_its_servers() {
    on_cluster("one_key", async |case| {
        let other = case.other_daemon(&case.instance).await;
        other.client().ready().await;
        let witness = Witness::watch(case.api()).await;
        let spec = RunSpec { input: Some(json_input("\"in\"")), ..script("cat \"$LONGSHORE_INPUT\"") };
        let request = SubmitRunRequest { run_id: "one".to_owned(), ..submit_request(spec) };
        let (addresses, address) = watch::channel(case.daemon.address());
        let (end, ended) = watch::channel(false);
        let callers = (0..CALLERS).map(|number| {
            let server = if number % 2 == 0 { address.clone() } else { watch::channel(other.address()).1 };
            submit_until(ended.clone(), server, request.clone())
        });
        let callers = futures::future::join_all(callers);
        let deletes = async {
            for _ in 0..DELETIONS {
                delete_at_its_end(other.client()).await;
            }
            end.send_replace(true);
        };
        let kills = async {
            while !*ended.borrow() {
                // A moment, not a wait for something.
                tokio::time::sleep(LIFE).await;
                case.daemon.kill().await;
                case.daemon.revive().await;
                addresses.send_replace(case.daemon.address());
            }
        };
        let (answers, (), ()) = tokio::join!(callers, deletes, kills);
        let mut answers: Vec<_> = answers.into_iter().flatten().collect();
        answers.extend(submit_until(ended.clone(), address.clone(), request).await);
        let uids: BTreeSet<_> = answers.iter().map(|answer| &answer.uid).collect();
        assert_eq!(uids.len(), DELETIONS + 1, "one after the other, and no more: {uids:?}");
        let mut new: BTreeMap<_, usize> = BTreeMap::new();
        for answer in answers.iter().filter(|answer| !answer.replayed) {
            *new.entry(&answer.uid).or_default() += 1;
        }
        assert!(new.values().all(|count| *count == 1), "each is new to one caller at most: {new:?}");
        let client = case.client().await;
        client.wait_settled("namespaces/default/runs/one").await;
        assert_eq!(case.all::<Job>().await.len(), 1);
        let shown = witness.seen().await.remove("one").expect("its Pods");
        assert!(shown.by_job.keys().all(|job| uids.contains(job)), "each that was executed was answered: {shown:?}");
        assert!(shown.by_job.values().all(|pods| pods.len() == 1), "executed once: {shown:?}");
    })
    .await;
}

/// What SubmitRun answered.
#[derive(Debug)]
struct Answer {
    uid: String,
    replayed: bool,
}

/// Submits again and again, and once more after the end.
async fn submit_until(
    ended: watch::Receiver<bool>,
    server: watch::Receiver<SocketAddr>,
    request: SubmitRunRequest,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    loop {
        let is_last = *ended.borrow();
        let submit = async || loop {
            let client = Client::to(*server.borrow());
            match client.try_submit(request.clone()).await {
                // The run, or the Secret of the one before, is on its way out.
                Err(status) if status.code() == Code::Aborted => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                answer => return answer,
            }
        };
        let answer = insist(submit).await;
        answers.push(Answer { uid: answer.run.expect("the run").uid, replayed: answer.replayed });
        if is_last {
            return answers;
        }
    }
}

/// Deletes the run once it has ended.
async fn delete_at_its_end(client: Client) {
    let name = "namespaces/default/runs/one".to_owned();
    loop {
        let request = WaitRunRequest { name: name.clone(), timeout: seconds(10), ..WaitRunRequest::default() };
        // It may not be there yet, or not any more.
        let Ok(answer) = client.runs.clone().wait_run(request).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let run = answer.into_inner().run.expect("the run");
        if run.state().is_terminal() && run.delete_time.is_none() {
            let request = DeleteRunRequest { name: name.clone(), ..DeleteRunRequest::default() };
            client.runs.clone().delete_run(request).await.expect("DeleteRun");
            return;
        }
    }
}
