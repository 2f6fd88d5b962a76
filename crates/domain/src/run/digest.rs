//! Digests of what was submitted: they distinguish a replay from another request under the same id.
//! How each field counts stands in [`super::fields`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::batch::BatchItem;
use super::fields;
use super::fields::value::Encoder;
use super::spec::RunSpec;

/// Digests of a submitted [`RunSpec`] as received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadDigest {
    /// SHA-256 over all, in hex.
    pub sha256: String,
    /// The first 8 bytes of each set top-level field's SHA-256, in hex, by the field's proto name:
    /// they show which fields differ.
    pub fields: BTreeMap<String, String>,
}

/// Bytes of a field's digest that are kept.
const FIELD_PREFIX: usize = 8;

impl PayloadDigest {
    /// The digests of `spec`. Values of `secret_env` don't count, their names do.
    #[must_use]
    pub fn of(spec: &RunSpec) -> Self {
        SpecDigest::of(spec).payload(None)
    }

    /// Top-level fields that are set in one only, or to something else, by name.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.fields.keys().chain(other.fields.keys()).collect();
        names.into_iter().filter(|name| self.fields.get(*name) != other.fields.get(*name)).cloned().collect()
    }
}

/// The digests of a spec's fields, of which those of payloads are made: many runs may be submitted with one spec.
#[derive(Clone, Debug)]
pub struct SpecDigest(Vec<(&'static str, FieldDigest)>);

type FieldDigest = [u8; 32];

impl SpecDigest {
    /// The digests of the fields of `spec`.
    #[must_use]
    pub fn of(spec: &RunSpec) -> Self {
        Self(fields::encoded(spec).map(|(name, encoded)| (name, field_digest(&encoded))).collect())
    }

    /// The digests of a run with this spec; as one of a batch they have a further field, `batch`. With another `count`
    /// its `$LONGSHORE_COUNT` would be another, so it is another payload.
    #[must_use]
    pub fn payload(&self, batch: Option<&BatchItem>) -> PayloadDigest {
        let batch = batch.map(|batch| ("batch", field_digest(&encode_batch(batch).into_bytes())));
        let mut whole = Sha256::new_with_prefix(b"longshore.dev/payload/v1\0");
        let mut fields = BTreeMap::new();
        for (name, digest) in self.0.iter().chain(&batch) {
            whole.update(Encoder::default().text(name).into_bytes());
            whole.update(digest);
            let prefix = digest.iter().copied().take(FIELD_PREFIX).collect::<Vec<_>>();
            fields.insert((*name).to_owned(), data_encoding::HEXLOWER.encode(&prefix));
        }
        PayloadDigest { sha256: data_encoding::HEXLOWER.encode(&whole.finalize()), fields }
    }
}

fn field_digest(encoded: &[u8]) -> FieldDigest {
    Sha256::new_with_prefix(b"longshore.dev/payload-field/v1\0").chain_update(encoded).finalize().into()
}

fn encode_batch(BatchItem { id, index, count }: &BatchItem) -> Encoder {
    Encoder::default().text(id.as_str()).number(*index).number(*count)
}

#[cfg(test)]
mod tests;
