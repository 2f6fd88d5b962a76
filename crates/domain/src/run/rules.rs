//! What specs are held against.

use std::collections::BTreeMap;

use super::profile::{Capabilities, Limits, Profile, Volume};

/// What a spec is judged by: the server's configuration and its backend.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Limits and defaults.
    pub limits: Limits,
    /// What the backend can do.
    pub capabilities: Capabilities,
    /// Runner profiles, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Volumes, by name.
    pub volumes: BTreeMap<String, Volume>,
}
