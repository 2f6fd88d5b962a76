//! `longshore info`: what the server is and offers.

use std::fmt::Write as _;

use crate::client::connect::ConnectArgs;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::output::OutputArgs;
use crate::terminal::text::{clean, duration, size};
use longshore_api::v1 as pb;

const EXAMPLES: &str = "\
Examples:
  longshore info                       version, backend, isolation, limits
  longshore info -o json | jq .limits

It is also the quickest way to see whether a server answers, and knows you.";

/// Arguments of `longshore info`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

pub(crate) async fn info(args: InfoArgs, console: &Console) -> Result<u8, CliError> {
    let info = args.connect.client()?.server_info().await?;
    let text = if args.output.is_json() {
        to_json(&info, "GetServerInfoResponse", Layout::Pretty)?
    } else {
        describe(&info, env!("CARGO_PKG_VERSION"))
    };
    console.out(text.as_bytes()).await?;
    Ok(0)
}

fn describe(info: &pb::GetServerInfoResponse, own_version: &str) -> String {
    let mut text = String::new();
    let mut field = |label: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{:<19}{}", format!("{label}:"), clean(value));
        }
    };
    let version = if info.version == own_version {
        info.version.clone()
    } else {
        format!("{} (this command: {own_version})", info.version)
    };
    field("Version", &version);
    field("Backend", &info.backend);
    field("Chosen because", &info.backend_reason);
    field("Namespaces", &info.namespaces.join(", "));
    field("Features", &info.features.join(", "));
    if let Some(isolation) = &info.isolation {
        let word = |enforced: bool| if enforced { "enforced" } else { "not enforced" };
        field("Isolation", &isolation.kind);
        field("  user", word(isolation.user));
        field("  network", word(isolation.network));
        field("  resources", word(isolation.resources));
        for note in &isolation.notes {
            field("  note", note);
        }
    }
    if let Some(limits) = &info.limits {
        describe_limits(limits, &mut field);
    }
    text
}

fn describe_limits(limits: &pb::Limits, field: &mut impl FnMut(&str, &str)) {
    let clock = |default: &Option<prost_types::Duration>, most: &Option<prost_types::Duration>| {
        let shown = |wire: &Option<prost_types::Duration>| wire.as_ref().map_or_else(|| "?".to_owned(), duration);
        format!("{}, at most {}", shown(default), shown(most))
    };
    field("Input and files", &size(limits.max_input_bytes));
    field("Env and arguments", &size(limits.max_env_bytes));
    field("Result", &size(limits.max_result_bytes));
    field("Run timeout", &clock(&limits.default_run_timeout, &limits.max_run_timeout));
    field("Start timeout", &clock(&limits.default_start_timeout, &limits.max_start_timeout));
    field("Retention", &clock(&limits.default_retention, &limits.max_retention));
    let grace = limits.max_termination_grace.as_ref().map(|most| format!("at most {}", duration(most)));
    field("Termination grace", &grace.unwrap_or_default());
    let mut resources: Vec<String> =
        limits.max_resources.iter().map(|(resource, most)| format!("{resource}={most}")).collect();
    resources.sort();
    field("Most resources", &resources.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_described() {
        let info = pb::GetServerInfoResponse {
            version: "1.2.3".into(),
            backend: "local".into(),
            isolation: Some(pb::Isolation {
                kind: "process".into(),
                notes: vec!["no bwrap".into()],
                ..Default::default()
            }),
            limits: Some(pb::Limits { max_input_bytes: 921_600, ..Default::default() }),
            ..Default::default()
        };
        let text = describe(&info, "1.2.4");
        for wanted in [
            "Version:           1.2.3 (this command: 1.2.4)\n",
            "  network:         not enforced\n",
            "  note:            no bwrap\n",
            "Input and files:   900.0 KiB\n",
            "Run timeout:       ?, at most ?\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in:\n{text}");
        }
    }
}
