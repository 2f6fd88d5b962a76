//! Runs as they are reported.

use prost::Message;

use crate::run::failure::failure;
use crate::run::spec;
use crate::status;
use crate::wire::{View, int32, wire_time};
use longshore_api::v1;
use longshore_backend::{DryRunVerdict, Preview};
use longshore_domain::name::RunName;
use longshore_domain::result::ResultInfo;
use longshore_domain::run::{Attempt, Evidence, Run, RunState, StopCause, StopIntent, Timeline};
use longshore_engine::{BatchSubmitted, EngineError, Matched, Page, Submitted};
use longshore_text::cut;

/// Largest result that is reported inline, in bytes of compact JSON.
const INLINE_RESULT_MAX: u64 = 256 * 1024;
/// Largest page, in bytes of its runs: clients' own limit is 4 MiB for a message by default.
const PAGE_MAX_BYTES: usize = 3 * 1024 * 1024;

/// Longest message of an error whose details had no room, in bytes.
const BRIEF_MESSAGE_MAX: usize = 256;

/// Writes a run.
pub(crate) fn to_wire(run: &Run, view: View) -> v1::Run {
    v1::Run {
        name: run.name.to_string(),
        uid: run.uid.clone(),
        spec: Some(spec::to_wire(&run.spec, view)),
        effective_spec: (view == View::Full).then(|| effective_to_wire(run, view)).flatten(),
        state: state(run.state).into(),
        waiting_reason: run.waiting_reason.clone().unwrap_or_default(),
        message: run.message.clone(),
        timeline: Some(timeline(&run.timeline)),
        attempts: run.attempts.iter().map(|one| attempt(&run.name, one, view)).collect(),
        failure: run.failure.as_ref().map(failure),
        result: run.result.as_ref().map(|info| result(info, view)),
        exit_code: run.exit_code,
        stop: run.stop.as_ref().map(stop),
        submitter: run.submitter.clone(),
        payload_digest: run.payload_digest.clone(),
        expire_time: run.expire_time.map(wire_time),
        delete_time: run.delete_time.map(wire_time),
        retry_time: run.retry_time.map(wire_time),
        etag: run.etag(),
    }
}

fn effective_to_wire(run: &Run, view: View) -> Option<v1::RunSpec> {
    let as_spec = run.effective.to_spec();
    let as_spec = as_spec.inspect_err(|error| tracing::error!(run = %run.name, %error, "an effective spec is no spec"));
    as_spec.ok().map(|effective| spec::to_wire(&effective, view))
}

/// Writes the answer to SubmitRun.
pub(crate) fn submitted(submitted: &Submitted) -> v1::SubmitRunResponse {
    let mut run = to_wire(&submitted.run, View::Full);
    if submitted.preview.is_some() {
        only_checked(&mut run);
    }
    let (manifest, verdicts) = preview(submitted.preview.as_ref());
    v1::SubmitRunResponse { run: Some(run), replayed: submitted.replayed, manifest, verdicts }
}

/// Nothing was made: the run has no identity and stands nowhere.
fn only_checked(run: &mut v1::Run) {
    run.uid.clear();
    run.state = v1::RunState::Unspecified.into();
    run.etag.clear();
}

fn preview(preview: Option<&Preview>) -> (String, Vec<v1::DryRunVerdict>) {
    let verdict = |verdict: &DryRunVerdict| v1::DryRunVerdict {
        kind: verdict.kind.to_owned(),
        accepted: verdict.accepted,
        message: verdict.message.clone(),
    };
    let Some(Preview { manifest, verdicts }) = preview else { return Default::default() };
    (manifest.clone(), verdicts.iter().map(verdict).collect())
}

/// Writes the answer to BatchSubmitRuns.
pub(crate) fn batch_submitted(batch: Vec<BatchSubmitted>, validate_only: bool) -> v1::BatchSubmitRunsResponse {
    let first = batch.first().and_then(|first| first.ended.as_ref().ok());
    let (manifest, verdicts) = preview(first.and_then(|first| first.preview.as_ref()));
    let mut room = PAGE_MAX_BYTES;
    let items = batch.into_iter().map(|BatchSubmitted { name, ended }| {
        let replayed = ended.as_ref().is_ok_and(|submitted| submitted.replayed);
        let outcome = match ended {
            Ok(submitted) => {
                let mut run = to_wire(&submitted.run, View::Basic);
                // The caller has it, and each would be the largest part of its run.
                run.spec = None;
                if validate_only {
                    only_checked(&mut run);
                }
                room = room.saturating_sub(run.encoded_len());
                v1::batch_submit_item::Outcome::Run(run)
            }
            Err(error) => v1::batch_submit_item::Outcome::Error(item_error(error, &mut room)),
        };
        v1::BatchSubmitItem { name: name.to_string(), replayed, outcome: Some(outcome) }
    });
    v1::BatchSubmitRunsResponse { items: items.collect(), manifest, verdicts }
}

/// Writes the answer to CancelRuns.
pub(crate) fn cancelled(matched: Matched) -> v1::CancelRunsResponse {
    v1::CancelRunsResponse { more: matched.more, runs: selected(matched.runs) }
}

/// Writes the answer to DeleteRuns.
pub(crate) fn deleted(matched: Matched) -> v1::DeleteRunsResponse {
    let live_count = i32::try_from(matched.live).unwrap_or(i32::MAX);
    v1::DeleteRunsResponse { more: matched.more, live_count, runs: selected(matched.runs) }
}

fn selected(runs: Vec<(RunName, Result<(), EngineError>)>) -> Vec<v1::SelectedRun> {
    let mut room = PAGE_MAX_BYTES;
    let selected = |(name, ended): (RunName, Result<(), EngineError>)| v1::SelectedRun {
        name: name.to_string(),
        error: ended.err().map(|error| item_error(error, &mut room)),
    };
    runs.into_iter().map(selected).collect()
}

/// The error of one of many: without its details where there is no room for them, and cut short.
fn item_error(error: EngineError, room: &mut usize) -> tonic_types::Status {
    let mut status = status::item(error);
    if status.encoded_len() > *room {
        status.details.clear();
        status.message = cut(&status.message, BRIEF_MESSAGE_MAX);
    }
    *room = room.saturating_sub(status.encoded_len());
    status
}

/// Writes a page, cut where it would be too large to send; `token_after` gives the token that goes
/// on just after a run.
pub(crate) fn page(page: &Page<Run>, view: View, token_after: impl Fn(&Run) -> String) -> v1::ListRunsResponse {
    let mut runs = Vec::with_capacity(page.items.len());
    let mut bytes = 0;
    for (i, run) in page.items.iter().enumerate() {
        let wire = to_wire(run, view);
        bytes += wire.encoded_len();
        // A first run is sent whatever its size, else the list would stand still.
        if let Some(last) = i.checked_sub(1).filter(|_| bytes > PAGE_MAX_BYTES).and_then(|last| page.items.get(last)) {
            return v1::ListRunsResponse { runs, next_page_token: token_after(last) };
        }
        runs.push(wire);
    }
    v1::ListRunsResponse { runs, next_page_token: page.next_page_token.clone().unwrap_or_default() }
}

fn timeline(timeline: &Timeline) -> v1::Timeline {
    v1::Timeline {
        create_time: timeline.create_time.map(wire_time),
        admit_time: timeline.admit_time.map(wire_time),
        schedule_time: timeline.schedule_time.map(wire_time),
        start_time: timeline.start_time.map(wire_time),
        finish_time: timeline.finish_time.map(wire_time),
        end_time: timeline.end_time.map(wire_time),
    }
}

fn attempt(run: &RunName, attempt: &Attempt, view: View) -> v1::Attempt {
    v1::Attempt {
        name: run.attempt(attempt.number),
        number: int32(attempt.number),
        uid: attempt.uid.clone().unwrap_or_default(),
        job: attempt.job.clone(),
        pod: attempt.pod.clone().unwrap_or_default(),
        node: attempt.node.clone().unwrap_or_default(),
        create_time: attempt.create_time.map(wire_time),
        start_time: attempt.start_time.map(wire_time),
        finish_time: attempt.finish_time.map(wire_time),
        exit_code: attempt.exit_code,
        signal: attempt.signal,
        failure: attempt.failure.as_ref().map(failure),
        evidence: attempt.evidence.iter().filter(|_| view == View::Full).map(evidence).collect(),
        further_uids: attempt.further_uids.clone(),
    }
}

fn evidence(evidence: &Evidence) -> v1::Evidence {
    v1::Evidence {
        report_time: evidence.report_time.map(wire_time),
        reason: evidence.reason.clone(),
        message: evidence.message.clone(),
        count: int32(evidence.count),
    }
}

fn stop(stop: &StopIntent) -> v1::Stop {
    let cause = match stop.cause {
        StopCause::Cancel => v1::StopCause::Cancel,
        StopCause::External => v1::StopCause::External,
        StopCause::QueueDeadline => v1::StopCause::QueueDeadline,
        StopCause::StartDeadline => v1::StopCause::StartDeadline,
        StopCause::RunDeadline => v1::StopCause::RunDeadline,
        StopCause::StartFailure => v1::StopCause::StartFailure,
        StopCause::TotalDeadline => v1::StopCause::TotalDeadline,
    };
    v1::Stop {
        cause: cause.into(),
        reason: stop.reason.clone(),
        actor: stop.actor.clone(),
        request_time: Some(wire_time(stop.request_time)),
    }
}

fn state(state: RunState) -> v1::RunState {
    match state {
        RunState::Queued => v1::RunState::Queued,
        RunState::Pending => v1::RunState::Pending,
        RunState::Starting => v1::RunState::Starting,
        RunState::Running => v1::RunState::Running,
        RunState::Finishing => v1::RunState::Finishing,
        RunState::Cancelling => v1::RunState::Cancelling,
        RunState::Succeeded => v1::RunState::Succeeded,
        RunState::Failed => v1::RunState::Failed,
        RunState::Cancelled => v1::RunState::Cancelled,
    }
}

fn result(info: &ResultInfo, view: View) -> v1::Result {
    let inline = info.found.as_ref().filter(|found| view == View::Full && found.size_bytes <= INLINE_RESULT_MAX);
    longshore_api::result::result(info, inline.and_then(|found| found.json.clone()))
}

/// Whether a result's text belongs into this view and was not at hand.
pub(crate) fn lacks_text(result: &v1::Result, view: View) -> bool {
    let is_inline = u64::try_from(result.size_bytes).is_ok_and(|size| (1..=INLINE_RESULT_MAX).contains(&size));
    view == View::Full && is_inline && result.json.is_empty()
}

#[cfg(test)]
mod tests;
