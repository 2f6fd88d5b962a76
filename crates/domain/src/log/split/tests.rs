use proptest::prelude::*;

use super::*;

const T: &str = "2026-11-21T08:52:00.123456789Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Cuts `input`, chunked at `cuts`: the pieces, and the backend's own words.
fn answered(input: &[u8], cuts: &[usize], complete: bool) -> (Vec<LogPiece>, Option<String>) {
    let (mut splitter, mut out) = (TimestampedSplitter::default(), Vec::new());
    for chunk in chunks(input, cuts) {
        splitter.push(chunk, &mut out);
    }
    splitter.finish(complete, &mut out);
    let refusal = splitter.refusal();
    (out, refusal)
}

fn timestamped(input: &[u8], cuts: &[usize], complete: bool) -> Vec<LogPiece> {
    answered(input, cuts, complete).0
}

fn cri(input: &[u8], cuts: &[usize]) -> (Vec<LogPiece>, usize) {
    let (mut splitter, mut out) = (CriSplitter::default(), Vec::new());
    for chunk in chunks(input, cuts) {
        splitter.push(chunk, &mut out);
    }
    let dropped = splitter.finish();
    (out, dropped)
}

/// `input` in chunks of the given sizes, over and over; whole if there are none.
fn chunks(input: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(input);
    let mut out = Vec::new();
    for size in sizes.iter().cycle().copied().filter(|size| *size > 0) {
        if rest.is_empty() {
            break;
        }
        out.push(rest.split_to(size.min(rest.len())));
    }
    out.push(rest);
    out
}

/// (time, ordinal, offset, data, ends_line), the check being right.
fn described(pieces: &[LogPiece]) -> Vec<(Timestamp, u32, u64, String, bool)> {
    let mut state = CHECK_START;
    let described = pieces.iter().map(|piece| {
        state = check(if piece.offset == 0 { CHECK_START } else { state }, &piece.data);
        assert_eq!(piece.check, state, "check of {piece:?}");
        let text = String::from_utf8_lossy(&piece.data).into_owned();
        (piece.time, piece.ordinal, piece.offset, text, piece.ends_line)
    });
    described.collect()
}

#[test]
fn lines_are_cut_and_counted_within_their_time() {
    let later = "2026-11-21T08:52:01Z";
    let input = format!("{T} one\n{T} two\n{later} \n{T} three\n");
    let expected = vec![
        (time(T), 0, 0, "one\n".to_owned(), true),
        (time(T), 1, 0, "two\n".to_owned(), true),
        (time(later), 0, 0, "\n".to_owned(), true),
        (time(T), 2, 0, "three\n".to_owned(), true),
    ];
    assert_eq!(described(&timestamped(input.as_bytes(), &[], true)), expected);
    assert_eq!(described(&timestamped(input.as_bytes(), &[1], true)), expected);
}

#[test]
fn a_long_line_comes_in_pieces() {
    let content = vec![b'x'; 2 * PIECE_MAX_BYTES + 5];
    let input = [format!("{T} ").as_bytes(), &content, b"\n"].concat();
    for cuts in [&[][..], &[1], &[7, 70_000], &[PIECE_MAX_BYTES]] {
        let pieces = timestamped(&input, cuts, true);
        let shape: Vec<_> =
            pieces.iter().map(|piece| (piece.offset, piece.data.len(), piece.ordinal, piece.ends_line)).collect();
        let piece = PIECE_MAX_BYTES as u64;
        assert_eq!(
            shape,
            [(0, PIECE_MAX_BYTES, 0, false), (piece, PIECE_MAX_BYTES, 0, false), (2 * piece, 6, 0, true)]
        );
        described(&pieces);
    }
}

#[test]
fn a_runtime_part_passes_before_the_line_goes_on() {
    let (mut splitter, mut out) = (TimestampedSplitter::default(), Vec::new());
    let part = [format!("{T} ").as_bytes(), &vec![b'x'; PIECE_MAX_BYTES]].concat();
    splitter.push(Bytes::from(part), &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn a_last_line_without_end_is_delivered_only_if_the_read_was_complete() {
    let input = format!("{T} one\n{T} tw");
    assert_eq!(timestamped(input.as_bytes(), &[], false).len(), 1);
    let pieces = timestamped(input.as_bytes(), &[3], true);
    assert_eq!(described(&pieces)[1], (time(T), 1, 0, "tw".to_owned(), true));
    assert!(pieces[1].partial());
}

#[test]
fn a_time_that_was_cut_off_is_no_output() {
    for len in 1..T.len() {
        let input = format!("{T} one\n{}", &T[..len]);
        assert_eq!(timestamped(input.as_bytes(), &[], true).len(), 1, "{len} bytes of a time");
    }
}

#[test]
fn the_kubelets_own_words_are_no_output() {
    let words = [
        "unable to retrieve container logs for containerd://0123456789abcdef",
        "failed to watch file \"/var/log/pods/0.log\": too many open files",
        "failed to try resolving symlinks in path \"/var/log/pods/0.log\": no such file or directory",
        "rpc error: code = DeadlineExceeded",
        "2026: not a time",
        "x",
    ];
    let lines = format!(
        "{T} one
{T} two
"
    );
    for sentence in words {
        for end in [
            "", "
",
        ] {
            for cuts in [&[][..], &[1], &[39], &[41]] {
                let alone = answered(format!("{sentence}{end}").as_bytes(), cuts, true);
                assert_eq!(alone, (Vec::new(), Some(sentence.to_owned())));
                let (pieces, refusal) = answered(format!("{lines}{sentence}{end}").as_bytes(), cuts, true);
                assert_eq!((pieces.len(), refusal.as_deref()), (2, Some(sentence)));
                // Nothing is cut after them.
                let (pieces, refusal) = answered(
                    format!(
                        "{lines}{sentence}
{T} three
"
                    )
                    .as_bytes(),
                    cuts,
                    true,
                );
                assert_eq!((pieces.len(), refusal.as_deref()), (2, Some(sentence)));
            }
        }
    }
    // Of a program, with a time before it, they are output as any other.
    let (pieces, refusal) = answered(
        format!(
            "{T} {}
",
            words[0]
        )
        .as_bytes(),
        &[],
        true,
    );
    assert_eq!((pieces.len(), refusal), (1, None));
    let (_, refusal) = answered("y".repeat(100_000).as_bytes(), &[7_000], true);
    assert_eq!(refusal.map(|text| text.len()), Some(1024));
}

#[test]
fn words_are_reported_once_they_are_whole() {
    let (mut splitter, mut out) = (TimestampedSplitter::default(), Vec::new());
    splitter.push(Bytes::from_static(b"unable to retrieve container logs for container"), &mut out);
    assert_eq!(splitter.refusal(), None);
    splitter.push(
        Bytes::from_static(
            b"d://a
more",
        ),
        &mut out,
    );
    assert_eq!(splitter.refusal().as_deref(), Some("unable to retrieve container logs for containerd://a"));
    assert!(out.is_empty());
}

#[test]
fn times_are_read_in_every_form_that_go_prints() {
    let mut stamps = Stamps::default();
    for text in [
        T,
        "2026-11-21T08:52:00.12Z",
        "2026-11-21T08:52:00Z",
        "2026-11-21T08:52:00.5+01:00",
        "2026-11-21T08:52:00.000000001+01:00",
        "2026-11-21T08:52:00.000000001-11:30",
        "1969-12-31T23:59:59.9Z",
        "1969-12-31T23:59:59.8Z",
    ] {
        assert_eq!(stamps.read(text.as_bytes()), Some(time(text)), "{text}");
    }
    for text in [
        "",
        "failed",
        "2026-11-21",
        "2026-11-21T08:52:00",
        "2026-11-21T08:52:00.Z",
        "2026-11-21T08:52:00.1234567890Z",
        "2026-11-21T08:52:00.12",
        "2026-13-21T08:52:00.12Z",
        "2026-11-21 08:52:00.12Z",
        "2026-11-21T08:52:00.12\u{e9}",
    ] {
        assert_eq!(stamps.read(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn cri_lines_are_lines_of_their_own() {
    let input = format!("{T} stdout P half\n{T} stderr F err\n{T} stdout F  rest\n{T} stdout P:x \n{T} stdout F \n");
    let (pieces, dropped) = cri(input.as_bytes(), &[]);
    let expected = [
        (Some(LogStream::Stdout), 0, "half", true),
        (Some(LogStream::Stderr), 1, "err\n", false),
        (Some(LogStream::Stdout), 2, " rest\n", false),
        (Some(LogStream::Stdout), 4, "\n", false),
    ];
    let found: Vec<_> = pieces
        .iter()
        .map(|piece| (piece.stream, piece.ordinal, std::str::from_utf8(&piece.data).unwrap(), piece.partial()))
        .collect();
    assert_eq!(found, expected);
    assert!(pieces.iter().all(|piece| piece.ends_line));
    assert_eq!(dropped, 0);
}

#[test]
fn an_unfinished_cri_line_is_held_back() {
    let input = format!("{T} stdout F one\n{T} stdout F tw");
    let (pieces, dropped) = cri(input.as_bytes(), &[4]);
    assert_eq!(pieces.len(), 1);
    assert!(dropped > 0);
}

#[test]
fn malformed_cri_lines_keep_their_bytes() {
    let lines =
        ["\n", "\0\0\0\n", "stdout F x\n", "2026-11-21T08:52:00Z stdfoo F x\n", "2026-11-21T08:52:00Z stdout\n"];
    let input = format!("{T} stdout F one\n{}", lines.concat());
    for cuts in [&[][..], &[1]] {
        let (pieces, _) = cri(input.as_bytes(), cuts);
        let described = described(&pieces);
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(described[index + 1], (time(T), index as u32 + 1, 0, (*line).to_owned(), true));
            assert_eq!(pieces[index + 1].stream, None);
        }
    }
}

/// What a program writes: a stream and some bytes at a time.
fn writes() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let bytes = prop_oneof![
        "[ab\n ]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        (PIECE_MAX_BYTES - 3..PIECE_MAX_BYTES + 3).prop_map(|len| vec![b'y'; len]),
        (0..3 * PIECE_MAX_BYTES).prop_map(|len| vec![b'z'; len]),
    ];
    prop::collection::vec((any::<bool>(), bytes), 0..8)
}

fn stream(stderr: bool) -> LogStream {
    if stderr { LogStream::Stderr } else { LogStream::Stdout }
}

proptest! {
    #[test]
    fn a_program_gets_its_bytes_back_through_cri(
        writes in writes(),
        sizes in prop::collection::vec(1usize..40_000, 1..4),
        width in prop_oneof![1usize..50, Just(PIECE_MAX_BYTES)],
    ) {
        let mut file = Vec::new();
        let mut wrote = [Vec::new(), Vec::new()];
        for (stderr, bytes) in &writes {
            wrote[usize::from(*stderr)].extend_from_slice(bytes);
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                let (text, ended) = match line.strip_suffix(b"\n") {
                    Some(text) => (text, true),
                    None => (line, false),
                };
                let mut parts = text.chunks(width.max(text.len() / 50)).peekable();
                if parts.peek().is_none() && ended {
                    cri_line(time(T), stream(*stderr), false, b"", &mut file);
                }
                while let Some(part) = parts.next() {
                    let partial = parts.peek().is_some() || !ended;
                    cri_line(time(T), stream(*stderr), partial, part, &mut file);
                }
            }
        }
        let (pieces, dropped) = cri(&file, &sizes);
        prop_assert_eq!(dropped, 0);
        described(&pieces);
        for stderr in [false, true] {
            let mine = pieces.iter().filter(|piece| piece.stream == Some(stream(stderr)));
            let read: Vec<u8> = mine.flat_map(|piece| piece.data.iter().copied()).collect();
            prop_assert!(read == wrote[usize::from(stderr)]);
        }
        prop_assert_eq!(pieces, cri(&file, &[]).0);
    }

    #[test]
    fn chunks_never_matter(
        lines in prop::collection::vec(prop_oneof![
            "2026-11-21T08:52:0[0-2](\\.[0-9]{1,3})?Z .{0,20}",
            ".{0,60}",
            (PIECE_MAX_BYTES - 45..PIECE_MAX_BYTES + 3).prop_map(|len| format!("{T} {}", "y".repeat(len))),
            (PIECE_MAX_BYTES - 3..PIECE_MAX_BYTES + 3).prop_map(|len| "y".repeat(len)),
        ], 0..8),
        sizes in prop::collection::vec(1usize..20_000, 1..4),
    ) {
        let input = lines.join("\n");
        let (whole, refusal) = answered(input.as_bytes(), &[], true);
        prop_assert_eq!((whole.clone(), refusal), answered(input.as_bytes(), &sizes, true));
        prop_assert!(whole.iter().all(|piece| !piece.data.is_empty() && piece.data.len() <= PIECE_MAX_BYTES));
        described(&whole);
        prop_assert_eq!(cri(input.as_bytes(), &[]), cri(input.as_bytes(), &sizes));
    }
}
