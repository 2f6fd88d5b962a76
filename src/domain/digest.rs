//! Digests of what was submitted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Digests of a submitted [`super::spec::RunSpec`] as received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadDigest {
    /// SHA-256 over all, in hex.
    pub sha256: String,
    /// The first 8 bytes of each set top-level field's SHA-256, in hex, by the field's proto name:
    /// they tell which fields differ.
    pub fields: BTreeMap<String, String>,
}
