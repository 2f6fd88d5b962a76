//! Labels and annotations.

use std::collections::BTreeMap;

use crate::name::shown;
use crate::notation::syntax::{is_annotation_key, is_label_key, is_label_value, reserved_prefix};
use crate::notation::violation::Violations;

const KEY_RULE: &str =
    "an optional DNS subdomain and `/`, then 1 to 63 of `A-Za-z0-9-_.` that begin and end with a letter or digit";
pub(super) const VALUE_RULE: &str = "at most 63 of `A-Za-z0-9-_.` that begin and end with a letter or digit";

pub(super) fn check_labels(labels: &BTreeMap<String, String>, at: &str, out: &mut Violations) {
    for (key, value) in labels {
        let field = format!("{at}.labels[\"{}\"]", shown(key));
        if !is_label_key(key) {
            out.add(&field, format!("`{}` is not a valid label key: {KEY_RULE}", shown(key)));
        }
        check_not_reserved(key, &field, out);
        if !is_label_value(value) {
            out.add(
                &field,
                format!("`{}` is not a valid label value: {VALUE_RULE}; or make it an annotation", shown(value)),
            );
        }
    }
}

pub(super) fn check_annotations(annotations: &BTreeMap<String, String>, at: &str, out: &mut Violations) {
    for key in annotations.keys() {
        let field = format!("{at}.annotations[\"{}\"]", shown(key));
        check_annotation_key(key, &field, out);
        check_not_reserved(key, &field, out);
    }
}

pub(super) fn check_annotation_key(key: &str, field: &str, out: &mut Violations) {
    if !is_annotation_key(key) {
        out.add(field, format!("`{}` is not a valid annotation key: {KEY_RULE}", shown(key)));
    }
}

/// A key of a label that nodes carry; reserved prefixes are theirs to use.
pub(super) fn check_node_label(key: &str, value: &str, field: &str, out: &mut Violations) {
    if !is_label_key(key) {
        out.add(field, format!("`{}` is not a valid label key: {KEY_RULE}", shown(key)));
    }
    if !is_label_value(value) {
        out.add(field, format!("`{}` is not a valid label value: {VALUE_RULE}", shown(value)));
    }
}

fn check_not_reserved(key: &str, field: &str, out: &mut Violations) {
    if let Some(prefix) = reserved_prefix(key) {
        let key = shown(key);
        out.add(
            field,
            format!(
                "`{key}` cannot be set: keys under `{prefix}` and its subdomains are reserved; use a prefix of your own"
            ),
        );
    }
}
