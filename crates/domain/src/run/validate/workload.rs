//! What is executed: an image that the caller names, or a profile.

use crate::name::shown;
use crate::notation::syntax::{check_image_reference, is_absolute_path};
use crate::notation::violation::Violations;
use crate::run::profile::{InputDelivery, KubernetesProfile, Profile, Program};
use crate::run::rules::Rules;
use crate::run::spec::{ContainerWorkload, RunSpec, Workload};

use super::environment::check_arguments;
use super::{listed, on_kubernetes};
use longshore_text::nearest_first;

/// Path of the profile's name.
pub(super) const PROFILE_FIELD: &str = "spec.runner.profile";

/// The profile that `spec` names, if it is one that runs and there is one.
pub(crate) fn find_profile<'a>(spec: &RunSpec, rules: &'a Rules, out: &mut Violations) -> Option<&'a Profile> {
    let name = match &spec.workload {
        Some(Workload::Runner { profile }) => profile,
        Some(Workload::Container(_)) => return None,
        None => {
            out.add("spec.workload", "must be set: `container` with an image, or `runner` with a profile");
            return None;
        }
    };
    let profile = rules.profiles.get(name);
    if profile.is_none() {
        let known = nearest_first(name, rules.profiles.keys().map(String::as_str));
        let description = match (name.is_empty(), known.is_empty()) {
            (_, true) => format!("profile `{}` not found: none is configured on this server", shown(name)),
            (true, false) => format!("must be set; available: {}", listed(known)),
            (false, false) => format!("profile `{}` not found; available: {}", shown(name), listed(known)),
        };
        out.add(PROFILE_FIELD, description);
    }
    profile
}

/// How the program is executed on this backend.
pub(crate) fn find_program(
    spec: &RunSpec,
    profile: Option<&Profile>,
    rules: &Rules,
    out: &mut Violations,
) -> Option<Program> {
    if let Some(Workload::Container(ContainerWorkload { image, command, args, working_dir })) = &spec.workload {
        return Some(Program::Container(KubernetesProfile {
            image: image.clone(),
            command: command.clone(),
            args: args.clone(),
            working_dir: working_dir.clone(),
            ..KubernetesProfile::default()
        }));
    }
    let profile = profile?;
    if profile.input == InputDelivery::Stdin && !rules.capabilities.stdin_input {
        let backend = rules.capabilities.backend;
        let why = format!(
            "profile `{}` reads its input from standard input, which backend `{backend}` cannot give",
            profile.name
        );
        out.unsupported_on_backend(PROFILE_FIELD, format!("{why}; use another profile or backend"));
    }
    let program = program_of(profile, rules);
    if program.is_none() {
        out.unsupported_on_backend(PROFILE_FIELD, unavailable(profile, rules));
    }
    program
}

fn program_of(profile: &Profile, rules: &Rules) -> Option<Program> {
    if on_kubernetes(&rules.capabilities) {
        profile.kubernetes.clone().map(Program::Container)
    } else {
        profile.local.clone().map(Program::Process)
    }
}

fn unavailable(profile: &Profile, rules: &Rules) -> String {
    let (name, backend) = (&profile.name, rules.capabilities.backend);
    let part = if on_kubernetes(&rules.capabilities) { "image" } else { "command" };
    let way_out = match &profile.missing {
        Some(key) => format!("set `{key}`"),
        None => format!("use one that has: {}", available(rules)),
    };
    format!("profile `{name}` has no {part} on backend {backend}: {way_out}")
}

/// Profiles that this backend can run.
fn available(rules: &Rules) -> String {
    let names: Vec<&str> =
        rules.profiles.iter().filter_map(|(name, profile)| program_of(profile, rules).map(|_| name.as_str())).collect();
    if names.is_empty() { "none is configured".to_owned() } else { listed(names) }
}

/// Checks a container workload.
pub(super) fn check_container(spec: &RunSpec, rules: &Rules, out: &mut Violations) {
    let Some(Workload::Container(container)) = &spec.workload else { return };
    let ContainerWorkload { image, command, args, working_dir } = container;
    if !rules.capabilities.container_workload {
        let (backend, known) = (rules.capabilities.backend, available(rules));
        out.unsupported_on_backend(
            "spec.container",
            format!("backend `{backend}` runs no images; use `runner` with a profile: {known}"),
        );
    }
    check_image(image, "spec.container.image", out);
    check_command(command, "spec.container.command", rules.limits.max_env_var_bytes, out);
    check_arguments(args, "spec.container.args", rules.limits.max_env_var_bytes, out);
    check_working_dir(working_dir.as_deref(), "spec.container.working_dir", out);
}

pub(super) fn check_image(image: &str, field: &str, out: &mut Violations) {
    if image.is_empty() {
        out.add(field, "must be set: the reference of an image, such as `registry.example/app:v1`");
    } else if let Err(fault) = check_image_reference(image) {
        out.add(field, format!("`{}` is not a valid image reference: {fault}", shown(image)));
    }
}

pub(super) fn check_command(command: &[String], field: &str, max: usize, out: &mut Violations) {
    if command.first().is_some_and(String::is_empty) {
        out.add(format!("{field}[0]"), "is empty; it names the program");
    }
    check_arguments(command, field, max, out);
}

pub(super) fn check_working_dir(path: Option<&str>, field: &str, out: &mut Violations) {
    if let Some(path) = path
        && !is_absolute_path(path)
    {
        out.add(field, format!("`{}` is not an absolute path without empty, `.` or `..` parts", shown(path)));
    }
}
