//! Numbers without their sign: Python's, of which JSON's are a part.

use super::{In, Taken};

/// A number on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    at: At,
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
enum At {
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
        Self { at: At::Start, valid: live }
    }

    /// What it is.
    pub(crate) fn kind(&self) -> NumberKind {
        match self.at {
            At::Imaginary => NumberKind::Imaginary,
            At::Radix(base) => NumberKind::Radix(base),
            At::Point | At::Fraction | At::Exponent => NumberKind::Float,
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

    fn next(&mut self, byte: u8) -> Option<At> {
        let mut python = |at: At| {
            self.valid.json = false;
            Some(at)
        };
        match (self.at, byte) {
            (At::Whole, b'0'..=b'9') | (At::Start, b'1'..=b'9') => Some(At::Whole),
            (At::Fraction | At::Point, b'0'..=b'9') => Some(At::Fraction),
            (At::Start, b'0') => Some(At::Zero),
            (At::Start, b'.') => python(At::BarePoint),
            (At::BarePoint, b'0'..=b'9') => Some(At::Fraction),
            (At::E | At::ESign | At::Exponent, b'0'..=b'9') => Some(At::Exponent),
            (At::E, b'+' | b'-') => Some(At::ESign),
            (At::Zero | At::Whole, b'.') => Some(At::Point),
            (At::Zeros | At::Led, b'.') => python(At::Point),
            (At::Zero | At::Whole | At::Fraction, b'e' | b'E') => Some(At::E),
            (At::Zeros | At::Led | At::Point, b'e' | b'E') => python(At::E),
            (At::Zero | At::Zeros | At::Under(Digits::Zeros), b'0') => python(At::Zeros),
            (At::Zero | At::Zeros | At::Led | At::Under(Digits::Zeros | Digits::Led), b'0'..=b'9') => python(At::Led),
            (At::Zero | At::Zeros, b'_') => python(At::Under(Digits::Zeros)),
            (At::Led, b'_') => python(At::Under(Digits::Led)),
            (At::Whole, b'_') => python(At::Under(Digits::Whole)),
            (At::Fraction, b'_') => python(At::Under(Digits::Fraction)),
            (At::Exponent, b'_') => python(At::Under(Digits::Exponent)),
            (At::Under(Digits::Whole), b'0'..=b'9') => Some(At::Whole),
            (At::Under(Digits::Fraction), b'0'..=b'9') => Some(At::Fraction),
            (At::Under(Digits::Exponent), b'0'..=b'9') => Some(At::Exponent),
            (At::Zero, b'x' | b'X') => python(At::Base(16)),
            (At::Zero, b'o' | b'O') => python(At::Base(8)),
            (At::Zero, b'b' | b'B') => python(At::Base(2)),
            (At::Base(base) | At::Radix(base) | At::Under(Digits::Radix(base)), _)
                if char::from(byte).is_digit(base) =>
            {
                Some(At::Radix(base))
            }
            (At::Base(base) | At::Radix(base), b'_') => Some(At::Under(Digits::Radix(base))),
            (At::Zero | At::Zeros | At::Led | At::Whole | At::Point | At::Fraction | At::Exponent, b'j' | b'J') => {
                python(At::Imaginary)
            }
            _ => None,
        }
    }

    /// Whether it may end before `byte`.
    fn may_end(&mut self, byte: u8) -> bool {
        match self.at {
            At::Zero | At::Zeros | At::Whole | At::Fraction | At::Exponent | At::Radix(_) | At::Imaginary => {}
            At::Point => self.valid.json = false,
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
