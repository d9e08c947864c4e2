//! The caller's descriptors that the command does not get. A user can make the last close of most descriptors wait for ever, for
//! example by an epoll instance that watches it (epoll(7)): a process that has one neither closes it nor ends. So these descriptors
//! live in a process of the caller's, from before the command begins until the program that had them has ended. Those that are always
//! released at once stay where they are: closing one could release a lock of the caller's.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use crate::cgroup::Cgroup;
use crate::closable::{Mounts, releases_at_once};
use crate::descriptors::{close_all_but, close_but};
use crate::exec::{Credentials, ExecError};
use crate::poll::{pipe, read, write};
use crate::process::{WaitEvent, Waiting, exit_now, fork, fork_into, new_session, wait};
use crate::sanitize::{Inherited, KernelIdentity};
use crate::signals::{SignalSet, set_mask};

impl Inherited {
    /// Moves the caller's descriptors from the number `first` on, which must not be less than 3, to a process of the caller's. They
    /// stay open there as long as this process or a child that it has forked meanwhile lives. Those whose last close cannot wait stay
    /// here, and without others nothing is done. Nothing here may use them afterwards. The other process starts in the group that `group` returns. A caller who can kill
    /// the members of that group could end it before the descriptors are closed here.
    ///
    /// # Errors
    /// No process can be forked or started in the group, or it was killed at once.
    pub fn give_away(&self, first: u32, group: impl FnOnce() -> Option<Cgroup>) -> io::Result<()> {
        let mounts = Mounts::default();
        let is_given = |fd: &RawFd| {
            // SAFETY: it was open when the program began, and nothing has closed it since.
            let waits = |fd| !releases_at_once(unsafe { BorrowedFd::borrow_raw(fd) }, &mounts);
            u32::try_from(*fd).is_ok_and(|number| number >= first.max(3)) && waits(*fd)
        };
        let given: Vec<RawFd> = self.descriptors.iter().copied().filter(is_given).collect();
        if given.is_empty() || self.is_given_away.replace(true) {
            return Ok(());
        }
        let (told, tell) = pipe()?;
        let mut tell = Some(tell);
        let group = group();
        // A grandchild, so that this process has no child of which it does not know.
        let parent = fork(|| {
            let keeper = fork_into(group.as_ref(), || {
                tell = None; // while it held this end, it could not notice that the others are closed
                keep(&told, &given, &self.identity)
            });
            exit_now(i32::from(keeper.is_err()))
        })?;
        if !matches!(wait(parent, Waiting::ForEnd)?, Some((WaitEvent::Exited(0), _))) {
            return Err(io::Error::other("the process that keeps them cannot be started"));
        }
        for fd in given {
            // SAFETY: no value owns a descriptor of the caller's, and it is closed once: nothing was given away before.
            unsafe { libc::close(fd) };
        }
        if let Some(tell) = tell {
            let _ = write(tell.as_fd(), &[0]); // it may be gone, as may any process of the caller's
            std::mem::forget(tell); // closed when this process ends
        }
        Ok(())
    }
}

impl Inherited {
    /// Makes this process one of the caller's, which must need root no more: it only says something and ends. A process that a user
    /// keeps from ending then counts for that user.
    pub fn leave_root(&self) {
        // Where the kernel does not have the ids, it ends as root.
        let _ = become_caller(&self.identity);
    }
}

/// Gives up root for good. Other processes of the caller cannot read the memory, which may hold what only root may know.
fn become_caller(caller: &KernelIdentity) -> Result<(), ExecError> {
    Credentials { uid: caller.uid(), gid: caller.gid(), groups: caller.groups().to_vec() }.assume()?;
    // SAFETY: this prctl takes integers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    Ok(())
}

/// Keeps the descriptors until every other end of the pipe is closed. It is root until a byte says that its parent has closed them:
/// the caller could kill it before.
fn keep(told: &OwnedFd, given: &[RawFd], caller: &KernelIdentity) -> Infallible {
    let _ = set_mask(SignalSet::ALL);
    let _ = new_session(); // it is no session leader yet
    // SAFETY: they were open when the program began, and this process has closed none.
    let given = given.iter().map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) });
    let kept: Vec<BorrowedFd<'_>> = given.chain([told.as_fd()]).collect();
    let _ = close_all_but(&kept);
    let _ = read(told.as_fd(), &mut [0]); // nothing when the parent has ended; the last read then says it again
    // If it never ends, it counts for the caller. This fails only for ids that the kernel does not have here.
    if become_caller(caller).is_err() {
        exit_now(1)
    }
    let _ = close_but(&kept); // the standard streams, whose closing the caller can delay too
    while matches!(read(told.as_fd(), &mut [0]), Ok(1..)) {}
    exit_now(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    #[test]
    fn a_keeper_is_root_until_it_is_told_and_then_the_callers() {
        // SAFETY: has no arguments and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        let (told, tell) = pipe().unwrap();
        let (reading, given) = pipe().unwrap();
        let mut ours = Some(tell);
        let keeper = fork(|| {
            ours = None;
            keep(&told, &[given.as_raw_fd()], &KernelIdentity::of(65_534))
        })
        .unwrap();
        drop(given);
        let user = || procfs::status(keeper).unwrap().real_uid;
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(user(), 0);
        write(ours.as_ref().unwrap().as_fd(), &[0]).unwrap();
        while user() == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(user(), 65_534);
        assert_eq!(wait(keeper, Waiting::EndNow).unwrap(), None);
        drop(ours);
        assert_eq!(wait(keeper, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
        assert_eq!(read(reading.as_fd(), &mut [0]).unwrap(), 0, "it had the last copy");
    }
}
