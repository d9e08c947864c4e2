//! The process that ends a command without a terminal when its supervisor is killed before the run has an enforcer: whoever ends
//! the caller's session can do that, and no other process of ours may be there yet. With a terminal the monitor does it.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use sys::cgroup::Cgroup;
use sys::poll::{read, socket_pair, write};
use sys::process::{Pid, Waiting, exit_now, fork_into, new_session, wait};
use sys::sandbox::close_but;

/// The supervisor's end of the line to it.
#[derive(Debug)]
pub(super) struct Guard {
    pid: Pid,
    line: OwnedFd,
}

impl Guard {
    /// Born in `refuge`, where the end of the caller's session does not reach it, to do `end` when this process is killed.
    pub(super) fn post(refuge: Option<&Cgroup>, end: impl FnOnce()) -> io::Result<Self> {
        let (line, theirs) = socket_pair()?;
        let mut ours = Some(line);
        let pid = fork_into(refuge, || {
            ours = None; // so that the end of the supervisor is seen
            keep(&theirs, end)
        })?;
        let line = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(Self { pid, line })
    }

    /// The process.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// It is not needed any more, and ends.
    pub(super) fn relieve(&self) {
        let _ = write(self.line.as_fd(), b"."); // one that is gone was killed
    }

    /// Whether it has ended; then it is buried.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(wait(self.pid, Waiting::EndNow), Ok(None))
    }
}

/// The whole life of the process. It holds nothing of the caller's.
fn keep(line: &OwnedFd, end: impl FnOnce()) -> Infallible {
    let _ = new_session(); // it leads none
    let _ = close_but(&[line.as_fd()]);
    if !matches!(read(line.as_fd(), &mut [0]), Ok(1..)) {
        end();
    }
    exit_now(0)
}
