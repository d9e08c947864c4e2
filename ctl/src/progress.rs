//! Says on a terminal that long work goes on. ^C ends the work, as it ends any program.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use jit_core::clock::duration::{Seconds, spell};

use crate::screen::Screen;
use crate::surface::Surface;

/// Work that ends sooner shows nothing.
const FIRST: Duration = Duration::from_secs(2);

/// How often the line is updated.
const TICK: Duration = Duration::from_secs(1);

/// Does `work`, and shows meanwhile on stderr what it is and how long it has taken, where stderr is a terminal that can overwrite a
/// line.
pub(crate) fn during<T>(what: &str, screen: &Screen, work: impl FnOnce() -> T) -> T {
    if !matches!(screen.err, Surface::Plain | Surface::Colour) {
        return work();
    }
    thread::scope(|scope| {
        let (done, waits) = mpsc::channel::<()>();
        scope.spawn(move || show(what, &waits, &mut io::stderr()));
        let answer = work();
        drop(done); // ends the other thread, which removes its line
        answer
    })
}

fn show(what: &str, waits: &mpsc::Receiver<()>, out: &mut impl Write) {
    let begun = Instant::now();
    let mut is_shown = false;
    // If stderr is closed, there is nowhere to show it.
    while waits.recv_timeout(if is_shown { TICK } else { FIRST }) == Err(RecvTimeoutError::Timeout) {
        let taken = spell(Seconds(begun.elapsed().as_secs()));
        let _ = write!(out, "\r\x1b[K{what}, {taken} (^C leaves)").and_then(|()| out.flush());
        is_shown = true;
    }
    if is_shown {
        let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_work_shows_a_line_and_removes_it_and_short_work_shows_none() {
        let shown = |work: Duration| {
            let (done, waits) = mpsc::channel::<()>();
            let watched = thread::spawn(move || {
                let mut out = Vec::new();
                show("verifying", &waits, &mut out);
                String::from_utf8(out).unwrap()
            });
            thread::sleep(work);
            drop(done);
            watched.join().unwrap()
        };
        assert_eq!(shown(Duration::ZERO), "");
        let text = shown(FIRST + TICK / 2);
        assert!(text.starts_with("\r\x1b[Kverifying, ") && text.ends_with("(^C leaves)\r\x1b[K"), "{text:?}");
    }
}
