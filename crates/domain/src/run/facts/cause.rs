//! Why something is so, by kind: what a backend's own words come down to.
//!
//! The kinds decide. The words beside them (`reason`, `message`, `detail`) are shown to people, and nothing is read from
//! them; a backend turns what its system says into a kind, once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a container, or a process, is not there any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndCause {
    /// It exited, or a signal ended it.
    #[default]
    Exited,
    /// A process in it used more memory than its limit and was killed.
    OutOfMemory,
    /// The runtime could not start the container.
    NotStarted,
    /// The process could not be executed: of a run that has no image.
    NotExecuted,
    /// It is gone, and how it ended is not known: the exit code beside it is made up.
    Unknown,
}

/// Why something has not started yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What that comes down to.
    pub cause: WaitCause,
    /// What the words are about.
    pub mentions: Mentions,
    /// The backend's word for it.
    pub reason: String,
    /// The backend's sentence.
    pub message: String,
    /// Since when, or when last.
    pub time: Option<Timestamp>,
}

/// What stands in the way of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WaitCause {
    /// Nothing: the ordinary course.
    Ordinary,
    /// The image can't be pulled, and is tried again.
    ImagePull,
    /// The registry does not answer.
    RegistryUnavailable,
    /// An image that was pulled can't be inspected.
    ImageInspection,
    /// The image must not be pulled, and is not there.
    ImageAbsent,
    /// The image's name is not a valid one.
    ImageName,
    /// The container can't be made of the image.
    Container,
    /// Neither the image nor the run says what to execute.
    NoCommand,
    /// Something that the container's configuration names is missing or wrong.
    ContainerConfig {
        /// Whether it is the run's own input that is not found.
        own_input: bool,
    },
    /// Something that a volume is made of is not found.
    VolumeSource {
        /// Whether it is the run's own input.
        own_input: bool,
    },
    /// A volume can't be attached or mounted.
    Volume,
    /// The memory limit is too small for the container to be set up.
    MemoryLimit,
    /// The node can't set the run up, or clean up what was there before it.
    Node,
    /// A persistent volume claim is not found.
    VolumeClaim,
    /// No node fits.
    Unschedulable,
    /// A quota is used up.
    Quota,
    /// The control plane, or an admission webhook, did not do its part: nobody refused the run.
    ControlPlane,
    /// A container that runs before the program has failed.
    InitContainer,
    /// Something is missing that the cluster's operator has to make.
    ClusterSetup,
    /// An admission rule refused it.
    AdmissionDenied,
    /// Refused as invalid, or for a reason that is not known.
    Refused,
    /// Nothing that is known.
    Other,
}

/// What words are about, as far as that decides who has to act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mentions {
    /// That something is refused for good, and not only for now; of an image, that waiting does not
    /// help.
    pub refusal: bool,
    /// A Secret.
    pub secret: bool,
    /// A volume, or a claim for one.
    pub volume: bool,
}

/// What the platform, or somebody outside Longshore, did to an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// What that comes down to.
    pub cause: PlatformCause,
    /// The backend's word for it.
    pub reason: String,
    /// The backend's sentence.
    pub message: String,
    /// When.
    pub time: Option<Timestamp>,
}

/// What a platform does to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PlatformCause {
    /// Its deadline passed.
    Deadline,
    /// Ended for its node's sake, or because it exceeded a limit of its own.
    Evicted,
    /// Refused by its node for the node's sake, perhaps after it ran there.
    EvictedByRefusal,
    /// Refused by its node.
    Refused,
    /// Its node is lost.
    NodeLost,
    /// Its node was shut down.
    NodeShutdown,
    /// It made room for something of higher priority.
    Preempted,
    /// Its Job was suspended while its program ran.
    Suspended,
    /// Cleaned up, since its node is no more.
    Orphaned,
    /// Nothing that is known.
    Other,
}

/// Why a Job ended that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobEndCause {
    /// Its Pod was disrupted.
    Disruption,
    /// Its deadline passed.
    Deadline,
    /// Its Pod failed.
    PodFailed,
    /// Nothing that is known, or it is complete.
    Other,
}
