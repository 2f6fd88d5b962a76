//! What is applied of what was asked for, and the rules that other tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::run::profile::Program;
use crate::run::profile::{Capabilities, KubernetesProfile, Volume};
use crate::run::spec::{
    ContainerWorkload, EnvSource, EnvVar, NetworkMode, OneDialect, Placement, Resources, ResultMode, ResultRule,
    ResultScan, Security, Toleration, VolumeMount, Workload,
};
use crate::run::spec::{EffectiveSecurity, EffectiveSpec};
pub(crate) use crate::testing::on_kubernetes;

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), source: EnvSource::Value(value.to_owned()) }
}

pub(crate) fn secret_env(name: &str, secret: &str, key: &str) -> EnvVar {
    let source = EnvSource::SecretKeyRef { name: secret.to_owned(), key: key.to_owned() };
    EnvVar { name: name.to_owned(), source }
}

pub(crate) fn mount(volume: &str, mount_path: &str, read_only: Option<bool>) -> VolumeMount {
    VolumeMount { volume: volume.to_owned(), mount_path: mount_path.to_owned(), read_only }
}

/// A machine that can't enforce anything.
pub(crate) fn on_local() -> Rules {
    let mut rules = on_kubernetes();
    rules.capabilities = Capabilities {
        backend: "local",
        container_workload: false,
        split_streams: true,
        stdin_input: true,
        secret_key_ref: false,
        placement: false,
        user: false,
        resource_limits: false,
        root_filesystem: false,
        network_modes: vec![NetworkMode::Cluster],
        volumes: false,
        queue: true,
        queues: Vec::new(),
        isolation: "process",
        notes: vec![],
    };
    rules
}

pub(crate) fn container() -> RunSpec {
    let container = ContainerWorkload { image: "registry.example/app:v1".to_owned(), ..ContainerWorkload::default() };
    RunSpec { workload: Some(Workload::Container(container)), ..RunSpec::default() }
}

pub(crate) fn runner(profile: &str) -> RunSpec {
    RunSpec { workload: Some(Workload::Runner { profile: profile.to_owned() }), ..RunSpec::default() }
}

fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn applied(spec: &RunSpec, rules: &Rules) -> Resolved {
    resolve(spec, rules).unwrap_or_else(|violations| panic!("{violations}"))
}

/// Rules whose profile `open` has these defaults.
fn with_defaults(defaults: RunSpec) -> Rules {
    let mut rules = on_kubernetes();
    rules.profiles.get_mut("open").unwrap().defaults = defaults;
    rules
}

#[test]
fn a_run_of_a_batch_has_its_label() {
    let (spec, rules, batch) = (container(), on_kubernetes(), BatchId::parse("nightly").unwrap());
    let mut expected = applied(&spec, &rules);
    assert_eq!(expected.effective.labels.get(BATCH_LABEL), None);
    expected.effective.labels.insert(BATCH_LABEL.to_owned(), "nightly".to_owned());
    assert_eq!(resolve_of(&spec, &rules, Some(&batch)), Ok(expected));
}

#[test]
fn a_container_gets_the_defaults() {
    let resolved = applied(&container(), &on_kubernetes());
    let expected = EffectiveSpec {
        workload: container().workload.unwrap(),
        resources: Resources {
            requests: map(&[("cpu", "100m"), ("memory", "128Mi"), ("ephemeral-storage", "64Mi")]),
            limits: map(&[("cpu", "1"), ("memory", "512Mi"), ("ephemeral-storage", "1Gi")]),
        },
        security: EffectiveSecurity {
            run_as_user: 65532,
            run_as_group: 65532,
            fs_group: 65532,
            read_only_root_filesystem: true,
            runtime_class_name: None,
        },
        start_timeout: Duration::from_secs(300),
        run_timeout: Duration::from_secs(3600),
        termination_grace: Duration::from_secs(10),
        retention: Duration::from_secs(86_400),
        tmp_size: Some("64Mi".to_owned()),
        ..EffectiveSpec::empty()
    };
    assert_eq!(resolved.effective, expected);
    let program = KubernetesProfile { image: "registry.example/app:v1".to_owned(), ..KubernetesProfile::default() };
    assert_eq!(resolved.program, Program::Container(program));
    assert_eq!(resolved.input_delivery, InputDelivery::File);
}

#[test]
fn a_profile_runs_as_its_part_for_the_backend() {
    let mut rules = on_kubernetes();
    assert!(matches!(applied(&runner("sql"), &rules).program, Program::Container(c) if c.args == ["sql"]));
    assert_eq!(applied(&runner("sql"), &rules).effective.result.scan, ResultScan::LastObject);
    rules.profiles.get_mut("sql").unwrap().input = InputDelivery::Env("QUERY".to_owned());
    assert_eq!(applied(&runner("sql"), &rules).input_delivery, InputDelivery::Env("QUERY".to_owned()));
    assert!(matches!(applied(&runner("sql"), &on_local()).program, Program::Process(p) if p.command.len() == 2));
}

#[test]
fn the_callers_fields_win_over_the_profiles_and_those_over_the_servers() {
    let defaults = RunSpec {
        env: vec![env("A", "profile"), env("B", "profile")],
        start_timeout: secs(20),
        run_timeout: secs(30),
        labels: map(&[("a", "profile"), ("b", "profile")]),
        annotations: map(&[("a", "profile"), ("b", "profile")]),
        volumes: vec![mount("models", "/models", None)],
        network_mode: Some(NetworkMode::Egress),
        result: ResultRule {
            mode: Some(ResultMode::Required),
            scan: Some(ResultScan::Off),
            dialect: Some(OneDialect::Json),
        },
        tmp_size: Some("1Gi".to_owned()),
        ..RunSpec::default()
    };
    let spec = RunSpec {
        env: vec![env("C", "own"), env("A", "own")],
        run_timeout: Some(Duration::from_millis(1500)),
        labels: map(&[("b", "own"), ("c", "own")]),
        annotations: map(&[("b", "own")]),
        volumes: vec![mount("data", "/data", None)],
        result: ResultRule { mode: Some(ResultMode::Optional), ..ResultRule::default() },
        ..runner("open")
    };
    let effective = applied(&spec, &with_defaults(defaults)).effective;
    assert_eq!(effective.env, [env("A", "own"), env("B", "profile"), env("C", "own")], "by name, in order");
    assert_eq!(effective.start_timeout, Duration::from_secs(20), "the profile's");
    assert_eq!(effective.run_timeout, Duration::from_secs(2), "the caller's, rounded up");
    assert_eq!(effective.retention, Duration::from_secs(86_400), "the server's");
    assert_eq!(effective.labels, map(&[("a", "profile"), ("b", "own"), ("c", "own")]));
    assert_eq!(effective.annotations, map(&[("a", "profile"), ("b", "own")]));
    assert_eq!(effective.volumes, [mount("data", "/data", Some(false))], "lists replace");
    assert_eq!(effective.network_mode, NetworkMode::Egress);
    assert_eq!((effective.result.mode, effective.result.scan), (ResultMode::Optional, ResultScan::Off));
    assert_eq!(effective.result.dialect, Some(OneDialect::Json), "the profile's");
    assert_eq!(effective.tmp_size.as_deref(), Some("1Gi"));
}

#[test]
fn a_message_replaces_where_the_whole_of_it_may_be_set() {
    let defaults = RunSpec {
        security: Security { runtime_class_name: Some("gvisor".to_owned()), fs_group: Some(7), ..Security::default() },
        placement: Placement {
            node_selector: map(&[("pool", "runs")]),
            tolerations: vec![Toleration { key: "runs".to_owned(), ..Toleration::default() }],
            priority_class_name: Some("low".to_owned()),
        },
        ..RunSpec::default()
    };
    let spec = RunSpec {
        security: Security { run_as_user: Some(1000), ..Security::default() },
        placement: Placement { node_selector: map(&[("disk", "ssd")]), ..Placement::default() },
        ..runner("open")
    };
    let mut rules = with_defaults(defaults.clone());
    let whole = applied(&spec, &rules).effective;
    assert_eq!(
        (whole.security.run_as_user, whole.security.fs_group, whole.security.runtime_class_name),
        (1000, 65532, None)
    );
    assert_eq!(whole.placement, spec.placement);

    let parts = ["security.run_as_user", "placement.node_selector"].map(str::to_owned).to_vec();
    rules.profiles.get_mut("open").unwrap().overridable = parts;
    let part = applied(&spec, &rules).effective;
    assert_eq!((part.security.run_as_user, part.security.fs_group), (1000, 7));
    assert_eq!(part.security.runtime_class_name.as_deref(), Some("gvisor"), "what must not be set must not be dropped");
    let node_selector = map(&[("disk", "ssd"), ("pool", "runs")]);
    assert_eq!(part.placement, Placement { node_selector, ..defaults.placement });
}

#[test]
fn a_part_that_is_set_leaves_the_profiles_other_parts() {
    let defaults = Security {
        run_as_user: Some(5),
        run_as_group: Some(6),
        fs_group: Some(7),
        read_only_root_filesystem: Some(false),
        runtime_class_name: Some("gvisor".to_owned()),
    };
    let mut rules = with_defaults(RunSpec { security: defaults, ..RunSpec::default() });
    let parts = validate::overridable().filter(|path| path.starts_with("security."));
    rules.profiles.get_mut("open").unwrap().overridable = parts.map(|path| (*path).to_owned()).collect();
    let shown = |security: Security| {
        let effective = applied(&RunSpec { security, ..runner("open") }, &rules).effective;
        let EffectiveSecurity { run_as_user, run_as_group, fs_group, read_only_root_filesystem, runtime_class_name } =
            effective.security;
        let class = runtime_class_name.unwrap_or_default();
        format!("{run_as_user} {run_as_group} {fs_group} {read_only_root_filesystem} {class}")
    };
    let none = Security::default;
    assert_eq!(shown(none()), "5 6 7 false gvisor");
    assert_eq!(shown(Security { run_as_user: Some(1), ..none() }), "1 6 7 false gvisor");
    assert_eq!(shown(Security { run_as_group: Some(1), ..none() }), "5 1 7 false gvisor");
    assert_eq!(shown(Security { fs_group: Some(1), ..none() }), "5 6 1 false gvisor");
    assert_eq!(shown(Security { read_only_root_filesystem: Some(true), ..none() }), "5 6 7 true gvisor");
    assert_eq!(shown(Security { runtime_class_name: Some("x".to_owned()), ..none() }), "5 6 7 false x");
}

#[test]
fn the_group_of_volumes_is_the_group_unless_set() {
    let spec = |fs_group| RunSpec {
        security: Security { run_as_group: Some(2000), fs_group, ..Security::default() },
        ..container()
    };
    assert_eq!(applied(&spec(None), &on_kubernetes()).effective.security.fs_group, 2000);
    assert_eq!(applied(&spec(Some(3000)), &on_kubernetes()).effective.security.fs_group, 3000);
}

#[test]
fn zero_stands_for_no_tmp_however_it_is_written() {
    for (size, expected) in [("0", None), ("0Gi", None), ("0.0", None), ("1Mi", Some("1Mi"))] {
        let spec = RunSpec { tmp_size: Some(size.to_owned()), ..container() };
        assert_eq!(applied(&spec, &on_kubernetes()).effective.tmp_size.as_deref(), expected, "{size}");
    }
}

#[test]
fn a_mount_is_read_only_if_its_volume_is() {
    for (volume, asked, expected) in
        [("data", None, false), ("data", Some(true), true), ("models", None, true), ("models", Some(true), true)]
    {
        let spec = RunSpec { volumes: vec![mount(volume, "/v", asked)], ..container() };
        let mounted = applied(&spec, &on_kubernetes()).effective.volumes;
        assert_eq!(mounted, [mount(volume, "/v", Some(expected))], "{volume} {asked:?}");
    }
    let mut rules = on_kubernetes();
    rules.volumes.insert("conf".to_owned(), Volume { config_map: Some("conf".to_owned()), ..Volume::default() });
    let spec = RunSpec { volumes: vec![mount("conf", "/v", None)], ..container() };
    assert_eq!(applied(&spec, &rules).effective.volumes[0].read_only, Some(true));
}

#[test]
fn annotations_reach_the_pod_if_the_profile_lists_their_key() {
    let annotations = map(&[("example.com/team", "x"), ("example.com/other", "y")]);
    let of = |spec: RunSpec| applied(&RunSpec { annotations: annotations.clone(), ..spec }, &on_kubernetes());
    assert_eq!(of(runner("sql")).pod_annotations, ["example.com/team"]);
    assert!(of(container()).pod_annotations.is_empty());
    assert!(applied(&runner("sql"), &on_kubernetes()).pod_annotations.is_empty(), "only keys that are there");
}

#[test]
fn limits_of_the_server_cap_what_profile_and_defaults_say() {
    let mut rules = with_defaults(RunSpec { run_timeout: secs(900), ..RunSpec::default() });
    rules.limits.max_run_timeout = Duration::from_secs(600);
    rules.limits.max_retention = Duration::from_secs(60);
    let effective = applied(&runner("open"), &rules).effective;
    assert_eq!(effective.run_timeout, Duration::from_secs(600));
    assert_eq!(effective.retention, Duration::from_secs(60));
}

#[test]
fn what_a_backend_cannot_enforce_becomes_its_best() {
    let defaults = RunSpec {
        security: Security { runtime_class_name: Some("gvisor".to_owned()), ..Security::default() },
        placement: Placement { node_selector: map(&[("a", "b")]), ..Placement::default() },
        tmp_size: Some("1Gi".to_owned()),
        network_mode: Some(NetworkMode::Egress),
        ..RunSpec::default()
    };
    let mut rules = with_defaults(defaults);
    rules.capabilities = on_local().capabilities;
    let effective = applied(&runner("open"), &rules).effective;
    assert!(!effective.security.read_only_root_filesystem);
    assert_eq!(effective.tmp_size, None);
    assert_eq!(effective.security.runtime_class_name, None);
    assert!(effective.placement.is_empty());
    assert_eq!(effective.network_mode, NetworkMode::Cluster);
}

#[test]
fn the_network_mode_shown_is_one_that_holds() {
    use NetworkMode::{Cluster, Egress, None};
    for (modes, wanted, expected) in [
        (vec![None, Egress, Cluster], Egress, Egress),
        (vec![], None, None),
        (vec![None, Cluster], Egress, Cluster),
        (vec![Cluster], None, Cluster),
        (vec![None], Cluster, None),
        (vec![None, Egress], Cluster, Egress),
    ] {
        let mut rules = with_defaults(RunSpec { network_mode: Some(wanted), ..RunSpec::default() });
        rules.capabilities.network_modes = modes.clone();
        assert_eq!(applied(&runner("open"), &rules).effective.network_mode, expected, "{modes:?} {wanted:?}");
    }
}

/// `[caller's requests, limits, profile's requests, limits, server's max]`
type Amounts<'a> = [&'a [(&'a str, &'a str)]; 5];

fn resources(amounts: Amounts<'_>) -> Result<Resources, Violations> {
    let [requests, limits, profile_requests, profile_limits, max] = amounts.map(map);
    let mut rules = with_defaults(RunSpec {
        resources: Resources { requests: profile_requests, limits: profile_limits },
        ..RunSpec::default()
    });
    rules.limits.max_limits = max;
    let spec = RunSpec { resources: Resources { requests, limits }, ..runner("open") };
    resolve(&spec, &rules).map(|resolved| resolved.effective.resources)
}

#[test]
fn requests_and_limits_are_made_to_fit() {
    const NONE: &[(&str, &str)] = &[];
    let gpu = "example.com/gpu";
    for (name, amounts, request, limit) in [
        ("cpu", [NONE, NONE, NONE, NONE, NONE], "100m", "1"),
        // A limit below the default request lowers the request.
        ("cpu", [NONE, &[("cpu", "50m")], NONE, NONE, NONE], "50m", "50m"),
        ("cpu", [NONE, &[("cpu", "4")], NONE, NONE, NONE], "100m", "4"),
        // A request above the default limit raises the limit.
        ("cpu", [&[("cpu", "3")], NONE, NONE, NONE, NONE], "3", "3"),
        ("cpu", [&[("cpu", "3")], NONE, NONE, NONE, &[("cpu", "3000m")]], "3", "3"),
        ("cpu", [&[("cpu", "1000m")], &[("cpu", "1")], NONE, NONE, NONE], "1000m", "1"),
        // The profile's stand between.
        ("memory", [NONE, NONE, &[("memory", "1Gi")], NONE, NONE], "1Gi", "1Gi"),
        ("memory", [NONE, NONE, &[("memory", "1Gi")], &[("memory", "2Gi")], NONE], "1Gi", "2Gi"),
        ("memory", [NONE, &[("memory", "512Mi")], &[("memory", "1Gi")], &[("memory", "2Gi")], NONE], "512Mi", "512Mi"),
        ("memory", [&[("memory", "3Gi")], NONE, &[("memory", "1Gi")], &[("memory", "2Gi")], NONE], "3Gi", "3Gi"),
        // What nobody asked for is capped.
        ("memory", [NONE, NONE, NONE, NONE, &[("memory", "100Mi")]], "100Mi", "100Mi"),
        ("memory", [NONE, NONE, NONE, &[("memory", "8Gi")], &[("memory", "1Gi")]], "128Mi", "1Gi"),
        ("memory", [NONE, NONE, &[("memory", "8Gi")], NONE, &[("memory", "1Gi")]], "1Gi", "1Gi"),
        // Extended resources have one number.
        (gpu, [NONE, &[(gpu, "2")], NONE, NONE, NONE], "2", "2"),
        (gpu, [&[(gpu, "2")], NONE, NONE, NONE, NONE], "2", "2"),
        (gpu, [&[(gpu, "1")], &[(gpu, "1")], NONE, NONE, NONE], "1", "1"),
        (gpu, [NONE, &[(gpu, "4")], &[(gpu, "1")], &[(gpu, "1")], NONE], "4", "4"),
        (gpu, [&[(gpu, "4")], NONE, &[(gpu, "1")], &[(gpu, "1")], NONE], "4", "4"),
        (gpu, [NONE, NONE, &[(gpu, "1")], &[(gpu, "2")], NONE], "2", "2"),
    ] {
        let merged = resources(amounts).unwrap_or_else(|violations| panic!("{amounts:?}: {violations}"));
        let found = (merged.requests[name].as_str(), merged.limits[name].as_str());
        assert_eq!(found, (request, limit), "{amounts:?}");
    }
}

#[test]
fn amounts_of_the_caller_that_do_not_fit_are_refused() {
    const NONE: &[(&str, &str)] = &[];
    let gpu = "example.com/gpu";
    for (amounts, field, fragment) in [
        (
            [&[("cpu", "2")][..], &[("cpu", "1500m")], NONE, NONE, NONE],
            "spec.resources.requests[\"cpu\"]",
            "is `2`, which is above the limit of `1500m`",
        ),
        (
            [NONE, &[("memory", "2Gi")], NONE, NONE, &[("memory", "1Gi")]],
            "spec.resources.limits[\"memory\"]",
            "is `2Gi`; this server allows at most `1Gi`",
        ),
        (
            [&[("memory", "2Gi")], NONE, NONE, NONE, &[("memory", "1Gi")]],
            "spec.resources.requests[\"memory\"]",
            "is `2Gi`; this server allows at most `1Gi`",
        ),
        (
            [&[(gpu, "1")], &[(gpu, "2")], NONE, NONE, NONE],
            "spec.resources.requests[\"example.com/gpu\"]",
            "both must be the same",
        ),
        (
            [NONE, &[(gpu, "9")], NONE, NONE, &[(gpu, "8")]],
            "spec.resources.limits[\"example.com/gpu\"]",
            "this server allows at most `8`",
        ),
    ] {
        let violations = resources(amounts).expect_err(fragment);
        assert!(
            violations.as_slice().iter().any(|v| v.field == field && v.description.contains(fragment)),
            "{violations}"
        );
    }
}

#[test]
fn everything_is_reported_at_once() {
    let spec = RunSpec {
        workload: Some(Workload::Runner { profile: "sqll".to_owned() }),
        env: vec![env("1", "")],
        resources: Resources { limits: map(&[("cpu", "x"), ("memory", "9Ti")]), ..Resources::default() },
        run_timeout: secs(0),
        labels: map(&[("-", "")]),
        queue_name: Some("q".to_owned()),
        ..RunSpec::default()
    };
    let mut rules = on_kubernetes();
    rules.limits.max_limits = map(&[("memory", "1Ti")]);
    let violations = resolve(&spec, &rules).unwrap_err();
    let mut fields: Vec<&str> = violations.as_slice().iter().map(|v| v.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "spec.env[0].name",
            "spec.labels[\"-\"]",
            "spec.queue_name",
            "spec.resources.limits[\"cpu\"]",
            "spec.resources.limits[\"memory\"]",
            "spec.run_timeout",
            "spec.runner.profile",
        ]
    );
}

#[test]
fn a_request_of_many_faults_is_answered_within_bounds() {
    let spec = RunSpec { env: vec![env("1", ""); 20_000], ..container() };
    let violations = resolve(&spec, &on_kubernetes()).unwrap_err();
    assert_eq!(violations.as_slice().len(), crate::notation::violation::VIOLATIONS_MAX);
}

#[test]
fn a_memory_limit_with_which_nothing_starts_is_refused() {
    let mut rules = on_kubernetes();
    let memory = |limit: &str| RunSpec {
        resources: Resources { requests: BTreeMap::new(), limits: map(&[("memory", limit)]) },
        workload: Some(Workload::Runner { profile: "open".to_owned() }),
        ..RunSpec::default()
    };
    for limit in ["1", "4Ki", "1Mi", "4194303"] {
        let refused = resolve(&memory(limit), &rules).unwrap_err();
        let description = format!("is `{limit}`; with less than `4Mi` no container can be started; raise it");
        let refused: Vec<_> = refused.as_slice().iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
        assert_eq!(refused, [("spec.resources.limits[\"memory\"]", description.as_str())]);
    }
    for limit in ["4Mi", "4194304", "1Gi"] {
        assert!(resolve(&memory(limit), &rules).is_ok(), "{limit}");
    }
    rules.limits.min_memory = "16Mi".to_owned();
    assert!(resolve(&memory("8Mi"), &rules).is_err());
    // What the caller did not ask for is raised.
    rules.limits.min_memory = "2Gi".to_owned();
    let unset = RunSpec { resources: Resources::default(), ..memory("1Mi") };
    assert_eq!(resolve(&unset, &rules).unwrap().effective.resources.limits["memory"], "2Gi");
}
