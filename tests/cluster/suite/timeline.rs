//! The timeline of one run, as its caller sees it, beside what the API server and `kubectl wait`
//! report the same run. Prints figures, asserts nothing about time.

use std::process::Stdio;
use std::time::Instant;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{WatchEvent, WatchParams};
use longshore::proto::v1::stream_logs_response::Event as LogEvent;
use longshore::proto::v1::watch_runs_response::Event as RunEvent;
use longshore::proto::v1::{ResultMode, ResultScan, RunState, WatchRunsRequest};
use tokio::sync::mpsc;

use crate::case::{Case, on_cluster, program};
use crate::support::client::{DEFAULT, follow, submit_request};
use crate::support::spec::result_rule;
use crate::support::wait::within;

/// Runs that are measured.
const RUNS: usize = 9;

/// Steps, in the order of the table.
const STEPS: [&str; 11] = [
    "SubmitRun answered",
    "Pod seen (raw watch)",
    "Running (raw watch)",
    "RUNNING at the client",
    "first log byte at the client",
    "terminated (raw watch)",
    "FINISHING at the client",
    "terminal at the client",
    "end of the log at the client",
    "Job Complete (raw watch)",
    "kubectl wait returned",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures; `make timeline` runs it"]
async fn timeline_of_a_run() {
    on_cluster("timeline", async |case| {
        let mut rows = vec![Vec::new(); STEPS.len()];
        for number in 0..RUNS {
            let reported = within("a measured run", measure(case, number)).await;
            for (row, step) in rows.iter_mut().zip(STEPS) {
                let at = reported.iter().find(|(name, _)| *name == step).map(|(_, at)| *at);
                row.push(at.unwrap_or_else(|| panic!("{step} was not seen in run {number}")));
            }
        }
        eprintln!("| ms after SubmitRun was sent, median of {RUNS} (least, most) | |\n| --- | --- |");
        for (row, step) in rows.iter_mut().zip(STEPS) {
            row.sort_by(f64::total_cmp);
            eprintln!("| {step} | {:.0} ({:.0}, {:.0}) |", row[RUNS / 2], row[0], row[RUNS - 1]);
        }
    })
    .await;
}

async fn measure(case: &Case, number: usize) -> Vec<(&'static str, f64)> {
    let client = case.client().await;
    let script = "sleep 0.5; echo first; sleep 1; printf '{\"n\":1}' > $LONGSHORE_RESULT; echo last; sleep 0.2";
    let mut spec = program(["sh", "-c", script]);
    spec.result = result_rule(ResultMode::Required, ResultScan::Off);
    let id = format!("t{number}");
    let (seen, mut reported) = mpsc::channel(64);
    let began = Instant::now();
    let name = format!("{DEFAULT}/runs/{id}");
    let job = Case::job_name(&name);
    let mut changes =
        client.watch(WatchRunsRequest { parent: DEFAULT.to_owned(), ..WatchRunsRequest::default() }).await;
    let (pods, jobs) = (case.api::<Pod>(), case.api::<Job>());
    let from = "0";
    let mut pods =
        pods.watch(&WatchParams::default().labels(&format!("longshore.dev/run={id}")), from).await.unwrap().boxed();
    let mut jobs =
        jobs.watch(&WatchParams::default().labels(&format!("longshore.dev/run={id}")), from).await.unwrap().boxed();
    let began = {
        let _ = began;
        Instant::now()
    };
    let mark = move |step: &'static str| {
        let at = began.elapsed().as_secs_f64() * 1000.0;
        let seen = seen.clone();
        async move { seen.send((step, at)).await.unwrap() }
    };
    let submitted =
        client.try_submit(longshore::proto::v1::SubmitRunRequest { run_id: id.clone(), ..submit_request(spec) });
    submitted.await.expect("SubmitRun");
    mark("SubmitRun answered").await;
    let tasks = [
        tokio::spawn({
            let mark = mark.clone();
            async move {
                while let Some(Ok(event)) = pods.next().await {
                    let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
                    mark("Pod seen (raw watch)").await;
                    let status = pod.status.unwrap_or_default();
                    let state = status.container_statuses.unwrap_or_default().into_iter().next().and_then(|c| c.state);
                    let Some(state) = state else { continue };
                    if state.running.is_some() {
                        mark("Running (raw watch)").await;
                    }
                    if state.terminated.is_some() {
                        return mark("terminated (raw watch)").await;
                    }
                }
            }
        }),
        tokio::spawn({
            let mark = mark.clone();
            async move {
                while let Some(Ok(event)) = jobs.next().await {
                    let (WatchEvent::Added(job) | WatchEvent::Modified(job)) = event else { continue };
                    let conditions = job.status.and_then(|s| s.conditions).unwrap_or_default();
                    if conditions.iter().any(|c| c.type_ == "Complete") {
                        return mark("Job Complete (raw watch)").await;
                    }
                }
            }
        }),
        tokio::spawn({
            let (mark, name) = (mark.clone(), name.clone());
            async move {
                while let Ok(Some(change)) = changes.message().await {
                    let Some(RunEvent::Run(run)) = change.event else { continue };
                    if run.name != name {
                        continue;
                    }
                    match run.state() {
                        RunState::Running => mark("RUNNING at the client").await,
                        RunState::Finishing => mark("FINISHING at the client").await,
                        RunState::Succeeded => return mark("terminal at the client").await,
                        RunState::Failed | RunState::Cancelled => panic!("{run:?}"),
                        _ => {}
                    }
                }
            }
        }),
        tokio::spawn({
            let mark = mark.clone();
            let mut log = client.runs.clone().stream_logs(follow(&name)).await.expect("StreamLogs").into_inner();
            async move {
                while let Ok(Some(answer)) = log.message().await {
                    match answer.event {
                        Some(LogEvent::Entries(_)) => mark("first log byte at the client").await,
                        Some(LogEvent::Ended(_)) => mark("end of the log at the client").await,
                        _ => {}
                    }
                }
            }
        }),
        tokio::spawn({
            let mark = mark.clone();
            let mut kubectl = tokio::process::Command::new("kubectl");
            kubectl.args(["wait", "--for=condition=complete", "--timeout=120s", "-n", &case.namespace]);
            kubectl.arg(format!("job/{job}")).stdout(Stdio::null());
            async move {
                assert!(kubectl.status().await.expect("kubectl").success());
                mark("kubectl wait returned").await;
            }
        }),
    ];
    drop(mark);
    let mut steps = Vec::new();
    while let Some((step, at)) = reported.recv().await {
        if steps.iter().all(|(known, _)| *known != step) {
            steps.push((step, at));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    steps
}
