//! What Job, Pod and Events say about a run, in the words of [`longshore_domain::run::facts`].
//! Pure: it reads objects and decides nothing.

mod attempt;
mod event;
mod words;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::Error as _;

use super::identity::{number_of, run_of};
use crate::api::conditions;
use crate::api::conditions::job::SUSPENDED;
use crate::api::job::is_suspended;
use crate::api::names::{HOLD_FINALIZER, annotation, label};
use longshore_domain::name::{NamespaceName, RunId, RunName};
use longshore_domain::run::StopIntent;
use longshore_domain::run::derive::presumed;
use longshore_domain::run::digest::PayloadDigest;
use longshore_domain::run::facts::{AttemptFacts, RunFacts, Submission};
use longshore_domain::run::record::Record;
use longshore_domain::run::retry::AttemptRecord;
use longshore_domain::run::stored;

pub(crate) use words::CONFIG_ERROR;

pub use event::{About, EventFact, Said, Subject, said};

/// Longest text of the cluster's that is kept, in bytes.
const TEXT_MAX_BYTES: usize = 1024;

/// What was seen of one attempt's objects.
///
/// Job and Pod come from two watches that know no order between them. `pod: None` means that the
/// Pod is known not to be there; a caller whose view of the Pods may lag behind that of the Jobs
/// reads the Pod before it says so of a Job that has ended.
#[derive(Clone, Copy, Debug)]
pub struct ObservedObjects<'a> {
    /// The Job.
    pub job: &'a Job,
    /// Its Pod; one of another Job (see [`controller_uid`]) counts as none.
    pub pod: Option<&'a Pod>,
    /// If there is none: the last state of the one that there was, if it was seen.
    pub last_pod: Option<&'a Pod>,
    /// What was said about either, in any order.
    pub events: &'a [EventFact],
    /// Whether the run's input Secret was seen, or written, by us.
    pub input_confirmed: bool,
    /// Whether a Pod of this Job was ever seen.
    pub pod_was_seen: bool,
    /// Name of a Pod that the Job's controller says that it made, and that was never seen.
    pub unseen_pod: Option<&'a str>,
}

/// Why objects can't be read as a run: somebody changed what we wrote.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// Something of ours is missing.
    #[error("Job {job} has no {what} `{key}`")]
    Missing {
        /// Namespace and name.
        job: String,
        /// `label`, `annotation` or `field`.
        what: &'static str,
        /// Which.
        key: &'static str,
    },
    /// Somebody copied it under another name.
    #[error("Job {job} has the labels of Job {expected}, and is not it")]
    Misnamed {
        /// Namespace and name.
        job: String,
        /// The name that goes with its labels.
        expected: String,
    },
    /// How an attempt ended is not written any more, although another has followed it.
    #[error("Job {job} does not say any more how attempt {number} ended")]
    Unsettled {
        /// Namespace and name.
        job: String,
        /// The attempt's.
        number: u32,
    },
    /// Something of ours can't be read.
    #[error("Job {job}: {what} `{key}` can't be read")]
    Corrupt {
        /// Namespace and name.
        job: String,
        /// `label` or `annotation`.
        what: &'static str,
        /// Which.
        key: Cow<'static, str>,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The facts of the run whose anchor is `anchor`, and whose further attempts are `further`, in Longshore's namespace
/// `namespace`. What runs on a node that was silent for `node_lost_after` counts as lost.
///
/// An annotation of ours that is missing or corrupt is reported as damage, and the rest is read.
///
/// # Errors
/// If it can't be known which run this is; the error names the Job and the label.
pub fn run_facts(
    namespace: &NamespaceName,
    anchor: &ObservedObjects<'_>,
    further: &[ObservedObjects<'_>],
    node_lost_after: Duration,
) -> Result<RunFacts, FactsError> {
    let mut job = JobReader { job: anchor.job, damage: Vec::new() };
    let metadata = &anchor.job.metadata;
    let run = match run_of(anchor.job) {
        Some(run) => run,
        None => job.parsed("label", label::RUN, RunId::parse)?,
    };
    let expected = run.job_name(1);
    if metadata.name.as_deref() != Some(expected.as_str()) {
        return Err(FactsError::Misnamed { job: job.shown(), expected });
    }
    let numbered = further.iter().filter_map(|one| Some((number_of(one.job, &run)?, one)));
    let mut numbered: Vec<_> = std::iter::once((1, anchor)).chain(numbered).collect();
    numbered.sort_by_key(|(number, _)| *number);
    let attempts = numbered.iter().map(|(number, one)| attempt::facts(*number, &of_its_job(one), node_lost_after));
    let attempts: Vec<_> = attempts.collect();
    let mut submission = submission(&job).unwrap_or_else(|error| {
        job.damage.push(error);
        let created = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let created = job.parsed("annotation", annotation::CREATE_TIME, str::parse).unwrap_or(created);
        Submission::unreadable(created)
    });
    submission.batch = job.optional(annotation::BATCH, serde_json::from_str);
    let expire_time: Option<Timestamp> = job.optional(annotation::EXPIRE, str::parse);
    let held = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == HOLD_FINALIZER);
    let stop = job.optional(annotation::STOP, serde_json::from_str);
    let stop_mentions = stop.as_ref().map(|stop: &StopIntent| words::mentions(&stop.reason)).unwrap_or_default();
    let record = job.optional(annotation::RECORD, Record::from_json);
    let settled = if record.is_none() { job.settled(&attempts) } else { Vec::new() };
    let mut facts = RunFacts {
        name: RunName { namespace: namespace.clone(), run },
        uid: metadata.uid.clone().ok_or_else(|| job.missing("field", "metadata.uid"))?,
        submission,
        stop,
        stop_mentions,
        record,
        // Without its clock nobody would ever let it go.
        released: !held && expire_time.is_some(),
        suspended: false,
        admitted_at: None,
        damage: job.damage(),
        trouble: None,
        unknown: None,
        settled,
        deleted_at: deletion_asked(metadata),
        expire_time,
        attempts,
        result: None,
        reported: None,
    };
    let present = facts.present().map(|attempt| attempt.number);
    let present = numbered.iter().find(|(number, _)| Some(*number) == present);
    facts.suspended = present.is_some_and(|(_, one)| is_suspended(one.job));
    facts.admitted_at = present.and_then(|(_, one)| admitted_at(one.job));
    Ok(facts)
}

/// Without Pods of another Job.
fn of_its_job<'a>(observed: &ObservedObjects<'a>) -> ObservedObjects<'a> {
    let uid = observed.job.metadata.uid.as_deref();
    let is_its = |pod: &&Pod| controller_uid(pod).is_some() && controller_uid(pod) == uid;
    ObservedObjects { pod: observed.pod.filter(is_its), last_pod: observed.last_pod.filter(is_its), ..*observed }
}

/// When a queue let it go.
fn admitted_at(job: &Job) -> Option<Timestamp> {
    let condition = conditions::stated(job, SUSPENDED).filter(|condition| condition.status == "False")?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether the program of this Pod ever ran.
#[must_use]
pub fn has_started(pod: &Pod) -> bool {
    attempt::has_started(pod)
}

/// Uid of the Job that `pod` was made for.
#[must_use]
pub fn controller_uid(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(label::CONTROLLER_UID).map(String::as_str)
}

fn submission(job: &JobReader<'_>) -> Result<Submission, FactsError> {
    let (spec, effective) = job.parsed("annotation", annotation::SPEC, stored::decode)?;
    let digest: PayloadDigest = job.parsed("annotation", annotation::DIGEST, serde_json::from_str)?;
    Ok(Submission {
        spec: Arc::new(spec),
        effective: Arc::new(effective),
        digest,
        create_time: job.parsed("annotation", annotation::CREATE_TIME, str::parse)?,
        submitter: job.required("annotation", annotation::SUBMITTER)?.to_owned(),
        result_marker: job.required("annotation", annotation::MARKER)?.to_owned(),
        batch: None,
    })
}

/// Reads our labels and annotations of a Job, and blames the Job for what is wrong with them.
struct JobReader<'a> {
    job: &'a Job,
    /// What could not be read, and was done without.
    damage: Vec<FactsError>,
}

impl<'a> JobReader<'a> {
    fn required(&self, what: &'static str, key: &'static str) -> Result<&'a str, FactsError> {
        self.get(what, key).ok_or_else(|| self.missing(what, key))
    }

    fn parsed<T, E>(
        &self,
        what: &'static str,
        key: &'static str,
        parse: impl FnOnce(&'a str) -> Result<T, E>,
    ) -> Result<T, FactsError>
    where
        E: Error + Send + Sync + 'static,
    {
        parse(self.required(what, key)?).map_err(|error| self.corrupt(what, key, error))
    }

    /// What an annotation says, if it is there and can be read.
    fn optional<T, E>(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        parse: impl FnOnce(&'a str) -> Result<T, E>,
    ) -> Option<T>
    where
        E: Error + Send + Sync + 'static,
    {
        let key = key.into();
        match parse(self.get("annotation", &key)?) {
            Ok(value) => Some(value),
            Err(error) => {
                let damage = self.corrupt("annotation", key, error);
                self.damage.push(damage);
                None
            }
        }
    }

    /// How earlier attempts ended. Where that is not said any more or can't be read, although a later one has begun, only
    /// what their objects show is known of them: the later one is the present all the same.
    fn settled(&mut self, attempts: &[AttemptFacts]) -> Vec<AttemptRecord> {
        let last = attempts.last().map_or(1, |attempt| attempt.number);
        let mut settled = Vec::new();
        for number in 1.. {
            let of = |number| attempts.iter().find(|attempt| attempt.number == number);
            match self.settled_as(number) {
                Some(record) => settled.push(record),
                None if number < last => {
                    if self.get("annotation", &annotation::attempt(number)).is_none() {
                        self.damage.push(FactsError::Unsettled { job: self.shown(), number });
                    }
                    let begun = of(number + 1).and_then(|next| next.create_time).unwrap_or(Timestamp::UNIX_EPOCH);
                    settled.push(presumed(number, of(number), begun));
                }
                None => break,
            }
        }
        settled
    }

    fn settled_as(&mut self, number: u32) -> Option<AttemptRecord> {
        self.optional(annotation::attempt(number), |text| {
            let record = AttemptRecord::from_json(text)?;
            let found = record.attempt.number;
            (found == number)
                .then_some(record)
                .ok_or_else(|| serde_json::Error::custom(format!("it is of attempt {found}")))
        })
    }

    /// What could not be read, in a sentence.
    fn damage(&self) -> Option<String> {
        if self.damage.is_empty() {
            return None;
        }
        let all: Vec<String> = self.damage.iter().map(ToString::to_string).collect();
        Some(format!("somebody outside Longshore changed what is kept with the run: {}", all.join(", ")))
    }

    fn get(&self, what: &'static str, key: &str) -> Option<&'a str> {
        let metadata = &self.job.metadata;
        let map = if what == "label" { &metadata.labels } else { &metadata.annotations };
        map.as_ref()?.get(key).map(String::as_str)
    }

    fn missing(&self, what: &'static str, key: &'static str) -> FactsError {
        FactsError::Missing { job: self.shown(), what, key }
    }

    fn corrupt(
        &self,
        what: &'static str,
        key: impl Into<Cow<'static, str>>,
        error: impl Error + Send + Sync + 'static,
    ) -> FactsError {
        FactsError::Corrupt { job: self.shown(), what, key: key.into(), source: Box::new(error) }
    }

    fn shown(&self) -> String {
        let metadata = &self.job.metadata;
        let part = |text: &'a Option<String>| text.as_deref().unwrap_or("?");
        format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
    }
}

/// When somebody asked to delete an object: `deletionTimestamp` is when its grace will be over.
fn deletion_asked(metadata: &ObjectMeta) -> Option<Timestamp> {
    let over = metadata.deletion_timestamp.as_ref()?.0;
    let grace = SignedDuration::from_secs(metadata.deletion_grace_period_seconds.unwrap_or(0));
    Some(over.checked_sub(grace).unwrap_or(over))
}

/// `text`, cut at [`TEXT_MAX_BYTES`].
fn cut(text: &str) -> String {
    longshore_text::cut(text, TEXT_MAX_BYTES)
}
