//! The run that was typed: by its id, or by how its id begins or ends, where only one does.
//!
//! A whole id costs nothing more: only where the server knows no such run are ids looked through, in one list.

use std::io::BufRead;

use crate::client::connect::Connection;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::names;
use crate::terminal::text::{clean, state_name};
use longshore_api::v1 as pb;
use longshore_domain::name::RunId;
use longshore_runtime::task;

/// How many runs are looked through at most, newest first: one page.
const LOOKED_THROUGH: i32 = 500;
/// How many runs an error lists at most.
const LISTED: usize = 10;

/// Calls with the run `name`; where there is no such run, with the only one whose id begins or ends so, which is
/// reported. Returns its name too.
pub(crate) async fn with_run<T>(
    client: &Connection,
    name: &str,
    console: &Console,
    mut call: impl AsyncFnMut(&str) -> Result<T, CliError>,
) -> Result<(String, T), CliError> {
    let missing = match exactly(name, &mut call).await? {
        Exactly::Found(answer) => return Ok((name.to_owned(), answer)),
        Exactly::Missing(missing) => missing,
    };
    let found = instead(client, name, missing, console).await?;
    let answer = call(&found).await?;
    Ok((found, answer))
}

/// The name of the only run whose id begins or ends as that of `name`, of which the server says that it is `missing`.
/// Reports which it is.
pub(crate) async fn instead(
    client: &Connection,
    name: &str,
    missing: CliError,
    console: &Console,
) -> Result<String, CliError> {
    let found = only_match(client, name, missing).await?.name;
    console.note(&format!("run {}", clean(names::typed(&found))));
    Ok(found)
}

/// As [`with_run`], for a call that stops or deletes: who did not type the whole id is asked first, and refused where
/// nobody can be asked. `verb` is what is to be done.
pub(crate) async fn with_confirmed_run<T>(
    client: &Connection,
    name: &str,
    verb: &str,
    console: &Console,
    mut call: impl AsyncFnMut(&str) -> Result<T, CliError>,
) -> Result<(String, T), CliError> {
    let missing = match exactly(name, &mut call).await? {
        Exactly::Found(answer) => return Ok((name.to_owned(), answer)),
        Exactly::Missing(missing) => missing,
    };
    let run = only_match(client, name, missing).await?;
    let (typed, whole) = (clean(names::split(name).1), clean(names::typed(&run.name)));
    let question = format!("run `{typed}` not found; did you mean {whole} ({})?", state_name(run.state));
    if !console.can_ask() {
        return Err(CliError::usage(format!(
            "{question} Only on a terminal may an id be shortened to {verb} a run: longshore {verb} {whole}"
        )));
    }
    if !ask(&question, console).await? {
        return Err(CliError::usage(format!("run `{typed}` not found; nothing was changed")));
    }
    let answer = call(&run.name).await?;
    Ok((run.name, answer))
}

/// Whether `name` can be a run's as it is. If not, that it is missing where its id may be the end of one, since that may
/// begin with a digit as no id does.
pub(crate) fn check(name: &str) -> Result<(), CliError> {
    let (namespace, id) = names::split(name);
    if namespace == "-" {
        // In all namespaces there is no exact name, but perhaps one run.
        return Err(CliError::no_run(name));
    }
    let may_be_part = !id.is_empty() && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    match RunId::parse(id) {
        Ok(_) => Ok(()),
        Err(_) if may_be_part => Err(CliError::no_run(name)),
        Err(error) => Err(CliError::usage(format!("RUN: {error}"))),
    }
}

/// What a call with the name as it was typed gave.
enum Exactly<T> {
    Found(T),
    /// There is no such run, in the server's words or in ours.
    Missing(CliError),
}

async fn exactly<T>(
    name: &str,
    call: &mut impl AsyncFnMut(&str) -> Result<T, CliError>,
) -> Result<Exactly<T>, CliError> {
    let answer = async {
        check(name)?;
        call(name).await
    };
    match answer.await {
        Ok(answer) => Ok(Exactly::Found(answer)),
        Err(error) if error.is_run_not_found() => Ok(Exactly::Missing(error)),
        Err(error) => Err(error),
    }
}

/// The only run whose id begins or ends so; `missing` if there is none.
async fn only_match(client: &Connection, name: &str, missing: CliError) -> Result<pb::Run, CliError> {
    let (namespace, part) = names::split(name);
    let request = pb::ListRunsRequest {
        parent: names::parent(namespace),
        page_size: LOOKED_THROUGH,
        view: pb::RunView::Basic.into(),
        ..Default::default()
    };
    // Who may not list learns no more than that there is no such run.
    let Ok(answer) = client.list(request).await else { return Err(missing) };
    let is_all = answer.next_page_token.is_empty();
    let mut matching = matching(answer.runs, part);
    match (matching.pop(), matching.is_empty()) {
        (None, _) => Err(missing),
        (Some(run), true) => Ok(run),
        (Some(last), false) => {
            matching.push(last);
            Err(several(part, &matching, is_all))
        }
    }
}

/// Those of `runs` whose id is, begins or ends as `part`: only the first if it is the whole id.
fn matching(runs: Vec<pb::Run>, part: &str) -> Vec<pb::Run> {
    let id = |run: &pb::Run| names::split(&run.name).1.to_owned();
    let whole = runs.iter().position(|run| id(run) == part);
    match whole {
        Some(index) => runs.into_iter().skip(index).take(1).collect(),
        None => runs.into_iter().filter(|run| id(run).starts_with(part) || id(run).ends_with(part)).collect(),
    }
}

fn several(part: &str, runs: &[pb::Run], is_all: bool) -> CliError {
    let mut text = format!(
        "the ids of {} runs begin or end with `{}`; give more of the one that is meant:",
        runs.len(),
        clean(part)
    );
    for run in runs.iter().take(LISTED) {
        text.push_str(&format!("\n  {}  {}", clean(names::typed(&run.name)), state_name(run.state)));
    }
    if runs.len() > LISTED || !is_all {
        text.push_str("\n  … and more: longshore ls");
    }
    CliError::Usage(text)
}

/// Asks on the terminal. Anything but a yes is a no.
pub(crate) async fn ask(question: &str, console: &Console) -> Result<bool, CliError> {
    console.prompt(&format!("{question} [y/N] "));
    let answer = task::blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = answer.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(ids: &[&str]) -> Vec<pb::Run> {
        let run = |id: &&str| pb::Run { name: format!("namespaces/default/runs/{id}"), ..Default::default() };
        ids.iter().map(run).collect()
    }

    #[test]
    fn ids_are_found_by_their_start_or_end() {
        let found = |part: &str| -> Vec<String> {
            let there = runs(&["u-06abc7q", "u-06abd8r", "nightly", "nightly-2"]);
            matching(there, part).iter().map(|run| names::typed(&run.name).to_owned()).collect()
        };
        assert_eq!(found("7q"), ["u-06abc7q"]);
        assert_eq!(found("u-06abd"), ["u-06abd8r"]);
        assert_eq!(found("u-06"), ["u-06abc7q", "u-06abd8r"]);
        assert_eq!(found("nightly"), ["nightly"], "the whole id of one, and the start of another");
        assert_eq!(found("06ab"), Vec::<String>::new(), "the middle is neither");
    }

    #[test]
    fn several_are_listed_up_to_a_bound() {
        let many: Vec<String> = (0..15).map(|n| format!("a-{n}")).collect();
        let there = runs(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let text = several("a", &there, true).explain().unwrap();
        assert!(text.starts_with("the ids of 15 runs begin or end with `a`"), "{text}");
        assert!(text.contains("\n  a-0  ") && !text.contains("a-10") && text.ends_with("longshore ls"), "{text}");
    }
}
