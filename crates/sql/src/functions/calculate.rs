//! Arithmetic, truth and casts of values that may be texts. SQLite takes a text for the number it begins with, so that
//! the difference of two dates is that of their years, and `'yes'` is false. These make what is meant, or an error.

use longshore_sqlite::{Output, Value};

use super::date::{Moment, not_a_date};
use super::{as_number, real, shown};

/// `longshore_calculate(operator, left, right)`
pub(crate) const CALCULATE: &str = "longshore_calculate";
/// `longshore_cast(value, type)`
pub(crate) const CAST: &str = "longshore_cast";
/// `longshore_truth(value)`
pub(crate) const TRUTH: &str = "longshore_truth";

/// A number as SQLite has it.
#[derive(Clone, Copy)]
enum SqlNumber {
    Integer(i64),
    Real(f64),
}

impl SqlNumber {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(Self::Integer(number)),
            Value::Text(text) => match text.trim().parse() {
                Ok(number) => Some(Self::Integer(number)),
                Err(_) => as_number(value).map(Self::Real),
            },
            other => as_number(other).map(Self::Real),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as SQLite does")]
    fn real(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    /// As SQLite's CAST to INTEGER, which `%` works on.
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, as SQLite's does")]
    fn integer(self) -> i64 {
        match self {
            Self::Integer(number) => number,
            Self::Real(number) => number as i64,
        }
    }
}

/// `left operator right`: as SQLite calculates with numbers and texts that are numbers; for `-` of two ISO dates the
/// days between them.
pub(super) fn calculate(arguments: &[Value<'_>]) -> Result<Output, String> {
    let [Value::Text(operator), left, right] = arguments else { return Ok(Output::Null) };
    if matches!(left, Value::Null) || matches!(right, Value::Null) {
        return Ok(Output::Null);
    }
    if let (Some(left), Some(right)) = (SqlNumber::of(*left), SqlNumber::of(*right)) {
        return Ok(of_numbers(operator, left, right));
    }
    let dates = (Moment::of(*left), Moment::of(*right));
    if let ("-", (Some(left), Some(right))) = (*operator, &dates) {
        return Ok(right.days_until(left));
    }
    let way = match (dates, operator) {
        ((Some(_), None), &("+" | "-")) if SqlNumber::of(*right).is_some() => {
            format!("; date(…, '{operator}{} days') counts from a date", shown(*right).trim_matches('\''))
        }
        ((Some(_), _) | (_, Some(_)), _) => "; julianday(…) makes a number of a date".to_owned(),
        _ => "; CAST(… AS REAL) takes the number that a text begins with".to_owned(),
    };
    Err(format!("can't calculate {} {operator} {}: not both are numbers{way}", shown(*left), shown(*right)))
}

fn of_numbers(operator: &str, left: SqlNumber, right: SqlNumber) -> Output {
    if let (SqlNumber::Integer(left), SqlNumber::Integer(right)) = (left, right) {
        let exact = match operator {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            _ if right == 0 => return Output::Null,
            "/" => left.checked_div(right),
            _ => Some(left.checked_rem(right).unwrap_or(0)),
        };
        if let Some(number) = exact {
            return Output::Integer(number);
        }
    }
    let (a, b) = (left.real(), right.real());
    match operator {
        "+" => real(a + b),
        "-" => real(a - b),
        "*" => real(a * b),
        "/" if b == 0.0 => Output::Null,
        "/" => real(a / b),
        _ => {
            let (a, b) = (left.integer(), right.integer());
            #[expect(clippy::cast_precision_loss, reason = "as SQLite does")]
            let rest = if b == 0 { Output::Null } else { Output::Real(a.checked_rem(b).unwrap_or(0) as f64) };
            rest
        }
    }
}

/// Whether a condition holds: a number other than 0, or a word for yes.
pub(super) fn truth(arguments: &[Value<'_>]) -> Result<Output, String> {
    let value = arguments.first().copied().unwrap_or(Value::Null);
    if let Some(number) = as_number(value) {
        return Ok(Output::Integer(i64::from(number != 0.0)));
    }
    let word = match value {
        Value::Null => return Ok(Output::Null),
        Value::Text(text) => truth_of(text),
        _ => None,
    };
    match word {
        Some(truth) => Ok(Output::Integer(i64::from(truth))),
        None => Err(format!("{} is used as a condition, but is neither true nor false", shown(value))),
    }
}

/// What a word says, if it is one for yes or no.
pub(crate) fn truth_of(word: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|known| word.trim().eq_ignore_ascii_case(known));
    if is(&["true", "yes", "y", "t", "on", "1"]) {
        return Some(true);
    }
    is(&["false", "no", "n", "f", "off", "0"]).then_some(false)
}

/// `CAST` to a type that SQLite has not: `date`, `datetime`, `time`, `boolean`.
pub(super) fn cast(arguments: &[Value<'_>]) -> Result<Output, String> {
    let [value, Value::Text(to)] = arguments else { return Ok(Output::Null) };
    if matches!(value, Value::Null) {
        return Ok(Output::Null);
    }
    if *to == "boolean" {
        return truth(&[*value]);
    }
    if let (Value::Text(text), true) = (value, *to == "time")
        && let Ok(time) = text.trim().parse::<jiff::civil::Time>()
    {
        return Ok(Output::Text(time.strftime("%H:%M:%S").to_string()));
    }
    let moment = Moment::of(*value).ok_or_else(|| not_a_date(&format!("CAST AS {}", to.to_uppercase()), *value))?;
    Ok(Output::Text(match *to {
        "date" => moment.date_text(),
        "time" => moment.time_text(),
        _ => moment.full_text(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Value::{Integer as I, Null, Real as R, Text as T};

    #[test]
    fn numbers_are_calculated_as_sqlite_does() {
        for (left, operator, right, expected) in [
            (I(7), "/", I(2), Output::Integer(3)),
            (I(7), "%", I(-2), Output::Integer(1)),
            (I(7), "/", I(0), Output::Null),
            (I(i64::MAX), "+", I(1), Output::Real(9_223_372_036_854_775_807.0)),
            (I(i64::MIN), "%", I(-1), Output::Integer(0)),
            (T("1.5"), "*", I(2), Output::Real(3.0)),
            (T(" 10 "), "-", T("3"), Output::Integer(7)),
            (R(5.5), "%", I(2), Output::Real(1.0)),
            (R(1.0), "/", R(0.0), Output::Null),
            (Null, "-", T("abc"), Output::Null),
        ] {
            assert_eq!(calculate(&[T(operator), left, right]), Ok(expected), "{left:?} {operator} {right:?}");
        }
    }

    #[test]
    fn dates_are_subtracted_in_days_and_nothing_else_is_guessed() {
        let minus = |left, right| calculate(&[T("-"), T(left), T(right)]);
        assert_eq!(minus("2026-02-11", "2026-01-01"), Ok(Output::Integer(41)));
        assert_eq!(minus("2026-01-01", "2026-02-11"), Ok(Output::Integer(-41)));
        assert_eq!(minus("2026-01-02 12:00", "2026-01-01"), Ok(Output::Real(1.5)));
        assert_eq!(minus("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+02:00"), Ok(Output::Real(1.0 / 12.0)));
        for (arguments, part) in [
            ([T("+"), T("2026-01-01"), I(7)], "date(…, '+7 days')"),
            ([T("*"), T("2026-01-01"), I(7)], "julianday"),
            ([T("-"), T("2026-01-01"), T("x")], "julianday"),
            ([T("+"), T("12 kg"), I(7)], "can't calculate '12 kg' + 7"),
        ] {
            let error = calculate(&arguments).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn truth_and_casts() {
        for (value, expected) in [(T("Yes"), 1), (T("no"), 0), (T("TRUE"), 1), (I(0), 0), (R(0.5), 1), (T("2"), 1)] {
            assert_eq!(truth(&[value]), Ok(Output::Integer(expected)), "{value:?}");
        }
        assert_eq!(truth(&[Null]), Ok(Output::Null));
        assert!(truth(&[T("maybe")]).unwrap_err().contains("'maybe'"));
        for (value, to, expected) in [
            ("2026-02-11", "date", "2026-02-11"),
            ("2026-02-11T12:30Z", "date", "2026-02-11"),
            ("2026-02-11", "datetime", "2026-02-11 00:00:00"),
            ("2026-02-11 12:30:05", "time", "12:30:05"),
            ("12:30", "time", "12:30:00"),
        ] {
            assert_eq!(cast(&[T(value), T(to)]), Ok(Output::Text(expected.into())), "{value} {to}");
        }
        assert_eq!(cast(&[T("true"), T("boolean")]), Ok(Output::Integer(1)));
        assert!(cast(&[T("31.12.2025"), T("date")]).unwrap_err().contains("YYYY-MM-DD"));
        assert!(cast(&[I(2026), T("date")]).is_err());
    }
}
