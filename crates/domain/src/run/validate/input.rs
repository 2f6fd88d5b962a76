//! Input and files.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::name::shown;
use crate::notation::syntax::{FILE_PATH_MAX, is_file_path};
use crate::notation::violation::Violations;
use crate::run::profile::Profile;
use crate::run::spec::{File, Input, RunSpec};

/// Most files of one run: each is an entry of the Pod's template, which has to stay small.
pub const FILES_MAX: usize = 1000;
/// Permission bits that a file may have.
const MODE_MAX: u32 = 0o777;

/// Path of the part of the input that is set.
pub(super) fn input_field(input: &Input) -> &'static str {
    match input {
        Input::Json(_) => "spec.input.json",
        Input::Raw(_) => "spec.input.raw",
    }
}

pub(super) fn check_input(spec: &RunSpec, out: &mut Violations) {
    if let Some(Input::Json(text)) = &spec.input
        && let Err(error) = serde_json::from_str::<IgnoredAny>(text)
    {
        out.add(
            "spec.input.json",
            format!("is not a JSON document: {}; send what is not meant to be JSON as `raw`", json_fault(&error)),
        );
    }
    check_files(&spec.files, out);
}

/// What is wrong with a JSON document, and where, in words of JSON.
pub(super) fn json_fault(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return format!("it ends early, at line {}, column {}", error.line(), error.column());
    }
    error.to_string().replace("expected ident", "expected `true`, `false` or `null`")
}

/// Whether the input is what the profile publishes that it takes. No input at all is checked as
/// `null`.
pub(super) fn check_input_schema(spec: &RunSpec, profile: &Profile, out: &mut Violations) {
    let Some(schema) = &profile.input_schema else { return };
    let name = &profile.name;
    let see = format!("see `longshore profiles {name}`");
    let Some(input) = &spec.input else {
        if schema.check(&Value::Null).is_err() {
            let what = format!("must be set: profile `{name}` takes a JSON document by its input_schema");
            out.add("spec.input", format!("{what}; {see}"));
        }
        return;
    };
    let (field, bytes) = (input_field(input), input.as_bytes());
    let document: Value = match serde_json::from_slice(bytes) {
        Ok(document) => document,
        // That it is none was said by `check_input`.
        Err(_) if matches!(input, Input::Json(_)) => return,
        Err(error) => {
            let what = format!("is not a JSON document: {error}; profile `{name}` takes one by its input_schema");
            return out.add(field, format!("{what}; {see}"));
        }
    };
    for (i, broken) in schema.violations(&document, bytes.len()).into_iter().enumerate() {
        let see = if i == 0 { format!("; {see}") } else { String::new() };
        out.add(field, format!("breaks the input_schema of profile `{name}` {broken}{see}"));
    }
}

fn check_files(files: &[File], out: &mut Violations) {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut seen = BTreeSet::new();
    for (i, File { path, mode, content: _ }) in files.iter().enumerate() {
        let field = format!("spec.files[{i}].path");
        if !is_file_path(path) {
            let rule = format!(
                "1 to {FILE_PATH_MAX} bytes, relative, without empty, `.` or `..` parts, backslashes and control characters, and not beginning with `..`"
            );
            out.add(&field, format!("`{}` is not a valid file path: {rule}", shown(path)));
        } else if !seen.insert(path) {
            out.add(&field, format!("`{}` is given twice; name each file once", shown(path)));
        } else if let Some(other) = directories(path).find(|directory| paths.contains(directory)) {
            let (path, other) = (shown(path), shown(other));
            out.add(&field, format!("`{path}` lies below `{other}`, which is a file itself; rename one of them"));
        }
        if mode.is_some_and(|mode| mode > MODE_MAX) {
            let mode = mode.unwrap_or_default();
            out.add(format!("spec.files[{i}].mode"), format!("0o{mode:o} is beyond 0o777, the permission bits"));
        }
    }
}

/// The directories above a path: `a`, then `a/b`, of `a/b/c`.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(slash, _)| path.get(..slash))
}
