//! A profile as it stands in the configuration.

use crate::name::shown;
use crate::notation::syntax::{is_absolute_path, is_dns_label};
use crate::notation::violation::Violations;
use crate::run::fields::{always, overridable};
use crate::run::profile::{InputDelivery, KubernetesProfile, LocalProfile, Profile, SideContainer};
use crate::run::rules::Rules;

use super::amounts::check_resources;
use super::environment::{check_arguments, check_name};
use super::listed;
use super::metadata::check_annotation_key;
use super::placement::{check_volumes, is_taken};
use super::workload::{check_command, check_image, check_working_dir};
use longshore_text::nearest_first;

/// Name of the program's container.
const RUN: &str = "run";
/// Where Longshore's own runners find a small input.
const RUNNER_INPUT: &str = "LONGSHORE_INPUT_JSON";

pub(super) fn check_profile(profile: &Profile, at: &str, rules: &Rules, out: &mut Violations) {
    if !is_dns_label(&profile.name) {
        out.add(at, format!("`{}` is not a valid profile name: a DNS label is expected", shown(&profile.name)));
    }
    match &profile.input {
        // The one name of ours that is the profile's to use: our own runners read it.
        InputDelivery::Env(name) if name == RUNNER_INPUT => {}
        InputDelivery::Env(name) => {
            check_name(name, &format!("{at}.input"), out);
        }
        InputDelivery::File | InputDelivery::Stdin => {}
    }
    check_programs(profile, at, rules, out);
    check_defaults(profile, &format!("{at}.defaults"), out);
    for (i, path) in profile.overridable.iter().enumerate() {
        if !overridable().chain(always()).any(|known| known == path) {
            let known = listed(nearest_first(path, overridable()));
            let description =
                format!("`{}` is not a field that can be overridden; expected one of {known}", shown(path));
            out.add(format!("{at}.overridable[{i}]"), description);
        }
    }
    for (i, key) in profile.pod_annotations.iter().enumerate() {
        check_annotation_key(key, &format!("{at}.pod_annotations[{i}]"), out);
    }
}

/// A container beside the program's.
fn check_side(side: &SideContainer, at: &str, rules: &Rules, out: &mut Violations) {
    let SideContainer { name, image, image_pull_policy: _, command, args, env, resources, volumes } = side;
    if !is_dns_label(name) || name == RUN {
        let rule = format!("a DNS label other than `{RUN}`, which is the program's");
        out.add(format!("{at}.name"), format!("`{}` is not a valid name of a container: {rule}", shown(name)));
    }
    let max = usize::MAX;
    check_image(image, &format!("{at}.image"), out);
    check_command(command, &format!("{at}.command"), max, out);
    check_arguments(args, &format!("{at}.args"), max, out);
    for name in env.keys() {
        check_name(name, &format!("{at}.env"), out);
    }
    check_resources(resources, at, out);
    check_volumes(volumes, at, rules, out);
}

fn check_programs(profile: &Profile, at: &str, rules: &Rules, out: &mut Violations) {
    let max = usize::MAX;
    if let Some(kubernetes) = &profile.kubernetes {
        let KubernetesProfile { image, command, args, working_dir, init, sidecars, .. } = kubernetes;
        let at = format!("{at}.kubernetes");
        check_image(image, &format!("{at}.image"), out);
        check_command(command, &format!("{at}.command"), max, out);
        check_arguments(args, &format!("{at}.args"), max, out);
        check_working_dir(working_dir.as_deref(), &format!("{at}.working_dir"), out);
        for (kind, containers) in [("init", init), ("sidecars", sidecars)] {
            for (i, side) in containers.iter().enumerate() {
                check_side(side, &format!("{at}.{kind}[{i}]"), rules, out);
            }
        }
        let mut names: Vec<&str> = kubernetes.side_containers().map(|side| side.name.as_str()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[one, next]| one == next) {
            out.add(&at, format!("two containers have the name `{}`; give each one of its own", shown(name)));
        }
    }
    if let Some(LocalProfile { command, mounts }) = &profile.local {
        let field = format!("{at}.local.command");
        if command.is_empty() {
            out.add(&field, "must be set: the program and its arguments");
        }
        check_command(command, &field, max, out);
        for (i, path) in mounts.iter().enumerate() {
            check_mount(path, &format!("{at}.local.mounts[{i}]"), out);
        }
    }
}

/// What the sandbox shows of this machine: not what it makes itself, nor more than a directory of one's own.
fn check_mount(path: &str, field: &str, out: &mut Violations) {
    if !is_absolute_path(path) {
        let rule = "an absolute path without empty, `.` or `..` parts and control characters";
        out.add(field, format!("`{}` is not a path that can be mounted: {rule}", shown(path)));
    } else if is_taken(path) {
        let path = shown(path);
        out.add(field, format!("`{path}` is the sandbox's own or shown already; name a directory of your own"));
    }
}

/// What a profile can't set: it would be the caller's own, or is not built yet.
fn check_defaults(profile: &Profile, at: &str, out: &mut Violations) {
    let defaults = &profile.defaults;
    for (name, set) in [
        ("workload", defaults.workload.is_some()),
        ("input", defaults.input.is_some()),
        ("files", !defaults.files.is_empty()),
    ] {
        if set {
            out.add(format!("{at}.{name}"), "cannot be set in a profile");
        }
    }
    for (name, set) in
        [("secret_env", !defaults.secret_env.is_empty()), ("queue_timeout", defaults.queue_timeout.is_some())]
    {
        if set {
            out.not_supported_yet(format!("{at}.{name}"), "is not supported yet");
        }
    }
}
