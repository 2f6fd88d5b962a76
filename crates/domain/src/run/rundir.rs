//! What a run's directory holds on the local backend: names of files, and their shapes.
//!
//! The daemon (backend `local`) and the shim share nothing else. A file is there whole or not at
//! all: each is written under another name and then renamed or linked.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::facts::Submission;
use crate::name::RunName;

/// The environment variable of a shim that names the limit of open files that the program starts with. It does not
/// reach the program.
pub const OPEN_FILES: &str = "LONGSHORE_OPEN_FILES";

/// [`StoredRun`].
pub const SPEC: &str = "spec";
/// The input's bytes, if there is one.
pub const INPUT: &str = "input";
/// Directory of the files, if there are any.
pub const FILES: &str = "files";
/// What the program writes as its result.
pub const RESULT: &str = "result";
/// Working directory of a program without a sandbox.
pub const WORK: &str = "work";
/// The output, in the CRI log format.
pub const LOG: &str = "log";
/// Held (`flock`) by the shim as long as it lives.
pub const LOCK: &str = "shim.lock";
/// What the shim itself had to complain about.
pub const SHIM_ERRORS: &str = "shim.err";
/// [`ProcessIdentity`] of the shim.
pub const SHIM: &str = "shim.json";
/// [`Started`]; written before the program is started, so that it never starts twice.
pub const STARTED: &str = "started";
/// [`Child`].
pub const CHILD: &str = "child.json";
/// There once the program is to be ended.
pub const END: &str = "end";
/// [`Exit`].
pub const EXIT: &str = "exit.json";
/// [`Admitted`]; there if the run had to wait.
pub const ADMITTED: &str = "admitted";
/// [`crate::run::view::StopIntent`].
pub const STOP: &str = "stop";
/// [`super::record::Record`].
pub const RECORD: &str = "record";
/// The result, if it is too large for the record.
pub const STORED_RESULT: &str = "result.json";
/// [`Released`].
pub const RELEASED: &str = "released";

/// [`PresentAttempt`]; there from the second attempt on.
pub const ATTEMPT: &str = "attempt";
/// What is of one attempt: put away before the next one begins. The lock stays, since it is held meanwhile.
pub const OF_ATTEMPT: [&str; 9] = [LOG, RESULT, SHIM, SHIM_ERRORS, CHILD, ADMITTED, END, STARTED, EXIT];

/// The file of an attempt's [`super::retry::AttemptRecord`].
#[must_use]
pub fn settled(number: u32) -> String {
    format!("attempt-{number}.json")
}

/// The directory of an attempt that was put away.
#[must_use]
pub fn put_away(number: u32) -> String {
    format!("attempt-{number}")
}

/// What of the other files is needed of a run of which nothing changes any more, in one. It may be missing:
/// then they are read, and it is made from them.
pub const SUMMARY: &str = "summary";

/// Version of [`StoredRun`] that is written.
pub const SPEC_VERSION: u32 = 1;

/// Largest result file that is read, in bytes; the same as a termination message of Kubernetes.
pub const RESULT_MAX_BYTES: usize = 4096;

/// Size of a result file, in bytes, beyond which it is cut back to what is read of it.
pub const RESULT_FILE_MAX_BYTES: u64 = 1 << 20;

/// A run as it was created. Never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRun {
    /// Version of this shape.
    pub version: u32,
    /// Identity over time.
    pub uid: String,
    /// Its name.
    pub name: RunName,
    /// What was submitted.
    #[serde(deserialize_with = "submission")]
    pub submission: Submission,
    /// What the shim does.
    pub execution: Execution,
}

/// What of a [`StoredRun`] is needed by those that do not execute it. Read from the same file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct KeptRun {
    /// See [`StoredRun::version`].
    pub version: u32,
    /// See [`StoredRun::uid`].
    pub uid: String,
    /// See [`StoredRun::name`].
    pub name: RunName,
    /// See [`StoredRun::submission`].
    #[serde(deserialize_with = "submission")]
    pub submission: Submission,
}

/// A submission, also as it was written before [`EffectiveSpec`](super::spec::EffectiveSpec) had the shape of a spec:
/// directories outlive the server that made them.
fn submission<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Submission, D::Error> {
    let mut value = Value::deserialize(deserializer)?;
    if let Some(effective) = value.get_mut("effective").and_then(Value::as_object_mut)
        && !effective.contains_key("security")
    {
        nest(effective);
    }
    serde_json::from_value(value).map_err(D::Error::custom)
}

/// Puts user, groups and what is said of the result where they belong.
fn nest(effective: &mut Map<String, Value>) {
    let mut take = |flat: &str| effective.shift_remove(flat).unwrap_or(Value::Null);
    let security: Map<_, _> =
        ["run_as_user", "run_as_group", "fs_group", "read_only_root_filesystem", "runtime_class_name"]
            .map(|name| (name.to_owned(), take(name)))
            .into_iter()
            .collect();
    let result: Map<_, _> = [("mode", "result_mode"), ("scan", "result_scan"), ("dialect", "result_dialect")]
        .map(|(name, flat)| (name.to_owned(), take(flat)))
        .into_iter()
        .collect();
    effective.insert("security".to_owned(), Value::Object(security));
    effective.insert("result".to_owned(), Value::Object(result));
    if effective.get("tmp_size").is_some_and(Value::is_null) {
        effective.insert("tmp_size".to_owned(), Value::from("0"));
    }
}

/// Which attempt the files of the directory are of, from the second on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentAttempt {
    /// From 2.
    pub number: u32,
    /// When it was begun.
    pub time: Timestamp,
}

/// What the shim does: all that depends on the machine is decided when the run is created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// The sandbox program and its options, apart from the environment and `--`. `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Vec<String>>,
    /// Whether the sandbox filters the program's system calls.
    #[serde(default)]
    pub filter: bool,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Name of a variable that gets the input as its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_env: Option<String>,
    /// Whether the input is given on standard input.
    #[serde(default)]
    pub input_stdin: bool,
    /// What was found wrong with the program as the run was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<StartFault>,
    /// How large the log may become, in bytes. What comes after is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_max_bytes: Option<u64>,
    /// How many processes and threads the program and what it starts may have. Where the server is root these are all
    /// of the program's user, those of other runs too. Only in a sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_processes: Option<u64>,
    /// From the program's start.
    pub run_timeout: Duration,
    /// Between SIGTERM and SIGKILL.
    pub termination_grace: Duration,
    /// User and group of the program, where the server is root and the program is not: its streams
    /// are made theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
}

impl Execution {
    /// Whether [`ENTER`] comes before the program. It does not in runs that an older version created.
    #[must_use]
    pub fn is_entered(&self) -> bool {
        self.sandbox.is_some() && self.argv.iter().any(|word| word == ENTER)
    }
}

/// This executable as sandboxes have it: `longshore enter` gives the program its environment and its limits. Nothing can
/// be mounted over it.
pub const ENTER: &str = "/run/longshore/longshore-enter";

/// Variable with the number of the file from which `longshore enter` reads the environment of the program.
pub const ENVIRONMENT: &str = "LONGSHORE_ENVIRONMENT";

/// Variable with the number of processes and threads that `longshore enter` lets the program and what it starts have.
pub const MAX_PROCESSES: &str = "LONGSHORE_MAX_PROCESSES";

/// Variable that has `longshore enter` try out first, with a limit of [`TRIED_PROCESSES`], how many threads it can have:
/// it prints `threads N`.
pub const TRY_PROCESSES: &str = "LONGSHORE_TRY_PROCESSES";

/// See [`TRY_PROCESSES`].
pub const TRIED_PROCESSES: u64 = 8;

/// Options of the sandbox beside [`Execution::sandbox`]: where it reports, where it reads the programs of the filter of
/// system calls, and the whole environment of what it executes.
pub fn sandbox_options<'a>(
    status_fd: &str,
    filter_fds: &[String],
    env: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
) -> Vec<OsString> {
    let mut list: Vec<OsString> = ["--json-status-fd", status_fd].map(OsString::from).to_vec();
    for fd in filter_fds {
        list.extend(["--add-seccomp-fd", fd].map(OsString::from));
    }
    list.push("--clearenv".into());
    for (name, value) in env {
        list.extend([OsStr::new("--setenv"), name, value].map(OsStr::to_owned));
    }
    list
}

/// Why a program can't be started, in words that say what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFault {
    /// What is wrong and the way out, in a sentence without its full stop.
    pub message: String,
    /// Whether it is not even tried. Else this explains a start that failed.
    pub certain: bool,
}

/// Identity of a process of this machine, over pid reuse and reboots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: i32,
    /// Start time, in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When it began, for people.
    pub time: Timestamp,
}

/// What the shim has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The program, or its sandbox.
    #[serde(flatten)]
    pub process: ProcessIdentity,
    /// Whether the program itself is executed: until then the run only starts, and may fail to.
    pub executed: bool,
}

/// That the program was, or was about to be, started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// When.
    pub time: Timestamp,
}

/// That the run has waited for its turn, and may be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Since when.
    pub time: Timestamp,
}

/// How the run's process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// In one word.
    pub reason: ExitReason,
    /// Exit code, 128 + signal if a signal ended it. Meaningless for [`ExitReason::NotStarted`].
    pub exit_code: i32,
    /// Signal that ended it, where it is known apart from the exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What was written to the result file; for [`ExitReason::StartError`] what went wrong.
    #[serde(default, with = "crate::notation::base64", skip_serializing_if = "Vec::is_empty")]
    pub message: Vec<u8>,
    /// Size of the log in bytes. A shorter log has lost its end.
    #[serde(default)]
    pub log_bytes: u64,
    /// Why output is missing from the log, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_error: Option<String>,
}

impl Exit {
    /// The end of a run whose program was never started.
    #[must_use]
    pub fn not_started(finished_at: Timestamp) -> Self {
        Self {
            reason: ExitReason::NotStarted,
            exit_code: 0,
            signal: None,
            started_at: None,
            finished_at,
            message: Vec::new(),
            log_bytes: 0,
            log_error: None,
        }
    }
}

/// How a program ended, in Kubernetes' words where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// Exit code 0.
    Completed,
    /// Any other end.
    Error,
    /// It was ended, or had ended meanwhile, because its time was up.
    DeadlineExceeded,
    /// It could not be started.
    StartError,
    /// It was to end before it was started.
    NotStarted,
}

/// That nothing more is to be done for the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// When the directory may go, by the wall clock as it was then. It does not go before.
    pub expire_time: Timestamp,
    /// The same by the clock of retention, which has to have come there, too.
    pub kept_until: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::spec::{EffectiveResultRule, EffectiveSecurity, OneDialect, ResultMode, ResultScan};

    #[test]
    fn a_submission_is_read_as_it_was_written_before_its_parts_were_nested() {
        let flat = r#"{"version":1,"uid":"u","name":{"namespace":"default","run":"a"},"submission":{
            "spec":{"workload":{"runner":{"profile":"sh"}}},
            "effective":{"workload":{"runner":{"profile":"sh"}},"env":[],"resources":{},"run_as_user":1000,
                "run_as_group":1001,"fs_group":1002,"read_only_root_filesystem":false,"runtime_class_name":null,
                "start_timeout":{"secs":300,"nanos":0},"run_timeout":{"secs":60,"nanos":0},
                "termination_grace":{"secs":10,"nanos":0},"retention":{"secs":60,"nanos":0},"volumes":[],
                "network_mode":"none","placement":{},"labels":{},"annotations":{},"result_mode":"required",
                "result_scan":"last_object","result_dialect":"python_literal","tmp_size":null},
            "digest":{"sha256":"","fields":{}},"create_time":"2026-11-30T00:00:00Z","submitter":"alice",
            "result_marker":"m"}}"#;
        let run: KeptRun = serde_json::from_str(flat).unwrap();
        let effective = &run.submission.effective;
        let security = EffectiveSecurity {
            run_as_user: 1000,
            run_as_group: 1001,
            fs_group: 1002,
            read_only_root_filesystem: false,
            runtime_class_name: None,
        };
        let result = EffectiveResultRule {
            mode: ResultMode::Required,
            scan: ResultScan::LastObject,
            dialect: Some(OneDialect::PythonLiteral),
        };
        assert_eq!((&effective.security, &effective.result, &effective.tmp_size), (&security, &result, &None));
        // As it is written now.
        let now = serde_json::json!({
            "version": 1, "uid": "u", "name": run.name, "submission": run.submission,
        });
        assert_eq!(serde_json::from_value::<KeptRun>(now).unwrap(), run);
        let without = flat.replace("\"run_as_group\":1001,", "");
        assert!(serde_json::from_str::<KeptRun>(&without).is_err(), "nothing is made up");
    }
}
