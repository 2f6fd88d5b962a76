//! What was seen once and is not taken back: a kubelet's status lags by a second or two and can be
//! emptied, a list can be older than what a watch has reported, and a watch begins anew.
//!
//! This is memory of the process, kept with the run for as long as the run is known. After a crash
//! it is gone; what has to survive that, the stop intent and the record, stands with the run itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    AttemptFacts, AttemptPhase, EndCause, Intervention, JobEnd, MainFacts, PlatformCause, RunFacts, Terminated,
};
use crate::run::view::StopIntent;

/// The word for a disruption by someone who suspended the Job while its program ran.
const SUSPENDED: &str = "JobSuspended";

/// What earlier looks at an attempt have shown, which a single look may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The program was seen to have ended before anything was done to it: a version of its Pod says
    /// that it ended, and nothing of a deletion, a disruption or a deadline's passing.
    ///
    /// Versions of one object have an order, so this needs no clocks to be compared.
    pub ended_untouched: bool,
    /// The Pod was seen to be over while the program still ran: that is what ended it.
    pub over_while_running: bool,
    /// The Pod was seen to be deleted while the program still ran.
    pub deleted_while_running: bool,
    /// When, by the clock of the observer, the Pod was first seen to be over or to be deleted
    /// although the program was not seen to have ended.
    pub unended_since: Option<Timestamp>,
}

/// What is known after `seen` was read, given what was `known` of the same run before.
///
/// Started stays started, ended stays ended, with the exit code, times and words that were seen
/// first; so do the stop, the record, a deletion, and what the platform said it does. `now` is the
/// clock of the observer.
#[must_use]
pub fn remember(known: Option<&RunFacts>, mut seen: RunFacts, now: Timestamp) -> RunFacts {
    let known = known.filter(|known| known.uid == seen.uid);
    if let Some(known) = known {
        if seen.damage.is_some() && known.damage.is_none() {
            seen.submission = known.submission.clone();
        }
        if known.stop.is_some() {
            seen.stop = None;
        }
        seen.take_stop(known);
        seen.record = known.record.clone().or(seen.record);
        // A look may be older than what is known. The record has them all.
        if seen.record.is_some() {
            seen.settled.clear();
        } else if seen.settled.len() < known.settled.len() {
            seen.settled.clone_from(&known.settled);
        }
        seen.deleted_at = known.deleted_at.or(seen.deleted_at);
        seen.expire_time = seen.expire_time.or(known.expire_time);
        let attempts = std::mem::take(&mut seen.attempts);
        seen.attempts = merge_attempts(&known.attempts, attempts);
    }
    let (is_suspended, deleted) = (seen.suspended, seen.deleted_at.is_some());
    let present = seen.present_number();
    for attempt in &mut seen.attempts {
        if is_suspended
            && attempt.number >= present
            && attempt.disruption.is_none()
            && attempt.deleted_at.is_some()
            && runs(attempt)
        {
            attempt.disruption = Some(suspended(attempt.deleted_at));
        }
        note(attempt, seen.stop.as_ref(), deleted, now);
    }
    seen
}

/// That a Job was suspended while its program ran.
#[must_use]
pub fn suspended(time: Option<Timestamp>) -> Intervention {
    Intervention {
        cause: PlatformCause::Suspended,
        reason: SUSPENDED.to_owned(),
        message: "its Job was suspended while the program ran".to_owned(),
        time,
    }
}

/// The Pods of an attempt's Job beside the first, now that another is seen.
fn further_uids(known: &AttemptFacts, seen: &AttemptFacts) -> Vec<String> {
    let another = seen.uid.clone().filter(|_| seen.main.started());
    union(&union(&known.further_uids, &seen.further_uids), another.as_slice())
}

fn union(known: &[String], seen: &[String]) -> Vec<String> {
    let more = seen.iter().filter(|uid| !known.contains(uid));
    known.iter().chain(more).cloned().collect()
}

fn runs(attempt: &AttemptFacts) -> bool {
    attempt.main.started() && !attempt.remembered.ended_untouched
}

/// Takes down what this look shows for later ones.
fn note(attempt: &mut AttemptFacts, stop: Option<&StopIntent>, job_deleted: bool, now: Timestamp) {
    let over = matches!(attempt.phase, AttemptPhase::Succeeded | AttemptPhase::Failed);
    let is_unmarked = !attempt.is_marked() && attempt.eviction.is_none();
    match &attempt.main {
        MainFacts::Terminated(end) if attempt.main.started() => {
            let is_known = end.cause != EndCause::Unknown;
            let ordered = match attempt.pod {
                // Our order to end it is a deadline of a second on the Pod itself.
                Some(_) => attempt.deadline.is_some_and(|deadline| deadline.as_secs() <= 1),
                None => stop.is_some(),
            };
            let remembered = &mut attempt.remembered;
            remembered.ended_untouched |=
                is_known && !ordered && !job_deleted && !remembered.over_while_running && is_unmarked;
            remembered.unended_since = None;
        }
        main => {
            let runs = matches!(main, MainFacts::Running { .. });
            attempt.remembered.over_while_running |= over && runs;
            attempt.remembered.deleted_while_running |= attempt.deleted_at.is_some() && runs;
            if over || attempt.deleted_at.is_some() {
                attempt.remembered.unended_since.get_or_insert(now);
            }
        }
    }
}

fn merge_attempts(known: &[AttemptFacts], seen: Vec<AttemptFacts>) -> Vec<AttemptFacts> {
    let missing = known.iter().filter(|one| !seen.iter().any(|other| other.number == one.number)).cloned();
    let mut merged: Vec<_> = missing.collect();
    merged.extend(seen.into_iter().map(|seen| match known.iter().find(|known| known.number == seen.number) {
        Some(known) => merge(known, seen),
        None => seen,
    }));
    merged.sort_by_key(|attempt| attempt.number);
    merged
}

fn merge(known: &AttemptFacts, seen: AttemptFacts) -> AttemptFacts {
    let another = known.uid.is_some() && seen.uid.is_some() && known.uid != seen.uid;
    // Of what never started nothing is kept that its Job may make anew.
    if !known.main.started() && (another || seen.phase == AttemptPhase::Absent) {
        return AttemptFacts { job_end: later_end(known.job_end.as_ref(), seen.job_end.clone()), ..seen };
    }
    let job_end = later_end(known.job_end.as_ref(), seen.job_end.clone());
    if another {
        // A program is executed once: a second Pod of the Job does not make the first undone.
        return AttemptFacts {
            phase: AttemptPhase::Gone,
            job_end,
            job_deadline: seen.job_deadline,
            closed: seen.closed,
            in_queue: known.in_queue || seen.in_queue,
            start_noted: known.start_noted || seen.start_noted,
            further_uids: further_uids(known, &seen),
            // Outside a queue it is not known why.
            disruption: known.disruption.clone().or_else(|| seen.in_queue.then(|| suspended(None))),
            others_running: false,
            silent_since: None,
            ..known.clone()
        };
    }
    let main = later_main(&known.main, seen.main);
    let ended = matches!(main, MainFacts::Terminated(_));
    let (evidence, eviction, is_pulling) = if seen.evidence.is_empty() {
        (known.evidence.clone(), known.eviction.clone(), known.is_pulling)
    } else {
        (seen.evidence, seen.eviction, seen.is_pulling)
    };
    AttemptFacts {
        number: seen.number,
        job: seen.job,
        create_time: known.create_time.or(seen.create_time),
        job_end,
        job_deadline: seen.job_deadline,
        closed: seen.closed,
        in_queue: known.in_queue || seen.in_queue,
        start_noted: known.start_noted || seen.start_noted,
        further_uids: union(&known.further_uids, &seen.further_uids),
        phase: later_phase(known.phase, seen.phase),
        uid: known.uid.clone().or(seen.uid),
        pod: known.pod.clone().or(seen.pod),
        node: known.node.clone().or(seen.node),
        schedule_time: known.schedule_time.or(seen.schedule_time),
        node_time: known.node_time.or(seen.node_time),
        // It can be lowered, and never raised.
        deadline: match (known.deadline, seen.deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        },
        deleted_at: known.deleted_at.or(seen.deleted_at),
        job_deleted_at: known.job_deleted_at.or(seen.job_deleted_at),
        remark: seen.remark.filter(|_| known.ended_by.is_none()),
        ended_by: known.ended_by.clone().or(seen.ended_by),
        disruption: known.disruption.clone().or(seen.disruption),
        eviction,
        silent_since: seen.silent_since.filter(|_| !ended),
        lost_at: seen.lost_at.filter(|_| !ended),
        emptied: known.emptied || seen.emptied,
        unseen: known.unseen || (known.uid.is_none() && seen.unseen),
        waiting: seen.waiting,
        main,
        others_running: seen.others_running,
        input_ready: known.input_ready || seen.input_ready,
        evidence,
        is_pulling,
        remembered: known.remembered,
    }
}

/// A Job's end is never revoked; only one that is announced may yet become the end itself.
fn later_end(known: Option<&JobEnd>, seen: Option<JobEnd>) -> Option<JobEnd> {
    match (known, seen) {
        (Some(known), _) if known.final_ => Some(known.clone()),
        (Some(known), None) => Some(known.clone()),
        (_, seen) => seen,
    }
}

/// Of a Pod that is gone, or that is over, nothing brings back what was before.
fn later_phase(known: AttemptPhase, seen: AttemptPhase) -> AttemptPhase {
    use AttemptPhase::{Absent, Failed, Gone, Pending, Running, Succeeded, Unknown};
    match (known, seen) {
        (Gone, _) | (Pending | Running | Succeeded | Failed | Unknown, Absent) => Gone,
        (Succeeded | Failed, Pending | Running | Unknown) | (Running, Pending) => known,
        (_, seen) => seen,
    }
}

fn later_main(known: &MainFacts, seen: MainFacts) -> MainFacts {
    match (known, seen) {
        (MainFacts::Waiting(_), seen) => seen,
        // What the kubelet made up gives way to what it knows.
        (MainFacts::Terminated(end), MainFacts::Terminated(other)) if end.cause == EndCause::Unknown => {
            let ended = MainFacts::Terminated(with_start(other, end.started_at));
            if ended.started() { ended } else { known.clone() }
        }
        (MainFacts::Terminated(end), _) => MainFacts::Terminated(end.clone()),
        (MainFacts::Running { started_at }, MainFacts::Terminated(end)) => {
            let ended = MainFacts::Terminated(with_start(end, *started_at));
            if ended.started() { ended } else { known.clone() }
        }
        (MainFacts::Running { started_at }, MainFacts::Running { started_at: other }) => {
            MainFacts::Running { started_at: started_at.or(other) }
        }
        (MainFacts::Running { started_at }, MainFacts::Waiting(_)) => MainFacts::Running { started_at: *started_at },
    }
}

fn with_start(end: Terminated, started_at: Option<Timestamp>) -> Terminated {
    Terminated { started_at: started_at.or(end.started_at), ..end }
}

#[cfg(test)]
mod tests;
