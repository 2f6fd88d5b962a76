//! What a caller is given of a log that is rotated, refused or gone. Time is paused.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};

use super::event::{LogEndReason, LogEvent};
use super::hub::Hub;
use super::open::EVENTS;
use super::query::{AttemptSelector, LogQuery, LogStart};
use super::stream::{StreamStart, Streamer};
use super::testing::{Node, Read};
use crate::metrics::EngineMetrics;
use longshore_backend::BackendError;
use longshore_domain::log::LogGapCause;
use longshore_runtime::task;

/// What a stream gave: how many lines, the gaps with the number of lines before each, the counts of
/// the whole, and why lines were left out.
#[derive(Debug, Default, PartialEq)]
struct Given {
    lines: usize,
    gaps: Vec<(usize, LogGapCause)>,
    whole: Option<(u64, u64)>,
    truncated: bool,
    end: Option<LogEndReason>,
}

fn hub(node: &Arc<Node>) -> Hub {
    Hub::new(Arc::new(Read(Arc::clone(node))), EngineMetrics::default())
}

fn query(follow: bool, start: LogStart) -> LogQuery {
    let name = longshore_domain::testing::facts().name;
    let container = "run".to_owned();
    let attempts = AttemptSelector::Latest;
    LogQuery { name, attempts, container, stream: None, follow, start, limit_bytes: None, skip_result_lines: false }
}

async fn given(node: &Node, hub: &Hub, query: LogQuery) -> Given {
    tokio::time::timeout(Duration::from_secs(3600), to_the_end(node, hub, query)).await.expect("an end")
}

async fn to_the_end(node: &Node, hub: &Hub, query: LogQuery) -> Given {
    let (events, mut stream) = mpsc::channel(EVENTS);
    let start = StreamStart { attempt: 1, position: None };
    let observed = node.follow().borrow().clone();
    let mut streamer = Streamer::new(hub.clone(), &observed.facts, &start, query, node.follow(), events);
    let run = task::spawn("test", async move { streamer.run().await.map_err(|_| ()) });
    let mut given = Given::default();
    while let Some(event) = stream.recv().await {
        match event.unwrap() {
            LogEvent::Pieces { pieces, .. } => given.lines += pieces.len(),
            LogEvent::Gap { gap, .. } => given.gaps.push((given.lines, gap.cause)),
            LogEvent::AttemptEnded { whole, .. } => given.whole = whole.map(|whole| (whole.lines, whole.bytes)),
            LogEvent::Truncated { .. } => given.truncated = true,
            LogEvent::AttemptStarted { .. } | LogEvent::Heartbeat { .. } => {}
            LogEvent::Reconnect { .. } | LogEvent::End { .. } => unreachable!("its caller sends these"),
        }
    }
    given.end = Some(run.await.unwrap().expect("an orderly end"));
    given
}

/// A run that printed `lines` and ended after `seconds`, followed by nobody, some time ago.
async fn unfollowed(lines: usize, seconds: i64) -> Arc<Node> {
    let node = Node::new();
    node.report_running();
    node.print(lines, 0);
    node.exit();
    node.report_ended(seconds);
    sleep(Duration::from_secs(30)).await;
    node
}

fn unreadable() -> BackendError {
    BackendError::Unreadable { what: "read the log".to_owned(), message: "unable to retrieve".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn counts_are_given_only_of_what_was_followed() {
    for follow in [false, true] {
        let short = unfollowed(5, 3).await;
        let given_short = given(&short, &hub(&short), query(follow, LogStart::Beginning)).await;
        assert_eq!((given_short.lines, given_short.gaps, given_short.whole), (5, vec![], None), "{follow}");

        let long = unfollowed(5, 60).await;
        let given_long = given(&long, &hub(&long), query(follow, LogStart::Beginning)).await;
        let gap = vec![(0, LogGapCause::NotFollowed)];
        assert_eq!((given_long.lines, given_long.gaps, given_long.whole), (5, gap, None), "{follow}");
    }
    // By somebody else, and then it is known for all.
    let node = Node::new();
    let hub = hub(&node);
    let follower = task::spawn("test", {
        let (node, hub) = (Arc::clone(&node), hub.clone());
        async move { given(&node, &hub, query(true, LogStart::Beginning)).await }
    });
    tokio::task::yield_now().await;
    node.report_running();
    node.print(5, 0);
    sleep(Duration::from_secs(30)).await;
    let so_far = given(&node, &hub, query(false, LogStart::Beginning)).await;
    assert_eq!((so_far.lines, so_far.gaps, so_far.end), (5, vec![], Some(LogEndReason::CaughtUp)));
    node.exit();
    node.report_ended(30);
    assert_eq!(follower.await.unwrap().whole, Some((5, 10)));
    let after = given(&node, &hub, query(false, LogStart::Beginning)).await;
    assert_eq!((after.lines, after.gaps, after.whole), (5, vec![], Some((5, 10))));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_not_asked_for_is_no_gap() {
    let at = |millis: i64| LogStart::Since(jiff::Timestamp::from_millisecond(1_795_251_120_000 + millis).unwrap());
    let gap = vec![(0, LogGapCause::NotFollowed)];
    for (start, lines, gaps) in [
        (LogStart::Tail(3), 3, vec![]),
        (LogStart::Tail(9), 5, gap.clone()),
        (at(0), 5, vec![]),
        (at(-5), 5, gap.clone()),
        (at(1), 0, vec![]),
    ] {
        let node = unfollowed(5, 60).await;
        let given = given(&node, &hub(&node), query(false, start.clone())).await;
        assert_eq!((given.lines, given.gaps), (lines, gaps), "{start:?}");
        assert_eq!(given.truncated, start == LogStart::Tail(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_is_a_gap_and_never_empty() {
    let table =
        [(unreadable(), LogGapCause::Unreadable), (BackendError::NotFound("Pod x".to_owned()), LogGapCause::Deleted)];
    for follow in [false, true] {
        for (error, cause) in &table {
            for ended in [true, false] {
                let node = if ended { unfollowed(5, 60).await } else { Node::new() };
                if !ended {
                    node.report_running();
                    if follow {
                        // A live one is tried again and again.
                        continue;
                    }
                }
                node.refuse(Node::again(error));
                let given = given(&node, &hub(&node), query(follow, LogStart::Beginning)).await;
                assert_eq!((given.lines, given.gaps, given.whole), (0, vec![(0, *cause)], None), "{error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn output_of_a_pod_that_is_gone_is_a_gap_or_what_was_kept_of_it() {
    let node = unfollowed(5, 60).await;
    node.refuse(BackendError::NotFound("Pod x".to_owned()));
    node.report_gone();
    let gone = given(&node, &hub(&node), query(false, LogStart::Beginning)).await;
    assert_eq!((gone.lines, gone.gaps), (0, vec![(0, LogGapCause::Deleted)]));

    let node = Node::new();
    let hub = hub(&node);
    hub.keep(&node.source(), node.follow());
    node.report_running();
    node.print(5, 0);
    sleep(Duration::from_secs(1)).await;
    node.exit();
    node.refuse(BackendError::NotFound("Pod x".to_owned()));
    node.report_gone();
    sleep(Duration::from_secs(10)).await;
    for follow in [false, true] {
        let kept = given(&node, &hub, query(follow, LogStart::Beginning)).await;
        assert_eq!((kept.lines, kept.gaps, kept.whole), (5, vec![], Some((5, 10))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_saw_run_has_a_gap_if_there_was_anything_to_see() {
    let node = Node::new();
    for (had_pod, gaps) in [(true, vec![(0, LogGapCause::Deleted)]), (false, vec![])] {
        node.report_cancelled_unseen(had_pod, true);
        for follow in [false, true] {
            let given = given(&node, &hub(&node), query(follow, LogStart::Beginning)).await;
            assert_eq!((given.lines, given.gaps, given.whole), (0, gaps.clone(), None), "{had_pod}");
        }
        // Anyone who follows waits until it is known.
        node.report_cancelled_unseen(false, false);
        let (hub, counted) = (hub(&node), async {
            sleep(Duration::from_secs(60)).await;
            node.report_cancelled_unseen(had_pod, true);
        });
        let (given, ()) = tokio::join!(given(&node, &hub, query(true, LogStart::Beginning)), counted);
        assert_eq!((given.lines, given.gaps), (0, gaps), "{had_pod}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_falls_behind_reads_on_by_itself_without_a_gap() {
    let node = Node::new();
    let hub = hub(&node);
    let (events, mut stream) = mpsc::channel(1);
    let start = StreamStart { attempt: 1, position: None };
    let facts = node.follow().borrow().facts.clone();
    let asked = query(true, LogStart::Beginning);
    let mut streamer = Streamer::new(hub, &facts, &start, asked, node.follow(), events);
    let run = task::spawn("test", async move { streamer.run().await.map_err(|_| ()) });
    node.report_running();
    // More than a ring holds, while nobody takes anything.
    node.print(60_000, 0);
    sleep(Duration::from_secs(5)).await;
    let mut lines = 0;
    let mut take = async |until: usize| {
        while lines < until {
            match stream.recv().await.unwrap().unwrap() {
                LogEvent::Pieces { pieces, .. } => {
                    let first: usize = std::str::from_utf8(&pieces[0].data).unwrap().trim().parse().unwrap();
                    assert_eq!(first, lines, "in order, nothing twice and nothing left out");
                    lines += pieces.len();
                }
                LogEvent::Gap { gap, .. } => panic!("{gap:?}"),
                _ => {}
            }
        }
    };
    take(20_000).await;
    node.print(10_000, 5_000);
    sleep(Duration::from_secs(1)).await;
    node.exit();
    node.report_ended(6);
    take(70_000).await;
    let whole = loop {
        match stream.recv().await.unwrap().unwrap() {
            LogEvent::AttemptEnded { whole, .. } => break whole,
            LogEvent::Gap { gap, .. } => panic!("{gap:?}"),
            _ => {}
        }
    };
    assert_eq!(whole.map(|whole| whole.lines), Some(70_000), "as the feed knows");
    drop(stream);
    let _ = run.await;
}
