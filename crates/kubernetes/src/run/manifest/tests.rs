use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodSchedulingGate;
use k8s_openapi::api::core::v1::PodSpec;
use proptest::prelude::*;

use super::*;
use crate::api::names::path;
use crate::testing::{JOB_UID, context, effective, launch, launch_of, list, map};
use longshore_domain::name::BatchId;
use longshore_domain::run::batch::{BATCH_LABEL, BatchItem};
use longshore_domain::run::profile::{InputDelivery, KubernetesProfile, LocalProfile, Program, SideContainer};
use longshore_domain::run::spec::{
    EffectiveResultRule, EffectiveSecurity, EffectiveSpec, EnvSource, EnvVar, File, Input, NetworkMode, Placement,
    ResultMode, ResultScan, Toleration, VolumeMount, Workload,
};

fn pod_spec(job: &Job) -> &PodSpec {
    job.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

fn golden(name: &str, launch: &Launch, ctx: &ManifestContext) {
    let mut job = job(launch, ctx).unwrap();
    // How the spec is written is not this module's business; that it comes back is a test of `facts`.
    job.metadata.annotations.as_mut().unwrap().insert(annotation::SPEC.to_owned(), "(the spec)".to_owned());
    golden_of(name, &preview_yaml(&job, launch, ctx).unwrap());
}

fn golden_of(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A launch that uses everything there is.
fn everything() -> (Launch, ManifestContext) {
    let value = |name: &str, value: &str| EnvVar { name: name.to_owned(), source: EnvSource::Value(value.to_owned()) };
    let mount = |volume: &str, mount_path: &str, read_only| VolumeMount {
        volume: volume.to_owned(),
        mount_path: mount_path.to_owned(),
        read_only,
    };
    let mut effective = EffectiveSpec {
        env: vec![
            value("GREETING", "costs $5, not $(HOME)"),
            value("ANSWER", "yes"),
            EnvVar {
                name: "TOKEN".to_owned(),
                source: EnvSource::SecretKeyRef { name: "shared".to_owned(), key: "token".to_owned() },
            },
        ],
        security: EffectiveSecurity {
            run_as_user: 1000,
            run_as_group: 1001,
            fs_group: 1002,
            runtime_class_name: Some("gvisor".to_owned()),
            ..effective().security
        },
        termination_grace: Duration::from_secs(45),
        volumes: vec![
            mount("data", "/data", None),
            mount("data", "/data-read", Some(true)),
            mount("Rules", "/etc/rules", None),
        ],
        network_mode: NetworkMode::Egress,
        placement: Placement {
            node_selector: map(&[("disk", "ssd")]),
            tolerations: vec![Toleration {
                key: "dedicated".to_owned(),
                match_operator: "Equal".to_owned(),
                value: "batch".to_owned(),
                effect: "NoSchedule".to_owned(),
            }],
            priority_class_name: Some("batch-low".to_owned()),
        },
        labels: map(&[("team", "data"), ("app.kubernetes.io/managed-by", "somebody")]),
        annotations: map(&[("example.com/owner", "alice"), ("example.com/scrape", "true")]),
        result: EffectiveResultRule { mode: ResultMode::Required, scan: ResultScan::LastObject, dialect: None },
        ..effective()
    };
    if let Workload::Container(container) = &mut effective.workload {
        container.command = list(&["sh", "-c"]);
        container.args = list(&["set -eu\necho \"$HOME\" $$ $(id -u)\ncat \"$LONGSHORE_INPUT\"\n"]);
        container.working_dir = Some("/tmp".to_owned());
    }
    let mut launch = launch_of("nightly-report-7", effective);
    launch.input = Some(Input::Json(r#"{"password":"hunter2"}"#.to_owned()));
    launch.files = vec![
        File { path: "bin/run.sh".to_owned(), mode: Some(0o750), content: b"echo swordfish\n".to_vec() },
        File { path: "notes.txt".to_owned(), mode: None, content: vec![0xff, 0x00] },
    ];
    launch.pod_annotations = list(&["example.com/scrape"]);
    let mut ctx = context();
    ctx.volumes.insert(
        "data".to_owned(),
        Volume { persistent_volume_claim: Some("team-data".to_owned()), ..Volume::default() },
    );
    ctx.volumes.insert(
        "Rules".to_owned(),
        Volume { config_map: Some("rules".to_owned()), read_only: true, ..Volume::default() },
    );
    (launch, ctx)
}

/// A runner profile whose input comes as a variable: its Pod has no volume but `/tmp`.
fn sql() -> Launch {
    let mut launch = launch_of(
        "q-abc",
        EffectiveSpec {
            workload: Workload::Runner { profile: "sql".to_owned() },
            result: EffectiveResultRule { mode: ResultMode::Optional, scan: ResultScan::LastObject, dialect: None },
            ..effective()
        },
    );
    launch.program = Program::Container(KubernetesProfile {
        image: "registry.example/longshore:1".to_owned(),
        args: list(&["runner", "sql"]),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        image_pull_secrets: list(&["registry"]),
        ..KubernetesProfile::default()
    });
    launch.input_delivery = InputDelivery::Env("SQL_REQUEST".to_owned());
    launch.input = Some(Input::Json(r#"{"sql":"select 1"}"#.to_owned()));
    launch
}

#[test]
fn smallest_container() {
    golden("smallest_container", &launch(), &context());
}

#[test]
fn everything_at_once() {
    let (launch, ctx) = everything();
    golden("everything_at_once", &launch, &ctx);
}

#[test]
fn sql_profile_with_input_in_a_variable() {
    golden("sql_profile", &sql(), &context());
}

/// What a profile has beside the program.
fn with_sides() -> (Launch, ManifestContext) {
    let (mut launch, ctx) = everything();
    let Program::Container(program) = &mut launch.program else { panic!() };
    let side = |name: &str| SideContainer {
        name: name.to_owned(),
        image: format!("registry.example/{name}:1"),
        resources: effective().resources,
        ..SideContainer::default()
    };
    let env = map(&[("PRICE", "$5")]);
    let rules = VolumeMount { volume: "Rules".to_owned(), mount_path: "/rules".to_owned(), read_only: None };
    program.sidecars = vec![SideContainer { env, volumes: vec![rules], ..side("proxy") }];
    program.init = vec![SideContainer { args: list(&["--all"]), ..side("fetch") }];
    (launch, ctx)
}

#[test]
fn containers_beside_the_program() {
    let (launch, ctx) = with_sides();
    golden("side_containers", &launch, &ctx);
    let pod = serde_json::to_value(pod_for_dry_run(&job(&launch, &ctx).unwrap())).unwrap();
    assert_eq!(super::pod_security::broken_rules(&pod), Vec::<&str>::new());
    let names: Vec<_> = pod["spec"]["initContainers"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["proxy", "fetch"], "what the others may need is there first");
}

#[test]
fn yaml_reads_back_as_the_same_job() {
    let (launch, ctx) = everything();
    let written = job(&launch, &ctx).unwrap();
    let text = preview_yaml(&written, &launch, &ctx).unwrap();
    let read: Job = serde_saphyr::from_str(text.split("---\n").next().unwrap()).unwrap();
    assert_eq!(read, written);
}

#[test]
fn shown_manifests_have_no_value_that_was_handed_over() {
    let (launch, ctx) = everything();
    let text = preview_yaml(&job(&launch, &ctx).unwrap(), &launch, &ctx).unwrap();
    for value in ["hunter2", "swordfish"] {
        let encoded = data_encoding::BASE64.encode(value.as_bytes());
        assert!(!text.contains(value) && !text.contains(encoded.trim_end_matches('=')), "{value} in\n{text}");
    }
    assert!(text.contains("input: (22 bytes)") && text.contains("uid: (known once the Job exists)"), "{text}");
}

#[test]
fn every_key_that_the_pod_asks_for_is_in_the_secret() {
    for (launch, ctx) in [everything(), (sql(), context())] {
        let job = job(&launch, &ctx).unwrap();
        let secret = input_secret(&launch, JOB_UID, &ctx).unwrap();
        let name = secret.metadata.name.as_deref().unwrap();
        assert_eq!(job.metadata.annotations.as_ref().unwrap()[annotation::INPUT], name);
        let spec = pod_spec(&job);
        let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref());
        let mut asked: Vec<String> = Vec::new();
        for volume in volumes {
            assert_eq!(volume.secret_name.as_deref(), Some(name));
            asked.extend(volume.items.iter().flatten().map(|item| item.key.clone()));
        }
        let variables = spec.containers[0].env.iter().flatten().filter_map(|env| env.value_from.as_ref());
        let references = variables.filter_map(|from| from.secret_key_ref.as_ref());
        asked.extend(references.filter(|reference| reference.name == name).map(|reference| reference.key.clone()));
        asked.sort();
        let held: Vec<String> = secret.data.as_ref().unwrap().keys().cloned().collect();
        assert_eq!(asked, held);
    }
}

#[test]
fn secret_belongs_to_the_job_and_cannot_be_changed() {
    let secret = input_secret(&sql(), JOB_UID, &context()).unwrap();
    let owners = secret.metadata.owner_references.unwrap();
    assert_eq!(
        (owners[0].kind.as_str(), owners[0].name.as_str(), owners[0].uid.as_str()),
        ("Job", "run-q-abc", JOB_UID)
    );
    assert_eq!(secret.immutable, Some(true));
    assert_eq!(secret.data.unwrap()["input"].0, br#"{"sql":"select 1"}"#);
}

#[test]
fn run_without_input_has_no_secret_and_without_tmp_no_volume() {
    let launch = launch_of("bare", EffectiveSpec { tmp_size: None, ..effective() });
    assert!(input_secret(&launch, JOB_UID, &context()).is_none());
    let job = job(&launch, &context()).unwrap();
    assert_eq!(pod_spec(&job).volumes, None);
    assert_eq!(pod_spec(&job).containers[0].volume_mounts, None);
}

#[test]
fn input_in_a_variable_alone_needs_no_volume() {
    let mut launch = sql();
    Arc::make_mut(&mut launch.submission.effective).tmp_size = None;
    let job = job(&launch, &context()).unwrap();
    assert_eq!(pod_spec(&job).volumes, None);
}

#[test]
fn configured_volume_at_tmp_takes_the_place_of_ours() {
    let mount = VolumeMount { volume: "scratch".to_owned(), mount_path: "/tmp/".to_owned(), read_only: None };
    let launch = launch_of("scratch", EffectiveSpec { volumes: vec![mount], ..effective() });
    let mut ctx = context();
    let claim = Volume { persistent_volume_claim: Some("scratch".to_owned()), ..Volume::default() };
    ctx.volumes.insert("scratch".to_owned(), claim);
    let job = job(&launch, &ctx).unwrap();
    assert_eq!(pod_spec(&job).containers[0].volume_mounts.as_ref().map(Vec::len), Some(1));
}

#[test]
fn group_may_do_what_the_owner_may() {
    // (asked for, given): the program is in the group, and root owns the file.
    let table = [(0o400, 0o440), (0o700, 0o770), (0o755, 0o775), (0o444, 0o444), (0o000, 0o000), (0o4711, 0o771)];
    for (asked, given) in table {
        let mut launch = launch();
        launch.files = vec![File { path: "f".to_owned(), mode: Some(asked), content: Vec::new() }];
        let job = job(&launch, &context()).unwrap();
        let volume = pod_spec(&job).volumes.as_ref().unwrap()[0].secret.clone().unwrap();
        assert_eq!(volume.items.unwrap()[0].mode, Some(given), "{asked:o}");
    }
}

#[test]
fn pod_ends_after_start_and_run_budget_whatever_happens_to_the_daemon() {
    let budget = |start: u64, run: u64| {
        let start_timeout = Duration::from_secs(start);
        let launch =
            launch_of("x", EffectiveSpec { start_timeout, run_timeout: Duration::from_secs(run), ..effective() });
        let job = job(&launch, &context()).unwrap();
        assert_eq!(job.spec.as_ref().unwrap().active_deadline_seconds, None);
        assert_eq!(job.spec.as_ref().unwrap().ttl_seconds_after_finished, None);
        pod_spec(&job).active_deadline_seconds
    };
    // A second more: a Pod's times are whole seconds.
    assert_eq!(budget(300, 3600), Some(3901));
    assert_eq!(budget(0, 0), Some(1));
    assert_eq!(budget(u64::MAX, 5), Some(i64::from(i32::MAX)));
}

#[test]
fn home_is_where_the_program_can_write() {
    let home = |effective: EffectiveSpec| {
        let job = job(&launch_of("x", effective), &context()).unwrap();
        let env = pod_spec(&job).containers[0].env.clone().unwrap();
        let homes: Vec<_> = env.into_iter().filter(|variable| variable.name == "HOME").collect();
        assert!(homes.len() <= 1, "{homes:?}");
        homes.into_iter().next().and_then(|variable| variable.value)
    };
    assert_eq!(home(effective()).as_deref(), Some("/tmp"));
    assert_eq!(home(EffectiveSpec { tmp_size: None, ..effective() }), None, "there is no /tmp");
    assert_eq!(
        home(EffectiveSpec {
            security: EffectiveSecurity { read_only_root_filesystem: false, ..effective().security },
            ..effective()
        }),
        None,
        "the image's is fine"
    );
    let own = EnvVar { name: "HOME".to_owned(), source: EnvSource::Value("/data".to_owned()) };
    assert_eq!(home(EffectiveSpec { env: vec![own], ..effective() }).as_deref(), Some("/data"));
}

#[test]
fn marker_is_passed_only_if_a_result_is_looked_for() {
    let has_marker = |launch: &Launch| {
        let job = job(launch, &context()).unwrap();
        let env = pod_spec(&job).containers[0].env.clone().unwrap();
        env.iter().any(|variable| variable.name == "LONGSHORE_RESULT_MARKER")
    };
    assert!(!has_marker(&launch()));
    assert!(has_marker(&sql()));
}

/// As the API server has the Job once it was stopped.
fn stopped(launch: &Launch, ctx: &ManifestContext) -> Job {
    let mut job = job(launch, ctx).unwrap();
    job.metadata.uid = Some(JOB_UID.to_owned());
    let annotations = job.metadata.annotations.get_or_insert_default();
    annotations.insert(annotation::STOP.to_owned(), "{}".to_owned());
    annotations.insert(annotation::attempt(1), "{}".to_owned());
    let spec = job.spec.as_mut().unwrap();
    (spec.parallelism, spec.active_deadline_seconds) = (Some(0), Some(1));
    (spec.ttl_seconds_after_finished, spec.suspend) = (Some(60), Some(true));
    let labels = spec.template.metadata.as_mut().unwrap().labels.as_mut().unwrap();
    for key in ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"] {
        labels.insert(key.to_owned(), "of-the-first".to_owned());
    }
    job
}

#[test]
fn golden_second_attempt() {
    let (launch, ctx) = everything();
    let second = further(&stopped(&launch, &ctx), &launch.name.run, 2).unwrap();
    golden_of("second_attempt", &preview_yaml(&second, &launch, &ctx).unwrap());
}

#[test]
fn further_attempts_differ_in_name_number_and_owner_only() {
    let (launch, ctx) = everything();
    let first = job(&launch, &ctx).unwrap();
    let second = further(&stopped(&launch, &ctx), &launch.name.run, 2).unwrap();
    let mut alike = second.clone();
    alike.metadata.name.clone_from(&first.metadata.name);
    alike.metadata.annotations.clone_from(&first.metadata.annotations);
    alike.metadata.owner_references = None;
    alike.metadata.labels.as_mut().unwrap().insert(label::ATTEMPT.to_owned(), "1".to_owned());
    let template = &mut alike.spec.as_mut().unwrap().template;
    template.metadata.as_mut().unwrap().labels.as_mut().unwrap().insert(label::ATTEMPT.to_owned(), "1".to_owned());
    let env = template.spec.as_mut().unwrap().containers[0].env.as_mut().unwrap();
    let number = env.iter_mut().find(|variable| variable.name == "LONGSHORE_ATTEMPT").unwrap();
    assert_eq!(number.value.replace("1".to_owned()).as_deref(), Some("2"));
    assert_eq!(alike, first);
    let third = further(&stopped(&launch, &ctx), &launch.name.run, 3).unwrap();
    assert_eq!(third.metadata.name.as_deref(), Some("run3-nightly-report-7"));
}

#[test]
fn of_a_job_that_was_changed_no_further_attempt_is_made() {
    let refused = |change: fn(&mut Job)| {
        let mut job = stopped(&launch(), &context());
        change(&mut job);
        further(&job, &launch().name.run, 2).unwrap_err().to_string()
    };
    assert!(refused(|job| job.spec = None).contains("of hello has no spec"));
    let without_run = refused(|job| {
        let containers = &mut job.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers;
        containers[0].name = "other".to_owned();
    });
    assert!(without_run.contains("no container `run`"), "{without_run}");
}

#[test]
fn autoscalers_are_kept_away_from_what_is_not_repeated() {
    let annotations = |infra_retries| {
        let launch = launch_of("x", EffectiveSpec { infra_retries, ..effective() });
        job(&launch, &context()).unwrap().spec.unwrap().template.metadata.unwrap().annotations.unwrap()
    };
    assert_eq!(annotations(0).len(), 2);
    assert_eq!(annotations(1).len(), 0);
}

#[test]
fn what_waits_in_a_queue_is_held_back_from_the_start() {
    let launch = launch_of("x", EffectiveSpec { queue_name: Some("team-a".to_owned()), ..effective() });
    let first = job(&launch, &context()).unwrap();
    let is_queued = |job: &Job| {
        let labels = job.metadata.labels.as_ref().unwrap();
        let of_pods = job.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
        assert!(!of_pods.contains_key("kueue.x-k8s.io/queue-name"), "its Pods are not queued by themselves");
        (labels.get("kueue.x-k8s.io/queue-name").cloned(), job.spec.as_ref().unwrap().suspend)
    };
    let queued = (Some("team-a".to_owned()), Some(true));
    assert_eq!(is_queued(&first), queued);
    let mut there = stopped(&launch, &context());
    there.spec.as_mut().unwrap().suspend = Some(false);
    assert_eq!(is_queued(&further(&there, &launch.name.run, 2).unwrap()), queued, "each attempt has its turn");
    assert_eq!(is_queued(&job(&self::launch(), &context()).unwrap()), (None, None));
}

/// Kueue writes its assignment into the template of a Job that it admits, and refuses one that has another's.
#[test]
fn another_attempt_is_admitted_by_itself() {
    let launch = launch_of("x", EffectiveSpec { queue_name: Some("team-a".to_owned()), ..effective() });
    let mut admitted = stopped(&launch, &context());
    let template = &mut admitted.spec.as_mut().unwrap().template;
    let metadata = template.metadata.as_mut().unwrap();
    metadata.labels.as_mut().unwrap().insert("kueue.x-k8s.io/podset".to_owned(), "main".to_owned());
    let workload = ("kueue.x-k8s.io/workload".to_owned(), "job-run-x-1".to_owned());
    metadata.annotations.get_or_insert_default().extend([workload]);
    let spec = template.spec.as_mut().unwrap();
    spec.node_selector = Some(map(&[("pool", "spot")]));
    spec.scheduling_gates = Some(vec![PodSchedulingGate { name: "kueue.x-k8s.io/topology".to_owned() }]);
    let stopping = ("kueue.x-k8s.io/stopping".to_owned(), "true".to_owned());
    admitted.metadata.annotations.as_mut().unwrap().extend([stopping]);
    let pristine = further(&stopped(&launch, &context()), &launch.name.run, 2).unwrap();
    assert_eq!(further(&admitted, &launch.name.run, 2).unwrap(), pristine);
    // Somebody took its label away: it does not pass its queue by.
    admitted.metadata.labels.as_mut().unwrap().remove("kueue.x-k8s.io/queue-name");
    assert_eq!(further(&admitted, &launch.name.run, 2).unwrap(), pristine);
}

#[test]
fn a_run_of_a_batch_knows_which_it_is() {
    let batch = BatchId::parse("nightly").unwrap();
    let labels = map(&[(BATCH_LABEL, batch.as_str())]);
    let mut launch = launch_of("nightly-7", EffectiveSpec { labels, ..effective() });
    launch.submission.batch = Some(BatchItem { id: batch, index: 7, count: 20 });
    golden("batch", &launch, &context());
}

#[test]
fn dry_run_pod_is_the_template() {
    let job = job(&launch(), &context()).unwrap();
    let pod = pod_for_dry_run(&job);
    assert_eq!(pod.spec.as_ref(), Some(pod_spec(&job)));
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("run-hello-"));
    assert_eq!(pod.metadata.namespace.as_deref(), Some("longshore-runs"));
    assert_eq!(pod.metadata.labels, job.metadata.labels);
    assert_eq!(pod.metadata.finalizers, None);
}

#[test]
fn what_a_pod_cannot_do_is_refused() {
    let refused = |launch: &Launch, ctx: &ManifestContext| job(launch, ctx).unwrap_err().to_string();
    let mut process = launch();
    process.program = Program::Process(LocalProfile::default());
    assert_eq!(refused(&process, &context()), "namespaces/default/runs/hello has no image: it can't run on Kubernetes");
    let mut stdin = sql();
    stdin.input_delivery = InputDelivery::Stdin;
    assert!(refused(&stdin, &context()).contains("standard input"));
    let mount = VolumeMount { volume: "data".to_owned(), mount_path: "/data".to_owned(), read_only: None };
    let mounting = launch_of("x", EffectiveSpec { volumes: vec![mount], ..effective() });
    assert_eq!(refused(&mounting, &context()), "volume `data` is not configured");
    let mut local_only = context();
    local_only.volumes.insert("data".to_owned(), Volume { local_path: Some("/srv".to_owned()), ..Volume::default() });
    assert_eq!(refused(&mounting, &local_only), "volume `data` has neither `persistent_volume_claim` nor `config_map`");
}

/// The kubelet's expansion of `$(NAME)` (k8s.io/kubernetes third_party/forked/golang/expansion).
fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            out.push_str(&variables.get(name).cloned().unwrap_or_else(|| format!("$({name})")));
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

#[test]
fn kubelet_would_expand_what_is_not_escaped() {
    assert_eq!(expanded("$(A) $$(A) $$ $B $(C", &map(&[("A", "1")])), "1 $(A) $ $B $(C");
}

proptest! {
    #[test]
    fn text_arrives_as_it_was_given(text in r"[$()Aa \PC]{0,40}") {
        prop_assert_eq!(expanded(&pod::literal(&text), &map(&[("A", "1"), ("", "2"), ("a", "$")])), text);
    }
}

#[test]
fn command_arguments_and_variables_arrive_as_they_were_given() {
    let (launch, ctx) = everything();
    let job = job(&launch, &ctx).unwrap();
    let container = &pod_spec(&job).containers[0];
    let none = BTreeMap::new();
    assert_eq!(
        expanded(&container.args.as_ref().unwrap()[0], &none),
        "set -eu\necho \"$HOME\" $$ $(id -u)\ncat \"$LONGSHORE_INPUT\"\n"
    );
    let greeting = container.env.as_ref().unwrap()[0].value.clone().unwrap();
    assert_eq!(expanded(&greeting, &map(&[("HOME", "/")])), "costs $5, not $(HOME)");
    assert_eq!(container.termination_message_path.as_deref(), Some(path::RESULT));
}
