//! Names of runs as people type and read them.

use crate::terminal::error::CliError;

/// The resource name that `text` means: a bare id lives in `namespace`, a whole name is taken as it is.
pub(crate) fn run_name(namespace: &str, text: &str) -> Result<String, CliError> {
    let wrong = || {
        CliError::usage(format!(
            "`{text}` is not a run: expected its id, or a name such as namespaces/{namespace}/runs/ID"
        ))
    };
    if text.is_empty() {
        return Err(wrong());
    }
    if !text.contains('/') {
        return Ok(format!("{}/runs/{text}", parent(namespace)));
    }
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        ["namespaces", namespace, "runs", run] if !namespace.is_empty() && !run.is_empty() => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

/// `namespaces/{namespace}`.
pub(crate) fn parent(namespace: &str) -> String {
    format!("namespaces/{}", namespace.strip_prefix("namespaces/").unwrap_or(namespace))
}

/// Namespace and id of a resource name; what is no such name is all id.
pub(crate) fn split(name: &str) -> (&str, &str) {
    name.strip_prefix("namespaces/").and_then(|rest| rest.split_once("/runs/")).unwrap_or(("", name))
}

/// What to type for the run `name`: its id where that is enough, else its name.
pub(crate) fn typed(name: &str) -> &str {
    match split(name) {
        ("default", id) => id,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names() {
        assert_eq!(run_name("default", "a").unwrap(), "namespaces/default/runs/a");
        assert_eq!(run_name("namespaces/x", "a").unwrap(), "namespaces/x/runs/a");
        assert_eq!(run_name("default", "namespaces/x/runs/b").unwrap(), "namespaces/x/runs/b");
        for wrong in ["", "runs/a", "namespaces//runs/a", "namespaces/x/runs/", "namespaces/x/runs/a/attempts/1"] {
            assert!(run_name("default", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_to_type() {
        assert_eq!(typed("namespaces/default/runs/a"), "a");
        assert_eq!(typed("namespaces/x/runs/a"), "namespaces/x/runs/a");
        assert_eq!(split("strange"), ("", "strange"));
    }
}
