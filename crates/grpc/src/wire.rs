//! Between the wire and the domain. Reading collects every violation instead of stopping at the
//! first; writing can't fail. The only place besides the services that names wire types.

use std::time::Duration;

use jiff::Timestamp;

use longshore_api::enums::WireEnum;
pub(crate) use longshore_api::time::wire_time;
use longshore_domain::name::{NameError, shown};
use longshore_domain::notation::violation::Violations;

/// Longest `google.protobuf.Duration`, in seconds: 10,000 years (duration.proto).
const DURATION_MAX_SECONDS: i64 = 315_576_000_000;

/// How much of a run is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Without input, files, result text, evidence and effective spec.
    Basic,
    /// Everything.
    Full,
}

/// Collects what is wrong with the fields below one path.
#[derive(Debug)]
pub(crate) struct At<'a> {
    /// Path of the message that is read; empty for the request itself.
    path: &'a str,
    found: &'a mut Violations,
}

impl<'a> At<'a> {
    pub(crate) fn new(path: &'a str, found: &'a mut Violations) -> Self {
        Self { path, found }
    }

    pub(crate) fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    pub(crate) fn add(&mut self, field: &str, description: impl Into<String>) {
        let field = self.path_of(field);
        self.found.add(field, description);
    }

    /// A required name; what is missing is reported as missing, not as malformed.
    pub(crate) fn name<T>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, NameError>,
    ) -> Option<T> {
        if text.is_empty() {
            self.add(field, "is required");
            return None;
        }
        match parse(text) {
            Ok(name) => Some(name),
            Err(error) => {
                let field = self.path_of(field);
                self.found.push(error.at(&field));
                None
            }
        }
    }

    /// A value of an enum; 0 is unset.
    pub(crate) fn enumeration<E: WireEnum>(&mut self, field: &str, value: i32) -> Option<E> {
        match E::try_from(value) {
            Ok(known) => (value != 0).then_some(known),
            Err(_) => {
                let allowed: Vec<_> = E::set_values().map(|known| known.name()).collect();
                self.add(field, format!("`{value}` is not a known value; expected one of {}", allowed.join(", ")));
                None
            }
        }
    }

    /// A duration that is not negative and that is one by protobuf's own rules.
    pub(crate) fn duration(&mut self, field: &str, value: Option<prost_types::Duration>) -> Option<Duration> {
        let value = value?;
        let nanos = u32::try_from(value.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
        let seconds = u64::try_from(value.seconds).ok();
        match (seconds, nanos) {
            _ if value.seconds > DURATION_MAX_SECONDS => {
                self.add(field, format!("`{}s` is longer than a Duration can be", value.seconds));
                None
            }
            (Some(seconds), Some(nanos)) => Some(Duration::new(seconds, nanos)),
            _ if value.seconds < 0 || value.nanos < 0 => {
                self.add(field, "must not be negative");
                None
            }
            _ => {
                self.add(field, format!("`nanos` is {}, above 999,999,999", value.nanos));
                None
            }
        }
    }

    /// A time within the years 1 to 9999.
    pub(crate) fn timestamp(&mut self, field: &str, value: Option<prost_types::Timestamp>) -> Option<Timestamp> {
        let value = value?;
        let time = longshore_api::time::time(&value);
        if time.is_none() {
            self.add(field, format!("{} s and {} ns since 1970 is not a valid Timestamp", value.seconds, value.nanos));
        }
        time
    }

    /// A number that must not be negative.
    pub(crate) fn not_negative<T: TryFrom<i64>>(&mut self, field: &str, value: i64) -> Option<T> {
        let number = T::try_from(value).ok();
        if number.is_none() {
            self.add(field, format!("`{value}` must not be negative"));
        }
        number
    }
}

/// An optional string: empty is unset.
pub(crate) fn set(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A duration on the wire.
pub(crate) fn wire_duration(duration: Duration) -> prost_types::Duration {
    let seconds = int64(duration.as_secs()).min(DURATION_MAX_SECONDS);
    prost_types::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) }
}

/// A count on the wire.
pub(crate) fn int32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A size on the wire.
pub(crate) fn int64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Text from outside in a sentence, quoted.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", shown(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_api::v1;

    fn duration(seconds: i64, nanos: i32) -> Result<Option<Duration>, String> {
        let mut found = Violations::new();
        let read = At::new("spec", &mut found).duration("run_timeout", Some(prost_types::Duration { seconds, nanos }));
        found.into_result().map(|()| read).map_err(|violations| violations.to_string())
    }

    #[test]
    fn durations_are_neither_negative_nor_endless() {
        assert_eq!(duration(1, 500_000_000), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(duration(0, 0), Ok(Some(Duration::ZERO)));
        for (seconds, nanos) in [(-1, 0), (0, -1), (1, -1), (i64::MIN, 0)] {
            assert_eq!(duration(seconds, nanos), Err("spec.run_timeout: must not be negative".to_owned()));
        }
        assert!(duration(DURATION_MAX_SECONDS + 1, 0).unwrap_err().contains("longer than a Duration"));
        assert!(duration(i64::MAX, i32::MAX).is_err());
        assert!(duration(1, 1_000_000_000).unwrap_err().contains("999,999,999"));
    }

    #[test]
    fn times_that_are_none_are_named() {
        let mut found = Violations::new();
        let wire = prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 };
        assert_eq!(At::new("", &mut found).timestamp("since", Some(wire)), None);
        assert_eq!(found.as_slice()[0].field, "since");
    }

    #[test]
    fn unknown_enum_values_name_what_is_allowed() {
        let mut found = Violations::new();
        let mut at = At::new("spec", &mut found);
        assert_eq!(at.enumeration::<v1::NetworkMode>("network_mode", 0), None);
        assert_eq!(at.enumeration("network_mode", 2), Some(v1::NetworkMode::Egress));
        assert_eq!(at.enumeration::<v1::NetworkMode>("network_mode", 9), None);
        assert_eq!(
            found.to_string(),
            "spec.network_mode: `9` is not a known value; expected one of NETWORK_MODE_NONE, NETWORK_MODE_EGRESS, \
             NETWORK_MODE_CLUSTER"
        );
    }
}
