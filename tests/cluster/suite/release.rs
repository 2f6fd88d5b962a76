//! `longshore release`: without a daemon nothing stays held.

use std::ffi::OsString;

use k8s_openapi::api::batch::v1::Job;

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
        client.wait_state(&live, longshore::proto::v1::RunState::Running).await;
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
