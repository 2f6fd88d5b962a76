use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const MIB: u64 = 1024 * 1024;

fn beginning(at_start: bool, ran: Option<u64>) -> Beginning {
    Beginning { rotates: true, at_start, ran: ran.map(Duration::from_secs) }
}

#[test]
fn what_is_said_of_a_start() {
    use Start::{Likely, MayBeMissing, There};
    let table = [
        // Followed from its first byte.
        (beginning(true, None), 0, There),
        (beginning(true, None), 100 * MIB, There),
        (beginning(true, Some(3)), 100 * MIB, There),
        // Short, and little: no more is said.
        (beginning(false, Some(0)), 0, Likely),
        (beginning(false, Some(9)), MIB - 1, Likely),
        // Long, or much, or not known: an empty newest file says nothing either.
        (beginning(false, Some(9)), MIB, MayBeMissing),
        (beginning(false, Some(10)), 0, MayBeMissing),
        (beginning(false, Some(10)), 1, MayBeMissing),
        (beginning(false, Some(3600)), 100 * MIB, MayBeMissing),
        (beginning(false, None), 0, MayBeMissing),
        (beginning(false, None), 1, MayBeMissing),
    ];
    for (beginning, bytes, expected) in table {
        assert_eq!(beginning.start(bytes), expected, "{beginning:?}, {bytes} bytes");
        assert_eq!(Beginning { rotates: false, ..beginning }.start(bytes), There, "{beginning:?}, {bytes} bytes");
    }
}

#[test]
fn an_output_is_whole_only_below_the_size_of_a_rotation() {
    // 61 bytes and 45 before each: 98,922 such lines fit 10 MiB, 98,923 do not.
    let table = [(0, true), (10_000, true), (98_922, true), (98_923, false), (190_000, false)];
    for (lines, whole) in table {
        assert_eq!(beginning(true, None).is_whole(lines, lines * 61), whole, "{lines} lines");
        assert!(!beginning(false, Some(1)).is_whole(lines, lines * 61), "{lines} lines that nobody followed");
        let local = Beginning { rotates: false, at_start: false, ran: None };
        assert!(local.is_whole(lines, lines * 61), "nothing is rotated there");
    }
    assert!(!beginning(true, None).is_whole(0, 10 * MIB), "one line without an end");
    assert!(!beginning(true, None).is_whole(u64::MAX, u64::MAX));
}

proptest! {
    #[test]
    fn less_is_said_the_less_is_known(
        rotates: bool, at_start: bool, ran in prop::option::of(0u64..100), lines in 0u64..200_000, bytes in 0u64..20_000_000,
        more in 0u64..20_000_000,
    ) {
        let it = Beginning { rotates, at_start, ran: ran.map(Duration::from_secs) };
        let rank = |start: Start| match start {
            Start::There => 2,
            Start::Likely => 1,
            Start::MayBeMissing => 0,
        };
        prop_assert!(rank(it.start(bytes + more)) <= rank(it.start(bytes)));
        prop_assert!(it.is_whole(lines, bytes) || !it.is_whole(lines + more, bytes + more));
        let unknown = Beginning { rotates: true, at_start: false, ran: None };
        prop_assert!(rank(unknown.start(bytes)) <= rank(it.start(bytes)));
        // What is whole has its first byte, and a gap at the start is never of a whole output.
        prop_assert!(!it.is_whole(lines, bytes) || it.start(bytes) == Start::There);
    }

    #[test]
    fn a_follow_that_keeps_up_leaves_nothing_out(
        steps in prop::collection::vec((0i64..60_000, 0u64..7_000), 1..40), skew in -100_000i64..100_000,
    ) {
        // However long the pauses, and whatever our clock says.
        let mut lag = Lag::default();
        let mut time = 0;
        for (pause, delay) in steps {
            time += pause;
            let arrived = u64::try_from(time).unwrap() + delay;
            prop_assert!(!lag.take(&line(time + skew), Duration::from_millis(arrived)));
            prop_assert!(!lag.is_far_behind());
        }
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_795_251_120_000 + millis).unwrap()
}

fn line(millis: i64) -> LogPiece {
    LogPiece {
        time: at(millis),
        ordinal: 0,
        offset: 0,
        stream: None,
        data: Bytes::from_static(b"x\n"),
        ends_line: true,
        check: 0,
    }
}

#[test]
fn a_file_may_be_left_out_where_a_follow_that_lags_meets_a_pause() {
    // (time of the line, its arrival, whether a file may be missing before it), in ms.
    let lagging = [
        (0, 50, false),
        (1_000, 1_050, false),
        (2_000, 12_000, false),
        // It lags, but goes on line by line.
        (2_001, 12_001, false),
        (9_900, 20_000, false),
        // 10 s behind, and 11 s are not there.
        (20_900, 20_001, true),
        // It is up again: a pause is a pause.
        (80_000, 80_060, false),
    ];
    let mut lag = Lag::default();
    for (time, arrived, expected) in lagging {
        assert_eq!(lag.take(&line(time), Duration::from_millis(arrived)), expected, "line of {time} ms");
    }
    assert!(!lag.is_far_behind());
    assert!(!lag.take(&line(80_100), Duration::from_secs(95)));
    assert!(lag.is_far_behind());
}

#[test]
fn files_follow_each_other_if_no_other_can_lie_between() {
    for (pause, expected) in [(-5, true), (0, true), (7_999, true), (8_000, false), (60_000, false)] {
        assert_eq!(is_next_file(at(0), at(pause)), expected, "{pause} ms");
    }
}
