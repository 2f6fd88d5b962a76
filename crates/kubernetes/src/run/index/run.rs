//! One run: the Job of its first attempt, which is its anchor, and those of further ones, each with its Pod.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::memory::Memory;
use crate::api::conditions::job::FAILED;
use crate::api::conditions::{has_ended, is_over};
use longshore_domain::name::RunName;

/// One run.
#[derive(Debug)]
pub(super) struct IndexedRun {
    pub(super) name: RunName,
    /// The Job of the first attempt, with which the run is kept.
    pub(super) anchor: IndexedJob,
    /// The Jobs of further attempts that there are or were, oldest first.
    pub(super) further: Vec<IndexedJob>,
    /// Hash of the facts that were reported last.
    pub(super) digest: Option<u64>,
    pub(super) emitted: bool,
    pub(super) queued: bool,
    pub(super) unreadable: bool,
    pub(super) input_asked: bool,
}

impl IndexedRun {
    pub(super) fn new(name: RunName, anchor: IndexedJob) -> Self {
        Self {
            name,
            anchor,
            further: Vec::new(),
            digest: None,
            emitted: false,
            queued: false,
            unreadable: false,
            input_asked: false,
        }
    }

    /// The Jobs of all attempts.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &IndexedJob> {
        std::iter::once(&self.anchor).chain(&self.further)
    }

    pub(super) fn jobs_mut(&mut self) -> impl Iterator<Item = &mut IndexedJob> {
        std::iter::once(&mut self.anchor).chain(&mut self.further)
    }

    pub(super) fn job(&self, number: u32) -> Option<&IndexedJob> {
        self.jobs().find(|job| job.number == number)
    }

    pub(super) fn job_mut(&mut self, number: u32) -> Option<&mut IndexedJob> {
        self.jobs_mut().find(|job| job.number == number)
    }
}

/// The Job of one attempt.
#[derive(Debug)]
pub(super) struct IndexedJob {
    /// The attempt's, from 1.
    pub(super) number: u32,
    /// Name of the Job.
    pub(super) key: Arc<str>,
    pub(super) uid: String,
    pub(super) job: Box<Job>,
    pub(super) pod: Option<Box<Pod>>,
    /// Whether it is certain that a Pod of which nothing was reported is not there.
    pub(super) absence_known: bool,
    pub(super) absence_asked: bool,
    /// Whether it left the watch, and it is not known yet why.
    pub(super) left: bool,
    /// Whether it is no more. Without its anchor nothing is kept of a run.
    pub(super) gone: bool,
    /// Uids of the Job and of every Pod that it had.
    pub(super) uids: Vec<String>,
    /// Number of the list that had it last.
    pub(super) job_list: u64,
    /// Number of the list that had its Pod last.
    pub(super) pod_list: u64,
}

impl IndexedJob {
    pub(super) fn new(
        number: u32,
        key: Arc<str>,
        uid: String,
        job: Box<Job>,
        (job_list, pod_list): (u64, u64),
    ) -> Self {
        Self {
            number,
            key,
            uids: vec![uid.clone()],
            uid,
            job,
            pod: None,
            absence_known: false,
            absence_asked: false,
            left: false,
            gone: false,
            job_list,
            pod_list,
        }
    }

    /// Takes over what was reported of it; whether that is another.
    pub(super) fn renew(&mut self, job: Box<Job>, job_list: u64) -> bool {
        self.job_list = job_list;
        self.left = false;
        self.gone = false;
        if self.job == job {
            return false;
        }
        // The Pod may have come and gone since its absence was known.
        self.absence_known &= has_ended(&self.job) || !has_ended(&job);
        self.job = job;
        true
    }

    /// Keeps the last state of a Job that is gone: it was deleted, at once if nothing said so before, and nothing runs in it
    /// any more.
    pub(super) fn lose(&mut self) {
        let now = Time(Timestamp::now());
        self.left = false;
        self.gone = true;
        if self.job.metadata.deletion_timestamp.is_none() {
            self.job.metadata.deletion_timestamp = Some(now.clone());
            self.job.metadata.deletion_grace_period_seconds = None;
        }
        if !is_over(&self.job) {
            let conditions = self.job.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions.push(JobCondition {
                type_: FAILED.to_owned(),
                status: "True".to_owned(),
                reason: Some(GONE.to_owned()),
                message: Some("the Job was deleted".to_owned()),
                last_transition_time: Some(now),
                last_probe_time: None,
            });
        }
    }

    /// Whether the Job has ended, and its Pod may be there without our knowing of it.
    pub(super) fn pod_may_lag(&self, memory: &Memory) -> bool {
        has_ended(&self.job) && self.pod.is_none() && !self.absence_known && !memory.pod_was_seen(&self.uid)
    }

    pub(super) fn pod_uid(&self) -> Option<&str> {
        self.pod.as_ref()?.metadata.uid.as_deref()
    }
}

/// Reason of the end of a Job that is no more.
const GONE: &str = "JobGone";
