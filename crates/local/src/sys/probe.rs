//! What a look at something came to: it is there, gone, or not known.

use std::io;

use rustix::io::Errno;

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe<T> {
    /// It is there.
    There(T),
    /// The kernel says that it is not there (`ENOENT`, `ENOTDIR`, `ESRCH`).
    Gone,
    /// It could not be looked at.
    Unknown(Unknown),
}

/// Why something could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Unknown {
    /// What was to be looked at.
    pub what: String,
    /// The system's words.
    pub why: String,
    /// Of what kind that is.
    pub kind: Cause,
}

/// Why a look failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This process, or the machine, is short of something (`EMFILE`, `ENFILE`, `ENOMEM`, `EAGAIN`). It
    /// says nothing of what was looked at.
    Shortage,
    /// This process may not (`EACCES`, `EPERM`).
    Denied,
    /// The system refused for another reason, or did not answer in time.
    Refused,
    /// It is there, but is not what was written: content that can't be read, or no regular file.
    Malformed,
}

impl Unknown {
    /// The error that looking at `what` ended in.
    #[must_use]
    pub fn of(what: impl Into<String>, error: &io::Error) -> Self {
        let kind = match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => Cause::Shortage,
            Some(Errno::ACCESS | Errno::PERM) => Cause::Denied,
            // A symbolic link, where none is followed; a socket.
            Some(Errno::LOOP | Errno::NXIO) => Cause::Malformed,
            _ => Cause::Refused,
        };
        Self { what: what.into(), why: error.to_string(), kind }
    }

    /// What is there is not what was written.
    #[must_use]
    pub fn malformed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), kind: Cause::Malformed }
    }

    /// The same as an error of the system.
    #[must_use]
    pub fn into_error(self) -> io::Error {
        io::Error::other(self)
    }
}

impl<T> Probe<T> {
    /// Judges the outcome of a call about `what`.
    pub fn of(what: impl FnOnce() -> String, outcome: io::Result<T>) -> Self {
        match outcome {
            Ok(there) => Self::There(there),
            Err(error) if is_gone(&error) => Self::Gone,
            Err(error) => Self::Unknown(Unknown::of(what(), &error)),
        }
    }

    /// What is there.
    pub fn there(&self) -> Option<&T> {
        match self {
            Self::There(there) => Some(there),
            Self::Gone | Self::Unknown(_) => None,
        }
    }

    /// Whether it is known to be there.
    pub fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }

    /// Whether it is known not to be there.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    /// Why it is not known.
    pub fn unknown(&self) -> Option<&Unknown> {
        match self {
            Self::Unknown(unknown) => Some(unknown),
            Self::There(_) | Self::Gone => None,
        }
    }

    /// The same with something else in place of what is there.
    pub fn map<U>(self, other: impl FnOnce(T) -> U) -> Probe<U> {
        match self {
            Self::There(there) => Probe::There(other(there)),
            Self::Gone => Probe::Gone,
            Self::Unknown(unknown) => Probe::Unknown(unknown),
        }
    }

    /// What is there, judged once more.
    pub fn and_then<U>(self, other: impl FnOnce(T) -> Probe<U>) -> Probe<U> {
        match self {
            Self::There(there) => other(there),
            Self::Gone => Probe::Gone,
            Self::Unknown(unknown) => Probe::Unknown(unknown),
        }
    }

    /// What is there, if anything is.
    ///
    /// # Errors
    /// It could not be looked at.
    pub fn known(self) -> Result<Option<T>, Unknown> {
        match self {
            Self::There(there) => Ok(Some(there)),
            Self::Gone => Ok(None),
            Self::Unknown(unknown) => Err(unknown),
        }
    }

    /// In place of what is not known now, what was seen to be there before. For what never changes.
    #[must_use]
    pub fn or_seen(self, before: &Self) -> Self
    where
        T: Clone,
    {
        match (self, before) {
            (Self::Unknown(_), Self::There(before)) => Self::There(before.clone()),
            (now, _) => now,
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_word_makes_something_gone() {
        for (errno, kind) in [
            (Errno::NOENT, None),
            (Errno::NOTDIR, None),
            (Errno::SRCH, None),
            (Errno::MFILE, Some(Cause::Shortage)),
            (Errno::NFILE, Some(Cause::Shortage)),
            (Errno::NOMEM, Some(Cause::Shortage)),
            (Errno::AGAIN, Some(Cause::Shortage)),
            (Errno::IO, Some(Cause::Refused)),
            (Errno::ACCESS, Some(Cause::Denied)),
            (Errno::PERM, Some(Cause::Denied)),
            (Errno::STALE, Some(Cause::Refused)),
            (Errno::NOSPC, Some(Cause::Refused)),
            (Errno::LOOP, Some(Cause::Malformed)),
            (Errno::NXIO, Some(Cause::Malformed)),
        ] {
            let probe: Probe<()> = Probe::of(|| "it".to_owned(), Err(errno.into()));
            assert_eq!(probe.unknown().map(|unknown| unknown.kind), kind, "{errno}");
            assert_eq!(probe.is_gone(), kind.is_none(), "{errno}");
        }
    }

    #[test]
    fn what_was_seen_stays_only_while_nothing_is_known() {
        let unknown = || Probe::Unknown(Unknown::of("it", &Errno::MFILE.into()));
        assert_eq!(unknown().or_seen(&Probe::There(1)), Probe::There(1));
        assert_eq!(unknown().or_seen(&Probe::Gone), unknown());
        assert_eq!(Probe::Gone.or_seen(&Probe::There(1)), Probe::Gone);
        assert_eq!(Probe::There(2).or_seen(&Probe::There(1)), Probe::There(2));
    }
}
