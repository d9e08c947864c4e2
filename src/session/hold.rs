//! The first step of each end: a run is held or signalled through files that were opened before.

use std::os::fd::{AsFd, BorrowedFd};

use sys::cgroup::{Cgroup, GroupControls};
use sys::handle::ProcessHandle;
use sys::signals::SIGKILL;

/// For what a run is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Freeze,
    Terminate,
    Kill,
}

/// Proof that what can be done without the look-up of a path was done to freeze or end a run. Functions that look up a path on the way
/// to an end, as in /proc, demand it: any user can make such a look-up wait for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Whether the control group of the run is frozen.
    pub(super) is_frozen: bool,
}

/// The open files by which a run is frozen and killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunHandles<'a> {
    group: Option<&'a GroupControls>,
    /// The process that was started to execute the command; not needed with a group.
    command: Option<&'a ProcessHandle>,
}

impl<'a> RunHandles<'a> {
    pub(super) fn of(group: Option<&'a Cgroup>, command: Option<&'a ProcessHandle>) -> Self {
        Self { group: group.and_then(Cgroup::controls), command: command.filter(|_| group.is_none()) }
    }

    /// Freezes the group, so that nothing is done in it until the end. Without a group the command is killed, if it has to be.
    pub(super) fn hold(self, purpose: Purpose) -> Held {
        if purpose == Purpose::Kill {
            let _ = self.command.map(|command| command.signal(SIGKILL)); // it may have ended
        }
        Held { is_frozen: self.group.is_some_and(|group| group.freeze().is_ok()) }
    }

    /// Freezes the group, unless it was frozen before. Returns whether it did.
    pub(super) fn freeze(self) -> bool {
        self.group.is_some_and(|group| !group.is_set_to_freeze() && group.freeze().is_ok())
    }

    pub(super) fn thaw(self) {
        let _ = self.group.map(GroupControls::thaw); // it may be gone
    }

    /// Kills all processes of the group, our own programs too; without a group the command. Before Linux 5.14 the group is frozen.
    pub(super) fn kill(self) {
        let _ = self.hold(Purpose::Kill);
        let _ = self.group.map(GroupControls::kill); // it may be gone
    }

    /// Whether there is nothing to hold.
    pub(super) fn is_empty(self) -> bool {
        self.group.is_none() && self.command.is_none()
    }

    /// Returns the open files, for a process that closes all others.
    pub(super) fn files(self) -> impl Iterator<Item = BorrowedFd<'a>> {
        self.group.into_iter().flat_map(GroupControls::files).chain(self.command.map(AsFd::as_fd))
    }
}
