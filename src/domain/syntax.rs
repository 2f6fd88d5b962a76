//! Syntax that Kubernetes prescribes.

/// Whether `text` is a DNS label (RFC 1123): 1 to 63 of `a-z0-9-`, alphanumeric at both ends.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |b: Option<&u8>| matches!(b, Some(b'a'..=b'z' | b'0'..=b'9'));
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
