//! Numbers without their sign: Python's, of which JSON's are a part.

use super::{In, Taken};

/// A number on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    at: NumberPart,
    /// In which dialects it is right so far.
    pub(crate) valid: In,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberKind {
    /// A decimal integer.
    Integer,
    /// An integer in base 2, 8 or 16.
    Radix(u32),
    /// A number with a point or an exponent.
    Float,
    /// One with a `j` at its end.
    Imaginary,
}

/// Where in a number the reader stands: after what the name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberPart {
    Start,
    /// A first zero.
    Zero,
    /// More zeros.
    Zeros,
    /// Digits after a first zero, which only a float may have.
    Led,
    Whole,
    /// A point with digits before it.
    Point,
    /// A point with none.
    BarePoint,
    Fraction,
    E,
    ESign,
    Exponent,
    /// An underscore among the digits that the state names.
    Under(Digits),
    Base(u32),
    Radix(u32),
    Imaginary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Zeros,
    Led,
    Whole,
    Fraction,
    Exponent,
    Radix(u32),
}

impl Number {
    /// One of which nothing is taken yet.
    pub(crate) fn new(live: In) -> Self {
        Self { at: NumberPart::Start, valid: live }
    }

    /// What it is.
    pub(crate) fn kind(&self) -> NumberKind {
        match self.at {
            NumberPart::Imaginary => NumberKind::Imaginary,
            NumberPart::Radix(base) => NumberKind::Radix(base),
            NumberPart::Point | NumberPart::Fraction | NumberPart::Exponent => NumberKind::Float,
            _ => NumberKind::Integer,
        }
    }

    /// Takes what comes next of it. It ends before the first byte that it can't have, or with the
    /// `end` of all bytes.
    pub(crate) fn take(&mut self, bytes: &[u8], end: bool) -> Taken {
        for (index, byte) in bytes.iter().enumerate() {
            match self.next(*byte) {
                Some(at) => self.at = at,
                None if self.may_end(*byte) => return Taken::End(index),
                None => return Taken::Broken(index),
            }
            if !self.valid.any() {
                return Taken::Broken(index);
            }
        }
        match end && self.may_end(b' ') {
            true => Taken::End(bytes.len()),
            false => Taken::More(bytes.len()),
        }
    }

    fn next(&mut self, byte: u8) -> Option<NumberPart> {
        let mut python = |at: NumberPart| {
            self.valid.json = false;
            Some(at)
        };
        match (self.at, byte) {
            (NumberPart::Whole, b'0'..=b'9') | (NumberPart::Start, b'1'..=b'9') => Some(NumberPart::Whole),
            (NumberPart::Fraction | NumberPart::Point, b'0'..=b'9') => Some(NumberPart::Fraction),
            (NumberPart::Start, b'0') => Some(NumberPart::Zero),
            (NumberPart::Start, b'.') => python(NumberPart::BarePoint),
            (NumberPart::BarePoint, b'0'..=b'9') => Some(NumberPart::Fraction),
            (NumberPart::E | NumberPart::ESign | NumberPart::Exponent, b'0'..=b'9') => Some(NumberPart::Exponent),
            (NumberPart::E, b'+' | b'-') => Some(NumberPart::ESign),
            (NumberPart::Zero | NumberPart::Whole, b'.') => Some(NumberPart::Point),
            (NumberPart::Zeros | NumberPart::Led, b'.') => python(NumberPart::Point),
            (NumberPart::Zero | NumberPart::Whole | NumberPart::Fraction, b'e' | b'E') => Some(NumberPart::E),
            (NumberPart::Zeros | NumberPart::Led | NumberPart::Point, b'e' | b'E') => python(NumberPart::E),
            (NumberPart::Zero | NumberPart::Zeros | NumberPart::Under(Digits::Zeros), b'0') => {
                python(NumberPart::Zeros)
            }
            (
                NumberPart::Zero | NumberPart::Zeros | NumberPart::Led | NumberPart::Under(Digits::Zeros | Digits::Led),
                b'0'..=b'9',
            ) => python(NumberPart::Led),
            (NumberPart::Zero | NumberPart::Zeros, b'_') => python(NumberPart::Under(Digits::Zeros)),
            (NumberPart::Led, b'_') => python(NumberPart::Under(Digits::Led)),
            (NumberPart::Whole, b'_') => python(NumberPart::Under(Digits::Whole)),
            (NumberPart::Fraction, b'_') => python(NumberPart::Under(Digits::Fraction)),
            (NumberPart::Exponent, b'_') => python(NumberPart::Under(Digits::Exponent)),
            (NumberPart::Under(Digits::Whole), b'0'..=b'9') => Some(NumberPart::Whole),
            (NumberPart::Under(Digits::Fraction), b'0'..=b'9') => Some(NumberPart::Fraction),
            (NumberPart::Under(Digits::Exponent), b'0'..=b'9') => Some(NumberPart::Exponent),
            (NumberPart::Zero, b'x' | b'X') => python(NumberPart::Base(16)),
            (NumberPart::Zero, b'o' | b'O') => python(NumberPart::Base(8)),
            (NumberPart::Zero, b'b' | b'B') => python(NumberPart::Base(2)),
            (NumberPart::Base(base) | NumberPart::Radix(base) | NumberPart::Under(Digits::Radix(base)), _)
                if char::from(byte).is_digit(base) =>
            {
                Some(NumberPart::Radix(base))
            }
            (NumberPart::Base(base) | NumberPart::Radix(base), b'_') => Some(NumberPart::Under(Digits::Radix(base))),
            (
                NumberPart::Zero
                | NumberPart::Zeros
                | NumberPart::Led
                | NumberPart::Whole
                | NumberPart::Point
                | NumberPart::Fraction
                | NumberPart::Exponent,
                b'j' | b'J',
            ) => python(NumberPart::Imaginary),
            _ => None,
        }
    }

    /// Whether it may end before `byte`.
    fn may_end(&mut self, byte: u8) -> bool {
        match self.at {
            NumberPart::Zero
            | NumberPart::Zeros
            | NumberPart::Whole
            | NumberPart::Fraction
            | NumberPart::Exponent
            | NumberPart::Radix(_)
            | NumberPart::Imaginary => {}
            NumberPart::Point => self.valid.json = false,
            _ => return false,
        }
        self.valid.any() && !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || byte >= 0x80)
    }
}

/// Length of the number that `rest` begins with, if it is a plain decimal one and ends in it.
pub(crate) fn short_number(rest: &[u8]) -> Option<usize> {
    let digits = |from: usize| rest.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut len = digits(0);
    if len == 0 || len > 1 && rest.first() == Some(&b'0') {
        return None;
    }
    if rest.get(len) == Some(&b'.') {
        let fraction = digits(len + 1);
        if fraction == 0 {
            return None;
        }
        len += 1 + fraction;
    }
    matches!(rest.get(len)?, b',' | b']' | b'}' | b' ' | b'\n' | b'\r').then_some(len)
}
