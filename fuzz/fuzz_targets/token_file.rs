//! A file of tokens is read or refused in words that hold none of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::config::TokenFile;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(refused) = TokenFile::parse(text) {
        // Somebody may have typed a token in the wrong place.
        assert!(refused.is_ascii() && refused.len() < 200, "{refused}");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        assert!(!words.filter(|word| word.len() > 12).any(|word| refused.contains(word)), "{refused}");
    }
});
