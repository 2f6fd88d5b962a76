//! The words that the engine's metrics are labelled with: all of ours, so that there are never more
//! series than stand here.

use prometheus_client::encoding::EncodeLabelSet;
use strum::{IntoStaticStr, VariantArray};

use longshore_domain::result::{ResultSource, ResultState};

/// What a label says where there is nothing to say.
pub(super) const NONE: &str = "NONE";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct EndLabels {
    pub(super) state: &'static str,
    pub(super) class: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) state: &'static str,
    pub(super) source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ReaderLabels {
    pub(super) reader: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct GapLabels {
    pub(super) reader: &'static str,
    pub(super) cause: &'static str,
}

/// Who reads output from the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum LogReader {
    /// The one read of an attempt that all its followers share.
    Feed,
    /// A caller's own: without `follow`, or to catch up.
    Caller,
    /// The result reader's own, once the feed has left it behind.
    Result,
}

impl LogReader {
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Every result that is reported of a run that is over.
pub(super) fn results() -> impl Iterator<Item = ResultLabels> {
    let found = ResultSource::VARIANTS
        .iter()
        .map(|source| ResultLabels { state: ResultState::Found.into(), source: source.into() });
    let none = |state: &&ResultState| !matches!(state, ResultState::Pending | ResultState::Found);
    found.chain(
        ResultState::VARIANTS.iter().filter(none).map(|state| ResultLabels { state: state.into(), source: NONE }),
    )
}

/// What came of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum SubmitOutcome {
    Created,
    Replayed,
    Validated,
    /// The caller's own making.
    Invalid,
    /// The caller may not.
    Denied,
    /// A limit, a quota or an admission rule said no.
    Refused,
    /// Longshore or the backend could not.
    Failed,
    /// Its caller left before.
    Abandoned,
}

impl SubmitOutcome {
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How far a run is whose objects may still be held; see [`crate::observed::stage`].
pub(super) const STAGES: [&str; 3] = ["live", "unrecorded", "recorded"];
