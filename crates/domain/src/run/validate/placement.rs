//! Where a run may be scheduled, and which volumes it mounts.

use std::collections::BTreeSet;

use crate::name::shown;
use crate::notation::syntax::{is_absolute_path, is_dns_subdomain, is_label_key, is_label_value};
use crate::notation::violation::Violations;
use crate::run::profile::Volume;
use crate::run::rules::Rules;
use crate::run::spec::{Placement, Toleration, VolumeMount};

use super::listed;
use super::metadata::{VALUE_RULE, check_node_label};
use longshore_text::nearest_first;

/// Directories that the container itself or Longshore fills.
/// What Kubernetes reserves for its own PriorityClasses begins so.
const SYSTEM_CLASSES: &str = "system-";
const TAKEN: [&str; 14] = [
    "/tmp",
    "/proc",
    "/sys",
    "/dev",
    "/longshore",
    "/run",
    "/run/longshore",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc",
    "/var",
];
/// Those of them below which nothing can be mounted either: container runtimes refuse `/proc`, and
/// `/longshore` (`/run/longshore` on the local backend) is ours.
const TAKEN_BELOW: [&str; 4] = ["/proc/", "/sys/", "/longshore/", "/run/longshore/"];
/// Below which nothing can be mounted where a run has no image, and so the machine's own programs and libraries: a server
/// that is root executes some of them before it gives up its rights.
const SYSTEM_BELOW: [&str; 9] =
    ["/bin/", "/etc/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/nix/", "/sbin/", "/usr/"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Whether nothing can be mounted at this absolute path.
pub(super) fn is_taken(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    path.is_empty() || TAKEN.contains(&path) || TAKEN_BELOW.iter().any(|taken| path.starts_with(taken))
}

pub(super) fn check_volumes(mounts: &[VolumeMount], at: &str, rules: &Rules, out: &mut Violations) {
    let mut paths = BTreeSet::new();
    for (i, mount) in mounts.iter().enumerate() {
        let at = format!("{at}.volumes[{i}]");
        match rules.volumes.get(&mount.volume) {
            Some(volume) => check_write(mount, volume, &at, out),
            None => out.add(format!("{at}.volume"), unknown_volume(&mount.volume, rules)),
        }
        let field = format!("{at}.mount_path");
        let path = mount.mount_path.trim_end_matches('/');
        if !is_absolute_path(&mount.mount_path) || mount.mount_path.contains(':') {
            let rule = "absolute, without `:`, empty, `.` or `..` parts and control characters";
            out.add(field, format!("`{}` is not a valid mount path: {rule}", shown(&mount.mount_path)));
        } else if is_taken(path) {
            let taken = listed(["/"].into_iter().chain(TAKEN));
            let path = shown(&mount.mount_path);
            out.add(
                field,
                format!("`{path}` cannot be mounted over: {taken} are taken; choose a directory of your own"),
            );
        } else if !rules.capabilities.container_workload
            && let Some(system) = SYSTEM_BELOW.iter().find(|system| format!("{path}/").starts_with(*system))
        {
            let (path, system) = (shown(&mount.mount_path), system.trim_end_matches('/'));
            out.add(
                field,
                format!(
                    "`{path}` cannot be mounted over: `{system}` is the machine's own; choose a directory of your own"
                ),
            );
        } else if !paths.insert(path) {
            out.add(field, format!("`{}` is mounted twice; give each mount a path of its own", shown(path)));
        }
    }
}

fn unknown_volume(name: &str, rules: &Rules) -> String {
    let known = nearest_first(name, rules.volumes.keys().map(String::as_str));
    let name = shown(name);
    if known.is_empty() {
        format!("volume `{name}` not found: none is configured on this server")
    } else {
        format!("volume `{name}` not found; available: {}", listed(known))
    }
}

fn check_write(mount: &VolumeMount, volume: &Volume, at: &str, out: &mut Violations) {
    if mount.read_only == Some(false) && is_read_only(volume) {
        let name = &mount.volume;
        out.add(format!("{at}.read_only"), format!("volume `{name}` is read-only; set it to true or leave it unset"));
    }
}

/// Whether mounts of it can only be read: so configured, or a ConfigMap, which nobody can write.
pub(crate) fn is_read_only(volume: &Volume) -> bool {
    volume.read_only || volume.config_map.is_some()
}

pub(super) fn check_placement(placement: &Placement, at: &str, out: &mut Violations) {
    let Placement { node_selector, tolerations, priority_class_name } = placement;
    for (key, value) in node_selector {
        check_node_label(key, value, &format!("{at}.placement.node_selector[\"{}\"]", shown(key)), out);
    }
    for (i, toleration) in tolerations.iter().enumerate() {
        check_toleration(toleration, &format!("{at}.placement.tolerations[{i}]"), out);
    }
    if let Some(name) = priority_class_name
        && name.starts_with(SYSTEM_CLASSES)
    {
        out.add(
            format!("{at}.placement.priority_class_name"),
            format!("`{}` is for the cluster's own Pods: it would put others off their nodes", shown(name)),
        );
    } else if let Some(name) = priority_class_name
        && !is_dns_subdomain(name)
    {
        out.add(
            format!("{at}.placement.priority_class_name"),
            format!("`{}` is not a valid PriorityClass name: a DNS subdomain is expected", shown(name)),
        );
    }
}

fn check_toleration(toleration: &Toleration, at: &str, out: &mut Violations) {
    let Toleration { key, match_operator, value, effect } = toleration;
    if !key.is_empty() && !is_label_key(key) {
        out.add(format!("{at}.key"), format!("`{}` is not a valid taint key", shown(key)));
    }
    match match_operator.as_str() {
        "Exists" if !value.is_empty() => {
            out.add(format!("{at}.value"), "must be empty with match_operator `Exists`, which compares no values");
        }
        "Exists" => {}
        "" | "Equal" if key.is_empty() => {
            out.add(
                format!("{at}.match_operator"),
                "must be `Exists` if the key is empty, which stands for every taint",
            );
        }
        "" | "Equal" if !is_label_value(value) => {
            out.add(format!("{at}.value"), format!("`{}` is not a valid taint value: {VALUE_RULE}", shown(value)));
        }
        "" | "Equal" => {}
        other => out.add(format!("{at}.match_operator"), format!("`{}` is neither `Equal` nor `Exists`", shown(other))),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect.as_str()) {
        let known = listed(EFFECTS);
        out.add(format!("{at}.effect"), format!("`{}` is not a taint effect; expected one of {known}", shown(effect)));
    }
}
