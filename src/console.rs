//! What is said to the caller: their standard streams, which may be a pipe that nobody reads. There is one [`Console`] in a
//! process, and a transaction of the database has it for as long as it lasts: so nobody who holds up others waits for the
//! caller. Nobody waits for ever. Besides this room only those that talk to the caller while no database is at hand name the streams
//! (`tests/floors.rs` has the list).

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sys::interruption::write_all;

/// So long a message waits for somebody to take all of it: a terminal after ^S, a pipe that nobody reads.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The same for an answer, which may go to a pager.
pub const PAGING: Duration = Duration::from_secs(3600);

static TAKEN: AtomicBool = AtomicBool::new(false);

/// The right to talk to the caller.
#[derive(Debug)]
#[must_use]
pub struct Console(());

impl Console {
    /// The console of this process; `None` where somebody has it already.
    pub fn of_this_process() -> Option<Self> {
        (!TAKEN.swap(true, Ordering::Relaxed)).then_some(Self(()))
    }

    /// Says `text` on standard error. Whoever closed it does not want to know.
    pub fn say(&mut self, text: &str) {
        let _ = write_all(std::io::stderr().as_fd(), text.as_bytes(), PATIENCE);
    }

    /// Says `text` on standard output. A reader that went away (| head) is no failure.
    pub fn print(&mut self, text: &str) {
        let _ = write_all(std::io::stdout().as_fd(), text.as_bytes(), PAGING);
    }
}
