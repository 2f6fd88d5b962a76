//! What can be judged only of what is applied, the profile's part included.

use std::collections::BTreeSet;

use crate::name::shown;
use crate::notation::violation::Violations;
use crate::run::profile::InputDelivery;
use crate::run::resolved::Resolved;
use crate::run::rules::Rules;
use crate::run::spec::{EnvSource, Input, RunSpec, VolumeMount};
use crate::run::stored;

use super::input::input_field;
use super::workload::PROFILE_FIELD;
use super::{on_kubernetes, size};

/// Checks `resolved`, which came of `spec`.
pub(crate) fn check_effective(spec: &RunSpec, resolved: &Resolved, rules: &Rules, out: &mut Violations) {
    let words = size::words_of(&resolved.program);
    size::check_environment(spec, &resolved.effective.env, words, rules.limits.max_env_bytes, out);
    check_delivery(spec, resolved, rules.limits.max_env_var_bytes, out);
    size::check_annotations(&resolved.effective.annotations, rules.limits.max_annotations_bytes, out);
    check_stored(spec, resolved, rules.limits.max_spec_bytes, out);
    check_volume_sources(spec, resolved, rules, out);
    check_secret_sources(spec, resolved, rules, out);
}

/// Whether the input fits the variable that the profile wants it in.
fn check_delivery(spec: &RunSpec, resolved: &Resolved, max_bytes: usize, out: &mut Violations) {
    let InputDelivery::Env(name) = &resolved.input_delivery else { return };
    if resolved.effective.env.iter().any(|variable| variable.name == *name) {
        let own = spec.env.iter().position(|variable| variable.name == *name);
        let field = own.map_or_else(|| PROFILE_FIELD.to_owned(), |i| format!("spec.env[{i}].name"));
        out.add(field, format!("`{}` carries the input with this profile; send it as `input`", shown(name)));
    }
    let Some(input) = &spec.input else { return };
    let (bytes, max) = (input.as_bytes(), max_bytes.saturating_sub(name.len() + 1));
    let profile = spec.profile().unwrap_or_default();
    let why = format!("profile `{profile}` takes the input in the environment variable `{name}`");
    if bytes.len() > max {
        let bytes = bytes.len();
        out.add(input_field(input), format!("takes {bytes} bytes; {why}, where Linux allows at most {max}"));
    }
    if bytes.contains(&0) {
        out.add(input_field(input), format!("contains a NUL; {why}, which cannot hold one"));
    }
    if matches!(input, Input::Raw(_)) && std::str::from_utf8(bytes).is_err() {
        out.add(input_field(input), format!("is not UTF-8; {why}, which Kubernetes wants to be"));
    }
}

fn check_stored(spec: &RunSpec, resolved: &Resolved, max: usize, out: &mut Violations) {
    match stored::encode(spec, &resolved.effective) {
        Ok(text) => size::check_stored(text.len(), max, out),
        Err(error) => out.add("spec", format!("cannot be stored: {error}")),
    }
}

/// Whether each volume is one that this backend has.
fn check_volume_sources(spec: &RunSpec, resolved: &Resolved, rules: &Rules, out: &mut Violations) {
    if !rules.capabilities.volumes && spec.volumes.is_empty() && !resolved.effective.volumes.is_empty() {
        let backend = rules.capabilities.backend;
        out.unsupported_on_backend(
            PROFILE_FIELD,
            format!(
                "this profile mounts volumes, which backend `{backend}` cannot do here; use another profile or backend"
            ),
        );
        return;
    }
    for (i, VolumeMount { volume: name, .. }) in resolved.effective.volumes.iter().enumerate() {
        let Some(volume) = rules.volumes.get(name) else { continue };
        let (there, key) = if on_kubernetes(&rules.capabilities) {
            (volume.persistent_volume_claim.is_some() || volume.config_map.is_some(), "persistent_volume_claim")
        } else {
            (volume.local_path.is_some(), "local_path")
        };
        if !there {
            let own = !spec.volumes.is_empty();
            let field = if own { format!("spec.volumes[{i}].volume") } else { PROFILE_FIELD.to_owned() };
            let backend = rules.capabilities.backend;
            out.unsupported_on_backend(
                field,
                format!("volume `{name}` is not available on backend {backend}: set `volumes.{name}.{key}`"),
            );
        }
    }
}

/// A program that would start without a variable that its profile promises it is refused.
fn check_secret_sources(spec: &RunSpec, resolved: &Resolved, rules: &Rules, out: &mut Violations) {
    if rules.capabilities.secret_key_ref {
        return;
    }
    let own: BTreeSet<&str> = spec.env.iter().map(|own| own.name.as_str()).collect();
    for variable in &resolved.effective.env {
        if !own.contains(variable.name.as_str()) && matches!(variable.source, EnvSource::SecretKeyRef { .. }) {
            let (name, backend) = (&variable.name, rules.capabilities.backend);
            let why = format!("this profile takes `{name}` from a Secret, which backend `{backend}` does not support");
            out.unsupported_on_backend(PROFILE_FIELD, format!("{why}; set it in `env`, or use another backend"));
        }
    }
}
