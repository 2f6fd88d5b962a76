//! Containers beside the program, which a profile has.

use longshore::proto::v1::{FailureClass, FailureReason, RunSpec, RunState};

use crate::case::{Case, Setup, on_cluster_with, reason};
use crate::cluster;
use crate::support::spec::{env, runner};

/// A profile with these, whose program runs `$SCRIPT`.
async fn beside(name: &str, sides: &str, test: impl AsyncFnOnce(&mut Case)) {
    let image = cluster::busybox();
    let common = format!(
        r#"image = "{image}"
        image_pull_policy = "IfNotPresent"
        limits = {{ memory = "32Mi" }}"#
    );
    let config = format!(
        r#"
        [profiles.beside]
        overridable = ["env"]
        [profiles.beside.kubernetes]
        image = "{image}"
        image_pull_policy = "IfNotPresent"
        command = ["/bin/sh", "-c", 'eval "$SCRIPT"']
        {}"#,
        sides.replace("COMMON", &common)
    );
    on_cluster_with(name, Setup { config, ..Setup::default() }, test).await;
}

fn script(text: &str) -> RunSpec {
    RunSpec { env: vec![env("SCRIPT", text)], ..runner("beside") }
}

#[tokio::test]
async fn init_containers_come_first_and_sidecars_end_with_the_program() {
    let sides = r#"
        [[profiles.beside.kubernetes.init]]
        name = "fetch"
        command = ["/bin/sh", "-c", "echo fetched > /tmp/data"]
        COMMON
        [[profiles.beside.kubernetes.sidecars]]
        name = "clock"
        command = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do echo tick > /tmp/clock; sleep 0.1; done"]
        COMMON"#;
    beside("init_containers_come_first", sides, async |case| {
        let client = case.client().await;
        let run =
            client.submit(script("cat /tmp/data; until [ -s /tmp/clock ]; do sleep 0.1; done; cat /tmp/clock")).await;
        let run = client.wait_settled(&run.name).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Succeeded, Some(0)), "{run:?}");
        assert_eq!(client.logs(&run.name).await.text(), "fetched\ntick\n", "the program's own output");
    })
    .await;
}

#[tokio::test]
async fn an_init_container_that_fails_is_the_profiles_fault_by_its_name() {
    let sides = r#"
        [[profiles.beside.kubernetes.init]]
        name = "fetch"
        command = ["/bin/sh", "-c", "exit 3"]
        COMMON"#;
    beside("an_init_container_that_fails", sides, async |case| {
        let run = case.client().await.run(script("exit 0")).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::ConfigError)), "{run:?}");
        let failure = run.failure.as_ref().expect("a failure");
        assert_eq!(failure.failure_class(), FailureClass::Platform, "{run:?}");
        assert_eq!((failure.message.as_str(), run.exit_code), ("init container `fetch` exited with 3", None));
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_without_an_image_keeps_the_program_from_starting_and_is_named() {
    let sides = r#"
        [[profiles.beside.kubernetes.sidecars]]
        name = "proxy"
        image = "localhost/not-there:1"
        image_pull_policy = "Never""#;
    beside("a_sidecar_without_an_image", sides, async |case| {
        let run = case.client().await.run(script("exit 0")).await;
        assert_eq!(run.state(), RunState::Failed, "{run:?}");
        assert!(run.message.contains("init container `proxy`"), "{}", run.message);
        assert_eq!(run.failure.as_ref().expect("a failure").failure_class(), FailureClass::Platform, "{run:?}");
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_that_dies_changes_no_outcome() {
    let sides = r#"
        [[profiles.beside.kubernetes.sidecars]]
        name = "frail"
        command = ["/bin/sh", "-c", "echo x >> /tmp/starts; sleep 0.5; exit 7"]
        COMMON"#;
    beside("a_sidecar_that_dies", sides, async |case| {
        let client = case.client().await;
        let again = "until [ $(wc -l < /tmp/starts) -ge 2 ]; do sleep 0.1; done; exit 0";
        let run = client.submit(script(again)).await;
        let run = client.wait_settled(&run.name).await;
        assert_eq!((run.state(), run.exit_code), (RunState::Succeeded, Some(0)), "{run:?}");
    })
    .await;
}
