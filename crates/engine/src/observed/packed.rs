//! A run to which nothing more happens, in few bytes.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{ObservedRun, RunTraits, StartSeen};
use longshore_domain::name::RunName;
use longshore_domain::run::RunState;
use longshore_domain::run::facts::RunFacts;
use longshore_domain::run::failure::FailureClass;

/// A run that is settled.
#[derive(Debug)]
pub(crate) struct PackedRun {
    pub(super) name: RunName,
    pub(super) state: RunState,
    pub(super) create_time: Option<Timestamp>,
    labels: BTreeMap<String, String>,
    profile: Option<Box<str>>,
    failure_class: Option<FailureClass>,
    seen: Box<[(u32, StartSeen)]>,
    /// The facts as JSON: a fifth of what they take otherwise, with the run that is derived from them.
    facts: Box<[u8]>,
}

impl PackedRun {
    /// `None`: more is known of the run than can be packed.
    pub(super) fn of(observed: &ObservedRun) -> Option<Self> {
        let facts = serde_json::to_vec(&observed.facts).ok()?;
        let RunTraits { name, state, create_time, labels, profile, failure_class } = RunTraits::of(&observed.view);
        Some(Self {
            name: name.clone(),
            state,
            create_time,
            labels: labels.clone(),
            profile: profile.map(Into::into),
            failure_class,
            seen: observed.seen().as_slice().into(),
            facts: facts.into(),
        })
    }

    pub(super) fn traits(&self) -> RunTraits<'_> {
        let Self { name, state, create_time, labels, profile, failure_class, .. } = self;
        RunTraits {
            name,
            state: *state,
            create_time: *create_time,
            labels,
            profile: profile.as_deref(),
            failure_class: *failure_class,
        }
    }

    /// `None` never is what [`Self::of`] made.
    pub(super) fn observed(&self) -> Option<ObservedRun> {
        let facts: RunFacts = serde_json::from_slice(&self.facts)
            .inspect_err(|error| tracing::error!(run = %self.name, %error, "a packed run cannot be read"))
            .ok()?;
        Some(ObservedRun::known(facts, self.seen.to_vec(), Timestamp::now()))
    }
}
