//! The process that ends a command without a terminal when its supervisor is killed before the run has an enforcer: a user who ends
//! the caller's session can do that, and no other process of ours may exist yet. With a terminal the monitor does it.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use sys::cgroup::Cgroup;
use sys::poll::{read, socket_pair, write};
use sys::process::{Pid, Waiting, exit_now, fork_into, new_session, wait};
use sys::sandbox::close_but;

/// The supervisor's end of the socket to the guard.
#[derive(Debug)]
pub(super) struct Guard {
    pid: Pid,
    line: OwnedFd,
}

impl Guard {
    /// Starts the guard in `refuge`, where ending the caller's session does not reach it. It calls `end` when this process is
    /// killed.
    pub(super) fn post(refuge: Option<&Cgroup>, end: impl FnOnce()) -> io::Result<Self> {
        let (line, theirs) = socket_pair()?;
        let mut ours = Some(line);
        let pid = fork_into(refuge, || {
            ours = None; // so that it notices the end of the supervisor
            keep(&theirs, end)
        })?;
        let line = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(Self { pid, line })
    }

    /// Returns its pid.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets the guard end, because it is not needed any more.
    pub(super) fn relieve(&self) {
        let _ = write(self.line.as_fd(), b"."); // a guard that is gone was killed
    }

    /// Whether the guard has ended; it is reaped then.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(wait(self.pid, Waiting::EndNow), Ok(None))
    }
}

/// Runs the guard until it ends. It holds no file of the caller.
fn keep(line: &OwnedFd, end: impl FnOnce()) -> Infallible {
    let _ = new_session(); // it leads no session yet
    let _ = close_but(&[line.as_fd()]);
    if !matches!(read(line.as_fd(), &mut [0]), Ok(1..)) {
        end();
    }
    exit_now(0)
}
