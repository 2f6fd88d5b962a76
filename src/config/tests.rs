use super::*;

fn load(text: &str) -> Result<Config, String> {
    let file = file::parse(text)?;
    file.resolve(&ServeArgs::default()).map_err(|e| e.to_string())
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
fn unknown_keys_are_told_with_the_nearest_known_one() {
    for (text, nearest) in [
        ("lisen = \"127.0.0.1:1\"", "listen"),
        ("[limits]\nmax_run_timout = \"1h\"", "max_run_timeout"),
        ("[profiles.x.kubernetes]\nimag = \"i\"", "image"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(&format!("did you mean `{nearest}`?")), "{error}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
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
    let args = ServeArgs { listen: Some(([127, 0, 0, 1], 9).into()), ..ServeArgs::default() };
    let config = file::parse("listen = \"127.0.0.1:8\"").unwrap().resolve(&args).unwrap();
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
    for (schema, cause) in [("{", "is no JSON document"), ("{\"type\": \"strng\"}", "at `/type`")] {
        let error = profile(&format!("result_schema = '{schema}'")).unwrap_err();
        assert!(error.contains("profiles.report.result_schema: ") && error.contains(cause), "{error}");
    }
    let config = load("[profiles.sql]\nreports_status = false").unwrap();
    assert!(config.profiles["sql"].result_schema.is_some() && !config.profiles["sql"].reports_status);
}

#[test]
fn the_configuration_of_the_manifests_can_be_used() {
    let manifests = include_str!("../../deploy/manifests/longshore.yaml");
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
        "authorization.rules[0].namespaces: there is no namespace `nowhere`",
        "authorization.rules[0].verbs[1]: `list` is none of `submit`, `get`",
        "authorization.rules[0].profiles: there is no profile `nothing`",
        "authorization.rules[1]: needs users or groups",
        "authorization.rules[1].namespaces",
        "authorization.rules[1].verbs",
    ] {
        assert!(error.contains(key), "{key} is not in:\n{error}");
    }
    assert!(load("[authentication]\ntoken_file = \"t\"").unwrap_err().contains("authorization.mode"));
    assert!(load("[authorization]\nmode = \"policy\"").unwrap_err().contains("needs authentication"));
}
