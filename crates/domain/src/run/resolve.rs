//! From what was asked for to what is applied: validation, the profile, defaults and limits.

use super::batch::BATCH_LABEL;
use super::profile::{InputDelivery, KubernetesProfile, Program};
use super::rules::Rules;
use super::spec::{Resources, RunSpec};
use super::validate;
use crate::name::BatchId;
use crate::notation::violation::Violations;

mod merge;
mod resources;

pub use super::resolved::Resolved;

/// Checks `spec` (all violations at once, paths beginning with `spec.`; of one that is too large nothing but that) and applies the profile,
/// the defaults and the limits: unset → profile → server default; maps merge by key, lists and
/// messages replace (a message only where the profile lets the whole of it be set; the parts that
/// it does not, stay the profile's); server limits refuse what the caller asks for, and cap what
/// profile and defaults say.
///
/// # Errors
/// Every violation that was found.
pub fn resolve(spec: &RunSpec, rules: &Rules) -> Result<Resolved, Violations> {
    resolve_of(spec, rules, None)
}

/// As [`resolve`], for a run of a batch: it has the batch's label.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_of(spec: &RunSpec, rules: &Rules, batch: Option<&BatchId>) -> Result<Resolved, Violations> {
    let mut out = Violations::new();
    validate::check_sizes(spec, &rules.limits, &mut out);
    if !out.is_empty() {
        return Err(out);
    }
    let profile = validate::find_profile(spec, rules, &mut out);
    let mut program = validate::find_program(spec, profile, rules, &mut out);
    if let Some(Program::Container(program)) = &mut program {
        let KubernetesProfile { init, sidecars, .. } = program;
        for side in init.iter_mut().chain(sidecars) {
            // What is wrong with them was refused with the configuration.
            let mut known = Violations::new();
            side.resources = resources::merge(&Resources::default(), &side.resources, &rules.limits, &mut known);
        }
    }
    validate::check_request(spec, profile, rules, &mut out);
    let none = RunSpec::default();
    let defaults = profile.map_or(&none, |profile| &profile.defaults);
    let resources = resources::merge(&spec.resources, &defaults.resources, &rules.limits, &mut out);
    // Without a program its cause is among the violations, and there is nothing to apply.
    let (Some(program), Some(workload)) = (program, spec.workload.clone()) else { return Err(out) };
    // What does not hold is not reported.
    let resources = if rules.capabilities.resource_limits { resources } else { Resources::default() };
    let mut effective = merge::merge(workload, resources, spec, profile, rules);
    effective.labels.extend(batch.map(|batch| (BATCH_LABEL.to_owned(), batch.to_string())));
    let pod_annotations = profile.map_or_else(Vec::new, |profile| {
        let listed = profile.pod_annotations.iter();
        listed.filter(|key| effective.annotations.contains_key(*key)).cloned().collect()
    });
    let input_delivery = profile.map_or(InputDelivery::File, |profile| profile.input.clone());
    let resolved = Resolved { effective, program, input_delivery, pod_annotations };
    validate::check_effective(spec, &resolved, rules, &mut out);
    out.into_result()?;
    Ok(resolved)
}

#[cfg(test)]
pub(crate) mod tests;
