//! One run in the table: as observed while it may change or is followed, and packed once nothing more happens to it, so
//! that memory is taken by what lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::metrics::Counted;
use crate::observed::{Observed, StartSeen};
use longshore_domain::name::RunName;
use longshore_domain::run::facts::RunFacts;
use longshore_domain::run::failure::FailureClass;
use longshore_domain::run::{Run, RunState};

/// What runs are chosen by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits<'a> {
    pub(crate) name: &'a RunName,
    pub(crate) state: RunState,
    pub(crate) create_time: Option<Timestamp>,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) profile: Option<&'a str>,
    pub(crate) failure_class: Option<FailureClass>,
}

impl<'a> Traits<'a> {
    pub(crate) fn of(run: &'a Run) -> Self {
        Self {
            name: &run.name,
            state: run.state,
            create_time: run.timeline.create_time,
            labels: &run.effective.labels,
            profile: run.spec.profile(),
            failure_class: run.failure.as_ref().map(|failure| failure.failure_class),
        }
    }
}

/// A run that is settled.
#[derive(Debug)]
pub(crate) struct PackedRun {
    name: RunName,
    state: RunState,
    create_time: Option<Timestamp>,
    labels: BTreeMap<String, String>,
    profile: Option<Box<str>>,
    failure_class: Option<FailureClass>,
    seen: Box<[(u32, StartSeen)]>,
    /// The facts as JSON: a fifth of what they take otherwise, with the run that is derived from them.
    facts: Box<[u8]>,
}

impl PackedRun {
    /// `None`: more may happen to the run, or is known of it than can be packed.
    pub(crate) fn of(observed: &Observed) -> Option<Self> {
        if !observed.is_settled() {
            return None;
        }
        let facts = serde_json::to_vec(&observed.facts).ok()?;
        let Traits { name, state, create_time, labels, profile, failure_class } = Traits::of(&observed.run);
        Some(Self {
            name: name.clone(),
            state,
            create_time,
            labels: labels.clone(),
            profile: profile.map(Into::into),
            failure_class,
            seen: observed.seen().into(),
            facts: facts.into(),
        })
    }

    fn traits(&self) -> Traits<'_> {
        let Self { name, state, create_time, labels, profile, failure_class, .. } = self;
        Traits {
            name,
            state: *state,
            create_time: *create_time,
            labels,
            profile: profile.as_deref(),
            failure_class: *failure_class,
        }
    }

    /// `None` never is what [`Self::of`] made.
    fn observed(&self) -> Option<Observed> {
        let facts: RunFacts = serde_json::from_slice(&self.facts)
            .inspect_err(|error| tracing::error!(run = %self.name, %error, "a packed run cannot be read"))
            .ok()?;
        Some(Observed::known(facts, self.seen.to_vec(), Timestamp::now()))
    }
}

/// What a row holds, to be read without the table's lock.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Open(Arc<Observed>),
    Packed(Arc<PackedRun>),
}

impl Held {
    pub(crate) fn observed(self) -> Option<Arc<Observed>> {
        match self {
            Self::Open(observed) => Some(observed),
            Self::Packed(packed) => packed.observed().map(Arc::new),
        }
    }

    pub(crate) fn traits(&self) -> Traits<'_> {
        match self {
            Self::Open(observed) => Traits::of(&observed.run),
            Self::Packed(packed) => packed.traits(),
        }
    }
}

/// One run.
#[derive(Debug)]
pub(super) enum TableRow {
    Open(watch::Sender<Arc<Observed>>),
    Packed(Arc<PackedRun>),
}

impl TableRow {
    pub(super) fn new(observed: Arc<Observed>) -> Self {
        match PackedRun::of(&observed) {
            Some(packed) => Self::Packed(Arc::new(packed)),
            None => Self::Open(watch::Sender::new(observed)),
        }
    }

    /// Takes in what was observed now. Who follows goes on doing so.
    pub(super) fn set(&mut self, observed: Arc<Observed>) {
        match self {
            Self::Open(sender) if sender.receiver_count() > 0 || !observed.is_settled() => {
                sender.send_replace(observed);
            }
            _ => *self = Self::new(observed),
        }
    }

    pub(super) fn held(&self) -> Held {
        match self {
            Self::Open(sender) => Held::Open(Arc::clone(&sender.borrow())),
            Self::Packed(packed) => Held::Packed(Arc::clone(packed)),
        }
    }

    /// Every change from now on. A packed run is opened for it. `None` never is what was packed here.
    pub(super) fn follow(&mut self) -> Option<watch::Receiver<Arc<Observed>>> {
        if let Self::Packed(packed) = self {
            *self = Self::Open(watch::Sender::new(Arc::new(packed.observed()?)));
        }
        match self {
            Self::Open(sender) => Some(sender.subscribe()),
            Self::Packed(_) => None,
        }
    }

    /// Packs what is settled and followed by nobody. Answers whether it stays open although it is settled.
    pub(super) fn pack(&mut self) -> bool {
        let Self::Open(sender) = self else { return false };
        if sender.receiver_count() > 0 {
            return sender.borrow().is_settled();
        }
        let packed = PackedRun::of(&sender.borrow());
        if let Some(packed) = packed {
            *self = Self::Packed(Arc::new(packed));
        }
        false
    }

    /// Whether it is open although it is settled.
    pub(super) fn is_to_be_packed(&self) -> bool {
        matches!(self, Self::Open(sender) if sender.borrow().is_settled())
    }

    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Open(sender) => sender.borrow().run.state.is_terminal(),
            Self::Packed(_) => true,
        }
    }

    pub(super) fn counted(&self) -> Counted {
        match self {
            Self::Open(sender) => Counted::of(&sender.borrow()),
            Self::Packed(packed) => Counted::released(packed.state),
        }
    }

    /// Who submitted the run, if it is not over.
    pub(super) fn live_submitter(&self) -> Option<String> {
        match self {
            Self::Open(sender) => {
                let observed = sender.borrow();
                let is_live = !observed.run.state.is_terminal();
                is_live.then(|| observed.facts.submission.submitter.clone())
            }
            Self::Packed(_) => None,
        }
    }
}
