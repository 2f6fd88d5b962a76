//! How output is read.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// What is searched for in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ResultScan {
    /// Nothing.
    Off,
    /// The last complete object.
    LastObject,
}

/// The one dialect in which a result may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OneDialect {
    /// JSON, NaN and Infinity included.
    Json,
    /// A Python literal.
    PythonLiteral,
}

/// Which of the program's streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
