//! Many runs at once under a daemon that is killed again and again, some cancelled, some followed.
//! What each run is said to be is held beside what a raw watch of the Pods saw of it.
//!
//! `LONGSHORE_CHAOS_SEED` (default 1) repeats a schedule, `LONGSHORE_CHAOS_RUNS` (default 100) sets
//! how many runs there are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use longshore::proto::v1::{
    CancelRunRequest, FailureReason, LogGapCause, Run, RunState, SubmitRunRequest, WaitRunRequest,
};
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::case::{on_cluster, script};
use crate::support::client::{Client, follow, submit_request};
use crate::support::logs::{Closing, Log, resumed};
use crate::support::spec::seconds;
use crate::support::wait::BOUND;
use crate::witness::{Shown, Witness};

/// Runs that live at the same time.
const AT_ONCE: usize = 10;
/// Seconds that nothing that is cancelled takes to end, on however slow a node.
const LONG: u64 = 60;
/// With which runc's first process, a Go program, ends by a TERM.
const RUNTIME_ENDED: i32 = 2;
/// Between two tries of a call that a kill interrupted.
const AGAIN: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_repeated_or_invented_while_the_daemon_is_killed() {
    let (seed, runs) = (number("LONGSHORE_CHAOS_SEED", 1), number("LONGSHORE_CHAOS_RUNS", 100));
    eprintln!("chaos: seed {seed}, {runs} runs");
    on_cluster("chaos", async |case| {
        let witness = Witness::watch(case.api()).await;
        let mut dice = Dice(seed);
        let (addresses, address) = watch::channel(case.daemon.address());
        let mut reported = Vec::new();
        let mut next = 0;
        while next < runs {
            let until = runs.min(next + AT_ONCE as u64);
            let lives: Vec<_> =
                (next..until).map(|number| live(Plan::draw(number, &mut dice), address.clone())).collect();
            next = until;
            let kills = async {
                for _ in 0..=dice.below(2) {
                    // A moment out of the schedule, not a wait for something.
                    tokio::time::sleep(Duration::from_millis(dice.below(2500))).await;
                    case.daemon.kill().await;
                    case.daemon.revive().await;
                    addresses.send_replace(case.daemon.address());
                }
            };
            let (stories, ()) = tokio::join!(futures::future::join_all(lives), kills);
            reported.extend(stories);
        }
        let seen = witness.seen().await;
        for story in &reported {
            story.check(&seen);
        }
        let jobs = case.api::<Job>().list(&ListParams::default()).await.expect("the Jobs").items;
        assert_eq!(jobs.len() as u64, runs, "one Job a run");
    })
    .await;
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        _ => default,
    }
}

/// A small generator of numbers (splitmix64), so that a seed is a schedule.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// What is done to one run.
#[derive(Clone, Debug)]
struct Plan {
    id: String,
    /// Its program sleeps so long between `start` and `end`.
    sleeps: u64,
    exit_code: i32,
    /// When it is cancelled, from the answer to its submit on.
    cancel_after: Option<Duration>,
    followed: bool,
}

impl Plan {
    fn draw(number: u64, dice: &mut Dice) -> Self {
        let cancelled = dice.below(2) == 0;
        // Half of the cancels come before anything can have started.
        let delay = if dice.below(2) == 0 { dice.below(100) } else { dice.below(3000) };
        Self {
            id: format!("chaos-{number}"),
            // Of those that are cancelled some would go on for long, and some end about then by themselves.
            sleeps: if cancelled && dice.below(2) == 0 { LONG } else { dice.below(4) },
            exit_code: i32::try_from(dice.below(2) * 3).unwrap_or_default(),
            cancel_after: cancelled.then(|| Duration::from_millis(delay)),
            followed: dice.below(2) == 0,
        }
    }

    fn script(&self) -> String {
        let (sleeps, exit_code) = (self.sleeps, self.exit_code);
        // It writes before it can be ended by a TERM, which a first process without a trap ignores.
        format!("echo start; trap 'exit 143' TERM; sleep {sleeps} & wait $!; echo end; sleep 0.2; exit {exit_code}")
    }
}

/// What became of one run, by Longshore.
#[derive(Debug)]
struct Story {
    plan: Plan,
    /// As the acknowledgement of the cancel gave it.
    at_cancel: Option<Run>,
    /// Whether the daemon was killed between that, or the submit of what is not cancelled, and the end.
    interrupted: bool,
    end: Run,
    log: Option<Log>,
}

/// Submits, cancels and follows as planned, whatever happens to the daemon meanwhile.
async fn live(plan: Plan, address: watch::Receiver<SocketAddr>) -> Story {
    let client = || Client::to(*address.borrow());
    let request = SubmitRunRequest { run_id: plan.id.clone(), ..submit_request(script(&plan.script())) };
    let submitted = insist(async || client().try_submit(request.clone()).await).await;
    let name = submitted.run.expect("the run").name;
    // Of a run that is not cancelled: from its submit on.
    let mut life = Some(*address.borrow()).filter(|_| plan.cancel_after.is_none());
    let log = async {
        if !plan.followed {
            return None;
        }
        let mut log = Log::default();
        while log.closing.is_none_or(|closing| matches!(closing, Closing::Reconnect(_))) {
            let request = resumed(&follow(&name), &log.cursor);
            let part = insist(async || client().try_open_logs(request.clone()).await).await.until_cut().await;
            log = joined(log, part);
        }
        Some(log)
    };
    let at_cancel = async {
        tokio::time::sleep(plan.cancel_after?).await;
        let request = CancelRunRequest { name: name.clone(), ..CancelRunRequest::default() };
        let answer = insist(async || client().runs.clone().cancel_run(request.clone()).await).await;
        life = Some(*address.borrow());
        Some(answer.into_inner().run.expect("the run"))
    };
    let (log, at_cancel) = tokio::join!(log, at_cancel);
    let request = WaitRunRequest { name: name.clone(), timeout: seconds(10), ..WaitRunRequest::default() };
    let end = loop {
        let answer = insist(async || client().runs.clone().wait_run(request.clone()).await).await;
        let run = answer.into_inner().run.expect("the run");
        if run.state().is_terminal() {
            break run;
        }
    };
    let interrupted = life != Some(*address.borrow());
    Story { plan, at_cancel, interrupted, end, log }
}

/// One stream as the continuation of another.
fn joined(mut log: Log, part: Log) -> Log {
    log.entries.extend(part.entries);
    log.gaps.extend(part.gaps);
    log.ended.extend(part.ended);
    if !part.cursor.is_empty() {
        log.cursor = part.cursor;
    }
    log.closing = part.closing;
    log
}

/// Calls again for as long as nobody answers.
pub(crate) async fn insist<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> T {
    let answered = async {
        loop {
            match call().await {
                Ok(answer) => return answer,
                // What a killed daemon leaves of a call, and what a new one says until it is ready.
                Err(status)
                    if matches!(
                        status.code(),
                        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                    ) =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(status) => panic!("{status:?}"),
            }
        }
    };
    tokio::time::timeout(BOUND, answered).await.expect("a daemon that answers")
}

impl Story {
    /// Holds what was reported beside what was seen.
    fn check(&self, seen: &HashMap<String, Shown>) {
        let (plan, end) = (&self.plan, &self.end);
        let shown = seen.get(&plan.id).cloned().unwrap_or_default();
        // What is wrong is the last line.
        let all = |what: &str| format!("{self:?}\nseen: {shown:?}\n{what}");
        assert!(shown.pods.len() <= 1, "{}", all("executed once"));
        let timeline = end.timeline.as_ref().expect("a timeline");
        let time = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| time.as_ref().map(|t| t.0);
        let (started, finished) = (stamp(timeline.start_time), stamp(timeline.finish_time));
        match &shown.end {
            Some(pod) => {
                let said = (end.exit_code, started, finished);
                let seen = (Some(pod.exit_code), time(&pod.started_at), time(&pod.finished_at));
                // The Job's controller deletes the Pod of what is cancelled before it was seen to start: what
                // nobody saw while the daemon was down is not said.
                let unseen = self.at_cancel.is_some() && said.0.is_none() && said.2.is_none();
                assert!(said == seen || unseen, "{}", all("what the Pod said is what the record says"));
            }
            None => assert_eq!(end.exit_code, None, "{}", all("an exit code that no Pod had")),
        }
        assert!(started.is_none() || shown.started, "{}", all("what is said to have started did"));
        match (&self.at_cancel, end.state()) {
            (None, state) => {
                let (expected, reason) = match plan.exit_code {
                    0 => (RunState::Succeeded, None),
                    _ => (RunState::Failed, Some(FailureReason::NonzeroExit)),
                };
                let found = end.failure.as_ref().map(|failure| failure.reason());
                assert_eq!(
                    (state, found),
                    (expected, reason),
                    "{}",
                    all("the end of what is not cancelled is its program's")
                );
            }
            // It may have ended by itself before.
            (Some(_), RunState::Succeeded) => {
                assert_eq!(end.exit_code, Some(0), "{}", all("what succeeded exited with 0"))
            }
            (Some(_), RunState::Failed) => {
                assert_eq!(end.exit_code, Some(3), "{}", all("what failed by itself exited with its code"))
            }
            (Some(_), state) => {
                assert_eq!(state, RunState::Cancelled, "{}", all("cancelled"));
                // Never starts, or is ended as started: it does not run to its end.
                let ran_on = shown.end.as_ref().is_some_and(|end| end.exit_code == plan.exit_code);
                assert!(plan.sleeps < LONG || !ran_on, "{}", all("ran on after an acknowledged cancel"));
            }
        }
        if let Some(log) = &self.log {
            assert!(matches!(log.closing, Some(Closing::End(_))), "{}", all("the log ends"));
            let text = log.text();
            if self.at_cancel.is_none() {
                // Of a program that it did not see start a daemon can't know that nothing was rotated away.
                let other = log.gaps.iter().find(|gap| !self.interrupted || gap.cause() != LogGapCause::NotFollowed);
                assert_eq!((text.as_str(), other), ("start\nend\n", None), "{}", all("the whole log, without a gap"));
            } else {
                assert!(
                    "start\nend\n".starts_with(&text),
                    "{}",
                    all(&format!("a part of the log from its start: {text:?}"))
                );
                let says_so = !text.is_empty() || !log.gaps.is_empty();
                // A TERM that comes before the runtime's own first process has become the program ends that one.
                let was_executed = shown.started && shown.end.as_ref().is_none_or(|end| end.exit_code != RUNTIME_ENDED);
                assert!(says_so || !was_executed, "{}", all("what ran has output or a gap"));
            }
        }
    }
}

fn stamp(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
}
