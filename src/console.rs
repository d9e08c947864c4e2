//! Output to the caller's standard streams, which may be a pipe that no process reads. Each process has one [`Console`], and a
//! database transaction holds it as long as it lasts: so no process that blocks others waits for the caller. No write waits
//! forever. Besides this module, only those that talk to the caller while no database is open use the streams (`tests/floors.rs`
//! has the list).

use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jit_core::cli::CalledAs;
use sys::interruption::write_all;

/// How long a message waits for its reader: a terminal after ^S, a pipe that no process reads.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The same for output that may go to a pager.
pub const PAGING: Duration = Duration::from_secs(3600);

static TAKEN: AtomicBool = AtomicBool::new(false);

static NAME: OnceLock<CalledAs> = OnceLock::new();

/// Sets the name with which this process and its children begin their messages. The first call counts.
pub fn speak_as(name: CalledAs) {
    let _ = NAME.set(name);
}

/// Returns the name with which messages begin: `jit-sudo`, or that of a link in the place of sudo.
pub fn name() -> CalledAs {
    NAME.get().copied().unwrap_or(CalledAs::JitSudo)
}

/// Returns a message of this program about itself: one line that begins with its name.
pub fn line(sentence: impl std::fmt::Display) -> String {
    format!("{}: {sentence}\n", name().as_str())
}

/// The right to write to the caller's streams.
#[derive(Debug)]
#[must_use]
pub struct Console(());

impl Console {
    /// Returns the console of this process; `None` when it is already in use.
    pub fn of_this_process() -> Option<Self> {
        (!TAKEN.swap(true, Ordering::Relaxed)).then_some(Self(()))
    }

    /// Writes `text` to standard error. Ignores errors: the caller may have closed it.
    pub fn say(&mut self, text: &str) {
        let _ = write_all(std::io::stderr().as_fd(), text.as_bytes(), PATIENCE);
    }

    /// Writes `text` to standard output. A reader that has gone (| head) is no failure.
    pub fn print(&mut self, text: &str) {
        let _ = write_all(std::io::stdout().as_fd(), text.as_bytes(), PAGING);
    }
}
