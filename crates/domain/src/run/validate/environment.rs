//! Environment variables, and the command line.

use std::collections::BTreeSet;

use crate::name::shown;
use crate::notation::syntax::{is_dns_subdomain, is_env_name, is_secret_key};
use crate::notation::violation::Violations;
use crate::run::profile::Limits;
use crate::run::spec::{EnvSource, EnvVar};

/// Variables that Longshore itself sets.
const RESERVED: &str = "LONGSHORE_";
/// The one of them that is the operator's to set: where our own runners find data sets.
const DATA: &str = "LONGSHORE_DATA";

/// Whose variables they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setter {
    /// A request.
    Caller,
    /// A profile.
    Operator,
}

pub(super) fn check_env(env: &[EnvVar], at: &str, setter: Setter, limits: &Limits, out: &mut Violations) {
    let mut names = BTreeSet::new();
    for (i, variable) in env.iter().enumerate() {
        let at = format!("{at}.env[{i}]");
        let field = format!("{at}.name");
        let own = setter == Setter::Operator && variable.name == DATA;
        if !own && !check_name(&variable.name, &field, out) {
            continue;
        }
        if !names.insert(&variable.name) {
            out.add(field, format!("`{}` is given twice; name each variable once", shown(&variable.name)));
        }
        check_source(variable, &at, limits.max_env_var_bytes, out);
    }
}

/// Checks the name of a variable that is not one of ours; whether it is fine.
pub(super) fn check_name(name: &str, field: &str, out: &mut Violations) -> bool {
    if !is_env_name(name) {
        let rule = "letters, digits and `_`, not starting with a digit";
        out.add(field, format!("`{}` is not a valid variable name: {rule}", shown(name)));
        return false;
    }
    if name.starts_with(RESERVED) {
        let name = shown(name);
        out.add(field, format!("`{name}` cannot be set: names that start with `{RESERVED}` are Longshore's own"));
        return false;
    }
    true
}

fn check_source(variable: &EnvVar, at: &str, max: usize, out: &mut Violations) {
    match &variable.source {
        EnvSource::Value(value) => {
            let bytes = variable_bytes(variable);
            if value.contains('\0') {
                out.add(format!("{at}.value"), "contains a NUL, which no environment variable can hold");
            }
            if bytes > max {
                let why = format!("takes {bytes} bytes with its name; Linux allows at most {max}");
                out.add(format!("{at}.value"), format!("{why}; give it as a file or as input instead"));
            }
        }
        EnvSource::SecretKeyRef { name, key } => {
            if !is_dns_subdomain(name) {
                let description = format!("`{}` is not a valid Secret name: a DNS subdomain is expected", shown(name));
                out.add(format!("{at}.secret_key_ref.name"), description);
            }
            if !is_secret_key(key) {
                let rule = "1 to 253 of `A-Za-z0-9-_.`";
                let description = format!("`{}` is not a valid key of a Secret: {rule}", shown(key));
                out.add(format!("{at}.secret_key_ref.key"), description);
            }
        }
    }
}

/// Bytes of `NAME=value`; of a reference only the name counts, since the value is not ours to see.
pub(super) fn variable_bytes(variable: &EnvVar) -> usize {
    let value = match &variable.source {
        EnvSource::Value(value) => value.len(),
        EnvSource::SecretKeyRef { .. } => 0,
    };
    variable.name.len() + 1 + value
}

/// Checks a command or its arguments.
pub(super) fn check_arguments(arguments: &[String], field: &str, max: usize, out: &mut Violations) {
    for (i, argument) in arguments.iter().enumerate() {
        if argument.contains('\0') {
            out.add(format!("{field}[{i}]"), "contains a NUL, which no argument can hold");
        }
        if argument.len() > max {
            let why = format!("takes {} bytes; Linux allows at most {max} for one argument", argument.len());
            out.add(format!("{field}[{i}]"), format!("{why}; give it as a file or as input instead"));
        }
    }
}
