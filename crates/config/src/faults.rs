//! What is wrong with a configuration, collected, and the kinds of values that keys have. Knows no key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use strum::VariantArray;

use super::args::socket_address;
use longshore_domain::notation::quantity::Quantity;
use longshore_domain::notation::violation::{Violation, Violations};

/// Collects what is wrong, so that all of it is reported at once.
#[derive(Debug, Default)]
pub(super) struct ConfigFaults(Vec<(String, String)>);

impl ConfigFaults {
    /// Adds what is wrong with the value of a key. Of one key only the first is kept: what follows
    /// has the same cause.
    pub(super) fn add(&mut self, key: &str, what: impl std::fmt::Display) {
        if self.0.iter().all(|(other, _)| other != key) {
            self.0.push((key.to_owned(), what.to_string()));
        }
    }

    /// Adds what the domain found, under the keys of the file.
    pub(super) fn extend(&mut self, violations: Violations) {
        for Violation { field, description, .. } in violations {
            let key = field.replace(".defaults.resources.", ".defaults.").replace(".defaults.placement.", ".defaults.");
            self.add(&key, description);
        }
    }

    /// A duration such as `90s`, `5m`, `1h30m`, `7d`, in whole seconds; a day has 24 hours.
    pub(super) fn duration(&mut self, key: &str, text: &str) -> Option<Duration> {
        let span = text.parse::<jiff::Span>().ok();
        let parsed = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok());
        let parsed = parsed.and_then(|duration| Duration::try_from(duration).ok());
        match parsed {
            Some(duration) if duration.subsec_nanos() == 0 => Some(duration),
            _ => {
                self.add(
                    key,
                    format!("`{text}` is not a duration in whole seconds, such as `90s`, `5m`, `1h 30m` or `7d`"),
                );
                None
            }
        }
    }

    /// An address such as `127.0.0.1:7420`.
    pub(super) fn address(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        socket_address(text).map_err(|expected| self.add(key, format!("`{text}` is not an address; {expected}"))).ok()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, text: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
            self.add(key, format!("`{text}` is not one of {}", names.join(", ")));
        }
        found
    }

    /// The same for an enum of which each value is written by its name.
    pub(super) fn variant<T: VariantArray + Copy + Into<&'static str>>(&mut self, key: &str, text: &str) -> Option<T> {
        let choices: Vec<(&str, T)> = T::VARIANTS.iter().map(|value| ((*value).into(), *value)).collect();
        self.choice(key, text, &choices)
    }

    /// Kubernetes quantities, by name.
    pub(super) fn quantities(&mut self, key: &str, map: &BTreeMap<String, String>) {
        for (name, text) in map {
            if let Err(error) = Quantity::parse(text) {
                self.add(&format!("{key}.{name}"), error);
            }
        }
    }

    /// What was found, as keys and what is wrong with them, in the order in which it was.
    pub(super) fn into_list(self) -> Vec<(String, String)> {
        self.0
    }
}
