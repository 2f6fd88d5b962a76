//! Kubernetes quantities (`500m`, `256Mi`, `1e3`), read into an exact value that can be compared
//! (`k8s.io/apimachinery/pkg/api/resource`).

use std::fmt;

/// Thousand-millionths in one unit.
const NANO: i128 = 1_000_000_000;
/// Largest amount in whole units: Kubernetes caps at 2^63-1, we refuse beyond it.
const UNITS_MAX: i128 = i64::MAX as i128;
/// Most digits that are read, without zeros at either end: enough for 2^63-1 with nine decimals,
/// and few enough that every product below fits.
const DIGITS_MAX: usize = 24;

/// An amount, in thousand-millionths of its unit (cores, bytes, pieces).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    nanos: i128,
}

/// Why a text is not a valid quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not in the notation.
    #[error(
        "is not a valid quantity: expected a number with an optional suffix (n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or an exponent), such as `500m`, `2` or `256Mi`"
    )]
    Malformed,
    /// Beyond what Kubernetes counts.
    #[error("is beyond 2^63-1, the largest quantity")]
    TooLarge,
    /// More digits than a quantity can distinguish.
    #[error("has more than {DIGITS_MAX} digits")]
    TooManyDigits,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0 };

    /// Reads a quantity. Fractions below a thousand-millionth are rounded away from zero, as
    /// Kubernetes does.
    ///
    /// # Errors
    /// If it is malformed, out of range, or has more than 24 significant digits.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(number_end);
        let decimal = Decimal::parse(number)?;
        let nanos = match Scale::parse(suffix).ok_or(QuantityError::Malformed)? {
            Scale::Ten(exponent) => decimal.times_power_of_ten(exponent),
            Scale::Two(exponent) => decimal.times_power_of_two(exponent),
        };
        match nanos {
            Some(nanos) if nanos <= UNITS_MAX * NANO => Ok(Self { nanos: if negative { -nanos } else { nanos } }),
            _ => Err(QuantityError::TooLarge),
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is more than nothing.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self.nanos > 0
    }

    /// Whether it is a whole number of units.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// In whole units (bytes, pieces), rounded up.
    #[must_use]
    pub fn units(self) -> i64 {
        saturate(div_ceil(self.nanos, NANO))
    }

    /// In thousandths (millicores), rounded up; at most 2^63-1.
    #[must_use]
    pub fn millis(self) -> i64 {
        saturate(div_ceil(self.nanos, NANO / 1000))
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}n", self.nanos)
    }
}

/// An unsigned decimal number: `mantissa` · 10^-`decimals`.
struct Decimal {
    mantissa: i128,
    decimals: i64,
}

impl Decimal {
    /// Reads digits with at most one point, and at least one digit.
    fn parse(text: &str) -> Result<Self, QuantityError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(QuantityError::Malformed);
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let significant = if whole.is_empty() { fraction.trim_start_matches('0').len() } else { fraction.len() };
        if whole.len() + significant > DIGITS_MAX {
            return Err(QuantityError::TooManyDigits);
        }
        let digits = whole.bytes().chain(fraction.bytes());
        let mantissa = digits.fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        let decimals = i64::try_from(fraction.len()).map_err(|_| QuantityError::TooManyDigits)?;
        Ok(Self { mantissa, decimals })
    }

    /// In nanos; `None`: out of range.
    fn times_power_of_ten(&self, exponent: i64) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let shift = exponent.saturating_sub(self.decimals).saturating_add(9);
        let size = u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX);
        let power = 10_i128.checked_pow(size);
        if shift >= 0 { self.mantissa.checked_mul(power?) } else { Some(divide(self.mantissa, power)) }
    }

    /// In nanos; `None`: out of range.
    fn times_power_of_two(&self, exponent: u32) -> Option<i128> {
        let factor = 1_i128.checked_shl(exponent)?;
        let surplus = self.decimals - 9;
        let size = u32::try_from(surplus.unsigned_abs()).unwrap_or(u32::MAX);
        if surplus <= 0 {
            self.mantissa.checked_mul(factor)?.checked_mul(10_i128.checked_pow(size)?)
        } else if size <= exponent {
            // 2^e / 10^s = 2^(e-s) / 5^s: the smaller product stays exact.
            Some(divide(self.mantissa.checked_mul(factor >> size)?, 5_i128.checked_pow(size)))
        } else {
            Some(divide(self.mantissa.checked_mul(factor)?, 10_i128.checked_pow(size)))
        }
    }
}

/// What a suffix multiplies by.
enum Scale {
    /// 10 to this.
    Ten(i64),
    /// 2 to this.
    Two(u32),
}

impl Scale {
    fn parse(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "n" => Self::Ten(-9),
            "u" => Self::Ten(-6),
            "m" => Self::Ten(-3),
            "" => Self::Ten(0),
            "k" => Self::Ten(3),
            "M" => Self::Ten(6),
            "G" => Self::Ten(9),
            "T" => Self::Ten(12),
            "P" => Self::Ten(15),
            "E" => Self::Ten(18),
            "Ki" => Self::Two(10),
            "Mi" => Self::Two(20),
            "Gi" => Self::Two(30),
            "Ti" => Self::Two(40),
            "Pi" => Self::Two(50),
            "Ei" => Self::Two(60),
            _ => Self::Ten(parse_exponent(suffix.strip_prefix(['e', 'E'])?)?),
        })
    }
}

/// A signed whole number that fits 64 bits, as Go's `strconv.ParseInt` reads it.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `value` is not negative. No divisor stands for one beyond any value: what is left is less than
/// one, and is rounded up.
fn divide(value: i128, divisor: Option<i128>) -> i128 {
    match divisor {
        Some(divisor) => div_ceil(value, divisor),
        None => i128::from(value > 0),
    }
}

/// Rounded away from zero; `divisor` is positive.
fn div_ceil(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    if value % divisor == 0 { quotient } else { quotient + value.signum() }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(text: &str) -> i128 {
        Quantity::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).nanos
    }

    #[test]
    fn values_by_suffix() {
        for (text, expected) in [
            ("0", 0),
            ("1", NANO),
            ("+1", NANO),
            ("-1", -NANO),
            ("007", 7 * NANO),
            ("1.", NANO),
            (".5", NANO / 2),
            ("0.1", NANO / 10),
            ("1n", 1),
            ("1u", 1_000),
            ("500m", NANO / 2),
            ("2k", 2_000 * NANO),
            ("3M", 3_000_000 * NANO),
            ("1G", 1_000_000_000 * NANO),
            ("1T", 1_000_000_000_000 * NANO),
            ("1P", 1_000_000_000_000_000 * NANO),
            ("1E", 1_000_000_000_000_000_000 * NANO),
            ("1Ki", 1024 * NANO),
            ("1Mi", (1 << 20) * NANO),
            ("1.5Gi", 3 * (1 << 29) * NANO),
            ("1Ti", (1 << 40) * NANO),
            ("1Pi", (1 << 50) * NANO),
            ("7Ei", 7 * (1 << 60) * NANO),
            ("0.1Mi", 104_857_600_000_000),
            ("1e3", 1_000 * NANO),
            ("1E3", 1_000 * NANO),
            ("1e+3", 1_000 * NANO),
            ("12e-1", 1_200_000_000),
            ("0e999999", 0),
            ("9223372036854775807", i128::from(i64::MAX) * NANO),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_finer_than_a_nano_is_rounded_away_from_zero() {
        for (text, expected) in [
            ("0.1n", 1),
            ("-0.1n", -1),
            ("1.1n", 2),
            ("1e-30", 1),
            ("1e-999999", 1),
            ("0.000000000001Ki", 2),
            ("0.000000000000000000000000000000000001Ki", 1),
            ("0.0000000000000000000000000000000000000000000000000000000000000001Ei", 1),
            ("0.00000000000000000000000000000000000000000000000000000000000000000000000001Ei", 1),
            ("1e-9223372036854775808", 1),
            ("0.00000000000000000001Ei", 11_529_216),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity() {
        use QuantityError::{Malformed, TooLarge, TooManyDigits};
        for (text, expected) in [
            ("", Malformed),
            ("+", Malformed),
            ("-", Malformed),
            (".", Malformed),
            ("--1", Malformed),
            ("1.2.3", Malformed),
            (" 1", Malformed),
            ("1 ", Malformed),
            ("1 Gi", Malformed),
            ("1K", Malformed),
            ("1ki", Malformed),
            ("1mi", Malformed),
            ("1GB", Malformed),
            ("1Gib", Malformed),
            ("Gi", Malformed),
            ("1e", Malformed),
            ("1e1.5", Malformed),
            ("1e+-3", Malformed),
            ("1e99999999999999999999", Malformed),
            ("1_000", Malformed),
            ("1,5", Malformed),
            ("٣", Malformed),
            ("0x10", Malformed),
            ("inf", Malformed),
            ("9223372036854775808", TooLarge),
            ("8Ei", TooLarge),
            ("10E", TooLarge),
            ("1e19", TooLarge),
            ("1e999999999", TooLarge),
            ("1234567890123456789012345", TooManyDigits),
            ("0.1234567890123456789012345", TooManyDigits),
        ] {
            assert_eq!(Quantity::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_same_amount_is_equal_however_it_is_written() {
        for (a, b) in
            [("1000m", "1"), ("1024Mi", "1Gi"), ("1e3", "1k"), ("0.5", "500m"), ("1.50", "1500m"), ("-0", "0")]
        {
            assert_eq!(Quantity::parse(a), Quantity::parse(b), "{a} {b}");
        }
        assert!(nanos("1Gi") > nanos("1G"));
        assert!(Quantity::parse("-1").unwrap() < Quantity::ZERO);
    }

    #[test]
    fn whole_units_and_thousandths_are_rounded_up() {
        for (text, units, millis) in
            [("1", 1, 1000), ("1500m", 2, 1500), ("1n", 1, 1), ("1Ki", 1024, 1_024_000), ("7Ei", 7 << 60, i64::MAX)]
        {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!((quantity.units(), quantity.millis()), (units, millis), "{text}");
        }
        assert!(Quantity::parse("3k").unwrap().is_whole());
        assert!(!Quantity::parse("3m").unwrap().is_whole());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn never_panics_near_the_grammar(text in "[-+]?[0-9]{0,30}\\.?[0-9]{0,30}([numkMGTPE]i?|[eE][-+]?[0-9]{0,12})?") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn whole_numbers_keep_their_value(n in any::<i64>().prop_filter("2^63 is out of range", |n| *n != i64::MIN)) {
            prop_assert_eq!(Quantity::parse(&n.to_string()).unwrap().units(), n);
        }

        #[test]
        fn order_is_that_of_the_numbers(a in 0_u32.., b in 0_u32.., suffix in "(m|k|Ki|Mi|Gi|e3)?") {
            let quantity = |n: u32| Quantity::parse(&format!("{n}{suffix}")).unwrap();
            prop_assert_eq!(quantity(a).cmp(&quantity(b)), a.cmp(&b));
        }

        #[test]
        fn decimals_are_exact(whole in 0_u32.., fraction in 0_u32..1_000_000_000) {
            let value = Quantity::parse(&format!("{whole}.{fraction:09}")).unwrap();
            prop_assert_eq!(value.nanos, i128::from(whole) * NANO + i128::from(fraction));
        }

        #[test]
        fn binary_fractions_are_the_exact_ceiling(digits in 0_u64..1_000_000_000_000, power in 1_u32..=6) {
            let suffix = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power as usize - 1];
            let value = Quantity::parse(&format!("0.{digits:012}{suffix}")).unwrap();
            // digits · 2^(10·power) / 1000, whose product fits: 10^12 · 2^60 < 2^100.
            let product = i128::from(digits) << (10 * power);
            prop_assert_eq!(value.nanos, div_ceil(product, 1000));
        }
    }
}
