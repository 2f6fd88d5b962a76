//! Whether a spec is small enough to be looked at more closely. What is too large is refused for that alone: each of
//! the other checks costs as much as what it is given is large.

use std::collections::BTreeMap;

use crate::notation::violation::Violations;
use crate::run::fields::stored_bytes;
use crate::run::fields::value::bytes_of;
use crate::run::profile::{KubernetesProfile, Limits, Program};
use crate::run::spec::{ContainerWorkload, ContentBytes, EnvVar, RunSpec, Workload};

use super::environment::variable_bytes;
use super::input::FILES_MAX;

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
    let least = stored_bytes(spec);
    if out.is_empty() && least > limits.max_spec_bytes {
        check_stored(least, limits.max_spec_bytes, out);
    }
}

/// Input, files and `secret_env` together.
fn check_content(spec: &RunSpec, max: usize, out: &mut Violations) {
    let content = spec.content();
    let total = content.total();
    if total > max {
        let ContentBytes { input, files, secret_env } = content;
        let field = if files > input.max(secret_env) {
            "spec.files"
        } else if secret_env > input {
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
