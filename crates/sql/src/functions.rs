//! SQL functions that people expect of an analytic database and SQLite has not, and the strict arithmetic with which
//! [`super::rewrite`] replaces SQLite's where texts take part.

mod calculate;
mod date;
mod pattern;
mod spread;

use longshore_sqlite::{Output, Scalar, SqliteError, Value, add_aggregate, add_scalar};
use sqlx::sqlite::LockedSqliteHandle;

pub(super) use self::calculate::{CALCULATE, CAST, TRUTH, truth_of};
use self::spread::{Deviation, DeviationOfAll, Variance, VarianceOfAll};

const SCALARS: [(&str, u8, Scalar); 16] = [
    (CALCULATE, 3, calculate::calculate),
    (CAST, 2, calculate::cast),
    (TRUTH, 1, calculate::truth),
    ("date_trunc", 2, date::date_trunc),
    ("date_part", 2, date::date_part),
    ("year", 1, |values| date::part("year", values)),
    ("month", 1, |values| date::part("month", values)),
    ("day", 1, |values| date::part("day", values)),
    ("regexp", 2, pattern::regexp),
    ("regexp_like", 2, pattern::regexp_like),
    ("regexp_matches", 2, pattern::regexp_like),
    ("regexp_replace", 3, pattern::regexp_replace),
    ("regexp_replace", 4, pattern::regexp_replace),
    ("regexp_extract", 2, pattern::regexp_extract),
    ("regexp_extract", 3, pattern::regexp_extract),
    ("regexp_substr", 2, pattern::regexp_extract),
];

/// Adds all of them to a connection.
///
/// # Errors
/// SQLite's, out of memory alone.
pub(super) fn add_all(handle: &mut LockedSqliteHandle<'_>) -> Result<(), SqliteError> {
    for (name, arguments, function) in SCALARS {
        add_scalar(handle, name, arguments, function)?;
    }
    for name in ["stddev", "stddev_samp"] {
        add_aggregate::<Deviation>(handle, name, 1)?;
    }
    add_aggregate::<DeviationOfAll>(handle, "stddev_pop", 1)?;
    for name in ["variance", "var_samp"] {
        add_aggregate::<Variance>(handle, name, 1)?;
    }
    add_aggregate::<VarianceOfAll>(handle, "var_pop", 1)
}

/// A value as messages show it.
fn shown(value: Value<'_>) -> String {
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => format!("'{text}'"),
        Value::Blob(_) => "a BLOB".to_owned(),
    };
    super::error::shorten(text, 80)
}

/// The value as a float, if it is a number or a text that is one as a whole.
fn as_number(value: Value<'_>) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "a float is what is asked for")]
        Value::Integer(number) => Some(number as f64),
        Value::Real(number) => Some(number),
        Value::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Value::Null | Value::Blob(_) => None,
    }
}

fn real(number: f64) -> Output {
    // SQLite has no NaN.
    if number.is_nan() { Output::Null } else { Output::Real(number) }
}
