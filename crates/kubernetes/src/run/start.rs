//! The note of an attempt's first start. A queue may suspend the Job and let it go on while no daemon looks; then another
//! Pod of the same Job starts, and nothing else says that it is not the first.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde::{Deserialize, Serialize};

use crate::api::job;
use crate::api::names::annotation;

/// The first start of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartNote {
    /// Uid of the Pod.
    pub(crate) uid: String,
    /// When its program started.
    pub(crate) start_time: Option<Timestamp>,
}

impl StartNote {
    /// That of this Job, if it has one that can be read.
    pub(crate) fn of(job: &Job) -> Option<Self> {
        serde_json::from_str(job::annotation(job, annotation::START)?).ok()
    }
}
