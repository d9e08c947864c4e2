//! What is said when the program itself is wrong: one line for whoever reports it, and no memory of ours on their terminal.

use std::os::fd::AsFd;
use std::time::Duration;

/// Somebody else's lock may be held.
const PATIENCE: Duration = Duration::from_secs(1);

/// Replaces Rust's panic message by one line that names the place in the source.
pub fn speak_plainly(program: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let line = format!("{program}: internal error{place}; please report it\n");
        // Whoever closed standard error does not want to know.
        let _ = sys::interruption::write_all(std::io::stderr().as_fd(), line.as_bytes(), PATIENCE);
    }));
}
