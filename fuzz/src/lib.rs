//! What the fuzz targets share: with the tests of the reader, and among each other.

#[allow(dead_code)]
#[path = "../../crates/reader/tests/reader/noise.rs"]
pub mod noise;
#[path = "../../crates/reader/tests/reader/reading.rs"]
pub mod reading;

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use longshore::domain::run::profile::{Capabilities, KubernetesProfile, Limits, LocalProfile, Profile, Volume};
use longshore::domain::run::rules::Rules;
use longshore::domain::result::ResultOutcome;
use longshore::domain::run::spec::NetworkMode;
use longshore::domain::run::validate::overridable;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// `body` as tokens and cursors have it: with the first bytes of a tagged hash behind it, as base64url.
pub fn sealed(tag: &[u8], body: &[u8]) -> String {
    let sum = Sha256::new().chain_update(tag).chain_update(body).finalize();
    BASE64URL_NOPAD.encode(&[body, &sum[..4]].concat())
}

/// The bytes of such a text.
pub fn opened(text: &str) -> Vec<u8> {
    BASE64URL_NOPAD.decode(text.as_bytes()).expect("it was made here")
}

/// Rules that a spec may pass: a profile `p` that lets all be set, and a volume `v`.
pub fn rules(backend: &'static str) -> Rules {
    let cluster = backend == "kubernetes";
    let capabilities = Capabilities {
        backend,
        container_workload: cluster,
        split_streams: !cluster,
        stdin_input: !cluster,
        secret_key_ref: cluster,
        placement: cluster,
        user: cluster,
        resource_limits: true,
        root_filesystem: true,
        network_modes: vec![NetworkMode::None, NetworkMode::Egress, NetworkMode::Cluster],
        volumes: true,
        queue: true,
        queues: if cluster { vec!["q".to_owned()] } else { Vec::new() },
        isolation: "pod",
        notes: Vec::new(),
    };
    let profile = Profile {
        name: "p".to_owned(),
        overridable: overridable().map(str::to_owned).collect(),
        kubernetes: Some(KubernetesProfile { image: "localhost/p:1".to_owned(), ..KubernetesProfile::default() }),
        local: Some(LocalProfile { command: vec!["true".to_owned()], mounts: Vec::new() }),
        ..Profile::default()
    };
    let volume = Volume { local_path: Some("/srv".to_owned()), config_map: Some("v".to_owned()), ..Volume::default() };
    Rules {
        limits: Limits::default(),
        capabilities,
        profiles: BTreeMap::from([("p".to_owned(), profile)]),
        volumes: BTreeMap::from([("v".to_owned(), volume)]),
    }
}

/// The object that `text` is, if `serde_json` reads it as one.
pub fn object(text: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Value>(text).ok().filter(Value::is_object)
}

/// What stands around `object` in noise: empty braces in a line of text are a placeholder, and no object.
pub fn line_of_its_own(object: &Value) -> &'static [u8] {
    if object.as_object().is_some_and(serde_json::Map::is_empty) { b"\n" } else { b"" }
}

/// Fails unless `outcome` is `expected`.
pub fn assert_found(outcome: &ResultOutcome, expected: &Value) {
    let ResultOutcome::Found(found) = outcome else { panic!("{outcome:?}, not {expected}") };
    let json = found.json.as_deref().unwrap_or_default();
    let value: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    assert_eq!(&value, expected);
    assert!(
        value.as_object().map(|o| o.keys().collect::<Vec<_>>()) == expected.as_object().map(|o| o.keys().collect())
    );
}
