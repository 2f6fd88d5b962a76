//! A log in the CRI format is cut into the same bytes however it comes in chunks, and read again from any place in it,
//! it goes on there, or a gap is reported.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use longshore::domain::log::{CriSplitter, LogPiece, PIECE_MAX_BYTES, Resume, Resumed};

fn pieces(log: &[u8], chunk: usize) -> Vec<LogPiece> {
    let (mut splitter, mut pieces) = (CriSplitter::default(), Vec::new());
    for chunk in log.chunks(chunk.max(1)) {
        splitter.push(Bytes::copy_from_slice(chunk), &mut pieces);
    }
    splitter.finish();
    assert!(pieces.iter().all(|piece| piece.data.len() <= PIECE_MAX_BYTES));
    pieces
}

fn bytes(pieces: &[LogPiece]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.data.iter().copied()).collect()
}

fuzz_target!(|data: &[u8]| {
    let [chunk, place, log @ ..] = data else { return };
    let whole = pieces(log, log.len());
    let cut = pieces(log, usize::from(*chunk));
    assert_eq!(bytes(&whole), bytes(&cut));
    if whole.is_empty() {
        return;
    }
    let at = usize::from(*place) % whole.len();
    let (mut resume, mut after) = (Resume::new(whole[at].end()), Vec::new());
    let mut lost = false;
    for piece in cut {
        lost |= matches!(resume.push(piece, &mut after), Resumed::Lost(_));
    }
    lost |= resume.finish(&mut after).is_some();
    if !lost {
        assert_eq!(bytes(&after), bytes(&whole[at + 1..]));
    }
});
