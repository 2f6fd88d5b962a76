//! Runs as directories and processes of this machine.

pub(crate) mod directory;
pub(crate) mod facts;
pub(crate) mod inotify;
pub(crate) mod launch;
pub(crate) mod queue;
pub(crate) mod retention;
pub(crate) mod summary;
pub(crate) mod watch;
