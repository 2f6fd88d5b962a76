//! Runs as directories and processes of this machine.

pub(crate) mod act;
pub(crate) mod create;
pub(crate) mod directory;
pub(crate) mod end;
pub(crate) mod facts;
pub(crate) mod inotify;
pub(crate) mod launch;
pub(crate) mod look;
pub(crate) mod queue;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod shims;
pub(crate) mod summary;
pub(crate) mod watch;
