//! The verbs about runs, a file each, and what they share.

pub(crate) mod cancel;
pub(crate) mod failures;
pub(crate) mod find;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod profiles;
pub(crate) mod result;
pub(crate) mod rm;
pub(crate) mod selected;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod wait;
