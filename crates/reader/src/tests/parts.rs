use super::*;

#[test]
fn candidates_are_explained() {
    let mut reader = ResultReader::explaining(rule());
    reader.push(None, b"{\"a\":1} [{\"b\":1}] {\"c\": x} {'d': 1} {y}");
    let (outcome, candidates) = reader.finish_explained(b"");
    assert_eq!(summary(&outcome), Ok("{\"d\":1}"));
    let summary: Vec<_> = candidates.iter().map(|c| (c.start, c.end, c.won)).collect();
    let expected =
        [(0, Some(7), false), (8, Some(17), false), (18, None, false), (27, Some(35), true), (36, None, false)];
    assert_eq!(summary, expected, "{candidates:#?}");
}

#[test]
fn marked_parts_are_joined() {
    let sum = |text: &str| data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(text.as_bytes()));
    let good = format!("M+1 {{\"a\": \nM+2 [1, 2]\nnoise\nM+3 }}\nM=3 {}\n", sum("{\"a\": [1, 2]}"));
    let found = object(read_with(ReaderRule { marker: "M".to_owned(), ..rule() }, good.as_bytes(), b""));
    assert_eq!(found.json.as_deref(), Some("{\"a\":[1,2]}"));
    assert_eq!((found.source, found.byte_range), (ResultSource::MarkedLine, Some((1, good.len() as u64))));
    let table = [
        (good.replace('\n', "\r\n"), Ok("{\"a\":[1,2]}")),
        (format!("{good}M+1 {{\n"), Ok("{\"a\":[1,2]}")),
        (format!("M+1 oops\n{good}"), Ok("{\"a\":[1,2]}")),
        (format!("{good}M{{\"b\":1}}\n"), Ok("{\"b\":1}")),
        (format!("M{{\"b\":1}}\n{good}"), Ok("{\"a\":[1,2]}")),
        ("M+1 {\"a\":\n".to_owned(), Err(ResultErrorKind::Truncated)),
        (good.replace("M+2 [1, 2]\n", ""), Err(ResultErrorKind::Truncated)),
        (good.replace("M=3", "M=4"), Err(ResultErrorKind::Truncated)),
        (good.replace("[1, 2]", "[1, 3]"), Err(ResultErrorKind::Invalid)),
        (good.replace("M+2 ", "M+x "), Err(ResultErrorKind::Invalid)),
        ("M=1 00\n".to_owned(), Err(ResultErrorKind::Truncated)),
        (format!("M+1 [1]\nM=1 {}\n", sum("[1]")), Err(ResultErrorKind::NotAnObject)),
        (format!("M+1 {}\nM=1 {}\n", "x".repeat(7000), sum("")), Err(ResultErrorKind::TooLarge)),
        (format!("M+1 {0}\nM+2 {0}\nM=2 {1}\n", "x".repeat(600), sum("")), Err(ResultErrorKind::TooLarge)),
    ];
    for (output, expected) in table {
        let rule = ReaderRule { marker: "M".to_owned(), max_bytes: 1000, ..rule() };
        assert_eq!(summary(&read_with(rule, output.as_bytes(), b"")), expected, "{output}");
    }
}
