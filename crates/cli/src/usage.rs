//! What the command line accepts, beyond what clap derives: an empty variable counts as unset, and a tip proposes
//! nothing that could do harm to somebody who only mistyped a word.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory};

use crate::{Cli, exit};
use longshore_text::{alike, edits};

/// Verbs that stop or delete something. A tip names them only for a typo of themselves.
const DESTRUCTIVE: [&str; 3] = ["cancel", "rm", "release"];
/// The most verbs that a tip names.
const TIPS_MAX: usize = 3;

/// The command line as people see it, read with this process's environment.
pub(super) fn command() -> Command {
    without_empty_variables(Cli::command())
}

/// Variables that are set to nothing count as unset, as in `LONGSHORE_TOKEN_FILE= longshore ls`.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|v| v.is_empty()));
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(None::<&'static str>) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// Help and version are an answer; anything else is wrong usage.
pub(super) fn explain(mut error: clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::InvalidSubcommand {
        let typed = match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(typed)) => typed.clone(),
            _ => String::new(),
        };
        error.remove(ContextKind::SuggestedSubcommand);
        let tips = tips(&typed, &Cli::command());
        if !tips.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(tips));
        }
    }
    if error.kind() == ErrorKind::MissingRequiredArgument {
        // Clap's own would show what came from variables too, as if it were needed.
        let usage = usage_of(&mut Cli::command(), std::env::args().skip(1));
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    if let Some(variable) = variable_of(&error, &Cli::command(), std::env::args_os()) {
        let tip = format!("the value comes from the variable {variable}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    // The caller may have closed the stream: nothing is left to be done then.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(exit::LONGSHORE) } else { ExitCode::SUCCESS }
}

/// How the verb that was typed is used.
fn usage_of(command: &mut Command, typed: impl Iterator<Item = String>) -> clap::builder::StyledStr {
    command.build();
    let mut verb: &Command = command;
    for word in typed {
        verb = verb.find_subcommand(&word).unwrap_or(verb);
    }
    verb.clone().render_usage()
}

/// The variable that the value is from which `error` is about; nothing if it was typed.
fn variable_of(error: &clap::Error, command: &Command, mut typed: impl Iterator<Item = OsString>) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (flag, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let flag = flag.split(' ').next()?;
    if typed.any(|word| word.to_str().is_some_and(|word| word.split('=').next() == Some(flag))) {
        return None;
    }
    let long = flag.strip_prefix("--")?;
    let holds_it = |name: &OsStr| std::env::var_os(name).is_some_and(|held| held == value);
    let mut arguments = command.get_subcommands().flat_map(Command::get_arguments);
    let variable =
        arguments.find(|arg| arg.get_long() == Some(long) && arg.get_env().is_some_and(holds_it))?.get_env()?;
    variable.to_str().map(str::to_owned)
}

/// Verbs of `command` that may have been meant by `typed`, the nearest last, as clap prints them.
fn tips(typed: &str, command: &Command) -> Vec<String> {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let (destructive, harmless): (Vec<_>, Vec<_>) = verbs.partition(|verb| DESTRUCTIVE.contains(&verb.get_name()));
    let mut tips = alike(typed, harmless.into_iter().flat_map(names));
    if tips.is_empty() {
        // Short words are near to everything, and nobody releases an installation by a tip.
        let near = |name: &&str| name.len() >= 6 && *name != "release" && edits(typed, name) == 1;
        tips = destructive.into_iter().flat_map(names).filter(near).collect();
    }
    tips.truncate(TIPS_MAX);
    tips.into_iter().rev().map(str::to_owned).collect()
}

fn names(verb: &Command) -> impl Iterator<Item = &str> {
    std::iter::once(verb.get_name()).chain(verb.get_visible_aliases())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tip_names_what_was_meant() {
        let last = |typed: &str| tips(typed, &Cli::command()).pop();
        for (typed, meant) in [
            ("lgos", "logs"),
            ("rnu", "run"),
            ("statsu", "status"),
            ("comp", "completion"),
            ("Describe", "describe"),
            ("resutl", "result"),
            ("cancle", "cancel"),
            ("delet", "delete"),
        ] {
            assert_eq!(last(typed).as_deref(), Some(meant), "{typed}");
        }
    }

    #[test]
    fn no_tip_is_destructive_or_hidden_for_a_harmless_typo() {
        let command = Cli::command();
        let harmful: Vec<String> = command
            .get_subcommands()
            .filter(|verb| verb.is_hide_set() || DESTRUCTIVE.contains(&verb.get_name()))
            .flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_all_aliases()))
            .map(str::to_owned)
            .collect();
        assert!(harmful.len() >= 5, "{harmful:?}");
        let harmless: Vec<&str> = command
            .get_subcommands()
            .flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_visible_aliases()))
            .filter(|name| !harmful.iter().any(|other| other == name))
            .collect();
        let letters = ('a'..='z').map(String::from);
        let mut typos: Vec<String> = letters.clone().collect();
        typos.extend(
            ["start", "step", "drop", "releases", "relase", "delete-all", "r", "rs", "rmi", "kill"].map(String::from),
        );
        for name in harmless {
            for (at, _) in name.char_indices() {
                let (before, after) = name.split_at(at);
                typos.extend(letters.clone().map(|letter| format!("{before}{letter}{after}")));
                typos.extend(letters.clone().map(|letter| format!("{before}{letter}{}", &after[1..])));
                typos.push(format!("{before}{}", &after[1..]));
            }
        }
        for typo in typos.iter().filter(|typo| !harmful.contains(typo)) {
            let tips = tips(typo, &command);
            assert!(!tips.iter().any(|tip| harmful.contains(tip)), "{typo}: {tips:?}");
        }
    }
}
