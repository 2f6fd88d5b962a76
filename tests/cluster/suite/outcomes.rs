//! Endings that only a cluster has.

use longshore::proto::v1::{
    FailureClass, FailureReason, Placement, Resources, ResultState, RunSpec, RunState, StopCause,
};

use crate::case::{Case, on_cluster, program, reason, script};
use crate::support::daemon::longshore;
use crate::support::spec::{container, seconds, sql};
use crate::support::wait::within;

#[tokio::test]
async fn sql_runs_in_its_image() {
    on_cluster("sql_runs_in_its_image", async |case| {
        let client = case.client().await;
        let query = "SELECT count(*) AS n FROM orders";
        let run = client.run(sql(query)).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        let result = run.result.as_ref().expect("a result");
        assert_eq!(result.state(), ResultState::Found);
        let object: serde_json::Value = serde_json::from_str(&result.json).unwrap();
        assert_eq!(object["columns"], serde_json::json!(["n"]));
        assert!(object["rows"][0][0].as_u64().is_some_and(|n| n > 0), "{object}");
        let log = client.logs(&run.name).await;
        log.assert_complete();

        let run = client.run(sql("SELECT * FROM nowhere")).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::RunnerReported)), "{run:?}");
        let object: serde_json::Value = serde_json::from_str(&run.result.expect("a result").json).unwrap();
        assert_eq!(object["error"]["type"], "SQL_EXECUTION_ERROR");
    })
    .await;
}

#[tokio::test]
async fn a_printed_result_needs_one_flag_of_the_command_line() {
    on_cluster("a_printed_result_needs_one_flag", async |case| {
        case.client().await;
        let address = case.daemon.address().to_string();
        let image = crate::cluster::busybox();
        let args = ["run", "--server", &address, "--image", &image, "--result", "--", "sh", "-c"];
        let script = "echo working; echo '{\"rows\": [1, 2]}'; sleep 0.2";
        let output = within("longshore run", longshore(args.into_iter().chain([script])).output()).await;
        let output = output.expect("longshore run");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stdout.trim_end().lines().last(), Some(r#"{"rows":[1,2]}"#), "{stdout}\n{stderr}");
    })
    .await;
}

#[tokio::test]
async fn too_much_memory_is_reported_as_such() {
    on_cluster("too_much_memory_is_reported_as_such", async |case| {
        let limits = [("memory".to_owned(), "32Mi".to_owned())].into();
        let base = program(["tail", "/dev/zero"]);
        let requests = base.resources.clone().unwrap_or_default().requests;
        let spec = RunSpec { resources: Some(Resources { limits, requests }), ..base };
        let run = case.client().await.run(spec).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::OomKilled)), "{run:?}");
        let failure = run.failure.as_ref().expect("a failure");
        assert_eq!((failure.failure_class(), run.exit_code), (FailureClass::User, Some(137)), "{run:?}");
    })
    .await;
}

#[tokio::test]
async fn a_missing_image_is_reported_as_such() {
    on_cluster("a_missing_image_is_reported_as_such", async |case| {
        let client = case.client().await;
        let spec = RunSpec { start_timeout: seconds(8), ..container("127.0.0.1:1/missing:1", ["true"]) };
        let run = client.run(spec).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::ImagePull)), "{run:?}");
        let failure = run.failure.as_ref().expect("a failure");
        assert_eq!((failure.failure_class(), failure.retryable), (FailureClass::Infra, true));
        assert!(failure.message.contains("127.0.0.1:1/missing:1"), "{}", failure.message);
        assert_eq!(run.stop.as_ref().map(|stop| stop.cause()), Some(StopCause::StartDeadline));
        assert_eq!(run.exit_code, None, "it never ran");
        let log = client.logs(&run.name).await;
        log.assert_complete();
        assert_eq!(log.text(), "");
    })
    .await;
}

#[tokio::test]
async fn a_program_that_the_image_lacks_is_reported_as_such() {
    on_cluster("a_program_that_the_image_lacks_is_reported_as_such", async |case| {
        let run = case.client().await.run(program(["/no/such/program"])).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::ImageInvalid)), "{run:?}");
        let failure = run.failure.as_ref().expect("a failure");
        assert!(failure.message.contains("/no/such/program"), "{}", failure.message);
    })
    .await;
}

#[tokio::test]
async fn no_node_that_fits_is_reported_as_such() {
    on_cluster("no_node_that_fits_is_reported_as_such", async |case| {
        let spec = RunSpec { start_timeout: seconds(4), placement: nowhere(), ..script("exit 0") };
        let run = case.client().await.run(spec).await;
        assert_eq!((run.state(), reason(&run)), (RunState::Failed, Some(FailureReason::Unschedulable)), "{run:?}");
        assert_eq!(run.failure.as_ref().map(|failure| failure.failure_class()), Some(FailureClass::Policy));
    })
    .await;
}

/// A placement that no node satisfies.
pub(crate) fn nowhere() -> Option<Placement> {
    let node_selector = [("longshore.test/nowhere".to_owned(), "true".to_owned())].into();
    Some(Placement { node_selector, ..Placement::default() })
}

#[tokio::test]
async fn the_program_runs_as_the_requested_user_and_can_write_to_tmp_only() {
    let name = "the_program_is_the_user_it_was_told";
    on_cluster(name, async |case: &mut Case| {
        let client = case.client().await;
        let text = "id -u; id -g; echo x > /tmp/x && cat /tmp/x; echo x > /x || echo read-only; \
                    ls /var/run/secrets 2>/dev/null; env | grep -c KUBERNETES_SERVICE; sleep 0.2; exit 0";
        let run = client.run(script(text)).await;
        assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
        let log = client.logs(&run.name).await.text();
        let lines: Vec<_> = log.lines().filter(|line| !line.contains("can't create")).collect();
        // Linux still shows where the API server is; there is no token to talk to it with.
        assert_eq!(lines[..4], ["65532", "65532", "x", "read-only"], "{log}");
        assert!(!log.contains("serviceaccount"), "{log}");
    })
    .await;
}
