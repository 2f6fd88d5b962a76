//! ServerService.

pub(crate) mod response;
pub(crate) mod service;
