//! The fields of a spec, in one table: which there are, who may set each where a profile names the program, what each
//! takes as stored, and how it counts for the digest. A field of a type that is known to [`value`] is one row.

pub(crate) mod value;

use super::spec::RunSpec;
use value::FieldValue;

/// Whether a caller may set a field of a run whose program a profile names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Override {
    /// With every profile.
    Always,
    /// If the profile lists it in `overridable`.
    IfListed,
    /// No profile decides on that: it is judged elsewhere.
    Elsewhere,
}

/// A field of [`RunSpec`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its name, in the proto and as stored.
    pub(crate) name: &'static str,
    /// Whether a caller may set it.
    pub(crate) overriding: Override,
    /// Paths of its parts, which a profile may list one by one.
    pub(crate) parts: &'static [&'static str],
}

macro_rules! fields {
    ($($name:ident: $overriding:ident $([$($part:literal),+])?;)+) => {
        /// Every field, in the order of their numbers in the proto, in which they count for the digest.
        pub(crate) const FIELDS: &[Field] = &[$(
            Field { name: stringify!($name), overriding: Override::$overriding, parts: &[$($($part),+)?] },
        )+];

        /// The values of [`FIELDS`]. Names every field, so that a new one can't be forgotten.
        fn values(spec: &RunSpec) -> [&dyn FieldValue; FIELDS.len()] {
            let RunSpec { $($name),+ } = spec;
            [$($name),+]
        }
    };
}

fields! {
    workload: Elsewhere;
    env: IfListed;
    secret_env: Elsewhere;
    input: Always;
    files: Always;
    resources: IfListed ["resources.requests", "resources.limits"];
    security: IfListed [
        "security.run_as_user",
        "security.run_as_group",
        "security.fs_group",
        "security.read_only_root_filesystem",
        "security.runtime_class_name"
    ];
    queue_timeout: Elsewhere;
    start_timeout: IfListed;
    run_timeout: IfListed;
    termination_grace: IfListed;
    max_retries: IfListed;
    infra_retries: IfListed;
    retention: IfListed;
    volumes: IfListed;
    network_mode: IfListed;
    placement: IfListed ["placement.node_selector", "placement.tolerations", "placement.priority_class_name"];
    queue_name: IfListed;
    labels: Always;
    annotations: Always;
    result: IfListed ["result.mode", "result.scan", "result.dialect"];
    tmp_size: IfListed;
    retry_on: IfListed;
    total_timeout: IfListed;
}

/// The fields that are set, each by its name in the proto with its encoding for the digest.
pub(crate) fn encoded(spec: &RunSpec) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    FIELDS.iter().zip(values(spec)).filter_map(|(field, value)| {
        let encoder = value.encode()?;
        Some((value.member().unwrap_or(field.name), encoder.into_bytes()))
    })
}

/// Bytes that `spec` takes as stored at least.
pub(crate) fn stored_bytes(spec: &RunSpec) -> usize {
    values(spec).into_iter().map(FieldValue::stored_bytes).sum()
}

/// Paths that a profile may list in `overridable`: each field, and each part of a message. A message's name stands for
/// all its parts.
pub fn overridable() -> impl Iterator<Item = &'static str> {
    of(Override::IfListed).flat_map(|field| std::iter::once(field.name).chain(field.parts.iter().copied()))
}

/// The same without the names of messages.
pub(crate) fn overridable_leaves() -> impl Iterator<Item = &'static str> {
    of(Override::IfListed)
        .flat_map(|field| match field.parts {
            [] => std::slice::from_ref(&field.name),
            parts => parts,
        })
        .copied()
}

/// What may be set with every profile.
pub(crate) fn always<'a>() -> impl Iterator<Item = &'a str> {
    of(Override::Always).map(|field| field.name)
}

fn of(overriding: Override) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.overriding == overriding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::everything;

    #[test]
    fn the_table_has_the_names_and_parts_of_what_is_stored() {
        let set = serde_json::to_value(everything()).unwrap();
        for (name, value) in set.as_object().unwrap() {
            let field = FIELDS.iter().find(|field| field.name == name).unwrap_or_else(|| panic!("{name}"));
            if !field.parts.is_empty() {
                let parts: Vec<_> = value.as_object().unwrap().keys().map(|part| format!("{name}.{part}")).collect();
                assert_eq!(field.parts, parts, "{name}");
            }
        }
    }

    #[test]
    fn everything_is_set_in_the_fixture() {
        let names: Vec<_> = encoded(&everything()).map(|(name, _)| name).collect();
        let of_fields: Vec<_> = FIELDS.iter().map(|field| field.name.replace("workload", "container")).collect();
        assert_eq!(names, of_fields);
    }
}
