//! Runs that are submitted together.

use serde::{Deserialize, Serialize};

use crate::name::BatchId;

/// Most runs of a batch.
pub const BATCH_MAX: u32 = 500;

/// Label of every run of a batch; the value is the batch's id.
pub const BATCH_LABEL: &str = "longshore.dev/batch";

/// Which run of which batch one is. Kept with the run: the names of its fields never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchItem {
    /// The batch.
    pub id: BatchId,
    /// From 0: `$LONGSHORE_INDEX`.
    pub index: u32,
    /// How many runs the batch has: `$LONGSHORE_COUNT`.
    pub count: u32,
}
