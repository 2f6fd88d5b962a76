//! The executable as a client of a real daemon on the local backend: which run is meant, what is printed of it, and how
//! wrong arguments are explained.

use std::path::Path;
use std::process::Output;

use longshore::proto::v1::{ErrorReason, ListRunsRequest, RunSpec, SubmitRunRequest};
use tonic::Code;

use crate::fixture::{Local, script};
use crate::support::client::{Client, submit_request};
use crate::support::daemon::{LONGSHORE, longshore};
use crate::support::errors::assert_error;
use crate::support::wait::within;

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let printed = Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
        assert!(!printed.err.contains("panicked"), "{printed:?}");
        printed
    }
}

pub(crate) async fn ask(local: &Local, arguments: &[&str]) -> Printed {
    let server = local.daemon.address().to_string();
    let arguments = [&["--server", &server], arguments].concat();
    within("the command to end", longshore(arguments).output()).await.unwrap().into()
}

/// The same with a terminal of its own, on which this is typed.
pub(crate) async fn ask_on_terminal(local: &Local, arguments: &[&str], typed: &str) -> Printed {
    let server = local.daemon.address().to_string();
    let words: Vec<String> =
        [&[LONGSHORE, "--server", &server], arguments].concat().iter().map(|word| format!("{word:?}")).collect();
    let spawn = format!("import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn([{}])))", words.join(", "));
    let mut command = tokio::process::Command::new("python3");
    command.args(["-c", &spawn]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command.env("TERM", "xterm").kill_on_drop(true);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, typed.as_bytes()).await.unwrap();
    // Held open: an end of the input would be the terminal's.
    let output = within("the command to end", child.wait_with_output()).await.unwrap();
    drop(stdin);
    output.into()
}

#[tokio::test]
async fn a_program_does_not_control_the_terminal() {
    let local = Local::start().await;
    let client = local.client().await;
    // A title (OSC), a colour, a C1 and one that turns the text around.
    let text = r"printf '\033]0;title\007\033[31mred\033[0m\302\233x\342\200\256y\n'";
    submit(&client, "nasty", script(text)).await;
    client.wait_terminal("namespaces/default/runs/nasty").await;
    let raw = "\u{1b}]0;title\u{7}\u{1b}[31mred\u{1b}[0m\u{9b}x\u{202e}y";
    let safe = "\\u001b]0;title\\u0007\u{1b}[31mred\u{1b}[0m\\u009bx\\u202ey";
    assert_eq!(ask(&local, &["logs", "nasty"]).await.out.trim_end(), raw, "a pipe gets all");
    assert_eq!(ask_on_terminal(&local, &["logs", "nasty"], "").await.out.trim_end(), safe);
    assert_eq!(ask_on_terminal(&local, &["logs", "--raw", "nasty"], "").await.out.trim_end(), raw);
    let json = ask_on_terminal(&local, &["logs", "-o", "json", "nasty"], "").await.out;
    assert!(!json.contains(['\u{9b}', '\u{202e}', '\u{1b}']), "{json:?}");
    for line in json.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

async fn submit(client: &Client, id: &str, spec: RunSpec) {
    let request = SubmitRunRequest { run_id: id.to_owned(), ..submit_request(spec) };
    client.try_submit(request).await.unwrap();
}

fn name(id: &str) -> String {
    format!("namespaces/default/runs/{id}")
}

#[tokio::test]
async fn an_id_may_be_shortened_where_only_one_run_is_meant() {
    let local = Local::start().await;
    let client = local.client().await;
    for id in ["nightly-alpha", "nightly-beta", "weekly-9x"] {
        submit(&client, id, script("echo $SCRIPT")).await;
        client.wait_settled(&name(id)).await;
    }
    let printed = ask(&local, &["get", "-o", "json", "nightly-a"]).await;
    assert_eq!((printed.code, printed.err.as_str()), (Some(0), "run nightly-alpha\n"), "{printed:?}");
    assert!(printed.out.contains("runs/nightly-alpha\""), "{printed:?}");
    let printed = ask(&local, &["logs", "9x"]).await;
    assert_eq!(
        (printed.code, printed.out.as_str(), printed.err.as_str()),
        (Some(0), "echo $SCRIPT\n", "run weekly-9x\n")
    );
    let printed = ask(&local, &["wait", "namespaces/default/runs/beta"]).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert!(printed.err.contains("run nightly-beta: SUCCEEDED"), "{printed:?}");

    let several = ask(&local, &["get", "nightly"]).await;
    assert_eq!(several.code, Some(125));
    assert!(several.err.contains("nightly-alpha") && several.err.contains("nightly-beta"), "{several:?}");
    for missing in ["gone", "7q"] {
        let none = ask(&local, &["get", missing]).await;
        assert!(none.code == Some(125) && none.err.contains(missing), "{none:?}");
    }
    let wrong = ask(&local, &["get", "Nightly_A"]).await;
    assert!(wrong.err.contains("RUN: `Nightly_A` is not a valid run id"), "{wrong:?}");
}

#[tokio::test]
async fn what_stops_or_deletes_takes_whole_ids_or_asks() {
    let local = Local::start().await;
    let client = local.client().await;
    submit(&client, "nightly-alpha", script("gate never")).await;
    for verb in ["cancel", "stop"] {
        let refused = ask(&local, &[verb, "nightly"]).await;
        assert_eq!(refused.code, Some(125), "{refused:?}");
        assert!(refused.err.contains("did you mean nightly-alpha ("), "{refused:?}");
        assert!(refused.err.contains("longshore cancel nightly-alpha"), "{refused:?}");
    }
    let no = ask_on_terminal(&local, &["cancel", "nightly"], "\n").await;
    assert_eq!(no.code, Some(125), "{no:?}");
    assert!(
        no.out.contains("run `nightly` not found; did you mean nightly-alpha (") && no.out.contains("[y/N]"),
        "{no:?}"
    );
    assert!(client.get(&name("nightly-alpha")).await.stop.is_none(), "a bare return is a no");

    let yes = ask_on_terminal(&local, &["cancel", "--wait", "nightly"], "y\n").await;
    assert!(yes.code == Some(0) && yes.out.contains("CANCELLED"), "{yes:?}");

    let refused = ask(&local, &["rm", "nightly"]).await;
    assert!(refused.code == Some(125) && refused.err.contains("longshore rm nightly-alpha"), "{refused:?}");
    let fine = ask(&local, &["rm", "-f", "nightly"]).await;
    assert_eq!(fine.code, Some(0), "with -f ids are whole, and this one is gone: {fine:?}");
    client.get(&name("nightly-alpha")).await;
    let yes = ask_on_terminal(&local, &["delete", "alpha"], "yes\n").await;
    assert_eq!(yes.code, Some(0), "{yes:?}");
    assert_error(
        &client.try_get(&name("nightly-alpha")).await.unwrap_err(),
        Code::NotFound,
        ErrorReason::ResourceNotFound,
    );
}

#[tokio::test]
async fn generated_ids_are_short_and_the_last_line_names_the_run() {
    let local = Local::start().await;
    let printed = ask(&local, &["run", "--runner", "sh", "-e", "SCRIPT=echo out"]).await;
    assert_eq!((printed.code, printed.out.as_str()), (Some(0), "out\n"), "{printed:?}");
    let last = printed.err.lines().last().unwrap();
    let id = last.strip_prefix("run ").unwrap().split(':').next().unwrap();
    assert!(id.len() == 18 && id.starts_with("u-") && last.contains(": SUCCEEDED in "), "{last}");
    assert_eq!(ask(&local, &["logs", &id[10..]]).await.out, "out\n", "by its end");

    let own = ask(&local, &["run", "-d", "--request-id", "a key", "--runner", "sh", "-e", "SCRIPT=exit 3"]).await;
    assert!(own.out.starts_with("namespaces/default/runs/q-"), "{own:?}");
    let failed = ask(&local, &["wait", own.out.trim()]).await;
    assert!(failed.code == Some(3) && failed.err.lines().last().unwrap().starts_with("run q-"), "{failed:?}");

    // The server's own are the same kind, and sort by their time.
    let client = local.client().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let run = client.try_submit(submit_request(script("exit 0"))).await.unwrap().run.unwrap();
        ids.push(run.name.rsplit('/').next().unwrap().to_owned());
        client.wait_settled(&run.name).await;
    }
    assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 18 && id.starts_with("u-")), "{ids:?}");
}

#[tokio::test]
async fn only_a_terminal_gets_colours() {
    let local = Local::start().await;
    let run = ["run", "--runner", "sh", "-e", "SCRIPT=exit 0"];
    assert!(ask_on_terminal(&local, &run, "").await.out.contains("\x1b[32mSUCCEEDED\x1b[0m"));
    assert!(!ask(&local, &run).await.err.contains('\x1b'));
}

#[tokio::test]
async fn the_time_to_wait_may_be_none_and_the_answer_is_true_all_the_same() {
    let mut local = Local::start().await;
    let client = local.client().await;
    submit(&client, "over", script("exit 3")).await;
    client.wait_settled(&name("over")).await;
    submit(&client, "live", script("gate go")).await;
    let wait = async |local: &Local, id: &str| ask(local, &["wait", "--timeout", "0s", id]).await;
    let over = wait(&local, "over").await;
    assert!(over.code == Some(3) && over.err.contains("run over: FAILED"), "{over:?}");
    let live = wait(&local, "live").await;
    assert!(live.code == Some(124) && live.err.contains("run live is not over yet"), "{live:?}");
    let gone = wait(&local, "gone").await;
    assert!(gone.code == Some(125) && !gone.err.contains("not over yet"), "{gone:?}");
    local.open("go");
    client.wait_terminal(&name("live")).await;
    let address = local.daemon.address().to_string();
    local.daemon.kill().await;
    let words = ["--server", &address, "wait", "--timeout", "0s", "over"];
    let unknown: Printed = within("the command to end", longshore(words).output()).await.unwrap().into();
    assert!(unknown.code == Some(125) && unknown.err.contains("no Longshore server"), "{unknown:?}");
}

#[tokio::test]
async fn a_tail_that_is_cut_says_so() {
    let local = Local::start().await;
    let client = local.client().await;
    submit(&client, "long", script("seq -f '%050.0f' 250000")).await;
    client.wait_settled(&name("long")).await;
    let cut = ask(&local, &["logs", "--tail", "240000", "long"]).await;
    assert!(cut.out.lines().count() < 240_000 && cut.err.contains("240000 lines were asked for"), "{}", cut.err);
    let whole = ask(&local, &["logs", "--tail", "3", "long"]).await;
    assert_eq!((whole.out.lines().count(), whole.err.as_str()), (3, ""));
}

#[tokio::test]
async fn a_tail_counts_the_lines_that_are_printed() {
    let local = Local::start().await;
    let client = local.client().await;
    let text =
        r#"printf 'one\ntwo\nthree\n%s{"n":1}\n%s{"n":2}\n' "$LONGSHORE_RESULT_MARKER" "$LONGSHORE_RESULT_MARKER""#;
    let mut spec = script(text);
    spec.result = crate::support::spec::result_rule(
        longshore::proto::v1::ResultMode::Optional,
        longshore::proto::v1::ResultScan::Off,
    );
    submit(&client, "marked", spec).await;
    client.wait_settled(&name("marked")).await;
    assert_eq!(ask(&local, &["logs", "--tail", "2", "marked"]).await.out, "two\nthree\n");
    assert_eq!(ask(&local, &["logs", "-f", "--tail", "1", "marked"]).await.out, "three\n");
    let all = ask(&local, &["logs", "--results", "--tail", "2", "marked"]).await.out;
    assert!(all.lines().count() == 2 && all.lines().all(|line| line.starts_with("LONGSHORE-RESULT-")), "{all}");
    assert_eq!(ask(&local, &["logs", "--limit-bytes", "14", "marked"]).await.out, "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_log_without_output_says_why() {
    let local = Local::start().await;
    let client = local.client().await;
    let logs = async |id: &str, more: &[&str]| ask(&local, &[&["logs", id], more].concat()).await;

    submit(&client, "silent", script("exit 0")).await;
    client.wait_settled(&name("silent")).await;
    let printed = logs("silent", &[]).await;
    assert_eq!((printed.code, printed.out.as_str()), (Some(0), ""));
    assert_eq!(printed.err, "run silent printed nothing (SUCCEEDED)\n");

    submit(&client, "live", script("mark there; gate go")).await;
    local.marked("there").await;
    let printed = logs("live", &[]).await;
    assert_eq!(
        (printed.code, printed.err.as_str()),
        (Some(0), "run live has printed nothing so far (RUNNING); -f waits for its output\n")
    );
    local.open("go");

    submit(&client, "lost", script("echo gone")).await;
    client.wait_settled(&name("lost")).await;
    local.lose_output(&name("lost")).await;
    let printed = logs("lost", &[]).await;
    assert_eq!((printed.code, printed.out.as_str()), (Some(0), ""));
    assert!(!printed.err.is_empty() && !printed.err.contains("printed nothing"), "what is gone was there: {printed:?}");
}

#[tokio::test]
async fn errors_name_the_argument_that_was_typed() {
    let local = Local::start().await;
    let run = ["run", "--runner", "sh"];
    for (arguments, wanted) in [
        (&["--timeout", "99999h"][..], "--timeout 99999h: is longer than this server allows: at most 7d"),
        (&["--run-timeout", "99999h"], "--run-timeout 99999h: "),
        (&["--grace", "1d"], "--grace 1d: "),
        (&["-e", "1A=secret"], "--env 1A: "),
        (&["--memory", "lots"], "--memory: `lots`"),
        (&["--user", "0"], "--user: 0 is root"),
        (&["-l", "a b=c"], "--label a b: "),
        (&["--id", "Nope"], "--id: `Nope` is not a valid run id"),
        (&["--id", "u-mine"], "--id: `u-mine` cannot be chosen"),
        (&["--network", "egress"], "--network"),
    ] {
        let printed = ask(&local, &[&run, arguments].concat()).await;
        assert_eq!((printed.code, printed.out.as_str()), (Some(125), ""), "{arguments:?}: {printed:?}");
        assert!(printed.err.contains(wanted), "{arguments:?}: {printed:?}");
        assert!(!printed.err.contains("spec.") && !printed.err.contains("secret\n"), "{arguments:?}: {printed:?}");
    }
    let both = ask(&local, &[&run[..], &["--timeout", "9999h", "--grace", "9h"]].concat()).await;
    assert!(both.err.contains("2 fields are wrong\n"), "{both:?}");
    let selector = ask(&local, &["ls", "-l", "a in b"]).await;
    assert!(selector.code == Some(125) && selector.err.contains("--selector: "), "{selector:?}");
    let mut runs = local.client().await.runs.clone();
    let request = ListRunsRequest { parent: "namespaces/default".into(), ..Default::default() };
    let listed = runs.list_runs(request).await.unwrap().into_inner().runs;
    assert!(listed.is_empty(), "nothing was submitted");
}

#[tokio::test]
async fn no_value_is_refused_in_the_words_of_a_parser() {
    let bad = ["x", "", "-1", "1e9", "99999999999999999999999", "NaN", "ü"];
    let flags = [
        (&["logs", "a"][..], &["--tail", "--limit-bytes", "--attempt", "--since"][..]),
        (&["ls"], &["--limit", "--since", "--state", "--connect-timeout"]),
        (
            &["run", "--runner", "sql"],
            &[
                "--timeout",
                "--start-timeout",
                "--grace",
                "--retention",
                "--result-rule",
                "--result-scan",
                "--label",
                "--limit",
            ],
        ),
        (&["run", "--runner", "sql"], &["--user", "--network"]),
        (&["wait", "a"], &["--timeout"]),
        (&["serve"], &["--listen", "--backend"]),
        (&["demo"], &["--listen"]),
        (&["result", "a"], &["--max-bytes", "--dialect"]),
        (&["token", "create", "a"], &["--expires"]),
        (&["get", "a"], &["--output", "--server", "--namespace"]),
    ];
    let rust = [
        "digit",
        "ParseInt",
        "socket address",
        "invalid float",
        "InvalidDigit",
        "cannot parse",
        "Err(",
        "utf-8 sequence",
        "out of range integral",
    ];
    for (verb, flags) in flags {
        for flag in flags {
            for value in bad {
                // Some of these are fine for some flags; then nothing is listening.
                let typed = format!("{flag}={value}");
                let arguments = [verb, &[typed.as_str()], &["--server", "127.0.0.1:1"]].concat();
                let with_server = !matches!(verb[0], "serve" | "demo" | "result" | "token") && *flag != "--server";
                if !with_server && value == "-1" && *flag == "--expires" {
                    continue;
                }
                let arguments = if with_server { &arguments[..] } else { &arguments[..arguments.len() - 2] };
                let printed: Printed =
                    within("the command to end", longshore(arguments).output()).await.unwrap().into();
                assert_eq!(printed.code, Some(125), "{arguments:?}: {printed:?}");
                let found = rust.iter().find(|word| printed.err.to_lowercase().contains(&word.to_lowercase()));
                assert_eq!(found, None, "{arguments:?}: {printed:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_empty_variable_is_an_unset_one() {
    let local = Local::start().await;
    let dir = tempfile::tempdir().unwrap();
    let server = local.daemon.address().to_string();
    let mut command = longshore(["ls", "--server", &server]);
    for name in [
        "LONGSHORE_SERVER",
        "LONGSHORE_NAMESPACE",
        "LONGSHORE_CONNECT_TIMEOUT",
        "LONGSHORE_CA_FILE",
        "LONGSHORE_SERVER_NAME",
        "LONGSHORE_TOKEN_FILE",
        "LONGSHORE_TOKEN",
        "LONGSHORE_CLIENT_CERT",
        "LONGSHORE_CLIENT_KEY",
        "LONGSHORE_INSECURE_PLAINTEXT",
    ] {
        command.env(name, "");
    }
    let printed: Printed = within("the list", command.output()).await.unwrap().into();
    assert_eq!((printed.code, printed.err.as_str()), (Some(0), "no runs\n"), "{printed:?}");

    let mut command = longshore(["ls", "--server", &server]);
    let printed: Printed =
        within("the list", command.env("LONGSHORE_CONNECT_TIMEOUT", "soon").output()).await.unwrap().into();
    assert_eq!(printed.code, Some(125), "{printed:?}");
    assert!(printed.err.contains("comes from the variable LONGSHORE_CONNECT_TIMEOUT"), "{printed:?}");

    // The daemon gets as far as its state directory, whose path is a file's.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = longshore(["serve", "--backend", "local", "--listen", "127.0.0.1:0", "--admin-listen", "off"]);
    command.arg("--state-dir").arg(Path::new(&file).join("below"));
    for name in [
        "LONGSHORE_CONFIG",
        "LONGSHORE_KUBECONFIG",
        "LONGSHORE_CONTEXT",
        "LONGSHORE_INSTANCE",
        "LONGSHORE_LISTEN",
        "LONGSHORE_ADMIN_LISTEN",
        "LONGSHORE_HEALTH_LISTEN",
        "LONGSHORE_BACKEND",
        "LONGSHORE_STATE_DIR",
        "LONGSHORE_INSECURE_NO_AUTH",
        "LONGSHORE_INSECURE_PLAINTEXT",
        "LONGSHORE_LOG_FORMAT",
        "RUST_LOG",
        "NO_COLOR",
    ] {
        command.env(name, "");
    }
    let printed: Printed = within("the daemon to end", command.output()).await.unwrap().into();
    assert_eq!(printed.code, Some(125), "{printed:?}");
    assert!(printed.err.contains(&file.display().to_string()), "{printed:?}");
}

#[tokio::test]
async fn other_systems_names_of_the_verbs_work_and_hidden_verbs_stay_hidden() {
    let local = Local::start().await;
    let client = local.client().await;
    submit(&client, "a", script("exit 0")).await;
    client.wait_settled(&name("a")).await;
    for list in ["ps", "list"] {
        assert!(ask(&local, &[list]).await.out.contains("SUCCEEDED"), "{list}");
    }
    for get in ["describe", "status"] {
        assert!(ask(&local, &[get, "a"]).await.out.contains("SUCCEEDED"), "{get}");
    }
    assert_eq!(ask(&local, &["submit", "--runner", "sh", "-e", "SCRIPT=echo x"]).await.out, "x\n");
    assert_eq!(ask(&local, &["delete", "a"]).await.code, Some(0));
    assert_eq!(ask(&local, &["version"]).await.out, format!("longshore {}\n", env!("CARGO_PKG_VERSION")));

    let help = ask(&local, &["help"]).await.out;
    assert!(help.contains("[alias: delete]") && !help.contains("shim"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let script = ask(&local, &["completion", shell]).await.out;
        assert!(script.contains("cancel") && !script.contains("shim") && !script.contains("canary-pod"), "{shell}");
    }
    for typo in ["runer", "sim", "shi", "remove"] {
        let printed = ask(&local, &[typo]).await;
        assert_eq!(printed.code, Some(125));
        assert!(
            !["'shim'", "'runner'", "'release'", "'rm'"].iter().any(|verb| printed.err.contains(verb)),
            "{printed:?}"
        );
    }
}
