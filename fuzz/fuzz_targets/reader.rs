//! Any bytes, in any chunks, under any bounds: never a panic, and chunks never matter. The last bytes of the input
//! choose the bounds and the chunks, so that a seed is just a text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::domain::result::reader::{Dialects, ReaderRule};
use longshore::domain::run::spec::ResultScan;
use longshore_fuzz::noise::Random;
use longshore_fuzz::reading::{read, rule};

fuzz_target!(|data: &[u8]| {
    let (text, [bounds, channels, chunks]) = match data.split_last_chunk::<3>() {
        Some((text, choices)) => (text, *choices),
        None => (data, [0; 3]),
    };
    let rule = ReaderRule {
        scan: if channels & 1 == 0 { ResultScan::LastObject } else { ResultScan::Off },
        marker: if channels & 2 == 0 { String::new() } else { "@@".to_owned() },
        dialects: match channels >> 6 {
            0 | 1 => Dialects::Any,
            2 => Dialects::Json,
            _ => Dialects::Python,
        },
        max_bytes: if bounds & 1 == 0 { rule().max_bytes } else { 16 << (bounds >> 5) },
        max_depth: if bounds & 2 == 0 { 200 } else { 1 + usize::from(bounds >> 5) },
    };
    let file = if channels & 4 == 0 { &b""[..] } else { text };
    let whole = read(&rule, file, text, || usize::MAX);
    let mut random = Random::new(u64::from(chunks));
    let most = 1 + usize::from(chunks & 15);
    assert_eq!(read(&rule, file, text, || 1 + random.below(most)), whole);
});
