//! Checks what was read as a result against what its run's profile says of its results.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use longshore_domain::result::{Checked, ResultOutcome, RunnerContract};
use longshore_domain::run::profile::Profile;
use longshore_runtime::task;

/// How many objects are checked at once: each is held parsed meanwhile.
const CHECKING: usize = 2;

/// The contracts of all profiles, as they are configured now. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Contracts {
    by_profile: Arc<BTreeMap<String, Arc<RunnerContract>>>,
    permits: Arc<Semaphore>,
    deadline: Duration,
}

impl Contracts {
    /// Each check may take `deadline`.
    pub(super) fn new(profiles: &BTreeMap<String, Profile>, deadline: Duration) -> Self {
        let contract = |(name, profile): (&String, &Profile)| {
            let contract = profile.runner_contract();
            (!contract.is_empty()).then(|| (name.clone(), Arc::new(contract)))
        };
        let by_profile = Arc::new(profiles.iter().filter_map(contract).collect());
        Self { by_profile, permits: Arc::new(Semaphore::new(CHECKING)), deadline }
    }

    /// What this result of a run of `profile` is reported as.
    pub(super) async fn check(&self, profile: Option<&str>, outcome: ResultOutcome) -> Checked {
        let contract = profile.and_then(|profile| self.by_profile.get(profile));
        match (contract, &outcome) {
            (Some(contract), ResultOutcome::Found(_)) => self.run(Arc::clone(contract), outcome).await,
            _ => outcome.into(),
        }
    }

    async fn run(&self, contract: Arc<RunnerContract>, outcome: ResultOutcome) -> Checked {
        // The semaphore is never closed. Who is overdue gives the permit back, so that one schema
        // does not hold up all.
        let _permit = self.permits.acquire().await;
        let check = task::blocking(move || contract.check(outcome));
        let why = match tokio::time::timeout(self.deadline, check).await {
            Ok(Ok(checked)) => return checked,
            Ok(Err(fault)) => {
                tracing::error!(%fault, "the check of a result failed");
                "the check against its profile failed".to_owned()
            }
            Err(_) => format!("it could not be checked against its profile within {} s", self.deadline.as_secs()),
        };
        ResultOutcome::Unavailable(why).into()
    }
}
