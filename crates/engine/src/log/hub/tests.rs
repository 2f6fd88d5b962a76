//! Reads of a log that is rotated, lags, ends, is refused or taken away. Time is paused.

use tokio::time::{Duration, sleep};

use super::*;
use crate::log::ring::FeedRead;
use crate::log::testing::{Node, Read};
use longshore_backend::{BackendError, LogItem};
use longshore_domain::log::LogGapCause;
use longshore_domain::run::facts::{AttemptPhase, MainFacts};

fn hub(node: &Arc<Node>) -> Hub {
    Hub::new(Arc::new(Read(Arc::clone(node))), EngineMetrics::default())
}

/// What a feed brought: how many lines, and that they are in order and without a hole but where there
/// is a gap; the causes of gaps, each with the number of lines before it; how it ended.
#[derive(Debug, PartialEq)]
struct FeedOutput {
    lines: Vec<usize>,
    gaps: Vec<(usize, LogGapCause)>,
    end: Result<Option<(u64, u64)>, String>,
}

async fn all(feed: &Feed) -> FeedOutput {
    tokio::time::timeout(Duration::from_secs(3600), to_the_end(feed)).await.expect("an end")
}

async fn to_the_end(feed: &Feed) -> FeedOutput {
    let (mut lines, mut gaps, mut at) = (Vec::new(), Vec::new(), 0);
    let mut changes = feed.changes();
    loop {
        changes.borrow_and_update();
        match feed.take(at, 1 << 20) {
            FeedRead::Items(items, next) => {
                at = next;
                for item in items {
                    match item {
                        LogItem::Piece(piece) => {
                            lines.push(std::str::from_utf8(&piece.data).unwrap().trim().parse().unwrap());
                        }
                        LogItem::Gap(gap) => gaps.push((lines.len(), gap.cause)),
                    }
                }
            }
            FeedRead::Wait => changes.changed().await.unwrap(),
            FeedRead::Behind => panic!("the ring is large enough"),
            FeedRead::End(FeedEnd::Complete(whole)) => {
                let end = Ok(whole.map(|whole| (whole.lines, whole.bytes)));
                return FeedOutput { lines, gaps, end };
            }
            FeedRead::End(FeedEnd::Lost(why)) => return FeedOutput { lines, gaps, end: Err(why) },
        }
    }
}

fn numbers(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn unreadable() -> BackendError {
    BackendError::Unreadable { what: "read the log".to_owned(), message: "unable to retrieve".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn what_is_followed_from_its_start_is_whole() {
    let node = Node::new();
    let feed = hub(&node).feed(&node.source(), node.follow());
    node.report_running();
    node.print(3, 0);
    sleep(Duration::from_secs(20)).await;
    node.print(2, 20_000);
    sleep(Duration::from_secs(1)).await;
    node.exit();
    node.report_ended(21);
    assert_eq!(all(&feed).await, FeedOutput { lines: numbers(5), gaps: vec![], end: Ok(Some((5, 10))) });
    assert_eq!(node.opened(), [true, false], "one follow, and one read that closes the tail");
}

#[tokio::test(start_paused = true)]
async fn a_silent_log_is_looked_at_beside_its_follow_only_where_a_connection_may_break() {
    for (node, opened) in [(Node::new(), 11), (Node::local(), 1)] {
        let feed = hub(&node).feed(&node.source(), node.follow());
        node.report_running();
        // Half a minute more than ten looks, so that nothing is due at the same moment.
        sleep(Duration::from_secs(630)).await;
        assert_eq!(node.opened().len(), opened);
        drop(feed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_run_that_was_waited_for_is_whole_though_it_was_never_seen_to_run() {
    let node = Node::new();
    let feed = hub(&node).feed(&node.source(), node.follow());
    node.print(3, 0);
    node.exit();
    node.report_ended(0);
    assert_eq!(all(&feed).await.end, Ok(Some((3, 6))));
}

#[tokio::test(start_paused = true)]
async fn of_what_nobody_followed_only_the_short_has_no_gap() {
    let not_followed = vec![(0, LogGapCause::NotFollowed)];
    // (seconds that it ran, lines, gaps)
    for (ran, lines, gaps) in [
        (3, 5, vec![]),
        (9, 5, vec![]),
        (10, 5, not_followed.clone()),
        (60, 0, not_followed.clone()),
        (3, 200_000, not_followed.clone()),
    ] {
        let node = Node::new();
        node.report_running();
        node.print(lines, 0);
        node.exit();
        node.report_ended(ran);
        sleep(Duration::from_secs(30)).await;
        let mut chunks = hub(&node).read(&node.source(), node.follow(), None, LogReader::Caller);
        let (mut output, mut seen) = (Vec::new(), 0);
        let end = loop {
            match chunks.recv().await.unwrap() {
                Chunk::Items(items) => {
                    for item in items {
                        match item {
                            LogItem::Piece(_) => seen += 1,
                            LogItem::Gap(gap) => output.push((seen, gap.cause)),
                        }
                    }
                }
                Chunk::End(end) => break end,
            }
        };
        assert_eq!((output, seen), (gaps, lines), "ran {ran} s, {lines} lines");
        assert!(matches!(end, FeedEnd::Complete(None)), "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_rotated_on_this_machine() {
    let node = Node::local();
    node.report_running();
    node.print(5, 0);
    node.exit();
    node.report_ended(60);
    sleep(Duration::from_secs(30)).await;
    let feed = hub(&node).feed(&node.source(), node.follow());
    assert_eq!(all(&feed).await, FeedOutput { lines: numbers(5), gaps: vec![], end: Ok(Some((5, 10))) });
}

#[tokio::test(start_paused = true)]
async fn a_late_follow_says_so_once_and_goes_on() {
    let node = Node::new();
    node.report_running();
    node.print(3, 0);
    sleep(Duration::from_secs(30)).await;
    let feed = hub(&node).feed(&node.source(), node.follow());
    sleep(Duration::from_secs(1)).await;
    node.print(2, 31_000);
    sleep(Duration::from_secs(1)).await;
    node.exit();
    node.report_ended(32);
    let gaps = vec![(0, LogGapCause::NotFollowed)];
    assert_eq!(all(&feed).await, FeedOutput { lines: numbers(5), gaps, end: Ok(None) });
}

#[tokio::test(start_paused = true)]
async fn after_a_break_of_the_watch_nobody_knows_when_it_started() {
    let node = Node::new();
    let feed = hub(&node).feed(&node.source(), node.follow());
    node.print(3, 0);
    node.report(MainFacts::Running { started_at: None }, AttemptPhase::Running, 2);
    sleep(Duration::from_secs(1)).await;
    node.exit();
    node.report_ended(3);
    let output = all(&feed).await;
    assert_eq!((output.lines, output.gaps), (numbers(3), vec![(0, LogGapCause::NotFollowed)]));
    assert_eq!(output.end, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_follow_is_not_left_while_it_reads_a_file_that_was_rotated() {
    let node = Node::new();
    let feed = hub(&node).feed(&node.source(), node.follow());
    node.report_running();
    node.print(500, 0);
    node.allow(100);
    sleep(Duration::from_millis(100)).await;
    node.rotate();
    node.print(50, 10);
    node.exit();
    node.report_ended(1);
    sleep(Duration::from_secs(1)).await;
    node.allow(usize::MAX);
    let output = all(&feed).await;
    assert_eq!((output.lines, output.gaps), (numbers(550), vec![]), "not what came after it alone, and no gap");
}

#[tokio::test(start_paused = true)]
async fn a_follow_that_ends_before_the_end_is_seen_loses_nothing_either() {
    let node = Node::new();
    let feed = hub(&node).feed(&node.source(), node.follow());
    node.report_running();
    node.print(500, 0);
    node.allow(499);
    sleep(Duration::from_millis(500)).await;
    node.rotate();
    node.print(50, 10);
    node.exit();
    node.allow(1);
    sleep(Duration::from_secs(1)).await;
    node.report_ended(1);
    let output = all(&feed).await;
    assert_eq!((output.lines, output.gaps), (numbers(550), vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_can_lie_between_is_a_gap() {
    let node = Node::new();
    let feed = hub(&node).feed(&node.source(), node.follow());
    node.report_running();
    node.print(500, 0);
    node.allow(100);
    sleep(Duration::from_millis(100)).await;
    node.rotate();
    node.print(50, 60_000);
    node.exit();
    node.report_ended(61);
    node.allow(usize::MAX);
    let output = all(&feed).await;
    assert_eq!((output.lines.len(), output.gaps), (550, vec![(500, LogGapCause::Rotated)]));
    assert_eq!(output.end, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_follow_that_lags_may_leave_a_file_out_and_says_so() {
    let node = Node::new();
    let feed = hub(&node).feed(&node.source(), node.follow());
    node.report_running();
    node.print(1, 0);
    sleep(Duration::from_millis(50)).await;
    node.allow(0);
    node.print(1, 1_000);
    sleep(Duration::from_secs(21)).await;
    node.rotate();
    node.print(9, 11_000);
    node.rotate();
    node.print(1, 21_000);
    node.allow(usize::MAX);
    sleep(Duration::from_secs(1)).await;
    node.exit();
    node.report_ended(23);
    let output = all(&feed).await;
    assert_eq!((output.lines, output.gaps), (vec![0, 1, 11], vec![(2, LogGapCause::Rotated)]));
    assert_eq!(output.end, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_looked_beside() {
    let node = Node::new();
    let feed = hub(&node).feed(&node.source(), node.follow());
    node.report_running();
    node.print(3, 0);
    sleep(Duration::from_secs(1)).await;
    node.allow(0);
    node.print(2, 2_000);
    sleep(Duration::from_secs(70)).await;
    // The follow is dead, and what it did not bring was read all the same.
    assert_eq!(feed.take(0, 1 << 20).lines(), 5);
    node.allow(usize::MAX);
    // A rotation while nothing is printed is none.
    node.rotate();
    sleep(Duration::from_secs(200)).await;
    node.print(1, 271_000);
    sleep(Duration::from_secs(1)).await;
    node.exit();
    node.report_ended(273);
    let output = all(&feed).await;
    assert_eq!((output.lines, output.gaps), (numbers(6), vec![]));
}

impl FeedRead {
    fn lines(&self) -> usize {
        match self {
            Self::Items(items, _) => items.len(),
            _ => 0,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_refused_is_a_gap_unless_all_of_it_was_followed() {
    for followed in [true, false] {
        for error in [unreadable(), BackendError::NotFound("Pod x".to_owned())] {
            let cause = match &error {
                BackendError::NotFound(_) => LogGapCause::Deleted,
                _ => LogGapCause::Unreadable,
            };
            let node = Node::new();
            let feed = hub(&node).feed(&node.source(), node.follow());
            if followed {
                node.report_running();
            }
            node.print(3, 0);
            sleep(Duration::from_secs(1)).await;
            node.refuse(error);
            node.exit();
            // The follow comes to its end first.
            sleep(Duration::from_secs(1)).await;
            node.report_ended(1);
            let output = all(&feed).await;
            if followed {
                assert_eq!(output, FeedOutput { lines: numbers(3), gaps: vec![], end: Ok(Some((3, 6))) });
            } else {
                assert_eq!((output.lines, output.gaps), (vec![], vec![(0, cause)]), "never an empty output");
                assert!(output.end.is_err());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_followed_whole_is_known_to_be_whole_later() {
    let node = Node::new();
    let hub = hub(&node);
    let feed = hub.feed(&node.source(), node.follow());
    node.report_running();
    node.print(3, 0);
    sleep(Duration::from_secs(30)).await;
    assert!(hub.is_unrotated(&node.source()), "so far");
    node.exit();
    node.report_ended(30);
    all(&feed).await;
    drop(feed);
    sleep(Duration::from_secs(30)).await;
    let feed = hub.feed(&node.source(), node.follow());
    assert_eq!(all(&feed).await, FeedOutput { lines: numbers(3), gaps: vec![], end: Ok(Some((3, 6))) });
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_can_be_had_although_its_log_is_gone() {
    let node = Node::new();
    let hub = hub(&node);
    hub.keep(&node.source(), node.follow());
    node.report_running();
    node.print(3, 0);
    sleep(Duration::from_millis(100)).await;
    node.exit();
    node.refuse(BackendError::NotFound("Pod x".to_owned()));
    node.report_gone();
    sleep(Duration::from_secs(10)).await;
    let feed = hub.ended_feed(&node.source()).unwrap();
    assert_eq!(all(&feed).await, FeedOutput { lines: numbers(3), gaps: vec![], end: Ok(Some((3, 6))) });
    drop(feed);
    hub.forget(&node.source().run_uid);
    assert!(hub.ended_feed(&node.source()).is_none());
}
