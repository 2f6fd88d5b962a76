//! Checks of what a caller asks for, and of what the operator configured, split by meaning.
//!
//! Every check adds all that it finds, with the field's path as in the proto and a sentence that
//! names cause and way out. Nothing is applied here: see [`super::resolve`].

use super::profile::{Capabilities, Limits, Profile};
use super::rules::Rules;
use super::spec::RunSpec;
use crate::notation::violation::Violations;
use environment::Setter;

pub(crate) mod amounts;
mod effective;
mod environment;
mod input;
mod metadata;
mod overrides;
mod placement;
mod profile;
mod size;
mod support;
mod workload;

pub use super::fields::overridable;
pub(crate) use effective::check_effective;
pub use input::FILES_MAX;
pub(crate) use overrides::allows;
pub(crate) use placement::is_read_only;
pub(crate) use size::check_sizes;
pub(crate) use workload::{find_profile, find_program};

/// Checks everything about `spec` that can be judged before it is merged with the profile.
pub(crate) fn check_request(spec: &RunSpec, profile: Option<&Profile>, rules: &Rules, out: &mut Violations) {
    workload::check_container(spec, rules, out);
    check_values(spec, "spec", Setter::Caller, rules, out);
    input::check_input(spec, out);
    support::check_support(spec, rules, out);
    if let Some(profile) = profile {
        overrides::check_overrides(spec, profile, out);
        input::check_input_schema(spec, profile, out);
    }
}

/// Checks a profile as it stands in the configuration; `at` is its path there, such as
/// `profiles.sql`. Says nothing about what the backend can't enforce: there a default is only a
/// wish.
#[must_use]
pub fn check_profile(profile: &Profile, at: &str, rules: &Rules) -> Violations {
    let mut out = Violations::new();
    profile::check_profile(profile, at, rules, &mut out);
    check_values(&profile.defaults, &format!("{at}.defaults"), Setter::Operator, rules, &mut out);
    out
}

/// Checks the configured limits and defaults; `at` is their path in the configuration.
#[must_use]
pub fn check_limits(limits: &Limits, at: &str) -> Violations {
    let mut out = Violations::new();
    amounts::check_limits(limits, at, &mut out);
    out
}

/// The checks that hold for a caller's fields and for a profile's alike.
fn check_values(spec: &RunSpec, at: &str, setter: Setter, rules: &Rules, out: &mut Violations) {
    let limits = &rules.limits;
    environment::check_env(&spec.env, at, setter, limits, out);
    amounts::check_resources(&spec.resources, at, out);
    amounts::check_security(&spec.security, at, limits, out);
    amounts::check_clocks(spec, at, limits, out);
    amounts::check_retries(spec, at, out);
    amounts::check_tmp_size(spec.tmp_size.as_deref(), &format!("{at}.tmp_size"), out);
    placement::check_volumes(&spec.volumes, at, rules, out);
    placement::check_placement(&spec.placement, at, out);
    metadata::check_labels(&spec.labels, at, out);
    metadata::check_annotations(&spec.annotations, at, out);
}

/// Whether the backend is `kubernetes`, whose part of profiles and volumes then counts.
fn on_kubernetes(capabilities: &Capabilities) -> bool {
    capabilities.backend == "kubernetes"
}

/// `a`, `b` and so on in backquotes, at most ten of them.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 10;
    let names: Vec<&str> = names.into_iter().collect();
    let mut out = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        out.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    out
}

#[cfg(test)]
mod tests;
