use bytes::Bytes;
use proptest::prelude::*;

use super::super::{PIECE_MAX_BYTES, TimestampedSplitter};
use super::*;

/// A log line: nanoseconds after a start, and content.
type TimedLine = (i64, Vec<u8>);

const START: i64 = 1_795_251_120;

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(START) * 1_000_000_000 + i128::from(nanos)).unwrap()
}

/// What the API server returns of `lines`; the last one without `\n` if `unterminated`.
fn rendered(lines: &[TimedLine], since: Option<Timestamp>, unterminated: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (nanos, content) in lines.iter().filter(|(nanos, _)| since.is_none_or(|since| at(*nanos) >= since)) {
        out.extend_from_slice(format!("{:.9} ", at(*nanos)).as_bytes());
        out.extend_from_slice(content);
        out.push(b'\n');
    }
    if unterminated {
        out.pop();
    }
    out
}

fn cut(bytes: &[u8], size: usize) -> Vec<LogPiece> {
    let (mut splitter, mut out) = (TimestampedSplitter::default(), Vec::new());
    for chunk in bytes.chunks(size) {
        splitter.push(Bytes::copy_from_slice(chunk), &mut out);
    }
    splitter.finish(true, &mut out);
    out
}

fn joined(pieces: &[LogPiece]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.data.iter().copied()).collect()
}

/// Reads on from `position`: the gap, and what comes after.
fn read_on(position: LogPosition, pieces: Vec<LogPiece>) -> (Option<LogGap>, Vec<LogPiece>) {
    let (mut resume, mut out, mut gap) = (Resume::new(position), Vec::new(), None);
    for piece in pieces {
        if let Resumed::Lost(lost) = resume.push(piece, &mut out) {
            assert_eq!(gap.replace(lost), None, "a gap is reported once");
        }
    }
    let end = resume.finish(&mut out);
    assert!(gap.is_none() || end.is_none());
    (gap.or(end), out)
}

/// The position `len` bytes into `piece`.
fn within(piece: &LogPiece, before: Option<&LogPiece>, len: usize) -> LogPosition {
    let state = before.filter(|_| piece.offset > 0).map_or(CHECK_START, |before| before.check);
    LogPosition {
        offset: piece.offset + len as u64,
        line_done: piece.ends_line && len == piece.data.len(),
        check: check(state, &piece.data[..len]),
        ..piece.end()
    }
}

fn lines() -> impl Strategy<Value = Vec<TimedLine>> {
    let content = prop_oneof![
        4 => "[ab]{0,3}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>().prop_filter("within a line", |b| *b != b'\n'), 0..30),
        1 => (PIECE_MAX_BYTES - 2..3 * PIECE_MAX_BYTES).prop_map(|len| vec![b'x'; len]),
    ];
    // Few times, so that they are often equal; up to 0.4 s of disorder.
    let line = ((0i64..5, 0i64..5), content);
    prop::collection::vec(line, 1..20).prop_map(|lines| {
        let slow = lines.into_iter().enumerate();
        slow.map(|(index, ((step, disorder), content))| {
            let at = (index as i64 / 3) * 500_000_000 + step * 7;
            (at - disorder * 100_000_000, content)
        })
        .collect()
    })
}

proptest! {
    #[test]
    fn prefix_and_rest_make_the_whole(
        lines in lines(), sizes in (1usize..60_000, 1usize..60_000), pick: prop::sample::Index, inside: prop::sample::Index,
        unterminated: bool,
    ) {
        let first = cut(&rendered(&lines, None, unterminated), sizes.0);
        prop_assume!(!first.is_empty());
        let index = pick.index(first.len());
        let piece = &first[index];
        let len = inside.index(piece.data.len() + 1);
        let position = within(piece, index.checked_sub(1).map(|index| &first[index]), len);
        if len == piece.data.len() {
            prop_assert_eq!(position, piece.end());
        }

        let again = cut(&rendered(&lines, Some(since_seconds(position)), unterminated), sizes.1);
        let (gap, rest) = read_on(position, again);
        prop_assert_eq!(gap, None);
        let mut whole = joined(&first[..index]);
        whole.extend_from_slice(&piece.data[..len]);
        whole.extend(joined(&rest));
        prop_assert!(whole == joined(&first));
        // Positions go on as if nothing had happened.
        prop_assert_eq!(rest.last().map(LogPiece::end), first[index..].last().map(LogPiece::end).filter(|_| !rest.is_empty()));
    }

    #[test]
    fn what_is_gone_is_a_gap_and_what_comes_after_is_there(lines in lines(), size in 1usize..60_000, pick: prop::sample::Index) {
        let mut lines = lines;
        lines.sort_by_key(|(nanos, _)| *nanos);
        let index = pick.index(lines.len());
        let first = cut(&rendered(&lines[..=index], None, false), size);
        let position = first.last().unwrap().end();
        // Rotation took everything up to the position's time.
        let (nanos, _) = lines[index].clone();
        lines.retain(|(later, _)| *later > nanos);
        let again = cut(&rendered(&lines, None, false), size);
        let (gap, rest) = read_on(position, again.clone());
        let gap = gap.unwrap();
        prop_assert_eq!(gap.from_time, Some(at(nanos)));
        prop_assert_eq!(gap.to_time, again.first().map(|piece| piece.time));
        prop_assert_eq!(rest, again);
    }
}

#[test]
fn a_file_that_was_read_out_goes_on_in_the_next_without_a_gap() {
    let lines: Vec<TimedLine> = vec![(0, b"one".to_vec()), (1, b"two".to_vec())];
    let position = cut(&rendered(&lines, None, false), 100)[1].end();
    let read_on = |later: &[TimedLine]| {
        let (mut resume, mut out, mut lost) = (Resume::at_file_end(position), Vec::new(), false);
        for piece in cut(&rendered(later, None, false), 100) {
            lost |= matches!(resume.push(piece, &mut out), Resumed::Lost(_));
        }
        lost |= resume.finish(&mut out).is_some();
        (joined(&out), lost)
    };
    let later = |nanos: i64| vec![(nanos, b"three".to_vec()), (nanos + 1, b"four".to_vec())];
    let rest = b"three\nfour\n".to_vec();
    assert_eq!(read_on(&later(5)), (rest.clone(), false), "dense");
    assert_eq!(read_on(&later(7_000_000_000)), (rest.clone(), false), "no file fits between");
    assert_eq!(read_on(&later(9_000_000_000)), (rest.clone(), true), "one does");
    assert_eq!(read_on(&[]), (Vec::new(), false), "the next file is empty");
    // Where the line is, it is found as ever.
    assert_eq!(read_on(&[lines, later(9_000_000_000)].concat()), (rest, false));
}

#[test]
fn every_place_in_a_small_log_is_found() {
    let lines: Vec<TimedLine> = [(5, "a"), (3, ""), (5, "a"), (5, "b"), (4, "a"), (5, "a")]
        .map(|(nanos, text)| (nanos, text.as_bytes().to_vec()))
        .to_vec();
    let first = cut(&rendered(&lines, None, false), 1_000);
    let whole = joined(&first);
    let mut passed = 0;
    for (index, piece) in first.iter().enumerate() {
        for len in 0..=piece.data.len() {
            let position = within(piece, None, len);
            let (gap, rest) = read_on(position, cut(&rendered(&lines, None, false), 3));
            assert_eq!(gap, None, "line {index}, byte {len}");
            assert_eq!(joined(&rest), whole[passed + len..], "line {index}, byte {len}");
        }
        passed += piece.data.len();
    }
}

#[test]
fn a_last_line_that_grew_is_reported_from_where_it_had_ended() {
    let short = vec![(1, b"one".to_vec()), (2, b"tw".to_vec())];
    let grown = vec![(1, b"one".to_vec()), (2, b"two".to_vec()), (3, b"three".to_vec())];
    let position = cut(&rendered(&short, None, true), 100).last().unwrap().end();
    assert!(position.line_done);
    let (gap, rest) = read_on(position, cut(&rendered(&grown, None, false), 100));
    assert_eq!(gap, None);
    assert_eq!(joined(&rest), b"o\nthree\n");
    assert_eq!((rest[0].offset, rest[0].check), (2, check(CHECK_START, b"two\n")));
}

#[test]
fn a_line_that_changed_is_a_gap() {
    let lines = vec![(1, b"one".to_vec()), (2, vec![b'x'; 2 * PIECE_MAX_BYTES]), (3, b"three".to_vec())];
    let position = cut(&rendered(&lines, None, false), 100)[1].end();
    let mut changed = lines.clone();
    changed[1].1[7] = b'y';
    let (gap, rest) = read_on(position, cut(&rendered(&changed, None, false), 100));
    assert_eq!(gap.unwrap().from_time, Some(at(2)));
    assert_eq!(joined(&rest), b"three\n");

    changed[1].1.truncate(10);
    let (gap, rest) = read_on(position, cut(&rendered(&changed, None, false), 100));
    assert!(gap.is_some());
    assert_eq!(joined(&rest), b"three\n");
}

#[test]
fn a_following_read_does_not_search_for_ever() {
    let position = LogPosition { time: at(0), ordinal: 0, offset: 4, line_done: true, check: 1 };
    let later = vec![(1_000_000_000, b"a".to_vec()), (2_000_000_001, b"b".to_vec())];
    let mut pieces = cut(&rendered(&later, None, false), 100).into_iter();
    let (mut resume, mut out) = (Resume::new(position), Vec::new());
    assert_eq!(resume.push(pieces.next().unwrap(), &mut out), Resumed::Searching);
    let Resumed::Lost(gap) = resume.push(pieces.next().unwrap(), &mut out) else {
        panic!("the position can't come any more");
    };
    assert_eq!((gap.from_time, gap.to_time), (Some(at(0)), Some(at(1_000_000_000))));
    assert_eq!(joined(&out), b"a\nb\n");

    let much: Vec<TimedLine> = (1..40).map(|nanos| (nanos, vec![b'x'; PIECE_MAX_BYTES - 1])).collect();
    let (mut resume, mut out) = (Resume::new(position), Vec::new());
    let pieces = cut(&rendered(&much, None, false), 1_000);
    let lost = pieces.iter().cloned().position(|piece| matches!(resume.push(piece, &mut out), Resumed::Lost(_)));
    assert_eq!(lost, Some(HELD_MAX_BYTES / PIECE_MAX_BYTES));
    assert_eq!(joined(&out), joined(&pieces[..=HELD_MAX_BYTES / PIECE_MAX_BYTES]));
}

#[test]
fn a_log_is_read_from_a_whole_second_before() {
    let since = |nanos| {
        since_seconds(LogPosition { time: at(nanos), ordinal: 0, offset: 0, line_done: true, check: CHECK_START })
    };
    assert_eq!(since(0), at(-1_000_000_000));
    assert_eq!(since(999_999_999), at(-1_000_000_000));
    assert_eq!(since(1_000_000_000), at(0));
    let first = LogPosition { time: Timestamp::MIN, ordinal: 0, offset: 0, line_done: true, check: CHECK_START };
    assert_eq!(since_seconds(first), Timestamp::MIN);
}
