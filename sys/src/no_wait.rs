//! Sections in which this process must not wait for others: it holds a lock that every run needs. A name service may never answer,
//! and any user can keep a directory of a process in /proc from being read.

use std::cell::Cell;

thread_local! {
    static OPEN: Cell<u32> = const { Cell::new(0) };
}

/// A section that lasts as long as this value. With debug assertions a look-up of this crate that may wait panics in it, so that the
/// tests of the installed product find each.
#[derive(Debug)]
#[must_use = "the section ends when it is dropped"]
pub struct NoWait(());

impl NoWait {
    /// Begins a section.
    pub fn begin() -> Self {
        OPEN.set(OPEN.get().saturating_add(1));
        Self(())
    }
}

impl Drop for NoWait {
    fn drop(&mut self) {
        OPEN.set(OPEN.get().saturating_sub(1));
    }
}

/// Must be called before a look-up that may wait.
pub(crate) fn may_wait_for(what: &str) {
    debug_assert!(OPEN.get() == 0, "{what} is looked up while others wait for the lock of the database");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_in_a_section_is_a_bug() {
        may_wait_for("an account");
        let sections = (NoWait::begin(), NoWait::begin());
        drop(sections.0);
        assert!(std::panic::catch_unwind(|| crate::users::account_by_uid(0)).is_err());
        assert!(std::panic::catch_unwind(crate::procfs::login_uid).is_err());
        drop(sections.1);
        assert!(crate::users::account_by_uid(0).unwrap().is_some());
    }
}
