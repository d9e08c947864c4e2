//! The open files by which a group is frozen and killed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// `cgroup.freeze` and `cgroup.kill` of a group, opened when the group was. Nothing here looks up a path: any user can make the
/// look-ups in a directory that they may list wait for ever.
#[derive(Debug)]
pub struct GroupControls {
    /// Absent before Linux 5.2.
    freeze: Option<File>,
    /// Absent before Linux 5.14.
    kill: Option<File>,
}

impl GroupControls {
    pub(super) fn open(group: &Path) -> Self {
        let open = |read, name| OpenOptions::new().read(read).write(true).open(group.join(name)).ok();
        Self { freeze: open(true, "cgroup.freeze"), kill: open(false, "cgroup.kill") }
    }

    /// Freezes every process in the group, and every process that will be started in it.
    ///
    /// # Errors
    /// `Unsupported` without the file; `ENODEV` when the group no longer exists.
    pub fn freeze(&self) -> io::Result<()> {
        write(self.freeze.as_ref(), "1")
    }

    /// Thaws the group.
    ///
    /// # Errors
    /// As [`Self::freeze`].
    pub fn thaw(&self) -> io::Result<()> {
        write(self.freeze.as_ref(), "0")
    }

    /// Returns whether [`Self::freeze`] was called later than [`Self::thaw`]; a group around it may freeze it too.
    pub fn is_set_to_freeze(&self) -> bool {
        let mut state = [0];
        self.freeze.as_ref().is_some_and(|file| file.read_at(&mut state, 0).is_ok()) && state == *b"1"
    }

    /// Kills every process in the group that has a main thread.
    ///
    /// # Errors
    /// As [`Self::freeze`].
    pub fn kill(&self) -> io::Result<()> {
        write(self.kill.as_ref(), "1")
    }

    /// Returns the open files, for a process that closes all others.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.freeze.iter().chain(&self.kill).map(AsFd::as_fd)
    }
}

fn write(file: Option<&File>, text: &str) -> io::Result<()> {
    file.ok_or(io::ErrorKind::Unsupported)?.write_all_at(text.as_bytes(), 0)
}
