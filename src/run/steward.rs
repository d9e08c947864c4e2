//! The enforcer's child outside of its wall, for what it can not do behind it: start the hooks, see which processes run programs
//! of ours, and end what is left of a lost run or take its login sessions back, which takes a look at the environment of others. It
//! listens to the enforcer alone, does nothing else, and ends with it.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

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

/// The line to it.
pub(super) struct Steward {
    line: OwnedFd,
    /// It once did not answer, and is asked no more.
    is_lost: Cell<bool>,
}

impl Steward {
    /// Begets it. To be called before the database is opened: none may cross a fork.
    pub(super) fn beget() -> io::Result<Self> {
        let (ours, theirs) = socket_pair()?;
        let mut ours = Some(ours);
        fork(|| {
            ours = None; // so that the end of the enforcer is seen
            serve(&theirs)
        })?;
        let line = ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(Self { line, is_lost: Cell::new(false) })
    }

    /// Has the hooks told of these events.
    pub(super) fn start_hooks(&self, events: &[u8]) -> io::Result<()> {
        let mut pieces = events.chunks(PACKET - 1).peekable();
        while let Some(piece) = pieces.next() {
            let tag = if pieces.peek().is_some() { MORE } else { LAST };
            self.tell(tag, piece)?;
        }
        if self.answer()? == DONE { Ok(()) } else { Err(io::Error::other("the hooks were not started")) }
    }

    /// Ends what is left of a run that nobody supervises any more; gives how many there were.
    pub(super) fn end_lost(&self, run: &str) -> usize {
        usize::try_from(self.ask(LOST, run.as_bytes()).unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// Takes the login sessions of a run back into its group; gives how many processes.
    pub(super) fn take_sessions_back(&self, run: &str) -> usize {
        usize::try_from(self.ask(BACK, run.as_bytes()).unwrap_or(0)).unwrap_or(usize::MAX)
    }

    fn ask(&self, tag: u8, what: &[u8]) -> io::Result<u32> {
        self.tell(tag, what)?;
        self.answer()
    }

    fn tell(&self, tag: u8, what: &[u8]) -> io::Result<()> {
        self.wait_until(&mut [PollEntry::writing(self.line.as_fd())])?;
        write(self.line.as_fd(), &[&[tag], what].concat()).map(drop)
    }

    fn answer(&self) -> io::Result<u32> {
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

impl Ours for Steward {
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
    let (mut packet, mut events, programs) = (vec![0; PACKET], Vec::new(), ours());
    loop {
        let length = match read(enforcer.as_fd(), &mut packet) {
            Ok(length @ 1..) => length,
            Ok(0) | Err(_) => exit_now(0),
        };
        let answer = match packet.get(..length) {
            Some([LOOK]) => {
                programs.look();
                DONE
            }
            Some([WHICH, number @ ..]) => which(&programs, number),
            Some([LOST, run @ ..]) => counted(run, end_lost),
            Some([BACK, run @ ..]) => counted(run, take_sessions_back),
            Some([tag @ (MORE | LAST), piece @ ..]) if events.len() < EVENTS => {
                events.extend_from_slice(piece);
                if *tag == MORE {
                    continue;
                }
                if start_hooks(&std::mem::take(&mut events)).is_ok() { DONE } else { FAILED }
            }
            _ => exit_now(1),
        };
        if write(enforcer.as_fd(), &answer.to_le_bytes()).is_err() {
            exit_now(1);
        }
    }
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
