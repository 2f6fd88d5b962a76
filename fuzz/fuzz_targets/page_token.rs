//! A page token is read or refused, and one that is read is what it was made of.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::domain::name::RunName;
use longshore::domain::page::{PageKey, decode, encode};
use longshore_fuzz::{opened, sealed};

const QUERY: &str = "namespaces/default states=RUNNING";
const TAG: &[u8] = b"longshore.dev/page-token\0";
/// Version, and hash of the query.
const START: usize = 1 + 8;

fuzz_target!(|data: &[u8]| {
    let Ok(name) = RunName::parse("namespaces/default/runs/a") else { return };
    let known = opened(&encode(&PageKey { create_time: Default::default(), name }, QUERY));
    let body = [&known[..START], data].concat();
    // As it comes, and with a checksum that is right, which no fuzzer finds.
    for text in [String::from_utf8_lossy(data).into_owned(), sealed(TAG, data), sealed(TAG, &body)] {
        if let Ok(key) = decode::<RunName>(&text, QUERY) {
            assert_eq!(encode(&key, QUERY), text);
        }
    }
});
