//! The enforcer's child outside of its wall, for what it can not do behind it: start the hooks, have somebody look whether a run may
//! go on, see which processes run programs of ours, and end what is left of a lost run or take its login sessions back, which takes a
//! look at the environment of others. It listens to the enforcer alone, does nothing else, and ends with it. Where no such process can
//! be made the enforcer is its own, and stays outside of the wall.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::removal::{Looking, Looks};
use crate::host::start_hooks;
use crate::programs::{OURS, Ours, ours};
use crate::session::{end_lost, take_sessions_back};
use sys::poll::{PollEntry, poll, read, socket_pair, write};
use sys::process::{Pid, exit_now, fork};
use sys::programs::Programs;

/// The longest packet, in bytes.
const PACKET: usize = 16 << 10;

/// All events of a commit together, in bytes: each is smaller than a packet of the broker.
const EVENTS: usize = 64 << 20;

/// The places of our own programs are to be looked at.
const LOOK: u8 = b'.';

/// Which of our own programs a process runs; its number follows. The answer is the place in [`OURS`], counted from 1; 0 is none.
const WHICH: u8 = b'?';

/// What is left of a run is to be ended; its id follows. The answer is how many there were.
const LOST: u8 = b'x';

/// Somebody is to look whether a run may go on; the order follows. The answer is whether they do.
const REMOVED: u8 = b'r';

/// The login sessions of a run are to be taken back into its group; its id follows. The answer is how many processes.
const BACK: u8 = b'<';

/// Events for the hooks follow, and there are more, or these are the last.
const MORE: u8 = b'+';
const LAST: u8 = b'!';

/// The answer to what is done, and to what is not.
const DONE: u32 = 1;
const FAILED: u32 = 0;

/// So long it is waited for: nothing that it does asks anybody who may not answer, and nothing that must end waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The line to it, or what it would do.
pub(super) enum Helper {
    Apart(Line),
    Here(PendingTasks),
}

/// The line to it.
pub(super) struct Line {
    line: OwnedFd,
    /// It once did not answer, and is asked no more.
    is_lost: Cell<bool>,
}

impl Helper {
    /// Begets it. To be called before the database is opened: none may cross a fork.
    pub(super) fn beget() -> Self {
        Line::beget().map_or_else(|_| Self::Here(PendingTasks::new()), Self::Apart)
    }

    /// Whether it is a process of its own.
    pub(super) fn is_apart(&self) -> bool {
        matches!(self, Self::Apart(_))
    }

    /// Has the hooks told of these events.
    pub(super) fn start_hooks(&self, events: &[u8]) -> io::Result<()> {
        let mut pieces = events.chunks(PACKET - 1).peekable();
        let mut answer = FAILED;
        while let Some(piece) = pieces.next() {
            let tag = if pieces.peek().is_some() { MORE } else { LAST };
            answer = self.ask(tag, piece)?;
        }
        if answer == DONE { Ok(()) } else { Err(io::Error::other("the hooks were not started")) }
    }

    /// Ends what is left of a run that nobody supervises any more; gives how many there were.
    pub(super) fn end_lost(&self, run: &str) -> usize {
        usize::try_from(self.ask(LOST, run.as_bytes()).unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// Takes the login sessions of a run as this user back into its group; gives how many processes.
    pub(super) fn take_sessions_back(&self, run: &str, run_as: u32) -> usize {
        let order = format!("{run_as} {run}");
        usize::try_from(self.ask(BACK, order.as_bytes()).unwrap_or(0)).unwrap_or(usize::MAX)
    }

    fn ask(&self, tag: u8, what: &[u8]) -> io::Result<u32> {
        let order = [&[tag], what].concat();
        match self {
            Self::Apart(line) => line.ask(&order),
            Self::Here(errands) => errands.run(&order).ok_or_else(|| io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Line {
    fn beget() -> io::Result<Self> {
        let (ours, theirs) = socket_pair()?;
        let mut ours = Some(ours);
        fork(|| {
            ours = None; // so that the end of the enforcer is seen
            serve(&theirs)
        })?;
        let line = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(Self { line, is_lost: Cell::new(false) })
    }

    fn ask(&self, order: &[u8]) -> io::Result<u32> {
        self.wait_until(&mut [PollEntry::writing(self.line.as_fd())])?;
        write(self.line.as_fd(), order)?;
        self.wait_until(&mut [PollEntry::reading(self.line.as_fd())])?;
        let mut answer = [0; 4];
        match read(self.line.as_fd(), &mut answer)? {
            4 => Ok(u32::from_le_bytes(answer)),
            _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    }

    fn wait_until(&self, ready: &mut [PollEntry<'_>]) -> io::Result<()> {
        if !self.is_lost.get() && poll(ready, Some(PATIENCE))? > 0 {
            return Ok(());
        }
        self.is_lost.set(true);
        Err(io::Error::from(io::ErrorKind::TimedOut))
    }
}

impl Looks for Helper {
    fn start(&self, order: &[u8]) -> io::Result<()> {
        if self.ask(REMOVED, order)? == DONE { Ok(()) } else { Err(io::Error::other("nobody looks")) }
    }
}

impl Ours for Helper {
    fn look(&self) {
        let _ = self.ask(LOOK, &[]); // one that is gone answers no question after it either
    }

    fn run_by(&self, pid: Pid) -> Option<&'static str> {
        let place = self.ask(WHICH, &pid.raw().to_le_bytes()).ok()?;
        OURS.get(usize::try_from(place).ok()?.checked_sub(1)?).copied()
    }
}

/// The whole life of the process.
fn serve(enforcer: &OwnedFd) -> Infallible {
    let (mut packet, errands) = (vec![0; PACKET], PendingTasks::new());
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

/// What it does, and what was told for that so far.
pub(super) struct PendingTasks {
    programs: Programs,
    events: RefCell<Vec<u8>>,
    looking: Looking,
}

impl PendingTasks {
    fn new() -> Self {
        Self { programs: ours(), events: RefCell::default(), looking: Looking::default() }
    }

    /// The answer to an order; none to one that makes no sense.
    fn run(&self, order: &[u8]) -> Option<u32> {
        match order {
            [LOOK] => self.programs.look(),
            [WHICH, number @ ..] => return Some(which(&self.programs, number)),
            [LOST, run @ ..] => return Some(counted(run, end_lost)),
            [BACK, order @ ..] => return Some(counted(order, take_back)),
            [REMOVED, order @ ..] if self.looking.start(order).is_err() => return Some(FAILED),
            [REMOVED, ..] => {}
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

/// The number of the user, and the run.
fn take_back(order: &str) -> usize {
    let order = order.split_once(' ').and_then(|(uid, run)| Some((run, uid.parse().ok()?)));
    order.map_or(0, |(run, run_as)| take_sessions_back(run, run_as))
}

fn counted(run: &[u8], act: fn(&str) -> usize) -> u32 {
    str::from_utf8(run).map_or(0, |run| u32::try_from(act(run)).unwrap_or(u32::MAX))
}

fn which(programs: &Programs, number: &[u8]) -> u32 {
    let pid = number.try_into().ok().map(i32::from_le_bytes).and_then(Pid::new);
    let program = pid.and_then(|pid| programs.run_by(pid));
    let place = program.and_then(|program| OURS.iter().position(|path| *path == program));
    place.and_then(|place| u32::try_from(place + 1).ok()).unwrap_or(0)
}
