//! Submitting many runs at once: judged whole before any side effect, then each by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::submit::{CheckedSpec, Payload, Prepared, UnreadSpec, asked, checks_at_once, would_be};
use super::submitted::{Submitted, submit_outcome};
use crate::{Caller, Engine, EngineError};
use longshore_domain::name::{BatchId, NamespaceName, RunName};
use longshore_domain::notation::violation::{Violation, Violations};
use longshore_domain::run::batch::BatchItem;
use longshore_domain::run::digest::PayloadDigest;

/// Runs of a batch that are created at once: half of what one connection asks of an API server at a time, so that a
/// batch leaves room for others.
const CREATED_AT_ONCE: usize = 16;
/// What input, files and values of `secret_env` of all runs of a batch may take together, in bytes: each run has its
/// own copy, on Kubernetes in etcd, whose quota is 2 GiB by default.
const CONTENT_MAX_BYTES: usize = 64 * 1024 * 1024;

/// See [`Engine::batch_submit`].
#[derive(Debug)]
pub struct BatchSubmit {
    /// Where.
    pub namespace: NamespaceName,
    /// What ids and label of the runs are made of.
    pub batch: BatchId,
    /// What is to be executed.
    pub specs: BatchSpecs,
    /// What was found wrong while the rest of the request was read; reported together with what is wrong with the
    /// specs.
    pub violations: Violations,
    /// Only check.
    pub validate_only: bool,
}

/// What the runs of a batch execute.
#[derive(Debug)]
pub enum BatchSpecs {
    /// Each something of its own.
    Each(Vec<UnreadSpec>),
    /// All the same.
    Same {
        /// What.
        spec: UnreadSpec,
        /// How many.
        count: u32,
    },
}

/// One run of a batch, and what became of it.
#[derive(Debug)]
pub struct BatchSubmitted {
    /// The run.
    pub name: RunName,
    /// What SubmitRun would have answered.
    pub ended: Result<Submitted, EngineError>,
}

/// A batch that was judged.
struct JudgedBatch {
    /// One for each run, or one for all.
    payloads: Vec<Result<Payload, Violations>>,
    items: Vec<JudgedItem>,
}

struct JudgedItem {
    name: RunName,
    batch: BatchItem,
    digest: PayloadDigest,
    prepared: Result<Prepared, EngineError>,
}

/// A spec, and the path of the part of the request that it is in; empty: of the request itself.
type InRequest<T> = (String, T);

impl Engine {
    /// Submits runs as one batch. All of them are judged before the first is created; each is idempotent by its id, so
    /// the same call again answers with what is there and creates the rest.
    ///
    /// # Errors
    /// Every violation at once; what the caller has no right to, or no room for; an id that stands for another payload;
    /// not all runs are known yet. Nothing was created then. What becomes of a single run later is its item's.
    pub async fn batch_submit(&self, caller: &Caller, batch: BatchSubmit) -> Result<Vec<BatchSubmitted>, EngineError> {
        let metrics = &self.inner.metrics;
        let validate_only = batch.validate_only;
        let judged = match self.judge_batch(caller, batch).await {
            Ok(judged) => judged,
            Err(error) => {
                let error = self.as_visible_error(caller, error).await;
                metrics.submit().end(submit_outcome(Err(&error)));
                return Err(error);
            }
        };
        let JudgedBatch { payloads, items } = judged;
        let payloads = &payloads;
        let submitted = stream::iter(items).map(|item| async move {
            let (name, index) = (item.name.clone(), item.batch.index);
            // Of a batch that is only checked one run is tried.
            let counted = (!validate_only || index == 0).then(|| metrics.submit());
            let ended = self.submit_item(caller, payloads, item, validate_only).await;
            let ended = self.as_visible_to(caller, ended).await;
            if let Some(counted) = counted {
                counted.end(submit_outcome(ended.as_ref()));
            }
            BatchSubmitted { name, ended }
        });
        Ok(submitted.buffered(CREATED_AT_ONCE).collect().await)
    }

    /// Judges the whole batch, without a side effect.
    async fn judge_batch(&self, caller: &Caller, batch: BatchSubmit) -> Result<JudgedBatch, EngineError> {
        self.accepts()?;
        // Of runs that are not known yet it can't be judged whether they are there.
        self.synced()?;
        let BatchSubmit { namespace, batch, specs, mut violations, validate_only } = batch;
        let (specs, count): (Vec<InRequest<UnreadSpec>>, u32) = match specs {
            BatchSpecs::Same { spec, count } => (vec![(String::new(), spec)], count),
            BatchSpecs::Each(specs) => {
                let count = u32::try_from(specs.len()).unwrap_or(u32::MAX);
                (specs.into_iter().enumerate().map(|(i, spec)| (format!("requests[{i}]"), spec)).collect(), count)
            }
        };
        let made = format!("{batch}-*");
        let workloads: BTreeSet<_> = specs.iter().map(|(_, spec)| spec.workload().cloned()).collect();
        for workload in &workloads {
            let made = Some(made.as_str()).filter(|_| !validate_only);
            self.authorize_submit(caller, &namespace, made, asked(workload.as_ref())).await?;
        }
        let checked = stream::iter(specs).map(|(path, spec)| {
            let check = self.check(spec, Some(batch.clone()));
            async { Ok::<_, EngineError>((path, check.await?)) }
        });
        let mut checked: Vec<InRequest<CheckedSpec>> = checked.buffered(checks_at_once()).try_collect().await?;
        for (path, checked) in &mut checked {
            violations.extend(below(path, std::mem::take(&mut checked.unreadable)));
        }
        violations.extend(content_too_large(&checked, count));
        if validate_only || !violations.is_empty() {
            for (path, checked) in &checked {
                violations.extend(below(path, checked.refusal().cloned().unwrap_or_default()));
            }
        }
        if !violations.is_empty() {
            return Err(EngineError::Invalid(violations));
        }
        let mut items = Vec::with_capacity(count as usize);
        for (index, (path, checked)) in (0..count).zip(each_of(&checked)) {
            let name = RunName { namespace: namespace.clone(), run: batch.run_id(index) };
            let batch = BatchItem { id: batch.clone(), index, count };
            items.push(async move {
                let digest = checked.digest.payload(Some(&batch));
                let prepared = match validate_only {
                    true => Ok(Prepared::New),
                    false => self.prepare(&name, checked, &digest).await,
                };
                (path, JudgedItem { name, batch, digest, prepared })
            });
        }
        let prepared: Vec<_> = stream::iter(items).buffered(CREATED_AT_ONCE).collect().await;
        let mut items = Vec::with_capacity(prepared.len());
        let mut refused = BTreeSet::new();
        for (path, item) in prepared {
            match item.prepared {
                // Of one spec for all it is the same each time.
                Err(EngineError::Invalid(_)) if !refused.insert(path) => {}
                Err(EngineError::Invalid(more)) => violations.extend(below(path, more)),
                // Else the rest would be made beside runs of another batch of this id.
                Err(mismatch @ EngineError::PayloadMismatch { .. }) => return Err(mismatch),
                _ => items.push(item),
            }
        }
        violations.into_result().map_err(EngineError::Invalid)?;
        if !validate_only {
            let is_new = |item: &&JudgedItem| {
                matches!(item.prepared, Ok(Prepared::New)) && !self.inner.runs.table().contains(&item.name)
            };
            self.may_have_more(caller, items.iter().filter(is_new).count())?;
        }
        let payloads = checked.into_iter().map(|(_, checked)| checked.into_payload()).collect();
        Ok(JudgedBatch { payloads, items })
    }

    async fn submit_item(
        &self,
        caller: &Caller,
        payloads: &[Result<Payload, Violations>],
        JudgedItem { name, batch, digest, prepared }: JudgedItem,
        validate_only: bool,
    ) -> Result<Submitted, EngineError> {
        let index = batch.index;
        if let Prepared::Known(run) = prepared? {
            return Ok(Submitted { run, replayed: true, preview: None });
        }
        self.accepts()?;
        // Only now, since each launch has a copy of the input.
        let payload = each_of(payloads).nth(index as usize).cloned().unwrap_or_else(|| Err(Violations::new()));
        let launch = payload.map_err(EngineError::Invalid)?.launch(name, caller, digest, Some(batch));
        match (validate_only, index) {
            (false, _) => self.create(&launch).await,
            (true, 0) => self.preview(&launch).await,
            (true, _) => Ok(Submitted { run: Arc::new(would_be(&launch)), replayed: false, preview: None }),
        }
    }
}

/// What each run of a batch has: its own, or the one of all.
fn each_of<T>(of: &[T]) -> impl Iterator<Item = &T> {
    let all = if of.len() == 1 { of } else { &[] };
    of.iter().chain(all.iter().cycle())
}

fn below(path: &str, violations: Violations) -> Violations {
    if path.is_empty() { violations } else { violations.below(path) }
}

/// What all runs of the batch are given, where that is too much. Only one spec for all can be: a request that has
/// them all is smaller.
fn content_too_large(checked: &[InRequest<CheckedSpec>], count: u32) -> Option<Violation> {
    let each: usize = each_of(checked).take(count as usize).map(|(_, checked)| checked.content_bytes()).sum();
    (each > CONTENT_MAX_BYTES).then(|| {
        let said = format!(
            "{count} runs with input and files take {each} bytes together; at most {CONTENT_MAX_BYTES} are taken: let \
             the programs fetch the rest, or submit fewer runs"
        );
        Violation::new("count", said)
    })
}
