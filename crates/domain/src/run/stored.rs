//! What is kept of a submission with the run: the spec as received, and what was applied, as one
//! line of JSON.
//!
//! Only those top-level fields of the effective spec are kept that differ from the spec, since both
//! have to share an annotation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::spec::{EffectiveSpec, RunSpec};

/// The version that is written.
const VERSION: u32 = 1;

/// The stored form.
#[derive(Serialize, Deserialize)]
struct StoredSpec {
    version: u32,
    spec: Map<String, Value>,
    /// By field; `null` where the spec has a field that the effective spec has not.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    effective_diff: Map<String, Value>,
}

/// Why a stored spec can't be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Not of a form that is known.
    #[error("the stored spec is not readable")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer version of Longshore.
    #[error("the stored spec has version {0}; this server reads version {VERSION}")]
    Version(u64),
}

/// `spec` and what was applied of it, without input, files and secrets.
///
/// # Errors
/// If it can't be serialised.
pub fn encode(spec: &RunSpec, effective: &EffectiveSpec) -> Result<String, serde_json::Error> {
    let spec = to_map(spec)?;
    let applied = to_map(effective)?;
    let gone = spec.keys().filter(|name| !applied.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = applied.iter().filter(|(name, value)| spec.get(*name) != Some(value));
    let effective_diff = gone.chain(changed.map(|(name, value)| (name.clone(), value.clone()))).collect();
    serde_json::to_string(&StoredSpec { version: VERSION, spec, effective_diff })
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// If it is not a stored spec of a version that is known, or is not complete.
pub fn decode(text: &str) -> Result<(RunSpec, EffectiveSpec), StoredError> {
    let value: Value = serde_json::from_str(text)?;
    // Before the rest, which a newer version may have changed.
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version != u64::from(VERSION) => return Err(StoredError::Version(version)),
        _ => {}
    }
    let StoredSpec { version: _, spec, effective_diff } = serde_json::from_value(value)?;
    let mut applied = spec.clone();
    for (name, value) in effective_diff {
        if value.is_null() {
            applied.shift_remove(&name);
        } else {
            applied.insert(name, value);
        }
    }
    Ok((serde_json::from_value(Value::Object(spec))?, serde_json::from_value(Value::Object(applied))?))
}

fn to_map(spec: &impl Serialize) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::to_value(spec)? {
        Value::Object(map) => Ok(map),
        _ => Err(serde::ser::Error::custom("a spec is an object")),
    }
}

#[cfg(test)]
mod tests;
