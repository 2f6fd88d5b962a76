//! Jobs of an earlier version are adopted. Each file of `stored/DATE` has a Job with what the version of that day wrote
//! on it, its Pod if there was one, and what that version found in both at `now`: what it reported, and what it did.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use longshore_domain::name::NamespaceName;
use longshore_domain::result::{ResultError, ResultErrorKind, ResultOutcome};
use longshore_domain::run::Run;
use longshore_domain::run::digest::PayloadDigest;
use longshore_domain::run::facts::RunFacts;
use longshore_domain::run::plan::{Action, RunPlan};
use longshore_domain::run::resolve::resolve;
use longshore_domain::run::spec::{
    ContainerWorkload, EnvSource, EnvVar, File, Input, NetworkMode, Placement, Resources, ResultMode, ResultRule,
    ResultScan, RunSpec, Security, Toleration, VolumeMount, Workload,
};
use longshore_domain::run::stored;
use longshore_domain::testing;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::names::annotation;
use crate::run::facts::{ObservedObjects, run_facts};
use crate::testing::{list, map};

#[derive(Deserialize)]
struct Example {
    now: Timestamp,
    job: Job,
    pod: Option<Pod>,
    found: Value,
}

impl Example {
    fn facts(&self) -> RunFacts {
        let observed = ObservedObjects {
            job: &self.job,
            pod: self.pod.as_ref(),
            last_pod: None,
            events: &[],
            input_confirmed: false,
            pod_was_seen: false,
            unseen_pod: None,
        };
        run_facts(&NamespaceName::default_namespace(), &observed, &[], Duration::from_secs(600)).unwrap()
    }
}

fn examples() -> BTreeMap<String, Example> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/stored/2026-11-30");
    let example = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), example(&path))).collect()
}

/// What was submitted, in these files.
fn submitted() -> RunSpec {
    let text = str::to_owned;
    let mount = |volume: &str, mount_path: &str, read_only| VolumeMount {
        volume: text(volume),
        mount_path: text(mount_path),
        read_only,
    };
    RunSpec {
        workload: Some(Workload::Container(ContainerWorkload {
            image: text("registry.example/app:v1"),
            command: list(&["sh", "-c"]),
            args: list(&["echo \"$HOME\"; cat \"$LONGSHORE_INPUT\""]),
            working_dir: Some(text("/work")),
        })),
        env: vec![
            EnvVar { name: text("GREETING"), source: EnvSource::Value(text("costs $5")) },
            EnvVar { name: text("TOKEN"), source: EnvSource::SecretKeyRef { name: text("creds"), key: text("pass") } },
        ],
        input: Some(Input::Json(text("{\"n\":1}"))),
        files: vec![File { path: text("a/b.txt"), mode: Some(0o755), content: b"bytes".to_vec() }],
        resources: Resources { requests: map(&[("cpu", "1")]), limits: map(&[("memory", "1Gi"), ("cpu", "2")]) },
        security: Security {
            run_as_user: Some(1000),
            run_as_group: Some(1001),
            fs_group: Some(1002),
            read_only_root_filesystem: Some(false),
            runtime_class_name: Some(text("gvisor")),
        },
        start_timeout: Some(Duration::from_secs(120)),
        run_timeout: Some(Duration::from_secs(1800)),
        termination_grace: Some(Duration::from_secs(45)),
        max_retries: Some(0),
        retention: Some(Duration::from_secs(7200)),
        volumes: vec![mount("data", "/data", Some(true)), mount("models", "/models", None)],
        network_mode: Some(NetworkMode::Egress),
        placement: Placement {
            node_selector: map(&[("disk", "ssd")]),
            tolerations: vec![Toleration { key: text("k"), match_operator: text("Exists"), ..Toleration::default() }],
            priority_class_name: Some(text("low")),
        },
        labels: map(&[("team", "data")]),
        annotations: map(&[("example.com/owner", "alice")]),
        result: ResultRule { mode: Some(ResultMode::Required), scan: Some(ResultScan::LastObject), dialect: None },
        tmp_size: Some(text("32Mi")),
        ..RunSpec::default()
    }
}

#[test]
fn what_was_submitted_to_an_earlier_version_comes_back_from_its_jobs() {
    let sent = submitted();
    let (digest, effective) = (PayloadDigest::of(&sent), resolve(&sent, &testing::on_kubernetes()).unwrap().effective);
    let kept = RunSpec { input: None, files: Vec::new(), ..sent };
    for (name, example) in examples() {
        let facts = example.facts();
        assert_eq!((facts.damage, facts.submission.submitter.as_str()), (None, "alice"), "{name}");
        assert_eq!(*facts.submission.spec, kept, "{name}");
        assert_eq!(*facts.submission.effective, effective, "{name}");
        // So the same request is a replay of that run, not another one.
        assert_eq!(facts.submission.digest, digest, "{name}");
        let written = example.job.metadata.annotations.as_ref().and_then(|all| all.get(annotation::SPEC)).unwrap();
        assert_eq!(&stored::encode(&kept, &effective).unwrap(), written, "{name}: as it is written now");
    }
}

fn done(action: &Action) -> Value {
    match action {
        Action::WriteStop(stop) => json!({"write_stop": stop}),
        Action::WriteRecord(record) => json!({"write_record": record}),
        Action::EndUnstarted { attempt } => json!({"end_unstarted": attempt}),
        Action::EndStarted { attempt } => json!({"end_started": attempt}),
        Action::LowerDeadline { attempt, deadline } => json!({"lower_deadline": [attempt, deadline.as_secs()]}),
        Action::Release { reason, message, retention, .. } => {
            json!({"release": {"reason": reason, "message": message, "retention": retention.as_secs()}})
        }
        Action::StoreResult { .. }
        | Action::Delete
        | Action::WriteAttempt(_)
        | Action::BeginAttempt { .. }
        | Action::NoteStart { .. }
        | Action::ClosePreempted { .. } => {
            panic!("no example has {action:?}")
        }
    }
}

fn found(run: &Run, plan: &RunPlan) -> Value {
    json!({
        "uid": run.uid,
        "state": run.state,
        "waiting_reason": run.waiting_reason,
        "message": run.message,
        "timeline": run.timeline,
        "attempts": run.attempts,
        "failure": run.failure,
        "result": run.result,
        "exit_code": run.exit_code,
        "stop": run.stop,
        "submitter": run.submitter,
        "payload_digest": run.payload_digest,
        "expire_time": run.expire_time,
        "actions": plan.actions.iter().map(done).collect::<Vec<_>>(),
        "wake_at": plan.wake_at,
    })
}

#[test]
fn jobs_of_an_earlier_version_are_adopted() {
    let examples = examples();
    assert_eq!(examples.len(), 10);
    for (name, example) in examples {
        let mut facts = example.facts();
        if name == "ended_before_its_cancel" {
            // Read from the log, of which there was nothing.
            let message = "there is no output".to_owned();
            let error = ResultError { kind: ResultErrorKind::Empty, message, position: None };
            facts.result = Some(ResultOutcome::None(error));
        }
        let (run, plan) = (testing::derived(&facts, example.now), testing::planned(&facts, example.now));
        let (mut now, mut then) = (found(&run, &plan), example.found);
        if !run.state.is_terminal() {
            // What is said meanwhile may be reworded; nothing of it is kept.
            for found in [&mut now, &mut then] {
                found.as_object_mut().unwrap().remove("message");
            }
        }
        assert_eq!(now, then, "{name}");
    }
}
