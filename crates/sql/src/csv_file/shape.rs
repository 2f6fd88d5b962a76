//! What a field looks like by itself: a number, a date, nothing, or text.

/// A field's look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// Nothing at all.
    Empty,
    /// Blanks, or a word that stands for a missing value: NA, NULL, NaN …
    Missing,
    /// A whole number written plainly.
    Integer(i64),
    /// A decimal number that a 64-bit float holds: printed with as many decimals, it gives the same digits.
    Real {
        value: f64,
        /// Digits after the point; none if it is written with an exponent.
        decimals: Option<u8>,
    },
    /// A whole number with commas between thousands.
    GroupedInteger(i64),
    /// Likewise with decimals.
    GroupedReal(f64),
    /// Digits alone that are an identifier rather than a number, by a leading zero.
    Identifier {
        digits: usize,
    },
    /// A number with more digits than a 64-bit number holds.
    LongNumber,
    Boolean(bool),
    /// `2026-02-11`.
    Date,
    /// `2026-02-11 12:30`, with `T` or a blank, with or without seconds and zone.
    DateTime(TimeForm),
    /// A date written in another order or with another separator.
    OtherDate,
    /// A number with something around it: a currency, a percent sign, a plus, other separators.
    NearNumber,
    Text,
}

/// How an ISO time is written. Times of different forms do not sort as texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TimeForm {
    t: bool,
    seconds: bool,
    zone: Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Zone {
    None,
    Utc,
    Offset,
}

impl TimeForm {
    /// Whether times of this form may have different offsets, so that their order as texts is not that in time.
    pub(crate) fn has_offset(self) -> bool {
        self.zone == Zone::Offset
    }
}

/// What pandas, R and SQL exports write for a missing value, in any case.
const MISSING: [&str; 15] = [
    "na", "n/a", "nan", "null", "none", "\\n", "<na>", "#n/a", "#na", "-nan", "#n/a n/a", "1.#qnan", "-1.#qnan",
    "1.#ind", "-1.#ind",
];

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

impl Shape {
    /// The shape of `field`. Blanks around numbers, dates and words mean nothing.
    pub(crate) fn of(field: &[u8]) -> Self {
        let Some(first) = field.first() else { return Self::Empty };
        let trimmed = match first {
            b'0'..=b'9' if field.last().is_some_and(|last| last.is_ascii_digit()) => field,
            _ => field.trim_ascii(),
        };
        let Some(first) = trimmed.first() else { return Self::Missing };
        match first {
            b'0'..=b'9' | b'-' | b'.' => number_or_date(trimmed),
            b'a'..=b'z' | b'A'..=b'Z' | b'\\' | b'<' | b'#' => word(trimmed),
            _ if is_near_number(trimmed) => Self::NearNumber,
            _ => Self::Text,
        }
    }
}

fn word(field: &[u8]) -> Shape {
    if field.len() > 24 {
        return Shape::Text;
    }
    let is = |word: &str| field.eq_ignore_ascii_case(word.as_bytes());
    if is("true") || is("false") {
        return Shape::Boolean(is("true"));
    }
    if MISSING.iter().any(|missing| is(missing)) {
        return Shape::Missing;
    }
    // Most words have none, and neither of what follows is without one.
    if !field.iter().any(u8::is_ascii_digit) {
        return Shape::Text;
    }
    if begins_with_month(field) && is_date_with_month(field) {
        return Shape::OtherDate;
    }
    if is_near_number(field) { Shape::NearNumber } else { Shape::Text }
}

fn number_or_date(field: &[u8]) -> Shape {
    let negative = field.first() == Some(&b'-');
    let digits = if negative { field.get(1..).unwrap_or_default() } else { field };
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = digits.get(whole..).unwrap_or_default();
    let leading_zero = whole > 1 && digits.first() == Some(&b'0');
    match rest.first() {
        None if whole == 0 => return Shape::Text,
        None if leading_zero => return Shape::Identifier { digits: whole },
        None if negative && digits == b"0" => return Shape::Real { value: -0.0, decimals: None },
        None => return parse::<i64>(field).map_or(Shape::LongNumber, Shape::Integer),
        Some(b'.' | b'e' | b'E') if !leading_zero => {
            if let Some(shape) = real(field, whole, rest) {
                return shape;
            }
        }
        Some(b',') if !leading_zero => {
            if let Some(shape) = grouped(field, whole, rest) {
                return shape;
            }
        }
        _ => {}
    }
    if let Some(shape) = iso_date(field) {
        return shape;
    }
    if is_other_date(field) || is_date_with_month(field) {
        return Shape::OtherDate;
    }
    if MISSING.iter().any(|missing| field.eq_ignore_ascii_case(missing.as_bytes())) {
        return Shape::Missing;
    }
    if is_near_number(field) { Shape::NearNumber } else { Shape::Text }
}

fn parse<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// A decimal number; `whole` digits come before `rest`, which begins with a point or an exponent.
fn real(field: &[u8], whole: usize, rest: &[u8]) -> Option<Shape> {
    let fraction = match rest.strip_prefix(b".") {
        Some(rest) => rest.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        None => 0,
    };
    if whole + fraction == 0 {
        return None;
    }
    let value = parse::<f64>(field).filter(|value| value.is_finite())?;
    let has_exponent = rest.iter().any(|byte| matches!(byte, b'e' | b'E'));
    let text = std::str::from_utf8(field).ok()?;
    // Every number of fifteen digits survives the way through a 64-bit float.
    if whole + fraction > 15 && !survives(text, value, fraction, has_exponent) {
        return Some(Shape::LongNumber);
    }
    let decimals = u8::try_from(fraction).ok().filter(|_| !has_exponent);
    Some(Shape::Real { value, decimals })
}

/// Whether `value` printed with as many digits as `text` has gives `text` again.
fn survives(text: &str, value: f64, fraction: usize, has_exponent: bool) -> bool {
    if fraction > 400 {
        return false;
    }
    if !has_exponent {
        let unsigned = text.trim_start_matches('-').trim_end_matches('.');
        let zero = if unsigned.starts_with('.') { "0" } else { "" };
        return format!("{:.fraction$}", value.abs()) == format!("{zero}{unsigned}");
    }
    // Digits without point, sign and zeros at either end.
    let mantissa = |text: &str| {
        let digits: String =
            text.chars().take_while(|c| !matches!(c, 'e' | 'E')).filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    };
    let wanted = mantissa(text);
    let precision = wanted.len().saturating_sub(1);
    mantissa(&format!("{value:.precision$e}")) == wanted
}

/// A number with commas between thousands, such as `1,234,567.8`.
fn grouped(field: &[u8], whole: usize, rest: &[u8]) -> Option<Shape> {
    if !(1..=3).contains(&whole) || field.first() == Some(&b'0') || field.len() > 40 {
        return None;
    }
    let mut groups = rest;
    while let Some(after) = groups.strip_prefix(b",") {
        let (group, next) = after.split_at_checked(3)?;
        if !group.iter().all(u8::is_ascii_digit) {
            return None;
        }
        groups = next;
    }
    let plain: Vec<u8> = field.iter().copied().filter(|byte| *byte != b',').collect();
    match groups.strip_prefix(b".") {
        None if groups.is_empty() => parse(&plain).map(Shape::GroupedInteger),
        Some(decimals) if decimals.iter().all(u8::is_ascii_digit) && plain.len() <= 16 => {
            parse(&plain).map(Shape::GroupedReal)
        }
        _ => None,
    }
}

/// Up to two digits within bounds at the beginning of `text`.
fn two(text: &[u8], at: usize, most: u8) -> bool {
    let (Some(tens @ b'0'..=b'9'), Some(ones @ b'0'..=b'9')) = (text.get(at), text.get(at + 1)) else { return false };
    (tens - b'0') * 10 + (ones - b'0') <= most
}

fn iso_date(field: &[u8]) -> Option<Shape> {
    let is_date = field.len() >= 10
        && field.get(..4)?.iter().all(u8::is_ascii_digit)
        && field.get(4) == Some(&b'-')
        && field.get(7) == Some(&b'-')
        && two(field, 5, 12)
        && two(field, 8, 31)
        && field.get(5..7) != Some(b"00")
        && field.get(8..10) != Some(b"00");
    if !is_date {
        return None;
    }
    let t = match field.get(10) {
        None => return Some(Shape::Date),
        Some(b'T' | b't') => true,
        Some(b' ') => false,
        Some(_) => return None,
    };
    if !(two(field, 11, 24) && field.get(13) == Some(&b':') && two(field, 14, 59)) {
        return None;
    }
    let mut rest = field.get(16..)?;
    let seconds = rest.first() == Some(&b':');
    if seconds {
        if !two(rest, 1, 60) {
            return None;
        }
        rest = rest.get(3..)?;
        if let Some(fraction) = rest.strip_prefix(b".") {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest = fraction.get(digits..)?;
        }
    }
    let zone = match rest.trim_ascii_start() {
        b"" => Zone::None,
        b"Z" | b"z" | b"UTC" | b"+00:00" | b"+00" | b"+0000" => Zone::Utc,
        [b'+' | b'-', offset @ ..] if offset.len() <= 5 && offset.iter().all(|b| b.is_ascii_digit() || *b == b':') => {
            Zone::Offset
        }
        _ => return None,
    };
    Some(Shape::DateTime(TimeForm { t, seconds, zone }))
}

/// `31.12.2025`, `12/31/25`, `2025/12/31`, `1-2-2025`, each also with a time after it.
fn is_other_date(field: &[u8]) -> bool {
    let end = field.iter().position(|byte| matches!(byte, b' ' | b'T')).unwrap_or(field.len());
    let (date, time) = field.split_at(end);
    if date.len() > 10 || !(time.is_empty() || time.contains(&b':')) {
        return false;
    }
    let Some(separator) = date.iter().copied().find(|byte| !byte.is_ascii_digit()) else { return false };
    if !matches!(separator, b'.' | b'/' | b'-') {
        return false;
    }
    let parts: Vec<&[u8]> = date.split(|byte| *byte == separator).collect();
    let [first, middle, last] = parts.as_slice() else { return false };
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let number = |part: &[u8]| parse::<u16>(part).unwrap_or(u16::MAX);
    let day = |part: &[u8]| part.len() <= 2 && (1..=31).contains(&number(part));
    let year = |part: &[u8]| {
        part.len() == 4 || (part.len() == 2 && separator != b'.') || (part.len() == 2 && first.len() == 2)
    };
    [first, middle, last].into_iter().all(|part| digits(part))
        && ((day(first) && day(middle) && year(last)) || (first.len() == 4 && day(middle) && day(last)))
}

fn begins_with_month(field: &[u8]) -> bool {
    field.get(..3).is_some_and(|head| MONTHS.iter().any(|month| head.eq_ignore_ascii_case(month.as_bytes())))
}

/// `Feb 11, 2026`, `11-Feb-2026`, `11 February 2026`.
fn is_date_with_month(field: &[u8]) -> bool {
    let words: Vec<&[u8]> = field
        .split(|byte| matches!(byte, b' ' | b'-' | b',' | b'/' | b'.'))
        .filter(|word| !word.is_empty())
        .take(4)
        .collect();
    let [first, second, third, ..] = words.as_slice() else { return false };
    let is_number = |word: &[u8]| word.len() <= 4 && word.iter().all(u8::is_ascii_digit);
    let is_month = |word: &[u8]| begins_with_month(word) && word.iter().all(u8::is_ascii_alphabetic);
    is_number(third) && ((is_month(first) && is_number(second)) || (is_number(first) && is_month(second)))
}

/// Whether it is a number in all but its writing: `$5`, `45 %`, `+3`, `1 000`, `1.234,56`, `(5.00)`, `1_000`, `12 kg`.
fn is_near_number(field: &[u8]) -> bool {
    if field.len() > 40 || !field.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let Ok(text) = std::str::from_utf8(field) else { return false };
    let is_money = |c: char| matches!(c, '$' | '€' | '£' | '¥' | '₹' | '%' | '‰' | '°');
    let is_sign = |c: char| matches!(c, '+' | '-' | '−' | '(' | ')');
    let is_gap = |c: char| matches!(c, '.' | ',' | '\'' | '’' | '_' | ' ' | '\u{a0}' | '\u{202f}');
    let around = |c: char| is_money(c) || is_sign(c) || c == ' ' || c == '\u{a0}';
    let core = text.trim_start_matches(around).trim_end_matches(around);
    // A unit: a short word after the number.
    let unit = core.chars().rev().take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum::<usize>();
    let number = core.get(..core.len() - unit).unwrap_or_default().trim_end_matches(is_gap);
    let starts = number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
    let leading_zeros = unit > 0 && number.starts_with('0') && !number.starts_with("0.") && number.len() > 1;
    let spaced = number.chars().filter(|c| is_gap(*c)).count();
    let grouped_by_three = |number: &str| {
        number.split(is_gap).skip(1).all(|group| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit()))
    };
    starts
        && !leading_zeros
        && unit <= 4
        && number.chars().all(|c| c.is_ascii_digit() || is_gap(c))
        && (spaced <= 1
            || grouped_by_three(number)
            || number.rsplit_once(['.', ',']).is_some_and(|(head, _)| grouped_by_three(head)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_date(text: &str) -> bool {
        matches!(Shape::of(text.as_bytes()), Shape::Date | Shape::DateTime(_))
    }

    #[test]
    fn numbers() {
        for (text, shape) in [
            ("", Shape::Empty),
            ("  ", Shape::Missing),
            ("7", Shape::Integer(7)),
            (" -7 ", Shape::Integer(-7)),
            ("0", Shape::Integer(0)),
            ("-0", Shape::Real { value: 0.0, decimals: None }),
            ("9223372036854775807", Shape::Integer(i64::MAX)),
            ("9223372036854775808", Shape::LongNumber),
            ("007", Shape::Identifier { digits: 3 }),
            ("1.50", Shape::Real { value: 1.5, decimals: Some(2) }),
            (".5", Shape::Real { value: 0.5, decimals: Some(1) }),
            ("5.", Shape::Real { value: 5.0, decimals: Some(0) }),
            ("-1e3", Shape::Real { value: -1000.0, decimals: None }),
            ("83.66666666666667", Shape::Real { value: 83.666_666_666_666_67, decimals: Some(14) }),
            ("0.10000000000000000555", Shape::Real { value: 0.1, decimals: Some(20) }),
            ("1234567890123456.78", Shape::LongNumber),
            ("0.12345678901234567891", Shape::LongNumber),
            ("1.7976931348623157e308", Shape::Real { value: f64::MAX, decimals: None }),
            ("1e999", Shape::Text),
            ("1,500,000", Shape::GroupedInteger(1_500_000)),
            ("-12,345.67", Shape::GroupedReal(-12_345.67)),
            ("1,5", Shape::NearNumber),
            ("0,125", Shape::NearNumber),
            ("1,2345", Shape::NearNumber),
            ("00.5", Shape::NearNumber),
            (".", Shape::Text),
            ("-", Shape::Text),
        ] {
            assert_eq!(Shape::of(text.as_bytes()), shape, "{text:?}");
        }
    }

    #[test]
    fn nearly_numbers_are_distinguished_from_texts() {
        for text in [
            "$5",
            "€ 1.200",
            "45%",
            "45 %",
            "+4930",
            "1 000 000",
            "1'000",
            "1_000",
            "1.234.567",
            "1.234,56",
            "(5.00)",
            "12 kg",
            "5ms",
            "−3",
            "100 GB",
        ] {
            assert_eq!(Shape::of(text.as_bytes()), Shape::NearNumber, "{text:?}");
        }
        for text in [
            "10.0.0.1",
            "030-1234567",
            "12:30",
            "1.2.3",
            "3rd street",
            "A12",
            "12 items or more",
            "30-001",
            "0x1F",
            "inf",
            "02B",
            "$",
            "1/2",
            "v1",
            "2 3 4",
        ] {
            assert_eq!(Shape::of(text.as_bytes()), Shape::Text, "{text:?}");
        }
    }

    #[test]
    fn words() {
        for text in ["NA", "n/a", "NaN", "NULL", "null", "None", "\\N", "<NA>", "#N/A", " na ", "-nan"] {
            assert_eq!(Shape::of(text.as_bytes()), Shape::Missing, "{text:?}");
        }
        assert_eq!(Shape::of(b"TRUE"), Shape::Boolean(true));
        assert_eq!(Shape::of(b" False "), Shape::Boolean(false));
        for text in ["Nadia", "yes", "N", "é", "\u{1f608}"] {
            assert_eq!(Shape::of(text.as_bytes()), Shape::Text, "{text:?}");
        }
        assert_eq!(Shape::of(b"\xff"), Shape::Text);
    }

    #[test]
    fn dates() {
        for text in ["2026-02-11", "2026-02-11 12:30", "2026-02-11T12:30:59.123Z", "2026-02-11 12:30:00+02:00"] {
            assert!(is_date(text), "{text:?}");
        }
        for text in [
            "31.12.2025",
            "1.2.2025",
            "12/31/25",
            "12/31/2025 10:00",
            "2025/12/31",
            "Feb 11, 2026",
            "11-Feb-2026",
            "11 February 2026",
            "01-02-2025",
        ] {
            assert_eq!(Shape::of(text.as_bytes()), Shape::OtherDate, "{text:?}");
        }
        for text in ["2026-13-11", "2026-02-32", "2026-02-11 25:00", "2026-02-11x", "2026-02"] {
            assert!(!is_date(text), "{text:?}");
        }
    }
}
