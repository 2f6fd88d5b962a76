//! The caller's deadline, from the header `grpc-timeout`.
//!
//! tonic reads it too, but answers CANCELLED, lets streams go on and takes no notice of one that is
//! malformed; so it is enforced here.

use std::time::Duration;

use http::HeaderMap;

/// A header `grpc-timeout` that says no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The time that is left; `None` if the caller set none.
///
/// # Errors
/// A header that is not as the protocol says: the sender wants a deadline, and must not wait
/// without one.
pub(super) fn parse(headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
    let mut values = headers.get_all("grpc-timeout").iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().ok().and_then(duration).map(Some).ok_or(Malformed),
        (Some(_), Some(_)) => Err(Malformed),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // At most 8 digits (gRPC over HTTP/2), so nothing below overflows.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", value.parse().unwrap());
        parse(&headers).unwrap_or_default()
    }

    #[test]
    fn units_of_the_specification() {
        assert_eq!(timeout("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(timeout("2M"), Some(Duration::from_secs(120)));
        assert_eq!(timeout("3S"), Some(Duration::from_secs(3)));
        assert_eq!(timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(timeout("5u"), Some(Duration::from_micros(5)));
        assert_eq!(timeout("0n"), Some(Duration::ZERO));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    }

    #[test]
    fn anything_else_is_malformed() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("grpc-timeout", http::HeaderValue::from_bytes(value).unwrap());
            }
            parse(&headers)
        };
        for bad in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1 S", " 1S", "1.5S", "1\u{e9}", "\u{661}S"] {
            assert_eq!(of(&[bad.as_bytes()]), Err(Malformed), "{bad}");
        }
        assert_eq!(of(&[b"1S", b"1S"]), Err(Malformed));
        assert_eq!(of(&[b"\xff"]), Err(Malformed));
        assert_eq!(of(&[]), Ok(None));
    }
}
