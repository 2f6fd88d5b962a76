//! The kernel's session keyrings (`keyrings(7)`). No namespace separates them: a process has that of its
//! parent until it joins another, with all keys that lie there.

use std::io;

use rustix::io::Errno;

/// Gives the calling thread, and what it starts from now on, an empty session keyring that no other process has.
///
/// # Errors
/// The kernel has no keyrings or the caller may not use them, see [`is_out_of_reach`]; or the user has as many
/// keys as it may have (`/proc/sys/kernel/keys/maxkeys`).
pub fn join_new_session() -> io::Result<()> {
    match keyutils::Keyring::join_anonymous_session() {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::from_raw_os_error(error.0)),
    }
}

/// Whether what is started from here can get a keyring of its own, or can't get at any; tried in a thread that ends.
///
/// # Errors
/// It can't.
pub fn try_out() -> io::Result<()> {
    let tried = std::thread::Builder::new().name("keyring".to_owned()).spawn(join_new_session)?.join();
    match tried.unwrap_or_else(|_| Err(io::Error::other("the trial did not end"))) {
        Err(error) if !is_out_of_reach(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the error says that nobody gets at any keyring from here: the kernel was built without them, or a
/// filter of system calls refuses them, which what is started inherits.
#[must_use]
pub fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSYS | Errno::PERM))
}

#[cfg(test)]
mod tests {
    use keyutils::{Keyring, SpecialKeyring};

    use super::*;

    fn is_planted() -> bool {
        let session = Keyring::attach_or_create(SpecialKeyring::Session).unwrap();
        session.search_for_key::<keyutils::keytypes::User, _, _>("longshore-unit", None).is_ok()
    }

    #[test]
    fn what_was_in_reach_is_not_any_more() {
        // A thread has a session keyring of its own.
        let thread = std::thread::spawn(|| {
            if let Err(error) = join_new_session() {
                assert!(is_out_of_reach(&error), "{error}");
                return;
            }
            let mut session = Keyring::attach_or_create(SpecialKeyring::Session).unwrap();
            session.add_key::<keyutils::keytypes::User, _, _>("longshore-unit", &b"secret"[..]).unwrap();
            assert!(is_planted());
            join_new_session().unwrap();
            assert!(!is_planted());
        });
        thread.join().unwrap();
    }
}
