//! JSON's text of Python's numbers.

use num_bigint::BigUint;

/// Most digits of an integer that is not decimal: making it decimal takes time by their square.
const RADIX_MAX_DIGITS: usize = 4096;

/// A decimal integer.
pub(super) fn integer(digits: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(digits.iter().skip_while(|digit| matches!(digit, b'0' | b'_')).filter(|digit| **digit != b'_'));
    if out.len() == start {
        out.push(b'0');
    }
}

/// A number with point or exponent: JSON wants a digit on either side of a point, and no zeros first.
pub(super) fn float(digits: &[u8], out: &mut Vec<u8>) {
    let whole = digits.iter().take_while(|digit| matches!(digit, b'0'..=b'9' | b'_')).count();
    let (whole, rest) = digits.split_at_checked(whole).unwrap_or((digits, &[]));
    integer(whole, out);
    if let Some(fraction) = rest.strip_prefix(b".") {
        out.push(b'.');
        if !fraction.first().is_some_and(u8::is_ascii_digit) {
            out.push(b'0');
        }
        out.extend(fraction.iter().filter(|digit| **digit != b'_'));
    } else {
        out.extend(rest.iter().filter(|digit| **digit != b'_'));
    }
}

/// An integer with `0x`, `0o` or `0b`, in decimal. `None`: it has too many digits.
pub(super) fn radix(digits: &[u8], base: u32) -> Option<String> {
    let digits: Vec<u8> = digits.iter().skip(2).copied().filter(|digit| *digit != b'_').collect();
    let digits = digits.as_slice();
    let digits = digits.get(digits.iter().take_while(|digit| **digit == b'0').count()..)?;
    if digits.len() > RADIX_MAX_DIGITS {
        return None;
    }
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    BigUint::parse_bytes(digits, base).map(|number| number.to_string())
}
