//! `longshore demo`, as somebody would see it who tries Longshore for the first time.

use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::daemon::longshore;
use crate::support::wait::within;

fn text(output: &Output) -> (String, String) {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (utf8(&output.stdout), utf8(&output.stderr))
}

#[tokio::test]
async fn the_demo_shows_a_result_and_whose_fault_a_failure_is() {
    let demo = longshore(["demo"]).output();
    let output = within("the demo to end", demo).await.unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("│ category"), "no table:\n{out}");
    assert!(out.contains("Who has to act: USER\n"), "{out}");
    assert!(out.contains("What happened:  RUNNER_REPORTED\n"), "{out}");
    let sentences = format!("{out}{err}").matches("SQL_EXECUTION_ERROR: no such column: categroy").count();
    assert_eq!(sentences, 1, "what is wrong stands once:\n{out}\n{err}");
    assert!(!out.contains("LONGSHORE-RESULT-"), "a marker is nothing for people:\n{out}");
}

#[tokio::test]
async fn with_keep_it_prints_three_commands_and_stays_until_it_is_interrupted() {
    let mut command = longshore(["demo", "--keep"]);
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut commands = Vec::new();
    within("the last command", async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let is_command =
                ["  grpcurl ", "  longshore run ", "  longshore proto "].iter().any(|c| line.starts_with(c));
            commands.extend(is_command.then(|| line.clone()));
            if line.starts_with("print(runs.ListRuns(") {
                return;
            }
        }
        panic!("it ended by itself: {commands:#?}");
    })
    .await;
    assert_eq!(commands.len(), 3, "{commands:#?}");

    let address = commands[1].split_whitespace().skip_while(|word| *word != "--server").nth(1).unwrap();
    let ls = longshore(["--server", address, "ls", "-o", "json"]).output();
    let (out, err) = text(&within("the runs", ls).await.unwrap());
    assert!(out.contains("runs/demo-revenue") && out.contains("runs/demo-typo"), "{out}\n{err}");

    let pid = demo.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = within("the demo to end", demo.wait()).await.unwrap();
    assert!(status.success(), "{status}");
}
