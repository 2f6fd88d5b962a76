//! What a profile lets a caller set.

use crate::profile::Profile;
use crate::spec::RunSpec;
use crate::violation::{Violation, ViolationKind, Violations};

use super::listed;

/// Paths that a profile may list in `overridable`: each field, and each part of a message. A
/// message's name stands for all its parts.
pub const OVERRIDABLE: [&str; 25] = [
    "env",
    "resources",
    "resources.requests",
    "resources.limits",
    "security",
    "security.run_as_user",
    "security.run_as_group",
    "security.fs_group",
    "security.read_only_root_filesystem",
    "security.runtime_class_name",
    "start_timeout",
    "run_timeout",
    "termination_grace",
    "retention",
    "volumes",
    "network_mode",
    "placement",
    "placement.node_selector",
    "placement.tolerations",
    "placement.priority_class_name",
    "result",
    "result.mode",
    "result.scan",
    "result.dialect",
    "tmp_size",
];

/// What may be set with every profile.
pub(super) const ALWAYS: [&str; 4] = ["input", "files", "labels", "annotations"];

/// Whether `profile` lets the field at `path` be set: it lists the path, or a message around it.
pub(crate) fn allows(profile: &Profile, path: &str) -> bool {
    profile
        .overridable
        .iter()
        .any(|listed| path.strip_prefix(listed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Adds nothing to a field that is refused already because nothing here could honour it: the way
/// out is the same.
pub(super) fn check_overrides(spec: &RunSpec, profile: &Profile, out: &mut Violations) {
    for path in set_paths(spec) {
        let field = format!("spec.{path}");
        let refused = |violation: &Violation| violation.field == field && violation.kind != ViolationKind::Invalid;
        if !allows(profile, path) && !out.as_slice().iter().any(refused) {
            let allowed = listed(profile.overridable.iter().map(String::as_str).chain(ALWAYS));
            let name = &profile.name;
            out.add(field, format!("profile `{name}` does not let `{path}` be overridden; it allows: {allowed}"));
        }
    }
}

/// Paths of what is set, as fine as [`OVERRIDABLE`] tells them apart. Fields that are not
/// supported yet are refused by name elsewhere.
fn set_paths(spec: &RunSpec) -> impl Iterator<Item = &'static str> {
    let security = &spec.security;
    let placement = &spec.placement;
    [
        ("env", !spec.env.is_empty()),
        ("resources.requests", !spec.resources.requests.is_empty()),
        ("resources.limits", !spec.resources.limits.is_empty()),
        ("security.run_as_user", security.run_as_user.is_some()),
        ("security.run_as_group", security.run_as_group.is_some()),
        ("security.fs_group", security.fs_group.is_some()),
        ("security.read_only_root_filesystem", security.read_only_root_filesystem.is_some()),
        ("security.runtime_class_name", security.runtime_class_name.is_some()),
        ("start_timeout", spec.start_timeout.is_some()),
        ("run_timeout", spec.run_timeout.is_some()),
        ("termination_grace", spec.termination_grace.is_some()),
        ("retention", spec.retention.is_some()),
        ("volumes", !spec.volumes.is_empty()),
        ("network_mode", spec.network_mode.is_some()),
        ("placement.node_selector", !placement.node_selector.is_empty()),
        ("placement.tolerations", !placement.tolerations.is_empty()),
        ("placement.priority_class_name", placement.priority_class_name.is_some()),
        ("result.mode", spec.result.mode.is_some()),
        ("result.scan", spec.result.scan.is_some()),
        ("result.dialect", spec.result.dialect.is_some()),
        ("tmp_size", spec.tmp_size.is_some()),
    ]
    .into_iter()
    .filter_map(|(path, set)| set.then_some(path))
}
