//! What was typed, as a request.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;

use crate::run::submit::args::{
    LimitArgs, Network, ResultDialectArg, ResultRuleArg, ResultScanArg, RetryOnArg, RunArgs, WorkloadArgs,
};
use crate::terminal::error::CliError;
use crate::terminal::values::{self, ClockArg};
use longshore_api::v1 as pb;
use longshore_api::v1::run_spec::Workload;
use longshore_domain::name::RunId;

/// The request that `args` stand for. Without an id it gets a new one, as the server generates
/// them, so that trying again is safe.
pub(super) fn request(args: &RunArgs) -> Result<pb::SubmitRunRequest, CliError> {
    let identity = &args.identity;
    let (run_id, request_id) = match (&identity.id, &identity.request_id) {
        (Some(id), _) => (id.clone(), String::new()),
        (None, Some(key)) => (String::new(), key.clone()),
        (None, None) => (draw(), String::new()),
    };
    Ok(pb::SubmitRunRequest {
        parent: args.connect.parent(),
        run_id,
        request_id,
        spec: Some(spec(args, |name| std::env::var_os(name))?),
        validate_only: args.dry_run,
    })
}

/// A new id, as the server generates them.
pub(super) fn draw() -> String {
    RunId::from_uuid(uuid::Uuid::now_v7().as_bytes()).to_string()
}

fn spec(args: &RunArgs, own_env: impl Fn(&str) -> Option<OsString>) -> Result<pb::RunSpec, CliError> {
    let RunArgs { workload, limits, retries, identity, .. } = args;
    Ok(pb::RunSpec {
        workload: Some(program(workload)),
        env: env(workload, own_env)?,
        input: input(workload)?,
        files: workload.file.iter().map(|typed| values::file(typed)).collect::<Result<_, _>>()?,
        resources: resources(limits)?,
        security: security(limits),
        queue_name: limits.queue.clone().unwrap_or_default(),
        queue_timeout: wire(&limits.queue_timeout),
        start_timeout: wire(&limits.start_timeout),
        run_timeout: wire(&limits.timeout),
        termination_grace: wire(&limits.grace),
        retention: wire(&limits.retention),
        volumes: workload.volume.iter().map(|typed| volume(typed)).collect::<Result<_, _>>()?,
        network_mode: network(limits.network).into(),
        labels: values::map("--label", &identity.label)?,
        annotations: values::map("--annotation", &identity.annotation)?,
        result: rule(args),
        tmp_size: limits.tmp_size.clone(),
        max_retries: retries.retries.map(number),
        infra_retries: retries.infra_retries.map(number),
        retry_on: retry_on(&retries.retry_on),
        total_timeout: wire(&retries.total_timeout),
        ..Default::default()
    })
}

/// The server says what is too many.
fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn retry_on(typed: &[RetryOnArg]) -> Option<pb::RetryOn> {
    let mut rule = pb::RetryOn::default();
    for one in typed {
        match one {
            RetryOnArg::Code(code) => rule.exit_codes.push(*code),
            RetryOnArg::Reason(reason) => rule.reasons.push((*reason).into()),
        }
    }
    (!typed.is_empty()).then_some(rule)
}

fn program(args: &WorkloadArgs) -> Workload {
    if let Some(profile) = &args.runner {
        return Workload::Runner(pb::RunnerWorkload { profile: profile.clone() });
    }
    let (command, arguments) =
        if args.keep_entrypoint { (Vec::new(), args.command.clone()) } else { (args.command.clone(), Vec::new()) };
    Workload::Container(pb::ContainerWorkload {
        image: args.image.clone().unwrap_or_default(),
        command,
        args: arguments,
        working_dir: args.workdir.clone().unwrap_or_default(),
    })
}

fn env(args: &WorkloadArgs, own_env: impl Fn(&str) -> Option<OsString>) -> Result<Vec<pb::EnvVar>, CliError> {
    let mut vars = Vec::with_capacity(args.env.len() + args.env_secret.len());
    for typed in &args.env {
        let (name, value) = match typed.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (typed.as_str(), own_value(typed, own_env(typed))?),
        };
        vars.push(pb::EnvVar { name: name.to_owned(), source: Some(pb::env_var::Source::Value(value)) });
    }
    for typed in &args.env_secret {
        let parts = typed.split_once('=').and_then(|(name, from)| Some((name, from.split_once('/')?)));
        let Some((name, (secret, key))) = parts else {
            return Err(CliError::usage(format!("--env-secret `{typed}`: expected NAME=SECRET/KEY")));
        };
        let reference = pb::SecretKeyRef { name: secret.to_owned(), key: key.to_owned() };
        vars.push(pb::EnvVar { name: name.to_owned(), source: Some(pb::env_var::Source::SecretKeyRef(reference)) });
    }
    Ok(vars)
}

fn own_value(name: &str, value: Option<OsString>) -> Result<String, CliError> {
    let value = value.ok_or_else(|| CliError::usage(format!("--env {name}: it is not set here; give {name}=VALUE")))?;
    value.into_string().map_err(|_| CliError::usage(format!("--env {name}: its value here is not UTF-8")))
}

fn input(args: &WorkloadArgs) -> Result<Option<pb::Input>, CliError> {
    let content = match (&args.input, &args.input_raw) {
        (Some(typed), _) => {
            let text = String::from_utf8(values::content(typed, io::stdin())?)
                .map_err(|_| CliError::usage("--input: not UTF-8, so not JSON; see --input-raw"))?;
            pb::input::Content::Json(text)
        }
        (None, Some(typed)) => pb::input::Content::Raw(values::content(typed, io::stdin())?),
        (None, None) => return Ok(None),
    };
    Ok(Some(pb::Input { content: Some(content) }))
}

fn volume(typed: &str) -> Result<pb::VolumeMount, CliError> {
    let mut parts = typed.split(':');
    let mount = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(volume), Some(path), None, None) => (volume, path, None),
        (Some(volume), Some(path), Some("ro"), None) => (volume, path, Some(true)),
        _ => return Err(CliError::usage(format!("--volume `{typed}`: expected VOLUME:PATH or VOLUME:PATH:ro"))),
    };
    Ok(pb::VolumeMount { volume: mount.0.to_owned(), mount_path: mount.1.to_owned(), read_only: mount.2 })
}

fn resources(args: &LimitArgs) -> Result<Option<pb::Resources>, CliError> {
    let own = [("cpu", &args.cpu), ("memory", &args.memory), ("ephemeral-storage", &args.storage)];
    let own: Vec<_> = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
    let limits: HashMap<String, String> = values::map("--limit", own.iter().chain(&args.limit))?;
    let requests: HashMap<String, String> = values::map("--request", &args.request)?;
    Ok((!limits.is_empty() || !requests.is_empty()).then_some(pb::Resources { requests, limits }))
}

fn security(args: &LimitArgs) -> Option<pb::Security> {
    (args.user.is_some() || args.group.is_some()).then(|| pb::Security {
        run_as_user: args.user,
        run_as_group: args.group,
        ..Default::default()
    })
}

fn network(mode: Option<Network>) -> pb::NetworkMode {
    match mode {
        None => pb::NetworkMode::Unspecified,
        Some(Network::None) => pb::NetworkMode::None,
        Some(Network::Egress) => pb::NetworkMode::Egress,
        Some(Network::Cluster) => pb::NetworkMode::Cluster,
    }
}

fn wire(clock: &Option<ClockArg>) -> Option<prost_types::Duration> {
    clock.as_ref().map(|clock| clock.wire)
}

/// What was said of the result. Who asks for the result of an image wants one that is printed to count: unlike a
/// profile, an image has no rule of its own.
fn rule(args: &RunArgs) -> Option<pb::ResultRule> {
    let WorkloadArgs { image, result_rule, result_scan, result_dialect, .. } = &args.workload;
    let is_asked_of_an_image = args.result && image.is_some();
    let is_said = result_rule.is_some() || result_scan.is_some() || result_dialect.is_some();
    if !is_said && !is_asked_of_an_image {
        return None;
    }
    let mode = match result_rule {
        Some(ResultRuleArg::None) => pb::ResultMode::None,
        Some(ResultRuleArg::Optional) => pb::ResultMode::Optional,
        Some(ResultRuleArg::Required) => pb::ResultMode::Required,
        None if is_asked_of_an_image => pb::ResultMode::Optional,
        None => pb::ResultMode::Unspecified,
    };
    let scan = match result_scan {
        Some(ResultScanArg::Off) => pb::ResultScan::Off,
        Some(ResultScanArg::LastObject) => pb::ResultScan::LastObject,
        None if is_asked_of_an_image => pb::ResultScan::LastObject,
        None => pb::ResultScan::Unspecified,
    };
    let dialect = match result_dialect {
        Some(ResultDialectArg::Json) => pb::ResultDialect::Json,
        Some(ResultDialectArg::Python) => pb::ResultDialect::PythonLiteral,
        None => pb::ResultDialect::Unspecified,
    };
    Some(pb::ResultRule { mode: mode.into(), scan: scan.into(), dialect: dialect.into() })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: RunArgs,
    }

    fn typed(words: &[&str]) -> Result<pb::RunSpec, String> {
        let words = std::iter::once("run").chain(words.iter().copied());
        let parsed = Typed::try_parse_from(words).map_err(|error| error.to_string())?;
        let own_env = |name: &str| (name == "HERE").then(|| OsString::from("yes"));
        spec(&parsed.args, own_env).map_err(|error| error.to_string())
    }

    #[test]
    fn a_runner_with_its_input() {
        let spec = typed(&["--runner", "sql", "--input", "{\"a\":1}", "--result-rule", "required"]).unwrap();
        assert_eq!(spec.workload, Some(Workload::Runner(pb::RunnerWorkload { profile: "sql".into() })));
        assert_eq!(spec.input.unwrap().content, Some(pb::input::Content::Json("{\"a\":1}".into())));
        assert_eq!(spec.result.unwrap().mode(), pb::ResultMode::Required);
        assert_eq!(spec.resources, None, "what is not typed is not sent");
        assert_eq!(spec.security, None);
    }

    #[test]
    fn an_image_with_all_that_goes_with_it() {
        let spec = typed(&[
            "--image",
            "registry.example.com/a:1",
            "--workdir",
            "/w",
            "-e",
            "A=1=2",
            "-e",
            "HERE",
            "--env-secret",
            "PW=db/password",
            "--cpu",
            "500m",
            "--memory",
            "64Mi",
            "--storage",
            "1Gi",
            "--limit",
            "example.com/gpu=1",
            "--request",
            "cpu=100m",
            "--timeout",
            "1h30m",
            "--start-timeout",
            "2m",
            "--grace",
            "5s",
            "--retention",
            "7d",
            "-l",
            "app=x",
            "--annotation",
            "note=a b",
            "--user",
            "1000",
            "--group",
            "2000",
            "--network",
            "egress",
            "--tmp-size",
            "0",
            "--volume",
            "data:/data:ro",
            "--",
            "prog",
            "-v",
        ])
        .unwrap();
        let Some(Workload::Container(container)) = &spec.workload else { panic!("no container") };
        assert_eq!((container.command.join(" "), container.args.len()), ("prog -v".into(), 0));
        assert_eq!(container.working_dir, "/w");
        let value = |text: &str| Some(pb::env_var::Source::Value(text.into()));
        assert_eq!((spec.env[0].name.as_str(), &spec.env[0].source), ("A", &value("1=2")));
        assert_eq!((spec.env[1].name.as_str(), &spec.env[1].source), ("HERE", &value("yes")));
        let secret = pb::SecretKeyRef { name: "db".into(), key: "password".into() };
        assert_eq!(spec.env[2].source, Some(pb::env_var::Source::SecretKeyRef(secret)));
        let resources = spec.resources.unwrap();
        assert_eq!(resources.limits["ephemeral-storage"], "1Gi");
        assert_eq!(resources.limits["example.com/gpu"], "1");
        assert_eq!(resources.requests["cpu"], "100m");
        assert_eq!(spec.run_timeout.unwrap().seconds, 5400);
        assert_eq!(spec.retention.unwrap().seconds, 7 * 86_400);
        assert_eq!(spec.security.unwrap().run_as_user, Some(1000));
        assert_eq!(spec.network_mode, i32::from(pb::NetworkMode::Egress));
        assert_eq!(spec.tmp_size.as_deref(), Some("0"));
        assert_eq!(spec.volumes[0].read_only, Some(true));
        assert_eq!(spec.labels["app"], "x");
    }

    #[test]
    fn a_result_that_is_asked_of_an_image_may_be_printed() {
        let rule = |words: &[&str]| typed(words).unwrap().result.map(|rule| (rule.mode(), rule.scan()));
        let (last, unset) = (pb::ResultScan::LastObject, pb::ResultScan::Unspecified);
        assert_eq!(rule(&["--image", "i"]), None);
        assert_eq!(rule(&["--image", "i", "--result"]), Some((pb::ResultMode::Optional, last)));
        assert_eq!(rule(&["--runner", "sql", "--result"]), None, "a profile has its own rule");
        let off = ["--image", "i", "--result", "--result-scan", "off"];
        assert_eq!(rule(&off), Some((pb::ResultMode::Optional, pb::ResultScan::Off)));
        let required = ["--image", "i", "--result", "--result-rule", "required"];
        assert_eq!(rule(&required), Some((pb::ResultMode::Required, last)));
        let scanned = ["--runner", "sql", "--result-scan", "last-object"];
        assert_eq!(rule(&scanned), Some((pb::ResultMode::Unspecified, last)));
        let ruled = ["--runner", "sql", "--result-rule", "required"];
        assert_eq!(rule(&ruled), Some((pb::ResultMode::Required, unset)));
    }

    #[test]
    fn an_entrypoint_may_be_kept() {
        let spec = typed(&["--image", "i", "--keep-entrypoint", "--", "-v"]).unwrap();
        let Some(Workload::Container(container)) = spec.workload else { panic!("no container") };
        assert_eq!((container.command, container.args), (vec![], vec!["-v".to_owned()]));
    }

    #[test]
    fn wrong_usage_names_the_option() {
        for (words, expected) in [
            (&["--runner", "sql", "-e", "MISSING"][..], "--env MISSING"),
            (&["--runner", "sql", "--env-secret", "PW"], "--env-secret"),
            (&["--runner", "sql", "--volume", "data"], "--volume"),
            (&["--runner", "sql", "--input", "@/nothing/here"], "/nothing/here"),
            (&["--runner", "sql", "--timeout", "soon"], "--timeout"),
            (&["--runner", "sql", "--timeout", "1.5s"], "whole seconds"),
            (&["--runner", "sql", "--timeout", "-5m"], "negative"),
            (&["--runner", "sql", "--id", ""], "'--id <ID>': it is empty"),
            (&["--runner", "sql", "--request-id", ""], "'--request-id <KEY>': it is empty"),
            (&["--runner", "sql", "-l", "a=1", "-l", "a=2"], "--label a is given twice, as `1` and as `2`"),
            (&["--runner", "sql", "--annotation", "a=1", "--annotation", "a=1"], "--annotation a is given twice"),
            (&["--runner", "sql", "--cpu", "1", "--limit", "cpu=2"], "--limit cpu is given twice, as `1` and as `2`"),
            (&["--runner", "sql", "--request", "cpu=1", "--request", "cpu=2"], "--request cpu is given twice"),
            (&["--runner", "sql", "--", "prog"], "COMMAND"),
            (&["--runner", "sql", "--workdir", "/w"], "--workdir"),
            (&["--runner", "sql", "--keep-entrypoint"], "--keep-entrypoint"),
        ] {
            let error = typed(words).unwrap_err();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
    }
}
