//! Runner profiles, limits and capabilities: what the server's configuration and its backend say.

use std::collections::BTreeMap;
use std::time::Duration;

use super::spec::{Resources, RunSpec, VolumeMount};
use crate::result::RunnerContract;
use crate::result::schema::JsonSchema;

/// A named template in the server's configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Its name: a DNS label.
    pub name: String,
    /// What it does, for people.
    pub description: String,
    /// How the program gets its input.
    pub input: InputDelivery,
    /// Fields of the spec that apply unless overridden; never `workload`, `input` or `files`.
    pub defaults: RunSpec,
    /// Field paths of [`RunSpec`] that a submit may set: `run_timeout`, `resources.limits`, `env`.
    /// Input, files, labels and annotations may always be set.
    pub overridable: Vec<String>,
    /// Keys of the caller's annotations that reach the Pod.
    pub pod_annotations: Vec<String>,
    /// JSON Schema of the input; what breaks it is refused at submit.
    pub input_schema: Option<JsonSchema>,
    /// JSON Schema of the result; an object that breaks it is not reported as a result.
    pub result_schema: Option<JsonSchema>,
    /// Whether the runner says in its result how it went: `status` is `success`, `error` or
    /// `timeout`, and `error` says why (docs/api.md, "What a runner reports").
    pub reports_status: bool,
    /// How it runs on backend `kubernetes`. `None`: not there.
    pub kubernetes: Option<KubernetesProfile>,
    /// How it runs on backend `local`. `None`: not there.
    pub local: Option<LocalProfile>,
    /// Configuration keys that would make it usable where it is not, for the error message:
    /// `profiles.sql.kubernetes.image`.
    pub missing: Option<String>,
}

impl Profile {
    /// What it says of its results.
    #[must_use]
    pub fn runner_contract(&self) -> RunnerContract {
        RunnerContract { schema: self.result_schema.clone(), reports_status: self.reports_status }
    }

    /// Why this profile can't be used on `backend`, naming what to configure; `None` if it can.
    #[must_use]
    pub fn unavailable_on(&self, backend: &str) -> Option<String> {
        let there = if backend == "kubernetes" { self.kubernetes.is_some() } else { self.local.is_some() };
        if there {
            return None;
        }
        let key = match &self.missing {
            Some(key) => key.clone(),
            None => format!("profiles.{}.{backend}", self.name),
        };
        Some(format!(
            "profile `{}` cannot be used on backend {backend}: set `{key}` in the server's configuration",
            self.name
        ))
    }
}

/// How a program gets its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InputDelivery {
    /// As a file, named by `$LONGSHORE_INPUT`.
    #[default]
    File,
    /// In the environment variable of this name.
    Env(String),
    /// On standard input. Local backend only.
    Stdin,
}

/// The `kubernetes` part of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesProfile {
    /// Image reference.
    pub image: String,
    /// Entrypoint; empty: the image's.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Absolute; `None`: the image's.
    pub working_dir: Option<String>,
    /// `Always`, `IfNotPresent` or `Never`; `None`: Kubernetes' default.
    pub image_pull_policy: Option<String>,
    /// Names of Secrets to pull with.
    pub image_pull_secrets: Vec<String>,
    /// Containers that run to their end before the program starts, one after the other.
    pub init: Vec<SideContainer>,
    /// Containers that run beside the program, from before the first of `init` until it has ended.
    pub sidecars: Vec<SideContainer>,
}

impl KubernetesProfile {
    /// The containers beside the program's, in the order in which they start.
    pub fn side_containers(&self) -> impl Iterator<Item = &SideContainer> {
        self.sidecars.iter().chain(&self.init)
    }
}

/// A container beside that of the program, in the same Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideContainer {
    /// Its name: a DNS label, and not `run`.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; `None`: Kubernetes' default.
    pub image_pull_policy: Option<String>,
    /// Entrypoint; empty: the image's.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Requests and limits; of what is left out the server's defaults.
    pub resources: Resources,
    /// Mounts of configured volumes. `/tmp` is the program's, if that has one.
    pub volumes: Vec<VolumeMount>,
}

/// The `local` part of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalProfile {
    /// Program and arguments. `{longshore}` as the program stands for this executable.
    pub command: Vec<String>,
    /// Absolute paths of this machine that the sandbox shows read-only at the same place, beside the
    /// system and the files that `command` names.
    pub mounts: Vec<String>,
}

/// How a program is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// In a container of an image; also what a container workload becomes.
    Container(KubernetesProfile),
    /// As a process of this machine.
    Process(LocalProfile),
}

/// A volume that the operator configured, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Name of a PersistentVolumeClaim in the run's Kubernetes namespace.
    pub persistent_volume_claim: Option<String>,
    /// Name of a ConfigMap there.
    pub config_map: Option<String>,
    /// Directory on this machine, for the local backend.
    pub local_path: Option<String>,
    /// Whether mounts are read-only, and may not be otherwise.
    pub read_only: bool,
}

/// Limits and defaults of every run. Durations in whole seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Input, files and secret_env together, in bytes.
    pub max_input_bytes: usize,
    /// Env, command and args together, in bytes.
    pub max_env_bytes: usize,
    /// One variable with its name, or one argument, in bytes. Linux allows
    /// 131,071 (`MAX_ARG_STRLEN` less the terminator).
    pub max_env_var_bytes: usize,
    /// Serialised spec without input, files and secrets, in bytes.
    pub max_spec_bytes: usize,
    /// The caller's annotations, in bytes.
    pub max_annotations_bytes: usize,
    /// Compact JSON of a result, in bytes.
    pub max_result_bytes: usize,
    /// Runs of one caller that are not over, of all namespaces; 0 is unlimited.
    pub max_live_runs_per_caller: usize,
    /// What `start_timeout` is if unset.
    pub default_start_timeout: Duration,
    /// What it may be.
    pub max_start_timeout: Duration,
    /// What `run_timeout` is if unset.
    pub default_run_timeout: Duration,
    /// What it may be.
    pub max_run_timeout: Duration,
    /// What `termination_grace` is if unset.
    pub default_termination_grace: Duration,
    /// What it may be.
    pub max_termination_grace: Duration,
    /// What `retention` is if unset.
    pub default_retention: Duration,
    /// What it may be.
    pub max_retention: Duration,
    /// Requests that apply if unset, by resource name.
    pub default_requests: BTreeMap<String, String>,
    /// Limits that apply if unset, by resource name: always cpu, memory, ephemeral-storage.
    pub default_limits: BTreeMap<String, String>,
    /// What limits may be at most, by resource name. A name that is not here is not bounded.
    pub max_limits: BTreeMap<String, String>,
    /// Smallest memory limit with which a container can be started here, a quantity.
    pub min_memory: String,
    /// Size of `/tmp` if unset, a quantity.
    pub default_tmp_size: String,
    /// User and group if unset.
    pub default_user: i64,
    /// Lowest user or group that may be asked for, at least 1.
    pub min_user: i64,
    /// Highest user or group that may be asked for, at most 2^31-1.
    pub max_user: i64,
}

impl Default for Limits {
    fn default() -> Self {
        let quantities = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        const HOUR: u64 = 3600;
        Self {
            max_input_bytes: 900 * 1024,
            max_env_bytes: 128 * 1024,
            max_env_var_bytes: 131_071,
            max_spec_bytes: 128 * 1024,
            max_annotations_bytes: 16 * 1024,
            max_result_bytes: 900 * 1024,
            max_live_runs_per_caller: 5000,
            default_start_timeout: Duration::from_secs(300),
            max_start_timeout: Duration::from_secs(24 * HOUR),
            default_run_timeout: Duration::from_secs(HOUR),
            max_run_timeout: Duration::from_secs(7 * 24 * HOUR),
            default_termination_grace: Duration::from_secs(10),
            max_termination_grace: Duration::from_secs(300),
            default_retention: Duration::from_secs(24 * HOUR),
            max_retention: Duration::from_secs(30 * 24 * HOUR),
            default_requests: quantities(&[("cpu", "100m"), ("memory", "128Mi"), ("ephemeral-storage", "64Mi")]),
            default_limits: quantities(&[("cpu", "1"), ("memory", "512Mi"), ("ephemeral-storage", "1Gi")]),
            max_limits: BTreeMap::new(),
            // Below it the runtime itself is killed before the program begins, again and again.
            min_memory: "4Mi".to_owned(),
            default_tmp_size: "64Mi".to_owned(),
            default_user: 65_532,
            min_user: 1,
            max_user: i64::from(i32::MAX),
        }
    }
}

/// What a backend can do; what it can't is refused at submit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `kubernetes` or `local`.
    pub backend: &'static str,
    /// Whether callers may name an image.
    pub container_workload: bool,
    /// Whether stdout and stderr are distinguished.
    pub split_streams: bool,
    /// Whether input can be given on standard input.
    pub stdin_input: bool,
    /// Whether variables can come from a Secret.
    pub secret_key_ref: bool,
    /// Whether node selectors, tolerations, priorities and runtime classes mean something.
    pub placement: bool,
    /// Whether the program runs as the user that is asked for.
    pub user: bool,
    /// Whether cpu and memory limits are enforced.
    pub resource_limits: bool,
    /// Whether the root file system can be made read-only and `/tmp` sized.
    pub root_filesystem: bool,
    /// Network modes that are enforced.
    pub network_modes: Vec<super::spec::NetworkMode>,
    /// Whether named volumes can be mounted.
    pub volumes: bool,
    /// Whether runs wait in a queue, with a clock of its own.
    pub queue: bool,
    /// The queues that runs may name.
    pub queues: Vec<String>,
    /// In one word: `pod`, `bwrap` or `process`.
    pub isolation: &'static str,
    /// What is not enforced, and what would enforce it.
    pub notes: Vec<String>,
}
