//! Runs as rows of a table.

use jiff::Timestamp;

use crate::terminal::names;
use crate::terminal::table::Cells;
use crate::terminal::text::{age, human, reason_name, state_name, time, time_span};
use longshore_api::v1 as pb;
use longshore_api::v1::run_spec::Workload;

/// Which columns there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// Whether the runs' namespaces are reported.
    pub(super) with_namespace: bool,
}

impl Columns {
    pub(super) fn table(self, runs: &[pb::Run], now: Timestamp) -> Cells {
        let mut header = vec!["NAME", "STATE", "AGE", "DURATION", "WORKLOAD", "EXIT", "REASON"];
        if self.with_namespace {
            header.insert(0, "NAMESPACE");
        }
        let mut cells = Cells::new(&header);
        if let Some(exit) = header.iter().position(|name| *name == "EXIT") {
            cells.right[exit] = true;
        }
        // A name is there to be copied; what a run is, and why, `get` reports in full.
        cells.never_cut(&["NAMESPACE", "NAME"]);
        cells.cut_first(&["WORKLOAD", "REASON"]);
        cells.rows = runs.iter().map(|run| self.row(run, now)).collect();
        cells
    }

    /// Room for what is not there yet when a watch begins.
    pub(super) fn least_widths(self) -> impl Iterator<Item = usize> {
        let namespace = self.with_namespace.then_some(9);
        namespace.into_iter().chain([12, 10, 4, 8, 12, 4, 0])
    }

    /// The row without what changes by itself: how old it is, and how long it took so far.
    pub(super) fn lasting_row(self, run: &pb::Run) -> Vec<String> {
        let still = pb::Run { timeline: None, ..run.clone() };
        self.row(&still, Timestamp::UNIX_EPOCH)
    }

    fn row(self, run: &pb::Run, now: Timestamp) -> Vec<String> {
        let timeline = run.timeline.unwrap_or_default();
        let age = time(timeline.create_time).map(|created| age(time_span(created, now)));
        let ended = time(timeline.finish_time).or_else(|| time(timeline.end_time)).unwrap_or(now);
        let duration = time(timeline.start_time).map(|started| lasted(started, ended));
        let (namespace, id) = names::split(&run.name);
        let mut row = vec![
            id.to_owned(),
            state_name(run.state),
            age.unwrap_or_default(),
            duration.unwrap_or_default(),
            workload(run),
            run.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            reason(run),
        ];
        if self.with_namespace {
            row.insert(0, namespace.to_owned());
        }
        row
    }

    /// The row of a run that left the watch: what it was last, and what became of it. One that only ceased to match
    /// keeps its state, since that is mostly why.
    pub(super) fn removed_row(self, removed: &pb::RunRemoved, now: Timestamp) -> Vec<String> {
        let nothing_known = || pb::Run { name: removed.name.clone(), ..Default::default() };
        let mut row = self.row(&removed.run.clone().unwrap_or_else(nothing_known), now);
        let state = match removed.cause() {
            pb::RunRemovalCause::Unmatched => {
                if let Some(reason) = row.last_mut() {
                    *reason = format!("{reason} (no longer matches)").trim_start().to_owned();
                }
                return row;
            }
            pb::RunRemovalCause::Deleted => "DELETED",
            pb::RunRemovalCause::Archived => "ARCHIVED",
            pb::RunRemovalCause::Unspecified => "GONE",
        };
        if let Some(cell) = row.get_mut(if self.with_namespace { 2 } else { 1 }) {
            state.clone_into(cell);
        }
        row
    }
}

/// How long it took. Kubernetes reports starts and ends in whole seconds: nothing finer is known
/// then.
fn lasted(started: Timestamp, ended: Timestamp) -> String {
    let span = time_span(started, ended);
    let whole = started.subsec_nanosecond() == 0 && ended.subsec_nanosecond() == 0;
    match span.as_secs() {
        0 if whole => "<1 s".to_owned(),
        seconds @ 1..10 if whole => format!("{seconds} s"),
        _ => human(span),
    }
}

/// The profile, or the image.
pub(super) fn workload(run: &pb::Run) -> String {
    match run.spec.as_ref().and_then(|spec| spec.workload.as_ref()) {
        Some(Workload::Runner(runner)) => runner.profile.clone(),
        Some(Workload::Container(container)) => container.image.clone(),
        None => String::new(),
    }
}

/// Why it failed, or why it waits.
fn reason(run: &pb::Run) -> String {
    match &run.failure {
        Some(failure) => reason_name(failure.reason),
        None => run.waiting_reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::table::{TableFrame, render};

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn what_is_known_in_whole_seconds_is_reported_so() {
        let time = |millis| Timestamp::from_millisecond(millis).unwrap();
        for (from, to, wanted) in [
            (110_000, 110_000, "<1 s"),
            (110_000, 113_000, "3 s"),
            (110_000, 175_000, "1m05s"),
            (110_000, 110_400, "0.4 s"),
            (110_500, 113_000, "2.5 s"),
        ] {
            assert_eq!(lasted(time(from), time(to)), wanted);
        }
    }

    #[test]
    fn a_row_shows_what_matters() {
        let run = pb::Run {
            name: "namespaces/team/runs/a".into(),
            state: pb::RunState::Failed.into(),
            spec: Some(pb::RunSpec {
                workload: Some(Workload::Runner(pb::RunnerWorkload { profile: "sql".into() })),
                ..Default::default()
            }),
            timeline: Some(pb::Timeline {
                create_time: at(100),
                start_time: at(110),
                finish_time: at(175),
                ..Default::default()
            }),
            exit_code: Some(1),
            failure: Some(pb::Failure { reason: pb::FailureReason::NonzeroExit.into(), ..Default::default() }),
            ..Default::default()
        };
        let now = Timestamp::from_second(400).unwrap();
        let cells = Columns { with_namespace: true }.table(std::slice::from_ref(&run), now);
        assert_eq!(cells.rows[0], ["team", "a", "FAILED", "5m", "1m05s", "sql", "1", "NONZERO_EXIT"]);
        assert_eq!(cells.header.len(), cells.right.len());
        assert_eq!(Columns { with_namespace: true }.least_widths().count(), cells.header.len());
    }

    #[test]
    fn a_name_is_never_cut() {
        let run = |id: &str, profile: &str| pb::Run {
            name: format!("namespaces/default/runs/{id}"),
            state: pb::RunState::Cancelling.into(),
            spec: Some(pb::RunSpec {
                workload: Some(Workload::Runner(pb::RunnerWorkload { profile: profile.into() })),
                ..Default::default()
            }),
            waiting_reason: "ContainerCreating".into(),
            ..Default::default()
        };
        for (id, width) in
            [("q-ryp56owhzvljgflotuctukmqre2v6bum", 80), ("a-name-of-48-characters-which-is-the-longest-one", 80)]
        {
            let text = render(
                &Columns { with_namespace: false }.table(&[run(id, "a-profile-of-a-long-name")], Timestamp::UNIX_EPOCH),
                TableFrame::Open,
                Some(width),
            );
            assert!(text.contains(id), "{text}");
            if id.len() < 40 {
                assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            }
        }
    }

    #[test]
    fn a_run_of_which_nothing_is_known_is_a_row() {
        let cells = Columns { with_namespace: false }.table(&[pb::Run::default()], Timestamp::UNIX_EPOCH);
        assert_eq!(cells.rows[0], ["", "UNSPECIFIED", "", "", "", "", ""]);
    }
}
