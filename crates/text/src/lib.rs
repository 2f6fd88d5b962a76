//! What messages are made of, in every crate: [texts in bounds](cut), and [names that may have been
//! meant](alike). Names nothing of ours.

mod bound;
mod likeness;

pub use bound::{cut, escaped};
pub use likeness::{alike, edits, nearest, nearest_first};
