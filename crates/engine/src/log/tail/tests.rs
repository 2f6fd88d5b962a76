use bytes::Bytes;
use jiff::Timestamp;

use super::*;

fn piece(bytes: usize, ends_line: bool) -> LogPiece {
    let data = Bytes::from(vec![b'x'; bytes]);
    LogPiece { time: Timestamp::UNIX_EPOCH, ordinal: 0, offset: 0, stream: None, data, ends_line, check: 0 }
}

/// The tail of `count` lines of `bytes` each: how many lines there are, and why others are not.
fn tail(asked: u64, count: usize, bytes: usize) -> (usize, Option<LogTruncationCause>) {
    let mut last = LastLines::new(asked, None);
    (0..count).for_each(|_| last.push(piece(bytes, true)));
    let Tail { truncated, pieces, .. } = last.end();
    (pieces.len(), truncated.map(|(cause, _)| cause))
}

#[test]
fn a_tail_keeps_what_it_promises_and_says_what_cut_it() {
    use LogTruncationCause::{TailBytes, TailLines};
    let table = [
        // (asked, lines, bytes of each) → (kept, why others are not)
        ((3, 20, 8), (3, Some(TailLines))),
        ((50, 20, 8), (20, None)),
        ((20, 20, 8), (20, None)),
        ((0, 20, 8), (0, Some(TailLines))),
        ((90_000, 100_000, 61), (90_000, Some(TailLines))),
        ((137_518, 140_000, 61), (137_518, Some(TailLines))),
        ((139_000, 140_000, 61), (137_518, Some(TailBytes))),
        ((1_000_000, 140_000, 61), (137_518, Some(TailBytes))),
        ((1_000_000, 137_518, 61), (137_518, None)),
        ((190_000, 400_000, 1), (190_000, Some(TailLines))),
        ((300_000, 400_000, 1), (200_000, Some(TailBytes))),
        ((10, 600, 20_000), (10, Some(TailLines))),
        ((500, 600, 20_000), (419, Some(TailBytes))),
    ];
    for ((asked, lines, bytes), expected) in table {
        assert_eq!(tail(asked, lines, bytes), expected, "{asked} of {lines} lines of {bytes} bytes");
    }
}

#[test]
fn lines_that_were_too_large_once_don_t_matter_to_a_tail_that_is_whole() {
    let mut last = LastLines::new(2, None);
    last.push(piece(MAX_BYTES, true));
    (0..3).for_each(|_| last.push(piece(5, true)));
    let Tail { truncated, pieces, .. } = last.end();
    assert_eq!((pieces.len(), truncated.map(|(cause, _)| cause)), (2, Some(LogTruncationCause::TailLines)));
}

#[test]
fn a_line_is_left_out_whole_and_only_one_that_is_too_large_begins_in_the_middle() {
    let half = MAX_BYTES / 2;
    let mut last = LastLines::new(9, None);
    [(half, false), (half, true), (1, false), (1, true)]
        .iter()
        .for_each(|(bytes, ends)| last.push(piece(*bytes, *ends)));
    let sizes = |tail: Tail| tail.pieces.iter().map(|piece| piece.data.len()).collect::<Vec<_>>();
    assert_eq!(sizes(last.end()), [1, 1]);
    let mut last = LastLines::new(9, None);
    (0..3).for_each(|_| last.push(piece(half, false)));
    last.push(piece(1, true));
    assert_eq!(sizes(last.end()), [half, 1]);
}

#[test]
fn a_start_that_may_be_missing_concerns_no_tail_that_was_cut() {
    let gap = |cause| LogGap { from_time: None, to_time: None, cause, message: String::new() };
    for (asked, expected) in
        [(1, vec![LogGapCause::Rotated]), (9, vec![LogGapCause::NotFollowed, LogGapCause::Rotated])]
    {
        let mut last = LastLines::new(asked, None);
        last.gap(gap(LogGapCause::NotFollowed));
        (0..3).for_each(|_| last.push(piece(1, true)));
        last.gap(gap(LogGapCause::Rotated));
        let causes: Vec<_> = last.end().gaps.iter().map(|gap| gap.cause).collect();
        assert_eq!(causes, expected, "{asked} of 3 lines");
    }
}
