//! Round trips, and what is not readable.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::run::failure::FailureReason;
use crate::run::resolve::resolve;
use crate::run::resolve::tests::{container, env, map, mount, on_kubernetes, runner, secret_env};
use crate::run::spec::*;

fn effective(spec: &RunSpec) -> EffectiveSpec {
    resolve(spec, &on_kubernetes()).unwrap_or_else(|violations| panic!("{violations}")).effective
}

fn without(path: &[&str], text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap();
    let (last, parents) = path.split_last().unwrap();
    let parent = parents.iter().fold(&mut value, |value, name| value.get_mut(*name).unwrap());
    parent.as_object_mut().unwrap().remove(*last).unwrap_or_else(|| panic!("{path:?} is not there"));
    value.to_string()
}

#[test]
fn what_is_kept_is_what_differs() {
    let spec = RunSpec {
        env: vec![env("A", "1")],
        max_retries: Some(0),
        labels: map(&[("a", "b")]),
        input: Some(Input::Json("{\"secret\":1}".to_owned())),
        files: vec![File { path: "f".to_owned(), mode: None, content: b"content".to_vec() }],
        ..container()
    };
    let text = encode(&spec, &effective(&spec)).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let spec_keys: Vec<_> = value["spec"].as_object().unwrap().keys().collect();
    assert_eq!(spec_keys, ["workload", "env", "max_retries", "labels"], "without input and files");
    let diff = value["effective_diff"].as_object().unwrap();
    for same in ["workload", "env", "labels"] {
        assert!(!diff.contains_key(same), "{same} is kept twice: {text}");
    }
    assert!(diff["max_retries"].is_null() && diff["run_timeout"].is_object(), "{text}");
    let (read, applied) = decode(&text).unwrap();
    assert_eq!(read, RunSpec { input: None, files: vec![], ..spec.clone() });
    assert_eq!(applied, effective(&spec));
}

/// Runs outlive the server that wrote them: this has to stay readable.
const WRITTEN_BY_VERSION_1: &str = concat!(
    r#"{"version":1,"spec":{"workload":{"runner":{"profile":"sql"}}},"effective_diff":{"#,
    r#""resources":{"requests":{"cpu":"100m","ephemeral-storage":"64Mi","memory":"128Mi"},"#,
    r#""limits":{"cpu":"1","ephemeral-storage":"1Gi","memory":"512Mi"}},"#,
    r#""security":{"run_as_user":65532,"run_as_group":65532,"fs_group":65532,"read_only_root_filesystem":true},"#,
    r#""start_timeout":{"secs":300,"nanos":0},"run_timeout":{"secs":3600,"nanos":0},"#,
    r#""termination_grace":{"secs":10,"nanos":0},"retention":{"secs":86400,"nanos":0},"#,
    r#""network_mode":"none","result":{"mode":"none","scan":"last_object"},"tmp_size":"64Mi"}}"#,
);

#[test]
fn the_form_does_not_change_by_accident() {
    let effective = effective(&runner("sql"));
    assert_eq!(encode(&runner("sql"), &effective).unwrap(), WRITTEN_BY_VERSION_1);
    assert_eq!(decode(WRITTEN_BY_VERSION_1).unwrap(), (runner("sql"), effective));
}

#[test]
fn what_is_missing_is_named() {
    let spec = container();
    let text = encode(&spec, &effective(&spec)).unwrap();
    for (path, name) in [
        (&["spec", "workload"][..], "workload"),
        (&["effective_diff", "start_timeout"], "start_timeout"),
        (&["effective_diff", "run_timeout"], "run_timeout"),
        (&["effective_diff", "termination_grace"], "termination_grace"),
        (&["effective_diff", "retention"], "retention"),
        (&["effective_diff", "network_mode"], "network_mode"),
        (&["effective_diff", "tmp_size"], "tmp_size"),
        (&["effective_diff", "security", "run_as_user"], "run_as_user"),
        (&["effective_diff", "security", "run_as_group"], "run_as_group"),
        (&["effective_diff", "security", "fs_group"], "fs_group"),
        (&["effective_diff", "security", "read_only_root_filesystem"], "read_only_root_filesystem"),
        (&["effective_diff", "result", "mode"], "mode"),
        (&["effective_diff", "result", "scan"], "scan"),
    ] {
        let error = decode(&without(path, &text)).unwrap_err();
        let StoredError::Malformed(error) = error else { panic!("{error}") };
        assert_eq!(error.to_string(), format!("missing field `{name}`"));
    }
}

#[test]
fn what_is_no_stored_spec() {
    for text in ["", "{}", "[]", "null", "{\"version\":1}", "{\"version\":1,\"spec\":{\"env\":3}}", "{\"spec\":{}}"] {
        assert!(decode(text).is_err(), "{text}");
    }
    let newer = decode("{\"version\":2,\"shape\":\"unknown\"}").unwrap_err();
    assert_eq!(newer.to_string(), "the stored spec has version 2; this server reads version 1");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,8}", "[a-z]{1,4}"]
}

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(text(), text(), 0..3)
}

fn clock() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((any::<u64>(), 0_u32..1_000_000_000).prop_map(|(secs, nanos)| Duration::new(secs, nanos)))
}

fn any_spec() -> impl Strategy<Value = RunSpec> {
    let workload = prop_oneof![
        text().prop_map(|profile| Workload::Runner { profile }),
        (text(), prop::collection::vec(text(), 0..3), prop::option::of(text())).prop_map(
            |(image, args, working_dir)| {
                Workload::Container(ContainerWorkload { image, command: args.clone(), args, working_dir })
            }
        ),
    ];
    let variable = prop_oneof![
        (text(), text()).prop_map(|(name, value)| env(&name, &value)),
        (text(), text(), text()).prop_map(|(name, secret, key)| secret_env(&name, &secret, &key)),
    ];
    let first = (
        prop::option::of(workload),
        prop::collection::vec(variable, 0..3),
        (pairs(), pairs()).prop_map(|(requests, limits)| Resources { requests, limits }),
        (prop::option::of(any::<i64>()), prop::option::of(any::<bool>()), prop::option::of(text())),
        (clock(), clock(), clock(), clock(), clock()),
        (prop::option::of(any::<i32>()), prop::option::of(text()), prop::option::of("[1-9][0-9]{0,3}Mi")),
    );
    let second = (
        prop::collection::vec((text(), text(), prop::option::of(any::<bool>())), 0..3),
        prop::option::of(prop_oneof![Just(NetworkMode::None), Just(NetworkMode::Egress), Just(NetworkMode::Cluster)]),
        (pairs(), prop::collection::vec((text(), text()), 0..2)),
        (pairs(), pairs()),
        prop::option::of(prop_oneof![Just(ResultMode::None), Just(ResultMode::Optional), Just(ResultMode::Required)]),
        prop::option::of(prop_oneof![Just(ResultScan::Off), Just(ResultScan::LastObject)]),
    );
    (first, second).prop_map(|(first, second)| {
        let (workload, env, resources, (id, read_only, class), clocks, (tries, name, tmp_size)) = first;
        let (volumes, network_mode, (node_selector, taints), (labels, annotations), mode, scan) = second;
        RunSpec {
            workload,
            env,
            resources,
            security: Security {
                run_as_user: id,
                run_as_group: id,
                fs_group: id,
                read_only_root_filesystem: read_only,
                runtime_class_name: class,
            },
            queue_timeout: clocks.0,
            start_timeout: clocks.1,
            run_timeout: clocks.2,
            termination_grace: clocks.3,
            retention: clocks.4,
            total_timeout: clocks.0,
            retry_on: RetryOn {
                reasons: tries.map(|_| FailureReason::OomKilled).into_iter().collect(),
                exit_codes: tries.into_iter().collect(),
            },
            max_retries: tries,
            infra_retries: tries,
            volumes: volumes.iter().map(|(volume, path, read_only)| mount(volume, path, *read_only)).collect(),
            network_mode,
            placement: Placement {
                node_selector,
                tolerations: taints
                    .into_iter()
                    .map(|(key, value)| Toleration { key, value, ..Toleration::default() })
                    .collect(),
                priority_class_name: name.clone(),
            },
            queue_name: name,
            labels,
            annotations,
            result: ResultRule { mode, scan, dialect: scan.map(|_| OneDialect::PythonLiteral) },
            tmp_size,
            ..RunSpec::default()
        }
    })
}

/// Any effective spec: another spec's fields, with what is unset filled in.
fn any_effective() -> impl Strategy<Value = EffectiveSpec> {
    any_spec().prop_map(|spec| {
        let base = effective(&container());
        let clock = |clock: Option<Duration>| clock.unwrap_or(Duration::from_secs(7));
        EffectiveSpec {
            workload: spec.workload.unwrap_or(base.workload),
            env: spec.env,
            resources: spec.resources,
            security: EffectiveSecurity {
                run_as_user: spec.security.run_as_user.unwrap_or(5),
                read_only_root_filesystem: spec.security.read_only_root_filesystem.unwrap_or(true),
                runtime_class_name: spec.security.runtime_class_name,
                ..base.security
            },
            max_retries: spec.max_retries.map_or(0, i32::unsigned_abs),
            infra_retries: spec.infra_retries.map_or(0, i32::unsigned_abs),
            total_timeout: spec.total_timeout,
            retry_on: spec.retry_on,
            start_timeout: clock(spec.start_timeout),
            run_timeout: clock(spec.run_timeout),
            volumes: spec.volumes,
            network_mode: spec.network_mode.unwrap_or(NetworkMode::None),
            placement: spec.placement,
            labels: spec.labels,
            annotations: spec.annotations,
            result: EffectiveResultRule {
                mode: spec.result.mode.unwrap_or(ResultMode::None),
                scan: spec.result.scan.unwrap_or(ResultScan::Off),
                dialect: spec.result.dialect,
            },
            tmp_size: spec.tmp_size,
            ..base
        }
    })
}

proptest! {
    #[test]
    fn round_trip(spec in any_spec(), effective in any_effective()) {
        let text = encode(&spec, &effective).unwrap();
        prop_assert!(!text.contains('\n'), "one line");
        let (read, applied) = decode(&text).unwrap();
        prop_assert_eq!(read, spec);
        prop_assert_eq!(&applied, &effective);
        let asked = effective.to_spec().unwrap();
        prop_assert_eq!(serde_json::to_value(&asked).unwrap(), serde_json::to_value(&effective).unwrap(), "one shape");
    }

    #[test]
    fn never_panics(text in ".{0,80}") {
        let _ = decode(&text);
    }

    #[test]
    fn a_damaged_text_never_panics(spec in any_spec(), cut in any::<prop::sample::Index>(), byte in any::<char>()) {
        let mut chars: Vec<char> = encode(&spec, &effective(&container())).unwrap().chars().collect();
        let at = cut.index(chars.len());
        chars[at] = byte;
        let _ = decode(&chars.iter().collect::<String>());
        let _ = decode(&chars[..at].iter().collect::<String>());
    }
}
