//! Image references, by the grammar of `distribution/reference`, which container runtimes apply:
//! `[domain[:port]/]path[:tag][@digest]`.

/// Longest image reference, in bytes.
pub(super) const IMAGE_REFERENCE_MAX: usize = 512;
/// Longest name (domain and path), in bytes.
const NAME_MAX: usize = 255;
/// Longest tag, in bytes.
const TAG_MAX: usize = 128;

/// Why a text is not a valid image reference. Ends the sentence "`x` is not a valid image reference: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageFault {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// The whole is too long.
    #[error("it is longer than {IMAGE_REFERENCE_MAX} bytes")]
    TooLong,
    /// Registry and repository are too long.
    #[error("its name without tag and digest is longer than {NAME_MAX} bytes")]
    NameTooLong,
    /// A blank, a control character or one beyond ASCII.
    #[error("it contains a blank, a control character or a character beyond ASCII")]
    Character,
    /// Capitals in the repository.
    #[error("its repository has capital letters; registries know lower case only")]
    Capitals,
    /// The registry is not a domain.
    #[error("its registry is not a domain with an optional port")]
    Domain,
    /// The repository is not well-formed.
    #[error(
        "its repository must be parts of lower-case letters and digits joined by `/`, with single `.`, `_`, `__` or `-` inside a part"
    )]
    Repository,
    /// The repository is an image id.
    #[error("64 hexadecimal digits are an image id, which cannot be pulled; name a repository")]
    ImageId,
    /// The tag is not well-formed.
    #[error("its tag must be 1 to {TAG_MAX} of `A-Za-z0-9_.-`, not beginning with `.` or `-`")]
    Tag,
    /// The digest is not well-formed.
    #[error("its digest must look like `sha256:` and 64 hexadecimal digits")]
    Digest,
}

/// Checks that `text` is an image reference of at most 512 bytes.
///
/// # Errors
/// The first fault that was found.
pub fn check_image_reference(text: &str) -> Result<(), ImageFault> {
    if text.is_empty() {
        return Err(ImageFault::Empty);
    }
    if text.len() > IMAGE_REFERENCE_MAX {
        return Err(ImageFault::TooLong);
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ImageFault::Character);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(ImageFault::Digest);
    }
    // A colon after the last slash begins the tag; one before it, the registry's port.
    let path_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest.get(path_start..).and_then(|last| last.split_once(':')) {
        Some((last, tag)) => (rest.get(..path_start + last.len()).unwrap_or_default(), Some(tag)),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(ImageFault::Tag);
    }
    check_name(name, tag.is_none() && digest.is_none())
}

fn check_name(name: &str, bare: bool) -> Result<(), ImageFault> {
    if name.len() > NAME_MAX {
        return Err(ImageFault::NameTooLong);
    }
    let path = match name.split_once('/') {
        Some((domain, path)) if looks_like_domain(domain) => {
            if !is_domain(domain) {
                return Err(ImageFault::Domain);
            }
            path
        }
        _ => name,
    };
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ImageFault::Capitals);
    }
    if bare && path == name && path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ImageFault::ImageId);
    }
    if path.split('/').all(is_path_component) { Ok(()) } else { Err(ImageFault::Repository) }
}

/// What Docker takes for a registry rather than for the first part of a repository.
fn looks_like_domain(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':', '[']) || text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_domain(text: &str) -> bool {
    // `[v6 address]`, with or without a port, or a host name.
    let (host_is_fine, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let fine = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            (fine, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or_default()) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (is_host(host), Some(port)),
            None => (is_host(text), None),
        },
    };
    host_is_fine && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

fn is_host(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = (text.bytes().next(), text.bytes().next_back());
    let (Some(first), Some(last)) = ends else { return false };
    alphanumeric(first)
        && alphanumeric(last)
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    (1..=TAG_MAX).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `sha256:` with 64 digits; of other algorithms, at least 32 digits.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let algorithm_is_fine = algorithm.split(['-', '_', '+', '.']).all(|part| {
        matches!(part.bytes().next(), Some(b) if b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    let length_is_fine = if algorithm == "sha256" { hex.len() == 64 } else { hex.len() >= 32 };
    algorithm_is_fine && length_is_fine && hex.bytes().all(|b| b.is_ascii_hexdigit())
}
