//! One row per rule: a spec that is fine but for one thing, and what is said about it.

use std::time::Duration;

use proptest::prelude::*;

use crate::notation::violation::ViolationKind::{self, Invalid, NotSupportedYet, UnsupportedOnBackend};
use crate::result::schema::JsonSchema;
use crate::run::profile::{InputDelivery, Profile, SideContainer};
use crate::run::resolve::resolve;
use crate::run::resolve::tests::{container, env, map, mount, on_kubernetes, on_local, runner, secret_env};
use crate::run::rules::Rules;
use crate::run::spec::*;

/// What is changed of a spec that is fine; the field and a part of the sentence.
type Row = (fn(&mut RunSpec), &'static str, &'static str);

/// Each row gives exactly its one violation.
fn refuse(base: &RunSpec, rules: &Rules, kind: ViolationKind, rows: &[Row]) {
    resolve(base, rules).unwrap_or_else(|violations| panic!("the base must be fine: {violations}"));
    for (i, (change, field, fragment)) in rows.iter().enumerate() {
        let mut spec = base.clone();
        change(&mut spec);
        let Err(violations) = resolve(&spec, rules) else { panic!("row {i} passed: {field} {fragment}") };
        let [violation] = violations.as_slice() else { panic!("row {i} ({field} {fragment}): {violations}") };
        assert_eq!(violation.field, *field, "row {i}: {violation:?}");
        assert!(violation.description.contains(fragment), "row {i} lacks {fragment:?}: {violation:?}");
        assert_eq!(violation.kind, kind, "row {i}: {violation:?}");
    }
}

/// Each change leaves the spec fine.
fn accept(base: &RunSpec, rules: &Rules, changes: &[fn(&mut RunSpec)]) {
    for (i, change) in changes.iter().enumerate() {
        let mut spec = base.clone();
        change(&mut spec);
        if let Err(violations) = resolve(&spec, rules) {
            panic!("row {i}: {violations}");
        }
    }
}

fn app(spec: &mut RunSpec) -> &mut ContainerWorkload {
    match &mut spec.workload {
        Some(Workload::Container(container)) => container,
        other => panic!("{other:?}"),
    }
}

fn file(path: &str) -> File {
    File { path: path.to_owned(), mode: None, content: vec![] }
}

fn files(paths: &[&str]) -> Vec<File> {
    paths.iter().map(|path| file(path)).collect()
}

fn tolerate(key: &str, match_operator: &str, value: &str, effect: &str) -> Vec<Toleration> {
    let [key, match_operator, value, effect] = [key, match_operator, value, effect].map(str::to_owned);
    vec![Toleration { key, match_operator, value, effect }]
}

const LIMIT: usize = 131_071;

/// Without the bound on the whole spec, which large values meet as well.
fn without_spec_limit() -> Rules {
    let mut rules = on_kubernetes();
    rules.limits.max_spec_bytes = usize::MAX;
    rules
}

#[test]
fn workloads() {
    refuse(
        &container(),
        &without_spec_limit(),
        Invalid,
        &[
            (|s| s.workload = None, "spec.workload", "must be set: `container` with an image, or `runner`"),
            (|s| app(s).image.clear(), "spec.container.image", "must be set"),
            (
                |s| app(s).image = "App".into(),
                "spec.container.image",
                "`App` is not a valid image reference: its repository has capital",
            ),
            (|s| app(s).command = vec!["".into()], "spec.container.command[0]", "names the program"),
            (|s| app(s).command = vec!["a".into(), "b\0".into()], "spec.container.command[1]", "NUL"),
            (|s| app(s).args = vec!["\0".into()], "spec.container.args[0]", "NUL"),
            (
                |s| app(s).args = vec!["x".repeat(LIMIT + 1)],
                "spec.container.args[0]",
                "131072 bytes; Linux allows at most 131071",
            ),
            (
                |s| app(s).args = vec!["x".repeat(70_000); 2],
                "spec.container.args",
                "take 140000 bytes together; at most 131072",
            ),
            (|s| app(s).working_dir = Some("work".into()), "spec.container.working_dir", "not an absolute path"),
            (|s| app(s).working_dir = Some("".into()), "spec.container.working_dir", "not an absolute path"),
            (
                |s| *s = runner("sqll"),
                "spec.runner.profile",
                "profile `sqll` not found; available: `sql`, `bare`, `open`",
            ),
            (|s| *s = runner("oben"), "spec.runner.profile", "available: `open`, `bare`, `sql`"),
            (|s| *s = runner(""), "spec.runner.profile", "must be set; available: `sql`, `bare`, `open`"),
        ],
    );
    accept(
        &container(),
        &without_spec_limit(),
        &[
            |s| app(s).command = vec!["sh".into(), "".into()],
            |s| app(s).args = vec!["".into()],
            |s| app(s).args = vec!["x".repeat(100_000)],
            |s| app(s).working_dir = Some("/".into()),
            |s| *s = runner("sql"),
        ],
    );
    let mut none = on_kubernetes();
    none.profiles.clear();
    refuse(&container(), &none, Invalid, &[(|s| *s = runner("sql"), "spec.runner.profile", "none is configured")]);
}

#[test]
fn profiles_that_are_not_there_on_this_backend() {
    refuse(
        &container(),
        &on_kubernetes(),
        UnsupportedOnBackend,
        &[(
            |s| *s = runner("bare"),
            "spec.runner.profile",
            "profile `bare` has no image on backend kubernetes: set `profiles.bare.kubernetes.image`",
        )],
    );
    let mut rules = on_local();
    rules.profiles.get_mut("bare").unwrap().missing = None;
    refuse(
        &runner("sql"),
        &rules,
        UnsupportedOnBackend,
        &[
            (
                |s| *s = runner("bare"),
                "spec.runner.profile",
                "has no command on backend local: use one that has: `open`, `sql`",
            ),
            (
                |s| *s = container(),
                "spec.container",
                "backend `local` runs no images; use `runner` with a profile: `open`, `sql`",
            ),
        ],
    );
    let mut rules = on_kubernetes();
    rules.profiles.get_mut("open").unwrap().input = InputDelivery::Stdin;
    refuse(
        &container(),
        &rules,
        UnsupportedOnBackend,
        &[(
            |s| *s = runner("open"),
            "spec.runner.profile",
            "reads its input from standard input, which backend `kubernetes` cannot give",
        )],
    );
    let mut rules = on_local();
    rules.profiles.get_mut("open").unwrap().input = InputDelivery::Stdin;
    accept(&runner("open"), &rules, &[|_| ()]);
}

#[test]
fn a_clock_of_the_queue_where_there_is_one() {
    let short: fn(&mut RunSpec) = |s| s.queue_timeout = Some(Duration::ZERO);
    let long: fn(&mut RunSpec) = |s| s.queue_timeout = Some(Duration::from_secs(30 * 86_400 + 1));
    let rows: Vec<Row> =
        vec![(short, "spec.queue_timeout", "must be at least 1 s"), (long, "spec.queue_timeout", "at most 30d")];
    refuse(&runner("sql"), &on_local(), Invalid, &rows);
    accept(&runner("sql"), &on_local(), &[|s| s.queue_timeout = Some(Duration::from_secs(30 * 86_400))]);
}

#[test]
fn what_a_profile_does_not_let_be_set() {
    let says = "it allows: `run_timeout`, `resources.limits`, `input`, `files`, `labels`, `annotations`";
    let rows: Vec<Row> = vec![
        (|s| s.env = vec![env("A", "")], "spec.env", "profile `sql` does not let `env` be overridden"),
        (|s| s.start_timeout = Some(Duration::from_secs(9)), "spec.start_timeout", says),
        (|s| s.termination_grace = Some(Duration::from_secs(9)), "spec.termination_grace", says),
        (|s| s.retention = Some(Duration::from_secs(9)), "spec.retention", says),
        (|s| s.resources.requests = map(&[("cpu", "1")]), "spec.resources.requests", says),
        (|s| s.security.run_as_user = Some(9), "spec.security.run_as_user", says),
        (|s| s.security.run_as_group = Some(9), "spec.security.run_as_group", says),
        (|s| s.security.fs_group = Some(9), "spec.security.fs_group", says),
        (|s| s.security.read_only_root_filesystem = Some(true), "spec.security.read_only_root_filesystem", says),
        (|s| s.security.runtime_class_name = Some("x".into()), "spec.security.runtime_class_name", says),
        (|s| s.volumes = vec![mount("data", "/d", None)], "spec.volumes", says),
        (|s| s.network_mode = Some(NetworkMode::None), "spec.network_mode", says),
        (|s| s.placement.node_selector = map(&[("a", "b")]), "spec.placement.node_selector", says),
        (|s| s.placement.tolerations = tolerate("a", "", "", ""), "spec.placement.tolerations", says),
        (|s| s.placement.priority_class_name = Some("x".into()), "spec.placement.priority_class_name", says),
        (|s| s.result.mode = Some(ResultMode::None), "spec.result.mode", says),
        (|s| s.result.scan = Some(ResultScan::Off), "spec.result.scan", says),
        (|s| s.result.dialect = Some(OneDialect::Json), "spec.result.dialect", says),
        (|s| s.tmp_size = Some("0".into()), "spec.tmp_size", says),
    ];
    refuse(&runner("sql"), &on_kubernetes(), Invalid, &rows);
    // The same are fine with a profile that lists them, and with none.
    let changes: Vec<fn(&mut RunSpec)> = rows.iter().map(|(change, ..)| *change).collect();
    accept(&runner("open"), &on_kubernetes(), &changes);
    accept(&container(), &on_kubernetes(), &changes);
    // Listing a message lists its parts; listing a part or a longer word lists nothing else.
    let mut rules = on_kubernetes();
    rules.profiles.get_mut("sql").unwrap().overridable =
        vec!["security".into(), "result.mode".into(), "run".into(), "environment".into()];
    accept(&runner("sql"), &rules, &[|s| s.security.run_as_user = Some(9), |s| s.result.mode = Some(ResultMode::None)]);
    refuse(
        &runner("sql"),
        &rules,
        Invalid,
        &[
            (|s| s.run_timeout = Some(Duration::from_secs(9)), "spec.run_timeout", "does not let"),
            (|s| s.result.scan = Some(ResultScan::Off), "spec.result.scan", "does not let"),
            (|s| s.env = vec![env("A", "")], "spec.env", "does not let"),
        ],
    );
    accept(
        &runner("sql"),
        &on_kubernetes(),
        &[
            |s| s.run_timeout = Some(Duration::from_secs(9)),
            |s| s.resources.limits = map(&[("cpu", "1")]),
            |s| s.input = Some(Input::Json("{}".into())),
            |s| s.files = files(&["a"]),
            |s| s.labels = map(&[("a", "b")]),
            |s| s.annotations = map(&[("a", "b")]),
        ],
    );
}

#[test]
fn environment() {
    refuse(
        &container(),
        &without_spec_limit(),
        Invalid,
        &[
            (|s| s.env = vec![env("OK", ""), env("", "")], "spec.env[1].name", "`` is not a valid variable name"),
            (|s| s.env = vec![env("A-B", "")], "spec.env[0].name", "`A-B` is not a valid variable name"),
            (
                |s| s.env = vec![env("LONGSHORE_INPUT", "")],
                "spec.env[0].name",
                "start with `LONGSHORE_` are Longshore's own",
            ),
            (|s| s.env = vec![env("LONGSHORE_DATA", "/x")], "spec.env[0].name", "Longshore's own"),
            (|s| s.env = vec![env("A", ""), env("B", ""), env("A", "")], "spec.env[2].name", "`A` is given twice"),
            (|s| s.env = vec![env("A", "x\0y")], "spec.env[0].value", "NUL"),
            (|s| s.env = vec![env("A", &"x".repeat(LIMIT - 1))], "spec.env[0].value", "131072 bytes with its name"),
            (
                |s| s.env = vec![env("A", &"x".repeat(65_534)), env("B", &"x".repeat(65_535))],
                "spec.env",
                "at most 131072",
            ),
            (
                |s| s.env = vec![secret_env("A", "Bad", "k")],
                "spec.env[0].secret_key_ref.name",
                "`Bad` is not a valid Secret name",
            ),
            (
                |s| s.env = vec![secret_env("A", "s", "")],
                "spec.env[0].secret_key_ref.key",
                "`` is not a valid key of a Secret",
            ),
        ],
    );
    accept(
        &container(),
        &without_spec_limit(),
        &[
            |s| s.env = vec![env("A", ""), env("a", "="), env("_1", "ü\n")],
            |s| s.env = vec![env("A", &"x".repeat(LIMIT - 2))],
            |s| s.env = vec![env("A", &"x".repeat(65_534)), env("B", &"x".repeat(65_534))],
            |s| s.env = vec![env("LONGSHORE", "")],
            |s| s.env = vec![secret_env("A", "db.creds", "pass.word")],
        ],
    );
}

#[test]
fn input_and_files() {
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (|s| s.input = Some(Input::Json("{\n \"a\": }".into())), "spec.input.json", "at line 2 column 7"),
            (|s| s.input = Some(Input::Json("".into())), "spec.input.json", "it ends early"),
            (|s| s.input = Some(Input::Json("{} {}".into())), "spec.input.json", "trailing characters"),
            (
                |s| s.input = Some(Input::Raw(vec![0; 921_601])),
                "spec.input",
                "take 921601 bytes together; at most 921600",
            ),
            (|s| s.files = vec![File { content: vec![0; 921_601], ..file("a") }], "spec.files", "take 921601 bytes"),
            (
                |s| {
                    s.input = Some(Input::Raw(vec![0; 500_000]));
                    s.files = vec![File { content: vec![0; 421_601], ..file("a") }];
                },
                "spec.input",
                "take 921601 bytes",
            ),
            (|s| s.files = files(&["a", "../b"]), "spec.files[1].path", "`../b` is not a valid file path"),
            (|s| s.files = files(&["/a"]), "spec.files[0].path", "`/a` is not a valid file path"),
            (|s| s.files = files(&["a", "b", "a"]), "spec.files[2].path", "`a` is given twice"),
            (|s| s.files = files(&["a/b", "a"]), "spec.files[0].path", "`a/b` lies below `a`, which is a file itself"),
            (|s| s.files = files(&["x", "x/y/z"]), "spec.files[1].path", "`x/y/z` lies below `x`"),
            (
                |s| s.files = vec![File { mode: Some(0o1000), ..file("a") }],
                "spec.files[0].mode",
                "0o1000 is beyond 0o777",
            ),
            (
                |s| s.files = (0..1001).map(|i| file(&i.to_string())).collect(),
                "spec.files",
                "has 1001 files; at most 1000",
            ),
        ],
    );
    accept(
        &container(),
        &on_kubernetes(),
        &[
            |s| s.input = Some(Input::Json(" [1, 1e999] ".into())),
            |s| s.input = Some(Input::Raw(vec![0; 921_600])),
            |s| s.input = Some(Input::Raw(vec![])),
            |s| s.files = files(&["a/b", "a/c", "ab", "a.b"]),
            |s| s.files = vec![File { mode: Some(0o777), ..file("a") }, File { mode: Some(0), ..file("b") }],
            |s| s.files = (0..1000).map(|i| file(&i.to_string())).collect(),
        ],
    );
}

#[test]
fn input_against_the_schema_of_its_profile() {
    let mut rules = on_kubernetes();
    let schema = r#"{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}"#;
    rules.profiles.get_mut("open").unwrap().input_schema = Some(JsonSchema::compile(schema).unwrap());
    let given = |input: Input| RunSpec { input: Some(input), ..runner("open") };
    let base = given(Input::Json(r#"{"n": 1}"#.into()));
    refuse(
        &base,
        &rules,
        Invalid,
        &[
            (
                |s| s.input = Some(Input::Json(r#"{"n": "1"}"#.into())),
                "spec.input.json",
                "of profile `open` at `/n`: \"1\" is not of type \"integer\" (rule at `/properties/n/type`); see `longshore profiles open`",
            ),
            (
                |s| s.input = Some(Input::Json("{}".into())),
                "spec.input.json",
                "at the top: \"n\" is a required property",
            ),
            (|s| s.input = Some(Input::Json("{".into())), "spec.input.json", "is not a JSON document: it ends early"),
            (
                |s| s.input = Some(Input::Raw(b"{\"n\": true}".to_vec())),
                "spec.input.raw",
                "at `/n`: true is not of type",
            ),
            (|s| s.input = Some(Input::Raw(b"n=1".to_vec())), "spec.input.raw", "is not a JSON document"),
            (|s| s.input = Some(Input::Raw(vec![0xff])), "spec.input.raw", "is not a JSON document"),
            (|s| s.input = None, "spec.input", "must be set: profile `open` takes a JSON document"),
        ],
    );
    accept(&base, &rules, &[|s| s.input = Some(Input::Raw(br#"{"n": 2, "more": []}"#.to_vec()))]);
    let all = "{\"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": \"integer\"}}}";
    rules.profiles.get_mut("open").unwrap().input_schema = Some(JsonSchema::compile(all).unwrap());
    let both = resolve(&given(Input::Json(r#"{"a": "x", "b": "y"}"#.into())), &rules).unwrap_err();
    let fields: Vec<_> = both.as_slice().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["spec.input.json"; 2], "{both}");
    accept(&runner("open"), &rules, &[|s| s.input = None]);
}

#[test]
fn input_in_an_environment_variable() {
    let mut rules = on_kubernetes();
    rules.profiles.get_mut("open").unwrap().input = InputDelivery::Env("QUERY".into());
    refuse(
        &runner("open"),
        &rules,
        Invalid,
        &[
            (
                |s| s.input = Some(Input::Raw(vec![b'x'; LIMIT - 5])),
                "spec.input.raw",
                "takes 131066 bytes; profile `open` takes the input in the environment variable `QUERY`, where Linux allows at most 131065",
            ),
            (|s| s.input = Some(Input::Raw(b"a\0b".to_vec())), "spec.input.raw", "contains a NUL"),
            (|s| s.input = Some(Input::Raw(vec![0xff])), "spec.input.raw", "is not UTF-8"),
            (|s| s.env = vec![env("A", ""), env("QUERY", "")], "spec.env[1].name", "`QUERY` carries the input"),
        ],
    );
    accept(&runner("open"), &rules, &[|s| s.input = Some(Input::Raw(vec![b'x'; LIMIT - 6]))]);
}

#[test]
fn resource_amounts() {
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (
                |s| s.resources.limits = map(&[("gpu", "1")]),
                "spec.resources.limits[\"gpu\"]",
                "not a resource that can be requested",
            ),
            (
                |s| s.resources.limits = map(&[("kubernetes.io/x", "1")]),
                "spec.resources.limits[\"kubernetes.io/x\"]",
                "not a resource",
            ),
            (|s| s.resources.limits = map(&[("pods", "1")]), "spec.resources.limits[\"pods\"]", "not a resource"),
            (
                |s| s.resources.limits = map(&[("cpu", "fast")]),
                "spec.resources.limits[\"cpu\"]",
                "`fast` is not a valid quantity",
            ),
            (
                |s| s.resources.requests = map(&[("cpu", "")]),
                "spec.resources.requests[\"cpu\"]",
                "`` is not a valid quantity",
            ),
            (
                |s| s.resources.requests = map(&[("memory", "0")]),
                "spec.resources.requests[\"memory\"]",
                "`0` is not above 0",
            ),
            (
                |s| s.resources.limits = map(&[("memory", "-1Gi")]),
                "spec.resources.limits[\"memory\"]",
                "`-1Gi` is not above 0",
            ),
            (|s| s.resources.limits = map(&[("memory", "8Ei")]), "spec.resources.limits[\"memory\"]", "beyond 2^63-1"),
            (
                |s| s.resources.limits = map(&[("memory", "400m")]),
                "spec.resources.limits[\"memory\"]",
                "perhaps `400M` or `400Mi`",
            ),
            (
                |s| s.resources.limits = map(&[("example.com/gpu", "500m")]),
                "spec.resources.limits[\"example.com/gpu\"]",
                "`500m` is not a whole number",
            ),
        ],
    );
    accept(
        &container(),
        &on_kubernetes(),
        &[
            |s| s.resources.limits = map(&[("cpu", "0.5"), ("memory", "1.5Gi"), ("ephemeral-storage", "1e9")]),
            |s| s.resources.limits = map(&[("example.com/gpu", "2000m")]),
        ],
    );
}

#[test]
fn users_and_groups() {
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (
                |s| s.security.run_as_user = Some(0),
                "spec.security.run_as_user",
                "0 is root, and no run is executed as root",
            ),
            (|s| s.security.run_as_group = Some(0), "spec.security.run_as_group", "0 is root"),
            (|s| s.security.fs_group = Some(0), "spec.security.fs_group", "0 is root"),
            (
                |s| s.security.run_as_user = Some(-1),
                "spec.security.run_as_user",
                "-1 is not an id that Kubernetes accepts",
            ),
            (|s| s.security.run_as_user = Some(1 << 31), "spec.security.run_as_user", "2147483648 is not an id"),
            (
                |s| s.security.runtime_class_name = Some("G V".into()),
                "spec.security.runtime_class_name",
                "RuntimeClass",
            ),
        ],
    );
    accept(
        &container(),
        &on_kubernetes(),
        &[
            |s| s.security.run_as_user = Some(1),
            |s| s.security.run_as_group = Some((1 << 31) - 1),
            |s| s.security.runtime_class_name = Some("gvisor".into()),
        ],
    );
    let mut narrow = on_kubernetes();
    (narrow.limits.min_user, narrow.limits.max_user) = (1000, 70_000);
    refuse(
        &container(),
        &narrow,
        Invalid,
        &[
            (
                |s| s.security.run_as_user = Some(999),
                "spec.security.run_as_user",
                "999 is outside of what this server allows; use one from 1000 to 70000",
            ),
            (|s| s.security.fs_group = Some(70_001), "spec.security.fs_group", "70001 is outside"),
        ],
    );
    accept(&container(), &narrow, &[|s| s.security.run_as_user = Some(1000), |s| s.security.fs_group = Some(70_000)]);
}

#[test]
fn clocks() {
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (|s| s.start_timeout = Some(Duration::ZERO), "spec.start_timeout", "must be at least 1 s"),
            (|s| s.run_timeout = Some(Duration::ZERO), "spec.run_timeout", "must be at least 1 s"),
            (|s| s.retention = Some(Duration::ZERO), "spec.retention", "must be at least 1 s"),
            (
                |s| s.start_timeout = Some(Duration::from_secs(86_401)),
                "spec.start_timeout",
                "is longer than this server allows: at most 24h",
            ),
            (|s| s.run_timeout = Some(Duration::from_millis(604_800_001)), "spec.run_timeout", "at most 7d"),
            (|s| s.termination_grace = Some(Duration::from_secs(301)), "spec.termination_grace", "at most 5m"),
            (|s| s.retention = Some(Duration::MAX), "spec.retention", "at most 30d"),
        ],
    );
    accept(
        &container(),
        &on_kubernetes(),
        &[
            |s| s.run_timeout = Some(Duration::from_nanos(1)),
            |s| s.run_timeout = Some(Duration::from_secs(604_800)),
            |s| s.termination_grace = Some(Duration::ZERO),
        ],
    );
}

#[test]
fn labels_and_annotations() {
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (|s| s.labels = map(&[("a b", "")]), "spec.labels[\"a b\"]", "`a b` is not a valid label key"),
            (|s| s.labels = map(&[("a", "b c")]), "spec.labels[\"a\"]", "`b c` is not a valid label value"),
            (
                |s| s.labels = map(&[("longshore.dev/run", "x")]),
                "spec.labels[\"longshore.dev/run\"]",
                "under `longshore.dev`",
            ),
            (
                |s| s.labels = map(&[("app.kubernetes.io/name", "x")]),
                "spec.labels[\"app.kubernetes.io/name\"]",
                "under `kubernetes.io`",
            ),
            (|s| s.annotations = map(&[("a/b/c", "")]), "spec.annotations[\"a/b/c\"]", "is not a valid annotation key"),
            (
                |s| s.annotations = map(&[("kueue.x-k8s.io/x", "")]),
                "spec.annotations[\"kueue.x-k8s.io/x\"]",
                "are reserved",
            ),
            (
                |s| s.annotations = map(&[("a", &"x".repeat(16_384))]),
                "spec.annotations",
                "take 16385 bytes together; at most 16384",
            ),
        ],
    );
    accept(
        &container(),
        &on_kubernetes(),
        &[
            |s| s.labels = map(&[("example.com/a", "b"), ("c", "")]),
            |s| s.annotations = map(&[("Example.com/a", "any text\n\u{1f6a2}")]),
            |s| s.annotations = map(&[("a", &"x".repeat(16_383))]),
        ],
    );
}

#[test]
fn volumes() {
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (
                |s| s.volumes = vec![mount("dat", "/d", None)],
                "spec.volumes[0].volume",
                "volume `dat` not found; available: `data`, `models`",
            ),
            (
                |s| s.volumes = vec![mount("data", "d", None)],
                "spec.volumes[0].mount_path",
                "`d` is not a valid mount path",
            ),
            (
                |s| s.volumes = vec![mount("data", "/a:b", None)],
                "spec.volumes[0].mount_path",
                "is not a valid mount path",
            ),
            (
                |s| s.volumes = vec![mount("data", "/", None)],
                "spec.volumes[0].mount_path",
                "`/` cannot be mounted over",
            ),
            (
                |s| s.volumes = vec![mount("data", "/tmp/", None)],
                "spec.volumes[0].mount_path",
                "`/tmp/` cannot be mounted over",
            ),
            (|s| s.volumes = vec![mount("data", "/dev", None)], "spec.volumes[0].mount_path", "cannot be mounted over"),
            (|s| s.volumes = vec![mount("data", "/sys", None)], "spec.volumes[0].mount_path", "cannot be mounted over"),
            (
                |s| s.volumes = vec![mount("data", "/proc/self", None)],
                "spec.volumes[0].mount_path",
                "cannot be mounted over",
            ),
            (
                |s| s.volumes = vec![mount("data", "/longshore", None)],
                "spec.volumes[0].mount_path",
                "cannot be mounted over",
            ),
            (
                |s| s.volumes = vec![mount("data", "/longshore/in", None)],
                "spec.volumes[0].mount_path",
                "cannot be mounted over",
            ),
            (
                |s| s.volumes = vec![mount("data", "/d", None), mount("models", "/d/", None)],
                "spec.volumes[1].mount_path",
                "`/d` is mounted twice",
            ),
            (
                |s| s.volumes = vec![mount("models", "/m", Some(false))],
                "spec.volumes[0].read_only",
                "volume `models` is read-only",
            ),
        ],
    );
    accept(
        &container(),
        &on_kubernetes(),
        &[
            |s| s.volumes = vec![mount("data", "/tmp/cache", None), mount("data", "/longshoreman", Some(false))],
            |s| s.volumes = vec![mount("data", "/dev/shm", None), mount("models", "/m", Some(true))],
        ],
    );
    let mut none = on_kubernetes();
    none.volumes.clear();
    refuse(
        &container(),
        &none,
        Invalid,
        &[(
            |s| s.volumes = vec![mount("data", "/d", None)],
            "spec.volumes[0].volume",
            "none is configured on this server",
        )],
    );
}

#[test]
fn placement() {
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (
                |s| s.placement.node_selector = map(&[("-a", "b")]),
                "spec.placement.node_selector[\"-a\"]",
                "not a valid label key",
            ),
            (
                |s| s.placement.node_selector = map(&[("a", "-b")]),
                "spec.placement.node_selector[\"a\"]",
                "not a valid label value",
            ),
            (
                |s| s.placement.tolerations = tolerate("", "", "", ""),
                "spec.placement.tolerations[0].match_operator",
                "must be `Exists` if the key is empty",
            ),
            (
                |s| s.placement.tolerations = tolerate("", "Equal", "", ""),
                "spec.placement.tolerations[0].match_operator",
                "must be `Exists`",
            ),
            (
                |s| s.placement.tolerations = tolerate("a b", "", "", ""),
                "spec.placement.tolerations[0].key",
                "not a valid taint key",
            ),
            (
                |s| s.placement.tolerations = tolerate("a", "Exists", "b", ""),
                "spec.placement.tolerations[0].value",
                "must be empty",
            ),
            (
                |s| s.placement.tolerations = tolerate("a", "", "b c", ""),
                "spec.placement.tolerations[0].value",
                "not a valid taint value",
            ),
            (
                |s| s.placement.tolerations = tolerate("a", "exists", "", ""),
                "spec.placement.tolerations[0].match_operator",
                "neither `Equal` nor `Exists`",
            ),
            (
                |s| s.placement.tolerations = tolerate("a", "", "b", "Never"),
                "spec.placement.tolerations[0].effect",
                "expected one of `NoSchedule`",
            ),
            (
                |s| s.placement.priority_class_name = Some("".into()),
                "spec.placement.priority_class_name",
                "PriorityClass",
            ),
        ],
    );
    accept(
        &container(),
        &on_kubernetes(),
        &[
            |s| s.placement.node_selector = map(&[("kubernetes.io/arch", "arm64")]),
            |s| s.placement.tolerations = tolerate("", "Exists", "", ""),
            |s| s.placement.tolerations = tolerate("a", "Exists", "", "NoExecute"),
            |s| s.placement.tolerations = tolerate("node.kubernetes.io/x", "Equal", "b", "PreferNoSchedule"),
            |s| s.placement.tolerations = tolerate("a", "", "", "NoSchedule"),
            |s| s.placement.priority_class_name = Some("low".into()),
        ],
    );
}

#[test]
fn sizes_of_tmp_and_of_the_whole() {
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (|s| s.tmp_size = Some("big".into()), "spec.tmp_size", "`big` is not a valid quantity"),
            (|s| s.tmp_size = Some("-1".into()), "spec.tmp_size", "`-1` is below 0"),
            (|s| s.tmp_size = Some("100m".into()), "spec.tmp_size", "perhaps `100M` or `100Mi`"),
            // Escaped, 65,500 line ends take 131,000 bytes.
            (|s| s.env = vec![env("A", &"\n".repeat(65_500))], "spec", "as stored; at most 131072"),
        ],
    );
}

#[test]
fn a_queue_is_one_of_those_that_are_configured() {
    let mut rules = on_kubernetes();
    rules.capabilities.queues = vec!["team-a".to_owned(), "team-b".to_owned()];
    rules.capabilities.queue = true;
    let unknown: fn(&mut RunSpec) = |s| s.queue_name = Some("team-c".into());
    let available = "queue `team-c` not found; available: `team-a`, `team-b`";
    refuse(&container(), &rules, Invalid, &[(unknown, "spec.queue_name", available)]);
    accept(
        &container(),
        &rules,
        &[|s| s.queue_name = Some("team-b".into()), |s| s.queue_timeout = Some(Duration::from_secs(1))],
    );
    let named: fn(&mut RunSpec) = |s| s.queue_name = Some("q".into());
    refuse(
        &runner("sql"),
        &on_local(),
        UnsupportedOnBackend,
        &[(named, "spec.queue_name", "has one queue, without a name")],
    );
}

#[test]
fn what_is_not_built_yet() {
    use crate::run::failure::FailureReason::{Evicted, NonzeroExit, OomKilled, Unschedulable};
    refuse(
        &container(),
        &on_kubernetes(),
        NotSupportedYet,
        &[
            (
                |s| s.queue_name = Some("q".into()),
                "spec.queue_name",
                "not supported until the configuration lists them",
            ),
            (|s| s.queue_timeout = Some(Duration::from_secs(1)), "spec.queue_timeout", "(`kubernetes.queues`)"),
            (|s| drop(s.secret_env.insert("A".into(), Secret("x".into()))), "spec.secret_env", "not supported yet"),
        ],
    );
    refuse(
        &container(),
        &on_kubernetes(),
        Invalid,
        &[
            (|s| s.max_retries = Some(-1), "spec.max_retries", "-1 is below 0"),
            (|s| s.infra_retries = Some(i32::MIN), "spec.infra_retries", "is below 0"),
            (|s| s.max_retries = Some(21), "spec.max_retries", "21 is above 20"),
            (
                |s| s.retry_on.reasons = vec![NonzeroExit, Evicted],
                "spec.retry_on.reasons[1]",
                "`infra_retries` is for it",
            ),
            (
                |s| s.retry_on.reasons = vec![Unschedulable],
                "spec.retry_on.reasons[0]",
                "UNSCHEDULABLE cannot be retried",
            ),
            (|s| s.retry_on.reasons = vec![OomKilled, OomKilled], "spec.retry_on.reasons[1]", "listed twice"),
            (
                |s| s.retry_on.exit_codes = vec![1, 0],
                "spec.retry_on.exit_codes[1]",
                "0 is not an exit code of a failure",
            ),
            (|s| s.retry_on.exit_codes = (1..34).collect(), "spec.retry_on.exit_codes", "at most 32"),
            (|s| s.total_timeout = Some(Duration::ZERO), "spec.total_timeout", "at least 1 s"),
            (|s| s.total_timeout = Some(Duration::from_secs(31 * 86_400)), "spec.total_timeout", "at most 30d"),
        ],
    );
    accept(&container(), &on_kubernetes(), &[|s| s.max_retries = Some(0), |s| s.infra_retries = Some(0)]);
    let mut rules = on_kubernetes();
    rules.capabilities.network_modes.clear();
    refuse(
        &container(),
        &rules,
        NotSupportedYet,
        &[(
            |s| s.network_mode = Some(NetworkMode::Egress),
            "spec.network_mode",
            "EGRESS is not supported until NetworkPolicies enforce it",
        )],
    );
}

#[test]
fn what_a_backend_cannot_do_is_refused_where_the_caller_asks_for_it() {
    refuse(
        &runner("open"),
        &on_local(),
        UnsupportedOnBackend,
        &[
            (
                |s| s.network_mode = Some(NetworkMode::None),
                "spec.network_mode",
                "cannot enforce NONE here; it enforces: `CLUSTER`",
            ),
            (
                |s| s.security.run_as_user = Some(9),
                "spec.security.run_as_user",
                "backend `local` cannot run the program as another",
            ),
            (|s| s.security.run_as_group = Some(9), "spec.security.run_as_group", "backend `local` cannot"),
            (|s| s.security.fs_group = Some(9), "spec.security.fs_group", "backend `local` cannot"),
            (
                |s| s.security.read_only_root_filesystem = Some(true),
                "spec.security.read_only_root_filesystem",
                "read-only",
            ),
            (|s| s.security.runtime_class_name = Some("x".into()), "spec.security.runtime_class_name", "RuntimeClass"),
            (|s| s.tmp_size = Some("1Mi".into()), "spec.tmp_size", "`/tmp`"),
            (|s| s.placement.priority_class_name = Some("x".into()), "spec.placement", "where the program is placed"),
            (|s| s.resources.limits = map(&[("cpu", "1")]), "spec.resources.limits", "reserve or limit resources"),
            (|s| s.resources.requests = map(&[("cpu", "1")]), "spec.resources.requests", "reserve or limit resources"),
            (|s| s.volumes = vec![mount("data", "/d", None)], "spec.volumes", "cannot mount volumes"),
            (|s| s.env = vec![secret_env("A", "s", "k")], "spec.env[0].secret_key_ref", "has no Secrets"),
        ],
    );
    accept(
        &runner("open"),
        &on_local(),
        &[|s| s.security.read_only_root_filesystem = Some(false), |s| s.network_mode = Some(NetworkMode::Cluster)],
    );
}

#[test]
fn a_profile_that_would_lack_something_here_is_refused() {
    let local_with = |defaults: RunSpec| {
        let mut rules = on_local();
        rules.profiles.get_mut("open").unwrap().defaults = defaults;
        rules
    };
    let rules = local_with(RunSpec { volumes: vec![mount("data", "/d", None)], ..RunSpec::default() });
    let to_open: fn(&mut RunSpec) = |s| *s = runner("open");
    refuse(
        &runner("sql"),
        &rules,
        UnsupportedOnBackend,
        &[(to_open, "spec.runner.profile", "this profile mounts volumes")],
    );
    let rules = local_with(RunSpec { env: vec![secret_env("PASS", "s", "k")], ..RunSpec::default() });
    refuse(
        &runner("sql"),
        &rules,
        UnsupportedOnBackend,
        &[(to_open, "spec.runner.profile", "takes `PASS` from a Secret")],
    );
    accept(&runner("open"), &rules, &[|s| s.env = vec![env("PASS", "x")]]);

    let mut rules = on_kubernetes();
    rules.volumes.get_mut("data").unwrap().persistent_volume_claim = None;
    refuse(
        &container(),
        &rules,
        UnsupportedOnBackend,
        &[(
            |s| s.volumes = vec![mount("models", "/m", None), mount("data", "/d", None)],
            "spec.volumes[1].volume",
            "volume `data` is not available on backend kubernetes: set `volumes.data.persistent_volume_claim`",
        )],
    );
    let mut rules = on_local();
    rules.capabilities.volumes = true;
    rules.volumes.get_mut("data").unwrap().local_path = None;
    refuse(
        &runner("open"),
        &rules,
        UnsupportedOnBackend,
        &[(|s| s.volumes = vec![mount("data", "/d", None)], "spec.volumes[0].volume", "set `volumes.data.local_path`")],
    );
    // There a run has no image: what it would hide is what the server itself executes.
    let mut rules = on_local();
    rules.capabilities.volumes = true;
    rules.volumes.get_mut("data").unwrap().local_path = Some("/srv/data".to_owned());
    let over_the_system: [fn(&mut RunSpec); 4] = [
        |s| s.volumes = vec![mount("data", "/usr/bin", None)],
        |s| s.volumes = vec![mount("data", "/usr/bin/", None)],
        |s| s.volumes = vec![mount("data", "/lib32", None)],
        |s| s.volumes = vec![mount("data", "/etc/app", None)],
    ];
    for edit in over_the_system {
        let rows = [(edit, "spec.volumes[0].mount_path", "is the machine's own; choose a directory of your own")];
        refuse(&runner("open"), &rules, Invalid, &rows);
    }
    accept(&runner("open"), &rules, &[|s| s.volumes = vec![mount("data", "/usrlocal", None)]]);
    accept(&container(), &on_kubernetes(), &[|s| s.volumes = vec![mount("models", "/etc/app", None)]]);
}

/// Adds a sidecar, changed.
fn side(profile: &mut Profile, change: fn(&mut SideContainer)) {
    let mut side =
        SideContainer { name: "proxy".to_owned(), image: "localhost/proxy:1".to_owned(), ..SideContainer::default() };
    change(&mut side);
    profile.kubernetes.as_mut().unwrap().sidecars.push(side);
}

#[test]
fn profiles_as_configured() {
    type Fault = (fn(&mut Profile), &'static str, &'static str);
    let rows: [Fault; 18] = [
        (|p| side(p, |s| s.name = "run".into()), "profiles.sql.kubernetes.sidecars[0].name", "which is the program's"),
        (|p| side(p, |s| s.image.clear()), "profiles.sql.kubernetes.sidecars[0].image", "must be set"),
        (
            |p| side(p, |s| drop(s.resources.limits.insert("memory".into(), "x".into()))),
            "profiles.sql.kubernetes.sidecars[0].resources.limits[\"memory\"]",
            "`x`",
        ),
        (
            |p| side(p, |s| s.volumes = vec![mount("nothing", "/data", None)]),
            "profiles.sql.kubernetes.sidecars[0].volumes[0].volume",
            "volume `nothing` not found",
        ),
        (
            |p| {
                side(p, |_| ());
                p.kubernetes.as_mut().unwrap().init = p.kubernetes.as_ref().unwrap().sidecars.clone();
            },
            "profiles.sql.kubernetes",
            "two containers have the name `proxy`",
        ),
        (|p| p.name = "Sql".into(), "profiles.sql", "not a valid profile name"),
        (|p| p.input = InputDelivery::Env("A B".into()), "profiles.sql.input", "not a valid variable name"),
        (|p| p.input = InputDelivery::Env("LONGSHORE_X".into()), "profiles.sql.input", "Longshore's own"),
        (|p| p.kubernetes.as_mut().unwrap().image.clear(), "profiles.sql.kubernetes.image", "must be set"),
        (
            |p| p.kubernetes.as_mut().unwrap().working_dir = Some("x".into()),
            "profiles.sql.kubernetes.working_dir",
            "absolute",
        ),
        (|p| p.local.as_mut().unwrap().command.clear(), "profiles.sql.local.command", "must be set"),
        (|p| p.overridable.push("run_timeouts".into()), "profiles.sql.overridable[2]", "expected one of `run_timeout`"),
        (|p| p.pod_annotations.push("a b".into()), "profiles.sql.pod_annotations[1]", "not a valid annotation key"),
        (|p| p.defaults.env = vec![env("LONGSHORE_RUN", "")], "profiles.sql.defaults.env[0].name", "Longshore's own"),
        (
            |p| p.defaults.workload = container().workload,
            "profiles.sql.defaults.workload",
            "cannot be set in a profile",
        ),
        (|p| p.defaults.max_retries = Some(21), "profiles.sql.defaults.max_retries", "21 is above 20"),
        (
            |p| p.defaults.labels = map(&[("longshore.dev/x", "")]),
            "profiles.sql.defaults.labels[\"longshore.dev/x\"]",
            "reserved",
        ),
        (|p| p.defaults.run_timeout = Some(Duration::ZERO), "profiles.sql.defaults.run_timeout", "at least 1 s"),
    ];
    let rules = on_kubernetes();
    let sql = rules.profiles["sql"].clone();
    assert!(super::check_profile(&sql, "profiles.sql", &rules).is_empty());
    let mut with_data = sql.clone();
    with_data.defaults.env = vec![env("LONGSHORE_DATA", "/data")];
    assert!(super::check_profile(&with_data, "profiles.sql", &rules).is_empty(), "the operator's own");
    for (change, field, fragment) in rows {
        let mut profile = sql.clone();
        change(&mut profile);
        let violations = super::check_profile(&profile, "profiles.sql", &rules);
        let [violation] = violations.as_slice() else { panic!("{field} {fragment}: {violations}") };
        assert_eq!(violation.field, field);
        assert!(violation.description.contains(fragment), "{violation:?}");
    }
}

#[test]
fn limits_as_configured() {
    type Fault = (fn(&mut crate::run::profile::Limits), &'static str, &'static str);
    let rows: [Fault; 6] = [
        (
            |l| drop(l.default_requests.insert("cpu".into(), "x".into())),
            "limits.default_requests[\"cpu\"]",
            "not a valid quantity",
        ),
        (|l| drop(l.default_limits.remove("memory")), "limits.default_limits[\"memory\"]", "must be set"),
        (
            |l| drop(l.max_limits.insert("cpu".into(), "1.2.3".into())),
            "limits.max_limits[\"cpu\"]",
            "not a valid quantity",
        ),
        (|l| l.default_tmp_size = "-1".into(), "limits.default_tmp_size", "below 0"),
        (|l| l.min_user = 0, "limits.min_user", "0 is not an id"),
        (|l| l.default_user = 0, "limits.default_user", "not within"),
    ];
    let limits = crate::run::profile::Limits::default();
    assert!(super::check_limits(&limits, "limits").is_empty());
    for (change, field, fragment) in rows {
        let mut limits = limits.clone();
        change(&mut limits);
        let violations = super::check_limits(&limits, "limits");
        let [violation] = violations.as_slice() else { panic!("{field} {fragment}: {violations}") };
        assert_eq!(violation.field, field);
        assert!(violation.description.contains(fragment), "{violation:?}");
    }
}

#[test]
fn texts_from_outside_are_cut_and_escaped_in_messages() {
    let mut spec = container();
    spec.labels = map(&[(&"\u{7}".repeat(1000), "")]);
    let violations = resolve(&spec, &on_kubernetes()).unwrap_err();
    let [violation] = violations.as_slice() else { panic!("{violations}") };
    assert!(violation.field.len() < 1000 && violation.description.len() < 1000);
    assert!(!violations.to_string().chars().any(char::is_control));
}

proptest! {
    #[test]
    fn never_panics(
        workload in prop_oneof![Just("sql".to_owned()), Just("open".to_owned()), ".{0,20}"],
        names in prop::collection::vec(".{0,12}", 0..4),
        amount in "[-0-9.]{0,6}[a-zA-Z]{0,2}",
        seconds in any::<u64>(),
        id in any::<i64>(),
    ) {
        let text = names.first().cloned().unwrap_or_default();
        let pairs: std::collections::BTreeMap<_, _> = names.iter().map(|n| (n.clone(), amount.clone())).collect();
        let spec = RunSpec {
            env: names.iter().map(|name| env(name, &text)).collect(),
            input: Some(Input::Json(text.clone())),
            files: names.iter().map(|name| file(name)).collect(),
            resources: Resources { requests: pairs.clone(), limits: pairs.clone() },
            security: Security { run_as_user: Some(id), runtime_class_name: Some(text.clone()), ..Security::default() },
            run_timeout: Some(Duration::from_secs(seconds)),
            volumes: names.iter().map(|name| mount(name, name, None)).collect(),
            placement: Placement { tolerations: tolerate(&text, &amount, &text, &amount), ..Placement::default() },
            labels: pairs.clone(),
            annotations: pairs,
            tmp_size: Some(amount),
            ..runner(&workload)
        };
        for rules in [on_kubernetes(), on_local()] {
            if let Err(violations) = resolve(&spec, &rules) {
                prop_assert!(!violations.is_empty(), "a refusal has a reason");
            }
        }
    }
}
