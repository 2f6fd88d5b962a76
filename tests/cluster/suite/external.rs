//! Somebody deletes what a run is made of.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use longshore::proto::v1::{RunState, StopCause};

use crate::case::{Case, on_cluster, script};
use crate::support::client::follow;
use crate::support::spec::UNTIL_TERM;
use crate::support::wait::until;

#[tokio::test]
async fn a_deleted_job_is_a_cancel_from_outside() {
    on_cluster("a_deleted_job_is_a_cancel_from_outside", async |case| {
        let client = case.client().await;
        let name = client.submit(script(UNTIL_TERM)).await.name;
        let mut log = client.open_logs(follow(&name)).await;
        log.until("ready\n").await;
        let reported = client.wait_until(&name, "cancelled", |run| run.state() == RunState::Cancelled);
        let delete = async {
            // As `kubectl delete job` does.
            case.api::<Job>().delete(&Case::job_name(&name), &DeleteParams::background()).await.expect("delete");
        };
        let (run, ()) = futures::join!(reported, delete);
        let stop = run.stop.as_ref().expect("the stop");
        assert_eq!((stop.cause(), stop.actor.as_str()), (StopCause::External, "external"), "{run:?}");
        assert_eq!(run.exit_code, Some(3), "{run:?}");
        let log = log.rest().await;
        log.assert_complete();
        assert_eq!(log.text(), "ready\nbye\n", "kept until then");
        let jobs = case.api::<Job>();
        let job = Case::job_name(&name);
        until("the Job to go", async || jobs.get_opt(&job).await.expect("a look").is_none().then_some(())).await;
        until("the run to go", async || client.try_get(&name).await.err()).await;
    })
    .await;
}

#[tokio::test]
async fn a_deleted_pod_is_reported_as_such() {
    on_cluster("a_deleted_pod_is_reported_as_such", async |case| {
        let client = case.client().await;
        let name = client.submit(script(UNTIL_TERM)).await.name;
        let mut log = client.open_logs(follow(&name)).await;
        log.until("ready\n").await;
        let pod = client.get(&name).await.attempts.remove(0).pod;
        case.api::<Pod>().delete(&pod, &DeleteParams::default()).await.expect("delete");
        let run = client.wait_terminal(&name).await;
        assert_eq!(run.state(), RunState::Failed, "{run:?}");
        assert!(run.failure.is_some_and(|failure| !failure.message.is_empty()));
        assert_eq!(case.all::<Job>().await.len(), 1, "nothing runs again by itself");
        log.rest().await;
    })
    .await;
}
