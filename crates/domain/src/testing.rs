//! Builders for tests, of the domain and of what is built on it.

#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::name::RunName;
use crate::result::ResultInfo;
use crate::run::derive::derive;
use crate::run::digest::PayloadDigest;
use crate::run::facts::{
    AttemptFacts, AttemptPhase, EndCause, Explanation, Intervention, Mentions, PlatformCause, RunFacts, Submission,
    Terminated, WaitCause,
};
use crate::run::failure::FailureReason;
use crate::run::plan::{RunPlan, plan};
use crate::run::profile::{Capabilities, KubernetesProfile, Limits, LocalProfile, Profile, Volume};
use crate::run::rules::Rules;
use crate::run::spec::{
    ContainerWorkload, EffectiveSecurity, EffectiveSpec, EnvSource, EnvVar, File, Input, NetworkMode, OneDialect,
    Placement, Resources, ResultMode, ResultRule, ResultScan, RetryOn, RunSpec, Secret, Security, Toleration,
    VolumeMount, Workload,
};
use crate::run::verdict::{Outcome, Verdict, judge};
use crate::run::{Run, StopCause, StopIntent};

/// `seconds` after the run of [`facts`] was submitted.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub fn effective() -> EffectiveSpec {
    EffectiveSpec {
        workload: Workload::Container(ContainerWorkload {
            image: "image:1".to_owned(),
            ..ContainerWorkload::default()
        }),
        security: EffectiveSecurity {
            run_as_user: 65_532,
            run_as_group: 65_532,
            fs_group: 65_532,
            ..EffectiveSpec::empty().security
        },
        start_timeout: Duration::from_secs(300),
        run_timeout: Duration::from_secs(3600),
        termination_grace: Duration::from_secs(10),
        retention: Duration::from_secs(3600),
        ..EffectiveSpec::empty()
    }
}

/// A spec in which every field is set, each to something else than its default.
pub fn everything() -> RunSpec {
    let text = str::to_owned;
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| (text(key), text(value))).collect();
    RunSpec {
        workload: Some(Workload::Container(ContainerWorkload {
            image: text("registry.example/app:v1"),
            command: vec![text("sh"), text("-c")],
            args: vec![text("true")],
            working_dir: Some(text("/work")),
        })),
        env: vec![
            EnvVar { name: text("A"), source: EnvSource::Value(text("1")) },
            EnvVar { name: text("B"), source: EnvSource::SecretKeyRef { name: text("creds"), key: text("pass") } },
        ],
        secret_env: BTreeMap::from([(text("TOKEN"), Secret(text("hidden")))]),
        input: Some(Input::Json(text("{\"n\":1}"))),
        files: vec![
            File { path: text("a/b.txt"), mode: Some(0o755), content: b"bytes".to_vec() },
            File { path: text("c"), mode: None, content: vec![] },
        ],
        resources: Resources { requests: map(&[("cpu", "1")]), limits: map(&[("memory", "1Gi"), ("cpu", "2")]) },
        security: Security {
            run_as_user: Some(1000),
            run_as_group: Some(1001),
            fs_group: Some(1002),
            read_only_root_filesystem: Some(false),
            runtime_class_name: Some(text("gvisor")),
        },
        queue_timeout: Some(Duration::from_secs(1)),
        start_timeout: Some(Duration::from_secs(2)),
        run_timeout: Some(Duration::new(3, 500)),
        termination_grace: Some(Duration::ZERO),
        max_retries: Some(0),
        infra_retries: Some(-1),
        retention: Some(Duration::from_secs(60)),
        volumes: vec![
            VolumeMount { volume: text("data"), mount_path: text("/data"), read_only: Some(true) },
            VolumeMount { volume: text("models"), mount_path: text("/models"), read_only: None },
        ],
        network_mode: Some(NetworkMode::Egress),
        placement: Placement {
            node_selector: map(&[("disk", "ssd")]),
            tolerations: vec![Toleration { key: text("k"), match_operator: text("Exists"), ..Toleration::default() }],
            priority_class_name: Some(text("low")),
        },
        queue_name: Some(text("queue")),
        labels: map(&[("b", "2"), ("a", "1")]),
        annotations: map(&[("note", "x")]),
        result: ResultRule {
            mode: Some(ResultMode::Required),
            scan: Some(ResultScan::Off),
            dialect: Some(OneDialect::PythonLiteral),
        },
        tmp_size: Some(text("0")),
        retry_on: RetryOn { reasons: vec![FailureReason::OomKilled], exit_codes: vec![75] },
        total_timeout: Some(Duration::from_secs(90)),
    }
}

/// A run submitted at 0, whose only attempt has a node since 1 and no container yet.
pub fn facts() -> RunFacts {
    let submission = Submission {
        spec: Arc::default(),
        effective: Arc::new(effective()),
        digest: PayloadDigest::default(),
        create_time: at(0),
        submitter: String::new(),
        result_marker: "MARK".to_owned(),
        batch: None,
    };
    let name = RunName::parse("namespaces/default/runs/a").unwrap();
    RunFacts { attempts: vec![attempt()], ..RunFacts::blank(name, "uid".to_owned(), submission) }
}

/// Scheduled at 1, taken on by its node at 2, no container yet.
pub fn attempt() -> AttemptFacts {
    AttemptFacts {
        create_time: Some(at(0)),
        phase: AttemptPhase::Pending,
        uid: Some("pod-uid".to_owned()),
        pod: Some("run-a-x".to_owned()),
        node: Some("node".to_owned()),
        schedule_time: Some(at(1)),
        node_time: Some(at(2)),
        deadline: Some(Duration::from_secs(3901)),
        ..AttemptFacts::blank(1, "run-a".to_owned())
    }
}

/// Ran from 10 to 20.
pub fn terminated(exit_code: i32) -> Terminated {
    Terminated {
        exit_code,
        signal: None,
        cause: EndCause::Exited,
        detail: String::new(),
        message: Vec::new(),
        started_at: Some(at(10)),
        finished_at: Some(at(20)),
    }
}

/// Not started yet for this cause, in these words.
pub fn explained(cause: WaitCause, reason: &str, message: &str) -> Option<Explanation> {
    let (reason, message) = (reason.to_owned(), message.to_owned());
    Some(Explanation { cause, mentions: Mentions::default(), reason, message, time: None })
}

/// The platform did this, in these words.
pub fn intervened(cause: PlatformCause, reason: &str, message: &str) -> Option<Intervention> {
    Some(Intervention { cause, reason: reason.to_owned(), message: message.to_owned(), time: None })
}

pub fn stop(cause: StopCause, seconds: i64) -> StopIntent {
    StopIntent {
        cause,
        reason: "enough".to_owned(),
        actor: "alice".to_owned(),
        request_time: at(seconds),
        failure: None,
        failure_class: None,
    }
}

/// A cluster that can do everything.
pub fn on_kubernetes() -> Rules {
    let sql = Profile {
        name: "sql".to_owned(),
        kubernetes: Some(KubernetesProfile {
            image: "registry.example/sql:1".to_owned(),
            args: vec!["sql".to_owned()],
            ..KubernetesProfile::default()
        }),
        local: Some(LocalProfile {
            command: vec!["{longshore}".to_owned(), "sql".to_owned()],
            ..LocalProfile::default()
        }),
        overridable: vec!["run_timeout".to_owned(), "resources.limits".to_owned()],
        pod_annotations: vec!["example.com/team".to_owned()],
        ..Profile::default()
    };
    let open = Profile {
        name: "open".to_owned(),
        overridable: crate::run::validate::overridable().map(str::to_owned).collect(),
        ..sql.clone()
    };
    let bare = Profile {
        name: "bare".to_owned(),
        missing: Some("profiles.bare.kubernetes.image".to_owned()),
        kubernetes: None,
        local: None,
        ..sql.clone()
    };
    let volume = |read_only| Volume {
        persistent_volume_claim: Some("claim".to_owned()),
        local_path: Some("/srv/data".to_owned()),
        read_only,
        ..Volume::default()
    };
    Rules {
        limits: Limits::default(),
        capabilities: Capabilities {
            backend: "kubernetes",
            container_workload: true,
            split_streams: false,
            stdin_input: false,
            secret_key_ref: true,
            placement: true,
            user: true,
            resource_limits: true,
            root_filesystem: true,
            network_modes: vec![NetworkMode::None, NetworkMode::Egress, NetworkMode::Cluster],
            volumes: true,
            queue: false,
            queues: Vec::new(),
            isolation: "pod",
            notes: vec![],
        },
        profiles: [sql, open, bare].into_iter().map(|profile| (profile.name.clone(), profile)).collect(),
        volumes: [("data", volume(false)), ("models", volume(true))]
            .into_iter()
            .map(|(name, volume)| (name.to_owned(), volume))
            .collect(),
    }
}

/// What is reported of a run in one look at it.
pub fn derived(facts: &RunFacts, now: Timestamp) -> Run {
    derive(facts, &judge(facts, now), now)
}

/// What is done about a run in one look at it.
pub fn planned(facts: &RunFacts, now: Timestamp) -> RunPlan {
    plan(facts, &judge(facts, now), now)
}

/// Outcome and result, if both are final.
pub fn settled(facts: &RunFacts, now: Timestamp) -> Option<(Outcome, Option<ResultInfo>)> {
    match judge(facts, now) {
        Verdict::Settled(outcome, result) => Some((*outcome, result.map(|info| *info))),
        _ => None,
    }
}
