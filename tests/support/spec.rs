//! Specs of the programs that tests run.

use longshore::proto::v1::env_var::Source;
use longshore::proto::v1::input::Content;
use longshore::proto::v1::run_spec::Workload;
use longshore::proto::v1::{
    ContainerWorkload, EnvVar, Input, ResultMode, ResultRule, ResultScan, RunSpec, RunnerWorkload,
};

/// A duration in whole seconds.
pub(crate) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// A run of a profile.
pub(crate) fn runner(profile: &str) -> RunSpec {
    let workload = Some(Workload::Runner(RunnerWorkload { profile: profile.to_owned() }));
    RunSpec { workload, ..RunSpec::default() }
}

/// A run of the built-in profile `sql` over the built-in data set `shop`.
pub(crate) fn sql(query: &str) -> RunSpec {
    let request = serde_json::json!({ "dataset": "demo/shop", "sql": query });
    RunSpec { input: Some(json_input(&request.to_string())), ..runner("sql") }
}

/// A script as the runner of profile [`REPORTER`], with this result rule.
pub(crate) fn reporter(mode: ResultMode, script: &str) -> RunSpec {
    let result = result_rule(mode, ResultScan::LastObject);
    RunSpec { env: vec![env("SCRIPT", script)], result, ..runner("reporter") }
}

/// A profile that declares the runner contract, for the configuration of either backend; what runs
/// `$SCRIPT` on it is the suite's to add.
pub(crate) const REPORTER: &str = r#"
        [profiles.reporter]
        overridable = ["env", "result"]
        reports_status = true
        result_schema = """{
            "properties": { "status": true, "rows": { "type": "array", "items": { "type": "integer" } } },
            "required": ["status"]
        }"""
"#;

/// A program in an image.
pub(crate) fn container<S: Into<String>>(image: &str, command: impl IntoIterator<Item = S>) -> RunSpec {
    let command = command.into_iter().map(Into::into).collect();
    let workload = ContainerWorkload { image: image.to_owned(), command, ..ContainerWorkload::default() };
    RunSpec { workload: Some(Workload::Container(workload)), ..RunSpec::default() }
}

pub(crate) fn json_input(text: &str) -> Input {
    Input { content: Some(Content::Json(text.to_owned())) }
}

pub(crate) fn env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), source: Some(Source::Value(value.to_owned())) }
}

pub(crate) fn result_rule(mode: ResultMode, scan: ResultScan) -> Option<ResultRule> {
    Some(ResultRule { mode: mode.into(), scan: scan.into(), ..ResultRule::default() })
}

/// A script that prints `count` numbered lines with a pause between, and what it prints.
pub(crate) fn slow_printer(count: usize, pause: &str) -> (String, String) {
    let script = format!("i=1; while [ $i -le {count} ]; do echo \"line $i\"; i=$((i+1)); sleep {pause}; done");
    (script, numbered_lines(count))
}

/// `line 1` to `line {count}`.
pub(crate) fn numbered_lines(count: usize) -> String {
    (1..=count).map(|i| format!("line {i}\n")).collect()
}

/// A script that runs until it is asked to stop, then says `bye` and exits with 3.
pub(crate) const UNTIL_TERM: &str =
    "trap 'echo bye; sleep 0.2; exit 3' TERM; echo ready; i=0; while [ $i -lt 1200 ]; do sleep 0.1; i=$((i+1)); done";
