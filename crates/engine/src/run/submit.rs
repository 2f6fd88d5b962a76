//! Submitting a run: idempotent by its id, checked whole before any side effect.

use std::sync::Arc;

use jiff::Timestamp;

use super::submitted::{Submitted, submit_outcome};
use crate::{Caller, Engine, EngineError};
use longshore_backend::{BackendError, Created, Launch};
use longshore_domain::access;
use longshore_domain::name::{BatchId, NamespaceName, RunId, RunName};
use longshore_domain::notation::syntax::{check_image_reference, is_dns_label};
use longshore_domain::notation::violation::Violations;
use longshore_domain::run::Run;
use longshore_domain::run::batch::BatchItem;
use longshore_domain::run::digest::{PayloadDigest, SpecDigest};
use longshore_domain::run::facts::{RunFacts, Submission};
use longshore_domain::run::profile::{InputDelivery, Program};
use longshore_domain::run::resolve::{Resolved, resolve_of};
use longshore_domain::run::spec::{EffectiveSpec, File, Input, RunSpec};
use longshore_domain::run::verdict::Verdict;
use longshore_runtime::task;

/// See [`Engine::submit`].
#[derive(Debug)]
pub struct Submit {
    /// Where.
    pub namespace: NamespaceName,
    /// Id that the caller chose.
    pub run_id: Option<RunId>,
    /// Key that the id is derived from.
    pub request_id: Option<String>,
    /// What is to be executed.
    pub spec: UnreadSpec,
    /// What was found wrong while the rest of the request was read; reported together with what is wrong with the
    /// spec.
    pub violations: Violations,
    /// Only check.
    pub validate_only: bool,
}

/// A spec that is read only once its caller is known to have the right to submit it.
pub struct UnreadSpec {
    workload: Option<SubmittedWorkload>,
    read: Box<dyn FnOnce(&mut Violations) -> RunSpec + Send>,
}

impl UnreadSpec {
    /// `workload` is what rights are asked about; `read` makes the spec, and adds what is wrong with it.
    pub fn new(
        workload: Option<SubmittedWorkload>,
        read: impl FnOnce(&mut Violations) -> RunSpec + Send + 'static,
    ) -> Self {
        Self { workload, read: Box::new(read) }
    }

    /// What rights are asked about.
    #[must_use]
    pub fn workload(&self) -> Option<&SubmittedWorkload> {
        self.workload.as_ref()
    }

    /// The spec; what is wrong with it is added to `violations`.
    pub fn read(self, violations: &mut Violations) -> RunSpec {
        (self.read)(violations)
    }
}

impl std::fmt::Debug for UnreadSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnreadSpec").field("workload", &self.workload).finish_non_exhaustive()
    }
}

/// What a submit asks to be executed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubmittedWorkload {
    /// An image of the caller's own choice.
    Image(String),
    /// A profile.
    Profile(String),
}

/// How often an id is generated before it is given up.
const DRAWS_MAX: u32 = 5;

/// A spec that was read, and what came of it.
pub(super) struct CheckedSpec {
    spec: RunSpec,
    pub(super) digest: SpecDigest,
    /// What was found wrong while it was read.
    pub(super) unreadable: Violations,
    resolved: Result<Resolved, Violations>,
}

impl CheckedSpec {
    /// What its input and files take of an input Secret, in bytes, with the values of `secret_env`.
    pub(super) fn content_bytes(&self) -> usize {
        self.spec.content().total()
    }

    /// Why it may not be submitted, if it may not.
    pub(super) fn refusal(&self) -> Option<&Violations> {
        self.resolved.as_ref().err()
    }

    /// What may be submitted.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn into_payload(self) -> Result<Payload, Violations> {
        let Self { mut spec, resolved, .. } = self;
        let Resolved { effective, program, input_delivery, pod_annotations } = resolved?;
        let input = spec.input.take();
        let files = std::mem::take(&mut spec.files);
        let (spec, effective) = (Arc::new(spec), Arc::new(effective));
        Ok(Payload { spec, effective, program, input_delivery, input, files, pod_annotations })
    }
}

/// What is submitted, by whatever name.
#[derive(Clone)]
pub(super) struct Payload {
    /// Without input and files.
    spec: Arc<RunSpec>,
    effective: Arc<EffectiveSpec>,
    program: Program,
    input_delivery: InputDelivery,
    input: Option<Input>,
    files: Vec<File>,
    pod_annotations: Vec<String>,
}

impl Payload {
    pub(super) fn launch(
        self,
        name: RunName,
        caller: &Caller,
        digest: PayloadDigest,
        batch: Option<BatchItem>,
    ) -> Launch {
        let Self { spec, effective, program, input_delivery, input, files, pod_annotations } = self;
        // Microseconds: what the annotation keeps.
        let now = Timestamp::now();
        let create_time = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        let marker = uuid::Uuid::new_v4();
        let submission = Submission {
            spec,
            effective,
            digest,
            create_time,
            submitter: caller.identity.user.clone(),
            result_marker: format!("LONGSHORE-RESULT-{}", marker.simple()),
            batch,
        };
        Launch { name, submission, program, input_delivery, input, files, pod_annotations }
    }
}

/// What is to be done for a run that was judged.
pub(super) enum Prepared {
    /// Nothing: it is there.
    Known(Arc<Run>),
    /// It is to be created, which may still find that it is there.
    New,
}

/// Requests that are checked at once: as many as there are processors.
pub(crate) fn checks_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Engine {
    /// Submits a run; idempotent by its id.
    ///
    /// # Errors
    /// Every violation at once, before anything is created; a mismatch of payloads; what the
    /// backend said.
    pub async fn submit(&self, caller: &Caller, submit: Submit) -> Result<Submitted, EngineError> {
        let counted = self.inner.metrics.submit();
        let ended = self.try_submit(caller, submit).await;
        let ended = self.as_visible_to(caller, ended).await;
        counted.end(submit_outcome(ended.as_ref()));
        ended
    }

    /// Of a run that was there already and is somebody else's, who may not see runs learns only that
    /// its name is taken.
    pub(super) async fn as_visible_to(
        &self,
        caller: &Caller,
        ended: Result<Submitted, EngineError>,
    ) -> Result<Submitted, EngineError> {
        match ended {
            Ok(there) if there.replayed && !self.may_view_known(caller, &there.run.name).await? => {
                Err(taken_by_another(there.run.name.clone()))
            }
            Ok(submitted) => Ok(submitted),
            Err(error) => Err(self.as_visible_error(caller, error).await),
        }
    }

    /// The same of an error.
    pub(super) async fn as_visible_error(&self, caller: &Caller, error: EngineError) -> EngineError {
        let (EngineError::PayloadMismatch { name, .. } | EngineError::DeleteInProgress(name)) = &error else {
            return error;
        };
        match self.may_view_known(caller, name).await {
            Ok(true) => error,
            Ok(false) => taken_by_another(name.clone()),
            Err(unknown) => unknown,
        }
    }

    async fn may_view_known(&self, caller: &Caller, name: &RunName) -> Result<bool, EngineError> {
        let there = self.inner.runs.table().get(name);
        let submitter = there.as_ref().map_or("", |observed| observed.facts.submission.submitter.as_str());
        self.may_view(caller, &name.namespace, submitter).await
    }

    async fn try_submit(&self, caller: &Caller, submit: Submit) -> Result<Submitted, EngineError> {
        self.accepts()?;
        let Submit { namespace, run_id, request_id, spec, mut violations, validate_only } = submit;
        let workload = spec.workload.clone();
        let is_drawn = run_id.is_none() && request_id.is_none();
        let run = run_id.or_else(|| match &request_id {
            None => Some(draw()),
            Some(request_id) => {
                RunId::from_request_id(&namespace, request_id).map_err(|e| violations.push(e.at("request_id"))).ok()
            }
        });
        let audited = run.as_ref().filter(|_| !validate_only).map(RunId::as_str);
        self.authorize_submit(caller, &namespace, audited, asked(workload.as_ref())).await?;
        let mut checked = self.check(spec, None).await?;
        violations.extend(std::mem::take(&mut checked.unreadable));
        let digest = checked.digest.payload(None);
        let name = run.map(|run| RunName { namespace, run });
        if let (Some(name), true, false) = (&name, violations.is_empty(), validate_only)
            && let Prepared::Known(run) = self.prepare(name, &checked, &digest).await?
        {
            return Ok(Submitted { run, replayed: true, preview: None });
        }
        let payload = checked.into_payload().map_err(|more| violations.extend(more)).ok();
        let (Some(name), Some(payload), true) = (name, payload, violations.is_empty()) else {
            return Err(EngineError::Invalid(violations));
        };
        let launch = payload.launch(name, caller, digest, None);
        if !validate_only {
            let new = usize::from(!self.inner.runs.table().contains(&launch.name));
            self.may_have_more(caller, new)?;
        }
        match (validate_only, is_drawn) {
            (true, _) => self.preview(&launch).await,
            (false, false) => self.create(&launch).await,
            (false, true) => self.create_drawn(caller, launch, workload).await,
        }
    }

    /// What is to be done for the run of this name; nothing is done yet. A replay is answered even where the
    /// configuration has changed since: what would be refused today may have been fine then.
    pub(super) async fn prepare(
        &self,
        name: &RunName,
        checked: &CheckedSpec,
        digest: &PayloadDigest,
    ) -> Result<Prepared, EngineError> {
        if let Some(known) = self.inner.runs.table().get(name)
            && self.stays(&known.facts).await?
        {
            same_payload(&known.facts, digest)?;
            let CheckedSpec { spec, .. } = checked;
            if spec.input.is_none() && spec.files.is_empty() || known.view.state.is_terminal() {
                return Ok(Prepared::Known(known.as_of(Timestamp::now())));
            }
        }
        match &checked.resolved {
            Ok(_) => Ok(Prepared::New),
            Err(violations) => match self.known_replay(name, digest).await? {
                Some(run) => Ok(Prepared::Known(run)),
                None => Err(EngineError::Invalid(violations.clone())),
            },
        }
    }

    /// Refuses so many more runs of a caller who would then have more live ones than they may. What is there already is
    /// a replay, and not to be counted.
    pub(super) fn may_have_more(&self, caller: &Caller, new: usize) -> Result<(), EngineError> {
        let max = self.inner.rules.limits.max_live_runs_per_caller;
        let live = self.inner.runs.table().live_of(&caller.identity.user);
        if max == 0 || new == 0 || live + new <= max {
            return Ok(());
        }
        Err(EngineError::TooManyRuns { live, new, max })
    }

    /// Creates a run whose id was generated here: whatever has that id already is another's, so it is drawn again.
    async fn create_drawn(
        &self,
        caller: &Caller,
        mut launch: Launch,
        workload: Option<SubmittedWorkload>,
    ) -> Result<Submitted, EngineError> {
        let mut draws = 1;
        loop {
            let taken = match self.inner.backend.runs.create(&launch).await? {
                Created::New(facts) => {
                    let observed = self.inner.runs.seen(*facts).await;
                    return Ok(Submitted { run: Arc::clone(&observed.view), replayed: false, preview: None });
                }
                Created::Exists(_) => "another run".to_owned(),
                Created::Taken { what } => what,
            };
            if draws == DRAWS_MAX {
                return Err(EngineError::NameTaken { name: launch.name, what: taken });
            }
            draws += 1;
            launch.name.run = draw();
            // The decision is the same; the log names the run that comes of it.
            let workload = asked(workload.as_ref());
            self.authorize_submit(caller, &launch.name.namespace, Some(launch.name.run.as_str()), workload).await?;
        }
    }

    /// Reads, validates and merges. A large request takes a while, so this is done on threads that serve nobody else,
    /// by few of them at once.
    pub(super) async fn check(&self, spec: UnreadSpec, batch: Option<BatchId>) -> Result<CheckedSpec, EngineError> {
        let failed = |source: std::io::Error| {
            EngineError::Backend(BackendError::Io { what: "checking the request".to_owned(), source })
        };
        // Anyone who gives up waiting leaves the queue.
        let turn = Arc::clone(&self.inner.checks).acquire_owned().await;
        let turn = turn.map_err(|closed| failed(std::io::Error::other(closed)))?;
        let inner = Arc::clone(&self.inner);
        let checked = task::blocking(move || {
            let _turn = turn;
            let mut unreadable = Violations::new();
            let spec = spec.read(&mut unreadable);
            let digest = SpecDigest::of(&spec);
            let resolved = resolve_of(&spec, &inner.rules, batch.as_ref());
            CheckedSpec { spec, digest, unreadable, resolved }
        });
        checked.await.map_err(|error| failed(std::io::Error::other(error)))
    }

    /// The run of this name, if it has this payload.
    async fn known_replay(&self, name: &RunName, sent: &PayloadDigest) -> Result<Option<Arc<Run>>, EngineError> {
        let Ok(known) = self.observed(name).await else { return Ok(None) };
        if !self.stays(&known.facts).await? || same_payload(&known.facts, sent).is_err() {
            return Ok(None);
        }
        Ok(Some(known.as_of(Timestamp::now())))
    }

    /// Whether a run that is known is there to answer a replay. Refused while it is on its way out:
    /// the answer would be a run that is gone a moment later. Asked of the backend, since it may be
    /// gone already; of a finished run too, which another server may have deleted.
    async fn stays(&self, known: &RunFacts) -> Result<bool, EngineError> {
        if known.deleted_at.is_none() && known.record.is_none() {
            return Ok(true);
        }
        match self.inner.backend.runs.get(&known.name).await? {
            Some(facts) if facts.uid == known.uid && facts.deleted_at.is_none() => Ok(true),
            Some(facts) if facts.uid == known.uid => Err(EngineError::DeleteInProgress(known.name.clone())),
            _ => {
                self.inner.runs.deleted(known.name.clone(), known.uid.clone()).await;
                Ok(false)
            }
        }
    }

    pub(super) async fn preview(&self, launch: &Launch) -> Result<Submitted, EngineError> {
        let preview = self.inner.backend.runs.preview(launch).await?;
        let run = Arc::new(would_be(launch));
        Ok(Submitted { run, replayed: false, preview: Some(preview) })
    }

    pub(super) async fn create(&self, launch: &Launch) -> Result<Submitted, EngineError> {
        match self.inner.backend.runs.create(launch).await? {
            Created::New(facts) => {
                let observed = self.inner.runs.seen(*facts).await;
                Ok(Submitted { run: Arc::clone(&observed.view), replayed: false, preview: None })
            }
            Created::Exists(facts) => {
                if facts.deleted_at.is_some() {
                    return Err(EngineError::DeleteInProgress(launch.name.clone()));
                }
                same_payload(&facts, launch.digest())?;
                // A crash may have left its input unwritten: only a replay has it again.
                match self.inner.backend.runs.complete(launch).await {
                    // It was deleted since it was found.
                    Err(BackendError::NotFound(_)) => return Err(EngineError::DeleteInProgress(launch.name.clone())),
                    completed => completed?,
                }
                let observed = self.inner.runs.seen(*facts).await;
                Ok(Submitted { run: observed.as_of(Timestamp::now()), replayed: true, preview: None })
            }
            Created::Taken { what } => Err(EngineError::NameTaken { name: launch.name.clone(), what }),
        }
    }
}

fn taken_by_another(name: RunName) -> EngineError {
    EngineError::NameTaken { name, what: "a run that you may not view".to_owned() }
}

/// A new id.
fn draw() -> RunId {
    RunId::from_uuid(uuid::Uuid::now_v7().as_bytes())
}

/// What rights are asked for. A spec that names neither profile nor image is refused later, and so is
/// a name that no profile or image can have: that is no word to ask about, or to put into a log.
pub(super) fn asked(workload: Option<&SubmittedWorkload>) -> access::WorkloadRight<'_> {
    match workload {
        Some(SubmittedWorkload::Profile(profile)) if is_dns_label(profile) => access::WorkloadRight::Profile(profile),
        Some(SubmittedWorkload::Image(image)) if check_image_reference(image).is_ok() => {
            access::WorkloadRight::Container(image)
        }
        Some(SubmittedWorkload::Profile(_) | SubmittedWorkload::Image(_)) | None => {
            access::WorkloadRight::Container("")
        }
    }
}

fn same_payload(facts: &RunFacts, sent: &PayloadDigest) -> Result<(), EngineError> {
    let stored = &facts.submission.digest;
    if stored.sha256 == sent.sha256 {
        return Ok(());
    }
    Err(EngineError::PayloadMismatch {
        name: facts.name.clone(),
        stored: stored.sha256.clone(),
        sent: sent.sha256.clone(),
        differing: stored.differing(sent),
    })
}

/// The run as it would be.
pub(super) fn would_be(launch: &Launch) -> Run {
    let facts = RunFacts::blank(launch.name.clone(), String::new(), launch.submission.clone());
    longshore_domain::run::derive::derive(&facts, &Verdict::Open, launch.submission.create_time)
}

#[cfg(test)]
mod tests;
