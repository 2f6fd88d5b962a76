//! Functions of ISO dates and times, which are texts in SQLite.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use longshore_sqlite::{Output, Value};

use super::shown;

/// A date, or a date with a time of day, as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    at: DateTime,
    has_time: bool,
    offset: Offset,
}

impl Moment {
    /// What `value` says, if it is a text `YYYY-MM-DD` alone, or with a time after `T` or a blank and perhaps a zone.
    pub(super) fn of(value: Value<'_>) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        let text = text.trim();
        let (date, rest) = text.split_at_checked(10)?;
        let date: Date = date.parse().ok()?;
        if rest.is_empty() {
            return Some(Self { at: date.to_datetime(Time::midnight()), has_time: false, offset: Offset::UTC });
        }
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
        let (time, zone) = rest.split_at_checked(zone)?;
        let at = date.to_datetime(time.trim().parse::<Time>().ok()?);
        Some(Self { at, has_time: true, offset: offset(zone)? })
    }

    /// The days from here to `other`: a whole number between dates, a decimal one between times.
    pub(super) fn days_until(&self, other: &Self) -> Output {
        if !self.has_time && !other.has_time {
            let days = self.at.date().until(other.at.date()).map(|span| i64::from(span.get_days()));
            return days.map_or(Output::Null, Output::Integer);
        }
        let (Ok(from), Ok(to)) = (self.offset.to_timestamp(self.at), other.offset.to_timestamp(other.at)) else {
            return Output::Null;
        };
        Output::Real(to.duration_since(from).as_secs_f64() / 86_400.0)
    }

    pub(super) fn date_text(&self) -> String {
        self.at.date().to_string()
    }

    pub(super) fn time_text(&self) -> String {
        self.at.strftime("%H:%M:%S").to_string()
    }

    pub(super) fn full_text(&self) -> String {
        self.at.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

fn offset(text: &str) -> Option<Offset> {
    if text.is_empty() || text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text.chars().skip(1).filter(|c| *c != ':').collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes: i32 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    Offset::from_seconds(sign * (hours.parse::<i32>().ok()? * 3600 + minutes * 60)).ok()
}

/// That `value` is not a date for `function`.
pub(super) fn not_a_date(function: &str, value: Value<'_>) -> String {
    format!("{function}: {} is not an ISO date (YYYY-MM-DD, perhaps with HH:MM:SS)", shown(value))
}

/// `date_trunc(unit, date)`: the beginning of the year, quarter, month, week (Monday), day, hour, minute or second. A
/// date stays a date where it can.
pub(super) fn date_trunc(arguments: &[Value<'_>]) -> Result<Output, String> {
    let [unit, value] = arguments else { return Ok(Output::Null) };
    let (Value::Text(unit), false) = (unit, matches!(value, Value::Null)) else { return Ok(Output::Null) };
    let moment = Moment::of(*value).ok_or_else(|| not_a_date("date_trunc", *value))?;
    let (date, time) = (moment.at.date(), moment.at.time());
    let first = |month: i8| Date::new(date.year(), month, 1).unwrap_or(date);
    let midnight = Time::midnight();
    let (date, time) = match unit.trim().to_ascii_lowercase().trim_end_matches('s') {
        "year" => (first(1), midnight),
        "quarter" => (first((date.month() - 1) / 3 * 3 + 1), midnight),
        "month" => (first(date.month()), midnight),
        "week" => {
            let back = jiff::Span::new().days(date.weekday().to_monday_zero_offset());
            (date.checked_sub(back).unwrap_or(date), midnight)
        }
        "day" => (date, midnight),
        "hour" => (date, Time::new(time.hour(), 0, 0, 0).unwrap_or(time)),
        "minute" => (date, Time::new(time.hour(), time.minute(), 0, 0).unwrap_or(time)),
        "second" => (date, Time::new(time.hour(), time.minute(), time.second(), 0).unwrap_or(time)),
        _ => {
            let known = "year, quarter, month, week, day, hour, minute, second";
            return Err(format!("date_trunc: '{unit}' is not a unit (known: {known})"));
        }
    };
    let begin = Moment { at: date.to_datetime(time), ..moment };
    Ok(Output::Text(if moment.has_time { begin.full_text() } else { begin.date_text() }))
}

/// `date_part(unit, date)`: a part as a whole number.
pub(super) fn date_part(arguments: &[Value<'_>]) -> Result<Output, String> {
    match arguments {
        [Value::Text(unit), value] => part(unit, &[*value]),
        _ => Ok(Output::Null),
    }
}

/// A part of the one value.
pub(super) fn part(unit: &str, arguments: &[Value<'_>]) -> Result<Output, String> {
    let value = arguments.first().copied().unwrap_or(Value::Null);
    if matches!(value, Value::Null) {
        return Ok(Output::Null);
    }
    let moment = Moment::of(value).ok_or_else(|| not_a_date("date_part", value))?;
    let at = moment.at;
    let number = match unit.trim().to_ascii_lowercase().as_str() {
        "year" => i64::from(at.year()),
        "quarter" => i64::from((at.month() - 1) / 3 + 1),
        "month" => i64::from(at.month()),
        "week" => i64::from(at.date().iso_week_date().week()),
        "day" => i64::from(at.day()),
        "doy" | "dayofyear" => i64::from(at.day_of_year()),
        "dow" | "dayofweek" => i64::from(at.weekday().to_sunday_zero_offset()),
        "isodow" => i64::from(at.weekday().to_monday_one_offset()),
        "hour" => i64::from(at.hour()),
        "minute" => i64::from(at.minute()),
        "second" => i64::from(at.second()),
        "epoch" => moment.offset.to_timestamp(at).map_err(|error| error.to_string())?.as_second(),
        _ => {
            let known = "year, quarter, month, week, day, doy, dow, isodow, hour, minute, second, epoch";
            return Err(format!("date_part: '{unit}' is not a part (known: {known})"));
        }
    };
    Ok(Output::Integer(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_and_parts() {
        for (unit, text, expected) in [
            ("month", "2026-02-11", "2026-02-01"),
            ("MONTH", "2026-02-11 12:30:05", "2026-02-01 00:00:00"),
            ("year", "2026-02-11", "2026-01-01"),
            ("quarter", "2026-08-11", "2026-07-01"),
            ("week", "2026-02-11", "2026-02-09"),
            ("week", "2026-01-01", "2025-12-29"),
            ("day", "2026-02-11", "2026-02-11"),
            ("hour", "2026-02-11T12:30:05", "2026-02-11 12:00:00"),
        ] {
            let arguments = [Value::Text(unit), Value::Text(text)];
            assert_eq!(date_trunc(&arguments), Ok(Output::Text(expected.into())), "{unit} {text}");
        }
        for (unit, expected) in [("year", 2026), ("quarter", 1), ("week", 7), ("doy", 42), ("dow", 3), ("hour", 12)] {
            let arguments = [Value::Text(unit), Value::Text("2026-02-11 12:30")];
            assert_eq!(date_part(&arguments), Ok(Output::Integer(expected)), "{unit}");
        }
        assert_eq!(date_trunc(&[Value::Text("month"), Value::Null]), Ok(Output::Null));
        for (unit, value) in [
            ("month", Value::Text("31.12.2025")),
            ("month", Value::Integer(2026)),
            ("aeon", Value::Text("2026-02-11")),
            ("day", Value::Text("2026-02-30")),
        ] {
            assert!(date_trunc(&[Value::Text(unit), value]).is_err(), "{unit} {value:?}");
            assert!(date_part(&[Value::Text(unit), value]).is_err(), "{unit} {value:?}");
        }
    }
}
