//! How values are written: amounts, names of images, selectors, page tokens, and what is wrong with one that was sent.
//! Knows no noun of the API.

pub(crate) mod base64;
pub mod quantity;
pub mod syntax;
pub mod violation;
