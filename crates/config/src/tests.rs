use super::*;

fn at(path: &str) -> ServeArgs {
    let installation = InstallationArgs { config: Some(path.into()), ..InstallationArgs::default() };
    ServeArgs { installation, ..ServeArgs::default() }
}

fn load(text: &str) -> Result<Config, String> {
    Config::from_text(text, &at("/etc/longshore/longshore.toml")).map_err(|e| e.to_string())
}

#[test]
fn the_sample_is_the_defaults() {
    let sample = load(SAMPLE).unwrap();
    let defaults = Config::defaults().unwrap();
    assert_eq!(format!("{sample:?}"), format!("{defaults:?}"));
}

#[test]
fn every_commented_key_of_the_sample_is_a_key() {
    // A line that would set something if it were not commented out: `# key = value` or `# [table]`.
    let is_setting =
        |line: &str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let uncommented: Vec<_> = SAMPLE
        .lines()
        .map(|line| line.trim_start_matches("# ").trim_start_matches('#'))
        .zip(SAMPLE.lines())
        .map(|(bare, line)| if is_setting(bare) { bare } else { line })
        .collect();
    let text = uncommented.join("\n").replace("image = \"…\"", "image = \"example/image:1\"");
    let config = load(&text).unwrap();
    assert_eq!(config.profiles["report"].defaults.volumes.len(), 1);
    assert_eq!(config.profiles["sql"].kubernetes.as_ref().unwrap().command[0], "/usr/local/bin/longshore");
}

#[test]
fn every_fault_has_its_line_and_stands_once() {
    let error = load(
        r#"lisen = "127.0.0.1:1"
drain_timeout = "soon"
[limits]
max_run_timout = "1h"
max_user = true
[profiles.x.kubernetes]
imag = "i"
[profiles.y.kubernetes]
command = ["a"]
[profiles.z.local]
comand = ["a"]
[profiles.v.local]
command = ["a"]
[profiles.v.defaults]
run_timeout = "0s"
limits = { memory = "lots" }
"#,
    )
    .unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    let place = |line: usize| format!("  /etc/longshore/longshore.toml:{line}: ");
    let begins = [
        "the configuration /etc/longshore/longshore.toml cannot be used:".to_owned(),
        place(1) + "lisen: is not a key here; did you mean `listen`?",
        place(2) + "drain_timeout: `soon` is not a duration",
        place(4) + "limits.max_run_timout: is not a key here; did you mean `max_run_timeout`?",
        place(5) + "limits.max_user: is not a whole number, but boolean",
        place(7) + "profiles.x.kubernetes.imag: is not a key here; did you mean `image`?",
        place(8) + "profiles.y.kubernetes.image: is not set",
        place(11) + "profiles.z.local.comand: is not a key here; did you mean `command`?",
        place(15) + "profiles.v.defaults.run_timeout: ",
        place(16) + "profiles.v.defaults.limits",
    ];
    assert_eq!(lines.len(), begins.len(), "{error}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(&begin), "{line} is not {begin}");
    }
}

#[test]
fn paths_of_a_local_profile_begin_at_the_file() {
    let local = |text: &str| load(text).map(|config| config.profiles["p"].local.clone().unwrap());
    for (typed, meant) in [
        ("bin/run.sh", "/etc/longshore/bin/run.sh"),
        ("./run.sh", "/etc/longshore/run.sh"),
        ("../../srv/run.sh", "/srv/run.sh"),
        ("/srv/run.sh", "/srv/run.sh"),
        ("run.sh", "run.sh"),
        ("{longshore}", "{longshore}"),
    ] {
        let text = format!("[profiles.p.local]\ncommand = [{typed:?}, \"a/b\"]\nmounts = [\"venv\", \"/srv\"]");
        let local = local(&text).unwrap();
        assert_eq!(local.command, [meant, "a/b"], "{typed}");
        assert_eq!(local.mounts, ["/etc/longshore/venv", "/srv"]);
    }
    for (text, key) in [
        ("command = [\"~/run.sh\"]", "profiles.p.local.command[0]: `~/run.sh`: `~` and variables are not expanded"),
        ("command = [\"$HOME/run.sh\"]", "profiles.p.local.command[0]: `$HOME/run.sh`"),
        ("command = [\"a\"]\nmounts = [\"~\"]", "profiles.p.local.mounts[0]: `~`"),
        ("command = [\"a\"]\nmounts = [\"../..\"]", "profiles.p.local.mounts[0]: `/` is the sandbox's own"),
        ("command = [\"a\"]\nmounts = [\"/etc\"]", "profiles.p.local.mounts[0]: `/etc` is the sandbox's own"),
    ] {
        let error = local(&format!("[profiles.p.local]\n{text}")).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_flag_at_fault_is_called_by_its_name() {
    let args = ServeArgs { log_format: Some("xml".to_owned()), ..at("c.toml") };
    let error = Config::from_text("log_format = \"json\"\n", &args).unwrap_err().to_string();
    assert_eq!(error.lines().nth(1), Some("  --log-format: `xml` is not one of `auto`, `text`, `json`"), "{error}");
}

#[test]
fn all_faults_are_reported_at_once() {
    let text = r#"
        backend = "docker"
        drain_timeout = "soon"
        admin_listen = "here"
        [namespaces.A]
        [namespaces.b]
        kubernetes_namespace = "longshore-runs"
        [limits.max_limits]
        memory = "lots"
        [profiles.empty]
        [profiles.report.kubernetes]
        image_pull_policy = "Sometimes"
        [profiles.report.defaults]
        result = "maybe"
    "#;
    let error = load(text).unwrap_err();
    for key in [
        "backend",
        "drain_timeout",
        "admin_listen",
        "namespaces.A",
        "`longshore-runs` is taken",
        "limits.max_limits.memory",
        "profiles.empty",
        "profiles.report.kubernetes.image:",
        "profiles.report.kubernetes.image_pull_policy",
        "profiles.report.defaults.result",
    ] {
        assert!(error.contains(key), "{key} is not in:\n{error}");
    }
}

#[test]
fn flags_win_over_the_file() {
    let addresses = AddressArgs { listen: Some(([127, 0, 0, 1], 9).into()), ..AddressArgs::default() };
    let args = ServeArgs { addresses, ..ServeArgs::default() };
    let config = Config::from_text("listen = \"127.0.0.1:8\"", &args).unwrap();
    assert_eq!(config.listen.port(), 9);
}

#[test]
fn what_a_profile_says_of_its_results() {
    let profile = |text: &str| {
        let text = format!("[profiles.report]\n{text}\n[profiles.report.local]\ncommand = [\"r\"]");
        load(&text).map(|config| config.profiles["report"].clone())
    };
    let plain = profile("").unwrap();
    assert!(plain.runner_contract().is_empty());
    let full = profile("reports_status = true\nresult_schema = '{\"required\": [\"rows\"]}'").unwrap();
    assert!(full.reports_status);
    assert_eq!(full.result_schema.as_ref().map(|schema| schema.text()), Some("{\"required\": [\"rows\"]}"));
    for (schema, cause) in [("{", "is not a JSON document"), ("{\"type\": \"strng\"}", "at `/type`")] {
        let error = profile(&format!("result_schema = '{schema}'")).unwrap_err();
        assert!(error.contains("profiles.report.result_schema: ") && error.contains(cause), "{error}");
    }
    let config = load("[profiles.sql]\nreports_status = false").unwrap();
    assert!(config.profiles["sql"].result_schema.is_some() && !config.profiles["sql"].reports_status);
}

#[test]
fn the_configuration_of_the_manifests_can_be_used() {
    let manifests = include_str!("../../../deploy/manifests/longshore.yaml");
    let documents = manifests.split("\n---\n").filter(|text| !text.trim().is_empty());
    let maps: Vec<_> = documents
        .map(|text| serde_saphyr::from_str::<serde_json::Value>(text).unwrap())
        .filter(|document| document["kind"] == "ConfigMap")
        .collect();
    let [map] = maps.as_slice() else { panic!("one ConfigMap: {maps:?}") };
    let config = load(map["data"]["longshore.toml"].as_str().unwrap()).unwrap();
    assert!(config.access.tls.is_some());
    assert_eq!(config.access.authentication.token_review.as_ref().unwrap().audiences, ["longshore"]);
    assert!(matches!(config.access.authorization, Some(Authorization::Kubernetes { .. })));
    assert!(config.kubernetes.network_policies);
    assert_eq!(config.instance, "longshore.longshore");
    assert_eq!((config.listen.port(), config.health_listen.map(|a| a.port())), (7420, Some(7422)));
}

#[test]
fn who_may_call_is_checked_as_a_whole() {
    let error = load(
        r#"
        [tls]
        cert_file = "c"
        [authentication.token_review]
        audiences = []
        cache_ttl = "1h"
        [authorization]
        mode = "policy"
        [[authorization.rules]]
        users = ["a*b"]
        namespaces = ["nowhere"]
        verbs = ["submit", "list"]
        profiles = ["nothing"]
        [[authorization.rules]]
    "#,
    )
    .unwrap_err();
    for key in [
        "tls.cert_file: needs tls.key_file",
        "authentication.token_review.audiences",
        "authentication.token_review.cache_ttl",
        "authorization.rules[0].users[0]",
        "authorization.rules[0].namespaces: namespace `nowhere` is not configured",
        "authorization.rules[0].verbs[1]: `list` is not one of `submit`, `get`",
        "authorization.rules[0].profiles: profile `nothing` is not configured",
        "authorization.rules[1]: needs users or groups",
        "authorization.rules[1].namespaces",
        "authorization.rules[1].verbs",
    ] {
        assert!(error.contains(key), "{key} is not in:\n{error}");
    }
    assert!(load("[authentication]\ntoken_file = \"t\"").unwrap_err().contains("authorization.mode"));
    assert!(load("[authorization]\nmode = \"policy\"").unwrap_err().contains("needs authentication"));
}

#[test]
fn durations_may_have_days() {
    let retention =
        |text: &str| load(&format!("limits.default_retention = \"{text}\"")).map(|c| c.limits.default_retention);
    for (text, seconds) in [("7d", 604_800), ("1d 12h", 129_600), ("1d12h30m", 131_400), ("90s", 90), ("PT2M", 120)] {
        assert_eq!(retention(text).unwrap(), Duration::from_secs(seconds), "{text}");
    }
    for wrong in ["1.5s", "-1d", "1mo", "7", "soon"] {
        let error = retention(wrong).unwrap_err();
        assert!(error.contains(&format!("limits.default_retention: `{wrong}` is not a duration in whole")), "{error}");
    }
}

#[test]
fn no_two_things_are_served_at_one_address() {
    for (text, key) in [
        ("listen = \"127.0.0.1:9\"\nadmin_listen = \"127.0.0.1:9\"", Some("admin_listen: is the address of `listen`")),
        ("admin_listen = \"0.0.0.0:7420\"", Some("admin_listen: is the address of `listen`")),
        ("health_listen = \"127.0.0.1:7420\"", Some("health_listen: is the address of `listen`")),
        ("health_listen = \"127.0.0.1:7421\"", Some("health_listen: is the address of `admin_listen`")),
        ("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"", None),
        ("listen = \"127.0.0.1:7421\"\nadmin_listen = \"off\"", None),
        ("admin_listen = \"[::1]:7420\"", None),
        ("listen = \"127.0.0.2:7421\"", None),
    ] {
        let error = load(text).err();
        assert_eq!(error.is_some(), key.is_some(), "{text}: {error:?}");
        assert!(error.as_deref().unwrap_or_default().contains(key.unwrap_or_default()), "{text}: {error:?}");
    }
    let addresses = AddressArgs { admin_listen: Some("127.0.0.1:7420".to_owned()), ..AddressArgs::default() };
    let error = Config::from_text("", &ServeArgs { addresses, ..ServeArgs::default() }).unwrap_err().to_string();
    assert!(error.contains("--admin-listen: is the address of `listen`"), "{error}");
}

#[test]
fn a_node_is_not_lost_while_it_is_restarted() {
    assert_eq!(load("").unwrap().kubernetes.node_lost_after, Duration::from_secs(600));
    let after = |text: &str| load(&format!("[kubernetes]\nnode_lost_after = \"{text}\""));
    assert_eq!(after("30s").unwrap().kubernetes.node_lost_after, Duration::from_secs(30));
    let error = after("29s").unwrap_err();
    assert!(error.contains("kubernetes.node_lost_after: must be at least 30s"), "{error}");
}
