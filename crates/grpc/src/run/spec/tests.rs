use std::time::Duration;

use super::*;

fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A spec with every field set, so that a field that is forgotten on either way is missed.
fn everything() -> RunSpec {
    RunSpec {
        workload: Some(Workload::Container(ContainerWorkload {
            image: "registry.example/tool:1".to_owned(),
            command: vec!["tool".to_owned()],
            args: vec!["-v".to_owned(), String::new()],
            working_dir: Some("/work".to_owned()),
        })),
        env: vec![
            EnvVar { name: "A".to_owned(), source: EnvSource::Value("1".to_owned()) },
            EnvVar {
                name: "B".to_owned(),
                source: EnvSource::SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() },
            },
        ],
        secret_env: [("TOKEN".to_owned(), Secret(String::new()))].into(),
        input: Some(Input::Raw(vec![0, 255])),
        files: vec![
            File { path: "a.txt".to_owned(), mode: Some(0o555), content: b"text".to_vec() },
            File { path: "b.bin".to_owned(), mode: None, content: vec![0xff] },
        ],
        resources: Resources { requests: strings(&[("cpu", "1")]), limits: strings(&[("memory", "1Gi")]) },
        security: Security {
            run_as_user: Some(1000),
            run_as_group: Some(1001),
            fs_group: Some(1002),
            read_only_root_filesystem: Some(false),
            runtime_class_name: Some("gvisor".to_owned()),
        },
        queue_timeout: Some(Duration::from_secs(1)),
        start_timeout: Some(Duration::from_secs(2)),
        run_timeout: Some(Duration::from_millis(3500)),
        termination_grace: Some(Duration::ZERO),
        max_retries: Some(0),
        infra_retries: Some(4),
        retention: Some(Duration::from_secs(5)),
        volumes: vec![VolumeMount { volume: "data".to_owned(), mount_path: "/data".to_owned(), read_only: Some(true) }],
        network_mode: Some(NetworkMode::Cluster),
        placement: Placement {
            node_selector: strings(&[("disk", "ssd")]),
            tolerations: vec![Toleration {
                key: "k".to_owned(),
                match_operator: "Equal".to_owned(),
                value: "v".to_owned(),
                effect: "NoSchedule".to_owned(),
            }],
            priority_class_name: Some("high".to_owned()),
        },
        queue_name: Some("batch".to_owned()),
        labels: strings(&[("team", "a")]),
        annotations: strings(&[("note", "b")]),
        result: ResultRule {
            mode: Some(ResultMode::Required),
            scan: Some(ResultScan::Off),
            dialect: Some(OneDialect::PythonLiteral),
        },
        tmp_size: Some("0".to_owned()),
        retry_on: RetryOn { reasons: vec![FailureReason::OomKilled, FailureReason::Signalled], exit_codes: vec![75] },
        total_timeout: Some(Duration::from_secs(6)),
    }
}

fn read(spec: v1::RunSpec) -> (RunSpec, Violations) {
    let mut found = Violations::new();
    let spec = from_wire(spec, "spec", &mut found);
    (spec, found)
}

#[test]
fn every_field_survives_both_ways() {
    let spec = everything();
    let (back, found) = read(to_wire(&spec, View::Full));
    assert!(found.is_empty(), "{found}");
    assert_eq!(back, spec);

    let runner = RunSpec { workload: Some(Workload::Runner { profile: "sql".to_owned() }), ..everything() };
    assert_eq!(read(to_wire(&runner, View::Full)).0, runner);
}

#[test]
fn what_is_unset_stays_unset() {
    let (spec, found) = read(v1::RunSpec::default());
    assert_eq!(spec, RunSpec::default());
    assert!(found.is_empty());
    assert_eq!(to_wire(&spec, View::Full), v1::RunSpec::default());
}

#[test]
fn empty_strings_are_unset() {
    let wire = v1::RunSpec {
        workload: Some(v1::run_spec::Workload::Container(v1::ContainerWorkload::default())),
        security: Some(v1::Security::default()),
        placement: Some(v1::Placement::default()),
        result: Some(v1::ResultRule::default()),
        tmp_size: Some(String::new()),
        ..v1::RunSpec::default()
    };
    let (spec, found) = read(wire);
    assert!(found.is_empty());
    let expected = RunSpec { workload: Some(Workload::Container(ContainerWorkload::default())), ..RunSpec::default() };
    assert_eq!(spec, expected);
}

#[test]
fn contents_that_are_unset_are_empty() {
    let wire = v1::RunSpec {
        env: vec![v1::EnvVar { name: "E".to_owned(), source: None }],
        input: Some(v1::Input { content: None }),
        files: vec![v1::File { path: "f".to_owned(), mode: None, content: None }],
        ..v1::RunSpec::default()
    };
    let (spec, _) = read(wire);
    assert_eq!(spec.env[0].source, EnvSource::Value(String::new()));
    assert_eq!(spec.input, Some(Input::Raw(Vec::new())));
    assert_eq!(spec.files[0].content, b"");
}

#[test]
fn secrets_never_go_out_and_basic_leaves_the_bulk_out() {
    let mut spec = everything();
    spec.secret_env.insert("TOKEN".to_owned(), Secret("hunter22".to_owned()));
    for view in [View::Basic, View::Full] {
        let wire = to_wire(&spec, view);
        assert_eq!(wire.secret_env["TOKEN"], "");
        assert!(!format!("{wire:?}").contains("hunter22"));
        assert_eq!(wire.input.is_some(), view == View::Full);
        assert_eq!(wire.files.len(), if view == View::Full { 2 } else { 0 });
    }
}

#[test]
fn all_that_is_wrong_is_reported_at_once_with_its_path() {
    let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let wire = v1::RunSpec {
        run_timeout: negative,
        retention: negative,
        network_mode: 77,
        result: Some(v1::ResultRule { mode: 9, scan: -4, dialect: v1::ResultDialect::JsonWithNan.into() }),
        ..v1::RunSpec::default()
    };
    let (_, found) = read(wire);
    let fields: Vec<_> = found.as_slice().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.run_timeout",
            "spec.retention",
            "spec.network_mode",
            "spec.result.mode",
            "spec.result.scan",
            "spec.result.dialect"
        ]
    );
    assert!(found.as_slice()[3].description.contains("RESULT_MODE_REQUIRED"));
}
