//! Fields of a run's request, as the arguments that were typed for them.

use crate::run::submit::args::RunArgs;
use crate::terminal::flags::{below, key};
use crate::terminal::values::ClockArg;

/// Names of fields that the server's sentences mention, and what they are called here.
pub(super) const WORDS: [(&str, &str); 25] = [
    ("annotations", "--annotation"),
    ("args", "COMMAND"),
    ("command", "COMMAND"),
    ("container", "--image"),
    ("env", "--env"),
    ("files", "--file"),
    ("image", "--image"),
    ("input", "--input"),
    ("labels", "--label"),
    ("network_mode", "--network"),
    ("raw", "--input-raw"),
    ("request_id", "--request-id"),
    ("resources", "--cpu, --memory, --storage, --limit, --request"),
    ("result", "--result-rule"),
    ("retention", "--retention"),
    ("run_id", "--id"),
    ("security.run_as_group", "--group"),
    ("security.run_as_user", "--user"),
    ("run_timeout", "--timeout"),
    ("runner", "--runner"),
    ("secret_key_ref", "--env-secret"),
    ("start_timeout", "--start-timeout"),
    ("termination_grace", "--grace"),
    ("tmp_size", "--tmp-size"),
    ("value", "--env NAME=VALUE"),
];

impl RunArgs {
    /// What was typed for `field`; nothing for what no argument sets.
    pub(super) fn typed(&self, field: &str) -> Option<String> {
        let (workload, limits) = (&self.workload, &self.limits);
        let plain = match field {
            "parent" => Some("--namespace"),
            "run_id" => Some("--id"),
            "request_id" => Some("--request-id"),
            "spec.workload" => Some("--runner or --image"),
            "spec.runner" | "spec.runner.profile" => Some("--runner"),
            "spec.container" | "spec.container.image" => Some("--image"),
            "spec.container.working_dir" => Some("--workdir"),
            "spec.network_mode" => Some("--network"),
            "spec.tmp_size" => Some("--tmp-size"),
            "spec.security.run_as_user" => Some("--user"),
            "spec.security.run_as_group" => Some("--group"),
            "spec.result.scan" => Some("--result-scan"),
            "spec.result.dialect" => Some("--result-dialect"),
            _ => None,
        };
        if let Some(argument) = plain {
            return Some(argument.to_owned());
        }
        for (path, flag, clock) in [
            ("spec.run_timeout", self.run_timeout_flag(), &limits.timeout),
            ("spec.start_timeout", "--start-timeout", &limits.start_timeout),
            ("spec.termination_grace", "--grace", &limits.grace),
            ("spec.retention", "--retention", &limits.retention),
        ] {
            if field == path {
                return Some(with_value(flag, clock.as_ref().map(ClockArg::typed)));
            }
        }
        for (path, flag) in [
            ("spec.container.command", "COMMAND"),
            ("spec.container.args", "COMMAND"),
            ("spec.labels", "--label"),
            ("spec.annotations", "--annotation"),
            ("spec.resources.requests", "--request"),
            ("spec.result", "--result-rule"),
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
            ("spec.queue_name", None),
            ("", None),
        ] {
            let known = args.typed(field);
            assert_eq!(known.as_deref(), typed, "{field}");
        }
    }
}
