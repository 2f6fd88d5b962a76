//! What [`crate::run::resolve`] makes and [`crate::run::validate`] judges.

use super::profile::{InputDelivery, Program};
use super::spec::EffectiveSpec;

/// A spec that may be executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What is applied.
    pub effective: EffectiveSpec,
    /// How the program is executed.
    pub program: Program,
    /// How it gets its input.
    pub input_delivery: InputDelivery,
    /// Keys of the effective annotations that reach the Pod.
    pub pod_annotations: Vec<String>,
}
