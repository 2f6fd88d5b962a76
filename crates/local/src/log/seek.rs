//! Finds a time in a log file without reading all of it: the shim's times rise strictly.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;

use longshore_domain::log::PIECE_MAX_BYTES;

/// Within how many bytes there is a whole head of an entry, wherever one begins to look.
const WINDOW: usize = PIECE_MAX_BYTES + 256;
/// What is not worth cutting in half.
const CLOSE: u64 = 4 * WINDOW as u64;

/// The start of an entry that is older than `time`, and not far before it; or the start of the file.
pub(super) fn before(file: &File, time: Timestamp) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    let mut buffer = vec![0; WINDOW];
    while high - low > CLOSE {
        let middle = low + (high - low) / 2;
        let read = file.read_at(&mut buffer, middle)?;
        match next_entry(buffer.get(..read).unwrap_or_default()) {
            Some((start, found)) if found < time => low = middle + start as u64,
            Some(_) => high = middle,
            // Not as the shim wrote it: what is known so far is still right.
            None => break,
        }
    }
    Ok(low)
}

/// Where the first entry begins that begins in `bytes`, after a line's end, and its time.
fn next_entry(bytes: &[u8]) -> Option<(usize, Timestamp)> {
    let start = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let head = bytes.get(start..)?;
    let end = head.iter().position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(head.get(..end)?).ok()?.parse().ok()?;
    Some((start, time))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use longshore_domain::log::{LogStream, cri_line};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Entries of seconds 0, 1, …, and where each begins.
    fn log(entries: i64, size: usize) -> (File, Vec<u64>) {
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for second in 0..entries {
            starts.push(bytes.len() as u64);
            cri_line(at(second), LogStream::Stdout, true, &vec![b' '; size], &mut bytes);
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, starts)
    }

    #[test]
    fn it_ends_before_the_time_and_near_it() {
        for size in [1, 1000, PIECE_MAX_BYTES] {
            let (file, starts) = log(300, size);
            for second in [0, 1, 150, 299] {
                let found = before(&file, at(second)).unwrap();
                let wanted = starts[usize::try_from(second).unwrap()];
                assert!(starts.contains(&found), "{size} {second}");
                assert!(found <= wanted && wanted - found <= CLOSE, "{size} {second}: {found} of {wanted}");
            }
        }
    }

    #[test]
    fn what_is_no_log_is_read_from_its_start() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; 10 * WINDOW]).unwrap();
        assert_eq!(before(&file, at(1)).unwrap(), 0);
    }
}
