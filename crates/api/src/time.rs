//! Times of the wire and of the program.

use jiff::Timestamp;

/// A time on the wire, whose `nanos` count forward even before 1970.
#[must_use]
pub fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

/// A time of the wire; `None` if it is none within the years -9999 to 9999, or its `nanos` are not below 1,000,000,000.
#[must_use]
pub fn time(wire: &prost_types::Timestamp) -> Option<Timestamp> {
    let is_well_formed = (0..1_000_000_000).contains(&wire.nanos);
    is_well_formed.then(|| Timestamp::new(wire.seconds, wire.nanos).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_and_are_bounded() {
        for (seconds, nanos) in [(0, 0), (1_700_000_000, 123_456_789), (-1, 999_999_999), (-62_000_000_000, 5)] {
            let wire = prost_types::Timestamp { seconds, nanos };
            assert_eq!(time(&wire).map(wire_time), Some(wire));
        }
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(time(&prost_types::Timestamp { seconds, nanos }), None);
        }
        let early: Timestamp = "1969-12-31T23:59:59.5Z".parse().unwrap();
        assert_eq!(wire_time(early), prost_types::Timestamp { seconds: -1, nanos: 500_000_000 });
    }
}
