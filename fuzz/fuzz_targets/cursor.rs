//! A cursor of a log stream is read or refused, and one that is read is what it was made of.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::domain::log::cursor::LogCursor;
use longshore_fuzz::{opened, sealed};

const UID: &str = "0190c0de-0000-7000-8000-000000000000";
const TAG: &[u8] = b"longshore.dev/log-cursor/v1\0";
/// Version, and hash of the run.
const START: usize = 1 + 8;

fuzz_target!(|data: &[u8]| {
    let known = opened(&LogCursor::new(UID, 1, None).encode());
    let body = [&known[..START], data].concat();
    // As it comes, and with a checksum that is right, which no fuzzer finds.
    for text in [String::from_utf8_lossy(data).into_owned(), sealed(TAG, data), sealed(TAG, &body)] {
        if let Ok(cursor) = LogCursor::decode(&text, UID) {
            assert_eq!(cursor.encode(), text);
        }
    }
});
