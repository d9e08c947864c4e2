//! The process that ends a run when those that should end it are killed, stopped or stuck. Any user can make a look-up of a path wait
//! for ever, in /proc too, and supervisor and enforcer look up many. The watchdog holds nothing but the open files by which the run is
//! frozen and killed, the open status of the supervisor, and a socket on which another process reports that it makes progress: the
//! supervisor, and the enforcer as soon as the run is handed over. It stays until it is told that the run is over.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use super::ending::WOKEN_AFTER;
use super::hold::RunHandles;
use sys::cgroup::Cgroup;
use sys::poll::{Blocking, PollEntry, poll, read, set_blocking, socket_pair, write};
use sys::process::{Pid, Waiting, exit_now, fork_into, kill, new_session, wait};
use sys::procfs::StatusFile;
use sys::sandbox::{Capability, Files, Post, close_but, confine};
use sys::signals::{SIGCONT, SIGKILL};

/// The length of one wait. Waits are added up and not the time, so that a machine that was paused has not been silent.
const SLICE: Duration = Duration::from_secs(1);

/// After this silence the run is frozen, or killed if it is being ended. A busy machine is silent for less, and so is an enforcer whose
/// helper does not answer.
const FROZEN_AFTER: Duration = Duration::from_secs(5);

/// After this silence a run that need not end yet is killed: nobody knows whether it must by now. Longer than a wait for the lock of
/// the database, or for a busy disk.
const KILLED_AFTER: Duration = Duration::from_secs(30);

/// The interval between two checks of a supervisor that was stopped.
const ROUND: Duration = Duration::from_millis(20);

/// If a supervisor is found stopped this many times in succession, although it was continued each time, it counts as blocked by
/// others.
const WOKEN_IN_VAIN: u32 = 50;

/// What the watchdog is told: the run may go on, or is being ended; the enforcer reports from now on; the run is over.
const RUNS: u8 = b'.';
const ENDS: u8 = b'!';
const HANDED_OVER: u8 = b'>';
const OVER: u8 = b'-';

/// What the watchdog tells: it has frozen or killed the run.
const FROZE: u8 = b'*';
const KILLED: u8 = b'#';

/// The connection to the watchdog.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// `None` where another process has started it.
    pid: Option<Pid>,
    line: Rc<OwnedFd>,
}

/// What the watchdog has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Froze,
    Killed,
}

impl Watchdog {
    /// Starts the watchdog of what this process alone ends. When this process ends without [`Self::relieve`], it is killed.
    pub(super) fn start(handles: RunHandles<'_>) -> io::Result<Self> {
        Self::begin(None, |line| {
            let _ = close_but(&handles.files().chain([line.as_fd()]).collect::<Vec<_>>());
            let mut watch = RunWatch::new(line, handles, None);
            watch.confine();
            if watch.keep() == Over::Deserted {
                handles.kill();
            }
            exit_now(0)
        })
    }

    /// Starts the watchdog of the run that this process supervises, in `refuge`, where ending the caller's session does not reach it.
    /// `status` is the status of this process. If this process is killed, or cannot go on because it is stopped again and again, and
    /// no enforcer has the run, the watchdog calls `end`. It looks up nothing before.
    pub(super) fn of_supervisor(
        refuge: Option<&Cgroup>,
        handles: RunHandles<'_>,
        status: Option<&StatusFile>,
        end: impl FnOnce(),
    ) -> io::Result<Self> {
        let supervisor = Supervisor { pid: Pid::own(), status };
        Self::begin(refuge, |line| {
            let _ = new_session(); // it is no session leader yet
            let status = status.map(AsFd::as_fd);
            let _ = close_but(&handles.files().chain([line.as_fd()]).chain(status).collect::<Vec<_>>());
            let mut watch = RunWatch::new(line, handles, Some(supervisor));
            match watch.keep() {
                Over::Relieved => {}
                Over::Deserted if watch.supervisor.is_some() => end(),
                Over::Deserted => handles.kill(),
            }
            exit_now(0)
        })
    }

    fn begin(refuge: Option<&Cgroup>, child: impl FnOnce(&OwnedFd) -> Infallible) -> io::Result<Self> {
        let (ours, theirs) = socket_pair()?;
        let (mut ours, mut child) = (Some(ours), Some(child));
        let mut be_one = || {
            ours = None; // so that it notices the end of this process
            match child.take() {
                Some(child) => child(&theirs),
                None => exit_now(1),
            }
        };
        let pid = match fork_into(refuge, &mut be_one) {
            // Where there is no room in the group, it starts where this process is.
            Err(_) if refuge.is_some() => fork_into(None, &mut be_one)?,
            born => born?,
        };
        let line = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        set_blocking(line.as_fd(), Blocking::No)?;
        Ok(Self { pid: Some(pid), line: Rc::new(line) })
    }

    /// Connects to the watchdog that the supervisor has started; `line` is its [`Self::line`].
    pub(super) fn inherited(line: OwnedFd) -> Self {
        Self { pid: None, line: Rc::new(line) }
    }

    /// Returns its pid, if this process has started it.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// Returns the socket, for the process that reports from now on.
    pub(super) fn line(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.line)
    }

    /// Lets the watchdog end, because the run is over.
    pub(super) fn relieve(&self) {
        self.tell(OVER);
    }

    /// Lets the watchdog end, and reaps it.
    pub(super) fn stop(self) {
        self.relieve();
        drop(self.line);
        let _ = self.pid.map(|pid| wait(pid, Waiting::ForEnd)); // it has ended otherwise
    }

    /// Reports that this process makes progress. The run is killed soon after the last report that says that it is being ended.
    pub(super) fn report(&self, is_ending: bool) {
        self.tell(if is_ending { ENDS } else { RUNS });
    }

    /// From now on the enforcer reports, and the end of this process means nothing to the watchdog.
    pub(super) fn hand_over(&self) {
        self.tell(HANDED_OVER);
    }

    /// Returns what the watchdog has done that was not returned before.
    pub(super) fn deed(&self) -> Option<Deed> {
        let mut deed = [0];
        match read(self.line.as_fd(), &mut deed) {
            Ok(1..) => Some(if deed == [KILLED] { Deed::Killed } else { Deed::Froze }),
            Ok(0) | Err(_) => None,
        }
    }

    /// Returns whether the watchdog has ended, and reaps it then.
    pub(super) fn has_ended(&self) -> bool {
        self.pid.is_some_and(|pid| !matches!(wait(pid, Waiting::EndNow), Ok(None)))
    }

    fn tell(&self, what: u8) {
        // Fails when the watchdog was killed, and when it has not read many reports.
        let _ = write(self.line.as_fd(), &[what]);
    }
}

/// What the watchdog does after a wait.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Freeze,
    Kill,
}

fn due(is_ending: bool, silent: Duration) -> Due {
    if silent < FROZEN_AFTER {
        Due::Nothing
    } else if is_ending || silent >= KILLED_AFTER {
        Due::Kill
    } else {
        Due::Freeze
    }
}

/// Why a watchdog ends.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    /// The run is over.
    Relieved,
    /// Nobody is left who would report.
    Deserted,
}

/// The watchdog itself.
struct RunWatch<'a> {
    line: &'a OwnedFd,
    handles: RunHandles<'a>,
    /// The supervisor, until it hands the run over.
    supervisor: Option<Supervisor<'a>>,
    /// How often in succession it was found stopped.
    in_vain: u32,
    is_ending: bool,
    silent: Duration,
    has_killed: bool,
}

impl<'a> RunWatch<'a> {
    fn new(line: &'a OwnedFd, handles: RunHandles<'a>, supervisor: Option<Supervisor<'a>>) -> Self {
        Self { line, handles, supervisor, in_vain: 0, is_ending: false, silent: Duration::ZERO, has_killed: false }
    }

    /// Gives up everything that the watchdog of a run with an enforcer does not need.
    fn confine(&self) {
        // A kernel that lacks a part of the sandbox enforces the rest; `jitctl doctor` reports it.
        let _ = confine(Post::Enforcer, &[Capability::Kill], Files::Below(&[]));
    }

    /// Watches until the run is over, or nobody else ends it.
    fn keep(&mut self) -> Over {
        loop {
            let slice = match (&self.supervisor, self.in_vain) {
                (None, _) => SLICE,
                (Some(_), 0) => WOKEN_AFTER,
                (Some(_), _) => ROUND,
            };
            let mut entries = [PollEntry::reading(self.line.as_fd())];
            match poll(&mut entries, Some(slice)) {
                Ok(0) => {
                    self.silent = self.silent.saturating_add(slice);
                    if !self.supervisor_goes_on() {
                        return Over::Deserted;
                    }
                }
                Ok(_) => {
                    if let Some(over) = self.hear() {
                        return over;
                    }
                }
                Err(_) => return Over::Deserted,
            }
            self.act();
        }
    }

    fn hear(&mut self) -> Option<Over> {
        let mut said = [0];
        if !matches!(read(self.line.as_fd(), &mut said), Ok(1..)) {
            return Some(Over::Deserted);
        }
        self.silent = Duration::ZERO;
        match said {
            [OVER] => return Some(Over::Relieved),
            [HANDED_OVER] if self.supervisor.take().is_some() => self.confine(),
            [HANDED_OVER] => {}
            said => self.is_ending = said == [ENDS],
        }
        None
    }

    /// Returns whether the supervisor lives, and is not kept from going on. It does not stop of its own accord before it hands the run
    /// over. The line of one that was killed may stay open.
    fn supervisor_goes_on(&mut self) -> bool {
        let Some(supervisor) = &self.supervisor else { return true };
        if !supervisor.lives() {
            return false;
        }
        self.in_vain = if supervisor.wake() { self.in_vain + 1 } else { 0 };
        if self.in_vain == WOKEN_IN_VAIN {
            supervisor.signal(SIGKILL); // this has the same effect as if others had killed it
            return false;
        }
        true
    }

    fn act(&mut self) {
        match due(self.is_ending, self.silent) {
            Due::Nothing => {}
            Due::Freeze if self.handles.freeze() => self.tell(FROZE),
            Due::Freeze => {}
            Due::Kill => {
                self.handles.kill();
                if !std::mem::replace(&mut self.has_killed, true) {
                    self.tell(KILLED);
                }
            }
        }
    }

    fn tell(&self, what: u8) {
        // Nobody may read it, so it does not wait.
        let mut entries = [PollEntry::writing(self.line.as_fd())];
        if matches!(poll(&mut entries, Some(Duration::ZERO)), Ok(1..)) {
            let _ = write(self.line.as_fd(), &[what]); // as above
        }
    }
}

/// The process that waits for the command.
struct Supervisor<'a> {
    pid: Pid,
    status: Option<&'a StatusFile>,
}

impl Supervisor<'_> {
    /// Sends SIGCONT if the supervisor is stopped. Returns whether it was.
    fn wake(&self) -> bool {
        self.status.is_some_and(StatusFile::is_stopped_by_signal) && self.signal(SIGCONT)
    }

    fn lives(&self) -> bool {
        self.status.map_or_else(|| Pid::parent() == Some(self.pid), StatusFile::lives)
    }

    fn signal(&self, signal: i32) -> bool {
        self.lives() && kill(self.pid, signal).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_run_is_frozen_and_then_killed_and_one_that_ends_is_killed() {
        let moment = Duration::from_millis(1);
        for (is_ending, silent, expected) in [
            (false, Duration::ZERO, Due::Nothing),
            (true, FROZEN_AFTER - moment, Due::Nothing),
            (false, FROZEN_AFTER, Due::Freeze),
            (false, KILLED_AFTER - moment, Due::Freeze),
            (false, KILLED_AFTER, Due::Kill),
            (true, FROZEN_AFTER, Due::Kill),
            (true, Duration::MAX, Due::Kill),
        ] {
            assert_eq!(due(is_ending, silent), expected, "{is_ending} {silent:?}");
        }
    }
}
