//! `$LONGSHORE_DATA`: the operator's data sets for the SQL runner, by a profile's `env`.

#![allow(clippy::print_stderr, reason = "prints what is skipped")]

use std::ffi::OsString;
use std::path::Path;

use longshore::proto::v1::{GetServerInfoRequest, RunState};
use tempfile::TempDir;

use crate::support::daemon::Daemon;
use crate::support::spec::{json_input, runner};

/// A directory with the data set `colours`.
fn data() -> TempDir {
    let dir = TempDir::with_prefix("longshore-it-data-").unwrap();
    std::fs::create_dir(dir.path().join("colours")).unwrap();
    std::fs::write(dir.path().join("colours/colour.csv"), "name,n\nred,1\nblue,2\n").unwrap();
    dir
}

pub(crate) async fn daemon(dir: &TempDir, config: &str) -> Daemon {
    let path = |name: &str| dir.path().join(name).into_os_string();
    std::fs::write(path("config.toml"), config).unwrap();
    let mut args: Vec<OsString> =
        ["--backend", "local", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--log-format", "json"]
            .map(OsString::from)
            .to_vec();
    args.extend(["--state-dir".into(), path("state"), "--config".into(), path("config.toml")]);
    Daemon::start(args).await
}

fn quoted(path: &Path) -> String {
    toml::Value::from(path.to_str().expect("UTF-8")).to_string()
}

async fn query(daemon: &Daemon) {
    let request = r#"{"dataset": "colours", "sql": "select name from colour where n > 1"}"#;
    let mut spec = runner("sql");
    spec.input = Some(json_input(request));
    let run = daemon.client().ready().await.run(spec).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:#?}");
    let result = run.result.expect("the result");
    assert!(result.json.contains(r#""rows":[["blue"]]"#), "{}", result.json);
}

#[tokio::test]
async fn a_profile_names_the_directory_of_data_sets() {
    let (dir, data) = (TempDir::with_prefix("longshore-it-").unwrap(), data());
    let path = quoted(data.path());
    let config = format!("local.bwrap = \"off\"\n[profiles.sql.defaults]\nenv = {{ LONGSHORE_DATA = {path} }}\n");
    query(&daemon(&dir, &config).await).await;
}

#[tokio::test]
async fn a_sandboxed_run_sees_data_sets_in_a_volume() {
    let (dir, data) = (TempDir::with_prefix("longshore-it-").unwrap(), data());
    let path = quoted(data.path());
    let config = format!(
        "[volumes.datasets]\nlocal_path = {path}\n[profiles.sql.defaults]\nenv = {{ LONGSHORE_DATA = \"/data\" }}\n\
         volumes = [{{ volume = \"datasets\", mount_path = \"/data\" }}]\n"
    );
    let daemon = daemon(&dir, &config).await;
    let mut server = daemon.client().ready().await.server;
    let info = server.get_server_info(GetServerInfoRequest {}).await.unwrap().into_inner();
    let isolation = info.isolation.expect("the isolation");
    if isolation.kind != "bwrap" {
        eprintln!("skipped: {:?}", isolation.notes);
        return;
    }
    query(&daemon).await;
}
