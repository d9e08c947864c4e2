//! The process that ends a command without a terminal when its supervisor is killed before the run has an enforcer: a user who ends
//! the caller's session can do that, and no other process of ours may exist yet. With a terminal the monitor does it.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::ending::WOKEN_AFTER;
use super::hold::RunHandles;
use sys::cgroup::Cgroup;
use sys::poll::{PollEntry, poll, read, socket_pair, write};
use sys::process::{Pid, Waiting, exit_now, fork_into, kill, new_session, wait};
use sys::procfs::StatusFile;
use sys::sandbox::close_but;
use sys::signals::{SIGCONT, SIGKILL};

/// The interval between two checks of a supervisor that was stopped.
const ROUND: Duration = Duration::from_millis(20);

/// If a supervisor is found stopped this many times in succession, although it was continued each time, it counts as
/// blocked by others.
const WOKEN_IN_VAIN: u32 = 50;

/// The supervisor's end of the socket to the guard.
#[derive(Debug)]
pub(super) struct Guard {
    pid: Pid,
    line: OwnedFd,
}

impl Guard {
    /// Starts the guard in `refuge`, where ending the caller's session does not reach it. The guard calls `end` when this
    /// process is killed, or when this process cannot go on because it is stopped again and again. It keeps the files of `handles`
    /// open.
    pub(super) fn post(refuge: Option<&Cgroup>, handles: RunHandles<'_>, end: impl FnOnce()) -> io::Result<Self> {
        let supervisor = Pid::own();
        let (line, theirs) = socket_pair()?;
        let mut ours = Some(line);
        let pid = fork_into(refuge, || {
            ours = None; // closes it in the guard, so that the guard notices the end of the supervisor
            keep(&theirs, supervisor, handles, end)
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
        let _ = write(self.line.as_fd(), b"."); // fails if the guard was killed
    }

    /// Returns whether the guard has ended, and reaps it then.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(wait(self.pid, Waiting::EndNow), Ok(None))
    }
}

/// Runs the guard until it ends. It keeps no file of the caller open.
fn keep(line: &OwnedFd, supervisor: Pid, handles: RunHandles<'_>, end: impl FnOnce()) -> Infallible {
    let _ = new_session(); // it is no session leader yet
    let kept: Vec<_> = handles.files().chain([line.as_fd()]).collect();
    let _ = close_but(&kept);
    if !is_relieved(line, &Supervisor::open(supervisor)) {
        end();
    }
    exit_now(0)
}

/// Waits until the supervisor needs the guard no more; returns false when it was killed, or is kept from going on.
fn is_relieved(line: &OwnedFd, supervisor: &Supervisor) -> bool {
    let mut in_vain = 0;
    while poll_line(line, if in_vain == 0 { WOKEN_AFTER } else { ROUND }) {
        // The line of a supervisor that was killed may stay open.
        if !supervisor.lives() {
            return false;
        }
        in_vain = if supervisor.wake() { in_vain + 1 } else { 0 };
        if in_vain == WOKEN_IN_VAIN {
            supervisor.signal(SIGKILL); // this has the same effect as if others had killed it
            return false;
        }
    }
    matches!(read(line.as_fd(), &mut [0]), Ok(1..))
}

/// Waits for the supervisor. Returns true if nothing arrived in time.
fn poll_line(line: &OwnedFd, patience: Duration) -> bool {
    let mut entries = [PollEntry::reading(line.as_fd())];
    matches!(poll(&mut entries, Some(patience)), Ok(0))
}

/// The process that waits for the command.
struct Supervisor {
    pid: Pid,
    /// `None` when it had ended before.
    status: Option<StatusFile>,
}

impl Supervisor {
    /// Opens the state of the parent of this process.
    fn open(pid: Pid) -> Self {
        // Opened before the check, so that the pid cannot be reused between the two.
        let status = StatusFile::open(pid).ok().filter(|_| Pid::parent() == Some(pid));
        Self { pid, status }
    }

    /// Sends SIGCONT if the supervisor is stopped: it does not stop of its own accord before it hands the run over.
    /// Returns whether it was stopped.
    fn wake(&self) -> bool {
        self.status.as_ref().is_some_and(StatusFile::is_stopped_by_signal) && self.signal(SIGCONT)
    }

    fn lives(&self) -> bool {
        self.status.as_ref().is_some_and(StatusFile::lives)
    }

    fn signal(&self, signal: i32) -> bool {
        self.lives() && kill(self.pid, signal).is_ok()
    }
}
