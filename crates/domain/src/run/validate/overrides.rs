//! What a profile lets a caller set.

use crate::notation::violation::{Violation, ViolationKind, Violations};
use crate::run::profile::Profile;
use crate::run::spec::RunSpec;

use super::listed;

/// Paths that a profile may list in `overridable`: each field, and each part of a message. A
/// message's name stands for all its parts.
pub const OVERRIDABLE: [&str; 29] = [
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
    "max_retries",
    "infra_retries",
    "retry_on",
    "total_timeout",
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

/// Paths of what is set, as fine as [`OVERRIDABLE`] distinguishes them: what is unset is not serialised. Fields that
/// are not supported yet are refused by name elsewhere.
fn set_paths(spec: &RunSpec) -> impl Iterator<Item = &'static str> {
    // A spec that can't be serialised is refused for that elsewhere.
    let set = serde_json::to_value(spec).unwrap_or_default();
    let is_set = move |path: &&str| set.pointer(&format!("/{}", path.replace('.', "/"))).is_some();
    OVERRIDABLE.into_iter().filter(|path| !is_message(path)).filter(is_set)
}

/// Whether parts of this field are listed too.
fn is_message(path: &str) -> bool {
    OVERRIDABLE.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::digest::tests::full;
    use crate::run::spec::OneDialect;

    /// Fields that no profile decides on: which one it is, and what is refused by name since nothing supports it yet.
    const BESIDE: [&str; 3] = ["workload", "queue_timeout", "queue_name"];

    #[test]
    fn what_a_profile_says_nothing_of_can_not_be_set() {
        let mut full = full();
        full.result.dialect = Some(OneDialect::Json);
        let set = serde_json::to_value(&full).unwrap();
        let known: Vec<_> = OVERRIDABLE.into_iter().chain(ALWAYS).chain(BESIDE).collect();
        for (field, value) in set.as_object().unwrap() {
            assert!(known.contains(&field.as_str()), "{field}");
            if is_message(field) {
                for part in value.as_object().unwrap().keys() {
                    assert!(known.contains(&format!("{field}.{part}").as_str()), "{field}.{part}");
                }
            }
        }
        let leaves = OVERRIDABLE.into_iter().filter(|path| !is_message(path));
        assert_eq!(set_paths(&full).collect::<Vec<_>>(), leaves.collect::<Vec<_>>());
    }
}
