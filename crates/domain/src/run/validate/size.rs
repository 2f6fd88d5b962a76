//! Whether a spec is small enough to be looked at more closely. What is too large is refused for that alone: each of
//! the other checks costs as much as what it is given is large.

use std::collections::BTreeMap;

use crate::notation::violation::Violations;
use crate::run::profile::{KubernetesProfile, Limits, Program};
use crate::run::spec::{ContainerWorkload, EnvSource, EnvVar, Placement, RunSpec, VolumeMount, Workload};

use super::environment::variable_bytes;
use super::input::FILES_MAX;

/// Least that an element of a list or map takes as stored beside its text: a comma and quotes.
const ELEMENT: usize = 3;

/// Adds what is too large, and nothing else.
pub(crate) fn check_sizes(spec: &RunSpec, limits: &Limits, out: &mut Violations) {
    if spec.files.len() > FILES_MAX {
        let count = spec.files.len();
        out.add("spec.files", format!("has {count} files; at most {FILES_MAX} are taken: pack them into one archive"));
    }
    check_content(spec, limits.max_input_bytes, out);
    let words = match &spec.workload {
        Some(Workload::Container(ContainerWorkload { command, args, .. })) => bytes_of(command) + bytes_of(args),
        Some(Workload::Runner { .. }) | None => 0,
    };
    check_environment(spec, &spec.env, words, limits.max_env_bytes, out);
    check_annotations(&spec.annotations, limits.max_annotations_bytes, out);
    let least = least_stored(spec);
    if out.is_empty() && least > limits.max_spec_bytes {
        check_stored(least, limits.max_spec_bytes, out);
    }
}

/// Input, files and `secret_env` together.
fn check_content(spec: &RunSpec, max: usize, out: &mut Violations) {
    let input = spec.input.as_ref().map_or(0, |input| input.as_bytes().len());
    let files: usize = spec.files.iter().map(|file| file.content.len()).sum();
    let secrets: usize = spec.secret_env.values().map(|secret| secret.0.len()).sum();
    let total = input + files + secrets;
    if total > max {
        let field = if files > input.max(secrets) {
            "spec.files"
        } else if secrets > input {
            "spec.secret_env"
        } else {
            "spec.input"
        };
        out.add(
            field,
            format!(
                "input, files and secret_env take {total} bytes together; at most {max} are taken: let the program fetch the rest, or mount a volume"
            ),
        );
    }
}

/// Variables and the words of the command line together; `spec` is what the caller sent.
pub(super) fn check_environment(spec: &RunSpec, env: &[EnvVar], words: usize, max: usize, out: &mut Violations) {
    let env: usize = env.iter().map(variable_bytes).sum();
    let total = env + words;
    if total > max {
        let in_args = spec.profile().is_none() && words > env;
        let field = if in_args { "spec.container.args" } else { "spec.env" };
        out.add(
            field,
            format!(
                "env, command and args take {total} bytes together; at most {max} are taken: give what is large as input or as a file"
            ),
        );
    }
}

/// Bytes of the words that a program is executed with.
pub(super) fn words_of(program: &Program) -> usize {
    match program {
        Program::Container(KubernetesProfile { command, args, .. }) => bytes_of(command) + bytes_of(args),
        Program::Process(process) => bytes_of(&process.command),
    }
}

/// All annotations together.
pub(super) fn check_annotations(annotations: &BTreeMap<String, String>, max: usize, out: &mut Violations) {
    let total: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if total > max {
        out.add("spec.annotations", format!("take {total} bytes together; at most {max} are taken"));
    }
}

/// What is kept of the spec is an annotation of the Job, and those are limited by Kubernetes.
pub(super) fn check_stored(bytes: usize, max: usize, out: &mut Violations) {
    if bytes > max {
        let what = "the spec without input, files and secrets, with what the profile adds,";
        out.add(
            "spec",
            format!("{what} takes {bytes} bytes as stored; at most {max} are taken: shorten env, args or annotations"),
        );
    }
}

/// Bytes that `spec` takes as stored at least. Names every field, so that a new one can't be forgotten.
fn least_stored(spec: &RunSpec) -> usize {
    let RunSpec {
        workload,
        env,
        secret_env: _,
        input: _,
        files: _,
        resources,
        security,
        queue_timeout: _,
        start_timeout: _,
        run_timeout: _,
        termination_grace: _,
        max_retries: _,
        infra_retries: _,
        retention: _,
        volumes,
        network_mode: _,
        placement: Placement { node_selector, tolerations, priority_class_name },
        queue_name,
        labels,
        annotations,
        result: _,
        tmp_size,
        retry_on: _,
        total_timeout: _,
    } = spec;
    let map = |map: &BTreeMap<String, String>| -> usize { map.iter().map(|(k, v)| k.len() + v.len() + ELEMENT).sum() };
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let workload = match workload {
        Some(Workload::Container(ContainerWorkload { image, command, args, working_dir })) => {
            let words = bytes_of(command) + bytes_of(args) + (command.len() + args.len()) * ELEMENT;
            image.len() + words + text(working_dir)
        }
        Some(Workload::Runner { profile }) => profile.len(),
        None => 0,
    };
    let env: usize = env.iter().map(|variable| ELEMENT + variable.name.len() + source_bytes(&variable.source)).sum();
    let mount = |mount: &VolumeMount| ELEMENT + mount.volume.len() + mount.mount_path.len();
    let volumes: usize = volumes.iter().map(mount).sum();
    let tolerations: usize = tolerations
        .iter()
        .map(|each| ELEMENT + each.key.len() + each.match_operator.len() + each.value.len() + each.effect.len())
        .sum();
    workload
        + env
        + map(&resources.requests)
        + map(&resources.limits)
        + text(&security.runtime_class_name)
        + volumes
        + map(node_selector)
        + tolerations
        + text(priority_class_name)
        + text(queue_name)
        + map(labels)
        + map(annotations)
        + text(tmp_size)
}

fn source_bytes(source: &EnvSource) -> usize {
    match source {
        EnvSource::Value(value) => value.len(),
        EnvSource::SecretKeyRef { name, key } => name.len() + key.len(),
    }
}

fn bytes_of(words: &[String]) -> usize {
    words.iter().map(String::len).sum()
}
