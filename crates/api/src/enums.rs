//! Names of the enums of the wire.

use super::v1;

/// An enum of the API.
pub trait WireEnum: TryFrom<i32> + Copy {
    /// What the names of its values begin with: `RUN_STATE_`.
    const PREFIX: &'static str;

    /// The value's name as in the proto: `RUN_STATE_RUNNING`.
    fn name(self) -> &'static str;

    /// The same without what all of them begin with: `RUNNING`.
    fn short_name(self) -> &'static str {
        self.name().strip_prefix(Self::PREFIX).unwrap_or_else(|| self.name())
    }

    /// All values but the unset one, in the order of their numbers.
    fn set_values() -> impl Iterator<Item = Self> {
        // No enum of ours is that large; the numbers are dense.
        (1..64).map_while(|number| Self::try_from(number).ok())
    }
}

/// [`WireEnum::short_name`] of the value with this number; a value from the future is named by it: `UNKNOWN_77`.
#[must_use]
pub fn short_name<E: WireEnum>(number: i32) -> String {
    E::try_from(number).map_or_else(|_| format!("UNKNOWN_{number}"), |value| value.short_name().to_owned())
}

// Every enum there is.
include!(concat!(env!("OUT_DIR"), "/enums.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_enums() {
        assert_eq!(short_name::<v1::RunState>(v1::RunState::Cancelling.into()), "CANCELLING");
        assert_eq!(short_name::<v1::RunState>(77), "UNKNOWN_77");
        assert_eq!(v1::FailureReason::OomKilled.short_name(), "OOM_KILLED");
        assert_eq!(v1::FailureReason::OomKilled.name(), "FAILURE_REASON_OOM_KILLED");
    }

    #[test]
    fn set_values_end_with_the_last() {
        assert_eq!(v1::RunState::set_values().last(), Some(v1::RunState::Cancelled));
    }
}
