//! The calls that are read, of those that Python's standard library and NumPy print:
//!
//! | printed | read as |
//! | --- | --- |
//! | `OrderedDict([('a', 1)])`, `OrderedDict({'a': 1})`, `Counter({…})`, `mappingproxy({…})`, `defaultdict(<class 'int'>, {…})` | the object |
//! | `set()`, `frozenset({…})`, `deque([…])`, `deque([…], maxlen=3)` | the array |
//! | `Decimal('1.50')` | the number, digits as they are; `NaN` and `Infinity`: null |
//! | `UUID('…')`, `PosixPath('…')` | the string |
//! | `np.float64(1.5)`, `np.int64(3)`, `np.str_('a')`, `np.longdouble('1.5')` | the value in it |
//! | `array([1, 2])`, `array([1, 2], dtype=int32)`, `array('i', [1, 2])` | the array |
//! | `np.datetime64('…')` | the string; `NaT`: null |
//! | `np.timedelta64(5,'m')`, `Timedelta('1 days 02:00:00')` | the number of seconds |
//! | `Timestamp('2026-01-02 00:00:00+0100', tz='…')` | the string of `isoformat()` |
//! | `datetime.date(…)`, `datetime.time(…)`, `datetime.datetime(…)` | the string of `isoformat()` |
//! | `datetime.timedelta(days=1, seconds=2)` | the number of seconds |
//! | `datetime.timezone.utc`, `datetime.timezone(datetime.timedelta(…))`, `zoneinfo.ZoneInfo(key='…')`, `tzutc()` | `UTC`, `UTC+01:00`, the name |

use jiff::civil::{Date, Time};

use super::super::lex::Call;
use super::{LiteralFrame, Unreadable, ValueClass, Writer, times};

/// Most arguments of a call.
pub(super) const MOST_ARGUMENTS: usize = 9;

/// One argument of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument {
    pub(super) name: Option<&'static str>,
    /// Where it stands in what is written.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) value: ValueClass,
}

/// The keywords that are known.
pub(super) fn keyword(name: &[u8]) -> Option<&'static str> {
    const KNOWN: [&str; 11] =
        ["tzinfo", "fold", "days", "seconds", "microseconds", "maxlen", "key", "tz", "freq", "dtype", "shape"];
    KNOWN.into_iter().find(|known| known.as_bytes() == name)
}

const WRONG: &str = "a call with arguments that cannot be read";

impl Writer {
    /// Writes what a call stands for in the place of its arguments.
    pub(super) fn close_call(&mut self, call: Call, frame: &LiteralFrame) -> Result<ValueClass, Unreadable> {
        let arguments = &frame.arguments;
        let wrong = Unreadable::At(frame.at, WRONG);
        let (json, value) = match (call, arguments.as_slice()) {
            (Call::OrderedDict | Call::Mapping, []) => ("{}".to_owned(), ValueClass::Object),
            (Call::OrderedDict | Call::Mapping, [only]) if only.is(ValueClass::Object) => {
                return Ok(ValueClass::Object);
            }
            (Call::DefaultDict, [_, object]) if object.is(ValueClass::Object) => {
                self.keep(frame, *object);
                return Ok(ValueClass::Object);
            }
            (Call::Sequence | Call::FrozenSet, []) => {
                ("[]".to_owned(), ValueClass::Array { hashable: call == Call::FrozenSet })
            }
            (Call::FrozenSet, [Argument { name: None, value: ValueClass::Array { .. }, .. }]) => {
                return Ok(ValueClass::Array { hashable: true });
            }
            (Call::Sequence, [list @ Argument { name: None, value: ValueClass::Array { .. }, .. }, rest @ ..])
                if rest.iter().all(|argument| argument.name == Some("maxlen")) =>
            {
                self.keep(frame, *list);
                return Ok(ValueClass::Array { hashable: false });
            }
            (Call::Named, [only]) if only.is(ValueClass::Text) => return Ok(ValueClass::Text),
            (Call::Scalar, [Argument { name: None, value, .. }])
                if matches!(
                    value,
                    ValueClass::Text | ValueClass::Integer | ValueClass::Number | ValueClass::Constant
                ) =>
            {
                return Ok(*value);
            }
            (Call::LongDouble, [only]) if matches!(only.value, ValueClass::Integer | ValueClass::Number) => {
                return Ok(only.value);
            }
            (Call::Decimal | Call::LongDouble, [only]) if only.is(ValueClass::Text) => {
                let json = self.decimal(*only).ok_or(wrong)?;
                (json, ValueClass::Number)
            }
            (Call::Array, _) => return self.array(frame, arguments).ok_or(wrong),
            (Call::Timestamp, [only, rest @ ..])
                if only.is(ValueClass::Text)
                    && rest.iter().all(|argument| matches!(argument.name, Some("tz" | "freq"))) =>
            {
                let text = times::timestamp(self.content(*only)).ok_or(wrong)?;
                (format!("\"{text}\""), ValueClass::Text)
            }
            (Call::PandasDelta, [only]) if only.is(ValueClass::Text) => {
                (times::pandas_delta(self.content(*only)).ok_or(wrong)?, ValueClass::Number)
            }
            (Call::DateTime64, [only, ..]) if only.is(ValueClass::Text) && self.content(*only) == "NaT" => {
                ("null".to_owned(), ValueClass::Constant)
            }
            (Call::DateTime64, [only]) if only.is(ValueClass::Text) => return Ok(ValueClass::Text),
            (Call::TimeDelta64, [count, unit]) if unit.is(ValueClass::Text) => {
                let json = if count.is(ValueClass::Text) && self.content(*count) == "NaT" {
                    "null".to_owned()
                } else {
                    self.time_delta64(*count, *unit).ok_or(wrong)?
                };
                (json, ValueClass::Number)
            }
            (Call::ZoneInfo, [only]) if only.value == ValueClass::Text && matches!(only.name, None | Some("key")) => {
                if !times::is_utc(self.content(*only)) {
                    return Ok(ValueClass::Text);
                }
                ("\"UTC\"".to_owned(), ValueClass::Text)
            }
            (Call::TzUtc, []) => ("\"UTC\"".to_owned(), ValueClass::Text),
            (Call::TimeDelta, _) => (self.time_delta(arguments).ok_or(wrong)?, ValueClass::Number),
            (Call::TimeZone, [offset]) => (self.time_zone(*offset).ok_or(wrong)?, ValueClass::Text),
            (Call::Date | Call::Time | Call::DateTime, _) => {
                let zone = arguments.iter().find(|argument| argument.name == Some("tzinfo"));
                if zone.is_some_and(|zone| zone.value == ValueClass::Text && !self.content(*zone).starts_with("UTC")) {
                    return Err(Unreadable::At(frame.at, "a time in a time zone other than UTC or a fixed offset"));
                }
                (self.moment(call, arguments).ok_or(wrong)?, ValueClass::Text)
            }
            _ => return Err(wrong),
        };
        self.out.truncate(frame.open);
        self.out.extend_from_slice(json.as_bytes());
        Ok(value)
    }

    /// Leaves only this argument.
    fn keep(&mut self, frame: &LiteralFrame, argument: Argument) {
        self.out.truncate(argument.end);
        self.out.drain(frame.open..argument.start.max(frame.open));
    }

    fn written(&self, argument: Argument) -> &str {
        self.out.get(argument.start..argument.end).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// The text of a string that has no escapes.
    fn content(&self, argument: Argument) -> &str {
        self.written(argument).trim_matches('"')
    }

    /// What `array(…)` of NumPy stands for, its type and shape apart, or that of the module `array`.
    fn array(&mut self, frame: &LiteralFrame, arguments: &[Argument]) -> Option<ValueClass> {
        let named = arguments.iter().position(|argument| argument.name.is_some()).unwrap_or(arguments.len());
        let (values, named) = arguments.split_at_checked(named)?;
        if !named.iter().all(|argument| matches!(argument.name, Some("dtype" | "shape"))) {
            return None;
        }
        let (kept, value) = match values {
            [list] if matches!(list.value, ValueClass::Array { .. }) => (list, ValueClass::Array { hashable: false }),
            // The module's array has the type of its items first.
            [code] if named.is_empty() && code.value == ValueClass::Text && self.content(*code).len() == 1 => {
                self.out.truncate(frame.open);
                self.out.extend_from_slice(b"[]");
                return Some(ValueClass::Array { hashable: false });
            }
            // One without dimensions.
            [value] if value.value != ValueClass::Object => (value, value.value),
            [code, list] if code.value == ValueClass::Text && matches!(list.value, ValueClass::Array { .. }) => {
                (list, ValueClass::Array { hashable: false })
            }
            [code, text] if code.value == ValueClass::Text && text.value == ValueClass::Text => {
                (text, ValueClass::Text)
            }
            _ => return None,
        };
        self.keep(frame, *kept);
        Some(value)
    }

    fn time_delta64(&self, count: Argument, unit: Argument) -> Option<String> {
        let nanoseconds = times::unit_nanoseconds(self.content(unit))?;
        let sum = i128::from(self.integer(&count)?).checked_mul(nanoseconds)?;
        Some(times::seconds(sum, 9))
    }

    fn decimal(&mut self, argument: Argument) -> Option<String> {
        let text = self.written(argument).trim_matches('"').to_owned();
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if matches!(digits, "NaN" | "sNaN" | "Infinity" | "nan" | "inf") {
            self.changes.nans += 1;
            return Some("null".to_owned());
        }
        // Decimal prints what JSON can read: digits, a point among them, `E+3`.
        serde_json::from_str::<serde::de::IgnoredAny>(&text).ok()?;
        let number = digits.starts_with(|digit: char| digit.is_ascii_digit());
        (number && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')))
            .then_some(text)
    }

    fn integer(&self, argument: &Argument) -> Option<i64> {
        (argument.value == ValueClass::Integer).then(|| self.written(*argument).parse().ok())?
    }

    fn microseconds(&self, arguments: &[Argument]) -> Option<i64> {
        let mut sum = 0_i64;
        let mut seen = Vec::new();
        for (index, argument) in arguments.iter().enumerate() {
            let name = argument.name.or_else(|| ["days", "seconds", "microseconds"].get(index).copied());
            let unit = match name? {
                "days" => 86_400_000_000,
                "seconds" => 1_000_000,
                "microseconds" => 1,
                _ => return None,
            };
            if seen.contains(&unit) {
                return None;
            }
            seen.push(unit);
            sum = sum.checked_add(self.integer(argument)?.checked_mul(unit)?)?;
        }
        Some(sum)
    }

    fn time_delta(&self, arguments: &[Argument]) -> Option<String> {
        // `timedelta(0)` is how none is printed.
        let sum = self.microseconds(arguments)?;
        Some(times::seconds(sum.into(), 6))
    }

    fn time_zone(&self, offset: Argument) -> Option<String> {
        if offset.name.is_some() || offset.value != ValueClass::Number {
            return None;
        }
        let seconds: i64 = self.written(offset).parse().ok()?;
        if seconds.abs() >= 86_400 {
            return None;
        }
        let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let rest = if rest == 0 { String::new() } else { format!(":{rest:02}") };
        Some(match seconds {
            0 => "\"UTC\"".to_owned(),
            _ => format!("\"UTC{sign}{hours:02}:{minutes:02}{rest}\""),
        })
    }

    /// What `isoformat()` says.
    fn moment(&self, call: Call, arguments: &[Argument]) -> Option<String> {
        let numbers = arguments.iter().take_while(|argument| argument.name.is_none());
        let numbers: Vec<i64> = numbers.map(|argument| self.integer(argument)).collect::<Option<_>>()?;
        let mut zone = String::new();
        for argument in arguments.get(numbers.len()..)? {
            match argument.name? {
                "fold" if self.integer(argument).is_some_and(|fold| matches!(fold, 0 | 1)) => {}
                "tzinfo" if argument.value == ValueClass::Text && zone.is_empty() => {
                    let offset = self.written(*argument).trim_matches('"').strip_prefix("UTC")?;
                    zone = if offset.is_empty() { "+00:00".to_owned() } else { offset.to_owned() };
                }
                _ => return None,
            }
        }
        let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let date = || Date::new(at(0).try_into().ok()?, at(1).try_into().ok()?, at(2).try_into().ok()?).ok();
        let time = |from: usize| {
            let nanoseconds = at(from + 3).checked_mul(1_000)?.try_into().ok()?;
            let (hour, minute) = (at(from).try_into().ok()?, at(from + 1).try_into().ok()?);
            let time = Time::new(hour, minute, at(from + 2).try_into().ok()?, nanoseconds).ok()?;
            let fraction = if at(from + 3) == 0 { String::new() } else { format!(".{:06}", at(from + 3)) };
            Some(format!("{:02}:{:02}:{:02}{fraction}", time.hour(), time.minute(), time.second()))
        };
        let text = match (call, numbers.len()) {
            (Call::Date, 3) if arguments.len() == 3 => format!("{}", date()?),
            (Call::DateTime, 5..=7) => format!("{}T{}{zone}", date()?, time(3)?),
            (Call::Time, 2..=4) => format!("{}{zone}", time(0)?),
            _ => return None,
        };
        (at(0) > 0 || call == Call::Time).then(|| format!("\"{text}\""))
    }
}

impl Argument {
    fn is(&self, value: ValueClass) -> bool {
        self.name.is_none() && self.value == value
    }
}
