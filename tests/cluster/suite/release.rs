//! `longshore release`: without a daemon nothing stays held.

use std::ffi::OsString;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use longshore::proto::v1::{RunSpec, RunState};

use crate::case::{Case, on_cluster, script};
use crate::cluster;
use crate::support::daemon::longshore;
use crate::support::spec::UNTIL_TERM;
use crate::support::wait::{until, within};

/// What it says.
async fn release(case: &Case, instance: &str, flags: &[&str]) -> String {
    let mut args: Vec<OsString> = vec!["release".into(), "--config".into(), case.config().into()];
    args.extend(["--kubeconfig".into(), cluster::kubeconfig().into(), "--instance".into(), instance.into()]);
    args.extend(flags.iter().map(Into::into));
    let output = within("longshore release", longshore(args).output()).await.expect("longshore release");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn release_lets_go_of_every_job() {
    on_cluster("release_lets_go_of_every_job", async |case| {
        let client = case.client().await;
        let live = client.submit(script(UNTIL_TERM)).await.name;
        client.wait_state(&live, RunState::Running).await;
        client.run(script("exit 0")).await;
        case.daemon.kill().await;

        let said = release(case, "another", &["--delete"]).await;
        assert!(said.contains(&case.instance), "whose Jobs there are instead is reported: {said}");
        let said = release(case, &case.instance, &["--kubernetes-namespace", "default"]).await;
        assert!(said.contains(r#""jobs":0"#), "{said}");
        let namespace = case.namespace.clone();
        release(case, &case.instance, &["--kubernetes-namespace", &namespace]).await;
        let jobs = case.all::<Job>().await;
        assert_eq!(jobs.len(), 2);
        for job in &jobs {
            let finalizers = job.metadata.finalizers.clone().unwrap_or_default();
            assert!(!finalizers.iter().any(|f| f.starts_with("longshore.dev/")), "{finalizers:?}");
            assert!(job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_some()), "{job:?}");
        }
        let live = case.job(&live).await;
        assert_eq!(live.status.and_then(|status| status.active), Some(1), "what runs goes on");

        release(case, &case.instance, &["--delete"]).await;
        until("the Jobs to go", async || case.all::<Job>().await.is_empty().then_some(())).await;
    })
    .await;
}

/// The first attempt's Job has ended, so that its hour begins at once.
#[tokio::test]
async fn a_further_attempt_that_runs_outlives_the_job_of_the_first() {
    on_cluster("a_further_attempt_outlives_the_first", async |case| {
        let client = case.client().await;
        let text = format!("[ \"$LONGSHORE_ATTEMPT\" = 1 ] && exit 3; {UNTIL_TERM}");
        let name = client.submit(RunSpec { max_retries: Some(1), ..script(&text) }).await.name;
        let is_second = |run: &longshore::proto::v1::Run| run.attempts.len() == 2 && run.state() == RunState::Running;
        client.wait_until(&name, "in its second attempt", is_second).await;
        case.daemon.kill().await;
        release(case, &case.instance, &[]).await;
        let (jobs, anchor) = (case.api::<Job>(), Case::job_name(&name));
        // As its TTL does.
        jobs.delete(&anchor, &DeleteParams::background()).await.expect("delete");
        until("the first Job to go", async || jobs.get_opt(&anchor).await.expect("a look").is_none().then_some(()))
            .await;
        case.daemon.revive().await;
        case.client().await.run(script("exit 0")).await;
        let second = jobs.get(&anchor.replace("run-", "run2-")).await.expect("the second Job");
        assert!(second.metadata.deletion_timestamp.is_none(), "{second:?}");
        assert_eq!(second.status.and_then(|status| status.active), Some(1), "what runs goes on");
        assert!(second.spec.is_some_and(|spec| spec.ttl_seconds_after_finished.is_some()), "and goes by itself");
        assert!(case.all::<Pod>().await.iter().any(|pod| pod.metadata.deletion_timestamp.is_none()));
        case.daemon.kill().await;
        release(case, &case.instance, &["--delete"]).await;
        until("the Jobs to go", async || case.all::<Job>().await.is_empty().then_some(())).await;
    })
    .await;
}
