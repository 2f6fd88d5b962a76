//! From what was asked for to what is applied: validation, the profile, defaults and limits.

use std::collections::BTreeMap;

use super::profile::{Capabilities, InputDelivery, Limits, Profile, Program, Volume};
use super::spec::{EffectiveSpec, RunSpec};
use super::violation::Violations;

/// What a spec is judged by: the server's configuration and its backend.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Limits and defaults.
    pub limits: Limits,
    /// What the backend can do.
    pub capabilities: Capabilities,
    /// Runner profiles, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Volumes, by name.
    pub volumes: BTreeMap<String, Volume>,
}

/// A spec that may be executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What is applied.
    pub effective: EffectiveSpec,
    /// How the program is executed.
    pub program: Program,
    /// How it gets its input.
    pub input_delivery: InputDelivery,
    /// Keys of the effective annotations that reach the Pod.
    pub pod_annotations: Vec<String>,
}

/// Checks `spec` (all violations at once, paths beginning with `spec.`) and applies the profile,
/// the defaults and the limits: unset → profile → server default; maps merge by key, lists and
/// messages replace; server limits refuse.
///
/// # Errors
/// Every violation that was found.
pub fn resolve(spec: &RunSpec, rules: &Rules) -> Result<Resolved, Violations> {
    let _ = (spec, rules);
    unimplemented!()
}
