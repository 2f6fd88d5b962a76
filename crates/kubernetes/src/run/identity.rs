//! Which run a Job is of, and which of its attempts: by its name, its labels and its owner.

use k8s_openapi::api::batch::v1::Job;

use crate::api::names::{annotation, label};
use crate::api::owned::is_owned_by;
use longshore_domain::name::RunId;

/// Number of the attempt and bare run id that the name of a Job stands for (`run-<id>`, `run2-<id>`, …).
#[must_use]
pub(crate) fn named(job_name: &str) -> Option<(u32, &str)> {
    let (number, run) = job_name.strip_prefix(label::JOB_PREFIX)?.split_once('-')?;
    match number {
        "" => Some((1, run)),
        text => text.parse().ok().filter(|number: &u32| *number > 1 && number.to_string() == text).map(|n| (n, run)),
    }
}

/// Which run a Job is of: by its label, or, where somebody took that away, by its name and by what
/// else was written at its creation.
#[must_use]
pub(crate) fn run_of(job: &Job) -> Option<RunId> {
    let metadata = &job.metadata;
    if let Some(text) = metadata.labels.as_ref().and_then(|labels| labels.get(label::RUN)) {
        return RunId::parse(text).ok();
    }
    metadata.annotations.as_ref()?.get(annotation::DIGEST)?;
    let (_, run) = named(metadata.name.as_deref()?)?;
    RunId::parse(run).ok()
}

/// The number of the attempt that a Job of `run` is, by its name: labels can be changed. `None`: it has another's.
#[must_use]
pub(crate) fn number_of(job: &Job, run: &RunId) -> Option<u32> {
    named(job.metadata.name.as_deref()?).filter(|(_, id)| *id == run.as_str()).map(|(number, _)| number)
}

/// Whether the Job of a further attempt belongs to the run of this anchor, and not to an earlier run of its name: it is the
/// anchor's, or was until somebody released it from it.
#[must_use]
pub(crate) fn belongs_to(further: &Job, anchor: &Job) -> bool {
    let created = |job: &Job| job.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let is_free = further.metadata.owner_references.as_ref().is_none_or(Vec::is_empty);
    let is_owned = anchor.metadata.uid.as_deref().is_some_and(|uid| is_owned_by(&further.metadata, uid));
    // Between the two lies the whole first attempt.
    is_owned || (is_free && created(further) > created(anchor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_attempt_of_which_run_a_job_is() {
        for (name, expected) in [
            ("run-a", Some((1, "a"))),
            ("run2-a", Some((2, "a"))),
            ("run21-a-2", Some((21, "a-2"))),
            ("run-2-a", Some((1, "2-a"))),
            ("run1-a", None),
            ("run02-a", None),
            ("run0-a", None),
            ("run+2-a", None),
            ("run2", None),
            ("running-a", None),
            ("other", None),
        ] {
            assert_eq!(named(name), expected, "{name}");
        }
        let run = RunId::parse("a-2").unwrap();
        for number in [1, 2, 20] {
            assert_eq!(named(&run.job_name(number)), Some((number, "a-2")));
        }
    }
}
