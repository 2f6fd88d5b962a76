//! The verbs about the server and this program.

pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod info;
pub(crate) mod proto;
pub(crate) mod token;
pub(crate) mod version;
