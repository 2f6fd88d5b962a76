//! What is asked for and this backend can't do, or this version can't do yet.
//!
//! Only what the caller sets is refused. What a profile sets and the backend can't enforce is taken
//! as its best: see [`super::super::resolve`].

use crate::notation::violation::Violations;
use crate::run::profile::Capabilities;
use crate::run::rules::Rules;
use crate::run::spec::{EnvSource, RunSpec};

use super::{listed, on_kubernetes};
use crate::name::shown;
use longshore_text::nearest_first;

pub(super) fn check_support(spec: &RunSpec, rules: &Rules, out: &mut Violations) {
    check_not_yet(spec, &rules.capabilities, out);
    check_queue(spec, &rules.capabilities, out);
    check_network(spec, &rules.capabilities, out);
    check_enforced(spec, &rules.capabilities, out);
    check_offered(spec, &rules.capabilities, out);
}

/// On Kubernetes, where no queue is configured.
const NO_QUEUES: &str =
    "queues are not supported until the configuration lists them (`kubernetes.queues`); leave it unset";

/// A queue that a caller names.
fn check_queue(spec: &RunSpec, capabilities: &Capabilities, out: &mut Violations) {
    let Some(name) = &spec.queue_name else { return };
    if !on_kubernetes(capabilities) {
        let backend = capabilities.backend;
        let message = format!("the backend `{backend}` has one queue, without a name; leave it unset");
        return out.unsupported_on_backend("spec.queue_name", message);
    }
    if capabilities.queues.is_empty() {
        return out.not_supported_yet("spec.queue_name", NO_QUEUES);
    }
    if !capabilities.queues.contains(name) {
        let known = listed(nearest_first(name, capabilities.queues.iter().map(String::as_str)));
        out.add("spec.queue_name", format!("queue `{}` not found; available: {known}", shown(name)));
    }
}

fn check_not_yet(spec: &RunSpec, capabilities: &Capabilities, out: &mut Violations) {
    if spec.queue_timeout.is_some() && !capabilities.queue {
        out.not_supported_yet("spec.queue_timeout", NO_QUEUES);
    }
    if !spec.secret_env.is_empty() {
        let instead = "use `env` with `secret_key_ref`, or `input`";
        out.not_supported_yet("spec.secret_env", format!("secret values are not supported yet; {instead}"));
    }
}

fn check_network(spec: &RunSpec, capabilities: &Capabilities, out: &mut Violations) {
    let Some(mode) = spec.network_mode else { return };
    if capabilities.network_modes.contains(&mode) {
        return;
    }
    let name = mode.as_str().to_ascii_uppercase();
    if on_kubernetes(capabilities) {
        out.not_supported_yet(
            "spec.network_mode",
            format!(
                "{name} is not supported until NetworkPolicies enforce it and the configuration says so (`kubernetes.network_policies = \"installed\"`); leave it unset"
            ),
        );
    } else {
        let known: Vec<String> = capabilities.network_modes.iter().map(|m| m.as_str().to_ascii_uppercase()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { listed(known.iter().map(String::as_str)) };
        let backend = capabilities.backend;
        out.unsupported_on_backend(
            "spec.network_mode",
            format!(
                "backend `{backend}` cannot enforce {name} here; it enforces: {known}; leave it unset for its best"
            ),
        );
    }
}

/// Limits and isolation that would not hold.
fn check_enforced(spec: &RunSpec, capabilities: &Capabilities, out: &mut Violations) {
    let Capabilities { backend, user, root_filesystem, placement, resource_limits, .. } = capabilities;
    let security = &spec.security;
    let mut refuse = |path: &str, set: bool, holds: bool, what: &str| {
        if set && !holds {
            let way_out = "leave it unset for its best";
            out.unsupported_on_backend(
                format!("spec.{path}"),
                format!("backend `{backend}` cannot {what} here; {way_out}, or use a backend that can"),
            );
        }
    };
    let as_user = "run the program as another user or group";
    refuse("security.run_as_user", security.run_as_user.is_some(), *user, as_user);
    refuse("security.run_as_group", security.run_as_group.is_some(), *user, as_user);
    // A group for mounted volumes is what a Pod has; a directory of this machine has its own.
    let pod = capabilities.isolation == "pod";
    refuse("security.fs_group", security.fs_group.is_some(), pod, "give mounted volumes a group");
    let read_only = security.read_only_root_filesystem == Some(true);
    let read_only_path = "security.read_only_root_filesystem";
    refuse(read_only_path, read_only, *root_filesystem, "make the root file system read-only");
    refuse("tmp_size", spec.tmp_size.is_some(), *root_filesystem, "give the program a `/tmp` of its own");
    let runtime_class = security.runtime_class_name.is_some();
    refuse("security.runtime_class_name", runtime_class, *placement, "choose a RuntimeClass");
    refuse("placement", !spec.placement.is_empty(), *placement, "choose where the program is placed");
    let limit = "reserve or limit resources";
    refuse("resources.requests", !spec.resources.requests.is_empty(), *resource_limits, limit);
    refuse("resources.limits", !spec.resources.limits.is_empty(), *resource_limits, limit);
}

/// Things that would not be there.
fn check_offered(spec: &RunSpec, capabilities: &Capabilities, out: &mut Violations) {
    let backend = capabilities.backend;
    if !capabilities.volumes && !spec.volumes.is_empty() {
        let way_out = "send small files as `files`, or use a backend that can";
        let description = format!("backend `{backend}` cannot mount volumes here; {way_out}");
        out.unsupported_on_backend("spec.volumes", description);
    }
    if capabilities.secret_key_ref {
        return;
    }
    for (i, variable) in spec.env.iter().enumerate() {
        if let EnvSource::SecretKeyRef { .. } = variable.source {
            out.unsupported_on_backend(
                format!("spec.env[{i}].secret_key_ref"),
                format!("backend `{backend}` has no Secrets to read from; set `value`, or use a backend that has"),
            );
        }
    }
}
