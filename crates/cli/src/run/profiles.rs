//! `longshore profiles`: the runner profiles that may be used.

use std::fmt::Write as _;

use crate::client::connect::ConnectArgs;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::output::OutputArgs;
use crate::terminal::table::{Cells, TableFrame, render};
use crate::terminal::text::clean;
use longshore_api::v1 as pb;

const EXAMPLES: &str = "\
Examples:
  longshore profiles               which there are
  longshore profiles sql           one of them, with the schemas of its input and result";

/// Arguments of `longshore profiles`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProfilesArgs {
    /// Describe this one
    profile: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(crate) async fn profiles(args: ProfilesArgs, console: &Console) -> Result<u8, CliError> {
    let mut answer = args.connect.client()?.profiles(args.connect.parent()).await?;
    if let Some(wanted) = &args.profile {
        answer.profiles.retain(|profile| profile.name == *wanted);
        if answer.profiles.is_empty() {
            return Err(CliError::usage(format!("no profile `{}`: see `longshore profiles`", clean(wanted))));
        }
    }
    let text = match (args.output.is_json(), answer.profiles.as_slice()) {
        (true, _) => to_json(&answer, "ListRunnerProfilesResponse", Layout::Pretty)?,
        (false, []) => {
            console.note("no runner profiles");
            return Ok(0);
        }
        (false, [profile]) if args.profile.is_some() => describe(profile),
        (false, profiles) => render(&table(profiles), TableFrame::Open, console.out_width()),
    };
    console.out(text.as_bytes()).await?;
    Ok(0)
}

fn table(profiles: &[pb::RunnerProfile]) -> Cells {
    let mut cells = Cells::new(&["NAME", "AVAILABLE", "DESCRIPTION"]);
    cells.never_cut(&["NAME"]);
    cells.cut_first(&["DESCRIPTION"]);
    cells.rows = profiles
        .iter()
        .map(|profile| vec![profile.name.clone(), available(profile), profile.description.clone()])
        .collect();
    cells
}

fn available(profile: &pb::RunnerProfile) -> String {
    match (profile.available, profile.unavailable_reason.as_str()) {
        (true, _) => "yes".to_owned(),
        (false, "") => "no".to_owned(),
        (false, why) => format!("no: {why}"),
    }
}

fn describe(profile: &pb::RunnerProfile) -> String {
    let mut text = format!("{}\n", clean(&profile.name));
    let _ = writeln!(text, "{}\n", clean(&profile.description));
    let _ = writeln!(text, "Available:    {}", clean(&available(profile)));
    let _ = writeln!(text, "Overridable:  {}", clean(&profile.overridable.join(", ")));
    for (title, schema) in [("Input", &profile.input_schema), ("Result", &profile.result_schema)] {
        if !schema.is_empty() {
            let _ = writeln!(text, "\n{title}:\n{}", pretty(schema));
        }
    }
    text
}

/// A JSON document, indented; as it is if it is none.
fn pretty(json: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(json).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| clean(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_described() {
        let profile = pb::RunnerProfile {
            name: "sql".into(),
            description: "SQL over CSV files".into(),
            input_schema: "{\"type\":\"object\"}".into(),
            result_schema: "broken\x1b".into(),
            overridable: vec!["run_timeout".into()],
            unavailable_reason: "no image is configured".into(),
            ..Default::default()
        };
        let text = describe(&profile);
        assert!(text.contains("Available:    no: no image is configured\n"), "{text}");
        assert!(text.contains("{\n  \"type\": \"object\"\n}"), "{text}");
        assert!(text.contains("broken\\u{1b}"), "{text}");
    }
}
