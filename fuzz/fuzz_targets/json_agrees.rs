//! What `serde_json` reads as an object is found and equal, alone and in noise.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore_fuzz::noise::{Random, noise};
use longshore_fuzz::reading::{read_chunks, read_file, read_output};
use longshore_fuzz::{assert_found, line_of_its_own, object};

fuzz_target!(|data: &[u8]| {
    let Some(expected) = object(data) else { return };
    assert_found(&read_file(data), &expected);
    assert_found(&read_output(data), &expected);
    let mut random = Random::new(data.len() as u64);
    let line = line_of_its_own(&expected);
    let output = [&noise(&mut random, true), line, data, line, &noise(&mut random, false)].concat();
    assert_found(&read_chunks(&output, &mut random, 64), &expected);
});
