use super::*;
use longshore_domain::testing;

/// A spec with every field set, so that a field that is forgotten on either way is missed. Secrets never go out.
fn everything() -> RunSpec {
    RunSpec { secret_env: [("TOKEN".to_owned(), Secret(String::new()))].into(), ..testing::everything() }
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
