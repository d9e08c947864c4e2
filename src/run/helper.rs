//! The enforcer's child outside its sandbox, for tasks that the sandbox forbids: start the hooks, start a check whether a run may
//! continue, find out which processes run our programs, end what is left of a lost run, and move its login sessions back, which
//! needs the environment of other processes. It takes orders from the enforcer only, does nothing else, and ends with it. When it
//! cannot be started, the enforcer does these tasks itself and enters no sandbox.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::removal::{Check, Looking, Looks};
use crate::host::start_hooks;
use crate::programs::{OURS, Ours, ours};
use crate::session::{Ended, LostRun, end_lost, take_sessions_back};
use jit_core::names::RunId;
use sys::poll::{PollEntry, poll, read, socket_pair, write};
use sys::process::{Pid, exit_now, fork};
use sys::programs::{KnownFile, Programs};
use sys::sandbox::close_all_but;

/// The longest packet, in bytes.
const PACKET: usize = 16 << 10;

/// The maximum size of all events of a commit, in bytes: each is smaller than a packet of the broker.
const EVENTS: usize = 64 << 20;

/// Look up the files of our programs.
const LOOK: u8 = b'.';

/// Which of our programs does this process run? Its pid follows. The answer is the index in [`OURS`] plus 1, or 0 for none.
const WHICH: u8 = b'?';

/// End what is left of a run; it follows as JSON. The answer is the number of processes and, shifted by [`SHIFT`], the number of those
/// that did not show whether they belong to it.
const LOST: u8 = b'x';

/// Start a check whether a run may continue; the order follows. The answer is whether it was started, and whether beside
/// late ones.
const REMOVED: u8 = b'r';

/// Move the login sessions of a run back into its group; the uid, the time since when, and the run id follow. The answer is the number
/// of processes.
const BACK: u8 = b'<';

/// Where the second number of an answer begins, in bits.
const SHIFT: u32 = 32;

/// Events for the hooks follow; with MORE there are further ones, with LAST there are none.
const MORE: u8 = b'+';
const LAST: u8 = b'!';

/// The answers for success and failure.
const DONE: u64 = 1;
const FAILED: u64 = 0;

/// The answer when a check was started beside late ones.
const AFTER_LATE: u64 = 2;

/// How long an answer may take. No task depends on another service.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the answer may take that an end of the run waits for. Any user can delay it for ever. Shorter than the silence that the
/// watchdog bears.
const URGENT: Duration = Duration::from_secs(3);

/// The connection to the helper, or its tasks done in this process.
pub(super) enum Helper {
    /// With the files of our programs that this process has seen.
    Apart(Line, Programs),
    Here(PendingTasks),
}

/// The connection to the helper.
pub(super) struct Line {
    line: OwnedFd,
    /// It did not answer once, and is not asked again.
    is_lost: Cell<bool>,
}

impl Helper {
    /// Starts the helper, which also knows these files of our programs. Call it before the database is opened, because a connection
    /// must not be used across a fork.
    pub(super) fn start(known: &[KnownFile]) -> Self {
        let line = Line::start(known);
        line.map_or_else(|_| Self::Here(PendingTasks::new(known)), |line| Self::Apart(line, ours()))
    }

    /// Whether it is a separate process.
    pub(super) fn is_apart(&self) -> bool {
        matches!(self, Self::Apart(..))
    }

    /// Starts the hooks with these events.
    pub(super) fn start_hooks(&self, events: &[u8]) -> io::Result<()> {
        let mut pieces = events.chunks(PACKET - 1).peekable();
        let mut answer = FAILED;
        while let Some(piece) = pieces.next() {
            let tag = if pieces.peek().is_some() { MORE } else { LAST };
            answer = self.ask(tag, piece)?;
        }
        if answer == DONE { Ok(()) } else { Err(io::Error::other("the hooks were not started")) }
    }

    /// Ends what is left of a run without a supervisor.
    pub(super) fn end_lost(&self, lost: &LostRun) -> Ended {
        let answer = serde_json::to_vec(lost).map_err(io::Error::from).and_then(|order| self.ask(LOST, &order));
        let answer = answer.unwrap_or(0);
        let number = |bits: u64| usize::try_from(bits).unwrap_or(usize::MAX);
        Ended { processes: number(answer & u64::from(u32::MAX)), silent: number(answer >> SHIFT) }
    }

    /// Moves the login sessions of a run as this user, which have begun since then, back into its group. Returns the number of
    /// processes.
    pub(super) fn take_sessions_back(&self, run: &RunId, run_as: u32, since: u64) -> usize {
        let order = format!("{run_as} {since} {run}");
        usize::try_from(self.ask(BACK, order.as_bytes()).unwrap_or(0)).unwrap_or(usize::MAX)
    }

    fn ask(&self, tag: u8, what: &[u8]) -> io::Result<u64> {
        let order = [&[tag], what].concat();
        match self {
            Self::Apart(line, _) => line.ask(&order, if matches!(tag, LOOK | WHICH) { URGENT } else { PATIENCE }),
            Self::Here(errands) => errands.run(&order).ok_or_else(|| io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Line {
    fn start(known: &[KnownFile]) -> io::Result<Self> {
        let (ours, theirs) = socket_pair()?;
        let mut ours = Some(ours);
        fork(|| {
            ours = None; // so that it notices the end of the enforcer
            serve(&theirs, known)
        })?;
        let line = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(Self { line, is_lost: Cell::new(false) })
    }

    fn ask(&self, order: &[u8], patience: Duration) -> io::Result<u64> {
        self.wait_until(&mut [PollEntry::writing(self.line.as_fd())], patience)?;
        write(self.line.as_fd(), order)?;
        self.wait_until(&mut [PollEntry::reading(self.line.as_fd())], patience)?;
        let mut answer = [0; 8];
        match read(self.line.as_fd(), &mut answer)? {
            8 => Ok(u64::from_le_bytes(answer)),
            _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    }

    fn wait_until(&self, ready: &mut [PollEntry<'_>], patience: Duration) -> io::Result<()> {
        if !self.is_lost.get() && poll(ready, Some(patience))? > 0 {
            return Ok(());
        }
        self.is_lost.set(true);
        Err(io::Error::from(io::ErrorKind::TimedOut))
    }
}

impl Looks for Helper {
    fn start(&self, order: &[u8]) -> io::Result<Check> {
        match self.ask(REMOVED, order)? {
            DONE => Ok(Check::Alone),
            AFTER_LATE => Ok(Check::AfterLate),
            _ => Err(io::Error::other("the check was not started")),
        }
    }
}

impl Ours for Helper {
    fn look(&self) {
        let _ = self.ask(LOOK, &[]); // a helper that is gone answers no later question either
    }

    fn keep_up(&self) {
        let is_due = match self {
            Self::Apart(_, seen) => seen.keep_up(),
            Self::Here(tasks) => tasks.programs.keep_up(),
        };
        if is_due {
            self.look();
        }
    }

    fn known(&self) -> Vec<KnownFile> {
        match self {
            Self::Apart(_, seen) => seen.known(),
            Self::Here(tasks) => tasks.programs.known(),
        }
    }

    fn run_by(&self, pid: Pid) -> Option<&'static str> {
        let place = self.ask(WHICH, &pid.raw().to_le_bytes()).ok()?;
        OURS.get(usize::try_from(place).ok()?.checked_sub(1)?).copied()
    }
}

/// Runs the helper until it ends.
fn serve(enforcer: &OwnedFd, known: &[KnownFile]) -> Infallible {
    // Among them the socket to the watchdog, which must notice the end of the enforcer.
    let _ = close_all_but(&[enforcer.as_fd()]);
    let (mut packet, errands) = (vec![0; PACKET], PendingTasks::new(known));
    loop {
        let length = match read(enforcer.as_fd(), &mut packet) {
            Ok(length @ 1..) => length,
            Ok(0) | Err(_) => exit_now(0),
        };
        let Some(answer) = packet.get(..length).and_then(|order| errands.run(order)) else { exit_now(1) };
        if write(enforcer.as_fd(), &answer.to_le_bytes()).is_err() {
            exit_now(1);
        }
    }
}

/// The tasks, and what was received for them so far.
pub(super) struct PendingTasks {
    programs: Programs,
    events: RefCell<Vec<u8>>,
    looking: Looking,
}

impl PendingTasks {
    fn new(known: &[KnownFile]) -> Self {
        let programs = ours();
        programs.add(known);
        Self { programs, events: RefCell::default(), looking: Looking::default() }
    }

    /// Executes an order and returns the answer; `None` for an invalid one.
    fn run(&self, order: &[u8]) -> Option<u64> {
        match order {
            [LOOK] => {
                let _ = self.programs.look();
            }
            [WHICH, number @ ..] => return Some(which(&self.programs, number)),
            [LOST, lost @ ..] => return serde_json::from_slice(lost).ok().map(|lost| packed(end_lost(&lost))),
            [BACK, order @ ..] => return Some(take_back(order)),
            [REMOVED, order @ ..] => {
                return Some(match self.looking.start(order) {
                    Ok(Check::Alone) => DONE,
                    Ok(Check::AfterLate) => AFTER_LATE,
                    Err(_) => FAILED,
                });
            }
            [tag @ (MORE | LAST), piece @ ..] if self.events.borrow().len() < EVENTS => {
                self.events.borrow_mut().extend_from_slice(piece);
                if *tag == LAST && start_hooks(&self.events.take()).is_err() {
                    return Some(FAILED);
                }
            }
            _ => return None,
        }
        Some(DONE)
    }
}

/// Parses the uid, the time and the run id, and moves the run's login sessions back.
fn take_back(order: &[u8]) -> u64 {
    let mut words = str::from_utf8(order).unwrap_or_default().splitn(3, ' ');
    let (Some(Ok(run_as)), Some(Ok(since)), Some(run)) =
        (words.next().map(str::parse), words.next().map(str::parse), words.next())
    else {
        return 0;
    };
    u64::try_from(take_sessions_back(run, run_as, since)).unwrap_or(u64::MAX)
}

fn packed(ended: Ended) -> u64 {
    let number = |count: usize| u64::from(u32::try_from(count).unwrap_or(u32::MAX));
    number(ended.silent) << SHIFT | number(ended.processes)
}

fn which(programs: &Programs, number: &[u8]) -> u64 {
    let pid = number.try_into().ok().map(i32::from_le_bytes).and_then(Pid::new);
    let program = pid.and_then(|pid| programs.run_by(pid));
    let place = program.and_then(|program| OURS.iter().position(|path| *path == program));
    place.and_then(|place| u64::try_from(place + 1).ok()).unwrap_or(0)
}
