use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use longshore_domain::name::RunName;
use longshore_engine::AttemptSelector;

fn encoder(format: v1::LogFormat) -> LogEncoder {
    let query = LogQuery {
        name: RunName::parse("namespaces/default/runs/a").unwrap(),
        attempts: AttemptSelector::Latest,
        container: "run".to_owned(),
        stream: None,
        follow: true,
        start: LogStart::Cursor("asked".to_owned()),
        limit_bytes: None,
        skip_result_lines: false,
    };
    LogEncoder::new(&query, format)
}

fn piece(stream: LogStream, data: &[u8]) -> LogPiece {
    LogPiece {
        time: Timestamp::from_second(7).unwrap(),
        ordinal: 0,
        offset: 0,
        stream: Some(stream),
        data: Bytes::copy_from_slice(data),
        ends_line: data.ends_with(b"\n"),
        check: 0,
    }
}

fn pieces(pieces: Vec<LogPiece>, cursor: &str) -> LogEvent {
    LogEvent::Pieces { attempt: 1, pieces, marked: false, cursor: cursor.to_owned() }
}

fn encode(encoder: &mut LogEncoder, events: Vec<LogEvent>) -> Vec<Event> {
    let mut out = VecDeque::new();
    for event in events {
        let _ = encoder.encode(event, &mut out);
    }
    out.into_iter().filter_map(|message| message.event).collect()
}

fn text(events: &[Event]) -> String {
    let entries = events.iter().filter_map(|event| match event {
        Event::Entries(entries) => Some(&entries.entries),
        _ => None,
    });
    entries.flatten().map(|entry| entry.text.as_str()).collect()
}

#[test]
fn bytes_are_passed_on_as_they_are() {
    let mut encoder = encoder(v1::LogFormat::Bytes);
    let raw = [0xff, 0x00, b'\n'];
    let events = encode(&mut encoder, vec![pieces(vec![piece(LogStream::Stderr, &raw)], "c1")]);
    let [Event::Entries(entries)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(entries.cursor, "c1");
    let entry = &entries.entries[0];
    assert_eq!((entry.data.as_ref(), entry.text.as_str(), entry.partial), (&raw[..], "", false));
    assert_eq!((entry.stream(), entry.kind()), (v1::LogStream::Stderr, v1::LogEntryKind::Output));
    assert_eq!((entry.attempt, entry.container.as_str()), (1, "run"));
    assert_eq!(entry.receive_time.unwrap().seconds, 7);
}

#[test]
fn characters_cut_between_pieces_are_put_together() {
    let euro = "€".as_bytes();
    let mut encoder = encoder(v1::LogFormat::Text);
    let first = pieces(vec![piece(LogStream::Stdout, &[b'a', euro[0]])], "c1");
    // The other stream comes between and is not mixed in.
    let other = pieces(vec![piece(LogStream::Stderr, b"e\n")], "c2");
    let second = pieces(vec![piece(LogStream::Stdout, &euro[1..2])], "c3");
    let third = pieces(vec![piece(LogStream::Stdout, &[euro[2], b'b', b'\n'])], "c4");
    let events = encode(&mut encoder, vec![first, other, second, third]);
    assert_eq!(text(&events), "ae\n€b\n");
    // The second piece had nothing to report yet.
    assert_eq!(events.len(), 3);
}

#[test]
fn characters_that_never_end_are_reported_before_what_follows() {
    let mut encoder = encoder(v1::LogFormat::Text);
    let cut = pieces(vec![piece(LogStream::Stdout, &[b'x', 0xe2, 0x82])], "c1");
    let whole = OutputSummary { lines: 1, bytes: 3, sha256: "ab".to_owned() };
    let ended = LogEvent::AttemptEnded { attempt: 1, exit_code: Some(0), whole: Some(whole) };
    let events = encode(&mut encoder, vec![cut, ended]);
    assert_eq!(text(&events), "x\u{fffd}");
    let Some(Event::AttemptEnded(ended)) = events.last() else { panic!("{events:?}") };
    assert_eq!((ended.exit_code, ended.lines, ended.bytes), (Some(0), Some(1), Some(3)));
}

#[test]
fn invalid_bytes_do_not_wait() {
    for raw in [&[0xff][..], &[0x80], &[0xc3, 0x28], &[0xf8, 0x80]] {
        assert_eq!(whole_characters(raw), raw.len(), "{raw:x?}");
    }
    assert_eq!(whole_characters(&[0xf0, 0x9f, 0x98]), 0);
    assert_eq!(whole_characters("a€".as_bytes()), 4);
    assert_eq!(whole_characters(b""), 0);
}

#[test]
fn a_stream_ends_in_end_or_reconnect_with_a_cursor() {
    let mut out = VecDeque::new();
    let mut log = encoder(v1::LogFormat::Bytes);
    log.reconnect(ReconnectReason::Draining, &mut out);
    let Some(Event::Reconnect(reconnect)) = out.pop_front().unwrap().event else { panic!() };
    assert_eq!(reconnect.cursor, "asked");
    assert_eq!(reconnect.reason(), v1::ReconnectReason::Draining);

    let end = LogEvent::End { cursor: "z".to_owned(), reason: LogEndReason::CaughtUp };
    assert_eq!(log.encode(end, &mut out), ControlFlow::Break(()));
    let Some(Event::Ended(end)) = out.pop_front().unwrap().event else { panic!() };
    assert_eq!((end.cursor.as_str(), end.reason()), ("z", v1::LogEndReason::CaughtUp));

    let slow = LogEvent::Reconnect { cursor: "y".to_owned(), reason: ReconnectReason::Slow };
    assert_eq!(log.encode(slow, &mut out), ControlFlow::Break(()));
    let Some(Event::Reconnect(slow)) = out.pop_front().unwrap().event else { panic!() };
    assert_eq!((slow.cursor.as_str(), slow.reason()), ("y", v1::ReconnectReason::Slow));
}

proptest! {
    /// However a text is cut into pieces, it reads as if it had come in one.
    #[test]
    fn cuts_do_not_show(line in "\\PC{0,40}", cuts in proptest::collection::vec(0usize..160, 0..8)) {
        let mut bytes = line.into_bytes();
        bytes.push(b'\n');
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).filter(|w| w[0] < w[1]);
        let events = parts.map(|w| pieces(vec![piece(LogStream::Stdout, &bytes[w[0]..w[1]])], "c")).collect();
        let events = encode(&mut encoder(v1::LogFormat::Text), events);
        prop_assert_eq!(text(&events).into_bytes(), bytes);
    }
}
