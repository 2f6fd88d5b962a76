//! Every name that Longshore gives to, or expects of, objects in Kubernetes: one place.

use longshore_domain::name::RunId;
use longshore_domain::run::digest::PayloadDigest;

/// Our container; only it decides how a run ended.
pub use longshore_domain::log::RUN_CONTAINER;

/// Our hold on the Job: it stays until the record is durable.
pub const HOLD_FINALIZER: &str = "longshore.dev/record";

/// Condition of the Job that reports the recorded outcome.
pub const RECORDED_CONDITION: &str = "longshore.dev/Recorded";

/// Labels.
pub mod label {
    /// What all labels of ours begin with, but the one that every tool knows.
    pub const PREFIX: &str = "longshore.dev/";
    /// Who made the object; the value is [`MANAGED_BY_VALUE`].
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The value of [`MANAGED_BY`].
    pub const MANAGED_BY_VALUE: &str = "longshore";
    /// Which installation made it; every selector of ours has it.
    pub const INSTANCE: &str = "longshore.dev/instance";
    /// What the name of every Job of a run begins with, before the number of its attempt, from 2, `-` and the bare run id.
    pub const JOB_PREFIX: &str = "run";
    /// The bare run id.
    pub const RUN: &str = "longshore.dev/run";
    /// Number of the attempt, from 1.
    pub const ATTEMPT: &str = "longshore.dev/attempt";
    /// The network mode, which NetworkPolicies select.
    pub const NETWORK: &str = "longshore.dev/network";
    /// On Pods of `longshore doctor --canary`, which are not runs: what it is to find out.
    pub const CANARY: &str = "longshore.dev/canary";
    /// What an operator sets to `true` on a Secret that runs may name.
    pub const ALLOW_RUNS: &str = "longshore.dev/allow-runs";
    /// Name of the LocalQueue that a Job waits in, by Kueue: on the Job alone, since its Pods are not queued by themselves.
    pub const QUEUE: &str = "kueue.x-k8s.io/queue-name";
    /// Set by the Job controller on a Pod: uid of its Job. Names may be used again, uids never.
    pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
}

/// Annotations.
pub mod annotation {
    /// What all annotations of ours begin with.
    pub const PREFIX: &str = "longshore.dev/";
    /// Digests of the payload, as JSON.
    pub const DIGEST: &str = "longshore.dev/payload-digest";
    /// What was asked for and what was applied, without input, files and secrets.
    pub const SPEC: &str = "longshore.dev/spec";
    /// When the run was submitted: RFC 3339 at µs.
    pub const CREATE_TIME: &str = "longshore.dev/create-time";
    /// Who submitted it.
    pub const SUBMITTER: &str = "longshore.dev/submitter";
    /// The stop intent, as JSON.
    pub const STOP: &str = "longshore.dev/stop";
    /// The terminal record, as JSON.
    pub const RECORD: &str = "longshore.dev/record";
    /// What the annotations begin with that say how attempts ended after which another follows, before the number.
    pub const ATTEMPT_PREFIX: &str = "longshore.dev/attempt-";
    /// `$LONGSHORE_RESULT_MARKER` of the run.
    pub const MARKER: &str = "longshore.dev/result-marker";
    /// When the run may be deleted: RFC 3339. Written as the hold goes.
    pub const EXPIRE: &str = "longshore.dev/expire-time";
    /// When a replay took the run over whose input may not be written yet: RFC 3339. From then on nobody takes it back.
    pub const ADOPTED: &str = "longshore.dev/adopted";
    /// Which Pod of an attempt's Job started first, and when, of a run in a queue, as JSON.
    pub const START: &str = "longshore.dev/start";
    /// When it was seen that the Job was suspended while its program ran: RFC 3339. Written as it is closed for that.
    pub const PREEMPTED: &str = "longshore.dev/preempted";
    /// Name of the input Secret; absent if the run has none.
    pub const INPUT: &str = "longshore.dev/input";
    /// Which run of which batch it is, as JSON; absent if it was submitted alone.
    pub const BATCH: &str = "longshore.dev/batch-item";
    /// Keeps the cluster autoscaler from evicting the Pod when set to `false`.
    pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    /// Keeps Karpenter from disrupting the Pod's node when set to `true`.
    pub const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

    /// How attempt `number` ended, after which another follows: its record, as JSON.
    #[must_use]
    pub fn attempt(number: u32) -> String {
        format!("{ATTEMPT_PREFIX}{number}")
    }
}

/// Environment variables of every run.
pub mod variable {
    /// The bare run id.
    pub const RUN: &str = "LONGSHORE_RUN";
    /// Number of the attempt, from 1.
    pub const ATTEMPT: &str = "LONGSHORE_ATTEMPT";
    /// Which run of its batch it is, from 0; unset if it was submitted alone.
    pub const INDEX: &str = "LONGSHORE_INDEX";
    /// How many runs its batch has; unset if it was submitted alone.
    pub const COUNT: &str = "LONGSHORE_COUNT";
    /// Path of the result file.
    pub const RESULT: &str = "LONGSHORE_RESULT";
    /// What a marked line begins with; unset if no result is looked for.
    pub const RESULT_MARKER: &str = "LONGSHORE_RESULT_MARKER";
    /// Path of the input; unset if there is none or it is delivered otherwise.
    pub const INPUT: &str = "LONGSHORE_INPUT";
    /// The home directory.
    pub const HOME: &str = "HOME";
    /// Path of the directory of files; unset if there are none.
    pub const FILES: &str = "LONGSHORE_FILES";
}

/// Paths in the container.
pub mod path {
    /// The result file: the kubelet mounts it by itself, so it is writable under a read-only root.
    pub const RESULT: &str = "/dev/termination-log";
    /// Where the input Secret is mounted.
    pub const MOUNT: &str = "/longshore";
    /// The input.
    pub const INPUT: &str = "/longshore/input";
    /// The files. The directory is a symbolic link, as everything at the top of a mounted Secret;
    /// the slash makes tools such as `find` follow it.
    pub const FILES: &str = "/longshore/files/";
    /// Scratch space.
    pub const TMP: &str = "/tmp";
}

/// Keys and paths inside the input Secret.
pub mod secret {
    /// Key of the input, and its path below the mount.
    pub const INPUT_KEY: &str = "input";
    /// Directory of the files below the mount.
    pub const FILES_DIR: &str = "files";

    /// Key of the file at `index`.
    #[must_use]
    pub fn file_key(index: usize) -> String {
        format!("f{index}")
    }
}

/// Name of the Secret with input and files: `run-<id>-input-<16 hex digits of the digest>`.
///
/// A replay finds the Secret of its first try by it, and another payload can't be taken for it.
/// Secret values are not part of the digest, and a run may be deleted and submitted again: a Secret
/// of this name belongs to a Job only if its owner reference has that Job's uid.
#[must_use]
pub fn input_secret_name(run: &RunId, digest: &PayloadDigest) -> String {
    let short: String = digest.sha256.chars().take(16).collect();
    format!("run-{run}-input-{short}")
}

/// Name of the Secret with a result that is too large for the record: `run-<id>-result`.
#[must_use]
pub fn result_secret_name(run: &RunId) -> String {
    format!("run-{run}-result")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_fit_and_never_meet() {
        let digest = PayloadDigest { sha256: "0123456789abcdef".repeat(4), ..PayloadDigest::default() };
        let longest = RunId::parse(&"a".repeat(longshore_domain::name::RUN_ID_MAX)).unwrap();
        assert!(input_secret_name(&longest, &digest).len() <= 253);
        let runs = ["a", "a-result", "a-input-0123456789abcdef", "a-input"];
        let runs = runs.map(|id| RunId::parse(id).unwrap());
        let names = runs.iter().flat_map(|run| [input_secret_name(run, &digest), result_secret_name(run)]);
        let distinct: std::collections::BTreeSet<String> = names.collect();
        assert_eq!(distinct.len(), 2 * runs.len(), "{distinct:?}");
    }
}
