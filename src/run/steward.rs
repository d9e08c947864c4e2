//! The enforcer's child outside of its wall, for the two things that it can not do behind it: start the hooks, and see which
//! processes run programs of ours. It listens to the enforcer alone, does nothing else, and ends with it.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::host::start_hooks;
use crate::session::is_our_own;
use sys::poll::{read, socket_pair, write};
use sys::process::{Pid, exit_now, fork};

/// The longest packet, in bytes.
const PACKET: usize = 16 << 10;

/// All events of a commit together, in bytes: each is smaller than a packet of the broker.
const EVENTS: usize = 64 << 20;

/// A process is to be looked at; its number follows.
const LOOK: u8 = b'?';

/// Events for the hooks follow, and there are more, or these are the last.
const MORE: u8 = b'+';
const LAST: u8 = b'!';

const YES: &[u8] = b"y";
const NO: &[u8] = b"n";

/// The line to it.
pub(super) struct Steward(OwnedFd);

impl Steward {
    /// Begets it. To be called before the database is opened: none may cross a fork.
    pub(super) fn beget() -> io::Result<Self> {
        let (ours, theirs) = socket_pair()?;
        let mut ours = Some(ours);
        fork(|| {
            ours = None; // so that the end of the enforcer is seen
            serve(&theirs)
        })?;
        ours.map(Self).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }

    /// Has the hooks told of these events.
    pub(super) fn start_hooks(&self, events: &[u8]) -> io::Result<()> {
        let mut pieces = events.chunks(PACKET - 1).peekable();
        while let Some(piece) = pieces.next() {
            let tag = if pieces.peek().is_some() { MORE } else { LAST };
            write(self.0.as_fd(), &[&[tag], piece].concat())?;
        }
        if self.answer()? { Ok(()) } else { Err(io::Error::other("the hooks were not started")) }
    }

    /// Whether a process runs a program of ours. One of ours that nobody can tell is taken for another.
    pub(super) fn is_our_own(&self, pid: Pid) -> bool {
        let [a, b, c, d] = pid.raw().to_le_bytes();
        write(self.0.as_fd(), &[LOOK, a, b, c, d]).and_then(|_| self.answer()).unwrap_or(false)
    }

    fn answer(&self) -> io::Result<bool> {
        let mut answer = [0];
        Ok(read(self.0.as_fd(), &mut answer)? == 1 && answer == YES)
    }
}

/// The whole life of the process.
fn serve(enforcer: &OwnedFd) -> Infallible {
    let (mut packet, mut events) = (vec![0; PACKET], Vec::new());
    loop {
        let length = match read(enforcer.as_fd(), &mut packet) {
            Ok(length @ 1..) => length,
            Ok(0) | Err(_) => exit_now(0),
        };
        let answer = match packet.get(..length) {
            Some([LOOK, number @ ..]) => {
                number.try_into().ok().map(i32::from_le_bytes).and_then(Pid::new).is_some_and(is_our_own)
            }
            Some([tag @ (MORE | LAST), piece @ ..]) if events.len() < EVENTS => {
                events.extend_from_slice(piece);
                if *tag == MORE {
                    continue;
                }
                start_hooks(&std::mem::take(&mut events)).is_ok()
            }
            _ => exit_now(1),
        };
        if write(enforcer.as_fd(), if answer { YES } else { NO }).is_err() {
            exit_now(1);
        }
    }
}
