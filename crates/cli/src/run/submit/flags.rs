//! Fields of a run's request, as the arguments that were typed for them.

use crate::run::submit::args::RunArgs;
use crate::terminal::flags::{below, key};
use crate::terminal::values::ClockArg;

/// Fields that one argument sets, and that argument.
const FLAGS: [(&str, &str); 20] = [
    ("parent", "--namespace"),
    ("run_id", "--id"),
    ("batch_id", "--id"),
    ("count", "--count"),
    ("request_id", "--request-id"),
    ("spec.workload", "--runner or --image"),
    ("spec.runner", "--runner"),
    ("spec.runner.profile", "--runner"),
    ("spec.container", "--image"),
    ("spec.container.image", "--image"),
    ("spec.container.working_dir", "--workdir"),
    ("spec.network_mode", "--network"),
    ("spec.tmp_size", "--tmp-size"),
    ("spec.queue_name", "--queue"),
    ("spec.max_retries", "--retries"),
    ("spec.infra_retries", "--infra-retries"),
    ("spec.security.run_as_user", "--user"),
    ("spec.security.run_as_group", "--group"),
    ("spec.result.scan", "--result-scan"),
    ("spec.result.dialect", "--result-dialect"),
];

/// What was typed for a clock.
type TypedClock = fn(&RunArgs) -> Option<&ClockArg>;

/// Clocks, which are shown with what was typed for them.
const CLOCKS: [(&str, &str, TypedClock); 6] = [
    ("spec.queue_timeout", "--queue-timeout", |args| args.limits.queue_timeout.as_ref()),
    ("spec.run_timeout", "--timeout", |args| args.limits.timeout.as_ref()),
    ("spec.start_timeout", "--start-timeout", |args| args.limits.start_timeout.as_ref()),
    ("spec.termination_grace", "--grace", |args| args.limits.grace.as_ref()),
    ("spec.retention", "--retention", |args| args.limits.retention.as_ref()),
    ("spec.total_timeout", "--total-timeout", |args| args.retries.total_timeout.as_ref()),
];

/// What else the server's sentences mention in backquotes, and what it is called here.
const WORDS: [(&str, &str); 14] = [
    ("annotations", "--annotation"),
    ("args", "COMMAND"),
    ("command", "COMMAND"),
    ("env", "--env"),
    ("files", "--file"),
    ("image", "--image"),
    ("input", "--input"),
    ("labels", "--label"),
    ("raw", "--input-raw"),
    ("resources", "--cpu, --memory, --storage, --limit, --request"),
    ("result", "--result-rule"),
    ("retry_on", "--retry-on"),
    ("secret_key_ref", "--env-secret"),
    ("value", "--env NAME=VALUE"),
];

/// Names of fields that the server's sentences mention, and what they are called here. A sentence names a field of the
/// spec without `spec.`.
pub(super) fn words() -> Vec<(&'static str, &'static str)> {
    let clocks = CLOCKS.map(|(path, flag, _)| (path, flag));
    let named = FLAGS.into_iter().chain(clocks).map(|(path, flag)| (path.strip_prefix("spec.").unwrap_or(path), flag));
    named.chain(WORDS).collect()
}

impl RunArgs {
    /// What was typed for `field`; nothing for what no argument sets.
    pub(super) fn typed(&self, field: &str) -> Option<String> {
        let (workload, limits) = (&self.workload, &self.limits);
        if let Some((_, flag)) = FLAGS.iter().find(|(path, _)| *path == field) {
            return Some((*flag).to_owned());
        }
        if let Some((path, flag, clock)) = CLOCKS.iter().find(|(path, ..)| *path == field) {
            let flag = if *path == "spec.run_timeout" { self.run_timeout_flag() } else { flag };
            return Some(with_value(flag, clock(self).map(ClockArg::typed)));
        }
        for (path, flag) in [
            ("spec.container.command", "COMMAND"),
            ("spec.container.args", "COMMAND"),
            ("spec.labels", "--label"),
            ("spec.annotations", "--annotation"),
            ("spec.resources.requests", "--request"),
            ("spec.result", "--result-rule"),
            ("spec.retry_on", "--retry-on"),
        ] {
            if let Some(rest) = below(field, path) {
                return Some(with_value(flag, key(rest).filter(|key| key.parse::<usize>().is_err())));
            }
        }
        if let Some(rest) = below(field, "spec.input") {
            let flag = if workload.input_raw.is_some() { "--input-raw" } else { "--input" };
            // Behind the document's own name is a place in it.
            let place = rest.strip_prefix(".json").or_else(|| rest.strip_prefix(".raw")).unwrap_or(rest);
            return Some(with_value(flag, Some(place.trim_start_matches('.')).filter(|place| !place.is_empty())));
        }
        if let Some(rest) = below(field, "spec.resources.limits") {
            let own = match key(rest) {
                Some("cpu") if limits.cpu.is_some() => Some("--cpu"),
                Some("memory") if limits.memory.is_some() => Some("--memory"),
                Some("ephemeral-storage") if limits.storage.is_some() => Some("--storage"),
                _ => None,
            };
            if let Some(own) = own {
                return Some(own.to_owned());
            }
            return Some(match key(rest) {
                Some(resource) => with_value("--limit", Some(resource)),
                None => self.limit_flags().join(", "),
            });
        }
        let nth = |path: &str| Some(key(below(field, path)?).and_then(|index| index.parse::<usize>().ok()));
        if let Some(index) = nth("spec.env") {
            // Values may be secret: only names are shown.
            let name = |typed: &String| typed.split('=').next().unwrap_or_default().to_owned();
            let index = index.unwrap_or(usize::MAX);
            let secret = index.checked_sub(workload.env.len()).and_then(|index| workload.env_secret.get(index));
            return Some(match (workload.env.get(index), secret) {
                (Some(plain), _) => with_value("--env", Some(&name(plain))),
                (None, Some(secret)) => with_value("--env-secret", Some(&name(secret))),
                (None, None) => "--env".to_owned(),
            });
        }
        for (path, flag, typed) in
            [("spec.files", "--file", &workload.file), ("spec.volumes", "--volume", &workload.volume)]
        {
            if let Some(index) = nth(path) {
                return Some(with_value(flag, index.and_then(|index| typed.get(index)).map(String::as_str)));
            }
        }
        None
    }

    /// All that was typed of limits.
    fn limit_flags(&self) -> Vec<&'static str> {
        let limits = &self.limits;
        let typed = [
            ("--cpu", limits.cpu.is_some()),
            ("--memory", limits.memory.is_some()),
            ("--storage", limits.storage.is_some()),
            ("--limit", !limits.limit.is_empty()),
        ];
        typed.into_iter().filter_map(|(flag, is_typed)| is_typed.then_some(flag)).collect()
    }

    /// Under which of its two names the clock of the program was given.
    fn run_timeout_flag(&self) -> &'static str {
        let mut words = std::env::args().take_while(|word| word != "--");
        let long = words.any(|word| word == "--run-timeout" || word.starts_with("--run-timeout="));
        if long { "--run-timeout" } else { "--timeout" }
    }
}

fn with_value(flag: &str, value: Option<&str>) -> String {
    value.map_or_else(|| flag.to_owned(), |value| format!("{flag} {value}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    #[test]
    fn every_field_that_is_set_is_known_by_its_flag() {
        let words = [
            "run",
            "--image",
            "i",
            "-e",
            "A=secret",
            "-e",
            "B=2",
            "--env-secret",
            "C=s/k",
            "--file",
            "a.sh:x",
            "--volume",
            "v:/v",
            "--cpu",
            "1",
            "--limit",
            "example.com/gpu=1",
            "--timeout",
            "25h",
            "--grace",
            "1h30m",
            "--input",
            "{}",
            "--",
            "prog",
        ];
        let args = Line::try_parse_from(words).unwrap().args;
        for (field, typed) in [
            ("parent", Some("--namespace")),
            ("run_id", Some("--id")),
            ("spec.container.image", Some("--image")),
            ("spec.container.command[0]", Some("COMMAND")),
            ("spec.env[0].name", Some("--env A")),
            ("spec.env[2].secret_key_ref", Some("--env-secret C")),
            ("spec.env[9]", Some("--env")),
            ("spec.env", Some("--env")),
            ("spec.files[0].path", Some("--file a.sh:x")),
            ("spec.files", Some("--file")),
            ("spec.volumes[0].mount_path", Some("--volume v:/v")),
            ("spec.resources.limits[\"cpu\"]", Some("--cpu")),
            ("spec.resources.limits[\"memory\"]", Some("--limit memory")),
            ("spec.resources.limits", Some("--cpu, --limit")),
            ("spec.resources.requests[\"cpu\"]", Some("--request cpu")),
            ("spec.run_timeout", Some("--timeout 25h")),
            ("spec.termination_grace", Some("--grace 1h30m")),
            ("spec.retention", Some("--retention")),
            ("spec.labels[\"a.b/c\"]", Some("--label a.b/c")),
            ("spec.input.json", Some("--input")),
            ("spec.input.json.rows[0].n", Some("--input rows[0].n")),
            ("spec.result.mode", Some("--result-rule")),
            ("spec.result.scan", Some("--result-scan")),
            ("spec.result.dialect", Some("--result-dialect")),
            ("spec.max_retries", Some("--retries")),
            ("spec.retry_on.reasons[0]", Some("--retry-on")),
            ("spec.total_timeout", Some("--total-timeout")),
            ("spec.queue_name", Some("--queue")),
            ("spec.secret_env", None),
            ("", None),
        ] {
            let known = args.typed(field);
            assert_eq!(known.as_deref(), typed, "{field}");
        }
    }
}
