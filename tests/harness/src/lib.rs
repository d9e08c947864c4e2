//! The test harness: a private root with the installed product in it, people who use it, and terminals to type at.
//! It knows the product from outside alone: its programs, its files and what rsyslog wrote of it. Any mishap of the
//! harness itself is a panic with a sentence, because a test that could not look must not pass.

mod evidence;
mod person;
mod pty;
mod root;
mod run;

pub use evidence::{Record, SyslogLine};
pub use person::Person;
pub use pty::PtySession;
pub use root::{PrivateRoot, extra, project};
pub use run::{Output, Run, Status};

use std::time::{Duration, Instant};

/// How long anything in a test may take unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `condition` again and again until it has an answer; panics with `what` when it has none within `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = condition() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
