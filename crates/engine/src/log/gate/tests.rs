use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use longshore_domain::log::LogPiece;

fn piece(bytes: usize) -> LogItem {
    LogItem::Piece(LogPiece {
        time: Timestamp::UNIX_EPOCH,
        ordinal: 0,
        offset: 0,
        stream: None,
        data: Bytes::from(vec![b'x'; bytes]),
        ends_line: true,
        check: 0,
    })
}

fn gate(at_start: bool, ran: Option<u64>) -> Gate {
    Gate::new(Beginning { rotates: true, at_start, ran: ran.map(Duration::from_secs) })
}

/// What has passed: bytes of pieces, `None` for the gap.
fn shape(items: &[LogItem]) -> Vec<Option<usize>> {
    items
        .iter()
        .map(|item| match item {
            LogItem::Piece(piece) => Some(piece.data.len()),
            LogItem::Gap(gap) => {
                assert_eq!((gap.cause, gap.from_time), (LogGapCause::NotFollowed, None));
                None
            }
        })
        .collect()
}

#[test]
fn a_start_that_is_there_passes_at_once() {
    let mut gate = gate(true, None);
    assert_eq!(shape(&gate.take(vec![piece(1)])), [Some(1)]);
    assert!(!gate.would_miss());
    assert_eq!(shape(&gate.end()), []);
}

#[test]
fn a_start_that_may_be_missing_is_one_gap_before_the_first_byte() {
    for ran in [None, Some(10)] {
        let mut gate = gate(false, ran);
        assert_eq!(shape(&gate.take(vec![piece(1), piece(2)])), [None, Some(1), Some(2)]);
        assert!(gate.is_missing());
        assert_eq!(shape(&gate.take(vec![piece(3)])), [Some(3)]);
        assert_eq!(shape(&gate.end()), []);
    }
}

#[test]
fn nothing_at_all_may_be_the_newest_file() {
    let mut gate = gate(false, Some(60));
    assert_eq!(shape(&gate.take(Vec::new())), []);
    assert!(gate.would_miss());
    let items = gate.end();
    assert_eq!(shape(&items), [None]);
    assert!(matches!(&items[0], LogItem::Gap(gap) if gap.to_time.is_none()));
}

#[test]
fn a_short_output_passes_once_it_is_known_to_be_short() {
    let mut short = gate(false, Some(3));
    assert_eq!(shape(&short.take(vec![piece(1)])), []);
    assert_eq!(shape(&short.take(vec![piece(2)])), []);
    assert_eq!(shape(&short.end()), [Some(1), Some(2)]);

    let mut much = gate(false, Some(3));
    let (half, rest) = (1 << 19, 1 << 19);
    assert_eq!(shape(&much.take(vec![piece(half)])), []);
    assert_eq!(shape(&much.take(vec![piece(rest), piece(5)])), [None, Some(half), Some(rest), Some(5)]);
    assert_eq!(shape(&much.end()), []);
}
