//! What a column is, by all of its values, and what is to be reported about it.
//!
//! A column is of one type only if all its values are; then words for missing values in it are NULL. Everything else
//! is TEXT with every character kept, and reported where somebody might calculate or compare with it in vain.

use std::collections::HashMap;

use super::super::warning::{Warning, quote};
use super::shape::{Shape, TimeForm};

/// Whole numbers up to this size are exact as 64-bit floats.
const EXACT_IN_FLOAT: u64 = 1 << 53;

/// So many different decimals are remembered to find two writings of one number. Identifiers such as versions have
/// few; a column with more is one of measurements.
const SPELLINGS: usize = 1024;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Integer,
    Real,
    /// 0 and 1.
    Boolean,
    /// ISO dates, or ISO times of one form.
    Date,
    Text,
}

impl ColumnType {
    /// The type in SQLite's words. It decides by which rules SQLite compares, and BOOLEAN is known again by it.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Boolean => "BOOLEAN",
            // DATE would have SQLite compare by the rules for numbers.
            Self::Date | Self::Text => "TEXT",
        }
    }
}

/// The first value of a kind, and how many there are.
#[derive(Debug, Default)]
struct ColumnKind {
    count: u64,
    first: Option<(Box<str>, u64)>,
}

impl ColumnKind {
    fn see(&mut self, field: &[u8], line: u64) {
        if self.count == 0 {
            self.first = Some((quote(field).into_boxed_str(), line));
        }
        self.count += 1;
    }
}

/// What was seen of a column so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    empty: u64,
    missing: ColumnKind,
    integers: ColumnKind,
    inexact_integers: ColumnKind,
    reals: ColumnKind,
    grouped: ColumnKind,
    grouped_reals: bool,
    identifiers: ColumnKind,
    /// The number of digits, if all whole numbers and identifiers have the same.
    width: Option<usize>,
    widths_differ: bool,
    long: ColumnKind,
    booleans: ColumnKind,
    dates: ColumnKind,
    times: ColumnKind,
    time_form: Option<TimeForm>,
    time_forms_differ: ColumnKind,
    other_dates: ColumnKind,
    near: ColumnKind,
    text: ColumnKind,
    spellings: HashMap<u64, u8>,
    /// A number that is written like another one, but for zeros at its end.
    twice: ColumnKind,
}

impl Tally {
    /// Takes a value of the shape `shape` into account.
    pub(crate) fn see(&mut self, shape: Shape, field: &[u8], line: u64) {
        match shape {
            Shape::Empty => self.empty += 1,
            Shape::Missing => self.missing.see(field, line),
            Shape::Integer(number) => {
                self.integers.see(field, line);
                self.see_width(field.trim_ascii().len());
                if number.unsigned_abs() > EXACT_IN_FLOAT {
                    self.inexact_integers.see(field, line);
                }
            }
            Shape::Real { value, decimals } => {
                self.reals.see(field, line);
                self.see_spelling(value, decimals, field, line);
            }
            Shape::GroupedInteger(_) => self.grouped.see(field, line),
            Shape::GroupedReal(_) => {
                self.grouped.see(field, line);
                self.grouped_reals = true;
            }
            Shape::Identifier { digits } => {
                self.identifiers.see(field, line);
                self.see_width(digits);
            }
            Shape::LongNumber => self.long.see(field, line),
            Shape::Boolean(_) => self.booleans.see(field, line),
            Shape::Date => self.dates.see(field, line),
            Shape::DateTime(form) => {
                self.times.see(field, line);
                if form.has_offset() || self.time_form.is_some_and(|first| first != form) {
                    self.time_forms_differ.see(field, line);
                }
                self.time_form.get_or_insert(form);
            }
            Shape::OtherDate => self.other_dates.see(field, line),
            Shape::NearNumber => self.near.see(field, line),
            Shape::Text => self.text.see(field, line),
        }
    }

    fn see_width(&mut self, digits: usize) {
        if !self.widths_differ {
            self.widths_differ = *self.width.get_or_insert(digits) != digits;
        }
    }

    fn see_spelling(&mut self, value: f64, decimals: Option<u8>, field: &[u8], line: u64) {
        let Some(decimals) = decimals.filter(|_| self.twice.count > 0 || self.spellings.len() < SPELLINGS) else {
            return;
        };
        if *self.spellings.entry(value.to_bits()).or_insert(decimals) != decimals {
            self.twice.see(field, line);
        }
    }

    fn numbers(&self) -> u64 {
        self.integers.count + self.reals.count + self.grouped.count
    }

    /// All values that are not missing.
    fn values(&self) -> u64 {
        let rest = [&self.identifiers, &self.long, &self.booleans, &self.dates, &self.times, &self.other_dates];
        self.numbers() + rest.iter().map(|kind| kind.count).sum::<u64>() + self.near.count + self.text.count
    }

    /// The type that fits all values. `comma_groups`: whether commas within numbers separate thousands for certain.
    pub(crate) fn column_type(&self, comma_groups: bool) -> ColumnType {
        let (values, numbers) = (self.values(), self.numbers());
        if values == 0 {
            return ColumnType::Text;
        }
        if self.booleans.count == values {
            return ColumnType::Boolean;
        }
        if self.dates.count == values || (self.times.count == values && self.time_forms_differ.count == 0) {
            return ColumnType::Date;
        }
        if numbers < values || (self.grouped.count > 0 && !comma_groups) {
            return ColumnType::Text;
        }
        match self.reals.count > 0 || self.grouped_reals {
            false => ColumnType::Integer,
            true if self.inexact_integers.count > 0 || self.twice.count > 0 => ColumnType::Text,
            true => ColumnType::Real,
        }
    }

    /// What to report of the column `table`.`column`, if it is TEXT but looks as if it should not be.
    pub(crate) fn warning(&self, table: &str, column: &str, comma_groups: bool) -> Option<Warning> {
        if self.column_type(comma_groups) != ColumnType::Text {
            return None;
        }
        let about = |kind: &ColumnKind, why: String| {
            let (value, line) = kind.first.as_ref()?;
            let place = Some((table.to_owned(), column.to_owned()));
            Some(Warning {
                place,
                count: Some(kind.count),
                value: Some(value.to_string()),
                line: Some(*line),
                text: why,
            })
        };
        let (values, numbers) = (self.values(), self.numbers());
        let numeric = numbers + self.identifiers.count + self.long.count;
        let all = |kind: &ColumnKind| {
            if kind.count == values { "its".to_owned() } else { format!("{} of its {values}", kind.count) }
        };
        if values == 0 {
            let why = "all its values are words for missing values; they are kept as text".to_owned();
            return about(&self.missing, why);
        }
        if self.booleans.count > 0 {
            let other = self.first_but_booleans()?;
            let why = format!("it is text, because only {} values are true or false", all(&self.booleans));
            return about(other, why);
        }
        let dates = self.dates.count + self.times.count;
        if dates + self.other_dates.count > 0 && (dates + self.other_dates.count) * 100 >= values {
            return self.date_warning(dates, values, about);
        }
        if numeric == values {
            return self.identifier_warning(about);
        }
        // A leading zero distinguishes identifiers, such as ZIP codes of several countries, from
        // numbers.
        if self.identifiers.count > 0 || (numbers + self.near.count) * 100 < values {
            return None;
        }
        if numbers == 0 && self.near.count * 2 < values {
            return None;
        }
        let odd = [&self.text, &self.near, &self.long].into_iter().filter(|kind| kind.count > 0);
        let odd = odd.min_by_key(|kind| kind.first.as_ref().map(|(_, line)| *line))?;
        let why = match numbers {
            0 => "its values look like numbers, but are not written as plain ones, so it is text: it is compared \
                  character by character, and calculated with by what digits it begins with"
                .to_owned(),
            _ => {
                let (others, verb) = (values - numbers, if values - numbers == 1 { "is" } else { "are" });
                format!(
                    "{others} of its {values} values {verb} not numbers, so it is text: it is compared character by \
                     character, and what is not a number counts as 0 in sums"
                )
            }
        };
        let mut warning = about(odd, why)?;
        warning.count = Some(values - numbers);
        Some(warning)
    }

    fn first_but_booleans(&self) -> Option<&ColumnKind> {
        let kinds = [
            &self.text,
            &self.near,
            &self.integers,
            &self.reals,
            &self.grouped,
            &self.identifiers,
            &self.long,
            &self.dates,
            &self.times,
            &self.other_dates,
        ];
        kinds.into_iter().filter(|kind| kind.count > 0).min_by_key(|kind| kind.first.as_ref().map(|(_, line)| *line))
    }

    fn date_warning(
        &self,
        dates: u64,
        values: u64,
        about: impl Fn(&ColumnKind, String) -> Option<Warning>,
    ) -> Option<Warning> {
        let order = "it is compared and sorted character by character";
        if self.other_dates.count > 0 {
            let text = format!("its dates are not all written as YYYY-MM-DD, so {order}");
            return about(&self.other_dates, text);
        }
        if dates == values {
            let text = format!("its times are not all written alike, in one time zone, so {order}");
            return about(if self.time_forms_differ.count > 0 { &self.time_forms_differ } else { &self.times }, text);
        }
        let other = [&self.text, &self.near, &self.integers, &self.reals, &self.grouped, &self.identifiers, &self.long]
            .into_iter()
            .filter(|kind| kind.count > 0)
            .min_by_key(|kind| kind.first.as_ref().map(|(_, line)| *line))?;
        let mut warning = about(other, format!("not all its values are dates, so {order}"))?;
        warning.count = Some(values - dates);
        Some(warning)
    }

    /// All values are digits, yet the column is not a number.
    fn identifier_warning(&self, about: impl Fn(&ColumnKind, String) -> Option<Warning>) -> Option<Warning> {
        let consequence =
            "so it is text: it is compared and sorted character by character; CAST(… AS REAL) makes numbers";
        if self.long.count > 0 {
            return about(&self.long, format!("a number would lose digits of its values, {consequence}"));
        }
        if self.identifiers.count > 0 {
            // Of one width, texts sort as numbers do.
            let alike = !self.widths_differ && self.reals.count + self.grouped.count == 0;
            let text = format!("numbers do not begin with 0, {consequence}");
            return if alike { None } else { about(&self.identifiers, text) };
        }
        if self.twice.count > 0 {
            return about(
                &self.twice,
                format!("it has different writings of one number, such as 1.1 and 1.10, {consequence}"),
            );
        }
        if self.inexact_integers.count > 0 {
            return about(&self.inexact_integers, format!("a number would lose digits of its values, {consequence}"));
        }
        let comma = "a comma in it may be that of decimals or that of thousands, so it is text: it is compared character by \
                     character, and calculated with by what comes before the comma; REPLACE(…, ',', '.') or REPLACE(…, ',', \
                     '') makes numbers";
        about(&self.grouped, comma.to_owned())
    }
}
