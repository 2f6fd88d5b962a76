//! Requests and limits: the caller's over the profile's over the server's, made to fit each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::shown;
use crate::notation::quantity::Quantity;
use crate::notation::violation::Violations;
use crate::run::profile::Limits;
use crate::run::spec::Resources;
use crate::run::validate::amounts::CORE_RESOURCES;

/// Who says so; the later wins, and the earlier yields if both can't be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Server,
    Profile,
    Caller,
}

/// An amount with its notation.
#[derive(Clone, Copy)]
struct Amount<'a> {
    text: &'a str,
    value: Quantity,
    origin: Origin,
}

/// A request and a limit of one resource, which are to be made to fit.
struct Pair<'a> {
    name: &'a str,
    request: Amount<'a>,
    limit: Amount<'a>,
}

/// Merges by key. Amounts that can't be read are left out: they are refused elsewhere.
pub(super) fn merge(own: &Resources, profiles: &Resources, limits: &Limits, out: &mut Violations) -> Resources {
    let requests = Layers([&own.requests, &profiles.requests, &limits.default_requests]);
    let tops = Layers([&own.limits, &profiles.limits, &limits.default_limits]);
    let names: BTreeSet<&str> = requests.names().chain(tops.names()).collect();
    let mut merged = Resources::default();
    for name in names {
        let (request, limit) = match (requests.get(name), tops.get(name)) {
            (Some(request), Some(limit)) => (request, limit),
            (Some(only), None) | (None, Some(only)) => (only, only),
            (None, None) => continue,
        };
        let mut pair = Pair { name, request, limit };
        if !CORE_RESOURCES.contains(&name) {
            pair.make_equal(out);
        }
        if let Some(max) = limits.max_limits.get(name).and_then(|text| amount(text, Origin::Server)) {
            pair.cap(max, out);
        }
        pair.make_fit(out);
        if name == "memory"
            && let Some(min) = amount(&limits.min_memory, Origin::Server)
        {
            pair.raise(min, out);
        }
        merged.requests.insert(name.to_owned(), pair.request.text.to_owned());
        merged.limits.insert(name.to_owned(), pair.limit.text.to_owned());
    }
    merged
}

/// The caller's, the profile's and the server's amounts.
struct Layers<'a>([&'a BTreeMap<String, String>; 3]);

impl<'a> Layers<'a> {
    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.0.into_iter().flat_map(|layer| layer.keys().map(String::as_str))
    }

    /// The first that is set and can be read.
    fn get(&self, name: &str) -> Option<Amount<'a>> {
        let origins = [Origin::Caller, Origin::Profile, Origin::Server];
        self.0.into_iter().zip(origins).find_map(|(layer, origin)| amount(layer.get(name)?, origin))
    }
}

fn amount(text: &str, origin: Origin) -> Option<Amount<'_>> {
    Quantity::parse(text).ok().map(|value| Amount { text, value, origin })
}

impl<'a> Pair<'a> {
    /// Extended resources can't be overcommitted: request and limit are one number.
    fn make_equal(&mut self, out: &mut Violations) {
        let Self { name, request, limit } = *self;
        if request.value == limit.value {
            return;
        }
        if request.origin == Origin::Caller && limit.origin == Origin::Caller {
            let (request, limit) = (shown(request.text), shown(limit.text));
            out.add(
                self.field("requests"),
                format!(
                    "is `{request}`, and the limit is `{limit}`; of `{}` both must be the same: set one of them",
                    shown(name)
                ),
            );
        }
        if request.origin > limit.origin {
            self.limit = request;
        } else {
            self.request = limit;
        }
    }

    /// Holds both below `max`: what the caller asked for is refused, the rest is capped.
    fn cap(&mut self, max: Amount<'a>, out: &mut Violations) {
        let refusal = |amount: Amount<'_>| {
            let (text, max) = (shown(amount.text), max.text);
            format!("is `{text}`; this server allows at most `{max}`")
        };
        if self.limit.value > max.value {
            if self.limit.origin == Origin::Caller {
                out.add(self.field("limits"), refusal(self.limit));
            }
            self.limit = Amount { origin: self.limit.origin, ..max };
        }
        if self.request.value > max.value {
            if self.request.origin == Origin::Caller {
                out.add(self.field("requests"), refusal(self.request));
            }
            self.request = Amount { origin: self.request.origin, ..max };
        }
    }

    /// Holds the limit at `min` at least: what the caller asked for is refused, the rest is raised.
    fn raise(&mut self, min: Amount<'a>, out: &mut Violations) {
        if self.limit.value >= min.value {
            return;
        }
        // What is not above 0, or not whole, is refused elsewhere.
        if self.limit.origin == Origin::Caller && self.limit.value.is_positive() && self.limit.value.is_whole() {
            let (text, min) = (shown(self.limit.text), min.text);
            let why = format!("is `{text}`; with less than `{min}` no container can be started; raise it");
            out.add(self.field("limits"), why);
        }
        self.limit = Amount { origin: self.limit.origin, ..min };
    }

    /// Lowers a request or raises a limit, whichever comes from further away, until the request is
    /// within the limit.
    fn make_fit(&mut self, out: &mut Violations) {
        if self.request.value <= self.limit.value {
            return;
        }
        if self.request.origin > self.limit.origin {
            self.limit = self.request;
            return;
        }
        if self.request.origin == Origin::Caller && self.limit.origin == Origin::Caller {
            let (request, limit) = (shown(self.request.text), shown(self.limit.text));
            let description =
                format!("is `{request}`, which is above the limit of `{limit}`; lower it or raise the limit");
            out.add(self.field("requests"), description);
        }
        self.request = self.limit;
    }

    fn field(&self, kind: &str) -> String {
        format!("spec.resources.{kind}[\"{}\"]", shown(self.name))
    }
}
