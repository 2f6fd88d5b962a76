//! Syntax that Kubernetes prescribes (`k8s.io/apimachinery/pkg/util/validation`), and the key
//! prefixes that are not the caller's. What passes here, the API server and the kubelet accept.

mod image;

pub use image::{ImageFault, check_image_reference};

/// Longest DNS label.
pub const DNS_LABEL_MAX: usize = 63;
/// Longest DNS subdomain.
pub const DNS_SUBDOMAIN_MAX: usize = 253;
/// Longest name part of a label key, and longest label value.
pub const LABEL_PART_MAX: usize = 63;
/// Longest relative path of a file, in bytes.
pub const FILE_PATH_MAX: usize = 512;
/// Longest absolute path, in bytes (Linux' `PATH_MAX` less the terminator).
pub const ABSOLUTE_PATH_MAX: usize = 4095;
/// Longest part of a path, in bytes (Linux' `NAME_MAX`).
const PATH_PART_MAX: usize = 255;

/// Prefixes of label and annotation keys that belong to Kubernetes, Kueue and Longshore; so do
/// their subdomains.
pub const RESERVED_PREFIXES: [&str; 4] = ["kubernetes.io", "k8s.io", "kueue.x-k8s.io", "longshore.dev"];

/// Whether `text` is a DNS label (RFC 1123): 1 to 63 of `a-z0-9-`, alphanumeric at both ends.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= DNS_LABEL_MAX && is_dns_part(text)
}

/// Whether `text` is a DNS subdomain (RFC 1123): 1 to 253 characters, parts as in a DNS label
/// joined by `.`. As in Kubernetes, a part may be longer than 63.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= DNS_SUBDOMAIN_MAX && text.split('.').all(is_dns_part)
}

/// Whether `text` is a label key: an optional DNS subdomain and `/`, then 1 to 63 of
/// `A-Za-z0-9-_.`, alphanumeric at both ends. Kubernetes calls it a qualified name.
#[must_use]
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_part(name),
        None => is_label_part(text),
    }
}

/// Whether `text` is a label value: empty, or 1 to 63 of `A-Za-z0-9-_.`, alphanumeric at both ends.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_part(text)
}

/// Whether `text` is an annotation key: a label key, but for the case of its prefix.
#[must_use]
pub fn is_annotation_key(text: &str) -> bool {
    is_label_key(&text.to_ascii_lowercase())
}

/// The entry of [`RESERVED_PREFIXES`] that a label or annotation key falls under.
#[must_use]
pub fn reserved_prefix(key: &str) -> Option<&'static str> {
    let prefix = key.split_once('/')?.0.to_ascii_lowercase();
    RESERVED_PREFIXES.into_iter().find(|reserved| is_or_is_below(&prefix, reserved))
}

/// Whether `text` is a C identifier: `[A-Za-z_][A-Za-z0-9_]*`.
#[must_use]
pub fn is_env_name(text: &str) -> bool {
    matches!(text.bytes().next(), Some(b'A'..=b'Z' | b'a'..=b'z' | b'_'))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `text` is a relative path of 1 to 512 bytes that stays below its directory: no empty,
/// `.` or `..` part, no backslash, no control character. The first part may not begin with `..`,
/// which Kubernetes keeps for its own.
#[must_use]
pub fn is_file_path(text: &str) -> bool {
    text.len() <= FILE_PATH_MAX && !text.starts_with("..") && !text.contains('\\') && text.split('/').all(is_path_part)
}

/// Whether `text` is an absolute path of at most 4095 bytes without empty, `.` or `..` parts and
/// without control characters. One `/` at the end is fine.
#[must_use]
pub fn is_absolute_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    text.len() <= ABSOLUTE_PATH_MAX && (text == "/" || rest.split('/').all(is_path_part))
}

/// Whether `text` is a key of a Secret: 1 to 253 of `A-Za-z0-9-_.`, not `.` and not beginning
/// with `..`.
#[must_use]
pub fn is_secret_key(text: &str) -> bool {
    (1..=DNS_SUBDOMAIN_MAX).contains(&text.len())
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether `text` names an extended resource such as `example.com/gpu`: a prefix that is not
/// Kubernetes' own, and a label key also behind `requests.`, as quotas name it.
#[must_use]
pub fn is_extended_resource(text: &str) -> bool {
    text.contains('/')
        && !text.contains("kubernetes.io/")
        && !text.starts_with("requests.")
        && is_label_key(&format!("requests.{text}"))
}

/// Whether a domain is `parent` or below it.
fn is_or_is_below(domain: &str, parent: &str) -> bool {
    domain.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
fn is_dns_part(text: &str) -> bool {
    ends_satisfy(text, |b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// `[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?`, at most 63.
fn is_label_part(text: &str) -> bool {
    text.len() <= LABEL_PART_MAX
        && ends_satisfy(text, |b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_path_part(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && part.len() <= PATH_PART_MAX && !part.chars().any(char::is_control)
}

/// Whether the first and the last byte satisfy `test`; not so if there is none.
fn ends_satisfy(text: &str, test: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| test(*b)) && bytes.last().is_some_and(|b| test(*b))
}

#[cfg(test)]
mod tests;
