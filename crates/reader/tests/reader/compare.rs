//! Whether two compact JSON texts say the same. Token by token, so without recursion.

use std::borrow::Cow;

/// How far numbers may differ in their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Not at all.
    Verbatim,
    /// `1e5` is `100000.0`, but not `100000`; `-0.0` is not `0.0`.
    ByValue,
}

/// What is different, if anything is. Both begin as compact JSON does: no white space between tokens.
pub fn difference(expected: &str, actual: &str, numbers: Numbers) -> Option<String> {
    let (mut left, mut right) = (expected, actual);
    loop {
        let (a, b) = match (token(left), token(right)) {
            (None, None) => return None,
            (Some(a), Some(b)) => (a, b),
            (a, b) => return Some(format!("{a:?} against {b:?}")),
        };
        (left, right) = (&left[a.len()..], &right[b.len()..]);
        if !same(a, b, left.starts_with(':'), numbers) {
            return Some(format!("`{a}` against `{b}`"));
        }
    }
}

/// The token that compact JSON begins with.
fn token(json: &str) -> Option<&str> {
    let bytes = json.as_bytes();
    let len = match bytes.first()? {
        b'"' => {
            let mut at = 1;
            while *bytes.get(at)? != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            at + 1
        }
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        _ => bytes.iter().position(|byte| b",:]}".contains(byte)).unwrap_or(bytes.len()),
    };
    json.get(..len)
}

fn same(a: &str, b: &str, key: bool, numbers: Numbers) -> bool {
    if a == b {
        return true;
    }
    if a.starts_with('"') && b.starts_with('"') {
        let (Ok(a), Ok(b)) = (serde_json::from_str::<String>(a), serde_json::from_str::<String>(b)) else {
            return false;
        };
        let by_value = numbers == Numbers::ByValue;
        // A key that was no string holds JSON itself.
        return a == b
            || by_value && key && plausible(&a) && plausible(&b) && difference(&a, &b, numbers).is_none()
            || by_value && same_complex(&a, &b);
    }
    numbers == Numbers::ByValue && Number::of(a).is_some_and(|a| Number::of(b) == Some(a))
}

fn plausible(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '[')
}

fn same_complex(a: &str, b: &str) -> bool {
    let (Some(a), Some(b)) = (complex(a), complex(b)) else { return false };
    a == b
}

/// The two numbers of `(1-2j)` or `2j`.
fn complex(text: &str) -> Option<(Option<Number<'_>>, Number<'_>)> {
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).strip_suffix('j')?;
    let sign = inner
        .char_indices()
        .rev()
        .find(|&(at, c)| at > 0 && matches!(c, '+' | '-') && !inner[..at].ends_with(['e', 'E']));
    let Some((at, _)) = sign else { return Some((None, Number::of(inner)?)) };
    Some((Some(Number::of(&inner[..at])?), Number::of(inner[at..].trim_start_matches('+'))?))
}

/// A number as its value, of any size.
#[derive(Debug, PartialEq, Eq)]
struct Number<'a> {
    negative: bool,
    digits: String,
    exponent: Cow<'a, str>,
    real: bool,
}

impl<'a> Number<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let real = unsigned.contains(['.', 'e', 'E']);
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0').trim_end_matches('0').to_owned();
        if significant.is_empty() {
            // An integer has no negative zero.
            return Some(Self { negative: negative && real, digits: significant, exponent: "0".into(), real });
        }
        let zeros = digits.len() - digits.trim_end_matches('0').len();
        let exponent = match exponent.parse::<i64>() {
            Ok(exponent) => (i128::from(exponent) - fraction.len() as i128 + zeros as i128).to_string().into(),
            // Too long to reckon with: then its text has to be the same.
            Err(_) => exponent.into(),
        };
        Some(Self { negative, digits: significant, exponent, real })
    }
}

#[test]
fn numbers_are_compared_by_value() {
    let same = |a, b| difference(a, b, Numbers::ByValue).is_none();
    assert!(same("[1.50,1e5,-0]", "[1.5,100000.0,0]"));
    assert!(same(r#"{"1.0":"(1.5-2j)"}"#, r#"{"1.00":"(1.50-2j)"}"#));
    assert!(!same("[-0.0]", "[0.0]"));
    assert!(!same("[1]", "[1.0]"));
    assert!(!same("[12]", "[120]"));
    assert!(!same(r#"["1.0"]"#, r#"["1.00"]"#));
    assert!(!same("[1]", "[1,2]"));
    assert!(difference("[1.50]", "[1.5]", Numbers::Verbatim).is_some());
    assert!(difference(r#"["\u00e9"]"#, r#"["é"]"#, Numbers::Verbatim).is_none());
}
