//! What every service stands on: connections, layers, limits, health. Knows no run.

pub(crate) mod budget;
pub(crate) mod health;
pub(crate) mod layers;
pub(crate) mod peer;
pub(crate) mod sizes;
pub(crate) mod streams;
pub(crate) mod transport;
