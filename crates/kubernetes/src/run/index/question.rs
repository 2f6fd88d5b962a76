//! What the watches can't show, and what is said to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use crate::api::names::HOLD_FINALIZER;

/// What the watches can't show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IndexQuestion {
    /// Whether the input Secret of the run with this uid is there: the kubelet misses something.
    Input { namespace: Arc<str>, uid: String, secret: String },
    /// Whether a Job that has ended, that with this uid, has a Pod of which nothing was reported yet: the
    /// watch of the Pods may lag behind that of the Jobs.
    Pods { namespace: Arc<str>, uid: String },
    /// Whether there are Jobs of ours that lack their labels: somebody may have taken them away while nobody watched.
    Stripped { namespace: Arc<str> },
    /// Whether a Job that left the watch is gone, or somebody took its labels away; and what it left
    /// behind.
    Left(Box<LeftJob>),
    /// Whether a further attempt's Job has no run any more; then it is let go.
    Leftover { namespace: Arc<str>, leftover: Leftover },
}

/// A Job of a further attempt whose run is gone, or may be, and that nobody else lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    /// Name of the anchor that its run has or had.
    pub(crate) anchor: Arc<str>,
    /// Its own name.
    pub(crate) job: String,
    pub(crate) uid: String,
}

impl Leftover {
    /// `is_orphan`: it has no owner that takes it along. `None`: it goes by itself.
    pub(super) fn of(job: &Job, uid: &str, anchor: &Arc<str>, is_orphan: bool) -> Option<Self> {
        let held = job.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == HOLD_FINALIZER);
        // `longshore release` lets Jobs that still run outlive their run, with a clock of their own.
        let has_clock = job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_some());
        let name = job.metadata.name.clone().filter(|_| held || (is_orphan && !has_clock))?;
        Some(Self { anchor: Arc::clone(anchor), job: name, uid: uid.to_owned() })
    }
}

/// A Job that left the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftJob {
    pub(crate) namespace: Arc<str>,
    pub(crate) job: Arc<str>,
    pub(crate) uid: String,
    /// The labels of ours that it had.
    pub(crate) labels: BTreeMap<String, String>,
    /// Names of the Secrets that are made for it.
    pub(crate) secrets: Vec<String>,
}

/// What is said to a [`IndexQuestion`].
#[derive(Debug)]
pub(crate) enum IndexAnswer {
    Input {
        namespace: Arc<str>,
        uid: String,
        there: bool,
    },
    Pods {
        namespace: Arc<str>,
        uid: String,
        pods: Vec<Pod>,
    },
    Left {
        namespace: Arc<str>,
        uid: String,
        there: bool,
    },
    /// What is done about the Jobs in question the watch reports.
    Done,
}
