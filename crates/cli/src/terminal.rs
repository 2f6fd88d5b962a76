//! What is typed and what is printed: names, values, tables, JSON, colours.

pub(crate) mod console;
pub(crate) mod error;
pub(crate) mod flags;
pub(crate) mod interrupt;
pub(crate) mod json;
pub(crate) mod names;
pub(crate) mod output;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod values;
