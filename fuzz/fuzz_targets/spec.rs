//! A spec is resolved or every violation is reported, always the same way; what is resolved can be stored and read
//! again; and its digest is its own.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::domain::run::digest::PayloadDigest;
use longshore::domain::run::resolve::resolve;
use longshore::domain::run::spec::RunSpec;
use longshore::domain::run::stored;
use longshore_fuzz::rules;

fuzz_target!(|data: &[u8]| {
    let Ok(spec) = serde_json::from_slice::<RunSpec>(data) else { return };
    let digest = PayloadDigest::of(&spec);
    assert_eq!(digest, PayloadDigest::of(&spec.clone()));
    assert!(digest.differing(&digest).is_empty());
    for backend in ["kubernetes", "local"] {
        let rules = rules(backend);
        let resolved = resolve(&spec, &rules);
        assert_eq!(resolved, resolve(&spec, &rules));
        match resolved {
            Err(violations) => assert!(!violations.is_empty()),
            Ok(resolved) => {
                let text = stored::encode(&spec, &resolved.effective).expect("what is resolved can be stored");
                let (_, effective) = stored::decode(&text).expect("what is stored can be read");
                assert_eq!(effective, resolved.effective);
            }
        }
    }
});
