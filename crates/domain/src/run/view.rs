//! A run as it is reported to callers: derived from facts, never stored by itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strum::{IntoStaticStr, VariantArray};

use super::failure::Failure;
use super::spec::{EffectiveSpec, RunSpec};
use crate::name::RunName;
use crate::result::ResultInfo;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Its resource name.
    pub name: RunName,
    /// Identity over time.
    pub uid: String,
    /// What was asked for, without input, files and secrets.
    pub spec: Arc<RunSpec>,
    /// What was applied.
    pub effective: Arc<EffectiveSpec>,
    /// Where it stands.
    pub state: RunState,
    /// While not running: why, in the backend's own word.
    pub waiting_reason: Option<String>,
    /// One sentence about the present state. No part of the [etag](Self::etag): it has the time spent waiting.
    #[serde(skip)]
    pub message: String,
    /// When each step was reached.
    pub timeline: Timeline,
    /// The attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Why it did not succeed; in state `Failed` only.
    pub failure: Option<Failure>,
    /// The result; `None` if the rule is NONE.
    pub result: Option<ResultInfo>,
    /// Exit code of the last attempt's program.
    pub exit_code: Option<i32>,
    /// The stop that was asked for.
    pub stop: Option<StopIntent>,
    /// Who submitted it.
    pub submitter: String,
    /// SHA-256 over what was submitted, in hex.
    pub payload_digest: String,
    /// When the record may go; `None` while live.
    pub expire_time: Option<Timestamp>,
    /// When its deletion was asked for: it goes as soon as nothing holds it any more.
    pub delete_time: Option<Timestamp>,
    /// While the run waits for its next attempt: when that begins, at the earliest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_time: Option<Timestamp>,
}

impl Run {
    /// A hash of this run, for equality only. It is one of the names and values that stored runs have, too, so that
    /// it stays what it is over an upgrade that changes nothing of the run.
    #[must_use]
    pub fn etag(&self) -> String {
        // Nothing of a run fails to be written as JSON: the keys of its maps are texts.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha256::digest(text);
        data_encoding::HEXLOWER.encode(&digest[..12])
    }
}

/// Where a run stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// Held back by a queue.
    Queued,
    /// No Pod yet, or no node for it.
    Pending,
    /// Pulling, creating.
    Starting,
    /// The program runs.
    Running,
    /// The program has ended; the result or the cause is being settled.
    Finishing,
    /// A stop was asked for and has not ended the program yet.
    Cancelling,
    /// Terminal: fine.
    Succeeded,
    /// Terminal: see the failure.
    Failed,
    /// Terminal: stopped on request.
    Cancelled,
}

impl RunState {
    /// Whether outcome and result are final.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The name on the wire without its prefix: `RUNNING`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// When each step was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Submitted.
    pub create_time: Option<Timestamp>,
    /// Left the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admit_time: Option<Timestamp>,
    /// Got a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_time: Option<Timestamp>,
    /// The program started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// The program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Timestamp>,
    /// The run became terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
}

/// One try at executing a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Uid of the Pod, or identity of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Name of the Job, or the run's directory.
    pub job: String,
    /// Name of the Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Node it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When its Job was created.
    pub create_time: Option<Timestamp>,
    /// When the program started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Timestamp>,
    /// Exit code (128 + signal if a signal ended it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Whether there was a Pod that nobody saw, and nothing says that its program ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
    /// Uids of further Pods of the same Job whose program started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_uids: Vec<String>,
    /// What the cluster said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// Something the cluster said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it said so, or when last.
    pub report_time: Option<Timestamp>,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
    /// How often.
    pub count: u32,
}

/// Longest reason of a stop, in bytes.
pub const STOP_REASON_MAX_BYTES: usize = 1024;

/// A stop that was asked for, written down before anything is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopIntent {
    /// Why.
    pub cause: StopCause,
    /// The words of the caller, at most [`STOP_REASON_MAX_BYTES`].
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// When it was asked for.
    pub request_time: Timestamp,
    /// For a stop that is a failure: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<super::failure::FailureReason>,
    /// Who then has to act, where the reason alone does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<super::failure::FailureClass>,
}

/// Why a stop was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StopCause {
    /// A caller cancelled.
    Cancel,
    /// The objects were deleted from outside.
    External,
    /// The queue clock.
    QueueDeadline,
    /// The start clock.
    StartDeadline,
    /// The run clock.
    RunDeadline,
    /// It can't be started, whatever time is given.
    StartFailure,
    /// The clock over all attempts.
    TotalDeadline,
}

impl StopCause {
    /// Whether the run is then CANCELLED, not FAILED.
    #[must_use]
    pub fn is_cancel(self) -> bool {
        matches!(self, Self::Cancel | Self::External)
    }
}

/// A duration for people: `1h 5m`, `12s`, `340ms`.
#[must_use]
pub fn shown_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, 0) => format!("{}ms", duration.subsec_millis()),
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, 0, _) => format!("{h}h"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::derived;
    use crate::testing::facts;

    /// A client that holds an etag over an upgrade of the server is not refused by it. Who changes this value on purpose
    /// says so in the change log.
    #[test]
    fn an_etag_stays_what_it_is() {
        let run = derived(&facts(), Timestamp::UNIX_EPOCH);
        assert_eq!(run.etag(), "2f5ddb4a73d8d16bf65281fa");
    }

    #[test]
    fn an_etag_changes_with_all_but_the_message() {
        let run = derived(&facts(), Timestamp::UNIX_EPOCH);
        assert_eq!(Run { message: "another".to_owned(), ..run.clone() }.etag(), run.etag());
        let changed = [
            Run { state: RunState::Cancelled, ..run.clone() },
            Run { exit_code: Some(9), ..run.clone() },
            Run { result: Some(ResultInfo::pending()), ..run.clone() },
            Run { delete_time: Some(Timestamp::UNIX_EPOCH), ..run.clone() },
            Run { spec: Arc::new(RunSpec { tmp_size: Some("1".to_owned()), ..(*run.spec).clone() }), ..run.clone() },
        ];
        for other in changed {
            assert_ne!(other.etag(), run.etag(), "{other:?}");
        }
    }
}
