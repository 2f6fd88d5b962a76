//! What a caller asks for ([`RunSpec`]), and what is applied ([`EffectiveSpec`]).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use longshore_reader::{OneDialect, ResultScan};
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::failure::FailureReason;

/// What a caller asked for, as received. Everything that is unset stays unset: defaults are
/// applied by [`super::resolve`].
///
/// Serialised without input, files and secrets: those live in the run's own objects only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSpec {
    /// What is executed. `None` is a violation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Environment, in the order given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Environment whose values are never shown.
    #[serde(skip)]
    pub secret_env: BTreeMap<String, Secret>,
    /// Input of the program.
    #[serde(skip)]
    pub input: Option<Input>,
    /// Files for the program.
    #[serde(skip)]
    pub files: Vec<File>,
    /// Compute resources.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// User, groups and isolation.
    #[serde(skip_serializing_if = "Security::is_empty")]
    pub security: Security,
    /// From submit until unsuspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Duration>,
    /// From then (or from creation) until `run` started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<Duration>,
    /// From `run`'s start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace: Option<Duration>,
    /// Further attempts after failures of the program's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<i32>,
    /// Further attempts after failures of the infrastructure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infra_retries: Option<i32>,
    /// How long the run is kept once terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// Mounts of configured volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeMount>,
    /// What the program may reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<NetworkMode>,
    /// Where it may be scheduled.
    #[serde(skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
    /// The queue that it waits in, of those that the server has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_name: Option<String>,
    /// The caller's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The caller's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is expected as a result.
    #[serde(skip_serializing_if = "ResultRule::is_empty")]
    pub result: ResultRule,
    /// Size of `/tmp`, a quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmp_size: Option<String>,
    /// Which failures of the program `max_retries` is for.
    #[serde(skip_serializing_if = "RetryOn::is_empty")]
    pub retry_on: RetryOn,
    /// From submit until the run ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Duration>,
}

impl RunSpec {
    /// Bytes of what is kept of it in objects of its own.
    #[must_use]
    pub fn content(&self) -> ContentBytes {
        ContentBytes {
            input: self.input.as_ref().map_or(0, |input| input.as_bytes().len()),
            files: self.files.iter().map(|file| file.content.len()).sum(),
            secret_env: self.secret_env.values().map(|secret| secret.0.len()).sum(),
        }
    }

    /// Name of the runner profile, if it is one that runs.
    #[must_use]
    pub fn profile(&self) -> Option<&str> {
        match &self.workload {
            Some(Workload::Runner { profile }) => Some(profile),
            _ => None,
        }
    }
}

/// Bytes of a run's content, which is not stored with its spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentBytes {
    /// Of the input.
    pub input: usize,
    /// Of all files.
    pub files: usize,
    /// Of the values of `secret_env`.
    pub secret_env: usize,
}

impl ContentBytes {
    /// All together.
    #[must_use]
    pub fn total(self) -> usize {
        self.input + self.files + self.secret_env
    }
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// A program in an image that the caller names.
    Container(ContainerWorkload),
    /// A runner that the operator configured.
    Runner {
        /// Name of the profile.
        profile: String,
    },
}

/// A program in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerWorkload {
    /// Image reference.
    pub image: String,
    /// Entrypoint; empty: the image's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments; empty: the image's, if `command` is empty too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Absolute; `None`: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// C identifier.
    pub name: String,
    /// Where its value comes from.
    #[serde(flatten)]
    pub source: EnvSource,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvSource {
    /// The value itself.
    Value(String),
    /// A key of a Kubernetes Secret.
    SecretKeyRef {
        /// Name of the Secret.
        name: String,
        /// Key in it.
        key: String,
    },
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Input of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A JSON document, delivered byte for byte.
    Json(String),
    /// Any bytes.
    Raw(Vec<u8>),
}

impl Input {
    /// The bytes to deliver.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.as_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }
}

/// A file below `$LONGSHORE_FILES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative path.
    pub path: String,
    /// Permission bits; `None`: 0444.
    pub mode: Option<u32>,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Permission bits of a [`File`] that names none.
pub const DEFAULT_FILE_MODE: u32 = 0o444;

/// Compute resources by resource name, in quantity notation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What is reserved.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, String>,
    /// What may be used.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
}

impl Resources {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}

/// User, groups and isolation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Numeric user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// Numeric group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<i64>,
    /// Group of mounted volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// Whether the root file system is read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// Name of a RuntimeClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
}

impl Security {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the program may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum NetworkMode {
    /// Nothing.
    None,
    /// DNS and public addresses.
    Egress,
    /// EGRESS plus Pods and Services.
    Cluster,
}

impl NetworkMode {
    /// All of them, from the closed to the open.
    pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;

    /// The value of the Pod's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Where a Pod may be scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// Node labels that must match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Name of a PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
}

impl Placement {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A toleration; empty strings are unset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Toleration {
    /// Taint key.
    pub key: String,
    /// `Equal` or `Exists`.
    pub match_operator: String,
    /// Taint value.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule`, `NoExecute`.
    pub effect: String,
}

/// Mounts a configured volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeMount {
    /// Name in the server's configuration.
    pub volume: String,
    /// Absolute path.
    pub mount_path: String,
    /// `None`: as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// What is expected as a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResultRule {
    /// Whether one is looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ResultMode>,
    /// Whether the output is searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan: Option<ResultScan>,
    /// The one dialect that is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<OneDialect>,
}

impl ResultRule {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which failures of a program are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryOn {
    /// Reasons; empty: [`RetryOn::DEFAULT_REASONS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<FailureReason>,
    /// With a reason that comes with an exit code of the program's own: only these, 1 to 255. Empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exit_codes: Vec<i32>,
}

impl RetryOn {
    /// Reasons that may be listed: what a program or its result did, and limits that another attempt may keep.
    pub const REASONS: [FailureReason; 9] = [
        FailureReason::NonzeroExit,
        FailureReason::Signalled,
        FailureReason::OomKilled,
        FailureReason::RunDeadline,
        FailureReason::EphemeralStorage,
        FailureReason::RunnerReported,
        FailureReason::ResultMissing,
        FailureReason::ResultInvalid,
        FailureReason::ResultUnavailable,
    ];
    /// What an empty list of reasons stands for.
    pub const DEFAULT_REASONS: [FailureReason; 2] = [FailureReason::NonzeroExit, FailureReason::Signalled];

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a failure of this reason and exit code is tried again.
    #[must_use]
    pub fn covers(&self, reason: FailureReason, exit_code: Option<i32>) -> bool {
        let reasons = if self.reasons.is_empty() { &Self::DEFAULT_REASONS[..] } else { &self.reasons };
        let has_code =
            matches!(reason, FailureReason::NonzeroExit | FailureReason::Signalled | FailureReason::RunnerReported);
        let is_listed = || exit_code.is_some_and(|code| self.exit_codes.contains(&code));
        reasons.contains(&reason) && (!has_code || self.exit_codes.is_empty() || is_listed())
    }
}

/// Whether a result is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ResultMode {
    /// Not looked for.
    None,
    /// Looked for; never changes the outcome.
    Optional,
    /// A run that exits 0 without a usable object fails.
    Required,
}

/// What is applied: nothing is unset that has a meaning. In the shape of [`RunSpec`] and with its serde names, so that
/// each is read as the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectiveSpec {
    /// What is executed.
    pub workload: Workload,
    /// Environment, each name once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Requests and limits, always with cpu, memory and ephemeral-storage; empty on a backend that
    /// enforces none.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// User, groups and isolation.
    pub security: EffectiveSecurity,
    /// From creation until `run` started; whole seconds, at least 1.
    pub start_timeout: Duration,
    /// From `run`'s start; whole seconds, at least 1.
    pub run_timeout: Duration,
    /// Between SIGTERM and SIGKILL; whole seconds.
    pub termination_grace: Duration,
    /// How long the run is kept once terminal; whole seconds.
    pub retention: Duration,
    /// Mounts of configured volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeMount>,
    /// What the program may reach.
    pub network_mode: NetworkMode,
    /// Where it may be scheduled.
    #[serde(default, skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
    /// The caller's labels over the profile's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The caller's annotations over the profile's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is expected as a result.
    pub result: EffectiveResultRule,
    /// Size of `/tmp`, a quantity; `None`, which is written as zero: there is none.
    #[serde(with = "none_as_zero")]
    pub tmp_size: Option<String>,
    /// Further attempts after failures of the program's own, at most 20.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_retries: u32,
    /// Further attempts after failures of the infrastructure, at most 20.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub infra_retries: u32,
    /// Which failures of the program `max_retries` is for.
    #[serde(default, skip_serializing_if = "RetryOn::is_empty")]
    pub retry_on: RetryOn,
    /// From submit until the run ends; whole seconds, at least 1. `None`: as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Duration>,
    /// The queue that each attempt waits in. `None`: the backend's own, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_name: Option<String>,
}

impl EffectiveSpec {
    /// Whether further attempts may be made.
    #[must_use]
    pub fn may_be_repeated(&self) -> bool {
        self.max_retries > 0 || self.infra_retries > 0
    }

    /// A spec that says nothing: an image without a name, no user, no time.
    pub(crate) fn empty() -> Self {
        Self {
            workload: Workload::Container(ContainerWorkload::default()),
            env: Vec::new(),
            resources: Resources::default(),
            security: EffectiveSecurity {
                run_as_user: 0,
                run_as_group: 0,
                fs_group: 0,
                read_only_root_filesystem: true,
                runtime_class_name: None,
            },
            start_timeout: Duration::ZERO,
            run_timeout: Duration::ZERO,
            termination_grace: Duration::ZERO,
            retention: Duration::ZERO,
            volumes: Vec::new(),
            network_mode: NetworkMode::None,
            placement: Placement::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            result: EffectiveResultRule { mode: ResultMode::None, scan: ResultScan::Off, dialect: None },
            tmp_size: None,
            max_retries: 0,
            infra_retries: 0,
            retry_on: RetryOn::default(),
            total_timeout: None,
            queue_name: None,
        }
    }

    /// The same as a spec that asks for it.
    ///
    /// # Errors
    /// Never, while both have one shape.
    pub fn to_spec(&self) -> Result<RunSpec, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(self)?)
    }
}

/// [`Security`] as applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveSecurity {
    /// Numeric user, 1 to 2147483647.
    pub run_as_user: i64,
    /// Numeric group, 1 to 2147483647.
    pub run_as_group: i64,
    /// Group of mounted volumes, 1 to 2147483647.
    pub fs_group: i64,
    /// Whether the root file system is read-only.
    pub read_only_root_filesystem: bool,
    /// Name of a RuntimeClass; `None`: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
}

/// [`ResultRule`] as applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveResultRule {
    /// Whether one is looked for.
    pub mode: ResultMode,
    /// Whether the output is searched.
    pub scan: ResultScan,
    /// The one dialect that is read; `None`: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<OneDialect>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A quantity of which there is none, written as zero.
mod none_as_zero {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::notation::quantity::Quantity;

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(size: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(size.as_deref().unwrap_or("0"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        let size = String::deserialize(deserializer)?;
        Ok(Some(size).filter(|size| !Quantity::parse(size).is_ok_and(Quantity::is_zero)))
    }
}
