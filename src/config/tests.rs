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
