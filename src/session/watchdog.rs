//! The process that ends a run when the process that ends runs is stuck. Any user can make a look-up of a path wait for ever, in /proc
//! too, and the enforcer looks up many. The watchdog holds nothing but the open files by which the run is frozen and killed, and a
//! socket to the enforcer, which reports on it that it makes progress.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::hold::RunHandles;
use sys::poll::{Blocking, PollEntry, poll, read, set_blocking, socket_pair, write};
use sys::process::{Pid, Waiting, exit_now, fork, wait};
use sys::sandbox::{Capability, Files, Post, close_but, confine};

/// The length of one wait. Waits are counted and not the time, so that a machine that was paused has not been silent.
const SLICE: Duration = Duration::from_secs(1);

/// After this many silent waits the run is frozen, or killed if it is being ended. A busy machine is silent for less, and so is an
/// enforcer whose helper does not answer.
const FROZEN_AFTER: u32 = 5;

/// After this many silent waits a run that need not end yet is killed: nobody knows whether it must by now. Longer than a wait for the
/// lock of the database, or for a busy disk.
const KILLED_AFTER: u32 = 30;

/// The reports of the enforcer: the run may go on, or is being ended.
const RUNS: u8 = b'.';
const ENDS: u8 = b'!';

/// The report of the watchdog: it has frozen the run.
const FROZE: u8 = b'*';

/// The connection to the watchdog, which ends when this is dropped, or with this process.
#[derive(Debug)]
pub(super) struct Watchdog {
    pid: Pid,
    line: OwnedFd,
}

impl Watchdog {
    /// Starts the watchdog of the run with these handles.
    pub(super) fn start(handles: RunHandles<'_>) -> io::Result<Self> {
        let (ours, theirs) = socket_pair()?;
        let mut ours = Some(ours);
        let pid = fork(|| {
            ours = None; // so that it notices the end of this process
            keep(&theirs, handles)
        })?;
        let line = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        set_blocking(line.as_fd(), Blocking::No)?;
        Ok(Self { pid, line })
    }

    /// Ends the watchdog, and reaps it.
    pub(super) fn stop(self) {
        drop(self.line);
        let _ = wait(self.pid, Waiting::ForEnd); // it has ended otherwise
    }

    /// Reports that this process makes progress. The run is killed soon after the last report that says that it is being ended.
    pub(super) fn report(&self, is_ending: bool) {
        // Fails when the watchdog was killed, and when it has not read many reports.
        let _ = write(self.line.as_fd(), &[if is_ending { ENDS } else { RUNS }]);
    }

    /// Returns whether the watchdog has frozen the run since the last call.
    pub(super) fn has_frozen(&self) -> bool {
        matches!(read(self.line.as_fd(), &mut [0]), Ok(1..))
    }
}

/// What the watchdog does after a wait.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Freeze,
    Kill,
}

fn due(is_ending: bool, silent: u32) -> Due {
    match silent {
        0..FROZEN_AFTER => Due::Nothing,
        FROZEN_AFTER..KILLED_AFTER if !is_ending => Due::Freeze,
        FROZEN_AFTER.. => Due::Kill,
    }
}

/// Runs the watchdog until it ends.
fn keep(line: &OwnedFd, handles: RunHandles<'_>) -> Infallible {
    let kept: Vec<_> = handles.files().chain([line.as_fd()]).collect();
    let _ = close_but(&kept);
    // A kernel that lacks a part of the sandbox enforces the rest; `jitctl doctor` reports it.
    let _ = confine(Post::Enforcer, &[Capability::Kill], Files::Below(&[]));
    let (mut silent, mut is_ending) = (0_u32, false);
    loop {
        let mut entries = [PollEntry::reading(line.as_fd())];
        let mut report = [0];
        match poll(&mut entries, Some(SLICE)) {
            Ok(0) => silent = silent.saturating_add(1),
            Ok(_) if matches!(read(line.as_fd(), &mut report), Ok(1..)) => (silent, is_ending) = (0, report == [ENDS]),
            Ok(_) | Err(_) => exit_now(0),
        }
        match due(is_ending, silent) {
            Due::Nothing => {}
            Due::Freeze if handles.freeze() => drop(write(line.as_fd(), &[FROZE])),
            Due::Freeze => {}
            Due::Kill => handles.kill(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_run_is_frozen_and_then_killed_and_one_that_ends_is_killed() {
        for (is_ending, silent, expected) in [
            (false, 0, Due::Nothing),
            (true, FROZEN_AFTER - 1, Due::Nothing),
            (false, FROZEN_AFTER, Due::Freeze),
            (false, KILLED_AFTER - 1, Due::Freeze),
            (false, KILLED_AFTER, Due::Kill),
            (true, FROZEN_AFTER, Due::Kill),
            (true, u32::MAX, Due::Kill),
        ] {
            assert_eq!(due(is_ending, silent), expected, "{is_ending} {silent}");
        }
    }
}
