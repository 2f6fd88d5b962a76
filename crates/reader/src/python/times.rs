//! Times and spans of time as pandas and NumPy print them.

use jiff::civil::{Date, Time};

/// Names under which zones of zero offset are known.
const UTC: [&str; 9] = ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu", "Universal"];

/// Whether the time zone of this name is UTC.
pub(super) fn is_utc(zone: &str) -> bool {
    UTC.contains(&zone)
}

/// `2026-01-02 03:04:05.000006+0100` as `2026-01-02T03:04:05.000006+01:00`.
pub(super) fn timestamp(text: &str) -> Option<String> {
    let (date, rest) = text.split_once([' ', 'T'])?;
    let date = self::date(date)?;
    let (time, zone) = rest.split_at(rest.find(['+', '-']).unwrap_or(rest.len()));
    let (clock, fraction) = clock(time)?;
    let zone = match zone.split_at_checked(1) {
        None => String::new(),
        Some((sign, offset)) => {
            let digits: String = offset.chars().filter(|char| *char != ':').collect();
            if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let (hours, minutes) = digits.split_at_checked(2)?;
            Time::new(hours.parse().ok()?, minutes.parse().ok()?, 0, 0).ok()?;
            format!("{sign}{hours}:{minutes}")
        }
    };
    Some(format!("{date}T{clock}{fraction}{zone}"))
}

/// `-1 days +23:59:59.500000` in seconds.
pub(super) fn pandas_delta(text: &str) -> Option<String> {
    let (days, rest) = text.split_once(" days ")?;
    let days: i128 = days.parse::<i64>().ok()?.into();
    let (time, fraction) = clock(rest.strip_prefix('+').unwrap_or(rest))?;
    let fraction = fraction.strip_prefix('.').unwrap_or_default();
    let below = format!("{fraction:0<9}").parse::<i128>().ok()?;
    let Clock(time) = time;
    let minutes = i128::from(time.hour()) * 60 + i128::from(time.minute());
    Some(seconds((days * 86_400 + minutes * 60 + i128::from(time.second())) * 1_000_000_000 + below, 9))
}

/// Nanoseconds of a unit of `np.timedelta64`. `None`: none, or one of no fixed length.
pub(super) fn unit_nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "W" => 7 * 86_400_000_000_000,
        "D" => 86_400_000_000_000,
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "μs" => 1_000,
        "ns" => 1,
        _ => return None,
    })
}

/// Seconds of `sum`, which counts in units of which 10 to the `digits` make a second.
pub(super) fn seconds(sum: i128, digits: u32) -> String {
    let unit = 10_u128.pow(digits);
    let (sign, sum) = (if sum < 0 { "-" } else { "" }, sum.unsigned_abs());
    let (whole, fraction) = (sum / unit, sum % unit);
    let text = format!("{sign}{whole}.{fraction:0width$}", width = digits as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-').map(|part| part.parse::<i16>().ok().filter(|_| part.len() >= 2));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    (parts.next().is_none() && year > 0).then_some(date)
}

/// A time of day, and its fraction as it is written.
fn clock(text: &str) -> Option<(Clock, &str)> {
    let (time, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let digits = fraction.strip_prefix('.').unwrap_or("0");
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut parts = time.split(':').map(|part| part.parse::<i8>().ok().filter(|_| part.len() == 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let time = Time::new(hour, minute, second, 0).ok()?;
    parts.next().is_none().then_some((Clock(time), fraction))
}

/// A time of day in whole seconds.
struct Clock(Time);

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.0.hour(), self.0.minute(), self.0.second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_become_iso() {
        for (text, expected) in [
            ("2026-01-02 03:04:05", Some("2026-01-02T03:04:05")),
            ("2026-01-02 03:04:05.000000001", Some("2026-01-02T03:04:05.000000001")),
            ("2026-01-02 03:04:05+0100", Some("2026-01-02T03:04:05+01:00")),
            ("2026-01-02 03:04:05.5-03:30", Some("2026-01-02T03:04:05.5-03:30")),
            ("2026-13-02 03:04:05", None),
            ("2026-01-02 25:04:05", None),
            ("2026-01-02 03:04:05+01", None),
            ("2026-01-02 03:04:05+9999", None),
            ("2026-01-02 03:04:05.", None),
            ("2026-01-02 -3:04:05", None),
            ("2026-01-02", None),
            ("é é", None),
        ] {
            assert_eq!(timestamp(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn spans_become_seconds() {
        for (text, expected) in [
            ("0 days 00:00:00", Some("0")),
            ("1 days 02:03:04.500000", Some("93784.5")),
            ("-1 days +23:59:59", Some("-1")),
            ("0 days 00:00:00.000000001", Some("0.000000001")),
            ("1 day", None),
            ("1 days x", None),
        ] {
            assert_eq!(pandas_delta(text).as_deref(), expected, "{text}");
        }
        assert_eq!(unit_nanoseconds("M"), None);
        assert_eq!(seconds(-1_500, 3), "-1.5");
    }
}
