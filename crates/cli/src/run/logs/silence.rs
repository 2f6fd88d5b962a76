//! Why a run's log has nothing to print.

use crate::run::status::{outcome_details, why};
use crate::terminal::names;
use crate::terminal::text::{clean, state_name};
use longshore_api::v1 as pb;

/// What was asked for, as far as it may have kept lines from being printed.
#[derive(Debug, Default)]
pub(super) struct LogSelection {
    /// Arguments that leave lines out.
    pub(super) only: Vec<&'static str>,
    /// Whether lines that carry the result are printed too.
    pub(super) results: bool,
    /// Whether what comes was waited for.
    pub(super) follow: bool,
}

/// Why nothing was printed of `run`, in a sentence.
pub(super) fn explain(run: &pb::Run, asked: &LogSelection) -> String {
    let name = clean(names::typed(&run.name));
    let state = state_name(run.state);
    let has_started = run.timeline.is_some_and(|timeline| timeline.start_time.is_some());
    if !has_started && run.state().is_terminal() {
        return format!("run {name} never started: {state}{}", outcome_details(run));
    }
    let follow = if asked.follow { "" } else { "; -f waits for its output" };
    if !has_started {
        let why = why(run);
        let because = if why.is_empty() { String::new() } else { format!(", {why}") };
        return format!("run {name} has not started yet ({state}{because}){follow}");
    }
    if !asked.only.is_empty() {
        return format!("run {name} has no output that {} lets through", asked.only.join(" and "));
    }
    if !run.state().is_terminal() {
        return format!("run {name} has printed nothing so far ({state}){follow}");
    }
    let marked = run.result.as_ref().is_some_and(|result| result.source() == pb::ResultSource::MarkedLine);
    if marked && !asked.results {
        return format!("run {name} printed nothing but its result; --results shows these lines");
    }
    format!("run {name} printed nothing ({state})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(state: pb::RunState, started: bool) -> pb::Run {
        let at = Some(prost_types::Timestamp { seconds: 7, nanos: 0 });
        let timeline = pb::Timeline { create_time: at, start_time: at.filter(|_| started), ..Default::default() };
        pb::Run {
            name: "namespaces/default/runs/a".into(),
            state: state.into(),
            timeline: Some(timeline),
            ..Default::default()
        }
    }

    #[test]
    fn each_silence_has_its_reason() {
        let plain = LogSelection::default();
        let mut waiting = run(pb::RunState::Starting, false);
        waiting.waiting_reason = "ImagePullBackOff".into();
        assert_eq!(
            explain(&waiting, &plain),
            "run a has not started yet (STARTING, ImagePullBackOff); -f waits for its output"
        );
        assert_eq!(
            explain(&run(pb::RunState::Running, true), &LogSelection { follow: true, ..LogSelection::default() }),
            "run a has printed nothing so far (RUNNING)"
        );
        assert_eq!(explain(&run(pb::RunState::Succeeded, true), &plain), "run a printed nothing (SUCCEEDED)");
        let since = LogSelection { only: vec!["--since"], ..LogSelection::default() };
        assert_eq!(explain(&run(pb::RunState::Failed, true), &since), "run a has no output that --since lets through");

        let mut never = run(pb::RunState::Failed, false);
        never.failure = Some(pb::Failure {
            reason: pb::FailureReason::ImagePull.into(),
            message: "no such image".into(),
            ..Default::default()
        });
        let text = explain(&never, &since);
        assert!(text.starts_with("run a never started: FAILED IMAGE_PULL") && text.contains("no such image"), "{text}");

        let mut marked = run(pb::RunState::Succeeded, true);
        marked.result = Some(pb::Result { source: pb::ResultSource::MarkedLine.into(), ..Default::default() });
        assert!(explain(&marked, &plain).contains("--results"));
        assert!(!explain(&marked, &LogSelection { results: true, ..LogSelection::default() }).contains("--results"));
    }
}
