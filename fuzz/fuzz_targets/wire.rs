//! A SubmitRun of any bytes is a request, or every violation of it is reported; what came through is resolved or
//! refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::domain::run::digest::PayloadDigest;
use longshore::domain::run::resolve::resolve;
use longshore::grpc::read_submit;
use longshore_fuzz::rules;

fuzz_target!(|data: &[u8]| {
    let Some((spec, violations)) = read_submit(data) else { return };
    let digest = PayloadDigest::of(&spec);
    assert_eq!(digest, PayloadDigest::of(&spec));
    for backend in ["kubernetes", "local"] {
        let resolved = resolve(&spec, &rules(backend));
        assert!(resolved.is_err() || violations.is_empty() || !violations.to_string().is_empty());
    }
});
