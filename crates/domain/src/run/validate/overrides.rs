//! What a profile lets a caller set.

use crate::notation::violation::{Violation, ViolationKind, Violations};
use crate::run::fields::{always, overridable_leaves};
use crate::run::profile::Profile;
use crate::run::spec::RunSpec;

use super::listed;

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
            let allowed = listed(profile.overridable.iter().map(String::as_str).chain(always()));
            let name = &profile.name;
            out.add(field, format!("profile `{name}` does not let `{path}` be overridden; it allows: {allowed}"));
        }
    }
}

/// Paths of what is set, of those that a profile may list: what is unset is not serialised.
fn set_paths(spec: &RunSpec) -> impl Iterator<Item = &'static str> {
    // A spec that can't be serialised is refused for that elsewhere.
    let set = serde_json::to_value(spec).unwrap_or_default();
    overridable_leaves().filter(move |path| set.pointer(&format!("/{}", path.replace('.', "/"))).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::everything;

    #[test]
    fn all_that_may_be_listed_is_seen_to_be_set() {
        assert_eq!(set_paths(&everything()).collect::<Vec<_>>(), overridable_leaves().collect::<Vec<_>>());
        assert_eq!(set_paths(&RunSpec::default()).next(), None);
    }
}
