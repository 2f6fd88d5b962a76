//! The server's words about fields of a request, in the words of the command line.

use tonic::Status;
use tonic_types::{BadRequest, FieldViolation, StatusExt};

/// `status` with its violations named by what was typed. `typed` knows fields by their path, such as `spec.env[0].name`;
/// `words` has names of fields that descriptions mention in backquotes, and what they are called here.
pub(crate) fn in_words_of_flags(
    status: Status,
    typed: impl Fn(&str) -> Option<String>,
    words: &[(&str, &str)],
) -> Status {
    let mut details = status.get_error_details();
    let Some(bad) = details.bad_request() else { return status };
    let violations: Vec<FieldViolation> = bad
        .field_violations
        .iter()
        .map(|violation| {
            let field = typed(&violation.field).unwrap_or_else(|| violation.field.clone());
            FieldViolation { field, description: translated(&violation.description, words), ..violation.clone() }
        })
        .collect();
    // The message of several is a count where it is shown; that of one is the violation itself.
    let message = match violations.as_slice() {
        [one] if !one.field.is_empty() => format!("{}: {}", one.field, one.description),
        _ => status.message().to_owned(),
    };
    details.set_bad_request(BadRequest::new(violations).field_violations);
    let mut spoken = Status::with_error_details(status.code(), message, details);
    *spoken.metadata_mut() = status.metadata().clone();
    spoken
}

/// `description` with names of fields in backquotes as they are called here.
fn translated(description: &str, words: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(description.len());
    for (index, part) in description.split('`').enumerate() {
        if index > 0 {
            out.push('`');
        }
        // Every second part stands between two backquotes.
        let word = words.iter().find(|(name, _)| index % 2 == 1 && *name == part);
        out.push_str(word.map_or(part, |(_, flag)| flag));
    }
    out
}

/// The part of a field's path behind `prefix`, if it is a field of that message or the message itself.
pub(crate) fn below<'a>(field: &'a str, prefix: &str) -> Option<&'a str> {
    field.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The index or the key in `[7]…` or `["a"]…`.
pub(crate) fn key(rest: &str) -> Option<&str> {
    let inner = rest.strip_prefix('[')?;
    match inner.strip_prefix('"') {
        Some(quoted) => quoted.split_once("\"]").map(|(key, _)| key),
        None => inner.split_once(']').map(|(index, _)| index),
    }
}

/// What is typed for the fields of the requests of all verbs but `run`.
pub(crate) fn of_simple_verbs(field: &str) -> Option<String> {
    let argument = match field {
        "name" => "RUN",
        "parent" => "--namespace",
        "filter.label_selector" => "--selector",
        "filter.profile" => "--profile",
        "filter.create_time_from" | "since_time" => "--since",
        "page_size" => "--limit",
        "container" => "--container",
        "stream" => "--stream",
        "attempt" => "--attempt",
        "all_attempts" => "--all-attempts",
        "tail_lines" => "--tail",
        "limit_bytes" => "--limit-bytes",
        "reason" => "--reason",
        "allow_missing" => "--allow-missing",
        _ => return below(field, "filter.states").map(|_| "--state".to_owned()),
    };
    Some(argument.to_owned())
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn violations_are_named_by_what_was_typed() {
        let mut details =
            ErrorDetails::with_error_info("INVALID_FIELDS", "longshore.dev", std::collections::HashMap::new());
        details.add_bad_request_violation("filter.label_selector", "`a b` is not a selector; see `page_size` and `a");
        let status = Status::with_error_details(Code::InvalidArgument, "filter.label_selector: …", details);
        let spoken = in_words_of_flags(status, of_simple_verbs, &[("page_size", "--limit"), ("a", "wrong")]);
        assert_eq!(spoken.message(), "--selector: `a b` is not a selector; see `--limit` and `wrong");
        assert_eq!(spoken.get_details_error_info().unwrap().reason, "INVALID_FIELDS");
        let other = in_words_of_flags(Status::not_found("it is gone"), of_simple_verbs, &[]);
        assert_eq!((other.code(), other.message()), (Code::NotFound, "it is gone"));
    }

    #[test]
    fn parts_of_a_path() {
        assert_eq!(below("spec.env[0].name", "spec.env"), Some("[0].name"));
        assert_eq!(below("spec.environment", "spec.env"), None);
        assert_eq!((key("[7].name"), key("[\"a.b/c\"]"), key(".name")), (Some("7"), Some("a.b/c"), None));
    }
}
