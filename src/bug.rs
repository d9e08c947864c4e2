//! The message for a bug in our programs: one line to be reported, without any memory contents.

use std::os::fd::AsFd;
use std::time::Duration;

/// How long to wait; another thread may hold the lock of standard error.
const PATIENCE: Duration = Duration::from_secs(1);

/// Replaces Rust's panic message by one line that names the source location.
pub fn speak_plainly(program: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let line = format!("{program}: internal error{place}; please report it\n");
        // A failure is ignored: standard error may be closed.
        let _ = sys::interruption::write_all(std::io::stderr().as_fd(), line.as_bytes(), PATIENCE);
    }));
}
