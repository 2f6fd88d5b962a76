//! Where an attempt's output is read.

use longshore_backend::LogSource;
use longshore_domain::log::RUN_CONTAINER;
use longshore_domain::run::facts::RunFacts;

/// Whose output attempt `number` of this run is; `None` before it has a Pod.
pub(crate) fn source_of(facts: &RunFacts, number: u32) -> Option<LogSource> {
    let attempt = facts.attempt(number)?;
    Some(LogSource {
        run: facts.name.clone(),
        run_uid: facts.uid.clone(),
        attempt: number,
        attempt_uid: attempt.uid.clone()?,
        pod: attempt.pod.clone().unwrap_or_default(),
        container: RUN_CONTAINER.to_owned(),
    })
}
