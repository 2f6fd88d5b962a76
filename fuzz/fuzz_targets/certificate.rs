//! A certificate is read or refused; of several common names none is its name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::runtime::certificate::Certificate;

fuzz_target!(|data: &[u8]| {
    if let Ok(read) = Certificate::from_der(data) {
        assert!(read.common_name.is_none() || read.common_names == 1);
    }
});
